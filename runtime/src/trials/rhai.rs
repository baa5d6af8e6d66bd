//! Rhai functions that a model wrote, and an expression over them that must be true. Runs in a worker, which has a limit of memory
//! and is killed when it takes too long; rhai's own limits end the common case sooner, and the same way each time.

use evo_stdlib::task::{TrialLimits, Verdict};
use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage,
    BasicStringPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{Dynamic, Engine};

/// Characters of a text, and elements of an array or a map.
const SIZE: usize = 1 << 20;

/// Tries functions: of `program` nothing but them is run.
pub(super) fn try_functions(program: &str, check: &str, limits: &TrialLimits) -> Verdict {
    let engine = engine(limits);
    let check = match engine.compile_expression(check) {
        Ok(check) => check,
        Err(error) => return Verdict::Unfit(format!("the check `{}`: {error}", super::cut(check))),
    };
    let functions = match engine.compile(program) {
        // A statement such as `return true` would pass any check.
        Ok(program) => program.clone_functions_only(),
        Err(error) => return Verdict::Failed(super::cut(&error.to_string())),
    };
    match engine.eval_ast::<Dynamic>(&functions.merge(&check)).map(|value| value.as_bool()) {
        Ok(Ok(true)) => Verdict::Passed,
        Ok(Ok(false)) => Verdict::Failed("the check is false".into()),
        Ok(Err(kind)) => Verdict::Failed(format!("the check is a {kind}, and not true or false")),
        Err(error) => Verdict::Failed(super::cut(&error.to_string())),
    }
}

/// An engine that computes, and can do nothing else: the package of the language's core, which has `sleep`, is left out.
fn engine(limits: &TrialLimits) -> Engine {
    let mut engine = Engine::new_raw();
    ArithmeticPackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BasicStringPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    BasicIteratorPackage::new().register_into_engine(&mut engine);
    BasicFnPackage::new().register_into_engine(&mut engine);
    engine.set_max_operations(limits.steps);
    engine.set_max_call_levels(64).set_max_expr_depths(64, 48);
    engine.set_max_variables(1000).set_max_functions(200);
    engine.set_max_string_size(SIZE).set_max_array_size(SIZE).set_max_map_size(SIZE);
    engine.disable_symbol("eval");
    // What is printed is nobody's: the worker's own output is its protocol.
    engine.on_print(|_| ()).on_debug(|_, _, _| ());
    engine
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(program: &str, check: &str) -> Verdict {
        try_functions(program, check, &TrialLimits { steps: 200_000, ..TrialLimits::default() })
    }

    #[test]
    fn functions_pass_by_what_they_give() {
        for (program, check, passes) in [
            ("fn double(x) { x * 2 }", "double(2) == 4 && double(-1) == -2", true),
            ("fn double(x) { x + 2 }", "double(2) == 4 && double(-1) == -2", false),
            ("fn up(s) { s.to_upper() }\nprint(up(\"x\"));", "up(\"ab\") == \"AB\"", true),
            ("fn total(a) { let t = 0; for x in a { t += x; } t }", "total([1, 2, 3]) == 6", true),
            ("fn fib(n) { if n < 2 { n } else { fib(n - 1) + fib(n - 2) } }", "fib(10) == 55", true),
            ("return true;", "f(1) == 1", false),
            ("true", "f(1)", false),
            ("fn f(x) { x }", "f(1)", false),
            ("fn f(x) { ", "f(1) == 1", false),
            ("", "1 == 1", true),
        ] {
            assert_eq!(tried(program, check) == Verdict::Passed, passes, "{program}: {:?}", tried(program, check));
        }
        assert!(matches!(tried("fn f() { 1 }", "f( == 1"), Verdict::Unfit(_)));
    }

    #[test]
    fn what_does_not_end_fails() {
        for program in [
            "fn f() { loop { } }",
            "fn f() { f() }",
            "fn f() { let s = \"ab\"; loop { s += s; } }",
            "fn f() { let a = [0]; loop { a += a; } }",
            "fn f() { let m = #{}; let i = 0; loop { m[i.to_string()] = i; i += 1; } }",
            "fn f() { eval(\"1\") }",
            "fn f() { import \"x\" as x; 1 }",
            "fn f() { sleep(1000); 1 }",
            "fn f() { timestamp(); 1 }",
            "fn f() { open_file(\"/etc/passwd\"); 1 }",
            "fn f() { throw \"no\" }",
            "fn f() { 1 / 0 }",
        ] {
            assert!(matches!(tried(program, "f() == 1"), Verdict::Failed(_)), "{program}");
        }
    }
}
