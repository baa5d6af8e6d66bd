//! From a sweep's graph to its list of operations: each value in a tile of its own for as long as it is read.

use super::{Arg, Code, Graph, Instr, Native, Node, Sink, Source, Target};
use crate::ir::Unary;

/// Gives each node a tile for as long as it is read.
pub(super) struct Allocator<'a, T> {
    graph: &'a Graph,
    sinks: &'a [(usize, Sink)],
    program: &'a mut Code<T>,
    /// How many readers of a node are still to come.
    readers: Vec<usize>,
    places: Vec<Option<Source>>,
    free: Vec<usize>,
    tiles: usize,
    code: Vec<Instr<T>>,
}

impl<'a, T: Native> Allocator<'a, T> {
    pub(super) fn new(graph: &'a Graph, sinks: &'a [(usize, Sink)], program: &'a mut Code<T>) -> Self {
        let count = graph.nodes.len();
        let mut readers = vec![0; count];
        let mut wanted = vec![false; count];
        for (i, _) in sinks {
            if let (Some(n), Some(w)) = (readers.get_mut(*i), wanted.get_mut(*i)) {
                *n += 1;
                *w = true;
            }
        }
        // What only a fused product read is read no more.
        for (i, node) in graph.nodes.iter().enumerate().rev() {
            if wanted.get(i) == Some(&true) {
                for arg in node.args() {
                    if let (Some(n), Some(w)) = (readers.get_mut(arg), wanted.get_mut(arg)) {
                        *n += 1;
                        *w = true;
                    }
                }
            }
        }
        let places = vec![None; count];
        Allocator { graph, sinks, program, readers, places, free: Vec::new(), tiles: 0, code: Vec::new() }
    }

    pub(super) fn run(mut self) -> Vec<Instr<T>> {
        for (i, node) in self.graph.nodes.iter().enumerate() {
            if self.readers.get(i).is_none_or(|n| *n == 0) || self.places.get(i).is_none_or(Option::is_some) {
                continue;
            }
            let copied = self.compute(i, *node);
            self.settle(i, copied);
            node.args().for_each(|arg| self.read(arg));
        }
        self.program.tiles = self.tiles.max(self.program.tiles);
        self.code
    }

    /// One reader of a node is done.
    fn read(&mut self, node: usize) {
        let Some(readers) = self.readers.get_mut(node) else { return };
        *readers = readers.saturating_sub(1);
        if let (0, Some(Some(Source::Tile(tile)))) = (*readers, self.places.get(node)) {
            self.free.push(*tile);
        }
    }

    fn tile(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.tiles += 1;
            self.tiles - 1
        })
    }

    fn source(&mut self, arg: Arg) -> Source {
        match arg {
            Arg::Node(i) => self.places.get(i).copied().flatten().unwrap_or(Source::Uniform(usize::MAX)),
            Arg::Uniform(value) => Source::Uniform(value as usize),
            Arg::Constant(bits) => {
                let constants = &mut self.program.constants;
                let known = constants.iter().position(|c| c.to_bits() == bits).unwrap_or_else(|| {
                    constants.push(f64::from_bits(bits));
                    constants.len() - 1
                });
                Source::Uniform(self.program.values + known)
            }
        }
    }

    /// The first output column that a node can be written to as it is.
    fn direct(&self, node: usize) -> Option<usize> {
        self.sinks.iter().find_map(|(i, sink)| match sink {
            Sink::Output(o) if *i == node && self.program.outputs.get(*o) == Some(&Ok(T::STORAGE)) => Some(*o),
            _ => None,
        })
    }

    fn target(&mut self, node: usize) -> Target {
        let target = match self.direct(node) {
            Some(output) => Target::Output(output),
            None => Target::Tile(self.tile()),
        };
        if let Some(place) = self.places.get_mut(node) {
            *place = Some(target.source());
        }
        target
    }

    /// Emits a node.
    fn compute(&mut self, i: usize, node: Node) -> Option<usize> {
        let instr = match node {
            Node::Input(input) => {
                let only_copied = self.sinks.iter().filter(|(n, s)| *n == i && matches!(s, Sink::Output(_))).count();
                let native = self.program.inputs.get(input) == Some(&Some(T::STORAGE));
                if native || self.readers.get(i) == Some(&only_copied) {
                    if let Some(place) = self.places.get_mut(i) {
                        *place = Some(Source::Input(input));
                    }
                    return Some(input);
                }
                let tile = self.tile();
                if let Some(place) = self.places.get_mut(i) {
                    *place = Some(Source::Tile(tile));
                }
                self.code.push(Instr::Load(input, tile));
                return Some(input);
            }
            Node::Sorted(column) => {
                if let Some(place) = self.places.get_mut(i) {
                    *place = Some(Source::Sorted(column));
                }
                return None;
            }
            Node::One(op @ (Unary::Softplus | Unary::Sigmoid), x) => match self.twin(op, x) {
                Some(other) => {
                    let (mine, its) = (self.target(i), self.target(other));
                    let (softplus, sigmoid) = if op == Unary::Softplus { (mine, its) } else { (its, mine) };
                    let x = self.source(x);
                    self.code.push(Instr::Twin(x, softplus, sigmoid));
                    self.settle(other, None);
                    Node::args(&node).for_each(|arg| self.read(arg));
                    return None;
                }
                None => Instr::One((self.program.table.unary)(op), self.source(x), self.target(i)),
            },
            Node::One(op, x) => Instr::One((self.program.table.unary)(op), self.source(x), self.target(i)),
            Node::Two(op, a, b) => {
                Instr::Two((self.program.table.binary)(op), self.source(a), self.source(b), self.target(i))
            }
            Node::MulAdd(a, b, c) => {
                Instr::Three(self.program.table.mul_add, self.source(a), self.source(b), self.source(c), self.target(i))
            }
            Node::Select(a, b, c) => {
                Instr::Three(self.program.table.select, self.source(a), self.source(b), self.source(c), self.target(i))
            }
        };
        self.code.push(instr);
        None
    }

    /// The node that shares an exponential with `op` of `x`, if it is still to come.
    fn twin(&self, op: Unary, x: Arg) -> Option<usize> {
        let sister = if op == Unary::Softplus { Unary::Sigmoid } else { Unary::Softplus };
        let other = *self.graph.numbers.get(&Node::One(sister, x))?;
        let wanted = self.readers.get(other).is_some_and(|n| *n > 0);
        (wanted && self.places.get(other) == Some(&None)).then_some(other)
    }

    /// Emits what becomes of a node; `input` is the parameter that it is.
    fn settle(&mut self, node: usize, input: Option<usize>) {
        let Some(Some(place)) = self.places.get(node).copied() else { return };
        for (_, sink) in self.sinks.iter().filter(|(i, _)| *i == node) {
            match (*sink, input) {
                (Sink::Sum(total), _) => self.code.push(Instr::Sum(total, place)),
                (Sink::Keep(column), _) => self.code.push(Instr::Keep(column, place)),
                (Sink::Output(output), Some(input)) => self.code.push(Instr::Copy(input, output)),
                (Sink::Output(output), None) if place != Source::Output(output) => {
                    self.code.push(Instr::Store(output, place));
                }
                (Sink::Output(_), None) => {}
            }
            self.read(node);
        }
    }
}
