//! The session at a terminal: line editing, history, completion, colours.

use std::borrow::Cow;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;

use evo_lang::ide::{self, Class};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Cmd, CompletionType, Config, Context, Editor, EventHandler, ExternalPrinter, Helper, KeyCode, KeyEvent, Modifiers,
};

use super::jobs::Printer;
use super::signals::while_editing;
use super::take::Repl;
use crate::cli::screen;
use crate::engine::Failure;
use crate::render::shortened;

const PROMPT: &str = "evo> ";

/// The most entries that are remembered.
const HISTORY: usize = 10_000;

/// Reads entries at the terminal until the user leaves.
pub(super) fn interact(mut repl: Repl, history: bool) -> Result<u8, Failure> {
    let colour = console::colors_enabled();
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .completion_prompt_limit(200)
        .max_history_size(HISTORY)
        .and_then(|config| config.history_ignore_dups(true))
        .map(|config| config.auto_add_history(false).build());
    let editor = config.and_then(Editor::<Assistant, DefaultHistory>::with_config);
    let mut editor = match editor {
        Ok(editor) => editor,
        Err(error) => {
            screen::note(&format!("error: the terminal cannot be used: {error}"));
            return Ok(3);
        }
    };
    match editor.create_external_printer() {
        Ok(mut printer) => {
            repl.at_terminal(Printer::by(colour, move |_, text| {
                let _ = printer.print(format!("{text}\n")); // a terminal that is gone shows nothing
            }));
        }
        Err(_) => repl.at_terminal(Printer::by(colour, |_, text| screen::note(text))),
    }
    let repl = Rc::new(RefCell::new(repl));
    editor.set_helper(Some(Assistant { repl: repl.clone(), colour }));
    editor.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::ALT), EventHandler::Simple(Cmd::Newline));
    let file = if history { history_file() } else { None };
    if let Some(file) = &file {
        let _ = editor.load_history(file); // the first session has none
    }
    screen::note(&format!("evo {}: `:help` lists the commands, Ctrl-D leaves", env!("CARGO_PKG_VERSION")));
    let code = converse(&mut editor, &repl);
    if let Some(file) = &file
        && let Err(error) = file
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .map_err(ReadlineError::from)
            .and_then(|()| editor.append_history(file))
    {
        screen::note(&format!("the history could not be written to `{}`: {error}", file.display()));
    }
    Ok(code)
}

fn converse(editor: &mut Editor<Assistant, DefaultHistory>, repl: &RefCell<Repl>) -> u8 {
    loop {
        match while_editing(|| editor.readline(PROMPT)) {
            Ok(entry) => {
                if !entry.trim().is_empty() {
                    let _ = editor.add_history_entry(entry.trim_end()); // an entry that is not remembered still counts
                }
                let taken = repl.borrow_mut().take(&entry);
                if taken.leaves && may_leave(editor, repl) {
                    return 0;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) if may_leave(editor, repl) => return 0,
            Err(ReadlineError::Eof) => {}
            Err(error) => {
                screen::note(&format!("error: the terminal cannot be read: {error}"));
                repl.borrow_mut().cancel_all();
                return 3;
            }
        }
    }
}

/// Asks before jobs are stopped; stops them.
fn may_leave(editor: &mut Editor<Assistant, DefaultHistory>, repl: &RefCell<Repl>) -> bool {
    let running = repl.borrow().running();
    if running > 0 {
        let what = if running == 1 { "1 job runs".to_owned() } else { format!("{running} jobs run") };
        let question = format!("{what}: stop at a safe point and leave? What is finished is kept. [y/N] ");
        match while_editing(|| editor.readline(&question)) {
            Ok(answer) if answer.trim().eq_ignore_ascii_case("y") || answer.trim().eq_ignore_ascii_case("yes") => {}
            // Who asks to leave twice means it.
            Err(ReadlineError::Eof) => {}
            _ => return false,
        }
    }
    repl.borrow_mut().cancel_all();
    true
}

/// Where entries are remembered: in the user's data directory.
fn history_file() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| absolute("APPDATA"));
    let data = data.or_else(|| std::env::home_dir().map(|home| home.join(".local/share")))?;
    Some(data.join("evo/history"))
}

/// What helps while a line is being edited. None of it may end the session: what panics helps nothing.
struct Assistant {
    repl: Rc<RefCell<Repl>>,
    colour: bool,
}

impl Helper for Assistant {}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let found = catch_unwind(AssertUnwindSafe(|| match self.repl.try_borrow() {
            Ok(repl) => repl.complete(line, pos),
            Err(_) => Vec::new(),
        }));
        let found = found.unwrap_or_default();
        let start = found.first().map_or(pos, |c| c.range.start);
        let pair = |c: ide::Completion| {
            let display = match c.detail.as_str() {
                "" => c.label,
                detail => format!("{}  {}", c.label, shortened(detail, 60)),
            };
            Pair { display, replacement: c.insert }
        };
        Ok((start, found.into_iter().filter(|c| c.range.start == start).map(pair).collect()))
    }
}

/// The rest of a signature, shown behind the cursor and never taken over.
struct Signature(String);

impl Hint for Signature {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Assistant {
    type Hint = Signature;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Signature> {
        if pos < line.len() || line.starts_with(':') {
            return None;
        }
        let callee = line.strip_suffix('(')?;
        let start = callee.rfind(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').map_or(0, |at| at + 1);
        let name = callee.get(start..).filter(|name| !name.is_empty())?;
        let repl = self.repl.try_borrow().ok()?;
        let docs = catch_unwind(AssertUnwindSafe(|| repl.session().document(name))).unwrap_or_default();
        let params = &docs.iter().find(|doc| !doc.params.is_empty())?.params;
        let shown: Vec<String> = params
            .iter()
            .map(|p| if p.needed { format!("{}: {}", p.name, p.ty) } else { format!("{}?", p.name) })
            .collect();
        Some(Signature(shortened(&shown.join(", "), 100)))
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if !self.colour {
            return Cow::Borrowed(line);
        }
        let (head, text) = match line.strip_prefix(':') {
            Some(rest) => {
                let end = rest.find(char::is_whitespace).map_or(line.len(), |at| at + 1);
                line.split_at(end)
            }
            None => ("", line),
        };
        let mut out = if head.is_empty() { String::new() } else { format!("\u{1b}[36m{head}\u{1b}[0m") };
        let mut at = 0;
        for (range, class) in ide::highlight(text) {
            out += text.get(at..range.start).unwrap_or("");
            let piece = text.get(range.clone()).unwrap_or("");
            out += &format!("\u{1b}[{}m{piece}\u{1b}[0m", style(class));
            at = range.end;
        }
        out += text.get(at..).unwrap_or("");
        Cow::Owned(out)
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.colour { Cow::Owned(format!("\u{1b}[1;32m{prompt}\u{1b}[0m")) } else { Cow::Borrowed(prompt) }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.colour { Cow::Owned(format!("\u{1b}[2m{hint}\u{1b}[0m")) } else { Cow::Borrowed(hint) }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.colour
    }
}

/// The colour of a class, as a terminal is told it.
fn style(class: Class) -> &'static str {
    match class {
        Class::Keyword | Class::Kind => "35",
        Class::Declared => "1",
        Class::Function => "34",
        Class::Label => "36",
        Class::Type => "33",
        Class::Number => "36",
        Class::Text => "32",
        Class::Comment | Class::Doc => "2",
        Class::Error => "31",
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        // An empty line ends an entry, however it stands.
        let ends = text.ends_with('\n') || text.trim_start().starts_with(':');
        Ok(if !ends && ide::unfinished(text) { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}
