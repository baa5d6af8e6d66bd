//! Bars for what is computed in the foreground, on the terminal's error stream; they are gone when it is done.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar};

use crate::cli::screen;
use crate::cli::watch::{At, make_bar, warning};
use crate::events::{Event, EventKind, Observer};
use crate::store::Key;

/// The bars of one evaluation.
pub(super) struct Bars {
    all: MultiProgress,
    shown: Mutex<BTreeMap<Key, ProgressBar>>,
}

impl Bars {
    pub(super) fn new() -> Bars {
        Bars { all: MultiProgress::new(), shown: Mutex::default() }
    }

    /// Takes all bars away.
    pub(super) fn finish(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *shown).into_values().for_each(|bar| bar.finish_and_clear());
    }
}

impl Observer for Bars {
    fn event(&self, event: &Event) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.kind {
            EventKind::NodeProgress { node, .. } | EventKind::Generation { search: node, .. } => {
                let Some(at) = At::of(&event.kind) else { return };
                let bar = shown.entry(*node).or_insert_with(|| make_bar(&self.all, &at));
                bar.set_length(at.total.unwrap_or(0));
                bar.set_position(at.done);
                bar.set_message(at.what);
            }
            EventKind::NodeFinished { node, .. } => {
                if let Some(bar) = shown.remove(node) {
                    bar.finish_and_clear();
                }
            }
            EventKind::Warning { code, message, place, help } => {
                let text = warning(code.as_deref(), message, place.as_deref(), help.as_deref());
                self.all.suspend(|| screen::note(&text));
            }
            _ => {}
        }
    }
}
