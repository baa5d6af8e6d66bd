//! Closures over nodes: functions that a search applies to its candidates.

use std::sync::Arc;

use super::graph::NodeId;
use super::key::Key;
use crate::hir::{Function, Lambda, LocalId, Param};
use crate::types::Ty;

/// Index of a program instance in the elaborator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u32);

/// The bindings that an expression sees: its instance, and the locals around it.
#[derive(Clone, Debug)]
pub(crate) struct Env {
    /// The instance whose globals are in scope.
    pub(crate) instance: InstanceId,
    locals: Vec<(LocalId, NodeId)>,
}

impl Env {
    pub(crate) fn new(instance: InstanceId) -> Env {
        Env { instance, locals: Vec::new() }
    }

    pub(crate) fn bind(&mut self, local: LocalId, node: NodeId) {
        self.locals.push((local, node));
    }

    pub(crate) fn get(&self, local: LocalId) -> Option<NodeId> {
        self.locals.iter().rev().find(|(l, _)| *l == local).map(|(_, node)| *node)
    }
}

/// A function value whose body needs the runtime.
pub struct Closure {
    /// What is applied.
    pub(crate) body: Body,
    /// What it sees.
    pub(crate) env: Env,
    /// The identity of body and captures.
    pub(crate) fingerprint: Key,
    /// The declared name, for messages and journals.
    pub name: Option<Arc<str>>,
}

/// The code of a closure.
#[derive(Clone)]
pub(crate) enum Body {
    Lambda(Arc<Lambda>),
    Function(Arc<Function>),
}

impl Body {
    pub(crate) fn params(&self) -> &[Param] {
        match self {
            Body::Lambda(lambda) => &lambda.params,
            Body::Function(function) => &function.params,
        }
    }

    pub(crate) fn expr(&self) -> &crate::hir::Expr {
        match self {
            Body::Lambda(lambda) => &lambda.body,
            Body::Function(function) => &function.body,
        }
    }
}

impl Closure {
    /// The types of its parameters.
    pub fn params(&self) -> Vec<Ty> {
        self.body.params().iter().map(|p| p.ty.clone()).collect()
    }
}
