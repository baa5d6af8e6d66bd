//! What a search has evaluated, as values that can be printed and drawn.

use std::any::Any;
use std::sync::Arc;

use evo_lang::plan::Const;

use crate::cx::Draw;
use crate::plot::{Evaluation, Goal, fitness, to_svg, to_terminal};
use crate::value::Object;

/// Every candidate's score in the order of evaluation; NaN where it failed.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// What the search is called.
    pub name: Arc<str>,
    /// One entry for each candidate.
    pub evaluations: Arc<[Evaluation]>,
}

impl Object for History {
    fn kind(&self) -> &'static str {
        "History"
    }

    fn show(&self) -> Const {
        let row = |(i, e): (usize, &Evaluation)| {
            Const::Record(Arc::from([
                ("evaluation".into(), Const::Int(i as i64 + 1)),
                ("generation".into(), Const::Int(e.generation as i64)),
                ("score".into(), Const::Real(e.score)),
            ]))
        };
        Const::List(self.evaluations.iter().enumerate().map(row).collect())
    }

    fn draw(&self) -> Option<&dyn Draw> {
        Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Rows of a terminal chart.
const TERMINAL_HEIGHT: usize = 16;

impl Draw for History {
    fn svg(&self) -> String {
        to_svg(&fitness(&*self.name, &self.evaluations, Goal::Maximize))
    }

    fn terminal(&self, width: usize) -> String {
        to_terminal(&fitness(&*self.name, &self.evaluations, Goal::Maximize), width, TERMINAL_HEIGHT)
    }
}

/// The best candidates, best first; of equal scores the earlier comes first.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaderboard(pub Arc<[Leader]>);

/// A candidate of the leaderboard.
#[derive(Clone, Debug, PartialEq)]
pub struct Leader {
    /// Its score.
    pub score: f64,
    /// Its generation.
    pub generation: usize,
    /// Its genes.
    pub genome: Const,
}

/// How many candidates a leaderboard names.
const LEADERS: usize = 10;

impl Leaderboard {
    /// The best of all candidates that have a score.
    pub(super) fn of(mut all: Vec<Leader>) -> Leaderboard {
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        all.truncate(LEADERS);
        Leaderboard(all.into())
    }
}

impl Object for Leaderboard {
    fn kind(&self) -> &'static str {
        "Leaderboard"
    }

    fn show(&self) -> Const {
        let row = |(i, l): (usize, &Leader)| {
            Const::Record(Arc::from([
                ("rank".into(), Const::Int(i as i64 + 1)),
                ("score".into(), Const::Real(l.score)),
                ("generation".into(), Const::Int(l.generation as i64)),
            ]))
        };
        Const::List(self.0.iter().enumerate().map(row).collect())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
