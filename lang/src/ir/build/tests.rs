//! Outlining of hand-made typed trees: which parts are code, which are leaves, and what the code computes.

use super::*;
use crate::codegen::evaluate_both;
use crate::hir::{Function, Global, GlobalKind, ModuleId};
use crate::ir::{Fault, text_id};
use crate::library::Extern;
use crate::span::FileId;
use crate::types::{EnumTy, FieldTy, RecordTy};

fn expr(kind: ExprKind, ty: Ty) -> Expr {
    Expr { kind, ty, span: Span { start: 3, end: 8, ..Span::default() } }
}

fn int(x: i64) -> Expr {
    expr(ExprKind::Int(x), Ty::Int)
}

fn real(x: f64) -> Expr {
    expr(ExprKind::Real(x), Ty::Real)
}

fn local(id: u32, ty: Ty) -> Expr {
    expr(ExprKind::Local(LocalId(id)), ty)
}

fn global(index: usize, ty: Ty) -> Expr {
    expr(ExprKind::Global(GlobalRef { module: ModuleId(0), index }), ty)
}

fn binary(op: BinaryOp, a: Expr, b: Expr) -> Expr {
    let ty = match op {
        BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Gt | BinaryOp::And | BinaryOp::Or => Ty::Bool,
        _ if matches!(a.ty, Ty::Array(..)) => a.ty.clone(),
        _ => b.ty.clone(),
    };
    expr(ExprKind::Binary(op, Box::new(a), Box::new(b)), ty)
}

fn choose(condition: Expr, then: Expr, otherwise: Expr) -> Expr {
    let ty = then.ty.clone();
    let kind = ExprKind::If { condition: condition.into(), then: then.into(), otherwise: otherwise.into() };
    expr(kind, ty)
}

fn call(name: &str, result: Ty, args: Vec<Expr>) -> Expr {
    let ext = Arc::new(Extern {
        name: name.into(),
        word: "fn".into(),
        family: "test".into(),
        overload: 0,
        generics: Vec::new(),
        params: Vec::new(),
        result: result.clone(),
        doc: "".into(),
        examples: Vec::new(),
        elementwise: true,
        is_static: false,
        span: Span::default(),
    });
    expr(
        ExprKind::CallExtern { ext, args: args.into_iter().map(Some).collect(), rest: vec![], type_args: vec![] },
        result,
    )
}

fn array(item: Ty, len: u64) -> Ty {
    Ty::Array(Arc::new(item), Len::Const(len))
}

fn param(id: u32, ty: Ty) -> Param {
    Param { local: LocalId(id), name: "p".into(), ty, default: None }
}

fn program(functions: Vec<Function>) -> Program {
    let globals = functions.into_iter().map(|f| Global {
        name: "f".into(),
        word: "fn".into(),
        name_span: Span::default(),
        span: Span::default(),
        doc: "".into(),
        ty: f.body.ty.clone(),
        kind: GlobalKind::Function(Arc::new(f)),
    });
    let module = crate::hir::Module {
        name: "m".into(),
        file: FileId(0),
        path: "m.evo".into(),
        doc: "".into(),
        globals: globals.collect(),
        requests: Vec::new(),
    };
    Program { modules: vec![module], entry: ModuleId(0) }
}

fn lens(_: Option<&Expr>, len: &Len) -> Option<u64> {
    match len {
        Len::Const(n) => Some(*n),
        _ => None,
    }
}

fn run(outlined: &Outlined, inputs: &[f64]) -> f64 {
    let slots: Vec<u64> = inputs.iter().map(|x| x.to_bits()).collect();
    f64::from_bits(evaluate_both(&outlined.module, outlined.module.entry().unwrap(), &slots).unwrap().unwrap()[0])
}

#[test]
fn what_is_no_numeric_code_becomes_a_leaf_once() {
    // 2 * score(m) + score(m) - a, where score is no intrinsic, m a model, a a number outside.
    let score = || call("score", Ty::Real, vec![local(1, Ty::node("Model"))]);
    let twice = binary(BinaryOp::Mul, real(2.0), score());
    let sum = binary(BinaryOp::Add, twice, score());
    let e = binary(BinaryOp::Sub, sum, local(2, Ty::Real));
    let program = program(Vec::new());
    let outlined = outline(&program, &e, &mut lens).unwrap();
    assert_eq!(outlined.leaves.len(), 2);
    assert!(matches!(outlined.leaves[0].kind, ExprKind::CallExtern { .. }));
    assert_eq!(run(&outlined, &[10.0, 1.0]), 29.0);
    assert!(outline(&program, &score(), &mut lens).is_none(), "a leaf as a whole");
    assert!(outline(&program, &local(2, Ty::Real), &mut lens).is_none());
}

#[test]
fn a_leaf_that_depends_on_what_the_expression_binds_stops_it() {
    // [score(t) for t in ts]: the element reads t.
    let tasks = local(1, array(Ty::node("Task"), 3));
    let element = call("score", Ty::Real, vec![local(9, Ty::node("Task"))]);
    let c = Comprehension {
        pattern: vec![(LocalId(9), "t".into(), Ty::node("Task"))],
        source: tasks,
        condition: None,
        element,
    };
    let scores = expr(ExprKind::Comprehension(Box::new(c)), array(Ty::Real, 3));
    let program = program(Vec::new());
    assert!(outline(&program, &scores, &mut lens).is_none());
    // But in mean(…) it is a leaf of three numbers.
    let mean = call("mean", Ty::Real, vec![scores]);
    let outlined = outline(&program, &mean, &mut lens).unwrap();
    assert!(matches!(outlined.leaves[..], [Expr { kind: ExprKind::Comprehension(_), .. }]));
    assert_eq!(run(&outlined, &[1.0, 2.0, 6.0]), 3.0);
}

#[test]
fn leaves_read_under_a_condition_only_are_told() {
    // { let x = a  if x > 0 and b > 0 then c else d + c }
    let above = |e| binary(BinaryOp::Gt, e, real(0.0));
    let (x, a) = (LocalId(9), local(1, Ty::Real));
    let condition = binary(BinaryOp::And, above(expr(ExprKind::Local(x), Ty::Real)), above(local(2, Ty::Real)));
    let sum = binary(BinaryOp::Add, local(4, Ty::Real), local(3, Ty::Real));
    let body = choose(condition, local(3, Ty::Real), sum);
    let kind = ExprKind::Let { local: x, name: "x".into(), value: Box::new(a), body: Box::new(body) };
    let e = expr(kind, Ty::Real);
    let outlined = outline(&program(Vec::new()), &e, &mut lens).unwrap();
    let names: Vec<String> = outlined.leaves.iter().map(key).collect();
    assert_eq!(names, ["%1", "%2", "%3", "%4"]);
    assert_eq!(outlined.conditional, [false, true, false, true]);
    assert_eq!(run(&outlined, &[1.0, 1.0, 5.0, 7.0]), 5.0);
    assert_eq!(run(&outlined, &[1.0, 0.0, 5.0, 7.0]), 12.0);
}

#[test]
fn a_weight_closure_reads_one_field_of_its_genome_and_the_tensor() {
    // fn row(t) = if t.part == attention then 0 else 1;  t => g.calculator[row(t)][t.layer]
    let part = Ty::Enum(Arc::new(EnumTy { name: None, cases: vec!["attention".into(), "mlp".into()] }));
    let field = |name: &str, ty: &Ty| FieldTy {
        name: name.into(),
        ty: ty.clone(),
        default: None,
        optional: false,
        tiny: None,
        doc: "".into(),
    };
    let fields = vec![field("name", &Ty::Text), field("layer", &Ty::Int), field("part", &part)];
    let tensor = Ty::Record(Arc::new(RecordTy { name: Some("Tensor".into()), fields }));
    let get = |base: Expr, name: &str, index, ty: &Ty| {
        expr(ExprKind::Field { base: Box::new(base), name: name.into(), index: Some(index) }, ty.clone())
    };
    let is_attention =
        binary(BinaryOp::Eq, get(local(5, tensor.clone()), "part", 2, &part), expr(ExprKind::Case(0), part.clone()));
    let row =
        Function { params: vec![param(5, tensor.clone())], body: choose(is_attention, int(0), int(1)), numeric: true };
    let program = program(vec![row]);
    let weights = array(array(Ty::Real, 4), 2);
    let genome_fields = vec![field("reader", &weights), field("calculator", &weights)];
    let genome = Ty::Record(Arc::new(RecordTy { name: None, fields: genome_fields }));
    let at =
        |base: Expr, index: Expr, ty: Ty| expr(ExprKind::Index { base: Box::new(base), index: Box::new(index) }, ty);
    let row_call = ExprKind::CallFunction {
        instance: None,
        function: GlobalRef { module: ModuleId(0), index: 0 },
        args: vec![Some(local(1, tensor.clone()))],
    };
    let calculator = get(local(7, genome), "calculator", 1, &weights);
    let line = at(calculator, expr(row_call, Ty::Int), array(Ty::Real, 4));
    let body = at(line, get(local(1, tensor.clone()), "layer", 1, &Ty::Int), Ty::Real);
    let outlined = outline_lambda(&program, &[param(1, tensor)], &body, &mut lens).unwrap();
    assert!(
        matches!(&outlined.leaves[..], [Expr { kind: ExprKind::Field { name, .. }, .. }] if &**name == "calculator")
    );
    let mut slots: Vec<u64> = (0..8).map(|i| f64::from(i).to_bits()).collect();
    slots.extend([text_id("model.norm"), 2, 1]);
    let entry = outlined.module.entry().unwrap();
    assert_eq!(evaluate_both(&outlined.module, entry, &slots).unwrap(), Ok(vec![6.0f64.to_bits()]));
    slots[9] = 4;
    let error = evaluate_both(&outlined.module, entry, &slots).unwrap().unwrap_err();
    assert_eq!((error.fault, error.span.end), (Fault::Index { index: 4, len: 4 }, 8));
}

#[test]
fn functions_take_defaults_and_bring_their_own_leaves() {
    // fn f(x, k = 10) = x * k + scale, with scale a declaration; f(a) + f(b, 2)
    let sum = binary(BinaryOp::Add, binary(BinaryOp::Mul, local(1, Ty::Real), local(2, Ty::Real)), global(1, Ty::Real));
    let k = Param { default: Some(real(10.0)), ..param(2, Ty::Real) };
    let f = Function { params: vec![param(1, Ty::Real), k], body: sum, numeric: true };
    let function = GlobalRef { module: ModuleId(0), index: 0 };
    let call = |args| expr(ExprKind::CallFunction { instance: None, function, args }, Ty::Real);
    let e = binary(
        BinaryOp::Add,
        call(vec![Some(local(1, Ty::Real)), None]),
        call(vec![Some(local(2, Ty::Real)), Some(real(2.0))]),
    );
    let outlined = outline(&program(vec![f]), &e, &mut lens).unwrap();
    let names: Vec<String> = outlined.leaves.iter().map(key).collect();
    assert_eq!(names, ["%1", "g0.1", "%2"]);
    assert_eq!(outlined.conditional, [false; 3]);
    assert_eq!(run(&outlined, &[3.0, 0.5, 4.0]), 30.5 + 8.5);
}

#[test]
fn arrays_broadcast_and_functions_map() {
    // sum(max(xs * 2 + ys, 0) ^ 2), then mean of ints made real.
    let arrays = |id| local(id, array(Ty::Real, 3));
    let line = binary(BinaryOp::Add, binary(BinaryOp::Mul, arrays(1), real(2.0)), arrays(2));
    let square = binary(BinaryOp::Pow, call("max", array(Ty::Real, 3), vec![line, real(0.0)]), int(2));
    let e = call("sum", Ty::Real, vec![square]);
    let outlined = outline(&program(Vec::new()), &e, &mut lens).unwrap();
    assert_eq!(run(&outlined, &[1.0, -5.0, 0.5, 1.0, 1.0, 1.0]), 9.0 + 0.0 + 4.0);
    let whole = expr(ExprKind::Array(vec![int(1), int(4)]), array(Ty::Int, 2));
    let convert = expr(ExprKind::Convert(Conversion::Elements, Box::new(whole)), array(Ty::Real, 2));
    let outlined = outline(&program(Vec::new()), &call("mean", Ty::Real, vec![convert]), &mut lens).unwrap();
    assert_eq!(run(&outlined, &[]), 2.5);
    let short = binary(BinaryOp::Add, arrays(1), local(2, array(Ty::Real, 2)));
    assert!(outline(&program(Vec::new()), &short, &mut lens).is_none(), "lengths differ");
}

#[test]
fn whole_powers_stay_whole_and_overflow_is_a_fault() {
    let power = |n| binary(BinaryOp::Pow, local(1, Ty::Int), int(n));
    for (n, x, expected) in
        [(0, 5, Ok(1)), (1, -3, Ok(-3)), (63, -2, Ok(i64::MIN)), (13, 3, Ok(1_594_323)), (63, 2, Err(Fault::Overflow))]
    {
        let outlined = outline(&program(Vec::new()), &power(n), &mut lens);
        let result = match &outlined {
            Some(o) => evaluate_both(&o.module, o.module.entry().unwrap(), &[x as u64][..o.leaves.len()]).unwrap(),
            None => Ok(vec![x as u64]),
        };
        assert_eq!(result.map(|out| out[0] as i64).map_err(|e| e.fault), expected, "{x}^{n}");
    }
}
