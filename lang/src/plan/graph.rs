//! The graph of nodes: what a program asks for, with every value named by its content.

use std::any::Any;
use std::sync::Arc;

use indexmap::IndexMap;

use super::closure::{Closure, InstanceId};
use super::key::{Hasher, Key};
use super::konst::Const;
use super::numeric::Code;
use crate::library::Extern;
use crate::span::Span;
use crate::types::Ty;

/// Index of a node in its [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// What the host knows of a node's value before anything runs; its own type inside.
pub type Fact = Arc<dyn Any + Send + Sync>;

/// A node: an operation on the values of other nodes.
#[derive(Clone)]
pub struct Node {
    /// Its identity.
    pub key: Key,
    /// Its identity but for what does not enter a search's draws (`stop`, `on_failure`): raising a limit extends a search.
    pub draw_key: Key,
    /// What it does.
    pub op: Op,
    /// What it does it to.
    pub inputs: Arc<[NodeId]>,
    /// The type of its value.
    pub ty: Ty,
    /// Where the program asks for it (its first place, if several).
    pub span: Span,
    /// The declaration that names it.
    pub label: Option<Arc<str>>,
    /// What the host knows of its value.
    pub fact: Option<Fact>,
    /// Whether it depends on a stand-in argument: it can be looked at, not run.
    pub hypothetical: bool,
    /// Whether its value belongs to one run, because it hangs on the clock or on an effect outside: no other run may
    /// take it over.
    pub local: bool,
}

/// The operations.
#[derive(Clone)]
pub enum Op {
    /// A plain value.
    Const(Const),
    /// A stand-in for an argument that a search will supply.
    Hypothesis,
    /// A value handed in by the runtime under its own key, such as a model that a search bred.
    Given,
    /// A library function. Inputs: the parameters in order (`Const::Nothing` where left out), then the record of rest
    /// arguments if it has such a parameter, then the spaces of type arguments that are genomes.
    Extern(Arc<Extern>),
    /// Compiled code applied to the inputs.
    Numeric(Arc<Code>),
    /// A closure that is compiled code; the inputs are what it captures.
    NumericClosure(Arc<Code>),
    /// A closure over nodes: applied by a search. The inputs are what it captures.
    Closure(Arc<Closure>),
    /// A list or array of the inputs.
    List,
    /// A tuple of the inputs.
    Tuple,
    /// A record of the inputs under these names.
    Record(Arc<[Arc<str>]>),
    /// A field of the one input.
    Field(Arc<str>),
    /// The item of input 0 at input 1.
    Index,
    /// Input 1 where input 0 holds, else input 2; only the chosen one is computed.
    If,
    /// The items of all inputs, which are lists, one after another.
    Concat,
    /// A program with its params set. It is taken apart before the run, and never computed.
    Program(InstanceId),
}

/// Nodes by identity: equal definitions are one node.
#[derive(Default)]
pub struct Graph {
    nodes: Vec<Arc<Node>>,
    by_key: IndexMap<Key, NodeId>,
}

impl Graph {
    /// The node.
    ///
    /// Ids come only from this graph, so that every id names a node.
    pub fn node(&self, id: NodeId) -> &Arc<Node> {
        &self.nodes[id.0 as usize]
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All nodes; inputs stand before those that use them.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Arc<Node>)> {
        self.nodes.iter().enumerate().map(|(i, node)| (NodeId(i as u32), node))
    }

    /// A node's value where it is known.
    pub fn constant(&self, id: NodeId) -> Option<&Const> {
        match &self.node(id).op {
            Op::Const(value) => Some(value),
            _ => None,
        }
    }

    /// The items of a list or tuple whose length is known, as nodes where they are nodes.
    pub fn items(&self, id: NodeId) -> Option<&[NodeId]> {
        let node = self.node(id);
        match node.op {
            Op::List | Op::Tuple => Some(&node.inputs),
            _ => None,
        }
    }

    /// Adds a plain value.
    pub fn add_const(&mut self, value: Const, ty: Ty, span: Span) -> NodeId {
        let mut h = Hasher::new("const");
        value.hash(&mut h);
        let key = h.finish();
        self.insert(Node::plain(key, Op::Const(value), Arc::from([]), ty, span))
    }

    /// Adds a value that the runtime holds under `key`.
    pub fn add_given(&mut self, key: Key, ty: Ty, fact: Option<Fact>) -> NodeId {
        let mut node = Node::plain(key, Op::Given, Arc::from([]), ty, Span::default());
        node.fact = fact;
        self.insert(node)
    }

    /// Adds an operation on nodes; one that is there already is returned instead, with `false`.
    pub(crate) fn add(
        &mut self,
        op: Op,
        inputs: Vec<NodeId>,
        ty: Ty,
        span: Span,
        salt: Option<&Key>,
    ) -> (NodeId, bool) {
        let keys: Vec<&Key> = inputs
            .iter()
            .enumerate()
            .map(|(i, id)| if op.is_aside(i) { &NO_KEY } else { &self.node(*id).key })
            .collect();
        let key = op.key(&keys, salt);
        if let Some(id) = self.by_key.get(&key) {
            return (*id, false);
        }
        let drawn = |(i, id): (usize, &NodeId)| match op.param(i) {
            Some("stop") => Some(&NO_KEY),
            _ if op.is_aside(i) => Some(&NO_KEY),
            Some("on_failure") => None,
            _ => Some(&self.node(*id).draw_key),
        };
        let draw_keys: Vec<&Key> = inputs.iter().enumerate().filter_map(drawn).collect();
        let draw_key = op.key(&draw_keys, salt);
        let hypothetical = matches!(op, Op::Hypothesis) || inputs.iter().any(|id| self.node(*id).hypothetical);
        let local = inputs
            .iter()
            .enumerate()
            .any(|(i, id)| self.node(*id).local || op.param(i) == Some("stop") && self.names_field(*id, "time"));
        let node = Node { draw_key, hypothetical, local, ..Node::plain(key, op, inputs.into(), ty, span) };
        (self.insert(node), true)
    }

    /// Names a node after the declaration that binds it; the first name stays.
    pub(crate) fn set_label(&mut self, id: NodeId, label: &Arc<str>) {
        let node = &mut self.nodes[id.0 as usize];
        if node.label.is_none() {
            Arc::make_mut(node).label = Some(label.clone());
        }
    }

    /// Whether a record has this field with a value.
    fn names_field(&self, record: NodeId, name: &str) -> bool {
        let node = self.node(record);
        match &node.op {
            Op::Const(value) => value.field(name).is_some_and(|v| *v != Const::Nothing),
            Op::Record(names) => {
                let given = |id: &NodeId| self.constant(*id) != Some(&Const::Nothing);
                names.iter().zip(node.inputs.iter()).any(|(n, id)| &**n == name && given(id))
            }
            _ => false,
        }
    }

    /// Notes that a node's value belongs to one run.
    pub(crate) fn set_local(&mut self, id: NodeId) {
        Arc::make_mut(&mut self.nodes[id.0 as usize]).local = true;
    }

    /// Notes what the host knows of a node.
    pub(crate) fn set_fact(&mut self, id: NodeId, fact: Fact) {
        Arc::make_mut(&mut self.nodes[id.0 as usize]).fact = Some(fact);
    }

    fn insert(&mut self, node: Node) -> NodeId {
        if let Some(id) = self.by_key.get(&node.key) {
            return *id;
        }
        let id = NodeId(self.nodes.len() as u32);
        self.by_key.insert(node.key, id);
        self.nodes.push(Arc::new(node));
        id
    }
}

/// Stands where an input does not enter a draw key.
const NO_KEY: Key = Key([0; 32]);

impl Node {
    fn plain(key: Key, op: Op, inputs: Arc<[NodeId]>, ty: Ty, span: Span) -> Node {
        Node { key, draw_key: key, op, inputs, ty, span, label: None, fact: None, hypothetical: false, local: false }
    }
}

impl Op {
    /// The parameter that input `i` of a call is the argument of.
    fn param(&self, i: usize) -> Option<&str> {
        match self {
            Op::Extern(ext) => ext.params.get(i).map(|p| &*p.name),
            _ => None,
        }
    }

    /// Whether input `i` of a call changes nothing that is computed.
    fn is_aside(&self, i: usize) -> bool {
        matches!(self, Op::Extern(ext) if ext.params.get(i).is_some_and(|p| p.aside))
    }

    fn key(&self, inputs: &[&Key], salt: Option<&Key>) -> Key {
        let mut h = Hasher::new("node");
        match self {
            Op::Const(value) => value.hash(h.tag(0)),
            Op::Hypothesis => h.tag(1),
            Op::Given => h.tag(2),
            Op::Extern(ext) => h.tag(3).text(&ext.family).text(&ext.name).number(u64::from(ext.overload)),
            Op::Numeric(code) => h.tag(4).key(&code.key),
            Op::NumericClosure(code) => h.tag(5).key(&code.key),
            Op::Closure(closure) => h.tag(6).key(&closure.fingerprint),
            Op::List => h.tag(7),
            Op::Tuple => h.tag(8),
            Op::Record(names) => {
                h.tag(9).number(names.len() as u64);
                for name in names.iter() {
                    h.text(name);
                }
                &mut h
            }
            Op::Field(name) => h.tag(10).text(name),
            Op::Index => h.tag(11),
            Op::If => h.tag(12),
            Op::Concat => h.tag(13),
            Op::Program(_) => h.tag(14),
        };
        h.number(inputs.len() as u64);
        for key in inputs.iter().copied().chain(salt) {
            h.key(key);
        }
        h.finish()
    }
}
