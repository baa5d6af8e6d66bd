//! What the evaluations of a run have in common: tasks in tokens, and what candidates with equal lower layers share.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use evo_kernels::decode::Residuals;

use super::{Method, Prepared, Task, TaskError, Trials};
use crate::data::Template;
use crate::model::{Model, Tokenizer};

/// Tasks that are kept.
const TASKS: usize = 8;

/// What one evaluation leaves for the next; never changes a result.
pub struct Memory {
    /// What candidates with equal lower layers share.
    pub residuals: Arc<Residuals>,
    /// What runs programs that models write, if anything does.
    trials: Option<Arc<dyn Trials>>,
    /// Those that were asked for last come last.
    tasks: Mutex<Vec<(Asked, Prepared)>>,
}

/// What the tokens of a task depend on.
#[derive(PartialEq)]
struct Asked {
    data: blake3::Hash,
    prompt: Template,
    expected: Template,
    method: Method,
    tokenizer: Same,
    stop: Vec<u32>,
}

/// A tokenizer's identity.
struct Same(Weak<Tokenizer>);

impl PartialEq for Same {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

impl Memory {
    /// Nothing yet; residuals take so many bytes at the most.
    pub fn new(residuals: usize) -> Self {
        Self { residuals: Arc::new(Residuals::new(residuals)), trials: None, tasks: Mutex::default() }
    }

    /// The same, with what runs programs that models write.
    #[must_use]
    pub fn with_trials(self, trials: Arc<dyn Trials>) -> Self {
        Self { trials: Some(trials), ..self }
    }

    /// [`Task::prepare`], done once for models with one tokenizer.
    ///
    /// # Errors
    /// As [`Task::prepare`].
    pub fn prepared(&self, task: &Task, model: &Model) -> Result<Prepared, TaskError> {
        let asked = Asked {
            data: task.data.hash(),
            prompt: task.prompt.clone(),
            expected: task.expected.clone(),
            method: task.method.clone(),
            tokenizer: Same(Arc::downgrade(model.require_tokenizer()?)),
            stop: model.stop_ids(),
        };
        if let Some(known) = self.known(&asked) {
            return Ok(known);
        }
        let prepared = task.prepare(model)?.with_trials(self.trials.clone());
        // Another evaluation may have been faster: its texts are those that are shared.
        if let Some(known) = self.known(&asked) {
            return Ok(known);
        }
        let mut tasks = self.tasks();
        tasks.push((asked, prepared.clone()));
        if tasks.len() > TASKS {
            tasks.remove(0);
        }
        Ok(prepared)
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<(Asked, Prepared)>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, asked: &Asked) -> Option<Prepared> {
        let mut tasks = self.tasks();
        let at = tasks.iter().position(|(known, _)| known == asked)?;
        let known = tasks.remove(at);
        let prepared = known.1.clone();
        tasks.push(known);
        Some(prepared)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("residuals", &self.residuals).finish_non_exhaustive()
    }
}
