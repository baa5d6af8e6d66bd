//! A run: its directory, its journal, its events.

pub mod dir;
pub(crate) mod execute;
pub mod journal;
pub mod log;
mod record;
pub mod rows;
