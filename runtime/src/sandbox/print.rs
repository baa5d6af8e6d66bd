//! The graph of a script as a declaration in `.evo`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::graph::{Binary, Graph, Id, Node, Op};

/// Expressions nest no deeper than this: what lies deeper gets a name.
const DEPTH: usize = 8;

/// How tightly the parts of an expression bind, as the language has it.
mod binding {
    pub(super) const OR: u8 = 1;
    pub(super) const AND: u8 = 2;
    pub(super) const NOT: u8 = 3;
    pub(super) const COMPARE: u8 = 4;
    pub(super) const SUM: u8 = 6;
    pub(super) const PRODUCT: u8 = 7;
    pub(super) const SIGN: u8 = 8;
    pub(super) const POWER: u8 = 9;
    pub(super) const WHOLE: u8 = 10;
}

/// A piece of source text.
struct Piece {
    text: String,
    binds: u8,
    depth: usize,
}

/// The declaration of a loss, and the numbers of the inputs that it reads, in their order.
pub(super) fn declaration(name: &str, graph: &Graph, roots: &[Id], inputs: &[String]) -> (String, Vec<usize>) {
    let readers = graph.reached(roots);
    let mut pieces: BTreeMap<Id, Piece> = BTreeMap::new();
    let (mut lets, mut count, mut read) = (String::new(), 0_usize, Vec::new());
    for (&id, &times) in &readers {
        let Some(node) = graph.get(id) else { continue };
        if let Op::Input(input) = node.op {
            read.push(input as usize);
        }
        let mut piece = piece(node, &pieces, inputs);
        let is_short = is_short(graph, node);
        let is_last = roots.contains(&id) && times == 1;
        if !is_short && !is_last && (times > 1 || piece.depth >= DEPTH) {
            count += 1;
            let named = fresh(count, inputs);
            let _ = writeln!(lets, "  let {named} = {}", piece.text);
            piece = Piece { text: named, binds: binding::WHOLE, depth: 0 };
        }
        pieces.insert(id, piece);
    }
    read.sort_unstable();
    let params: Vec<String> =
        read.iter().filter_map(|i| inputs.get(*i)).map(|input| format!("{input}: real")).collect();
    let results: Vec<&str> = roots.iter().filter_map(|root| pieces.get(root)).map(|p| p.text.as_str()).collect();
    let (result, ty) = match results.as_slice() {
        [one] => ((*one).to_owned(), ""),
        several => (format!("[{}]", several.join(", ")), " -> real[2]"),
    };
    let head = format!("loss {name}({}){ty}", params.join(", "));
    let text = match lets.is_empty() {
        true => format!("{head} = {result}\n"),
        false => format!("{head} {{\n{lets}  {result}\n}}\n"),
    };
    (text, read)
}

/// Whether a node is shorter than a name for it would be: a number, an input, and `-` before one.
fn is_short(graph: &Graph, node: &Node) -> bool {
    let is_leaf = |node: &Node| node.reads().is_empty();
    let of_leaf = || node.reads().iter().all(|id| graph.get(*id).is_some_and(is_leaf));
    is_leaf(node) || node.op == Op::Negate && of_leaf()
}

/// A name that no input has.
fn fresh(count: usize, inputs: &[String]) -> String {
    let mut name = format!("t{count}");
    while inputs.contains(&name) {
        name.push('_');
    }
    name
}

fn piece(node: &Node, pieces: &BTreeMap<Id, Piece>, inputs: &[String]) -> Piece {
    let args: Vec<&Piece> = node.reads().iter().filter_map(|id| pieces.get(id)).collect();
    let depth = args.iter().map(|arg| arg.depth + 1).max().unwrap_or(0);
    let (text, binds) = match (node.op, args.as_slice()) {
        (Op::Input(i), _) => (inputs.get(i as usize).cloned().unwrap_or_default(), binding::WHOLE),
        (Op::Number(bits), _) => number(f64::from_bits(bits)),
        (Op::Truth(value), _) => (value.to_string(), binding::WHOLE),
        (Op::Negate, [x]) => (format!("-{}", held(x, binding::POWER)), binding::SIGN),
        (Op::Not, [c]) => (format!("not {}", held(c, binding::NOT)), binding::NOT),
        (Op::Binary(op), [a, b]) => {
            let (word, binds, left, right) = sides(op);
            (format!("{} {word} {}", held(a, left), held(b, right)), binds)
        }
        (Op::Call(name), args) => {
            let args: Vec<&str> = args.iter().map(|arg| arg.text.as_str()).collect();
            (format!("{name}({})", args.join(", ")), binding::WHOLE)
        }
        _ => (String::new(), binding::WHOLE),
    };
    Piece { text, binds, depth }
}

/// A part as an operand that has to bind as tightly as `least`.
fn held(piece: &Piece, least: u8) -> String {
    if piece.binds >= least { piece.text.clone() } else { format!("({})", piece.text) }
}

/// An operator's word, how tightly it binds, and how tightly its sides must: sums and products group from the left, as
/// they were computed.
fn sides(op: Binary) -> (&'static str, u8, u8, u8) {
    use binding::{AND, COMPARE, OR, POWER, PRODUCT, SIGN, SUM, WHOLE};
    match op {
        Binary::Add => ("+", SUM, SUM, PRODUCT),
        Binary::Sub => ("-", SUM, SUM, PRODUCT),
        Binary::Mul => ("*", PRODUCT, PRODUCT, SIGN),
        Binary::Div => ("/", PRODUCT, PRODUCT, SIGN),
        Binary::Pow => ("^", POWER, WHOLE, WHOLE),
        Binary::Lt => ("<", COMPARE, SUM, SUM),
        Binary::Le => ("<=", COMPARE, SUM, SUM),
        Binary::Gt => (">", COMPARE, SUM, SUM),
        Binary::Ge => (">=", COMPARE, SUM, SUM),
        Binary::Eq => ("==", COMPARE, SUM, SUM),
        Binary::Ne => ("!=", COMPARE, SUM, SUM),
        Binary::And => ("and", AND, AND, NOT_OR_MORE),
        Binary::Or => ("or", OR, OR, AND),
    }
}

/// The right side of `and`.
const NOT_OR_MORE: u8 = binding::NOT;

/// A number that reads back as itself.
fn number(x: f64) -> (String, u8) {
    let text = format!("{x:?}");
    let text = text.strip_suffix(".0").map(str::to_owned).unwrap_or(text);
    match x.is_sign_negative() {
        true => (text, binding::SIGN),
        false => (text, binding::WHOLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(build: impl FnOnce(&mut dyn FnMut(Op, &[Id]) -> Id) -> Vec<Id>) -> String {
        let mut graph = Graph::default();
        graph.clear(100);
        let roots = build(&mut |op, reads| graph.add(op, reads).unwrap());
        declaration("l", &graph, &roots, &["z".into(), "t1".into()]).0
    }

    #[test]
    fn brackets_stand_where_the_order_needs_them() {
        use Binary::{Add, Mul, Pow, Sub};
        let half = Op::Number(0.5_f64.to_bits());
        let cases = [
            (
                text(|add| {
                    let (z, h) = (add(Op::Input(0), &[]), add(half, &[]));
                    let s = add(Op::Binary(Sub), &[z, h]);
                    vec![add(Op::Binary(Sub), &[z, s])]
                }),
                "z - (z - 0.5)",
            ),
            (
                text(|add| {
                    let (z, h) = (add(Op::Input(0), &[]), add(half, &[]));
                    let s = add(Op::Binary(Add), &[z, h]);
                    vec![add(Op::Binary(Add), &[s, z])]
                }),
                "z + 0.5 + z",
            ),
            (
                text(|add| {
                    let (z, h) = (add(Op::Input(0), &[]), add(half, &[]));
                    let s = add(Op::Binary(Add), &[z, h]);
                    let n = add(Op::Negate, &[s]);
                    vec![add(Op::Binary(Pow), &[n, h])]
                }),
                "(-(z + 0.5)) ^ 0.5",
            ),
            (
                text(|add| {
                    let (z, h) = (add(Op::Input(0), &[]), add(Op::Number((-2.0_f64).to_bits()), &[]));
                    vec![add(Op::Binary(Mul), &[h, z])]
                }),
                "-2 * z",
            ),
            (
                text(|add| {
                    let (z, h) = (add(Op::Input(0), &[]), add(Op::Number((-2.0_f64).to_bits()), &[]));
                    vec![add(Op::Binary(Sub), &[z, h])]
                }),
                "z - -2",
            ),
        ];
        for (made, wanted) in cases {
            assert_eq!(made, format!("loss l(z: real) = {wanted}\n"));
        }
    }

    #[test]
    fn what_is_read_twice_gets_a_name_that_no_input_has() {
        let made = text(|add| {
            let z = add(Op::Input(0), &[]);
            let e = add(Op::Call("exp"), &[z]);
            vec![add(Op::Binary(Binary::Mul), &[e, e])]
        });
        assert_eq!(made, "loss l(z: real) {\n  let t1_ = exp(z)\n  t1_ * t1_\n}\n");
    }
}
