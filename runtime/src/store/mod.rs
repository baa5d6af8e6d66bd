//! The content-addressed store.

mod key;

pub use key::{Key, NotAKey};
