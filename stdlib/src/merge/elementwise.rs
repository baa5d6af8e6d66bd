//! `elementwise`: a merge by a formula of one's own, compiled to block operations and run over whole tensors.

use std::sync::{Arc, OnceLock};

use evo_lang::codegen::CompileError;
use evo_lang::codegen::rows::{Column, ColumnMut, Misfit, Precision, RowProgram, Storage, compile};
use evo_lang::ir::rows::RowFunction;
use evo_lang::plan::{Answer, Call, Problem};
use evo_lang::types::Ty;

use super::facts;
use super::methods::{Method, merge};
use super::rule::{Rule, Stored};
use super::weight::TensorInfo;
use crate::args;
use crate::bind::{FromValue, Place};
use crate::cx::{Cx, Failure};
use crate::model::Model;
use crate::numeric::blocks;
use crate::value::{NumericFn, Value};

/// A closure with one real a model.
pub(super) struct Formula(NumericFn);

impl FromValue for Formula {
    fn fits(ty: &Ty) -> bool {
        matches!(ty, Ty::Union(_) | Ty::Fn(_))
    }

    fn rust() -> String {
        "Formula".to_owned()
    }

    fn from_value(value: Value) -> Option<Formula> {
        if let Value::Code(f) = value { Some(Formula(f)) } else { None }
    }
}

args! {
    /// Arguments of `elementwise`.
    pub(super) struct ElementwiseArgs { models: Vec<Model>, f: Formula }
}

/// The formula as row code, and its programs, made when a tensor of their storage is met.
struct Elementwise {
    row: RowFunction,
    programs: [OnceLock<Result<Arc<RowProgram>, String>>; 3],
}

pub(super) fn elementwise(cx: &Cx<'_>, args: ElementwiseArgs) -> Result<Model, Failure> {
    let Formula(f) = args.f;
    if f.arity != args.models.len() {
        return Err(Failure::new("R0510", wrong_count(f.arity, args.models.len())).help(ONE_EACH));
    }
    let row = RowFunction::of_closure(f.code.module(), &f.captured, f.arity)
        .map_err(|error| Failure::new("R0510", format!("this formula is no elementwise code: {error}")).help(PLAIN))?;
    let method = Elementwise { row, programs: Default::default() };
    merge(cx, &args.models.iter().collect::<Vec<_>>(), &method)
}

impl Elementwise {
    fn program(&self, storage: Storage) -> Result<&Arc<RowProgram>, Failure> {
        let [single, brain, half] = &self.programs;
        let slot = match storage {
            Storage::Bf16 => brain,
            Storage::F16 => half,
            Storage::F32 | Storage::F64 => single,
        };
        let inputs = vec![storage; self.row.uniform.len()];
        let make = || compile(&self.row, Precision::Single, &inputs, &[storage], &blocks()).map(Arc::new);
        let made = slot.get_or_init(|| make().map_err(|error: CompileError| error.to_string()));
        made.as_ref().map_err(|error| Failure::new("R0510", error.clone()).help(PLAIN))
    }
}

impl Method for Elementwise {
    fn rule<E: Stored>(&self, inputs: &[&[E]], _: &TensorInfo) -> Result<Box<dyn Rule<E>>, Failure> {
        let rows = Rows(Arc::clone(self.program(E::STORAGE)?));
        // What does not fit is told now, of no element.
        let none: Vec<&[E]> = inputs.iter().map(|input| input.get(..0).unwrap_or_default()).collect();
        rows.run(&none, &mut []).map_err(|error| Failure::new("R0504", error.to_string()))?;
        Ok(Box::new(rows))
    }
}

/// The compiled formula.
struct Rows(Arc<RowProgram>);

impl Rows {
    fn run<E: Stored>(&self, inputs: &[&[E]], out: &mut [E]) -> Result<(), Misfit> {
        let columns: Vec<Column<'_>> = inputs.iter().map(|x| E::column(x)).collect();
        if self.0.numbers() == [true] {
            // A formula that reads no model gives one number.
            let mut number = 0.0;
            self.0.run(out.len(), &columns, &mut [ColumnMut::Number(&mut number)])?;
            out.fill(E::from_f32(number as f32));
            return Ok(());
        }
        self.0.run(out.len(), &columns, &mut [E::column_mut(out)])
    }
}

impl<E: Stored> Rule<E> for Rows {
    fn write(&self, inputs: &[&[E]], _: usize, out: &mut [E]) {
        // Columns of these kinds fit, as was seen when the rule was made; their lengths are equal.
        if self.run(inputs, out).is_err() {
            out.fill(E::from_f32(f32::NAN));
        }
    }
}

const ONE_EACH: &str = "give the closure one parameter for each model, in their order: `(a, b) => (a + b) / 2`";
const PLAIN: &str = "a formula is arithmetic on its parameters: it cannot fail, and reads no other element";

fn wrong_count(params: usize, models: usize) -> String {
    format!("a formula of {params} parameters for {models} models")
}

/// The formula has one parameter a model and is elementwise code; the models are alike.
pub(super) fn check(place: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let models = call.arg("models").and_then(|look| look.items());
    if let Some((code, captured)) = call.arg("f").and_then(|look| look.closure()) {
        let all = code.module().entry().and_then(|id| code.module().function(id)).map_or(0, |f| f.params().count());
        let arity = all.saturating_sub(captured);
        if let Some(models) = models.filter(|models| models.len() != arity) {
            problems.push(Problem {
                code: "E0436",
                title: wrong_count(arity, models.len()),
                label: "needs one parameter a model".into(),
                param: Some("f".into()),
                help: ONE_EACH.into(),
                ..Problem::default()
            });
        } else if let Err(error) = RowFunction::of_closure(code.module(), &zeros(&code, captured), arity) {
            problems.push(Problem {
                code: "E0437",
                title: "this formula is no elementwise code".into(),
                label: error.to_string(),
                param: Some("f".into()),
                help: PLAIN.into(),
                ..Problem::default()
            });
        }
    }
    facts::merge(place, call, problems)
}

/// Slots for what a closure captures, where its values are not known yet.
fn zeros(code: &Arc<evo_lang::plan::Code>, captured: usize) -> Vec<u64> {
    let function = code.module().entry().and_then(|id| code.module().function(id));
    let slots = function.map_or(0, |f| f.params().take(captured).map(|ty| ty.slots()).sum());
    vec![0; slots as usize]
}

#[cfg(test)]
mod tests {
    use evo_lang::ir::builder::Builder;
    use evo_lang::ir::verify::IrError;
    use evo_lang::ir::{Binary, Module, Type, Value as Ir};
    use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
    use half::{bf16, f16};

    use super::*;

    fn formula(params: usize, body: impl FnOnce(&mut Builder, &[Ir]) -> Result<Ir, IrError>) -> Elementwise {
        let mut b = Builder::new("f", &vec![Type::Real; params]);
        let x = b.params().to_vec();
        let result = body(&mut b, &x).unwrap();
        let module = Module { functions: vec![b.finish(result).unwrap()] };
        let row = RowFunction::of_closure(&module, &[], params).unwrap();
        Elementwise { row, programs: Default::default() }
    }

    fn tensor() -> TensorInfo {
        TensorInfo::new("a", &[1], 1)
    }

    #[test]
    fn the_identity_keeps_every_bit() {
        let identity = formula(1, |_, x| Ok(x[0]));
        let every: Vec<u16> = (0..=u16::MAX).collect();
        let x: &[bf16] = every.reinterpret_cast();
        let mut out = vec![bf16::ZERO; x.len()];
        identity.rule(&[x], &tensor()).unwrap().write(&[x], 0, &mut out);
        assert_eq!(out.reinterpret_cast(), every);
        let x: &[f16] = every.reinterpret_cast();
        let mut out = vec![f16::ZERO; x.len()];
        identity.rule(&[x], &tensor()).unwrap().write(&[x], 0, &mut out);
        assert_eq!(out.reinterpret_cast(), every);
    }

    #[test]
    fn a_weighted_mean_is_that_of_linear() {
        let mean = formula(2, |b, x| {
            let (v, w, zero) = (b.real(0.25)?, b.real(0.75)?, b.real(0.0)?);
            let (p, q) = (b.binary(Binary::Mul, v, x[0])?, b.binary(Binary::Mul, w, x[1])?);
            let p = b.binary(Binary::Add, zero, p)?;
            b.binary(Binary::Add, p, q)
        });
        let x: Vec<bf16> = (0..70_001).map(|i| bf16::from_f32((i as f32 * 0.7).sin())).collect();
        let y: Vec<bf16> = x.iter().rev().copied().collect();
        let (mut found, mut expected) = (vec![bf16::ZERO; x.len()], vec![bf16::ZERO; x.len()]);
        mean.rule(&[&x, &y], &tensor()).unwrap().write(&[&x, &y], 0, &mut found);
        let params = evo_kernels::merge::Linear { weight: &[0.25, 0.75], normalize: true };
        evo_kernels::merge::linear(&[&x, &y], &params, &mut expected).unwrap();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_formula_that_reads_no_model_fills_the_tensor() {
        let constant = formula(1, |b, _| b.real(0.5));
        let mut out = vec![0f32; 100];
        let input = [&[1f32; 100][..]];
        constant.rule(&input, &tensor()).unwrap().write(&input, 0, &mut out);
        assert_eq!(out, vec![0.5; 100]);
    }
}
