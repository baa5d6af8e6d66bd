//! What params are set to from outside.

use std::sync::Arc;

use evo_lang::diag::{self, Code, Diagnostic};
use evo_lang::hir::{Global, GlobalKind, Program as Tree};
use evo_lang::plan::Const;
use evo_lang::span::{SourceMap, Span};
use evo_lang::types::Ty;
use indexmap::IndexMap;

use super::execute::{self, Checked};
use crate::datum::Datum;
use crate::engine::{Host, ParamValue, Program, Settings, nowhere};

/// A program with its params set: plain values apart, expressions written in place of the defaults.
pub(crate) struct Applied {
    pub(crate) tree: Arc<Tree>,
    pub(crate) params: IndexMap<String, Const>,
    /// What the text shows to be wrong, with the defaults replaced.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The texts, with the defaults replaced: what the tree's places and the diagnostics point into.
    pub(crate) sources: Arc<SourceMap>,
}

/// Applies the settings' params to a program.
pub(crate) fn applied(host: &Host, program: &Program, settings: &Settings) -> Result<Applied, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut params = IndexMap::new();
    let mut edits = Vec::new();
    for (name, value) in &settings.params {
        match find(&program.checked, name) {
            Ok(global) => match set(global, value) {
                Ok(Set::Plain(value)) => {
                    params.insert(name.clone(), value);
                }
                Ok(Set::Source(source)) => edits.push((global, source)),
                Err(diagnostic) => errors.push(*diagnostic),
            },
            Err(diagnostic) => errors.push(*diagnostic),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    if edits.is_empty() {
        let (tree, diagnostics) = (program.checked.tree().clone(), program.diagnostics().to_vec());
        return Ok(Applied { tree, params, diagnostics, sources: program.sources.clone() });
    }
    let (text, places) = edited(&program.text, &edits).map_err(|d| vec![*d])?;
    let (checked, sources, mut diagnostics) = execute::check(host, &program.file, &text, program.paths());
    let tree = checked.tree();
    let file = tree.modules.get(tree.entry.0 as usize).map(|entry| entry.file);
    for diagnostic in &mut diagnostics {
        let at = diagnostic.primary.span;
        let is_within = |place: &&Place| file == Some(at.file) && place.start <= at.start && at.end <= place.end;
        if let Some(place) = places.iter().find(is_within).filter(|_| diagnostic.code == Code::E0301) {
            *diagnostic = place.wrong(at, &diagnostic.title);
        }
    }
    Ok(Applied { tree: tree.clone(), params, diagnostics, sources: Arc::new(sources) })
}

/// Where a param's value stands in an edited text.
struct Place {
    name: String,
    ty: String,
    value: String,
    start: u32,
    end: u32,
}

impl Place {
    fn wrong(&self, at: Span, reason: &str) -> Diagnostic {
        let Place { name, ty, value, .. } = self;
        let title = format!("param `{name}` cannot be `{value}`");
        let help = format!("give it an expression of type `{ty}`");
        Diagnostic::error(Code::E0422, at, title, format!("is to be `{ty}`")).note(reason.to_owned()).help(help)
    }
}

fn find<'c>(checked: &'c Checked, name: &str) -> Result<&'c Global, Box<Diagnostic>> {
    let is_param = |g: &&Global| matches!(g.kind, GlobalKind::Param { .. });
    if let Some(global) = checked.globals().iter().filter(is_param).find(|g| &*g.name == name) {
        return Ok(global);
    }
    let names: Vec<&str> = checked.globals().iter().filter(is_param).map(|g| &*g.name).collect();
    let help = match diag::suggest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "the program declares no params".to_owned(),
        None => format!("its params are {}", names.join(", ")),
    };
    let title = format!("the program has no param `{name}`");
    Err(Box::new(Diagnostic::error(Code::E0421, nowhere(), title, "").help(help)))
}

/// Why a param cannot be a plain value, if it cannot.
pub(crate) fn wrong(checked: &Checked, name: &str, value: &ParamValue) -> Option<Diagnostic> {
    let global = find(checked, name).ok()?;
    set(global, value).err().map(|diagnostic| *diagnostic)
}

enum Set {
    Plain(Const),
    Source(String),
}

fn set(global: &Global, value: &ParamValue) -> Result<Set, Box<Diagnostic>> {
    let read = match value {
        ParamValue::Source(source) if execute::is_plain(&global.ty) => parse(&global.ty, source).map(Set::Plain),
        ParamValue::Source(source) => Some(Set::Source(source.clone())),
        ParamValue::Data(data) => plain(&global.ty, data).map(Set::Plain),
    };
    read.ok_or_else(|| {
        let shown = match value {
            ParamValue::Source(source) => source.clone(),
            ParamValue::Data(data) => format!("{data:?}"),
        };
        let title = format!("param `{}` cannot be `{shown}`", global.name);
        let help = format!("give it a value of type `{}`, such as {}", global.ty, example(&global.ty));
        Box::new(Diagnostic::error(Code::E0422, global.name_span, title, format!("is `{}`", global.ty)).help(help))
    })
}

fn example(ty: &Ty) -> &'static str {
    match ty {
        Ty::Int => "`12`",
        Ty::Real => "`0.5`",
        Ty::Bool => "`true`",
        Ty::Duration => "`90s`",
        Ty::Bytes => "`8GB`",
        Ty::Money => "`5usd`",
        Ty::Enum(_) => "one of its words",
        _ => "a text",
    }
}

/// A plain value as the command line spells it; text needs no quotes.
fn parse(ty: &Ty, source: &str) -> Option<Const> {
    let source = source.trim();
    match ty {
        Ty::Int => source.replace('_', "").parse().ok().map(Const::Int),
        Ty::Real => match source.strip_suffix('%') {
            Some(percent) => percent.parse::<f64>().ok().map(|p| Const::Real(p / 100.0)),
            None => source.parse().ok().filter(|r: &f64| r.is_finite()).map(Const::Real),
        },
        Ty::Bool => source.parse().ok().map(Const::Bool),
        Ty::Text => {
            let unquoted = source.strip_prefix('"').and_then(|s| s.strip_suffix('"')).unwrap_or(source);
            Some(Const::Text(unquoted.into()))
        }
        Ty::Enum(words) => {
            let word = source.trim_matches('"');
            let i = words.cases.iter().position(|case| &**case == word)?;
            Some(Const::Case(i as u32, word.into()))
        }
        _ => quantity(ty, source).map(Const::Quantity),
    }
}

/// A number with the unit of its type.
fn quantity(ty: &Ty, source: &str) -> Option<f64> {
    let units: &[(&str, f64)] = match ty {
        Ty::Duration => &[("ms", 1e-3), ("min", 60.0), ("s", 1.0), ("h", 3600.0), ("d", 86400.0)],
        Ty::Bytes => &[
            ("KiB", 1024.0),
            ("MiB", 1048576.0),
            ("GiB", 1073741824.0),
            ("KB", 1e3),
            ("kB", 1e3),
            ("MB", 1e6),
            ("GB", 1e9),
            ("TB", 1e12),
            ("B", 1.0),
        ],
        Ty::Money => &[("usd", 1.0)],
        _ => return None,
    };
    let (number, scale) = units.iter().find_map(|(unit, scale)| Some((source.strip_suffix(unit)?, scale)))?;
    number.trim().parse::<f64>().ok().map(|n| n * scale)
}

/// Data from a host program as a value of a plain type.
pub(super) fn plain(ty: &Ty, data: &Datum) -> Option<Const> {
    match (ty, data) {
        (Ty::Int, Datum::Int(i)) => Some(Const::Int(*i)),
        (Ty::Real, Datum::Real(r)) => Some(Const::Real(*r)),
        (Ty::Real, Datum::Int(i)) => Some(Const::Real(*i as f64)),
        (Ty::Bool, Datum::Bool(b)) => Some(Const::Bool(*b)),
        (Ty::Duration | Ty::Bytes | Ty::Money, Datum::Real(q)) => Some(Const::Quantity(*q)),
        (Ty::Text | Ty::Enum(_), Datum::Text(text)) => parse(ty, text),
        _ => None,
    }
}

/// The program's text with the defaults of some params replaced, and where the new values stand.
fn edited(text: &str, edits: &[(&Global, String)]) -> Result<(String, Vec<Place>), Box<Diagnostic>> {
    let spot = |(global, source): &(&Global, String)| match &global.kind {
        GlobalKind::Param { default: Some(default), .. } => (default.span.start, default.span.end, "", source.clone()),
        _ => (global.span.end, global.span.end, " = ", source.clone()),
    };
    let mut spots: Vec<_> = edits.iter().map(|edit| (spot(edit), edit.0)).collect();
    spots.sort_by_key(|((start, ..), _)| *start);
    let (mut out, mut places, mut from) = (String::new(), Vec::new(), 0);
    for ((start, end, before, value), global) in spots {
        let Some(kept) = text.get(from..start as usize) else {
            let title = "a param's default is not where it was read";
            return Err(Box::new(Diagnostic::error(Code::R0504, nowhere(), title, "")));
        };
        out += kept;
        out += before;
        let first = out.len() as u32;
        out += &value;
        let (name, ty) = (global.name.to_string(), global.ty.to_string());
        places.push(Place { name, ty, value, start: first, end: out.len() as u32 });
        from = end as usize;
    }
    out += text.get(from..).unwrap_or_default();
    Ok((out, places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_are_read_by_type() {
        assert_eq!(parse(&Ty::Int, "1_000"), Some(Const::Int(1000)));
        assert_eq!(parse(&Ty::Int, "1.5"), None);
        assert_eq!(parse(&Ty::Real, "5%"), Some(Const::Real(0.05)));
        assert_eq!(parse(&Ty::Real, "nan"), None);
        assert_eq!(parse(&Ty::Duration, "15min"), Some(Const::Quantity(900.0)));
        assert_eq!(parse(&Ty::Bytes, "64MiB"), Some(Const::Quantity(67108864.0)));
        assert_eq!(parse(&Ty::Bytes, "64"), None);
        assert_eq!(parse(&Ty::Text, "a b"), Some(Const::Text("a b".into())));
    }
}
