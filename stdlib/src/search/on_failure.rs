//! What becomes of candidates whose evaluation fails.

use std::any::Any;

use evo_lang::plan::Const;
use evo_lang::types::Ty;

use crate::args;
use crate::bind::{FromValue, IntoValue};
use crate::cx::{Cx, Failure};
use crate::value::{Object, Value};

/// The word or value that a search is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnFailure {
    /// Recorded with its reason; ranks last.
    RankLast,
    /// Recorded; the search fails.
    Abort,
    /// Tried again so many times, then ranks last.
    Retry(u32),
}

impl OnFailure {
    /// How often an evaluation that failed is tried again.
    pub(super) fn retries(self) -> u32 {
        match self {
            OnFailure::Retry(times) => times,
            OnFailure::RankLast | OnFailure::Abort => 0,
        }
    }
}

/// How often to try again, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry(u32);

args! { pub(super) struct RetryArgs { n: i64 } }

pub(super) fn retry(_: &Cx<'_>, args: RetryArgs) -> Result<Retry, Failure> {
    Ok(Retry(u32::try_from(args.n).unwrap_or(0)))
}

impl Object for Retry {
    fn kind(&self) -> &'static str {
        "Retry"
    }

    fn show(&self) -> Const {
        Const::Text(format!("retry({})", self.0).into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl IntoValue for Retry {
    fn into_value(self) -> Value {
        Value::object(self)
    }
}

impl FromValue for OnFailure {
    fn fits(ty: &Ty) -> bool {
        matches!(ty, Ty::Union(_))
    }

    fn rust() -> String {
        "OnFailure".to_owned()
    }

    fn from_value(value: Value) -> Option<OnFailure> {
        if let Some(Retry(times)) = value.downcast::<Retry>() {
            return Some(OnFailure::Retry(*times));
        }
        match value.plain()? {
            Const::Case(_, word) if &*word == "abort" => Some(OnFailure::Abort),
            Const::Case(..) => Some(OnFailure::RankLast),
            _ => None,
        }
    }
}
