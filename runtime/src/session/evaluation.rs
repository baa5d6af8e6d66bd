//! What an entry asks for, on its way: started on a thread of its own, watched, stopped, waited for.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use evo_lang::diag::{Code, Diagnostic};

use crate::engine::{Failure, Plan, RunOptions, RunOutcome};
use crate::events::{Cancel, Event, EventKind, Observer, Status};

/// Hands events on to watchers that come later than the engine.
#[derive(Default)]
pub(super) struct Relay(Mutex<Vec<Arc<dyn Observer>>>);

impl Relay {
    fn watchers(&self) -> MutexGuard<'_, Vec<Arc<dyn Observer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Relay {
    fn event(&self, event: &Event) {
        self.watchers().iter().for_each(|watcher| watcher.event(event));
    }
}

/// What an entry asks for, planned and not yet started.
pub struct Evaluation {
    pub(super) plan: Plan,
    pub(super) cancel: Cancel,
    pub(super) relay: Arc<Relay>,
    pub(super) title: String,
    pub(super) jobs: Option<usize>,
    pub(super) is_expression: bool,
    /// Shows a failure as it was entered.
    pub(super) relocate: Box<dyn Fn(Failure) -> Failure + Send>,
}

impl fmt::Debug for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluation").field("title", &self.title).finish_non_exhaustive()
    }
}

impl Evaluation {
    /// What is asked for, on one line.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Whether a bare expression asks for it, rather than a request.
    pub fn is_expression(&self) -> bool {
        self.is_expression
    }

    /// What is doubtful about it.
    pub fn warnings(&self) -> &[Diagnostic] {
        self.plan.warnings()
    }

    /// Starts it on a thread of its own, with more watchers besides the engine's.
    pub fn start(self, watchers: Vec<Arc<dyn Observer>>) -> Job {
        let Evaluation { plan, cancel, relay, title, jobs, is_expression, relocate } = self;
        let shared = Arc::new(Shared::default());
        relay.watchers().push(shared.clone());
        relay.watchers().extend(watchers);
        let options = RunOptions { jobs, ..RunOptions::default() };
        let done = shared.clone();
        let work = move || {
            let outcome = plan.evaluate(options).unwrap_or_else(failed);
            let failure = outcome.failure.map(relocate);
            done.finish(RunOutcome { failure, ..outcome });
        };
        if let Err(error) = std::thread::Builder::new().name("evaluation".into()).spawn(work) {
            let title = format!("no thread could be started: {error}");
            shared.finish(failed(Failure::placeless(3, Code::R0505, title, "end other programs first")));
        }
        Job { title, is_expression, cancel, shared }
    }
}

/// The outcome of what could not begin.
fn failed(failure: Failure) -> RunOutcome {
    let status = if failure.exit_code == 130 { Status::Interrupted } else { Status::Failed };
    RunOutcome {
        status,
        outputs: Vec::new(),
        run_dir: Default::default(),
        failure: Some(failure),
        seconds: 0.0,
        asked: Default::default(),
    }
}

/// What is under way. Dropping it lets it go on; clones are the same job.
#[derive(Clone)]
pub struct Job {
    title: String,
    is_expression: bool,
    cancel: Cancel,
    shared: Arc<Shared>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("title", &self.title).field("outcome", &self.outcome()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    progress: Option<EventKind>,
    outcome: Option<RunOutcome>,
    is_released: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, outcome: RunOutcome) {
        self.state().outcome = Some(outcome);
        self.changed.notify_all();
    }
}

impl Observer for Shared {
    fn event(&self, event: &Event) {
        if matches!(event.kind, EventKind::NodeProgress { .. } | EventKind::Generation { .. }) {
            self.state().progress = Some(event.kind.clone());
        }
    }
}

impl Job {
    /// What is asked for, on one line.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Whether a bare expression asks for it.
    pub fn is_expression(&self) -> bool {
        self.is_expression
    }

    /// The token that stops it: what is finished by then is kept, and the same entry goes on from there.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// How far it is: its latest [`EventKind::NodeProgress`] or [`EventKind::Generation`].
    pub fn progress(&self) -> Option<EventKind> {
        self.shared.state().progress.clone()
    }

    /// What came of it, once it has ended.
    pub fn outcome(&self) -> Option<RunOutcome> {
        self.shared.state().outcome.clone()
    }

    /// Waits until it has ended.
    pub fn wait(&self) -> RunOutcome {
        loop {
            if let Some(outcome) = self.wait_or_released() {
                return outcome;
            }
            self.shared.state().is_released = false;
        }
    }

    /// Waits until it has ended, or until somebody calls [`Job::release`].
    pub fn wait_or_released(&self) -> Option<RunOutcome> {
        let mut state = self.shared.state();
        loop {
            if state.outcome.is_some() || state.is_released {
                return state.outcome.clone();
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets those go who wait by [`Job::wait_or_released`]; the job goes on.
    pub fn release(&self) {
        self.shared.state().is_released = true;
        self.shared.changed.notify_all();
    }
}
