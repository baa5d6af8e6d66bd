//! Optimised code says what it said before, bit for bit and fault for fault; and is smaller where it should be.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

#[allow(dead_code, reason = "the other engines' test uses the rest")]
mod common;

use common::Tape;
use evo_lang::codegen::{compile, same_slots};
use evo_lang::ir::builder::Builder;
use evo_lang::ir::differentiate::row_gradient;
use evo_lang::ir::optimize::{optimize, optimize_rows};
use evo_lang::ir::ranges::{Faults, faults};
use evo_lang::ir::rows::RowFunction;
use evo_lang::ir::verify::{IrError, verify};
use evo_lang::ir::{Binary, Block, Fault, Module, Op, Step, Type, Unary, Value, interp, print};
use evo_lang::span::Span;
use proptest::prelude::*;

type Made = Result<Value, IrError>;

/// Interpreted as it is, interpreted and compiled when optimised: one answer.
fn agree(module: &Module, inputs: &[u64]) -> Result<(), String> {
    let small = optimize(module);
    let shown =
        |what: String| format!("{what}\n{inputs:?}\n{}\n{}", print::canonical(module), print::canonical(&small));
    verify(&small).map_err(|e| shown(e.to_string()))?;
    let entry = module.entry().unwrap();
    let ty = module.function(entry).unwrap().result().unwrap().clone();
    let told = interp::run(module, entry, inputs);
    for code in [module, &small] {
        let entry = code.entry().unwrap();
        let mut out = vec![0; ty.slots() as usize];
        let made = compile(code).unwrap().call(entry, inputs, &mut out).map(|()| out);
        for (how, made) in [("compiled", made), ("interpreted", interp::run(code, entry, inputs))] {
            let same = match (&told, &made) {
                (Ok(a), Ok(b)) => same_slots(&ty, a, b),
                (a, b) => a == b,
            };
            if !same {
                return Err(shown(format!("{told:?} is {how} as {made:?}")));
            }
        }
    }
    Ok(())
}

/// Loops over arrays, with indices of all sorts: some sure to be in range, some not.
struct Maker<'t, 'a> {
    tape: &'t mut Tape<'a>,
    b: Builder,
    ints: Vec<Value>,
    reals: Vec<Value>,
    arrays: Vec<Value>,
}

impl Maker<'_, '_> {
    /// Every step has a place of its own, so that faults tell steps apart.
    fn push(&mut self, op: Op) -> Made {
        self.b.span = Span { start: self.b.span.start + 1, ..Span::default() };
        self.b.push(op)
    }

    fn binary(&mut self, op: Binary, a: Value, b: Value) -> Made {
        self.push(Op::Binary(op, a, b))
    }

    fn of(&mut self, items: &[Value]) -> Value {
        items[self.tape.pick(items.len() as u32) as usize]
    }

    fn int(&mut self, depth: u32) -> Made {
        use Binary::*;
        let made = match if depth == 0 { self.tape.pick(2) } else { self.tape.pick(9) } {
            0 => {
                let ints = self.ints.clone();
                self.of(&ints)
            }
            1 => {
                let value = [0, 1, 2, 3, 5, -1, 7, -3][self.tape.pick(8) as usize];
                self.push(Op::Int(value))?
            }
            2 => {
                let (low, high, x) = (self.push(Op::Int(0))?, self.push(Op::Int(3))?, self.int(depth - 1)?);
                let x = self.binary(Max, x, low)?;
                self.binary(Min, x, high)?
            }
            3 => {
                let (condition, then, otherwise) = (self.bool(depth - 1)?, self.int(depth - 1)?, self.int(depth - 1)?);
                self.push(Op::Select { condition, then, otherwise })?
            }
            4 => {
                let x = self.int(depth - 1)?;
                let op = [Unary::Neg, Unary::Abs, Unary::Sign][self.tape.pick(3) as usize];
                self.push(Op::Unary(op, x))?
            }
            5 => {
                // A count, a sum of indices, or the last that some condition held for.
                let (init, how) = (self.int(depth - 1)?, self.tape.pick(2));
                self.fold(init, |m, i, state| {
                    let (condition, one) = (m.bool(depth - 1)?, m.int(depth - 1)?);
                    if how == 0 {
                        let zero = m.push(Op::Int(0))?;
                        let step = m.push(Op::Select { condition, then: one, otherwise: zero })?;
                        return m.binary(Add, state, step);
                    }
                    m.push(Op::Select { condition, then: i, otherwise: state })
                })?
            }
            _ => {
                let op = [Add, Sub, Mul, IntDiv, Rem, Min, Max, Add, Sub][self.tape.pick(9) as usize];
                let (a, b) = (self.int(depth - 1)?, self.int(depth - 1)?);
                self.binary(op, a, b)?
            }
        };
        self.ints.push(made);
        Ok(made)
    }

    fn bool(&mut self, depth: u32) -> Made {
        use Binary::*;
        let op = [Lt, Le, Gt, Ge, Eq, Ne][self.tape.pick(6) as usize];
        let (a, b) = (self.int(depth.min(1))?, self.int(depth.min(1))?);
        let first = self.binary(op, a, b)?;
        if depth == 0 || self.tape.pick(3) > 0 {
            return Ok(first);
        }
        match self.tape.pick(3) {
            0 => self.push(Op::Unary(Unary::Not, first)),
            1 => self.branch(first, |m| m.bool(depth - 1), |m| m.push(Op::Bool(false))),
            _ => self.branch(first, |m| m.push(Op::Bool(true)), |m| m.bool(depth - 1)),
        }
    }

    fn branch(
        &mut self,
        condition: Value,
        then: impl FnOnce(&mut Self) -> Made,
        otherwise: impl FnOnce(&mut Self) -> Made,
    ) -> Made {
        let then = self.block(&[], |m, _| then(m))?;
        let otherwise = self.block(&[], |m, _| otherwise(m))?;
        self.push(Op::If { condition, then, otherwise })
    }

    fn block(&mut self, params: &[Type], body: impl FnOnce(&mut Self, &[Value]) -> Made) -> Result<Block, IrError> {
        let scopes = (self.ints.len(), self.reals.len(), self.arrays.len());
        let params = self.b.open(params);
        for param in &params {
            match self.b.ty(*param) {
                Type::Int => self.ints.push(*param),
                Type::Real => self.reals.push(*param),
                _ => self.arrays.push(*param),
            }
        }
        let result = body(self, &params)?;
        self.ints.truncate(scopes.0);
        self.reals.truncate(scopes.1);
        self.arrays.truncate(scopes.2);
        self.b.close(result)
    }

    fn fold(&mut self, init: Value, body: impl FnOnce(&mut Self, Value, Value) -> Made) -> Made {
        let len = u64::from(self.tape.pick(24)) % 7 * if self.tape.pick(4) == 0 { 4 } else { 1 };
        let body = self.block(&[Type::Int, self.b.ty(init)], |m, p| body(m, p[0], p[1]))?;
        self.push(Op::Fold { len, init, body })
    }

    fn real(&mut self, depth: u32) -> Made {
        use Binary::*;
        let made = match if depth == 0 { self.tape.pick(2) } else { self.tape.pick(9) } {
            0 => {
                let reals = self.reals.clone();
                self.of(&reals)
            }
            1 => {
                let value = [0.0, -0.0, 1.0, -1.0, 2.0, 0.1, 8.0][self.tape.pick(7) as usize];
                self.push(Op::Real(value))?
            }
            2 | 3 => {
                let arrays = self.arrays.clone();
                let (base, index) = (self.of(&arrays), self.int(depth - 1)?);
                self.push(Op::Index(base, index))?
            }
            4 => {
                let array = self.array(depth - 1)?;
                let zero = self.push(Op::Real(0.0))?;
                let Type::Array(_, len) = self.b.ty(array) else { return Ok(zero) };
                let body = self.block(&[Type::Int, Type::Real], |m, p| {
                    let x = m.push(Op::Index(array, p[0]))?;
                    let x = if m.tape.pick(3) == 0 { m.real(0)? } else { x };
                    m.binary(Add, p[1], x)
                })?;
                self.push(Op::Fold { len, init: zero, body })?
            }
            5 => {
                let condition = self.bool(depth - 1)?;
                self.branch(condition, |m| m.real(depth - 1), |m| m.real(depth - 1))?
            }
            6 => {
                let init = self.real(depth - 1)?;
                self.fold(init, |m, _, _| m.real(depth - 1))?
            }
            7 => {
                let op = [Unary::Neg, Unary::Abs, Unary::Exp, Unary::Relu, Unary::Cos][self.tape.pick(5) as usize];
                let x = self.real(depth - 1)?;
                self.push(Op::Unary(op, x))?
            }
            _ => {
                let op = [Add, Sub, Mul, Div, Min, Max, Pow][self.tape.pick(7) as usize];
                let (a, b) = (self.real(depth - 1)?, self.real(depth - 1)?);
                self.binary(op, a, b)?
            }
        };
        self.reals.push(made);
        Ok(made)
    }

    fn array(&mut self, depth: u32) -> Made {
        let len = u64::from(1 + self.tape.pick(7)) * if self.tape.pick(4) == 0 { 5 } else { 1 };
        let body = self.block(&[Type::Int], |m, _| m.real(depth))?;
        let made = self.push(Op::Build { len, body })?;
        self.arrays.push(made);
        Ok(made)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn loops_over_arrays_agree(numbers in prop::collection::vec(any::<u32>(), 0..300)) {
        let mut tape = Tape(numbers.iter());
        let params = [Type::Int, Type::Real, Type::array(Type::Real, 5), Type::array(Type::Real, 3)];
        let b = Builder::new("f", &params);
        let p = b.params().to_vec();
        let (ints, reals, arrays) = (vec![p[0]], vec![p[1]], vec![p[2], p[3]]);
        let mut maker = Maker { tape: &mut tape, b, ints, reals, arrays };
        let (x, ys, n) = (maker.real(4).unwrap(), maker.array(3).unwrap(), maker.int(3).unwrap());
        let result = maker.push(Op::Struct(vec![x, ys, n])).unwrap();
        let module = Module { functions: vec![maker.b.finish(result).unwrap()] };
        prop_assert_eq!(verify(&module), Ok(()));
        for _ in 0..3 {
            let mut inputs = Vec::new();
            module.functions[0].params().for_each(|ty| tape.slots(ty, &mut inputs));
            let told = agree(&module, &inputs);
            prop_assert!(told.is_ok(), "{}", told.unwrap_err());
        }
    }
}

fn one(params: &[Type], body: impl FnOnce(&mut Builder, &[Value]) -> Made) -> Module {
    let mut b = Builder::new("f", params);
    let values = b.params().to_vec();
    let result = body(&mut b, &values).unwrap();
    Module { functions: vec![b.finish(result).unwrap()] }
}

/// How often an operation stands in a module, inner blocks too.
fn count(module: &Module, which: &dyn Fn(&Op) -> bool) -> usize {
    fn block(b: &Block, which: &dyn Fn(&Op) -> bool) -> usize {
        b.steps.iter().map(|s| usize::from(which(&s.op)) + s.op.blocks().map(|b| block(b, which)).sum::<usize>()).sum()
    }
    module.functions.iter().map(|f| block(&f.body, which)).sum()
}

fn is_index_checked(module: &Module) -> bool {
    fn any(proved: &Faults, block: &Block) -> bool {
        let checked = |s: &Step| matches!(s.op, Op::Index(..)) && proved.of(s.value).index;
        block.steps.iter().any(|s| checked(s) || s.op.blocks().any(|inner| any(proved, inner)))
    }
    module.functions.iter().any(|f| any(&faults(f, &[]), &f.body))
}

#[test]
fn an_index_is_checked_where_and_only_where_it_can_be_out_of_range() {
    // xs[a * i + c] for i in 0..rounds, over five numbers, plain and behind a guard.
    let mut raised = 0;
    for (a, c, rounds) in (-2i64..=3).flat_map(|a| (-3i64..=5).flat_map(move |c| (1..=7u64).map(move |r| (a, c, r)))) {
        for guarded in [false, true] {
            let module = one(&[Type::array(Type::Real, 5)], |b, p| {
                let (scale, offset, zero) = (b.int(a)?, b.int(c)?, b.real(0.0)?);
                b.fold(rounds, zero, |b, i, sum| {
                    let at = b.binary(Binary::Mul, scale, i)?;
                    let at = b.binary(Binary::Add, at, offset)?;
                    b.span = Span { start: 77, end: 78, ..Span::default() };
                    if !guarded {
                        let x = b.push(Op::Index(p[0], at))?;
                        return b.binary(Binary::Add, sum, x);
                    }
                    let (least, end) = (b.int(0)?, b.int(5)?);
                    let low = b.binary(Binary::Ge, at, least)?;
                    let high = b.binary(Binary::Lt, at, end)?;
                    let both = b.push(Op::Select { condition: low, then: high, otherwise: low })?;
                    let x = b.branch(both, |b| b.push(Op::Index(p[0], at)), |_| Ok::<_, IrError>(zero))?;
                    b.binary(Binary::Add, sum, x)
                })
            });
            let out = |i: u64| a * i as i64 + c;
            let first = (0..rounds).map(out).find(|i| !(0..5).contains(i));
            let never = !(0..rounds).map(out).any(|i| (0..5).contains(&i));
            // Whether a branch that never runs has its checks does not matter.
            assert!(
                guarded && never || is_index_checked(&module) == (first.is_some() && !guarded),
                "{a} {c} {rounds} {guarded}"
            );
            let inputs: Vec<u64> = (1..=5).map(|x| f64::from(x).to_bits()).collect();
            agree(&module, &inputs).unwrap();
            let small = optimize(&module);
            let told = compile(&small).unwrap().call(small.entry().unwrap(), &inputs, &mut [0]);
            match (first, guarded) {
                (Some(index), false) => {
                    let error = told.unwrap_err();
                    assert_eq!((error.fault, error.span.start), (Fault::Index { index, len: 5 }, 77));
                    raised += 1;
                }
                _ => assert_eq!(told, Ok(())),
            }
        }
    }
    assert!(raised > 200, "{raised}");
}

#[test]
fn equal_steps_are_computed_once_and_constants_not_at_all() {
    let module = one(&[Type::Real, Type::Real], |b, p| {
        let exp = |b: &mut Builder, x, y| {
            let product = b.binary(Binary::Mul, x, y)?;
            b.unary(Unary::Exp, product)
        };
        let (first, second) = (exp(b, p[0], p[1])?, exp(b, p[1], p[0])?);
        let (two, minus_zero) = (b.real(2.0)?, b.real(-0.0)?);
        let half = b.binary(Binary::Div, first, two)?;
        let same = b.binary(Binary::Add, half, minus_zero)?;
        let log = b.unary(Unary::Log, two)?;
        let less = b.binary(Binary::Sub, second, log)?;
        b.binary(Binary::Mul, same, less)
    });
    let small = optimize(&module);
    let is = |op: Unary| count(&small, &|o| matches!(o, Op::Unary(u, _) if *u == op));
    assert_eq!((is(Unary::Exp), is(Unary::Log)), (1, 0), "{}", print::canonical(&small));
    assert_eq!(count(&small, &|o| matches!(o, Op::Binary(Binary::Add | Binary::Div, ..))), 0);
    agree(&module, &[0.3f64.to_bits(), 1.7f64.to_bits()]).unwrap();
}

#[test]
fn ieee_identities_are_no_more_than_they_are() {
    // x + 0, x * 0, x - x, 0 - x and x / 3 are not simplified: -0, NaN and rounding tell them apart.
    let module = one(&[Type::Real], |b, p| {
        let (zero, three) = (b.real(0.0)?, b.real(3.0)?);
        let parts = [
            b.binary(Binary::Add, p[0], zero)?,
            b.binary(Binary::Mul, p[0], zero)?,
            b.binary(Binary::Sub, p[0], p[0])?,
            b.binary(Binary::Sub, zero, p[0])?,
            b.binary(Binary::Div, p[0], three)?,
        ];
        b.push(Op::Struct(parts.to_vec()))
    });
    assert_eq!(count(&optimize(&module), &|o| matches!(o, Op::Binary(..))), 5);
    for x in [0.0, -0.0, f64::NAN, f64::INFINITY, -2.5, 5e-324] {
        agree(&module, &[x.to_bits()]).unwrap();
    }
}

#[test]
fn a_sum_over_a_comprehension_makes_no_array_and_what_stays_leaves_the_loop() {
    let module = one(&[Type::array(Type::Real, 100), Type::Real], |b, p| {
        let squares = b.build(100, |b, i| {
            let (x, scale) = (b.push(Op::Index(p[0], i))?, b.unary(Unary::Exp, p[1])?);
            let x = b.binary(Binary::Mul, x, x)?;
            b.binary(Binary::Mul, x, scale)
        })?;
        let zero = b.real(0.0)?;
        b.fold(100, zero, |b, i, sum| {
            let x = b.push(Op::Index(squares, i))?;
            b.binary(Binary::Add, sum, x)
        })
    });
    let small = optimize(&module);
    assert_eq!(count(&small, &|o| matches!(o, Op::Build { .. })), 0, "{}", print::canonical(&small));
    let body = &small.functions[0].body;
    let loops: Vec<&Block> = body.steps.iter().flat_map(|s| s.op.blocks()).collect();
    let in_loops = |which: fn(&Op) -> bool| loops.iter().flat_map(|b| &b.steps).filter(|s| which(&s.op)).count();
    // Four rounds in one, each an index, two products and a sum.
    let (unary, reads) = (in_loops(|o| matches!(o, Op::Unary(..))), in_loops(|o| matches!(o, Op::Index(..))));
    let steps: usize = loops.iter().map(|b| b.size()).sum();
    assert!((unary, reads) == (0, 4) && steps <= 28, "{}", print::canonical(&small));
    let inputs: Vec<u64> = (0..101).map(|x| (f64::from(x) / 50.0).to_bits()).collect();
    agree(&module, &inputs).unwrap();
}

#[test]
fn faults_stay_where_they_are() {
    // A division that would leave the loop stays behind the index that faults first; the unread one still faults.
    let module = one(&[Type::array(Type::Int, 3), Type::Int], |b, p| {
        b.span = Span { start: 1, ..Span::default() };
        let ten = b.int(10)?;
        let sums = b.fold(5, ten, |b, i, sum| {
            b.span = Span { start: 2, ..Span::default() };
            let x = b.push(Op::Index(p[0], i))?;
            b.span = Span { start: 3, ..Span::default() };
            let y = b.binary(Binary::IntDiv, ten, p[1])?;
            let z = b.binary(Binary::Add, x, y)?;
            b.binary(Binary::Add, sum, z)
        })?;
        b.span = Span { start: 4, ..Span::default() };
        let _unread = b.binary(Binary::IntDiv, sums, p[1])?;
        b.push(Op::Struct(vec![sums]))
    });
    for k in [0, 1, 2] {
        agree(&module, &[1, 2, 3, k]).unwrap();
    }
    let made_late = one(&[Type::array(Type::Int, 3)], |b, p| {
        // The array's own fault comes before the reader's, round by round or not.
        let array = b.build(5, |b, i| {
            b.span = Span { start: 2, ..Span::default() };
            b.push(Op::Index(p[0], i))
        })?;
        let zero = b.int(0)?;
        b.fold(5, zero, |b, i, sum| {
            b.span = Span { start: 3, ..Span::default() };
            let x = b.push(Op::Index(array, i))?;
            b.binary(Binary::IntDiv, sum, x)
        })
    });
    agree(&made_late, &[0, 0, 0]).unwrap();
    agree(&made_late, &[1, 1, 1]).unwrap();
}

#[test]
fn calls_in_place_do_not_explode() {
    // f0 is called twice by f1, that twice by f2 …: 2^40 steps if all were in place.
    let mut module = Module::default();
    let mut b = Builder::new("f0", &[Type::Real]);
    let mut x = b.params()[0];
    for _ in 0..30 {
        x = b.unary(Unary::Sin, x).unwrap();
    }
    module.functions.push(b.finish(x).unwrap());
    for i in 1..40 {
        let mut b = Builder::new(format!("f{i}"), &[Type::Real]);
        let id = module.entry().unwrap();
        let x = b.call(&module, id, vec![b.params()[0]]).unwrap();
        let one = b.real(1.0).unwrap();
        let y = b.binary(Binary::Add, x, one).unwrap();
        let y = b.call(&module, id, vec![y]).unwrap();
        let sum = b.binary(Binary::Add, x, y).unwrap();
        module.functions.push(b.finish(sum).unwrap());
    }
    let small = optimize(&module);
    assert_eq!(verify(&small), Ok(()));
    let size: usize = small.functions.iter().map(|f| f.body.size()).sum();
    assert!(size < 10_000, "{size}");
}

#[test]
fn long_code_stops_when_asked() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let module = one(&[Type::Real], |b, p| {
        b.fold(1 << 24, p[0], |b, _, x| b.fold(1 << 24, x, |b, _, x| b.unary(Unary::Cos, x)))
    });
    let small = optimize(&module);
    let code = compile(&small).unwrap();
    let stop = AtomicBool::new(false);
    let told = std::thread::scope(|scope| {
        let running = scope.spawn(|| code.call_until(small.entry().unwrap(), &[0], &mut [0], &stop));
        std::thread::sleep(std::time::Duration::from_millis(20));
        stop.store(true, Ordering::Relaxed);
        running.join().unwrap()
    });
    assert_eq!(told.unwrap_err().fault, Fault::Stopped);
}

#[test]
fn many_calls_are_those_one_by_one() {
    let module = one(&[Type::Int, Type::array(Type::Int, 3)], |b, p| b.push(Op::Index(p[1], p[0])));
    let code = compile(&module).unwrap();
    let entry = module.entry().unwrap();
    let inputs = [0, 10, 11, 12, 2, 20, 21, 22, 3, 30, 31, 32, 1, 40, 41, 42];
    let mut out = [0; 4];
    assert_eq!(code.call_many(entry, 2, &inputs[..8], &mut out[..2]), Ok(()));
    assert_eq!(out, [10, 22, 0, 0]);
    let (call, error) = code.call_many(entry, 4, &inputs, &mut out).unwrap_err();
    assert_eq!((call, error.fault), (2, Fault::Index { index: 3, len: 3 }));
    assert!(code.call_many(entry, 3, &inputs, &mut out).is_err());
}

#[test]
fn value_and_gradient_of_a_loss_share_what_they_have_in_common() {
    // Log-ratio modulated: (1 - m) * -log_sigmoid(z) + m * exp(-z), with m = sigmoid(z / tau), written as a person would,
    // with each part where it is used.
    let mut b = Builder::new("loss", &[Type::Real, Type::Real]);
    let (z, tau) = (b.params()[0], b.params()[1]);
    let modulation = |b: &mut Builder| {
        let scaled = b.binary(Binary::Div, z, tau)?;
        b.unary(Unary::Sigmoid, scaled)
    };
    let made = (|| {
        let (one, m) = (b.real(1.0)?, modulation(&mut b)?);
        let rest = b.binary(Binary::Sub, one, m)?;
        let log = b.unary(Unary::LogSigmoid, z)?;
        let logistic = b.unary(Unary::Neg, log)?;
        let first = b.binary(Binary::Mul, rest, logistic)?;
        let (m, minus) = (modulation(&mut b)?, b.unary(Unary::Neg, z)?);
        let exponential = b.unary(Unary::Exp, minus)?;
        let second = b.binary(Binary::Mul, m, exponential)?;
        b.binary(Binary::Add, first, second)
    })();
    let row = RowFunction { function: b.finish(made.unwrap()).unwrap(), uniform: vec![false, true] };
    let both = row_gradient(&row, &[0]).unwrap();
    let small = optimize_rows(&both);
    let module = |row: &RowFunction| Module { functions: vec![row.function.clone()] };
    let steps = |row: &RowFunction, op: Unary| count(&module(row), &|o| matches!(o, Op::Unary(u, _) if *u == op));
    let text = print::canonical(&module(&small));
    assert_eq!((steps(&small, Unary::Exp), steps(&small, Unary::LogSigmoid)), (1, 1), "{text}");
    // sigmoid(z / tau), its slope's sigmoid(-z / tau), and sigmoid(-z) of the logistic part.
    assert_eq!(steps(&small, Unary::Sigmoid), 3, "{text}");
    let (before, after) = (both.function.body.size(), small.function.body.size());
    assert!(after < before && after <= 30, "{after} of {before} steps:\n{text}");
    let z: Vec<f64> = (-40..40).map(|i| f64::from(i) / 3.0).collect();
    assert_eq!(interp::run_rows(&small, 80, &[&z, &[0.05]]), interp::run_rows(&both, 80, &[&z, &[0.05]]));
}
