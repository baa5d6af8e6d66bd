//! The commands: entries that begin with a colon.

/// What stands after a command's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    None,
    Expression,
    Name,
    File,
    Setting,
    Job,
    Command,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) argument: Argument,
    /// Whether the argument may be left out.
    pub(super) optional: bool,
    /// How the argument is written in help.
    pub(super) shown: &'static str,
    pub(super) help: &'static str,
}

const fn command(
    name: &'static str,
    argument: Argument,
    optional: bool,
    shown: &'static str,
    help: &'static str,
) -> Command {
    Command { name, argument, optional, shown, help }
}

/// All commands, in the order of the help.
pub(super) const COMMANDS: [Command; 17] = [
    command("type", Argument::Expression, false, "EXPR", "the type of an expression"),
    command("doc", Argument::Name, false, "NAME", "the documentation of a function, kind, type or declaration"),
    command("plan", Argument::Expression, true, "[EXPR]", "what an expression, or all requests, would compute"),
    command("time", Argument::Expression, false, "EXPR", "show an expression and how long it took"),
    command("run", Argument::None, true, "", "answer all requests of the session"),
    command("list", Argument::None, true, "", "the session as a program"),
    command("drop", Argument::Name, false, "NAME", "take a declaration out"),
    command("reset", Argument::None, true, "", "forget all declarations and requests"),
    command("save", Argument::File, false, "FILE", "write the session as a program"),
    command("load", Argument::File, false, "FILE", "enter a program's items; its requests wait for `:run`"),
    command(
        "set",
        Argument::Setting,
        true,
        "[NAME=VALUE]",
        "set a param, `seed`, `tiny`, `device` or `jobs`; alone: show them",
    ),
    command("bg", Argument::Expression, false, "EXPR", "compute in the background, as `EXPR &` does"),
    command("jobs", Argument::None, true, "", "what runs in the background"),
    command("wait", Argument::Job, true, "[N]", "wait for a job, or for all"),
    command("cancel", Argument::Job, false, "N", "stop a job; what is finished is kept"),
    command("help", Argument::Command, true, "[COMMAND]", "this list"),
    command("quit", Argument::None, true, "", "leave (Ctrl-D)"),
];

/// What an entry that begins with a colon asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Asked<'e> {
    Command(Command, &'e str),
    /// With what is wrong, and what to do about it.
    Wrong(String, String),
}

/// Reads a command; a beginning that only one command has is enough.
pub(super) fn read(entry: &str) -> Asked<'_> {
    let entry = entry.trim().trim_start_matches(':');
    let (name, argument) = entry.split_once(char::is_whitespace).map_or((entry, ""), |(n, a)| (n, a.trim()));
    let exact = COMMANDS.iter().find(|c| c.name == name);
    let mut begin = COMMANDS.iter().filter(|c| !name.is_empty() && c.name.starts_with(name));
    let found = exact.or(match (begin.next(), begin.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    });
    let Some(command) = found else {
        let near = evo_lang::diag::suggest(name, COMMANDS.iter().map(|c| c.name));
        let help = near.map_or("`:help` lists the commands".to_owned(), |near| format!("did you mean `:{near}`?"));
        return Asked::Wrong(format!("there is no command `:{name}`"), help);
    };
    match (argument.is_empty(), command.argument) {
        (true, _) if !command.optional => {
            let Command { name, shown, help, .. } = command;
            Asked::Wrong(format!("`:{name}` needs an argument"), format!("`:{name} {shown}`: {help}"))
        }
        (false, Argument::None) => {
            Asked::Wrong(format!("`:{} ` takes no argument", command.name).replace(" `", "`"), "leave it out".into())
        }
        _ => Asked::Command(*command, argument),
    }
}

/// The help text, of one command or of all.
pub(super) fn help(about: &str) -> Option<String> {
    let about = about.trim_start_matches(':');
    let chosen: Vec<&Command> = COMMANDS.iter().filter(|c| about.is_empty() || c.name == about).collect();
    if chosen.is_empty() {
        return None;
    }
    let head = |c: &Command| format!(":{} {}", c.name, c.shown).trim_end().to_owned();
    let width = chosen.iter().map(|c| head(c).len()).max().unwrap_or(0);
    let mut lines: Vec<String> = chosen.iter().map(|c| format!("{:width$}  {}", head(c), c.help)).collect();
    if about.is_empty() {
        lines.insert(0, "An entry is a declaration, a request, or an expression, which is shown.".to_owned());
        lines.push("Ctrl-C stops what runs; Tab completes; an empty line ends an unfinished entry.".to_owned());
    }
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_by_their_beginning() {
        let name = |entry: &str| match read(entry) {
            Asked::Command(command, argument) => format!("{} {argument}", command.name),
            Asked::Wrong(what, help) => format!("{what}; {help}"),
        };
        assert_eq!(name(":type  f(1) "), "type f(1)");
        assert_eq!(name(":t 1"), "there is no command `:t`; `:help` lists the commands");
        assert_eq!(name(":q"), "quit ");
        assert_eq!(name(":tpye x"), "there is no command `:tpye`; did you mean `:type`?");
        assert!(name(":type").starts_with("`:type` needs an argument"));
        assert_eq!(name(":quit now"), "`:quit` takes no argument; leave it out");
        assert!(name(":").starts_with("there is no command"));
    }

    #[test]
    fn help_tells_of_every_command() {
        let all = help("").unwrap_or_default();
        assert!(COMMANDS.iter().all(|c| all.contains(&format!(":{}", c.name)) && all.contains(c.help)), "{all}");
        assert_eq!(help("jobs").unwrap_or_default(), ":jobs  what runs in the background");
        assert_eq!(help("nothing"), None);
    }
}
