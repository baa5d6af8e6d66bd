//! What of an answer counts, and what it must be besides, as the language sees them.

use std::any::Any;
use std::sync::Arc;

use evo_lang::plan::{Answer, Call, Const, Fact, Key, Problem};
use evo_lang::types::Ty;

use crate::args;
use crate::bind::{FromValue, IntoValue, Place};
use crate::cx::{Cx, Failure};
use crate::task::{Extract, Pattern, Tongue};
use crate::value::{Object, Value};

/// A pattern as a value.
#[derive(Clone, Debug)]
pub(super) struct Found(Arc<Pattern>, Arc<str>, bool);

/// What an answer must be besides right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand(pub(super) Tongue);

args! { pub(super) struct RegexArgs { pattern: Arc<str>, pick: Arc<str> } }
args! { pub(super) struct LanguageArgs { code: Arc<str> } }

pub(super) fn regex(_: &Cx<'_>, args: RegexArgs) -> Result<Found, Failure> {
    let is_last = &*args.pick == "last";
    match Pattern::new(&args.pattern, is_last) {
        Ok(pattern) => Ok(Found(pattern.into(), args.pattern, is_last)),
        Err(why) => {
            let problem = no_pattern(&why);
            Err(Failure::new(problem.code, problem.title).param("pattern").help(problem.help))
        }
    }
}

pub(super) fn language(_: &Cx<'_>, args: LanguageArgs) -> Result<Demand, Failure> {
    let problem = || no_language(&args.code);
    let failure = || Failure::new(problem().code, problem().title).param("code").help(problem().help);
    Tongue::new(&args.code).map(Demand).ok_or_else(failure)
}

pub(super) fn regex_facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    if let Some(pattern) = text(call, "pattern") {
        problems.extend(Pattern::new(&pattern, false).err().map(|why| no_pattern(&why)));
    }
    Answer::Unknown
}

pub(super) fn language_facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    if let Some(code) = text(call, "code")
        && Tongue::new(&code).is_none()
    {
        problems.push(no_language(&code));
    }
    Answer::Unknown
}

fn text(call: &Call<'_>, param: &str) -> Option<Arc<str>> {
    call.arg(param)?.constant()?.as_text().cloned()
}

fn no_pattern(why: &str) -> Problem {
    Problem {
        code: "E0444",
        title: format!("a regular expression that cannot be read: {why}"),
        label: "no pattern".into(),
        param: Some("pattern".into()),
        help: "write `\\(` for a parenthesis that is meant itself".into(),
        ..Problem::default()
    }
}

fn no_language(code: &str) -> Problem {
    Problem {
        code: "E0444",
        title: format!("no language that can be told has the code `{code}`"),
        label: "no code of a language".into(),
        param: Some("code".into()),
        help: "name it by ISO 639: `en`, `ja`, `zh`, `de`".into(),
        ..Problem::default()
    }
}

impl Object for Found {
    fn kind(&self) -> &'static str {
        "Pattern"
    }

    fn identity(&self) -> Option<(Key, Option<Fact>)> {
        Some((Key::of("regex", &[self.1.as_bytes(), &[u8::from(self.2)]]), None))
    }

    fn show(&self) -> Const {
        Const::Text(format!("regex({:?})", self.1).into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl IntoValue for Found {
    fn into_value(self) -> Value {
        Value::object(self)
    }
}

impl Object for Demand {
    fn kind(&self) -> &'static str {
        "Demand"
    }

    fn identity(&self) -> Option<(Key, Option<Fact>)> {
        Some((Key::of("language", &[self.0.code().as_bytes()]), None))
    }

    fn show(&self) -> Const {
        Const::Text(format!("language({:?})", self.0.code()).into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

crate::bind::node!(Demand, "Demand");

impl FromValue for Extract {
    fn fits(ty: &Ty) -> bool {
        matches!(ty, Ty::Union(_))
    }

    fn rust() -> String {
        "Extract".to_owned()
    }

    fn from_value(value: Value) -> Option<Extract> {
        if let Some(Found(pattern, ..)) = value.downcast::<Found>() {
            return Some(Extract::Pattern(pattern.clone()));
        }
        match value.plain()? {
            Const::Case(_, word) => Some(match &*word {
                "first_line" => Extract::FirstLine,
                "last_number" => Extract::LastNumber,
                "letter" => Extract::Letter,
                _ => Extract::Whole,
            }),
            _ => None,
        }
    }
}
