//! Searching genomes: optimizers from `evo_kernels::optim`, candidates evaluated through [`crate::cx::Effects::map`].

mod evolve;
mod facts;
mod found;
mod genes;
mod history;
mod on_failure;
mod optimizer;

use crate::bind::Module;

pub use found::Search;
pub use history::{History, Leaderboard};
pub use optimizer::Optimizer;

/// The family `search`.
pub fn module() -> Module {
    Module::new("search", include_str!("search.evo"))
        .bind("evolve", evolve::evolve)
        .directs()
        .facts("evolve", facts::evolve)
        .bind("cma_es", optimizer::cma_es)
        .bind("random_search", optimizer::random_search)
        .bind("retry", on_failure::retry)
}
