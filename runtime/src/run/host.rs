//! Host functions in a program: told to the elaborator, called by the scheduler, journaled where they have effects.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use evo_lang::diag;
use evo_lang::library::Extern;
use evo_lang::plan::{Answer, Call, Const, Fact, Host, Key, Node, Problem};
use evo_lang::types::{Len, Ty};
use evo_stdlib::cx::Failure;
use evo_stdlib::value::Value;

use super::journal::Journal;
use super::params;
use super::rows;
use super::world::{datum, key, unjournaled};
use crate::clock::Stopwatch;
use crate::datum::Datum;
use crate::engine::HostFunction;
use crate::panics;

/// The functions that the host has bound; of one name the last.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostFunctions(pub(crate) Vec<HostFunction>);

impl HostFunctions {
    /// What a program's own `extern fn` is bound to.
    pub(crate) fn of(&self, ext: &Extern) -> Option<&HostFunction> {
        if !ext.family.is_empty() {
            return None;
        }
        self.0.iter().rev().find(|function| function.name == *ext.name)
    }
}

/// The library and the host functions, as the elaborator asks them.
pub(crate) struct ProgramHost {
    pub(crate) library: Arc<dyn Host>,
    pub(crate) functions: Arc<HostFunctions>,
}

impl Host for ProgramHost {
    fn call(&self, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
        let ext = call.ext();
        if !ext.family.is_empty() {
            return self.library.call(call, problems);
        }
        if let Some(problem) = foreign_type(ext) {
            problems.push(problem);
            return Answer::Unknown;
        }
        match self.functions.of(ext) {
            Some(function) => {
                let identity = Key::of("host function", &[function.name.as_bytes(), function.version.as_bytes()]);
                let fact: Fact = Arc::new(());
                if function.is_pure { Answer::Content(fact, identity) } else { Answer::Effect(identity) }
            }
            None => {
                problems.push(self.unbound(ext));
                Answer::Unknown
            }
        }
    }

    fn field(&self, fact: &Fact, name: &str) -> Answer {
        self.library.field(fact, name)
    }
}

impl ProgramHost {
    fn unbound(&self, ext: &Extern) -> Problem {
        let names = || self.functions.0.iter().map(|function| function.name.as_str());
        let help = match diag::suggest(&ext.name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                "bind it with `Engine::builder().function(…)` of the embedding API; the command line binds none".into()
            }
        };
        Problem {
            code: "E0424",
            title: format!("host function `{}` is not bound", ext.name),
            label: "nothing to call".into(),
            help,
            ..Problem::default()
        }
    }
}

/// Host functions see plain values only.
fn foreign_type(ext: &Extern) -> Option<Problem> {
    let mut types = ext.params.iter().map(|p| &p.ty).chain([&ext.result]);
    let foreign = types.find(|ty| !is_plain(ty))?;
    Some(Problem {
        code: "E0424",
        title: format!("host function `{}` takes or gives a `{foreign}`, which is no plain value", ext.name),
        label: "not for a host function".into(),
        help: "give it numbers, texts, lists or records, such as a score or an answer".into(),
        ..Problem::default()
    })
}

fn is_plain(ty: &Ty) -> bool {
    match ty {
        Ty::Int | Ty::Real | Ty::Bool | Ty::Text | Ty::Duration | Ty::Bytes | Ty::Money | Ty::Enum(_) => true,
        Ty::Array(item, _) | Ty::List(item) => is_plain(item),
        Ty::Tuple(items) => items.iter().all(is_plain),
        Ty::Record(record) => record.fields.iter().all(|field| is_plain(&field.ty)),
        _ => false,
    }
}

impl HostFunction {
    /// Calls it, or replays what the journal holds of it.
    pub(crate) fn call(
        &self,
        journal: &Journal,
        node: &Node,
        ext: &Extern,
        values: &[Value],
    ) -> Result<Value, Failure> {
        if !self.is_pure
            && let Some(known) = journal.call(&key(node)).map_err(|e| unjournaled(&e.into()))?
        {
            return self.read(&ext.result, &known.answer);
        }
        let args: Vec<Datum> = values.iter().map(|value| datum(&value.show())).collect();
        let clock = Stopwatch::start();
        let answer = catch_unwind(AssertUnwindSafe(|| (self.call)(&args)))
            .unwrap_or_else(|panic| Err(format!("it stopped unexpectedly: {}", panics::text(panic.as_ref()))))
            .map_err(|reason| self.failed(format!("host function `{}` failed: {reason}", self.name)))?;
        let value = self.read(&ext.result, &answer)?;
        if !self.is_pure {
            let call = rows::Call {
                request: key(node),
                target: format!("{} {}", self.name, self.version),
                question: Datum::List(args),
                answer,
                tokens_in: 0,
                tokens_out: 0,
                cost: 0.0,
                seconds: clock.seconds(),
            };
            journal.commit(vec![call.row()]).map_err(|e| unjournaled(&e))?;
        }
        Ok(value)
    }

    fn read(&self, ty: &Ty, answer: &Datum) -> Result<Value, Failure> {
        let wrong = || self.failed(format!("host function `{}` answered {answer:?}, not a `{ty}`", self.name));
        plain(ty, answer).map(Value::Plain).ok_or_else(wrong)
    }

    fn failed(&self, title: String) -> Failure {
        Failure::new("R0515", title)
            .help("see to the host function; in a search, `on_failure: retry(3)` tries it again")
    }
}

/// An answer as a value of the declared type. A real that is not finite is NaN, as in the journal.
fn plain(ty: &Ty, data: &Datum) -> Option<Const> {
    match (ty, data) {
        (Ty::Real, Datum::Missing) => Some(Const::Real(f64::NAN)),
        (Ty::Real, Datum::Real(r)) if !r.is_finite() => Some(Const::Real(f64::NAN)),
        (Ty::Array(_, Len::Const(n)), Datum::List(items)) if items.len() as u64 != *n => None,
        (Ty::Array(item, _) | Ty::List(item), Datum::List(items)) => items
            .iter()
            .map(|data| plain(item, data))
            .collect::<Option<Vec<_>>>()
            .map(|items| Const::List(items.into())),
        (Ty::Tuple(types), Datum::List(items)) if types.len() == items.len() => {
            let items = types.iter().zip(items).map(|(ty, data)| plain(ty, data)).collect::<Option<Vec<_>>>()?;
            Some(Const::Tuple(items.into()))
        }
        (Ty::Record(record), Datum::Record(fields)) => {
            let read = |field: &evo_lang::types::FieldTy| {
                Some((field.name.clone(), plain(&field.ty, fields.get(&*field.name)?)?))
            };
            record.fields.iter().map(read).collect::<Option<Vec<_>>>().map(|fields| Const::Record(fields.into()))
        }
        _ => params::plain(ty, data),
    }
}
