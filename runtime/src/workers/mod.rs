//! Processes that compute for this one: what may crash, take too much or never end does so there.
//!
//! A worker is `evo worker --stdio`, started with a stripped environment in a process group of its own ([`process`]). It is
//! asked in messages on its stdin ([`frame`], [`protocol`]), answers on its stdout ([`serve`]), and is killed with all that
//! it started when it takes longer than it is given. A [`Pool`] keeps workers warm and replaces those that are lost. What
//! the system itself holds them to is in [`limits`].

pub mod limits;

pub(crate) mod environment;
mod frame;
mod pool;
mod process;
pub(crate) mod protocol;
mod serve;

pub use frame::{MAX_FRAME, read_frame, write_frame};
pub use pool::{Manner, Pool, STRIKES};
pub use process::{Lost, Spec, Worker, executable};
pub use protocol::{Answer, Ask, Evaluate, Evaluated, Failed, Hello, Open, PROTOCOL, Reply, Request, Warning};
pub use serve::{Desk, serve};
