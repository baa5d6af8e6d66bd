//! From row code to lists of block operations: one list a sweep, each value in a tile of its own for as long as it is
//! read. Equal operations are made once; a product that is only added to goes with the addition; `softplus` and
//! `sigmoid` of one value share their exponential.

use indexmap::IndexMap;

use super::uniform::UniformStep;
use super::{Map1, Map2, Map3, Storage, Table};
use crate::codegen::CompileError;
use crate::ir::rows::{Level, Placed, RowFunction, levels};
use crate::ir::verify::malformed;
use crate::ir::{Batch, Binary, Op, Step, Type, Unary, Value};

mod assign;

use assign::Allocator;

/// The storage of parameters and outputs.
pub(super) struct Layout<'a> {
    pub(super) inputs: &'a [Storage],
    pub(super) outputs: &'a [Storage],
}

/// Where an operand of a block operation is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Source {
    /// A tile.
    Tile(usize),
    /// An input column that is stored as it is computed with.
    Input(usize),
    /// A column that was sorted.
    Sorted(usize),
    /// An output column, already written.
    Output(usize),
    /// A uniform value by its IR index, or, from there on, a constant.
    Uniform(usize),
}

/// Where a result goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    Tile(usize),
    Output(usize),
}

impl Target {
    fn source(self) -> Source {
        match self {
            Target::Tile(i) => Source::Tile(i),
            Target::Output(i) => Source::Output(i),
        }
    }
}

/// A block operation with its operands.
#[derive(Clone, Copy)]
pub(super) enum Instr<T> {
    /// Widens a block of an input column into a tile.
    Load(usize, usize),
    One(Map1<T>, Source, Target),
    Two(Map2<T>, Source, Source, Target),
    Three(Map3<T>, Source, Source, Source, Target),
    Twin(Source, Target, Target),
    /// Adds a block's sum to a total.
    Sum(usize, Source),
    /// Keeps a block of what will be sorted.
    Keep(usize, Source),
    /// Narrows a block into an output column.
    Store(usize, Source),
    /// Copies a block of an input column to an output column.
    Copy(usize, usize),
}

/// What a sort needs: kept columns of keys and values, and whether it puts back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sorting {
    pub(super) key: usize,
    pub(super) value: usize,
    pub(super) back: bool,
    /// The column that it makes.
    pub(super) into: usize,
}

/// One pass over the rows.
pub(super) struct Sweep<T> {
    pub(super) code: Vec<Instr<T>>,
    /// The input columns that it reads.
    pub(super) reads: Vec<usize>,
    /// The output columns that it writes.
    pub(super) writes: Vec<usize>,
    /// The sums that it takes: the IR values that they become.
    pub(super) sums: Vec<Value>,
    /// How many columns it keeps, and what is sorted after it.
    pub(super) kept: usize,
    pub(super) sorts: Vec<Sorting>,
}

/// A compiled row function of one precision.
pub(super) struct Code<T> {
    pub(super) sweeps: Vec<Sweep<T>>,
    pub(super) tiles: usize,
    pub(super) sorted: usize,
    pub(super) uniform: Vec<UniformStep>,
    /// The uniform parameters: position, IR value and type.
    pub(super) params: Vec<(usize, Value, Type)>,
    /// For each input, its storage if it is a column.
    pub(super) inputs: Vec<Option<Storage>>,
    /// For each output, its storage if it is a column, else its value.
    pub(super) outputs: Vec<Result<Storage, Value>>,
    /// How many IR values there are.
    pub(super) values: usize,
    pub(super) constants: Vec<f64>,
    pub(super) table: Table<T>,
}

/// The storage that a float type is computed with as it is.
pub(super) trait Native: Copy {
    const STORAGE: Storage;
}

impl Native for f32 {
    const STORAGE: Storage = Storage::F32;
}

impl Native for f64 {
    const STORAGE: Storage = Storage::F64;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Arg {
    Node(usize),
    Uniform(u32),
    /// The bits of a constant.
    Constant(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Node {
    Input(usize),
    Sorted(usize),
    One(Unary, Arg),
    Two(Binary, Arg, Arg),
    MulAdd(Arg, Arg, Arg),
    Select(Arg, Arg, Arg),
}

impl Node {
    fn args(&self) -> impl Iterator<Item = usize> {
        let (a, b, c) = match *self {
            Node::Input(_) | Node::Sorted(_) => (None, None, None),
            Node::One(_, a) => (Some(a), None, None),
            Node::Two(_, a, b) => (Some(a), Some(b), None),
            Node::MulAdd(a, b, c) | Node::Select(a, b, c) => (Some(a), Some(b), Some(c)),
        };
        [a, b, c].into_iter().flatten().filter_map(|arg| if let Arg::Node(i) = arg { Some(i) } else { None })
    }
}

/// What is to become of a row value in a sweep.
#[derive(Clone, Copy)]
enum Sink {
    Sum(usize),
    Keep(usize),
    Output(usize),
}

struct Lowering<'a> {
    row: &'a RowFunction,
    placed: Vec<Placed>,
    /// For each value that a sort made, the column it stands in.
    sorted: IndexMap<Value, usize>,
}

pub(super) fn lower<T: Native>(
    row: &RowFunction,
    layout: &Layout<'_>,
    table: &Table<T>,
) -> Result<Code<T>, CompileError> {
    let placed = levels(row);
    let is_row = |v: Value| placed.get(v.0 as usize).is_some_and(|p| p.level == Level::Row);
    let columns = row.columns();
    if layout.inputs.len() != row.uniform.len() || layout.outputs.len() != columns.len() {
        return Ok(malformed("row code has as many storages as parameters and outputs")?);
    }
    let body = &row.function.body;
    let stage = |v: Value| placed.get(v.0 as usize).map_or(0, |p| p.stage);
    let last = body.steps.iter().map(|s| sweep_of(&s.op, &stage)).chain(columns.iter().map(|c| stage(*c))).max();
    let mut code = Code {
        sweeps: Vec::new(),
        tiles: 0,
        sorted: 0,
        uniform: uniform_steps(&body.steps, &placed),
        params: uniform_params(row),
        inputs: layout.inputs.iter().zip(&row.uniform).map(|(s, uniform)| (!uniform).then_some(*s)).collect(),
        outputs: columns.iter().zip(layout.outputs).map(|(c, s)| if is_row(*c) { Ok(*s) } else { Err(*c) }).collect(),
        values: row.function.values.len(),
        constants: Vec::new(),
        table: *table,
    };
    let mut lowering = Lowering { row, placed: placed.clone(), sorted: IndexMap::new() };
    for at in 0..=last.unwrap_or(0) {
        let sweep = lowering.sweep(at, &columns, &mut code)?;
        code.sweeps.push(sweep);
    }
    Ok(code)
}

fn uniform_params(row: &RowFunction) -> Vec<(usize, Value, Type)> {
    let typed = row.function.body.params.iter().zip(row.function.params());
    let all = typed.zip(&row.uniform).enumerate();
    all.filter(|(_, (_, uniform))| **uniform).map(|(i, ((p, ty), _))| (i, *p, ty.clone())).collect()
}

/// The sweep after which a step over rows can be finished.
fn sweep_of(op: &Op, stage: &impl Fn(Value) -> u32) -> u32 {
    match op {
        Op::Batch(Batch::Sum(x)) => stage(*x),
        Op::Batch(Batch::Sort { key, value } | Batch::Unsort { key, value }) => stage(*key).max(stage(*value)),
        _ => 0,
    }
}

fn uniform_steps(steps: &[Step], placed: &[Placed]) -> Vec<UniformStep> {
    steps
        .iter()
        .filter(|step| !matches!(step.op, Op::Struct(_) | Op::Array(_)))
        .filter_map(|step| {
            let at = placed.get(step.value.0 as usize)?;
            (at.level == Level::Uniform).then(|| UniformStep {
                value: step.value,
                op: step.op.clone(),
                stage: at.stage,
            })
        })
        .collect()
}

/// The input columns that code reads, and the output columns that it writes.
fn columns<T: Copy>(code: &[Instr<T>]) -> (Vec<usize>, Vec<usize>) {
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for instr in code {
        let (sources, targets): (&[Source], &[Target]) = match instr {
            Instr::One(_, a, to) => (&[*a], &[*to]),
            Instr::Two(_, a, b, to) => (&[*a, *b], &[*to]),
            Instr::Three(_, a, b, c, to) => (&[*a, *b, *c], &[*to]),
            Instr::Twin(a, to, also) => (&[*a], &[*to, *also]),
            Instr::Sum(_, a) | Instr::Keep(_, a) => (&[*a], &[]),
            Instr::Load(i, _) => (&[Source::Input(*i)], &[]),
            Instr::Store(o, a) => (&[*a], &[Target::Output(*o)]),
            Instr::Copy(i, o) => (&[Source::Input(*i)], &[Target::Output(*o)]),
        };
        reads.extend(sources.iter().filter_map(|s| if let Source::Input(i) = s { Some(*i) } else { None }));
        writes.extend(targets.iter().filter_map(|t| if let Target::Output(o) = t { Some(*o) } else { None }));
    }
    for columns in [&mut reads, &mut writes] {
        columns.sort_unstable();
        columns.dedup();
    }
    (reads, writes)
}

impl Lowering<'_> {
    /// The code of the sweep at `stage`.
    fn sweep<T: Native>(
        &mut self,
        stage: u32,
        outputs: &[Value],
        code: &mut Code<T>,
    ) -> Result<Sweep<T>, CompileError> {
        let placed = |v: Value| self.placed.get(v.0 as usize).copied();
        let mut sinks: Vec<(Value, Sink)> = Vec::new();
        let (mut sums, mut sorts, mut kept) = (Vec::new(), Vec::new(), 0);
        for step in &self.row.function.body.steps {
            let at = |v: Value| placed(v).map_or(0, |p| p.stage);
            match step.op {
                Op::Batch(Batch::Sum(x)) if at(x) == stage => {
                    sinks.push((x, Sink::Sum(sums.len())));
                    sums.push(step.value);
                }
                Op::Batch(Batch::Sort { key, value } | Batch::Unsort { key, value })
                    if at(key).max(at(value)) == stage =>
                {
                    sinks.push((key, Sink::Keep(kept)));
                    sinks.push((value, Sink::Keep(kept + 1)));
                    let back = matches!(step.op, Op::Batch(Batch::Unsort { .. }));
                    sorts.push((step.value, Sorting { key: kept, value: kept + 1, back, into: code.sorted }));
                    kept += 2;
                    code.sorted += 1;
                }
                _ => {}
            }
        }
        for (i, value) in outputs.iter().enumerate() {
            if placed(*value).is_some_and(|p| p.level == Level::Row && p.stage == stage) {
                sinks.push((*value, Sink::Output(i)));
            }
        }
        let mut graph = Graph::default();
        self.build(&sinks, &mut graph)?;
        let sinks: Vec<(usize, Sink)> =
            sinks.iter().filter_map(|(v, sink)| Some((graph.node_of(*v)?, *sink))).collect();
        graph.fuse(&sinks);
        let instrs = Allocator::new(&graph, &sinks, code).run();
        for (value, sorting) in &sorts {
            self.sorted.insert(*value, sorting.into);
        }
        let (reads, writes) = columns(&instrs);
        let sorts = sorts.into_iter().map(|(_, s)| s).collect();
        Ok(Sweep { code: instrs, reads, writes, sums, kept, sorts })
    }

    /// The nodes that the sinks need.
    fn build(&self, sinks: &[(Value, Sink)], graph: &mut Graph) -> Result<(), CompileError> {
        let body = &self.row.function.body;
        let mut needed = vec![false; self.row.function.values.len()];
        let mark = |v: Value, needed: &mut Vec<bool>| {
            if let Some(slot) = needed.get_mut(v.0 as usize) {
                *slot = true;
            }
        };
        sinks.iter().for_each(|(v, _)| mark(*v, &mut needed));
        for step in body.steps.iter().rev() {
            if needed.get(step.value.0 as usize) == Some(&true) && !self.sorted.contains_key(&step.value) {
                let uniform = self.placed.get(step.value.0 as usize).is_none_or(|p| p.level == Level::Uniform);
                if !uniform {
                    step.op.each_operand(&mut |v| mark(v, &mut needed));
                }
            }
        }
        for (i, param) in body.params.iter().enumerate() {
            let arg =
                if self.row.uniform.get(i) == Some(&true) { Arg::Uniform(param.0) } else { graph.add(Node::Input(i)) };
            graph.args.insert(*param, arg);
        }
        for step in &body.steps {
            if needed.get(step.value.0 as usize) != Some(&true) {
                continue;
            }
            let arg = match (self.sorted.get(&step.value), &step.op) {
                (Some(column), _) => graph.add(Node::Sorted(*column)),
                (_, Op::Real(x)) => Arg::Constant(x.to_bits()),
                (_, Op::Int(x)) => Arg::Constant((*x as f64).to_bits()),
                (_, Op::Bool(x)) => Arg::Constant(f64::from(u8::from(*x)).to_bits()),
                _ if self.placed.get(step.value.0 as usize).is_some_and(|p| p.level == Level::Uniform) => {
                    Arg::Uniform(step.value.0)
                }
                (_, op) => graph.step(op)?,
            };
            graph.args.insert(step.value, arg);
        }
        Ok(())
    }
}

/// Row operations of one sweep, each once, in an order in which they can be computed.
#[derive(Default)]
struct Graph {
    nodes: Vec<Node>,
    numbers: IndexMap<Node, usize>,
    args: IndexMap<Value, Arg>,
}

impl Graph {
    fn add(&mut self, node: Node) -> Arg {
        let next = self.nodes.len();
        let number = *self.numbers.entry(node).or_insert(next);
        if number == next {
            self.nodes.push(node);
        }
        Arg::Node(number)
    }

    fn node_of(&self, value: Value) -> Option<usize> {
        match self.args.get(&value) {
            Some(Arg::Node(i)) => Some(*i),
            _ => None,
        }
    }

    fn arg(&self, value: Value) -> Result<Arg, CompileError> {
        match self.args.get(&value) {
            Some(arg) => Ok(*arg),
            None => Ok(malformed(format!("v{} is read before it is made", value.0))?),
        }
    }

    fn step(&mut self, op: &Op) -> Result<Arg, CompileError> {
        Ok(match op {
            Op::Unary(Unary::ToReal, x) | Op::Batch(Batch::Detach(x)) => self.arg(*x)?,
            Op::Unary(Unary::Not, x) => {
                let x = self.arg(*x)?;
                self.add(Node::Two(Binary::Sub, Arg::Constant(1f64.to_bits()), x))
            }
            Op::Unary(Unary::LogSigmoid, x) => {
                let x = self.arg(*x)?;
                let minus = self.add(Node::One(Unary::Neg, x));
                let softplus = self.add(Node::One(Unary::Softplus, minus));
                self.add(Node::One(Unary::Neg, softplus))
            }
            Op::Unary(op, x) => {
                let x = self.arg(*x)?;
                self.add(Node::One(*op, x))
            }
            Op::Binary(op, a, b) => {
                let (a, b) = (self.arg(*a)?, self.arg(*b)?);
                self.add(match op {
                    Binary::Gt => Node::Two(Binary::Lt, b, a),
                    Binary::Ge => Node::Two(Binary::Le, b, a),
                    _ => Node::Two(*op, a, b),
                })
            }
            Op::Select { condition, then, otherwise } => {
                let node = Node::Select(self.arg(*condition)?, self.arg(*then)?, self.arg(*otherwise)?);
                self.add(node)
            }
            _ => return Ok(malformed("an operation that row code does not have")?),
        })
    }

    /// Turns `a · b + c` into one operation where nothing else reads the product.
    fn fuse(&mut self, sinks: &[(usize, Sink)]) {
        let mut uses = vec![0usize; self.nodes.len()];
        let mut count = |i: usize| {
            if let Some(n) = uses.get_mut(i) {
                *n += 1;
            }
        };
        self.nodes.iter().flat_map(Node::args).for_each(&mut count);
        sinks.iter().for_each(|(i, _)| count(*i));
        let product = |nodes: &[Node], arg: Arg| match arg {
            Arg::Node(i) if uses.get(i) == Some(&1) => match nodes.get(i) {
                Some(Node::Two(Binary::Mul, a, b)) => Some((*a, *b)),
                _ => None,
            },
            _ => None,
        };
        for i in 0..self.nodes.len() {
            let Some(Node::Two(Binary::Add, x, y)) = self.nodes.get(i).copied() else { continue };
            let fused = match (product(&self.nodes, x), product(&self.nodes, y)) {
                (Some((a, b)), _) => Some(Node::MulAdd(a, b, y)),
                (None, Some((a, b))) => Some(Node::MulAdd(a, b, x)),
                _ => None,
            };
            if let (Some(slot), Some(fused)) = (self.nodes.get_mut(i), fused) {
                *slot = fused;
            }
        }
    }
}
