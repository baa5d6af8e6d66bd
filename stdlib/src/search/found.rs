//! The result of a search.

use std::any::Any;
use std::sync::Arc;

use evo_lang::plan::Const;

use super::{History, Leaderboard};
use crate::bind::IntoValue;
use crate::cx::Draw;
use crate::value::{Object, Value};

/// What a search found.
#[derive(Clone, Debug)]
pub struct Search {
    /// What the search is called.
    pub name: Arc<str>,
    /// The best genome evaluated.
    pub best: Const,
    /// Its score.
    pub score: f64,
    /// All candidates.
    pub history: History,
    /// The best of them.
    pub leaderboard: Leaderboard,
    /// Why it ended, in words.
    pub ended: String,
}

impl Object for Search {
    fn kind(&self) -> &'static str {
        "Search"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "best" => Value::Plain(self.best.clone()),
            "score" => Value::real(self.score),
            "history" => Value::object(self.history.clone()),
            "leaderboard" => Value::object(self.leaderboard.clone()),
            "ended" => Value::text(self.ended.as_str()),
            _ => return None,
        })
    }

    fn show(&self) -> Const {
        Const::Record(Arc::from([
            ("search".into(), Const::Text(self.name.clone())),
            ("evaluations".into(), Const::Int(self.history.evaluations.len() as i64)),
            ("score".into(), Const::Real(self.score)),
            ("ended".into(), Const::Text(self.ended.as_str().into())),
        ]))
    }

    fn draw(&self) -> Option<&dyn Draw> {
        Some(&self.history)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl IntoValue for Search {
    fn into_value(self) -> Value {
        Value::object(self)
    }
}
