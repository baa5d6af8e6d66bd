//! Language models behind an endpoint that speaks OpenAI's chat completions.
//!
//! In reading order: [`request`] (what is asked, and its identity) · [`price`] and [`budget`] (what it may cost) · [`wire`] (what goes over the
//! line and comes back) · [`retry`] (what is tried again, and when) · [`client`] (one call, from reservation to reply) · [`transcript`] (what was
//! said, to be said again) · [`schema`] and [`form`] (answers that have a structure) · [`error`] · [`bind`] (the family as the language sees it).
//!
//! No socket is opened here, no clock is read, nothing is drawn: what a call needs of the world comes through [`client::Transport`] and
//! [`client::Pace`], and the runtime has both. A key is known to the transport alone, so that no request, transcript or message can hold one.

pub mod bind;
pub mod budget;
pub mod client;
pub mod error;
pub mod form;
pub mod price;
pub mod request;
pub mod retry;
pub mod schema;
#[cfg(test)]
mod tests;
pub mod transcript;
pub mod wire;

pub use bind::Proposer;
pub use budget::{Overspent, Purse};
pub use client::{Client, Exchange, Head, Line, Pace, Post, Said, Transport, TransportError};
pub use error::LlmError;
pub use price::{PriceError, PriceTable, Rate};
pub use request::{Format, Message, Request, Role};
pub use retry::Policy;
pub use transcript::{Entry, Outcome, Recorded};
pub use wire::{Finish, Reply, Usage};
