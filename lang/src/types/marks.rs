//! Documentation lines and the marks among them (see [`crate::library`]).

use std::sync::Arc;

/// The documentation without marks and examples.
pub(crate) fn text(docs: &[String]) -> Arc<str> {
    let lines: Vec<&str> =
        docs.iter().map(String::as_str).filter(|l| !l.starts_with('@') && !l.starts_with(">>>")).collect();
    lines.join("\n").trim().into()
}

/// The examples, without their prompts.
pub(crate) fn examples(docs: &[String]) -> Vec<Arc<str>> {
    docs.iter().filter_map(|l| l.strip_prefix(">>>")).map(|l| l.trim().into()).collect()
}

/// Whether a mark such as `@static` is there.
pub(crate) fn has(docs: &[String], mark: &str) -> bool {
    docs.iter().any(|l| l.split_whitespace().next() == Some(mark))
}

/// Whether a mark such as `@input file` names a parameter.
pub(crate) fn names(docs: &[String], mark: &str, name: &str) -> bool {
    docs.iter().any(|l| l.strip_prefix(mark).is_some_and(|l| l.split_whitespace().any(|word| word == name)))
}

/// The cap of `@tiny name cap`.
pub(crate) fn tiny(docs: &[String], name: &str) -> Option<f64> {
    tiny_marks(docs).find(|(n, _)| *n == name).and_then(|(_, cap)| cap)
}

/// All `@tiny` marks: the name and the cap, if it is a number.
pub(crate) fn tiny_marks(docs: &[String]) -> impl Iterator<Item = (&str, Option<f64>)> {
    docs.iter().filter_map(|l| {
        let mut words = l.strip_prefix("@tiny")?.split_whitespace();
        Some((words.next()?, words.next().and_then(|w| w.parse().ok())))
    })
}
