//! What `.evo` programs can call: one folder a family, its declarations beside the Rust that implements them.
//!
//! In reading order: [`value`] (what passes between nodes), [`cx`] (the seam to the world), [`bind`] (how a declaration
//! meets its implementation), [`library`] (all families together); then the families: [`numeric`], [`model`], [`data`],
//! [`answer`], [`task`], [`train`], [`merge`], [`search`], [`llm`], [`show`]; and [`plot`] (pictures as text).

pub mod answer;
pub mod bind;
pub mod cx;
pub mod data;
pub mod files;
pub mod library;
pub mod llm;
pub mod loss;
pub mod merge;
pub mod model;
pub mod numeric;
pub mod plain;
pub mod plot;
pub mod search;
pub mod show;
pub mod task;
pub mod train;
pub mod value;

pub use library::Library;

/// All families, in the order of the reference.
fn modules() -> Vec<bind::Module> {
    vec![
        numeric::module(),
        model::bind::module(),
        data::bind::module(),
        answer::bind::module(),
        task::bind::module(),
        train::bind::module(),
        loss::module(),
        merge::module(),
        search::module(),
        llm::bind::module(),
        show::module(),
    ]
}
