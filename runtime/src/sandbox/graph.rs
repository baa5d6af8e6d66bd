//! What a script computes, noted down instead of computed: nodes over symbols, equal ones once, at most so many.

use std::collections::BTreeMap;

/// A node's number.
pub(super) type Id = u32;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Op {
    /// The input of that number.
    Input(u32),
    /// A number, by its bits.
    Number(u64),
    /// True or false.
    Truth(bool),
    /// A binary operator of `.evo`.
    Binary(Binary),
    /// `-x`.
    Negate,
    /// `not c`.
    Not,
    /// A library function, by its name there.
    Call(&'static str),
}

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Lt,
    Le,
    Gt,
    Ge,
    Eq,
    Ne,
    And,
    Or,
}

/// An operation on earlier nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    /// What it does.
    pub(super) op: Op,
    /// The nodes that it reads; the first `arity` of them.
    args: [Id; 3],
    arity: u8,
}

impl Node {
    /// The nodes that it reads.
    pub(super) fn reads(&self) -> &[Id] {
        self.args.get(..usize::from(self.arity)).unwrap_or_default()
    }
}

/// More nodes than a script may make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Full;

/// The nodes of one script.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    known: BTreeMap<Node, Id>,
    cap: usize,
}

impl Graph {
    /// Forgets all nodes; from now on there may be `cap`.
    pub(super) fn clear(&mut self, cap: usize) {
        self.nodes.clear();
        self.known.clear();
        self.cap = cap;
    }

    /// The node that does this to these, of which there are at most three: the one that is there already, or a new one.
    pub(super) fn add(&mut self, op: Op, reads: &[Id]) -> Result<Id, Full> {
        let mut node = Node { op, args: [0; 3], arity: 0 };
        for (slot, id) in node.args.iter_mut().zip(reads) {
            *slot = *id;
            node.arity += 1;
        }
        if let Some(id) = self.known.get(&node) {
            return Ok(*id);
        }
        if self.nodes.len() >= self.cap {
            return Err(Full);
        }
        let id = self.nodes.len() as Id;
        self.nodes.push(node);
        self.known.insert(node, id);
        Ok(id)
    }

    /// A node.
    pub(super) fn get(&self, id: Id) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    /// The nodes that lead to these and these themselves, each after what it reads: how often it is read, by number.
    pub(super) fn reached(&self, roots: &[Id]) -> BTreeMap<Id, usize> {
        let mut readers: BTreeMap<Id, usize> = roots.iter().map(|root| (*root, 0)).collect();
        for root in roots {
            *readers.entry(*root).or_default() += 1;
        }
        // A node has a greater number than all that it reads.
        let mut below = self.nodes.len() as Id;
        while let Some((&id, _)) = readers.range(..below).next_back() {
            below = id;
            for read in self.get(id).map(Node::reads).unwrap_or_default() {
                *readers.entry(*read).or_default() += 1;
            }
        }
        readers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_nodes_are_one_and_their_number_is_bounded() {
        let mut graph = Graph::default();
        graph.clear(3);
        let z = graph.add(Op::Input(0), &[]).unwrap();
        let twice = graph.add(Op::Binary(Binary::Add), &[z, z]).unwrap();
        assert_eq!(graph.add(Op::Binary(Binary::Add), &[z, z]), Ok(twice));
        let minus = graph.add(Op::Negate, &[twice]).unwrap();
        assert_eq!(graph.add(Op::Negate, &[minus]), Err(Full));
        assert_eq!(graph.add(Op::Negate, &[twice]), Ok(minus));
        assert_eq!(graph.reached(&[minus]), BTreeMap::from([(z, 2), (twice, 1), (minus, 1)]));
        assert_eq!(graph.reached(&[z]), BTreeMap::from([(z, 1)]));
        assert_eq!(graph.reached(&[z, z]), BTreeMap::from([(z, 2)]));
        graph.clear(1);
        assert_eq!(graph.add(Op::Truth(true), &[]), Ok(0));
    }
}
