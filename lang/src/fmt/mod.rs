//! The formatter: one style for every program.
//!
//! [`format`] walks the parser's pairs with a cursor over the text, so that every token and every comment between two
//! tokens is met in order ([`walk`]); it writes them as a list of instructions, which [`print`] lays out in lines of at most
//! [`WIDTH`] columns, and [`align`] puts under each other what the author had put under each other. Where the author broke
//! a line at a place where a line may break, it stays broken; a line that is too long is broken at its outermost bracket.

mod align;
mod layout;
mod print;
mod trivia;
mod walk;

use pest::Parser;

use crate::diag::Diagnostic;
use crate::span::FileId;
use crate::syntax::{Grammar, Rule, deep, parse};

/// The columns that a line of code may take; comments after code are not counted.
pub const WIDTH: usize = 120;

/// Why a text cannot be formatted; it is left as it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Unformatted {
    /// It does not parse.
    Syntax(Vec<Diagnostic>),
    /// The formatted text would not mean the same: a fault of the formatter.
    Changed,
}

/// A program's text in the one style. Of the text only white space, commas that may be left out, and the space after a
/// documentation mark change; comments stay where they are. A file whose first line ends with CR LF keeps such ends.
///
/// ```
/// # use evo_lang::{fmt::format, span::FileId};
/// let text = format("let a=f( x,y )   // why", FileId::default());
/// assert_eq!(text.as_deref(), Ok("let a = f(x, y)  // why\n"));
/// ```
///
/// # Errors
/// If the text does not parse; and never, as far as is known, because the result would mean something else.
pub fn format(text: &str, file: FileId) -> Result<String, Unformatted> {
    deep(|| {
        let (_, found) = parse(text, file);
        if crate::diag::has_errors(&found) {
            return Err(Unformatted::Syntax(found));
        }
        let Ok(pairs) = Grammar::parse(Rule::program, text) else { return Err(Unformatted::Syntax(found)) };
        let instructions = walk::walk(text, pairs);
        let end = if text.find('\n').is_some_and(|at| text[..at].ends_with('\r')) { "\r\n" } else { "\n" };
        let out = align::render(print::lines(instructions), end);
        if tokens(&out).is_some_and(|new| tokens(text).is_some_and(|old| old == new)) {
            Ok(out)
        } else {
            Err(Unformatted::Changed)
        }
    })
}

/// What a text says, without its layout: its rules with the text of their leaves, and its comments.
type Said<'t> = (Vec<(Rule, &'t str)>, Vec<&'t str>);

fn tokens(text: &str) -> Option<Said<'_>> {
    let pairs = Grammar::parse(Rule::program, text).ok()?;
    let (mut rules, mut ends) = (Vec::new(), 0);
    let mut comments = Vec::new();
    for pair in pairs.flatten() {
        let (rule, start) = (pair.as_rule(), pair.as_span().start());
        if ends <= start {
            comments.extend(trivia::comments(text, ends, start));
        }
        let leaf = match rule {
            Rule::doc | Rule::file_doc => {
                let line = pair.as_str().get(3..).unwrap_or("").trim_end();
                line.strip_prefix(' ').unwrap_or(line)
            }
            _ if pair.clone().into_inner().next().is_none() && !is_bracketed(rule) => pair.as_str().trim_end(),
            _ => "",
        };
        if is_token(rule) {
            ends = pair.as_span().end();
        }
        rules.push((rule, leaf));
    }
    comments.extend(trivia::comments(text, ends, text.len()));
    Some((rules, comments))
}

/// Rules without parts that are no single token: empty brackets.
fn is_bracketed(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::fields
            | Rule::params
            | Rule::call
            | Rule::list
            | Rule::group
            | Rule::ty_paren
            | Rule::ty_record
            | Rule::dim
    )
}

/// Rules in whose text `//` is no comment.
fn is_token(rule: Rule) -> bool {
    matches!(rule, Rule::doc | Rule::file_doc | Rule::text | Rule::long_text | Rule::short_text)
}
