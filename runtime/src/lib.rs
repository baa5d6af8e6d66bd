//! Runs checked `.evo` programs: schedules, journals, resumes and shows; ships the command line.

pub mod cli;
pub mod datum;
pub mod engine;
pub mod events;
pub mod http;
pub mod project;
pub mod render;
pub mod repl;
pub mod run;
pub mod sandbox;
pub mod serve;
pub mod session;
pub mod store;
pub mod trials;
pub mod workers;

mod clock;
mod db;
mod device;
mod files;
mod panics;

pub use db::DiskError;
