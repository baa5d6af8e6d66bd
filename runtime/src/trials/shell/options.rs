//! Reads the options of commands as `getopt_long` does, and says which are not had.

use super::state::{Run, Shell, show};

/// The options of a tool's call, or out of the tool with the status of the complaint.
macro_rules! options {
    ($shell:expr, $args:expr, $short:expr, $long:expr) => {
        match $shell.options($args, $short, $long)? {
            Ok(options) => options,
            Err(status) => return Ok(status),
        }
    };
}

/// The options of one call, in order, and what is none.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) given: Vec<(u8, Vec<u8>)>,
    pub(crate) operands: Vec<Vec<u8>>,
}

impl Options {
    pub(crate) fn has(&self, letter: u8) -> bool {
        self.given.iter().any(|(own, _)| *own == letter)
    }

    /// The value of the last such option.
    pub(crate) fn value(&self, letter: u8) -> Option<&[u8]> {
        self.given.iter().rev().find(|(own, _)| *own == letter).map(|(_, value)| value.as_slice())
    }

    pub(crate) fn values(&self, letter: u8) -> Vec<&[u8]> {
        self.given.iter().filter(|(own, _)| *own == letter).map(|(_, value)| value.as_slice()).collect()
    }

    /// The value as a whole number.
    pub(crate) fn number(&self, letter: u8) -> Option<Result<usize, String>> {
        let text = self.value(letter)?;
        Some(std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| show(text)))
    }

    /// Which of `letters` was given last?
    pub(crate) fn last_of(&self, letters: &[u8]) -> Option<u8> {
        self.given.iter().rev().map(|(own, _)| *own).find(|own| letters.contains(own))
    }
}

/// The status of a usage error.
fn usage_status(tool: &[u8]) -> i32 {
    match tool {
        b"grep" | b"egrep" | b"fgrep" | b"sort" | b"ls" | b"diff" | b"cmp" => 2,
        _ => 1,
    }
}

impl Shell {
    /// Parses `args[1..]`. `short` is as for getopt (`"nk:"`; a leading `+` stops at the first operand);
    /// `long` maps names to letters. `Err` is the status after a complaint.
    pub(crate) fn options(&mut self, args: &[Vec<u8>], short: &str, long: &[(&str, u8)]) -> Run<Result<Options, i32>> {
        let tool = args.first().cloned().unwrap_or_default();
        let stops = short.starts_with('+');
        let takes =
            |letter: u8| short.bytes().zip(short.bytes().skip(1)).any(|(own, next)| own == letter && next == b':');
        let knows = |letter: u8| letter != b':' && letter != b'+' && short.bytes().any(|own| own == letter);
        let mut options = Options::default();
        let mut rest = args.iter().skip(1);
        while let Some(arg) = rest.next() {
            if let Some(name) = arg.strip_prefix(b"--") {
                if name.is_empty() {
                    options.operands.extend(rest.by_ref().cloned());
                    break;
                }
                let (name, mut value) = match name.iter().position(|byte| *byte == b'=') {
                    Some(at) => (&name[..at], Some(name[at + 1..].to_vec())),
                    None => (name, None),
                };
                let Some(letter) = find_long(long, name) else {
                    return self.unknown_option(&tool, &format!("--{}", show(name)), true).map(Err);
                };
                if value.is_none() && takes(letter) {
                    value = rest.next().cloned();
                    if value.is_none() {
                        let what = format!("option '--{}' requires an argument", show(name));
                        return self.usage(&tool, &what).map(Err);
                    }
                }
                options.given.push((letter, value.unwrap_or_default()));
                continue;
            }
            if arg.len() < 2 || arg[0] != b'-' {
                options.operands.push(arg.clone());
                if stops {
                    options.operands.extend(rest.by_ref().cloned());
                }
                continue;
            }
            let mut at = 1;
            while at < arg.len() {
                let letter = arg[at];
                at += 1;
                if !knows(letter) {
                    return self.unknown_option(&tool, &char::from(letter).to_string(), false).map(Err);
                }
                let mut value = Vec::new();
                if takes(letter) {
                    if at < arg.len() {
                        value = arg[at..].to_vec();
                    } else if let Some(next) = rest.next() {
                        value.clone_from(next);
                    } else {
                        let what = format!("option requires an argument -- '{}'", char::from(letter));
                        return self.usage(&tool, &what).map(Err);
                    }
                    at = arg.len();
                }
                options.given.push((letter, value));
            }
        }
        Ok(Ok(options))
    }

    fn unknown_option(&mut self, tool: &[u8], option: &str, long: bool) -> Run {
        let name = show(tool);
        self.lack(&if long { format!("{name} {option}") } else { format!("{name} -{option}") });
        let what =
            if long { format!("unrecognized option '{option}'") } else { format!("invalid option -- '{option}'") };
        self.usage(tool, &what)
    }

    /// Says what is wrong with a call, and where help would be.
    pub(crate) fn usage(&mut self, tool: &[u8], what: &str) -> Run {
        let name = show(tool);
        self.warn(&format!("{name}: {what}\nTry '{name} --help' for more information."))?;
        Ok(usage_status(tool))
    }
}

fn find_long(long: &[(&str, u8)], name: &[u8]) -> Option<u8> {
    if let Some((_, letter)) = long.iter().find(|(own, _)| own.as_bytes() == name) {
        return Some(*letter);
    }
    let mut started = long.iter().filter(|(own, _)| own.as_bytes().starts_with(name));
    match (started.next(), started.next()) {
        (Some((_, letter)), None) => Some(*letter),
        _ => None,
    }
}
