//! Row code of closures.

use super::RowFunction;
use crate::ir::builder::Builder;
use crate::ir::straight::NotStraight;
use crate::ir::verify::malformed;
use crate::ir::{Module, Op, Type, Value};

impl RowFunction {
    /// Row code of a closure: the module's entry, whose first parameters are what the closure captured, given as
    /// slots, and whose last `arity` are columns of reals. What was captured becomes constants.
    ///
    /// # Errors
    /// What cannot be made straight or has steps that can fail; captured text; a parameter that is no real.
    pub fn of_closure(module: &Module, captured: &[u64], arity: usize) -> Result<RowFunction, NotStraight> {
        let entry = module.entry().and_then(|id| Some((id, module.function(id)?)));
        let Some((id, function)) = entry else { return Ok(malformed("no entry")?) };
        let mut slots = captured.iter().copied();
        let mut b = Builder::new("rows", &[]);
        let mut args = Vec::new();
        let captures = function.body.params.len().saturating_sub(arity);
        for (i, ty) in function.params().enumerate() {
            if i >= captures {
                args.push(b.add_param(Type::Real));
            } else {
                args.push(constant(&mut b, ty, &mut slots)?);
            }
        }
        let result = b.call(module, id, args)?;
        let mut whole = module.clone();
        whole.functions.push(b.finish(result)?);
        RowFunction::new(&whole, vec![false; arity])
    }
}

/// A value from its slots.
fn constant(b: &mut Builder, ty: &Type, slots: &mut impl Iterator<Item = u64>) -> Result<Value, NotStraight> {
    let mut slot = || slots.next().unwrap_or_default();
    Ok(match ty {
        Type::Int => b.int(slot() as i64)?,
        Type::Real => b.real(f64::from_bits(slot()))?,
        Type::Bool => b.bool(slot() != 0)?,
        Type::Text => return Ok(malformed("captured text in row code")?),
        Type::Array(item, len) => {
            let items = (0..*len).map(|_| constant(b, item, slots)).collect::<Result<_, _>>()?;
            b.push(Op::Array(items))?
        }
        Type::Struct(fields) => {
            let fields = fields.iter().map(|field| constant(b, field, slots)).collect::<Result<_, _>>()?;
            b.push(Op::Struct(fields))?
        }
    })
}
