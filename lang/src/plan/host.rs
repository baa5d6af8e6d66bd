//! What the elaborator asks of its host: facts about models and data, read from headers and first rows.
//!
//! `lang` opens no file. When the elaborator meets a library call it shows the call to the host, which may answer with
//! the value (`layers(base)` is `4`), with a fact that later calls look at (a model's header), or with problems.

use super::graph::{Fact, Graph, NodeId, Op};
use super::key::Key;
use super::konst::Const;
use crate::library::Extern;

/// Implemented by the standard library's binding.
pub trait Host: Send + Sync {
    /// What is known of a call's result before anything runs. Problems are pushed to `problems`.
    fn call(&self, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer;

    /// What is known of a node's field.
    fn field(&self, fact: &Fact, name: &str) -> Answer;
}

/// What the host knows of a value.
pub enum Answer {
    /// Nothing.
    Unknown,
    /// The value itself.
    Known(Const),
    /// Something that later calls look at.
    Fact(Fact),
    /// The same of something outside the program, such as a file, with the identity of its content.
    Content(Fact, Key),
    /// What is called lies outside and may answer otherwise next time: the identity of it, such as a host function's
    /// version. The result belongs to the run that asked.
    Effect(Key),
}

/// A finding about a call, turned into a diagnostic at the argument it names.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// The stable code, such as `E0403`.
    pub code: &'static str,
    /// Whether it only warns.
    pub warning: bool,
    /// One complete sentence without capital or full stop, the user's thing in backticks.
    pub title: String,
    /// What is wrong at the place, in eight words or fewer.
    pub label: String,
    /// The parameter at fault; the call as a whole without one.
    pub param: Option<String>,
    /// Facts with numbers.
    pub notes: Vec<String>,
    /// An action.
    pub help: String,
}

/// A library call under examination.
pub struct Call<'g> {
    pub(super) graph: &'g Graph,
    pub(super) ext: &'g Extern,
    pub(super) inputs: &'g [NodeId],
    /// Whether the run is a tiny one.
    pub tiny: bool,
}

impl<'g> Call<'g> {
    /// The declaration that is called.
    pub fn ext(&self) -> &'g Extern {
        self.ext
    }

    /// The argument of a parameter.
    pub fn arg(&self, param: &str) -> Option<Look<'g>> {
        let i = self.ext.params.iter().position(|p| &*p.name == param)?;
        self.inputs.get(i).map(|id| Look { graph: self.graph, id: *id })
    }

    /// All inputs in order.
    pub fn args(&self) -> impl Iterator<Item = Look<'g>> + '_ {
        self.inputs.iter().map(|id| Look { graph: self.graph, id: *id })
    }
}

/// A node seen by the host.
#[derive(Clone, Copy)]
pub struct Look<'g> {
    graph: &'g Graph,
    id: NodeId,
}

impl<'g> Look<'g> {
    /// Its value, where it is known.
    pub fn constant(&self) -> Option<&'g Const> {
        self.graph.constant(self.id)
    }

    /// What the host said of it, if it is a `T`.
    pub fn fact<T: 'static>(&self) -> Option<&'g T> {
        self.graph.node(self.id).fact.as_ref()?.downcast_ref()
    }

    /// The items of a list or tuple literal.
    pub fn items(&self) -> Option<Vec<Look<'g>>> {
        let items = self.graph.items(self.id)?;
        Some(items.iter().map(|id| Look { graph: self.graph, id: *id }).collect())
    }

    /// The code of a closure that is numeric, and how many values it captures, which are its first parameters.
    pub fn closure(&self) -> Option<(std::sync::Arc<super::Code>, usize)> {
        let node = self.graph.node(self.id);
        let Op::NumericClosure(code) = &node.op else { return None };
        Some((code.clone(), node.inputs.len()))
    }

    /// A field of a record literal.
    pub fn field(&self, name: &str) -> Option<Look<'g>> {
        let node = self.graph.node(self.id);
        let Op::Record(names) = &node.op else { return None };
        let i = names.iter().position(|n| &**n == name)?;
        node.inputs.get(i).map(|id| Look { graph: self.graph, id: *id })
    }

    /// All fields of a record, in order.
    pub fn fields(&self) -> Option<Vec<(&'g str, Look<'g>)>> {
        let node = self.graph.node(self.id);
        let Op::Record(names) = &node.op else { return None };
        let look = |(name, id): (&'g std::sync::Arc<str>, &NodeId)| (&**name, Look { graph: self.graph, id: *id });
        Some(names.iter().zip(node.inputs.iter()).map(look).collect())
    }

    /// The name it was declared by, for messages.
    pub fn name(&self) -> String {
        match &self.graph.node(self.id).label {
            Some(label) => label.to_string(),
            None => "this value".to_owned(),
        }
    }

    /// Its content identity: equal keys, equal values.
    pub fn key(&self) -> Key {
        self.graph.node(self.id).key
    }
}
