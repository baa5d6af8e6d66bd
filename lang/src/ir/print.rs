//! The canonical text of IR. It names no declaration and no place, and numbers values in the order of their
//! definition, so that two functions which differ in names, layout or comments alone have one text: its hash is the
//! identity of numeric code.

use std::fmt::Write;

use super::{Block, Function, Module, Op, Type, Value};

/// The canonical text of a module.
pub fn canonical(module: &Module) -> String {
    let mut out = String::new();
    for index in 0..module.functions.len() {
        function(&mut out, module, index);
    }
    out
}

/// The canonical text with each function's name in a comment line before it, for people.
pub fn dump(module: &Module) -> String {
    let mut out = String::new();
    for (index, f) in module.functions.iter().enumerate() {
        let _ = writeln!(out, "// {}", f.name);
        function(&mut out, module, index);
    }
    out
}

fn function(out: &mut String, module: &Module, index: usize) {
    let Some(f) = module.functions.get(index) else { return };
    let mut printer = Printer { out, function: f, numbers: vec![None; f.values.len()], next: 0, depth: 1 };
    let _ = write!(printer.out, "fn f{index}(");
    for (i, param) in f.body.params.iter().enumerate() {
        printer.number(*param);
        let comma = if i == 0 { "" } else { ", " };
        let _ = write!(printer.out, "{comma}{}: {}", printer.name(*param), printer.ty(*param));
    }
    let _ = writeln!(printer.out, ") -> {} {{", printer.ty(f.body.result));
    printer.steps(&f.body);
    printer.out.push_str("}\n");
}

struct Printer<'a> {
    out: &'a mut String,
    function: &'a Function,
    numbers: Vec<Option<u32>>,
    next: u32,
    depth: usize,
}

impl Printer<'_> {
    fn number(&mut self, value: Value) {
        if let Some(slot) = self.numbers.get_mut(value.0 as usize) {
            *slot = Some(self.next);
            self.next += 1;
        }
    }

    fn name(&self, value: Value) -> String {
        match self.numbers.get(value.0 as usize) {
            Some(Some(number)) => format!("v{number}"),
            _ => "v?".into(),
        }
    }

    fn ty(&self, value: Value) -> String {
        self.function.ty(value).map_or_else(|| "?".into(), type_text)
    }

    fn names(&self, values: &[Value]) -> String {
        values.iter().map(|v| self.name(*v)).collect::<Vec<_>>().join(", ")
    }

    fn indent(&mut self) {
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
    }

    fn steps(&mut self, block: &Block) {
        for step in &block.steps {
            self.indent();
            self.number(step.value);
            let _ = write!(self.out, "{} = ", self.name(step.value));
            self.op(&step.op);
            self.out.push('\n');
        }
        self.indent();
        let _ = writeln!(self.out, "{}", self.name(block.result));
    }

    fn block(&mut self, block: &Block) {
        for param in &block.params {
            self.number(*param);
        }
        if block.params.is_empty() {
            self.out.push_str("{\n");
        } else {
            let _ = writeln!(self.out, "{{ {} =>", self.names(&block.params));
        }
        self.depth += 1;
        self.steps(block);
        self.depth -= 1;
        self.indent();
        self.out.push('}');
    }

    fn op(&mut self, op: &Op) {
        let text = match op {
            Op::Int(value) => format!("int {value}"),
            Op::Real(value) => format!("real {value:?}"),
            Op::Bool(value) => format!("bool {value}"),
            Op::Text(text) => format!("text {text:?}"),
            Op::Unary(unary, x) => format!("{} {}", unary.name(), self.name(*x)),
            Op::Binary(binary, a, b) => format!("{} {}, {}", binary.name(), self.name(*a), self.name(*b)),
            Op::Select { condition, then, otherwise } => {
                format!("select {}", self.names(&[*condition, *then, *otherwise]))
            }
            Op::Struct(fields) => format!("struct {}", self.names(fields)),
            Op::Field(base, index) => format!("field {}.{index}", self.name(*base)),
            Op::Array(items) => format!("array {}", self.names(items)),
            Op::Index(base, index) => format!("index {}[{}]", self.name(*base), self.name(*index)),
            Op::Call(id, args) => format!("call f{}({})", id.0, self.names(args)),
            Op::If { condition, .. } => format!("if {} ", self.name(*condition)),
            Op::Build { len, .. } => format!("build {len} "),
            Op::Fold { len, init, .. } => format!("fold {len} from {} ", self.name(*init)),
            Op::Batch(batch) => {
                format!("{} {}", batch.name(), self.names(&batch.operands().collect::<Vec<_>>())).trim_end().into()
            }
        };
        self.out.push_str(&text);
        match op {
            Op::If { then, otherwise, .. } => {
                self.block(then);
                self.out.push_str(" else ");
                self.block(otherwise);
            }
            Op::Build { body, .. } | Op::Fold { body, .. } => self.block(body),
            _ => {}
        }
    }
}

fn type_text(ty: &Type) -> String {
    match ty {
        Type::Int => "int".into(),
        Type::Real => "real".into(),
        Type::Bool => "bool".into(),
        Type::Text => "text".into(),
        Type::Array(item, len) => format!("[{}; {len}]", type_text(item)),
        Type::Struct(fields) => format!("({})", fields.iter().map(type_text).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Binary;
    use crate::ir::builder::Builder;

    #[test]
    fn the_text_is_independent_of_numbering_and_names() {
        let make = |name: &str, order: bool| {
            let mut b = Builder::new(name, &[Type::array(Type::Real, 3), Type::Real]);
            let (xs, y) = (b.params()[0], b.params()[1]);
            // The two constants are numbered as they are made, but pushed in one order.
            let zero = b.real(-0.0).unwrap();
            if order {
                b.span.start = 7;
            }
            let sum = b
                .fold(3, zero, |b, i, acc| {
                    let x = b.push(Op::Index(xs, i))?;
                    let x = b.binary(Binary::Mul, x, y)?;
                    b.binary(Binary::Add, acc, x)
                })
                .unwrap();
            Module { functions: vec![b.finish(sum).unwrap()] }
        };
        let text = canonical(&make("a", false));
        assert_eq!(text, canonical(&make("b", true)));
        let expected = "fn f0(v0: [real; 3], v1: real) -> real {\n  v2 = real -0.0\n  v3 = fold 3 from v2 { v4, v5 =>\n    v6 = index v0[v4]\n    v7 = mul v6, v1\n    v8 = add v5, v7\n    v8\n  }\n  v3\n}\n";
        assert_eq!(text, expected);
        assert!(dump(&make("a", false)).starts_with("// a\nfn f0("));
    }
}
