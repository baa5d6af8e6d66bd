//! Shows a run as it goes: results on stdout in the order of their requests, progress on stderr as bars on a terminal
//! and as a few lines elsewhere, or everything as JSON.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::screen;
use crate::clock::Stopwatch;
use crate::events::{Event, EventKind, NodeOutcome, Observer};
use crate::render;
use crate::store::Key;

/// Seconds between two lines about one node, where there is no terminal.
const LINE_EVERY: f64 = 15.0;

/// Nodes quicker than this are not worth a line.
const WORTH_A_LINE: f64 = 1.0;

/// Writes every event as a line of JSON on stdout.
pub(super) struct JsonLines;

impl Observer for JsonLines {
    fn event(&self, event: &Event) {
        let _ = screen::json(event); // a reader that left needs no more events
    }
}

/// Shows a run to a person.
pub(super) struct Watcher {
    bars: Option<MultiProgress>,
    state: Mutex<State>,
}

struct State {
    clock: Stopwatch,
    running: BTreeMap<Key, Shown>,
    /// Results whose turn has not come: requests may be answered in any order.
    waiting: BTreeMap<u32, String>,
    next: u32,
}

struct Shown {
    bar: Option<ProgressBar>,
    last_line: Stopwatch,
}

impl Watcher {
    /// For the terminal at hand, or the file in its place.
    pub(super) fn new() -> Watcher {
        let bars = console::user_attended_stderr().then(MultiProgress::new);
        let state = State { clock: Stopwatch::start(), running: BTreeMap::new(), waiting: BTreeMap::new(), next: 0 };
        Watcher { bars, state: Mutex::new(state) }
    }

    /// Takes the bars away and writes the results that waited for one that never came.
    pub(super) fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for shown in std::mem::take(&mut state.running).into_values() {
            shown.bar.iter().for_each(ProgressBar::finish_and_clear);
        }
        for text in std::mem::take(&mut state.waiting).into_values() {
            self.result(&text);
        }
    }

    /// Writes a result without disturbing the bars.
    fn result(&self, text: &str) {
        let write = || {
            let _ = screen::result(text); // a reader that left needs no more results
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn note(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| screen::note(text)),
            None => screen::note(text),
        }
    }

    /// Shows a result when all results of earlier requests have been shown.
    fn in_turn(&self, state: &mut State, request: u32, text: String) {
        state.waiting.insert(request, text);
        while let Some(text) = state.waiting.remove(&state.next) {
            state.next += 1;
            self.result(&text);
        }
    }

    /// Moves a node's bar, or writes a line about it if the last is old enough.
    fn advance(&self, state: &mut State, node: &Key, at: &At<'_>) {
        let elapsed = state.clock.seconds();
        let entry = state.running.entry(*node);
        let shown = entry.or_insert_with(|| Shown {
            bar: self.bars.as_ref().map(|bars| make_bar(bars, at)),
            last_line: Stopwatch::start(),
        });
        if let Some(bar) = &shown.bar {
            bar.set_length(at.total.unwrap_or(0));
            bar.set_position(at.done);
            bar.set_message(at.what.clone());
        } else if shown.last_line.seconds() >= LINE_EVERY {
            shown.last_line = Stopwatch::start();
            let of = at.total.map(|total| format!("/{total}")).unwrap_or_default();
            let left = at.remaining.map(|left| format!(", {} left", render::duration(left))).unwrap_or_default();
            self.note(&format!("{} {}: {}{of} {}{left}", screen::dim(&since(elapsed)), at.name, at.done, at.what));
        }
    }

    fn node_finished(&self, state: &mut State, node: &Key, name: &str, outcome: NodeOutcome, seconds: f64) {
        let known = state.running.remove(node);
        known.iter().filter_map(|shown| shown.bar.as_ref()).for_each(ProgressBar::finish_and_clear);
        let line = match outcome {
            NodeOutcome::Computed if seconds >= WORTH_A_LINE => {
                format!("{name}: {}", render::duration(seconds))
            }
            NodeOutcome::Failed => format!("{name}: failed"),
            _ => return,
        };
        self.note(&format!("{} {line}", screen::dim(&since(state.clock.seconds()))));
    }
}

impl Observer for Watcher {
    fn event(&self, event: &Event) {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.kind {
            EventKind::RunStarted { run, segment, tiny, .. } => self.note(&started(run, *segment, *tiny)),
            EventKind::NodeProgress { node, .. } | EventKind::Generation { search: node, .. } => {
                if let Some(at) = At::of(&event.kind) {
                    self.advance(state, node, &at);
                }
            }
            EventKind::NodeFinished { node, name, outcome, seconds } => {
                self.node_finished(state, node, name, *outcome, *seconds);
            }
            EventKind::Warning { code, message, place, help } => {
                self.note(&warning(code.as_deref(), message, place.as_deref(), help.as_deref()));
            }
            other => {
                if let Some((request, text)) = answer(other) {
                    self.in_turn(state, request, text);
                }
            }
        }
    }
}

fn started(run: &str, segment: u32, tiny: bool) -> String {
    let how = if segment > 0 { "resumes" } else { "runs" };
    let tiny = if tiny { ", tiny" } else { "" };
    screen::dim(&format!("{how} in {run}{tiny}"))
}

pub(crate) fn warning(code: Option<&str>, message: &str, place: Option<&str>, help: Option<&str>) -> String {
    let place = place.map(|place| format!("\n  at {place}")).unwrap_or_default();
    let help = help.map(|help| format!("\n  help: {help}")).unwrap_or_default();
    format!("{}: {message}{place}{help}", screen::warning_word(code))
}

/// What a request gave, as text for stdout.
fn answer(kind: &EventKind) -> Option<(u32, String)> {
    match kind {
        EventKind::Printed { request, shown } => Some((*request, render::shown(shown))),
        EventKind::Plotted { request, path: Some(path), .. } => Some((*request, format!("plotted {path}"))),
        EventKind::Plotted { request, path: None, text } => Some((*request, text.clone())),
        EventKind::Saved { request, path, what } => Some((*request, format!("saved {what} {path}"))),
        EventKind::Expected { request, message, holds, enforced } => {
            let answer = if *holds { "holds" } else { "does not hold" };
            let shown = if *enforced { "" } else { " (a tiny run: not enforced)" };
            Some((*request, format!("expected: {message}: {answer}{shown}")))
        }
        _ => None,
    }
}

/// How far a node is, for showing.
pub(crate) struct At<'a> {
    pub(crate) name: &'a str,
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
    pub(crate) what: String,
    /// Seconds that are left, where known.
    pub(crate) remaining: Option<f64>,
}

impl<'a> At<'a> {
    /// What an event says of a node's progress.
    pub(crate) fn of(kind: &'a EventKind) -> Option<At<'a>> {
        let real = |name: &str, value: f64| format!("{name} {}", render::real(value));
        let join = |parts: Vec<Option<String>>| parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        match kind {
            EventKind::NodeProgress { name, done, total, message, rate, metric, more, remaining, .. } => {
                let message = Some(message.clone()).filter(|message| !message.is_empty());
                let metric = metric.as_ref().map(|metric| real(&metric.name, metric.value));
                // A rate in units of its own, such as tokens, says more than one in steps.
                let rate = rate.filter(|_| !more.keys().any(|name| name.ends_with("/s")));
                let rate = rate.map(|rate| format!("{}/s", render::real(rate)));
                let figure = |(name, value): (&String, &f64)| match name.strip_suffix("/s") {
                    Some(unit) => format!("{} {unit}/s", render::real(value.round())),
                    None => real(name, *value),
                };
                let more = more.iter().map(|figure_of| Some(figure(figure_of)));
                let parts = [message, metric].into_iter().chain(more).chain([rate]).collect();
                Some(At { name, done: *done, total: *total, what: join(parts), remaining: *remaining })
            }
            EventKind::Generation { name, generation, evaluations, limit, best, sigma, .. } => {
                let generation = format!("evaluations, generation {generation}");
                let (best, sigma) = (best.map(|best| real("best", best)), sigma.map(|sigma| real("sigma", sigma)));
                Some(At {
                    name,
                    done: *evaluations,
                    total: *limit,
                    what: join(vec![Some(generation), best, sigma]),
                    remaining: None,
                })
            }
            _ => None,
        }
    }
}

fn since(seconds: f64) -> String {
    format!("[{:>9}]", render::duration(seconds))
}

pub(crate) fn make_bar(bars: &MultiProgress, at: &At<'_>) -> ProgressBar {
    let bar = bars.add(ProgressBar::new(at.total.unwrap_or(0)));
    let template = match at.total {
        Some(_) => "{prefix:>14!} {bar:20} {pos}/{len} {wide_msg} {eta:>4}",
        None => "{prefix:>14!} {spinner} {pos} {wide_msg} {elapsed:>4}",
    };
    // A template is fixed text: where it is not understood, the plain style shows the same figures.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("━╸─"));
    bar.set_prefix(at.name.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_wait_for_their_turn() {
        let watcher = Watcher {
            bars: None,
            state: Mutex::new(State {
                clock: Stopwatch::start(),
                running: BTreeMap::new(),
                waiting: BTreeMap::new(),
                next: 0,
            }),
        };
        let mut state = watcher.state.lock().unwrap();
        watcher.in_turn(&mut state, 1, "second".into());
        assert_eq!((state.next, state.waiting.len()), (0, 1));
        watcher.in_turn(&mut state, 0, "first".into());
        assert_eq!((state.next, state.waiting.len()), (2, 0));
        drop(state);
        watcher.finish();
    }
}
