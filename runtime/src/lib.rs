//! Runs checked `.evo` programs: schedules, journals, resumes and shows; ships the command line.

pub mod datum;
pub mod events;
pub mod store;
