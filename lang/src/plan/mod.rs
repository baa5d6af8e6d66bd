//! The plan: a checked program, executed symbolically with its actual params, as a graph of nodes with content keys.
//!
//! In reading order: [`Const`] is a plain value, [`Key`] an identity, [`Graph`] the nodes; [`Host`] is what the
//! elaborator asks about models and data; [`Elaborator`] builds the graph and grows it when a search applies its
//! functions to candidates.

mod closure;
mod elaborate;
mod fingerprint;
mod graph;
mod host;
mod key;
mod konst;
mod numeric;

pub use closure::{Closure, InstanceId};
pub use elaborate::{Abort, Demand, Elaborator, Options, PlannedRequest};
pub use graph::{Fact, Graph, Node, NodeId, Op};
pub use host::{Answer, Call, Host, Look, Problem};
pub use key::Key;
pub use konst::{Const, GeneDomain, RangeConst, Space, SpaceField};
pub use numeric::Code;
