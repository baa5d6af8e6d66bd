//! The interpreter and compiled code say the same of every program: the same bits, the same faults at the same place.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod common;

use evo_lang::codegen::{clif, compile, evaluate_both, same_slots};
use evo_lang::ir::builder::Builder;
use evo_lang::ir::optimize::optimize;
use evo_lang::ir::simplify::simplify;
use evo_lang::ir::verify::{IrError, verify};
use evo_lang::ir::{Binary, Fault, FuncId, Module, Op, Type, Unary, Value, interp, print};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_agree(tape in prop::collection::vec(any::<u32>(), 0..400)) {
        let mut tape = common::Tape(tape.iter());
        let module = common::module(&mut tape).unwrap();
        prop_assert_eq!(verify(&module), Ok(()));
        for (i, function) in module.functions.iter().enumerate() {
            let mut inputs = Vec::new();
            function.params().for_each(|ty| tape.slots(ty, &mut inputs));
            let both = evaluate_both(&module, FuncId(i as u32), &inputs);
            prop_assert!(both.is_ok(), "{:?}\nf{} of {:?}\n{}", both, i, inputs, print::canonical(&module));
            let upto = Module { functions: module.functions[..=i].to_vec() };
            for small in [simplify(upto.clone()), optimize(&upto)] {
                prop_assert!(same_as(&upto, &small, &inputs).is_ok(), "{}", same_as(&upto, &small, &inputs).unwrap_err());
            }
        }
    }
}

/// A sum of like terms, as an unrolled loop gives: each made by the same steps of the elements from the `i`th on, but for
/// terms that the tape makes differently.
fn sum_of_terms(tape: &mut common::Tape, b: &mut Builder, array: Value, other: Value) -> Result<Value, IrError> {
    let recipe: Vec<[u32; 3]> = (0..=tape.pick(7)).map(|_| [tape.pick(8), tape.pick(9), tape.pick(9)]).collect();
    let mut sum = b.real(0.0)?;
    for i in 0..2 + tape.pick(8) {
        let odd = tape.pick(6) == 1;
        let mut term = vec![b.unary(Unary::Sqrt, other)?];
        for [op, left, right] in &recipe {
            let operand = |b: &mut Builder, which: u32| match which {
                0 | 1 => {
                    let at = b.int(i64::from(i + which))?;
                    b.push(Op::Index(array, at))
                }
                2 => b.real(if odd { 3.0 } else { -0.75 }),
                3 => Ok(other),
                _ => Ok(term[which as usize % term.len()]),
            };
            let (x, y) = (operand(b, *left)?, operand(b, *right)?);
            term.push(match op + u32::from(odd) {
                0 | 8 => b.unary(Unary::Neg, x)?,
                1 => b.unary(Unary::Abs, x)?,
                2 => b.unary(Unary::Sqrt, x)?,
                3 => b.binary(Binary::Add, x, y)?,
                4 => b.binary(Binary::Sub, x, y)?,
                5 => b.binary(Binary::Div, x, y)?,
                6 => b.binary(Binary::Max, x, y)?,
                _ => b.binary(Binary::Mul, x, y)?,
            });
        }
        sum = b.binary(Binary::Add, sum, term[term.len() - 1])?;
    }
    Ok(sum)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sums_by_pairs_of_terms_agree(tape in prop::collection::vec(any::<u32>(), 0..80)) {
        let mut tape = common::Tape(tape.iter());
        let params = [Type::array(Type::Real, 12), Type::Real];
        let module = one(&params, |b, p| sum_of_terms(&mut tape, b, p[0], p[1])).unwrap();
        let mut inputs = Vec::new();
        params.iter().for_each(|ty| tape.slots(ty, &mut inputs));
        prop_assert_eq!(same_as(&module, &optimize(&module), &inputs), Ok(()));
    }
}

#[test]
fn terms_of_a_sum_share_vectors_where_that_pays() {
    let sum = |terms: i64| {
        let array = Type::array(Type::Real, 12);
        let module = one(&[array], |b, p| {
            let mut sum = b.real(0.0)?;
            for i in 0..terms {
                let (i, next) = (b.int(i)?, b.int(i + 1)?);
                let (x, y) = (b.push(Op::Index(p[0], i))?, b.push(Op::Index(p[0], next))?);
                let (square, ten) = (b.binary(Binary::Mul, x, x)?, b.real(10.0)?);
                let gap = b.binary(Binary::Sub, y, square)?;
                let term = b.binary(Binary::Mul, ten, gap)?;
                sum = b.binary(Binary::Add, sum, term)?;
            }
            Ok(sum)
        });
        clif(&module.unwrap()).unwrap()
    };
    let vectors = |code: &str| code.matches("load.f64x2").count();
    assert_eq!((vectors(&sum(11)), vectors(&sum(4)), vectors(&sum(3))), (10, 4, 0));
}

/// Whether a module made smaller is well formed, and says what it said before, interpreted and compiled.
fn same_as(module: &Module, small: &Module, inputs: &[u64]) -> Result<(), String> {
    let shown = |what: String| format!("{what}\n{inputs:?}\n{}\n{}", print::canonical(module), print::canonical(small));
    verify(small).map_err(|e| shown(e.to_string()))?;
    let (entry, small_entry) = (module.entry().unwrap(), small.entry().unwrap());
    let before = interp::run(module, entry, inputs);
    let after = evaluate_both(small, small_entry, inputs).map_err(|e| shown(format!("{e:?}")))?;
    let same = match (&before, &after) {
        (Ok(a), Ok(b)) => same_slots(module.function(entry).unwrap().result().unwrap(), a, b),
        (a, b) => a == b,
    };
    if same { Ok(()) } else { Err(shown(format!("{before:?} is now {after:?}"))) }
}

fn one(
    params: &[Type],
    body: impl FnOnce(&mut Builder, &[Value]) -> Result<Value, IrError>,
) -> Result<Module, IrError> {
    let mut b = Builder::new("f", params);
    let values = b.params().to_vec();
    let result = body(&mut b, &values)?;
    Ok(Module { functions: vec![b.finish(result)?] })
}

#[test]
fn every_scalar_operation_agrees_on_hard_operands() {
    let reals = [
        0.0,
        -0.0,
        0.5,
        -0.5,
        2.5,
        -1.5,
        1e-310,
        709.9,
        -745.2,
        1e300,
        1e19,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    let ints = [0, 1, -1, 2, -7, 10, i64::MAX, i64::MIN, i64::MIN + 1];
    let slots = |ty: &Type| -> Vec<u64> {
        match ty {
            Type::Real => reals.iter().map(|x| x.to_bits()).collect(),
            Type::Int => ints.iter().map(|x| *x as u64).collect(),
            _ => vec![0, 1],
        }
    };
    let mut tried = 0;
    for ty in [Type::Real, Type::Int, Type::Bool] {
        for op in Unary::ALL {
            let mut b = Builder::new("f", std::slice::from_ref(&ty));
            let x = b.params()[0];
            let Ok(y) = b.unary(op, x) else { continue };
            let module = Module { functions: vec![b.finish(y).unwrap()] };
            for x in slots(&ty) {
                assert!(evaluate_both(&module, FuncId(0), &[x]).is_ok(), "{op:?} {x}");
                tried += 1;
            }
        }
        for op in Binary::ALL {
            let mut b = Builder::new("f", &[ty.clone(), ty.clone()]);
            let (x, y) = (b.params()[0], b.params()[1]);
            let Ok(z) = b.binary(op, x, y) else { continue };
            let module = Module { functions: vec![b.finish(z).unwrap()] };
            let code = compile(&module).unwrap();
            for (x, y) in slots(&ty).iter().flat_map(|x| slots(&ty).into_iter().map(move |y| (*x, y))) {
                let mut out = [0];
                let made = code.call(FuncId(0), &[x, y], &mut out).map(|()| out.to_vec());
                let told = evo_lang::ir::interp::run(&module, FuncId(0), &[x, y]);
                let nan = |r: &Result<Vec<u64>, _>| matches!(r, Ok(v) if f64::from_bits(v[0]).is_nan());
                assert!(
                    made == told || (ty == Type::Real && nan(&made) && nan(&told)),
                    "{op:?} {x:x} {y:x}: {made:?} {told:?}"
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 3500, "{tried}");
}

#[test]
fn an_accumulator_may_be_made_of_its_own_parts() {
    // Three rounds of (a, b) -> (b, a), and of reversing, over arrays too long for SSA values.
    let array = Type::array(Type::Real, 20);
    let swap = one(&[array.clone(), array.clone()], |b, p| {
        let pair = b.push(Op::Struct(vec![p[0], p[1]]))?;
        b.fold(3, pair, |b, _, state| {
            let (x, y) = (b.push(Op::Field(state, 0))?, b.push(Op::Field(state, 1))?);
            b.push(Op::Struct(vec![y, x]))
        })
    })
    .unwrap();
    let reverse = one(&[array], |b, p| {
        b.fold(3, p[0], |b, _, state| {
            let last = b.int(19)?;
            b.build(20, |b, i| {
                let i = b.binary(Binary::Sub, last, i)?;
                b.push(Op::Index(state, i))
            })
        })
    })
    .unwrap();
    let inputs: Vec<u64> = (0..40).map(|i| f64::from(i).to_bits()).collect();
    let out = evaluate_both(&swap, FuncId(0), &inputs).unwrap().unwrap();
    assert_eq!((&out[..20], &out[20..]), (&inputs[20..], &inputs[..20]));
    let out = evaluate_both(&reverse, FuncId(0), &inputs[..20]).unwrap().unwrap();
    assert!(out.iter().eq(inputs[..20].iter().rev()));
}

#[test]
fn wrong_slots_are_refused_and_threads_may_share_code() {
    let module = one(&[Type::Int], |b, p| b.binary(Binary::Mul, p[0], p[0])).unwrap();
    let code = compile(&module).unwrap();
    let fault = |inputs: &[u64], out: &mut [u64]| code.call(FuncId(0), inputs, out).unwrap_err().fault;
    assert_eq!(fault(&[], &mut [0]), Fault::Slots { expected: 1, given: 0 });
    assert_eq!(fault(&[1], &mut []), Fault::Slots { expected: 1, given: 0 });
    assert!(code.call(FuncId(9), &[], &mut []).is_err());
    std::thread::scope(|scope| {
        for i in 0..4u64 {
            let code = &code;
            scope.spawn(move || {
                for x in i..i + 1000 {
                    let mut out = [0];
                    assert_eq!(code.call(FuncId(0), &[x], &mut out), Ok(()));
                    assert_eq!(out, [x * x]);
                }
            });
        }
    });
}

#[test]
fn long_temporaries_live_outside_the_stack() {
    let len = 1 << 20;
    let module = one(&[Type::Real], |b, p| {
        let xs = b.build(len, |b, i| {
            let i = b.unary(Unary::ToReal, i)?;
            b.binary(Binary::Mul, i, p[0])
        })?;
        let zero = b.real(0.0)?;
        b.fold(len, zero, |b, i, sum| {
            let x = b.push(Op::Index(xs, i))?;
            b.binary(Binary::Add, sum, x)
        })
    })
    .unwrap();
    let code = compile(&module).unwrap();
    let run = || {
        let mut out = [0];
        code.call(FuncId(0), &[0.5f64.to_bits()], &mut out).unwrap();
        f64::from_bits(out[0])
    };
    let small_stack = std::thread::scope(|s| {
        std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(s, run).unwrap().join().unwrap()
    });
    assert_eq!(small_stack, (len * (len - 1) / 4) as f64);
}
