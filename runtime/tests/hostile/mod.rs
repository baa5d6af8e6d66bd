//! The scripts that mean no good, with what each is told.

use evo::sandbox::Reason::{self, *};

/// All of them.
pub(crate) fn scripts() -> Vec<(String, Reason)> {
    let short = SCRIPTS.iter().map(|(script, reason)| ((*script).to_owned(), *reason));
    short.chain(long()).collect()
}

/// Those that fit a line.
const SCRIPTS: &[(&str, Reason)] = &[
    // Loops.
    ("loop { }", Operations),
    ("while true { }", Operations),
    ("do { } while true", Operations),
    ("do { } until false", Operations),
    ("let x = 0; while x < 10 { x -= 1; } z", Operations),
    ("loop { loop { loop { } } }", Operations),
    ("loop { continue; }", Operations),
    ("for i in 0..1000000000 { } z", Unknown),
    ("for c in \"endless\" { } z", Unknown),
    // Recursion.
    ("fn f(x) { f(x) } f(z)", Depth),
    ("fn f(x) { g(x) } fn g(x) { f(x) } f(z)", Depth),
    ("fn loss(z) { loss(z) }", Depth),
    ("fn fib(n) { if n < 2 { n } else { fib(n - 1) + fib(n - 2) } } fib(40) * z", Depth),
    ("fn f(n) { if n > 0 { f(n - 1); f(n - 1); } } f(14); z", Operations),
    // Texts.
    ("let s = \"aaaaaaaa\"; loop { s += s; }", Size),
    ("let s = \"a\"; let t = \"b\"; loop { s = s + t; t = t + s; }", Size),
    ("let s = \"aaaa\"; s.replace(\"a\", \"aaaaaaaaaaaaaaaaaaaa\"); z", Unknown),
    ("let s = \"x\"; s.pad(1000000000, \"x\"); z", Unknown),
    ("`${z}`", Value),
    ("let s = \"abc\"; s[0] = 'x'; s", Value),
    // Arrays.
    ("let a = [1]; loop { a = [a, a]; }", Size),
    ("let a = [1]; loop { a[0] = a; }", Size),
    ("let a = []; a[1000000] = 1; z", Unknown),
    ("let a = []; loop { a.push(1); }", Unknown),
    ("let a = []; loop { a += 1; }", Size),
    ("let a = []; a.pad(1000000000, 0); z", Unknown),
    ("[3, 1, 2].sort(|a, b| { loop { } }); z", Syntax),
    // Maps, which grow by index past the engine's limit.
    ("let m = #{}; z", Unknown),
    ("let m = #{ a: 1 }; let i = 0; loop { m[`${i}`] = i; i += 1; }", Unknown),
    // Closures and function pointers.
    ("let n = 0; let f = || { n += 1; n }; loop { f.call(); }", Syntax),
    ("let f = |x| x * x; f.call(z)", Syntax),
    ("let f = Fn(\"f\"); z", Unknown),
    ("let f = Fn(\"exp\"); f.curry(z).call()", Unknown),
    // Words that reach out.
    ("eval(\"loop { }\")", Unknown),
    ("import \"secrets\" as s; z", Unknown),
    ("export z; z", Unknown),
    ("sleep(1000000); z", Unknown),
    ("timestamp(); z", Unknown),
    ("print(\"to stdout, where the protocol is\"); z", Unknown),
    ("debug(z); z", Unknown),
    ("open_file(\"/etc/passwd\"); z", Unknown),
    ("env(\"OPENAI_API_KEY\"); z", Unknown),
    ("exit(0); z", Unknown),
    ("rand(); z", Unknown),
    ("this.x = 1; z", Syntax),
    ("z.x = 1; z", Unknown),
    ("z[0]", Unknown),
    // Hiding what stops it.
    ("loop { try { loop { } } catch { } }", Unknown),
    ("try { if z > 0.0 { } } catch (e) { } z", Unknown),
    ("throw \"no loss today\"", Thrown),
    ("throw z", Thrown),
    // Numbers.
    ("let x = 9; loop { x = x * x; }", Arithmetic),
    ("9223372036854775807 + 1", Arithmetic),
    ("let x = 9223372036854775807; x += 1; x * z", Arithmetic),
    ("9 ** 999999999", Value),
    ("9999999999.0 ** 9999999999.0", Value),
    ("1e999 * z", Arithmetic),
    ("(0.0 / 0.0) * z", Arithmetic),
    ("(1 / 2) * z", IntegerDivision),
    ("let x = 7; x /= 2; x * z", IntegerDivision),
    ("(7 % 2) * z", IntegerDivision),
    ("z ^ 2", Unknown),
    ("(3 ^ 2) * z", Unknown),
    // Nodes, by ways that count few operations.
    ("let x = z; loop { x = exp(x); }", Nodes),
    ("let x = z; loop { x = x * x + x; }", Nodes),
    ("let x = z; let i = 0.0; loop { i += 1.0; x = where(z > i, x, clamp(x, -i, i)); }", Nodes),
    ("let i = 0.0; loop { i += 1.0; exp(i); }", Nodes),
    ("let x = z; loop { x = [x, [x, x.exp()]][1][1]; }", Nodes),
    // Branches on symbols.
    ("if z > 0.0 { 0.0 } else { -z }", Branch),
    ("while z > 0.0 { }", Branch),
    ("where(z > 0.0 && z < 1.0, z, -z)", Branch),
    ("if z { 1.0 } else { 2.0 }", Branch),
    ("do { } until z > 3", Branch),
    ("switch z { 0 => 1.0, _ => z }", Unknown),
    // No losses.
    ("", Value),
    ("();", Value),
    ("let loss = -log_sigmoid(z);", Value),
    ("42", Value),
    ("true", Value),
    ("z > 0.0", Value),
    ("where(z, 1.0, 2.0)", Value),
    ("exp(z > 0.0)", Unknown),
    ("[z]", Value),
    ("[z, z, z]", Value),
    ("\"-log_sigmoid(z)\"", Value),
    ("let z = 0.5; z", Value),
    ("fn loss(tau) { tau }", Unknown),
    ("fn a(z) { z } fn b(z) { z }", Value),
    // No rhai.
    ("-log_sigmoid(z", Syntax),
    ("\"not ended", Syntax),
    ("/* not ended", Value),
    ("import torch\nloss = -F.logsigmoid(z)", Unknown),
    ("def loss(z):\n    return -z", Unknown),
    ("\u{0}\u{1}\u{7f}", Syntax),
    ("const X = 1.0; X = 2.0; z", Syntax),
];

/// Those that are long.
fn long() -> Vec<(String, Reason)> {
    let functions: String = (0..1000).map(|i| format!("fn f{i}() {{ }} ")).collect();
    let variables: String = (0..1000).map(|i| format!("let v{i} = {i}; ")).collect();
    vec![
        (format!("{}z{}", "(".repeat(5000), ")".repeat(5000)), Depth),
        (format!("{}z", "-".repeat(5000)), Unknown),
        (format!("{}z", "- ".repeat(5000)), Depth),
        (format!("{}z{}", "{".repeat(5000), "}".repeat(5000)), Depth),
        (format!("{}z{}", "[".repeat(5000), "]".repeat(5000)), Depth),
        (format!("{}z{}", "exp(".repeat(5000), ")".repeat(5000)), Depth),
        (format!("z{}", " + z".repeat(10_000)), Depth),
        (format!("z{}", ".exp()".repeat(5000)), Depth),
        (format!("{}z", "if true { ".repeat(3000)), Depth),
        (format!("let x = \"{}\"; z", "a".repeat(5000)), Size),
        (format!("let x = [{}]; z", "1, ".repeat(5000)), Size),
        (format!("{functions} z"), Size),
        (format!("{variables} z"), Size),
        (format!("z{}", " ".repeat(1 << 20)), Source),
        (format!("/*{}*/ z", "*".repeat(70_000)), Source),
        (format!("let {} = z; loop {{ }}", "a".repeat(60_000)), Operations),
    ]
}
