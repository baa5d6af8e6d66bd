//! Runs scripts of `sed`.

use super::super::super::read::Source;
use super::super::super::regex::{Groups, Matcher};
use super::super::super::state::{Run, Shell};
use super::parse::{Action, Address, Piece, Script, Step, Substitution};

struct Machine<'a> {
    shell: &'a mut Shell,
    script: &'a Script,
    quiet: bool,
    sources: Vec<Source>,
    now: usize,
    space: Vec<u8>,
    hold: Vec<u8>,
    line: usize,
    ended: bool,
    substituted: bool,
    appended: Vec<Vec<u8>>,
    /// For each step with two addresses: the line up to which it is on, if it is.
    active: Vec<Option<usize>>,
    last: Option<&'a Matcher>,
}

enum Next {
    Cycle,
    /// The next cycle without printing; `true` without reading either.
    Deleted(bool),
    Quit(i32),
}

/// The exit code if the script quit.
pub(super) fn run(shell: &mut Shell, script: &Script, quiet: bool, sources: Vec<Source>) -> Run<Option<i32>> {
    let active = vec![None; script.steps.len()];
    let mut machine = Machine {
        shell,
        script,
        quiet,
        sources,
        now: 0,
        space: Vec::new(),
        hold: Vec::new(),
        line: 0,
        ended: true,
        substituted: false,
        appended: Vec::new(),
        active,
        last: None,
    };
    let mut keep = false;
    loop {
        if !keep && !machine.read(false)? {
            return Ok(None);
        }
        keep = false;
        match machine.cycle()? {
            Next::Cycle => {
                if !quiet {
                    machine.print()?;
                }
            }
            Next::Deleted(again) => keep = again,
            Next::Quit(code) => {
                machine.flush()?;
                return Ok(Some(code));
            }
        }
        machine.flush()?;
    }
}

impl<'a> Machine<'a> {
    fn is_last(&self) -> bool {
        self.sources[self.now.min(self.sources.len())..].iter().all(Source::is_done)
    }

    /// Takes the next line, behind what is there if `append`.
    fn read(&mut self, append: bool) -> Run<bool> {
        while let Some(source) = self.sources.get_mut(self.now) {
            if let Some((line, ended)) = source.line(self.shell, b'\n')? {
                if append {
                    self.space.push(b'\n');
                    self.space.extend(line);
                } else {
                    self.space = line;
                }
                self.line += 1;
                self.ended = ended || !self.is_last();
                return Ok(true);
            }
            self.now += 1;
        }
        Ok(false)
    }

    fn print(&mut self) -> Run<()> {
        let mut text = self.space.clone();
        if self.ended {
            text.push(b'\n');
        }
        self.shell.out(&text)
    }

    fn flush(&mut self) -> Run<()> {
        for text in std::mem::take(&mut self.appended) {
            if !self.ended {
                self.shell.out(b"\n")?;
                self.ended = true;
            }
            self.shell.out(&text)?;
        }
        Ok(())
    }

    fn fits(&mut self, address: &'a Address) -> Run<bool> {
        Ok(match address {
            Address::Line(line) => self.line == *line,
            Address::Last => self.is_last(),
            Address::Step(first, 0) => self.line == *first,
            Address::Step(first, step) => self.line >= *first && (self.line - first).is_multiple_of(*step),
            Address::Plus(_) => false,
            Address::Regex(matcher) => {
                let matcher = matcher.as_ref().or(self.last);
                self.last = matcher;
                self.shell.charge(1 + self.space.len() as u64 / 64)?;
                matcher.is_some_and(|matcher| matcher.is_match(&self.space))
            }
        })
    }

    fn selected(&mut self, at: usize, step: &'a Step) -> Run<bool> {
        let Some(from) = &step.from else { return Ok(true) };
        let Some(to) = &step.to else { return self.fits(from) };
        if let Some(until) = self.active[at] {
            let done = match to {
                Address::Regex(_) | Address::Last | Address::Step(..) => self.fits(to)?,
                _ => self.line >= until,
            };
            if done {
                self.active[at] = None;
            }
            return Ok(!matches!(to, Address::Line(_)) || self.line <= until);
        }
        let zero = matches!(from, Address::Line(0)) && self.line == 1;
        if zero && self.fits(to)? {
            return Ok(true);
        }
        if !zero && !self.fits(from)? {
            return Ok(false);
        }
        let until = match to {
            Address::Line(line) => *line,
            Address::Plus(count) => self.line.saturating_add(*count),
            _ => usize::MAX,
        };
        if until > self.line && !(matches!(to, Address::Last) && self.is_last()) {
            self.active[at] = Some(until);
        }
        Ok(true)
    }

    fn cycle(&mut self) -> Run<Next> {
        let script = self.script;
        let mut at = 0;
        self.substituted = false;
        while let Some(step) = script.steps.get(at) {
            self.shell.charge(1)?;
            let on = self.selected(at, step)? != step.negated;
            if !on {
                at = if let Action::Open(end) = step.action { end } else { at } + 1;
                continue;
            }
            at += 1;
            match &step.action {
                Action::Open(_) | Action::Close | Action::Label => {}
                Action::Branch(letter, target) => {
                    let go = match letter {
                        b't' => std::mem::take(&mut self.substituted),
                        b'T' => !std::mem::take(&mut self.substituted),
                        _ => true,
                    };
                    if go {
                        at = *target;
                    }
                }
                Action::Substitute(made) => self.substitute(made)?,
                Action::Translate(map) => {
                    for byte in &mut self.space {
                        *byte = map[usize::from(*byte)];
                    }
                }
                Action::Append(text) => self.appended.push(text.clone()),
                Action::Insert(text) => self.shell.out(text)?,
                Action::Change(text) => {
                    let range_ends = step.to.is_none() || step.negated || self.active[at - 1].is_none();
                    if range_ends {
                        self.shell.out(text)?;
                    }
                    return Ok(Next::Deleted(false));
                }
                Action::Quit(code, print) => {
                    if *print && !self.quiet {
                        self.print()?;
                    }
                    return Ok(Next::Quit(*code));
                }
                Action::Read(name) => {
                    if let Ok(mut source) = Source::open(self.shell, name) {
                        let text = source.rest(self.shell)?;
                        self.appended.push(text);
                    }
                }
                Action::Write(name) => self.write(name)?,
                Action::Plain(letter) => {
                    if let Some(next) = self.plain(*letter)? {
                        return Ok(next);
                    }
                }
            }
        }
        Ok(Next::Cycle)
    }

    fn write(&mut self, name: &[u8]) -> Run<()> {
        // The file is emptied when it is first written to.
        let first = self.shell.lacking.is_empty() && self.line == 1;
        if let Ok(fd) = self.shell.open_output(name, !first) {
            let out = self.shell.env.fds.insert(1, fd);
            let text = [self.space.as_slice(), b"\n"].concat();
            let written = self.shell.out(&text);
            self.shell.env.fds.extend(out.map(|out| (1, out)));
            written?;
        }
        self.shell.check_files()
    }

    fn plain(&mut self, letter: u8) -> Run<Option<Next>> {
        self.shell.charge_bytes(self.space.len() + self.hold.len())?;
        let most = self.shell.limits.output_bytes;
        if self.space.len() + self.hold.len() > most {
            return Err(self.shell.exhausted(super::super::super::Stopped::OutputBytes));
        }
        let first = self.space.iter().position(|byte| *byte == b'\n');
        match letter {
            b'p' => self.print()?,
            b'P' => {
                let text = self.space[..first.unwrap_or(self.space.len())].to_vec();
                self.shell.out_line(&text)?;
            }
            b'd' => return Ok(Some(Next::Deleted(false))),
            b'D' => {
                return Ok(Some(match first {
                    Some(at) => {
                        self.space.drain(..=at);
                        Next::Deleted(true)
                    }
                    None => Next::Deleted(false),
                }));
            }
            b'n' | b'N' => {
                if self.is_last() {
                    // Without a next line GNU's sed prints what it has and ends.
                    if !self.quiet {
                        self.print()?;
                    }
                    return Ok(Some(Next::Quit(0)));
                }
                if letter == b'n' && !self.quiet {
                    self.print()?;
                }
                self.flush()?;
                self.read(letter == b'N')?;
            }
            b'g' => self.space.clone_from(&self.hold),
            b'G' => {
                self.space.push(b'\n');
                self.space.extend_from_slice(&self.hold);
            }
            b'h' => self.hold.clone_from(&self.space),
            b'H' => {
                self.hold.push(b'\n');
                self.hold.extend_from_slice(&self.space);
            }
            b'x' => std::mem::swap(&mut self.space, &mut self.hold),
            b'=' => self.shell.out_line(self.line.to_string().as_bytes())?,
            b'z' => self.space.clear(),
            _ => {
                let text = visible(&self.space);
                self.shell.out_line(&text)?;
            }
        }
        Ok(None)
    }

    fn substitute(&mut self, made: &'a Substitution) -> Run<()> {
        let Some(matcher) = made.matcher.as_ref().or(self.last) else { return Ok(()) };
        self.last = Some(matcher);
        let mut done = Vec::new();
        let (mut at, mut kept, mut count) = (0, 0, 0);
        let mut changed = false;
        let mut last_end = None;
        while at <= self.space.len() {
            self.shell.charge(1 + (self.space.len() - at) as u64 / 64)?;
            let Some(groups) = matcher.captures(&self.space, at) else { break };
            let Some((start, end)) = groups.first().copied().flatten() else { break };
            // An empty match right behind another is none.
            if start == end && last_end == Some(start) {
                at = end + 1;
                continue;
            }
            last_end = Some(end);
            count += 1;
            if count >= made.number {
                done.extend_from_slice(&self.space[kept..start]);
                replace(&made.pieces, &self.space, &groups, &mut done);
                self.shell.charge_bytes(done.len().saturating_sub(kept))?;
                kept = end;
                changed = true;
                if !made.global {
                    break;
                }
            }
            at = if end == start { end + 1 } else { end };
        }
        if !changed {
            return Ok(());
        }
        done.extend_from_slice(self.space.get(kept..).unwrap_or_default());
        if done.len() > self.shell.limits.output_bytes {
            return Err(self.shell.exhausted(super::super::super::Stopped::OutputBytes));
        }
        self.space = done;
        self.substituted = true;
        if made.print {
            self.print()?;
        }
        if let Some(name) = &made.file {
            self.write(name)?;
        }
        Ok(())
    }
}

fn replace(pieces: &[Piece], text: &[u8], groups: &Groups, done: &mut Vec<u8>) {
    let (mut all, mut one) = (b'E', b'E');
    for piece in pieces {
        let part: &[u8] = match piece {
            Piece::Text(text) => text,
            Piece::Group(at) => groups.get(*at).copied().flatten().map_or(&[], |(from, to)| &text[from..to]),
            Piece::Case(case @ (b'u' | b'l')) => {
                one = *case;
                continue;
            }
            Piece::Case(case) => {
                all = *case;
                one = b'E';
                continue;
            }
        };
        for byte in part {
            let case = if one == b'E' { all } else { std::mem::replace(&mut one, b'E') };
            done.push(match case {
                b'U' | b'u' => byte.to_ascii_uppercase(),
                b'L' | b'l' => byte.to_ascii_lowercase(),
                _ => *byte,
            });
        }
    }
}

/// A line as `l` shows it.
fn visible(space: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in space {
        match byte {
            b'\\' => text.extend(b"\\\\"),
            b'\t' => text.extend(b"\\t"),
            b'\n' => text.extend(b"\\n"),
            32..=126 => text.push(*byte),
            _ => text.extend(format!("\\{byte:03o}").into_bytes()),
        }
    }
    text.push(b'$');
    text
}
