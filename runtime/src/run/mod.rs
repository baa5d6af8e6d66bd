//! A run: its directory, its journal, its events; and how a plan's graph is computed.
//!
//! In reading order: [`dir`], [`journal`], [`rows`], [`log`]; then `execute` (the seam to the language), `params`,
//! `overview`, `host` (functions of the host),
//! `world` (what nodes share), `desk` (who asks language models), `scheduler`, `effects` (what a node may do), `answers` (requests), `replay`
//! (one candidate again), `away` and `station` (candidates in worker processes: here, and there), [`trainings`] (checkpoints) and `tensorboard` (curves).

mod answers;
pub(crate) mod away;
pub(crate) mod desk;
pub mod dir;
mod effects;
pub(crate) mod estimate;
pub(crate) mod execute;
pub(crate) mod host;
pub mod journal;
pub mod log;
mod naming;
mod overview;
pub(crate) mod params;
mod record;
pub(crate) mod replay;
pub mod rows;
mod scheduler;
mod selection;
pub(crate) mod station;
pub(crate) mod tensorboard;
pub mod trainings;
pub(crate) mod world;
