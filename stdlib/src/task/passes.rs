//! Programs as answers: pass@k.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use evo_kernels::decode::DecodeError;

use super::trial::{Order, Trial, TrialKind, TrialLimits, Verdict};
use super::{Record, TaskError};
use crate::answer::{Answering, answers};
use crate::data::{Data, DataError, Template};
use crate::model::{Model, Place};

/// The hole of a program's template in which a model's answer stands.
pub const COMPLETION: &str = "completion";

/// Why programs were not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untried {
    /// The run was asked to stop.
    Stopped,
    /// This system lacks something.
    Lacking(String),
}

/// Runs programs that models wrote, where they can do no harm. The runtime's.
pub trait Trials: Send + Sync + std::fmt::Debug {
    /// Tries programs: a verdict for each, in order.
    ///
    /// # Errors
    /// [`Untried`] if this system cannot run them safely, or was asked to stop.
    fn try_all(&self, trials: &[Trial], stop: Option<&AtomicBool>) -> Result<Vec<Verdict>, Untried>;
}

/// How programs are asked for, and what they are held to.
#[derive(Debug, Clone, PartialEq)]
pub struct Passes {
    /// What they are written in.
    pub language: Language,
    /// The whole program, with [`COMPLETION`] for the answer.
    pub program: Template,
    /// Whether an answer's first block between lines of three backticks, where it has one, stands for it.
    pub fenced: bool,
    /// Answers to each prompt.
    pub samples: usize,
    /// The `k` of pass@k.
    pub k: usize,
    /// The longest answer, in tokens.
    pub max_tokens: usize,
    /// How answers are written.
    pub by: Answering,
    /// What bounds each program.
    pub limits: TrialLimits,
}

/// What programs are written in, with the templates of what they are held to: see [`TrialKind`].
#[derive(Debug, Clone, PartialEq)]
pub enum Language {
    /// See [`TrialKind::Rhai`].
    Rhai {
        /// An expression that must be true.
        check: Template,
    },
    /// See [`TrialKind::Sql`].
    Sql {
        /// Makes the database.
        setup: Template,
        /// The right query.
        expected: Template,
        /// Whether the order of rows counts.
        order: Order,
    },
    /// See [`TrialKind::Shell`].
    Shell {
        /// Makes the files.
        setup: Template,
        /// What must be printed.
        expected: Option<Template>,
        /// What must succeed afterwards.
        check: Option<Template>,
    },
    /// See [`TrialKind::Command`].
    Command {
        /// The interpreter and its arguments.
        argv: Vec<String>,
        /// What must be printed.
        expected: Option<Template>,
        /// Whether programs may start processes.
        processes: bool,
    },
}

/// The programs of a row, all but the answer.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// What stands between answers: one more than there are holes.
    pieces: Vec<String>,
    kind: TrialKind,
}

impl Passes {
    /// The templates that name columns.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let all = match &self.language {
            Language::Rhai { check } => [Some(check), None, None],
            Language::Sql { setup, expected, .. } => [Some(setup), Some(expected), None],
            Language::Shell { setup, expected, check } => [Some(setup), expected.as_ref(), check.as_ref()],
            Language::Command { expected, .. } => [expected.as_ref(), None, None],
        };
        all.into_iter().flatten()
    }

    /// Whether the data have the columns.
    pub(super) fn check(&self, data: &Data) -> Result<(), TaskError> {
        self.templates().try_for_each(|template| template.check(data))?;
        Ok(self.program.check_beside(data, COMPLETION)?)
    }

    /// Each row's programs, all but the answers.
    pub(super) fn frames(&self, data: &Data) -> Result<Vec<Frame>, DataError> {
        let rows = data.len();
        let each = |template: &Template| template.render_all(data);
        let maybe = |template: &Option<Template>| match template {
            Some(template) => Ok(each(template)?.into_iter().map(Some).collect()),
            None => Ok(vec![None; rows]),
        };
        let kinds: Vec<TrialKind> = match &self.language {
            Language::Rhai { check } => each(check)?.into_iter().map(|check| TrialKind::Rhai { check }).collect(),
            Language::Sql { setup, expected, order } => {
                let both = each(setup)?.into_iter().zip(each(expected)?);
                both.map(|(setup, expected)| TrialKind::Sql { setup, expected, order: *order }).collect()
            }
            Language::Shell { setup, expected, check } => {
                let all = each(setup)?.into_iter().zip(maybe(expected)?).zip(maybe(check)?);
                all.map(|((setup, expected), check)| TrialKind::Shell { setup, expected, check }).collect()
            }
            Language::Command { argv, expected, processes } => {
                let (argv, processes) = (argv.clone(), *processes);
                let of = |expected| TrialKind::Command { argv: argv.clone(), expected, processes };
                maybe(expected)?.into_iter().map(of).collect()
            }
        };
        let pieces = self.program.render_around(data, COMPLETION)?;
        Ok(pieces.into_iter().zip(kinds).map(|(pieces, kind)| Frame { pieces, kind }).collect())
    }

    /// What is run for an answer to a row.
    pub(super) fn trial(&self, frame: &Frame, answer: &str) -> Trial {
        let completion = if self.fenced { fenced(answer).unwrap_or(answer) } else { answer };
        Trial { program: frame.pieces.join(completion), kind: frame.kind.clone(), limits: self.limits }
    }

    /// Asks a model for programs, and tries them.
    pub(super) fn score(
        &self,
        model: &Model,
        (prompts, frames): (&[Vec<u32>], &[Frame]),
        trials: &Arc<dyn Trials>,
        place: &Place,
    ) -> Result<Vec<Record>, TaskError> {
        let repeated = prompts.iter().flat_map(|prompt| std::iter::repeat_n(prompt.clone(), self.samples));
        let prompts: Vec<Vec<u32>> = repeated.collect();
        let written = answers(model, &prompts, self.max_tokens, &self.by, place.clone())?;
        let mut all = Vec::with_capacity(written.len());
        for (answers, frame) in written.chunks(self.samples).zip(frames) {
            all.extend(answers.iter().map(|answer| self.trial(frame, &answer.text)));
        }
        let verdicts = tried(trials.as_ref(), &all, self.samples, place.stop.as_deref())?;
        let rows = verdicts.chunks(self.samples).zip(written.chunks(self.samples));
        let record = |(verdicts, answers): (&[bool], &[crate::answer::Answer])| {
            let passed = verdicts.iter().filter(|passed| **passed).count();
            let answer = answers.first().map(|answer| answer.text.clone());
            Record { score: pass_at(self.samples, passed, self.k), answer }
        };
        Ok(rows.map(record).collect())
    }
}

/// Whether each program passed; so many in a row are of one row of data.
pub(super) fn tried(
    trials: &dyn Trials,
    all: &[Trial],
    of_row: usize,
    stop: Option<&AtomicBool>,
) -> Result<Vec<bool>, TaskError> {
    let untried = |why| match why {
        Untried::Stopped => TaskError::Decode(DecodeError::Stopped),
        Untried::Lacking(why) => TaskError::Untried { why },
    };
    let verdicts = trials.try_all(all, stop).map_err(untried)?;
    let passed = |(i, verdict): (usize, Verdict)| match verdict {
        Verdict::Passed => Ok(true),
        Verdict::Failed(_) => Ok(false),
        Verdict::Unfit(why) => Err(TaskError::Unfit { row: i / of_row.max(1), why }),
    };
    verdicts.into_iter().enumerate().map(passed).collect()
}

/// The chance that of `k` out of `n` programs, `c` of which pass, at least one passes: the unbiased estimate of Chen et al.
/// ("Evaluating Large Language Models Trained on Code", 2021), `1 - C(n - c, k) / C(n, k)`, as a product.
#[must_use]
pub fn pass_at(n: usize, c: usize, k: usize) -> f64 {
    let c = c.min(n);
    if n - c < k {
        return 1.0;
    }
    1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

/// What stands in the first block between lines of three backticks; one that is not closed goes to the end.
fn fenced(answer: &str) -> Option<&str> {
    let start = answer
        .find("```")
        .filter(|at| answer.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with('\n')))?;
    let (_, code) = answer.get(start..)?.split_once('\n')?;
    let end = if code.starts_with("```") { Some(0) } else { code.find("\n```").map(|at| at + 1) };
    Some(end.and_then(|end| code.get(..end)).unwrap_or(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, by counting all choices of `k` of `n`.
    fn counted(n: usize, c: usize, k: usize) -> f64 {
        let (mut all, mut hit) = (0, 0);
        for set in 0..1_u32 << n {
            if set.count_ones() as usize == k {
                all += 1;
                hit += usize::from(set & ((1 << c) - 1) != 0);
            }
        }
        hit as f64 / all as f64
    }

    #[test]
    fn pass_at_k_is_the_share_of_choices_with_a_right_one() {
        for n in 1..=8 {
            for c in 0..=n {
                for k in 1..=n {
                    let (found, right) = (pass_at(n, c, k), counted(n, c, k));
                    assert!((found - right).abs() < 1e-12, "n {n}, c {c}, k {k}: {found}, {right}");
                }
            }
        }
        assert_eq!((pass_at(1, 1, 1), pass_at(1, 0, 1), pass_at(200, 0, 100)), (1.0, 0.0, 0.0));
    }

    #[test]
    fn a_block_stands_for_the_answer() {
        for (answer, block) in [
            ("Sure:\n```python\ndef f():\n    pass\n```\nDone.", Some("def f():\n    pass\n")),
            ("```\na\n```\n```\nb\n```", Some("a\n")),
            ("```\n```", Some("")),
            ("```sql\nselect 1", Some("select 1")),
            ("a `` b ``` c", None),
            ("    return 1", None),
        ] {
            assert_eq!(fenced(answer), block, "{answer}");
        }
    }
}
