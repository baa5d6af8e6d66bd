//! One candidate of a run, computed again: `evo replay`.
//!
//! The search goes through a copy of the run's journal from which this one evaluation is missing. What the journal holds is
//! taken from there, so that only this candidate is computed, by the same steps as in the run; nothing is written to the run,
//! and of the candidate nothing is looked up in the store.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use evo_lang::diag::Diagnostic;
use evo_lang::plan::NodeId;
use evo_stdlib::cx::Failure as NodeFailure;
use rusqlite::{Connection, OpenFlags};

use super::answers;
use super::execute::{Ready, Scope, library, memory};
use super::rows::{self, Candidate, Evaluation};
use super::scheduler::Scheduler;
use super::world::World;
use crate::db::DiskError;
use crate::engine::Failure;
use crate::events::Outcome;
use crate::store::Key;

/// A candidate of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The search's identity.
    pub(crate) search: Key,
    /// The generation, from 0.
    pub(crate) generation: u64,
    /// The candidate within it, from 0.
    pub(crate) candidate: u64,
}

/// What is watched for while a search is gone through again.
#[derive(Debug)]
pub(crate) struct Replaying {
    target: Target,
    found: Mutex<Option<Again>>,
}

/// What came of the candidate this time.
#[derive(Clone, Debug)]
pub(crate) struct Again {
    pub(crate) outcome: Outcome,
    /// The identity of what was evaluated.
    pub(crate) node: Key,
    /// Seconds that the candidate's own nodes ran.
    pub(crate) seconds: f64,
    /// Its failure, with its place in the program.
    pub(crate) failure: Option<Diagnostic>,
}

impl Replaying {
    /// A watch for one candidate.
    pub(crate) fn new(target: Target) -> Replaying {
        Replaying { target, found: Mutex::new(None) }
    }

    /// Whether this evaluation is the one.
    pub(super) fn is(&self, found: &Evaluation) -> bool {
        (found.search, found.generation, found.candidate)
            == (self.target.search, self.target.generation, self.target.candidate)
    }

    /// Keeps what came of it.
    pub(super) fn note(&self, scheduler: &Scheduler, found: &Evaluation, failure: Option<&Arc<NodeFailure>>) {
        let place =
            || scheduler.world().elaborator().graph().iter().find(|(_, n)| n.key == found.search).map(|(_, n)| n.span);
        let failure = failure.map(|failure| {
            answers::diagnostic(scheduler, failure, place().unwrap_or_else(crate::engine::nowhere), None)
        });
        let again = Again { outcome: found.outcome.clone(), node: found.node, seconds: found.seconds, failure };
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(again);
    }

    fn take(&self) -> Option<Again> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What the journal of a run holds of its candidates.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// The candidates, with what became of each that is finished.
    pub(crate) candidates: Vec<(Candidate, Option<Evaluation>)>,
    /// The searches that are finished: identity and name.
    pub(crate) names: Vec<(Key, String)>,
}

/// Copies a journal whole, whoever is writing to it.
pub(crate) fn copy(journal: &Path, to: &Path) -> Result<(), DiskError> {
    let at = |e: &rusqlite::Error| DiskError::from_sql(journal, e);
    let from = Connection::open_with_flags(journal, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|e| at(&e))?;
    from.execute("VACUUM INTO ?1", [to.display().to_string()]).map(drop).map_err(|e| at(&e))
}

/// Reads all candidates of a journal.
pub(crate) fn recorded(journal: &Path) -> Result<Recorded, DiskError> {
    let read = || -> rusqlite::Result<Recorded> {
        let from = Connection::open_with_flags(journal, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let order = "ORDER BY search, generation, candidate";
        let made: Vec<Candidate> = from
            .prepare(&format!("SELECT * FROM {} {order}", rows::CANDIDATES.name))?
            .query_map([], Candidate::read)?
            .collect::<rusqlite::Result<_>>()?;
        let mut found: Vec<Evaluation> = from
            .prepare(&format!("SELECT * FROM {} {order}", rows::EVALUATIONS.name))?
            .query_map([], Evaluation::read)?
            .collect::<rusqlite::Result<_>>()?;
        let names = from
            .prepare("SELECT node, name FROM nodes ORDER BY node")?
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let names = names.into_iter().filter_map(|(node, name)| Some((node.parse().ok()?, name))).collect();
        let pair = |made: Candidate| {
            let same = |e: &Evaluation| {
                (e.search, e.generation, e.candidate) == (made.search, made.generation, made.candidate)
            };
            let at = found.iter().position(same);
            let evaluation = at.map(|at| found.remove(at));
            (made, evaluation)
        };
        Ok(Recorded { candidates: made.into_iter().map(pair).collect(), names })
    };
    read().map_err(|e| DiskError::from_sql(journal, &e))
}

/// Takes one evaluation out of a copied journal.
pub(crate) fn forget(journal: &Path, target: &Target) -> Result<(), DiskError> {
    let at = |e: &rusqlite::Error| DiskError::from_sql(journal, e);
    let to = Connection::open(journal).map_err(|e| at(&e))?;
    let sql =
        format!("DELETE FROM {} WHERE search = ?1 AND generation = ?2 AND candidate = ?3", rows::EVALUATIONS.name);
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let with = rusqlite::params![target.search.to_string(), number(target.generation), number(target.candidate)];
    to.execute(&sql, with).map(drop).map_err(|e| at(&e))
}

/// Goes through the search until the candidate is computed. Nothing if the search never came to it.
pub(crate) fn replay(scope: &Scope<'_>, ready: Ready, target: Target) -> Result<Option<Again>, Failure> {
    let search = ready.elaborator.graph().iter().find(|(_, node)| node.key == target.search).map(|(id, _)| id);
    let Some(search) = search else { return Ok(None) };
    let replaying = Arc::new(Replaying::new(target));
    let memory = memory(&ready.elaborator, scope, scope.jobs);
    let world = World::new(ready.elaborator, library()?, scope, scope.planned.place(), scope.planned.is_tiny(), memory);
    let scheduler = Scheduler::new(world.replaying(replaying.clone()), scope.jobs, scope.jobs);
    let failed = scheduler.run(|| wait(&scheduler, search));
    match (replaying.take(), failed) {
        (Some(again), _) => Ok(Some(again)),
        (None, Some(failure)) if !failure.is_cancelled => {
            let span = scheduler.world().node(search).span;
            let diagnostic = answers::diagnostic(&scheduler, &failure, span, None);
            Err(Failure { exit_code: 3, diagnostics: vec![diagnostic], sources: scope.planned.sources.clone() })
        }
        (None, _) => Ok(None),
    }
}

fn wait(scheduler: &Arc<Scheduler>, search: NodeId) -> Option<Arc<NodeFailure>> {
    scheduler.demand(&[search], false);
    scheduler.wait(search).outcome.err()
}
