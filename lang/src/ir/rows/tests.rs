//! What row code is, what it is not, and what its operations mean.

use super::*;
use crate::ir::builder::Builder;
use crate::ir::interp::run_rows;
use crate::ir::{Module, print};

fn over(params: usize, body: impl FnOnce(&mut Builder, &[Value]) -> Result<Value, IrError>) -> RowFunction {
    let mut b = Builder::new("f", &vec![Type::Real; params]);
    let values = b.params().to_vec();
    let result = body(&mut b, &values).unwrap();
    RowFunction { function: b.finish(result).unwrap(), uniform: vec![false; params] }
}

#[test]
fn sorting_is_stable_and_unsorting_its_inverse() {
    let sorted = over(2, |b, v| b.push(Op::Batch(Batch::Sort { key: v[0], value: v[1] })));
    let keys = [2.0, f64::NAN, -0.0, 2.0, 0.0];
    let values = [1.0, 2.0, 3.0, 4.0, 5.0];
    verify(&sorted).unwrap();
    assert_eq!(run_rows(&sorted, 5, &[&keys, &values]).unwrap(), [[3.0, 5.0, 1.0, 4.0, 2.0]]);
    let there_and_back = over(2, |b, v| {
        let sorted = b.push(Op::Batch(Batch::Sort { key: v[0], value: v[1] }))?;
        b.push(Op::Batch(Batch::Unsort { key: v[0], value: sorted }))
    });
    assert_eq!(run_rows(&there_and_back, 5, &[&keys, &values]).unwrap(), [values]);
}

#[test]
fn statistics_are_those_of_the_batch() {
    let x = [1.0, 2.0, 4.0, 9.0];
    let spread = |ddof: f64| {
        over(1, |b, v| {
            let ddof = b.real(ddof)?;
            let (m, var, sd) = (mean(b, v[0])?, variance(b, v[0], ddof)?, deviation(b, v[0], ddof)?);
            b.push(Op::Struct(vec![m, var, sd]))
        })
    };
    assert_eq!(run_rows(&spread(0.0), 4, &[&x]).unwrap(), [[4.0], [9.5], [9.5f64.sqrt()]]);
    assert_eq!(run_rows(&spread(1.0), 4, &[&x]).unwrap(), [[4.0], [38.0 / 3.0], [(38.0f64 / 3.0).sqrt()]]);
    assert_eq!(run_rows(&spread(0.0), 2, &[&[3.0, 3.0]]).unwrap(), [[3.0], [0.0], [0.0]]);
}

#[test]
fn stages_count_what_must_be_swept_before() {
    let row = over(1, |b, v| {
        let zero = b.real(0.0)?;
        let var = variance(b, v[0], zero)?;
        b.binary(Binary::Mul, var, v[0])
    });
    let placed = levels(&row);
    let of = |v: Value| placed[v.0 as usize];
    let stages: Vec<u32> = row
        .function
        .body
        .steps
        .iter()
        .filter(|s| matches!(s.op, Op::Batch(Batch::Sum(_))))
        .map(|s| of(s.value).stage)
        .collect();
    assert_eq!(stages, [1, 2]);
    assert_eq!(of(row.function.body.result), Placed { level: Level::Row, stage: 2 });
}

#[test]
fn what_is_no_row_code_is_refused() {
    let sum = over(1, |b, v| b.push(Op::Batch(Batch::Sum(v[0]))));
    assert_eq!(verify(&sum), Ok(()));
    let module = Module { functions: vec![sum.function.clone()] };
    assert!(crate::ir::verify::verify(&module).is_err());
    assert!(print::canonical(&module).contains("v1 = batch_sum v0\n"));
    assert!(verify(&RowFunction { uniform: vec![true], ..sum.clone() }).is_err());
    assert!(verify(&RowFunction { uniform: vec![], ..sum }).is_err());
    let branch = over(1, |b, v| {
        let yes = b.bool(true)?;
        b.branch(yes, |_| Ok::<_, IrError>(v[0]), |_| Ok(v[0]))
    });
    assert!(verify(&branch).is_err());
    let whole = over(1, |b, v| {
        b.unary(Unary::ToInt, v[0])?;
        Ok(v[0])
    });
    assert!(verify(&whole).is_err());
}
