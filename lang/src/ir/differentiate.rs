//! Slopes: value and gradient of numeric code as one function, by reverse accumulation over [`super::straight`] code.
//!
//! Steps are walked backwards; each hands its *cotangent* (the slope of the result with respect to it) on to its
//! operands. What is added shares the steps that stand already. Everything below is exact symbolic differentiation;
//! only these conventions are ours:
//! - `relu`, `abs` and `sign` have slope 0 at the kink, `floor`, `ceil` and `round` everywhere; `min` and `max` give
//!   half to each side of a tie; a selection takes the slope of the side taken.
//! - A cotangent that is exactly 0 because a side was not taken (or a kink is flat) stays 0, whatever it meets: where
//!   it would be multiplied by an infinite or undefined slope, the product is selected to be 0 instead.
//! - `log_sigmoid` has slope `sigmoid(-x)`, `softplus` `sigmoid(x)`, `sigmoid` `sigmoid(x) * sigmoid(-x)`, and `tanh`
//!   `4 e / (1 + e)^2` with `e = exp(-2 |x|)`: exact to rounding where `1 - y` and its like lose all digits.
//! - In row code the gradient is that of the sum over all rows, through sums and sorting too. What is detached is a
//!   constant.

use super::rows::RowFunction;
use super::straight::{NotStraight, Rep, Straight, straighten};
use super::{Batch, Binary, Module, Op, Step, Type, Unary, Value, simplify};

#[cfg(test)]
mod tests;

type Made<T> = Result<T, NotStraight>;

/// A module whose entry yields the struct of a real function's value and its gradients: one for each parameter of
/// `wrt` (by index), each of the parameter's own type, which holds reals alone.
///
/// ```
/// use evo_lang::ir::{Binary, Module, Type, builder::Builder, differentiate, interp};
/// let mut b = Builder::new("product", &[Type::Real, Type::Real]);
/// let (x, y) = (b.params()[0], b.params()[1]);
/// let product = b.binary(Binary::Mul, x, y)?;
/// let module = Module { functions: vec![b.finish(product)?] };
/// let both = differentiate::gradient(&module, &[0, 1])?;
/// let bits = |x: f64| x.to_bits();
/// let slots = interp::run(&both, both.entry().unwrap(), &[bits(3.0), bits(5.0)])?;
/// assert_eq!(slots, [bits(15.0), bits(5.0), bits(3.0)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Code that cannot be made straight; a result or parameter that is not real.
pub fn gradient(module: &Module, wrt: &[usize]) -> Made<Module> {
    let function = backward(straighten(module, None)?, wrt)?;
    Ok(simplify::simplify(Module { functions: vec![function] }))
}

/// Row code that yields the struct of what `row` yields and of the gradients of its sum over all rows (and, if it has
/// several outputs, over those): for each parameter of `wrt` (by index) a column, or one number if it is uniform.
///
/// # Errors
/// As [`gradient`].
pub fn row_gradient(row: &RowFunction, wrt: &[usize]) -> Made<RowFunction> {
    let module = Module { functions: vec![row.function.clone()] };
    let function = backward(straighten(&module, Some(&row.uniform))?, wrt)?;
    RowFunction { function, uniform: row.uniform.clone() }.simplified()
}

fn backward(mut s: Straight, wrt: &[usize]) -> Made<super::Function> {
    let mut inputs = Vec::new();
    let params: Vec<Rep> = wrt.iter().filter_map(|i| s.params.get(*i).cloned()).collect();
    params.iter().for_each(|rep| rep.scalars(&mut inputs));
    let mut outputs = Vec::new();
    s.result.scalars(&mut outputs);
    let types: Vec<Type> = wrt.iter().filter_map(|i| s.b.params().get(*i).map(|p| s.b.ty(*p))).collect();
    let reals = inputs.iter().chain(&outputs).all(|v| s.b.ty(*v) == Type::Real);
    if !reals || params.len() != wrt.len() {
        return Err(NotStraight::Malformed(super::verify::IrError::Malformed("a slope of what is not real".into())));
    }
    let value = s.result_value()?;
    let mut reverse = Reverse::new(s, value.1, &inputs);
    let one = reverse.s.emit(Op::Real(1.0))?;
    for output in &outputs {
        reverse.add(*output, Some(Slope { value: one, masked: false }), true)?;
    }
    let steps = std::mem::take(&mut reverse.steps);
    for step in steps.iter().rev() {
        reverse.s.b.span = step.span;
        reverse.step(step)?;
    }
    let mut parts = vec![value.0];
    for (rep, ty) in params.iter().zip(&types) {
        let slopes = reverse.slopes_of(rep)?;
        parts.push(reverse.s.close(&slopes, ty)?);
    }
    let mut b = reverse.s.b;
    let both = b.push(Op::Struct(parts))?;
    Ok(b.finish(both)?)
}

/// A cotangent.
#[derive(Clone, Copy)]
struct Slope {
    value: Value,
    /// Whether it may be exactly 0 because a side was not taken.
    masked: bool,
}

/// What has been handed to a value so far.
#[derive(Clone, Copy, Default)]
struct Received {
    /// At the value's own level.
    own: Option<Slope>,
    /// By each row, to a value that is one for the batch: to be summed.
    rows: Option<Slope>,
}

struct Reverse {
    s: Straight,
    steps: Vec<Step>,
    /// For each value, whether it depends on what is differentiated by.
    active: Vec<bool>,
    received: Vec<Received>,
}

impl Reverse {
    fn new(s: Straight, steps: Vec<Step>, inputs: &[Value]) -> Reverse {
        let count = steps.iter().map(|s| s.value.0).chain(inputs.iter().map(|v| v.0)).max().unwrap_or(0) as usize + 1;
        let mut active = vec![false; count];
        for v in inputs {
            if let Some(slot) = active.get_mut(v.0 as usize) {
                *slot = true;
            }
        }
        let mut reverse = Reverse { s, steps, active, received: vec![Received::default(); count] };
        for i in 0..reverse.steps.len() {
            let Some(step) = reverse.steps.get(i) else { break };
            let detached = matches!(step.op, Op::Batch(Batch::Detach(_)));
            let depends = !detached && step.op.operands().iter().any(|v| reverse.is_active(*v));
            let value = step.value;
            if depends && let Some(slot) = reverse.active.get_mut(value.0 as usize) {
                *slot = true;
            }
        }
        reverse
    }

    fn is_active(&self, value: Value) -> bool {
        self.active.get(value.0 as usize) == Some(&true)
    }

    /// Hands a cotangent to a value; `from_rows` if each row of the batch hands it one.
    fn add(&mut self, to: Value, slope: Option<Slope>, from_rows: bool) -> Made<()> {
        let Some(slope) = slope.filter(|_| self.is_active(to)) else { return Ok(()) };
        let summed = from_rows && self.s.rows() && !self.s.is_row(to);
        let received = self.received.get(to.0 as usize).copied().unwrap_or_default();
        let before = if summed { received.rows } else { received.own };
        let now = match before {
            None => slope,
            Some(before) => Slope {
                value: self.s.emit(Op::Binary(Binary::Add, before.value, slope.value))?,
                masked: before.masked && slope.masked,
            },
        };
        if let Some(slot) = self.received.get_mut(to.0 as usize) {
            *(if summed { &mut slot.rows } else { &mut slot.own }) = Some(now);
        }
        Ok(())
    }

    /// All that a value has been handed.
    fn take(&mut self, value: Value) -> Made<Option<Slope>> {
        let received = self.received.get(value.0 as usize).copied().unwrap_or_default();
        let Some(rows) = received.rows else { return Ok(received.own) };
        let sum = Slope { value: self.s.over_rows(rows.value)?, ..rows };
        let Some(own) = received.own else { return Ok(Some(sum)) };
        let value = self.s.emit(Op::Binary(Binary::Add, own.value, sum.value))?;
        Ok(Some(Slope { value, masked: own.masked && sum.masked }))
    }

    fn slopes_of(&mut self, rep: &Rep) -> Made<Rep> {
        Ok(match rep {
            Rep::Scalar(value) => {
                let slope = self.take(*value)?;
                Rep::Scalar(slope.map_or_else(|| self.s.emit(Op::Real(0.0)), |slope| Ok(slope.value))?)
            }
            Rep::Parts(parts) => {
                Rep::Parts(parts.iter().map(|part| self.slopes_of(part)).collect::<Made<Vec<_>>>()?.into())
            }
        })
    }

    fn step(&mut self, step: &Step) -> Made<()> {
        if !self.is_active(step.value) || matches!(step.op, Op::Array(_)) {
            return Ok(());
        }
        let Some(g) = self.take(step.value)? else { return Ok(()) };
        let rows = self.s.is_row(step.value);
        match &step.op {
            Op::Unary(op, x) => {
                let slope = self.unary(*op, *x, step.value, g)?;
                self.add(*x, slope, rows)
            }
            Op::Binary(op, a, b) => self.binary(*op, (*a, *b), step.value, g),
            Op::Select { condition, then, otherwise } => {
                let zero = self.s.emit(Op::Real(0.0))?;
                let taken = self.select(*condition, g.value, zero)?;
                self.add(*then, Some(taken), rows)?;
                let taken = self.select(*condition, zero, g.value)?;
                self.add(*otherwise, Some(taken), rows)
            }
            Op::Index(array, index) => self.element(*array, *index, g),
            Op::Batch(Batch::Sum(x)) => self.add(*x, Some(g), false),
            Op::Batch(Batch::Sort { key, value }) => {
                let back = self.s.emit(Op::Batch(Batch::Unsort { key: *key, value: g.value }))?;
                self.add(*value, Some(Slope { value: back, ..g }), rows)
            }
            Op::Batch(Batch::Unsort { key, value }) => {
                let there = self.s.emit(Op::Batch(Batch::Sort { key: *key, value: g.value }))?;
                self.add(*value, Some(Slope { value: there, ..g }), rows)
            }
            _ => Ok(()),
        }
    }

    fn select(&mut self, condition: Value, then: Value, otherwise: Value) -> Made<Slope> {
        Ok(Slope { value: self.s.emit(Op::Select { condition, then, otherwise })?, masked: true })
    }

    /// An element chosen from an array of scalars by an index known only at run time.
    fn element(&mut self, array: Value, index: Value, g: Slope) -> Made<()> {
        let made = self.s.b.steps().iter().find(|s| s.value == array).map(|s| s.op.clone());
        let Some(Op::Array(items)) = made else { return Ok(()) };
        let zero = self.s.emit(Op::Real(0.0))?;
        for (i, item) in items.into_iter().enumerate().filter(|(_, item)| self.is_active(*item)).collect::<Vec<_>>() {
            let i = self.s.emit(Op::Int(i as i64))?;
            let chosen = self.s.emit(Op::Binary(Binary::Eq, index, i))?;
            let slope = self.select(chosen, g.value, zero)?;
            self.add(item, Some(slope), false)?;
        }
        Ok(())
    }

    /// The cotangent of the operand of `y = op(x)`.
    fn unary(&mut self, op: Unary, x: Value, y: Value, g: Slope) -> Made<Option<Slope>> {
        Ok(Some(match op {
            Unary::Neg => Slope { value: self.neg(g.value)?, ..g },
            Unary::Abs => {
                let sign = self.s.emit(Op::Unary(Unary::Sign, x))?;
                Slope { masked: true, ..self.times(g, sign)? }
            }
            Unary::Relu => {
                let zero = self.s.emit(Op::Real(0.0))?;
                let above = self.s.emit(Op::Binary(Binary::Gt, x, zero))?;
                self.select(above, g.value, zero)?
            }
            Unary::Sqrt => {
                let twice = self.s.emit(Op::Binary(Binary::Add, y, y))?;
                self.over(g, twice)?
            }
            Unary::Log => self.over(g, x)?,
            Unary::Exp => self.times(g, y)?,
            Unary::Sin => {
                let cos = self.s.emit(Op::Unary(Unary::Cos, x))?;
                self.times(g, cos)?
            }
            Unary::Cos => {
                let sin = self.s.emit(Op::Unary(Unary::Sin, x))?;
                let slope = self.neg(sin)?;
                self.times(g, slope)?
            }
            Unary::Tanh => {
                let slope = self.tanh(x)?;
                self.times(g, slope)?
            }
            Unary::Sigmoid => {
                let minus = self.neg(x)?;
                let other = self.s.emit(Op::Unary(Unary::Sigmoid, minus))?;
                let slope = self.s.emit(Op::Binary(Binary::Mul, y, other))?;
                self.times(g, slope)?
            }
            Unary::LogSigmoid => {
                let minus = self.neg(x)?;
                let slope = self.s.emit(Op::Unary(Unary::Sigmoid, minus))?;
                self.times(g, slope)?
            }
            Unary::Softplus => {
                let slope = self.s.emit(Op::Unary(Unary::Sigmoid, x))?;
                self.times(g, slope)?
            }
            Unary::Erf => {
                let square = self.s.emit(Op::Binary(Binary::Mul, x, x))?;
                let minus = self.neg(square)?;
                let bell = self.s.emit(Op::Unary(Unary::Exp, minus))?;
                let scale = self.s.emit(Op::Real(std::f64::consts::FRAC_2_SQRT_PI))?;
                let slope = self.s.emit(Op::Binary(Binary::Mul, scale, bell))?;
                self.times(g, slope)?
            }
            Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round => return Ok(None),
            Unary::Not | Unary::ToReal | Unary::ToInt => return Ok(None),
        }))
    }

    /// `4 e / (1 + e)^2` with `e = exp(-2 |x|)`.
    fn tanh(&mut self, x: Value) -> Made<Value> {
        let size = self.s.emit(Op::Unary(Unary::Abs, x))?;
        let (one, four, twice) =
            (self.s.emit(Op::Real(1.0))?, self.s.emit(Op::Real(4.0))?, self.s.emit(Op::Real(-2.0))?);
        let power = self.s.emit(Op::Binary(Binary::Mul, twice, size))?;
        let e = self.s.emit(Op::Unary(Unary::Exp, power))?;
        let above = self.s.emit(Op::Binary(Binary::Mul, four, e))?;
        let root = self.s.emit(Op::Binary(Binary::Add, one, e))?;
        let below = self.s.emit(Op::Binary(Binary::Mul, root, root))?;
        self.s.emit(Op::Binary(Binary::Div, above, below))
    }

    fn binary(&mut self, op: Binary, (a, b): (Value, Value), y: Value, g: Slope) -> Made<()> {
        let rows = self.s.is_row(y);
        let (first, second) = match op {
            Binary::Add => (Some(g), Some(g)),
            Binary::Sub if self.is_active(b) => (Some(g), Some(Slope { value: self.neg(g.value)?, ..g })),
            Binary::Sub => (Some(g), None),
            Binary::Mul => {
                let first = if self.is_active(a) { Some(self.times(g, b)?) } else { None };
                let second = if self.is_active(b) { Some(self.times(g, a)?) } else { None };
                (first, second)
            }
            Binary::Div => {
                let first = self.over(g, b)?;
                let second = if self.is_active(b) {
                    let turned = self.neg(first.value)?;
                    Some(self.times(Slope { value: turned, ..first }, y)?)
                } else {
                    None
                };
                (Some(first), second)
            }
            Binary::Pow => self.pow(a, b, y, g)?,
            Binary::Min => self.extreme(Binary::Lt, a, b, g)?,
            Binary::Max => self.extreme(Binary::Gt, a, b, g)?,
            _ => (None, None),
        };
        self.add(a, first, rows)?;
        self.add(b, second, rows)
    }

    /// Of the lesser or greater of two: all to the one, half to each of a tie.
    fn extreme(&mut self, order: Binary, a: Value, b: Value, g: Slope) -> Made<(Option<Slope>, Option<Slope>)> {
        let (zero, half) = (self.s.emit(Op::Real(0.0))?, self.s.emit(Op::Real(0.5))?);
        let half = self.s.emit(Op::Binary(Binary::Mul, g.value, half))?;
        let tie = self.s.emit(Op::Binary(Binary::Eq, a, b))?;
        let shared = self.select(tie, half, zero)?.value;
        let mut side = |x: Value, y: Value| {
            let ahead = self.s.emit(Op::Binary(order, x, y))?;
            self.select(ahead, g.value, shared).map(Some)
        };
        Ok((side(a, b)?, side(b, a)?))
    }

    /// `y = a ^ b`: `b a^(b-1)` and `y log a`, each 0 where its factor is.
    fn pow(&mut self, a: Value, b: Value, y: Value, g: Slope) -> Made<(Option<Slope>, Option<Slope>)> {
        let (zero, one) = (self.s.emit(Op::Real(0.0))?, self.s.emit(Op::Real(1.0))?);
        let mut first = None;
        if self.is_active(a) && self.s.real(b) != Some(0.0) {
            let less = self.s.emit(Op::Binary(Binary::Sub, b, one))?;
            let power = self.s.emit(Op::Binary(Binary::Pow, a, less))?;
            let mut slope = self.s.emit(Op::Binary(Binary::Mul, b, power))?;
            if self.s.real(b).is_none() {
                let flat = self.s.emit(Op::Binary(Binary::Eq, b, zero))?;
                slope = self.s.emit(Op::Select { condition: flat, then: zero, otherwise: slope })?;
            }
            first = Some(self.times(g, slope)?);
        }
        let mut second = None;
        if self.is_active(b) {
            let log = self.s.emit(Op::Unary(Unary::Log, a))?;
            let slope = self.s.emit(Op::Binary(Binary::Mul, y, log))?;
            let none = self.s.emit(Op::Binary(Binary::Eq, y, zero))?;
            let slope = self.s.emit(Op::Select { condition: none, then: zero, otherwise: slope })?;
            second = Some(self.times(g, slope)?);
        }
        Ok((first, second))
    }

    fn neg(&mut self, x: Value) -> Made<Value> {
        self.s.emit(Op::Unary(Unary::Neg, x))
    }

    fn times(&mut self, g: Slope, slope: Value) -> Made<Slope> {
        let product = self.s.emit(Op::Binary(Binary::Mul, g.value, slope))?;
        self.kept_zero(g, slope, product)
    }

    fn over(&mut self, g: Slope, divisor: Value) -> Made<Slope> {
        let quotient = self.s.emit(Op::Binary(Binary::Div, g.value, divisor))?;
        self.kept_zero(g, divisor, quotient)
    }

    /// The product (or quotient) of a cotangent and a slope: 0 where the cotangent is a masked 0, whatever the slope.
    fn kept_zero(&mut self, g: Slope, slope: Value, product: Value) -> Made<Slope> {
        let tame = self.s.real(slope).is_some_and(|x| x.is_finite() && x != 0.0);
        if !g.masked || tame {
            return Ok(Slope { value: product, ..g });
        }
        let zero = self.s.emit(Op::Real(0.0))?;
        let none = self.s.emit(Op::Binary(Binary::Eq, g.value, zero))?;
        self.select(none, zero, product)
    }
}
