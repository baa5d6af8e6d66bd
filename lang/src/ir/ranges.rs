//! Which steps can fault: an interval for every whole number, from the lengths of loops, constants, the operations
//! on them, and the conditions under which a branch runs.
//!
//! What is proved here is not checked while code runs, and may be dropped or moved; nothing else may. An interval
//! holds wherever its value is visible, and inside a branch it is narrowed by the branch's condition. Of an array it
//! says what all whole numbers in it are.

use super::{Binary, Block, Function, Op, Step, Type, Unary, Value};

/// The faults that a step may still raise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// An index out of range.
    pub index: bool,
    /// A result that 64 bits do not hold, or a real that is no whole number.
    pub range: bool,
    /// Division by zero.
    pub zero: bool,
    /// A fault inside: of a block, or of the function called.
    pub inner: bool,
}

impl Checks {
    /// Whether the step can fault at all.
    pub fn any(self) -> bool {
        self.index || self.range || self.zero || self.inner
    }
}

/// What every step of a function may raise, by the value that it defines.
#[derive(Clone, Debug)]
pub struct Faults(Vec<Checks>);

impl Faults {
    /// Of one step; what is unknown may raise everything.
    pub fn of(&self, value: Value) -> Checks {
        let all = Checks { index: true, range: true, zero: true, inner: true };
        self.0.get(value.0 as usize).copied().unwrap_or(all)
    }

    /// Whether some step of a block, or of one inside it, can fault.
    pub fn in_block(&self, block: &Block) -> bool {
        block.steps.iter().any(|step| self.of(step.value).any())
    }
}

/// Finds the faults of a function. `fallible` says of the functions before it in the module whether they can fault.
pub fn faults(function: &Function, fallible: &[bool]) -> Faults {
    let count = function.values.len();
    let mut ranger = Ranger {
        function,
        fallible,
        range: vec![Interval::FULL; count],
        made_by: vec![None; count],
        faults: Faults(vec![Checks::default(); count]),
        depth: 0,
    };
    ranger.block(&function.body);
    ranger.faults
}

/// Loops deeper than this are looked at once, not twice.
const TWICE: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    low: i64,
    high: i64,
}

impl Interval {
    const FULL: Interval = Interval { low: i64::MIN, high: i64::MAX };

    fn of(value: i64) -> Interval {
        Interval { low: value, high: value }
    }

    fn join(self, other: Interval) -> Interval {
        Interval { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    fn meet(self, other: Interval) -> Interval {
        Interval { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    fn holds(self, value: i64) -> bool {
        self.low <= value && value <= self.high
    }

    /// The interval between the least and the greatest of some exact results, and whether 64 bits hold all of it.
    fn around(results: impl IntoIterator<Item = i128>) -> (Interval, bool) {
        let mut results = results.into_iter();
        let first = results.next().unwrap_or(0);
        let (low, high) = results.fold((first, first), |(low, high), r| (low.min(r), high.max(r)));
        let (least, most) = (i128::from(i64::MIN), i128::from(i64::MAX));
        let fits = low >= least && high <= most;
        (Interval { low: low.clamp(least, most) as i64, high: high.clamp(least, most) as i64 }, fits)
    }

    fn corners(self, other: Interval, op: impl Fn(i128, i128) -> i128) -> (Interval, bool) {
        let wide = |x: i64| i128::from(x);
        let pairs = [(self.low, other.low), (self.low, other.high), (self.high, other.low), (self.high, other.high)];
        Self::around(pairs.map(|(a, b)| op(wide(a), wide(b))))
    }
}

struct Ranger<'a> {
    function: &'a Function,
    fallible: &'a [bool],
    range: Vec<Interval>,
    made_by: Vec<Option<&'a Op>>,
    faults: Faults,
    depth: usize,
}

impl<'a> Ranger<'a> {
    fn get(&self, value: Value) -> Interval {
        self.range.get(value.0 as usize).copied().unwrap_or(Interval::FULL)
    }

    fn set(&mut self, value: Value, range: Interval) {
        if let Some(slot) = self.range.get_mut(value.0 as usize) {
            *slot = range;
        }
    }

    fn made_by(&self, value: Value) -> Option<&'a Op> {
        self.made_by.get(value.0 as usize).copied().flatten()
    }

    fn is_int(&self, value: Value) -> bool {
        self.function.ty(value) == Some(&Type::Int)
    }

    fn block(&mut self, block: &'a Block) {
        for step in &block.steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: &'a Step) {
        let (range, mut checks) = self.op(&step.op);
        checks.inner |= step.op.blocks().any(|inner| self.faults.in_block(inner));
        let at = step.value.0 as usize;
        self.set(step.value, range);
        if let Some(slot) = self.made_by.get_mut(at) {
            *slot = Some(&step.op);
        }
        if let Some(slot) = self.faults.0.get_mut(at) {
            *slot = checks;
        }
    }

    fn op(&mut self, op: &'a Op) -> (Interval, Checks) {
        let mut checks = Checks::default();
        let range = match op {
            Op::Int(value) => Interval::of(*value),
            Op::Unary(op, x) => {
                let (range, fits) = self.unary(*op, *x);
                checks.range = !fits;
                range
            }
            Op::Binary(op, a, b) => return self.binary(*op, *a, *b),
            Op::Select { then, otherwise, .. } => self.get(*then).join(self.get(*otherwise)),
            Op::If { condition, then, otherwise } => {
                let yes = self.branch(*condition, true, then);
                let no = self.branch(*condition, false, otherwise);
                yes.join(no)
            }
            Op::Array(items) => {
                items.iter().map(|item| self.get(*item)).reduce(Interval::join).unwrap_or(Interval::FULL)
            }
            Op::Index(base, index) => {
                let len = match self.function.ty(*base) {
                    Some(Type::Array(_, len)) => *len,
                    _ => 0,
                };
                let index = self.get(*index);
                checks.index = index.low < 0 || u64::try_from(index.high).is_ok_and(|high| high >= len);
                self.get(*base)
            }
            Op::Build { len, body } => {
                self.round(*len, body);
                self.get(body.result)
            }
            Op::Fold { len, init, body } => self.fold(*len, *init, body),
            Op::Call(id, _) => {
                checks.inner = self.fallible.get(id.0 as usize).copied().unwrap_or(true);
                Interval::FULL
            }
            _ => Interval::FULL,
        };
        (range, checks)
    }

    /// Whole-number functions of one operand: the result, and whether it always fits.
    fn unary(&self, op: Unary, x: Value) -> (Interval, bool) {
        if op == Unary::ToInt {
            return (Interval::FULL, false);
        }
        if !self.is_int(x) {
            return (Interval::FULL, true);
        }
        let x = self.get(x);
        let (low, high) = (i128::from(x.low), i128::from(x.high));
        match op {
            Unary::Neg => Interval::around([-low, -high]),
            Unary::Abs if x.holds(0) => Interval::around([0, -low, high]),
            Unary::Abs => Interval::around([low.abs(), high.abs()]),
            Unary::Sign => (Interval { low: x.low.signum(), high: x.high.signum() }, true),
            _ => (Interval::FULL, true),
        }
    }

    fn binary(&self, op: Binary, a: Value, b: Value) -> (Interval, Checks) {
        let mut checks = Checks::default();
        if !self.is_int(a) || op.is_comparison() {
            return (Interval::FULL, checks);
        }
        let (a, b) = (self.get(a), self.get(b));
        let (range, fits) = match op {
            Binary::Add => a.corners(b, |a, b| a + b),
            Binary::Sub => a.corners(b, |a, b| a - b),
            Binary::Mul => a.corners(b, |a, b| a * b),
            Binary::Min => (Interval { low: a.low.min(b.low), high: a.high.min(b.high) }, true),
            Binary::Max => (Interval { low: a.low.max(b.low), high: a.high.max(b.high) }, true),
            Binary::IntDiv | Binary::Rem => {
                checks.zero = b.holds(0);
                let fits = !(a.holds(i64::MIN) && b.holds(-1));
                let range = if op == Binary::Rem {
                    remainder(a, b)
                } else if b.holds(0) {
                    // The quotient is no further from 0 than the dividend.
                    a.corners(Interval { low: -1, high: 1 }, |a, b| a * b).0
                } else {
                    a.corners(b, |a, b| a.checked_div(b).unwrap_or(0)).0
                };
                // A quotient is monotonic in each operand where the divisor keeps its sign, so that corners bound it.
                (range, fits)
            }
            _ => (Interval::FULL, true),
        };
        checks.range = !fits;
        (range, checks)
    }

    /// A round of a loop of `len` rounds.
    fn round(&mut self, len: u64, body: &'a Block) {
        if let Some(index) = body.params.first() {
            let last = i64::try_from(len.saturating_sub(1)).unwrap_or(i64::MAX);
            self.set(*index, Interval { low: 0, high: last });
        }
        self.depth += 1;
        self.block(body);
        self.depth -= 1;
    }

    fn fold(&mut self, len: u64, init: Value, body: &'a Block) -> Interval {
        let first = self.get(init);
        let Some(state) = body.params.get(1).copied() else { return Interval::FULL };
        // Whatever the state is, one round makes this of it.
        self.set(state, Interval::FULL);
        self.round(len, body);
        if !self.is_int(state) || self.depth >= TWICE {
            return first.join(self.get(body.result));
        }
        let (before, after) = match self.step_of_sum(state, body) {
            Some(step) => {
                let rounds = Interval { low: 0, high: i64::try_from(len).unwrap_or(i64::MAX) };
                let (sum, fits) = rounds.corners(step, |n, x| n * x);
                let (sum, holds) = first.corners(sum, |a, b| a + b);
                if fits && holds { (sum, sum) } else { (Interval::FULL, Interval::FULL) }
            }
            None => {
                let any = first.join(self.get(body.result));
                (any, any)
            }
        };
        self.set(state, before);
        self.round(len, body);
        after.meet(first.join(self.get(body.result)))
    }

    /// What every round adds to the state, where that is all it does.
    fn step_of_sum(&self, state: Value, body: &Block) -> Option<Interval> {
        match self.made_by(body.result)? {
            Op::Binary(Binary::Add, a, b) if *a == state && *b != state => Some(self.get(*b)),
            Op::Binary(Binary::Add, a, b) if *b == state && *a != state => Some(self.get(*a)),
            _ => None,
        }
    }

    fn branch(&mut self, condition: Value, holds: bool, block: &'a Block) -> Interval {
        let mut saved = Vec::new();
        self.assume(condition, holds, &mut saved);
        self.block(block);
        let result = self.get(block.result);
        for (value, range) in saved.into_iter().rev() {
            self.set(value, range);
        }
        result
    }

    /// Narrows what a condition speaks of.
    fn assume(&mut self, condition: Value, holds: bool, saved: &mut Vec<(Value, Interval)>) {
        match self.made_by(condition) {
            Some(Op::Unary(Unary::Not, x)) => self.assume(*x, !holds, saved),
            Some(Op::Binary(op, a, b)) if op.is_comparison() && self.is_int(*a) => {
                let op = if holds { *op } else { opposite(*op) };
                let (x, y) = (self.get(*a), self.get(*b));
                self.narrow(*a, op, y, saved);
                self.narrow(*b, mirrored(op), x, saved);
            }
            // `a and b`.
            Some(Op::Select { condition, then, otherwise }) if holds && condition == otherwise => {
                self.assume(*condition, true, saved);
                self.assume(*then, true, saved);
            }
            Some(Op::If { condition, then, otherwise })
                if holds && matches!(self.made_by(otherwise.result), Some(Op::Bool(false))) =>
            {
                self.assume(*condition, true, saved);
                self.assume(then.result, true, saved);
            }
            // `a or b`, neither of which holds.
            Some(Op::Select { condition, then, otherwise }) if !holds && condition == then => {
                self.assume(*condition, false, saved);
                self.assume(*otherwise, false, saved);
            }
            Some(Op::If { condition, then, otherwise })
                if !holds && matches!(self.made_by(then.result), Some(Op::Bool(true))) =>
            {
                self.assume(*condition, false, saved);
                self.assume(otherwise.result, false, saved);
            }
            _ => {}
        }
    }

    fn narrow(&mut self, value: Value, op: Binary, other: Interval, saved: &mut Vec<(Value, Interval)>) {
        let now = self.get(value);
        let (least, most) = (i64::MIN, i64::MAX);
        let allowed = match op {
            Binary::Lt => Interval { low: least, high: other.high.saturating_sub(1) },
            Binary::Le => Interval { low: least, high: other.high },
            Binary::Gt => Interval { low: other.low.saturating_add(1), high: most },
            Binary::Ge => Interval { low: other.low, high: most },
            Binary::Eq => other,
            Binary::Ne if other.low == other.high && now.low == other.low => {
                Interval { low: now.low.saturating_add(1), high: most }
            }
            Binary::Ne if other.low == other.high && now.high == other.low => {
                Interval { low: least, high: now.high.saturating_sub(1) }
            }
            _ => return,
        };
        let narrowed = now.meet(allowed);
        // If nothing is left, the branch never runs, and what is said of it there does not matter.
        let narrowed = if narrowed.low <= narrowed.high { narrowed } else { allowed };
        saved.push((value, now));
        self.set(value, narrowed);
    }
}

fn remainder(a: Interval, b: Interval) -> Interval {
    let most = i128::from(b.low).abs().max(i128::from(b.high).abs()) - 1;
    let high = i64::try_from(most.max(0)).unwrap_or(i64::MAX);
    // The sign is the dividend's, and the result no further from 0 than it.
    Interval {
        low: if a.low >= 0 { 0 } else { a.low.max(-high) },
        high: if a.high <= 0 { 0 } else { a.high.min(high) },
    }
}

fn opposite(op: Binary) -> Binary {
    match op {
        Binary::Eq => Binary::Ne,
        Binary::Ne => Binary::Eq,
        Binary::Lt => Binary::Ge,
        Binary::Le => Binary::Gt,
        Binary::Gt => Binary::Le,
        Binary::Ge => Binary::Lt,
        op => op,
    }
}

fn mirrored(op: Binary) -> Binary {
    match op {
        Binary::Lt => Binary::Gt,
        Binary::Le => Binary::Ge,
        Binary::Gt => Binary::Lt,
        Binary::Ge => Binary::Le,
        op => op,
    }
}
