//! Answers: how a model writes them, where they end, and the forms that they can be held to.
//!
//! [`Answering`] says how; [`answers`] asks a model for many answers at once. An answer depends on the model, its prompt, and the
//! number of its draw alone, to the bit. [`service`] answers requests that come and go.

pub mod bind;
mod form;
pub mod service;
#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod tests;
mod write;

pub use form::{Form, FormError};
pub use write::{Answer, Answering, Ended, answers};
