//! `find` and `xargs`.

use super::super::files::{Content, Id, Node, join};
use super::super::options::Options;
use super::super::pattern::Pattern;
use super::super::read::Source;
use super::super::state::{Run, Shell, show};
use super::names::{base_of, directory_of};

#[derive(Debug)]
enum Test {
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
    Name(Pattern, bool),
    Path(Pattern, bool),
    Kind(Vec<u8>),
    Size(Comparison, usize),
    Perm(u8, u32),
    Empty,
    Newer(u64),
    Executable,
    Print(u8),
    Printf(Vec<u8>),
    Exec(Vec<Vec<u8>>),
    /// `-exec … {} +`: which of the gathered calls.
    Gather(usize),
    Delete,
    Prune,
    Quit,
    Yes(bool),
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Less(usize),
    Equal(usize),
    More(usize),
}

impl Comparison {
    fn parse(text: &[u8]) -> Option<(Self, &[u8])> {
        let (sign, rest) = match text {
            [sign @ (b'+' | b'-'), rest @ ..] => (*sign, rest),
            _ => (b' ', text),
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
        let made = match sign {
            b'+' => Comparison::More(value),
            b'-' => Comparison::Less(value),
            _ => Comparison::Equal(value),
        };
        Some((made, &rest[digits..]))
    }

    fn holds(self, value: usize) -> bool {
        match self {
            Comparison::Less(than) => value < than,
            Comparison::Equal(to) => value == to,
            Comparison::More(than) => value > than,
        }
    }
}

type Gathered = (Vec<Vec<u8>>, Vec<Vec<u8>>);

#[derive(Default)]
struct Plan {
    least: usize,
    most: Option<usize>,
    acts: bool,
    depth_first: bool,
    /// A command and the paths it is to get.
    gathered: Vec<Gathered>,
}

struct Reader<'a> {
    shell: &'a mut Shell,
    words: &'a [Vec<u8>],
    at: usize,
    depth: usize,
    plan: Plan,
}

type Parsed<T> = Result<T, String>;

impl Reader<'_> {
    fn any(&mut self) -> Parsed<Test> {
        self.depth += 1;
        if self.depth > 50 {
            return Err("the expression is nested too deeply".to_owned());
        }
        let mut tests = vec![self.all()?];
        while self.words.get(self.at).is_some_and(|word| word == b"-o" || word == b"-or") {
            self.at += 1;
            tests.push(self.all()?);
        }
        self.depth -= 1;
        Ok(Test::Any(tests))
    }

    fn all(&mut self) -> Parsed<Test> {
        let mut tests = Vec::new();
        while let Some(word) = self.words.get(self.at) {
            match word.as_slice() {
                b"-o" | b"-or" | b")" => break,
                b"-a" | b"-and" => self.at += 1,
                _ => tests.push(self.one()?),
            }
        }
        Ok(Test::All(tests))
    }

    fn value(&mut self, name: &[u8]) -> Parsed<Vec<u8>> {
        self.at += 1;
        self.words.get(self.at - 1).cloned().ok_or_else(|| format!("missing argument to `{}'", show(name)))
    }

    fn one(&mut self) -> Parsed<Test> {
        let name = self.words.get(self.at).cloned().unwrap_or_default();
        self.at += 1;
        Ok(match name.as_slice() {
            b"!" | b"-not" => {
                self.depth += 1;
                if self.depth > 50 {
                    return Err("the expression is nested too deeply".to_owned());
                }
                Test::Not(Box::new(self.one()?))
            }
            b"(" => {
                let test = self.any()?;
                if self.value(b"(")? != b")" {
                    return Err(
                        "invalid expression; I was expecting to find a ')' somewhere but did not see one.".to_owned()
                    );
                }
                test
            }
            b"-name" | b"-iname" => Test::Name(Pattern::plain(&self.value(&name)?), name == b"-iname"),
            b"-path" | b"-wholename" | b"-ipath" => Test::Path(Pattern::plain(&self.value(&name)?), name == b"-ipath"),
            b"-type" => Test::Kind(self.value(&name)?),
            b"-empty" => Test::Empty,
            b"-executable" => Test::Executable,
            b"-true" => Test::Yes(true),
            b"-false" => Test::Yes(false),
            b"-prune" => Test::Prune,
            b"-depth" => {
                self.plan.depth_first = true;
                Test::Yes(true)
            }
            b"-maxdepth" | b"-mindepth" => {
                let text = self.value(&name)?;
                let depth = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
                let depth = depth.ok_or_else(|| {
                    format!(
                        "Expected a positive decimal integer argument to {}, but got '{}'",
                        show(&name),
                        show(&text)
                    )
                })?;
                if name == b"-maxdepth" {
                    self.plan.most = Some(depth)
                } else {
                    self.plan.least = depth
                }
                Test::Yes(true)
            }
            b"-size" | b"-perm" | b"-newer" => return self.measured(&name),
            b"-print" | b"-print0" | b"-quit" | b"-delete" | b"-printf" | b"-exec" => return self.act(&name),
            b"-mtime" | b"-mmin" | b"-atime" | b"-ctime" | b"-newermt" | b"-user" | b"-regex" | b"-ls" | b"-ok" => {
                self.shell.lack(&format!("find {}", show(&name)));
                return Err(format!("this shell does not have `{}'", show(&name)));
            }
            _ if name.starts_with(b"-") => {
                self.shell.lack(&format!("find {}", show(&name)));
                return Err(format!("unknown predicate `{}'", show(&name)));
            }
            _ => return Err(format!("paths must precede expression: `{}'", show(&name))),
        })
    }

    fn measured(&mut self, name: &[u8]) -> Parsed<Test> {
        let text = self.value(name)?;
        let fault = || format!("invalid argument `{}' to `{}'", show(&text), show(name));
        Ok(match name {
            b"-size" => {
                let (comparison, unit) = Comparison::parse(&text).ok_or_else(fault)?;
                let unit = match unit {
                    b"" | b"b" => 512,
                    b"c" => 1,
                    b"w" => 2,
                    b"k" => 1 << 10,
                    b"M" => 1 << 20,
                    b"G" => 1 << 30,
                    _ => return Err(fault()),
                };
                Test::Size(comparison, unit)
            }
            b"-perm" => {
                let (sign, digits) = match text.as_slice() {
                    [sign @ (b'-' | b'/'), rest @ ..] => (*sign, rest),
                    rest => (b' ', rest),
                };
                Test::Perm(sign, super::modes::new_mode(digits, 0, false, 0).ok_or_else(fault)?)
            }
            _ => {
                let id = self.shell.files.find(&self.shell.env.cwd, &text, true);
                let node = id.ok().and_then(|id| self.shell.files.node(id));
                Test::Newer(
                    node.map(|node| node.changed)
                        .ok_or_else(|| format!("'{}': No such file or directory", show(&text)))?,
                )
            }
        })
    }

    fn act(&mut self, name: &[u8]) -> Parsed<Test> {
        self.plan.acts = true;
        Ok(match name {
            b"-print" => Test::Print(b'\n'),
            b"-print0" => Test::Print(0),
            b"-printf" => Test::Printf(self.value(name)?),
            b"-quit" => {
                self.plan.acts = false;
                Test::Quit
            }
            b"-delete" => {
                self.plan.depth_first = true;
                Test::Delete
            }
            _ => {
                let rest = &self.words[self.at.min(self.words.len())..];
                let ends = |at: usize, word: &Vec<u8>| word == b";" || word == b"+" && at > 0 && rest[at - 1] == b"{}";
                let end = rest.iter().enumerate().position(|(at, word)| ends(at, word));
                let Some(end) = end else { return Err("missing argument to `-exec'".to_owned()) };
                let command = rest[..end].to_vec();
                self.at += end + 1;
                if rest[end] == b"+" {
                    self.plan.gathered.push((command[..command.len() - 1].to_vec(), Vec::new()));
                    Test::Gather(self.plan.gathered.len() - 1)
                } else {
                    Test::Exec(command)
                }
            }
        })
    }
}

struct Walk {
    plan: Plan,
    test: Test,
    status: i32,
    pruned: bool,
    quit: bool,
    start: Vec<u8>,
}

pub(crate) fn find(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let words: Vec<Vec<u8>> = args[1..].iter().skip_while(|word| *word == b"-L" || *word == b"-P").cloned().collect();
    let is_test = |word: &Vec<u8>| word.starts_with(b"-") && word.len() > 1 || word == b"(" || word == b"!";
    let paths = words.iter().position(is_test).unwrap_or(words.len());
    let starts = if paths == 0 { vec![b".".to_vec()] } else { words[..paths].to_vec() };
    let mut reader = Reader { shell, words: &words[paths..], at: 0, depth: 0, plan: Plan::default() };
    let test = reader.any();
    let (at, plan) = (reader.at, std::mem::take(&mut reader.plan));
    let test = match test {
        Ok(test) if at + paths == words.len() => test,
        other => {
            let fault = other.err().unwrap_or_else(|| "invalid expression".to_owned());
            shell.warn(&format!("find: {fault}"))?;
            return Ok(1);
        }
    };
    let test = if plan.acts { test } else { Test::All(vec![test, Test::Print(b'\n')]) };
    let mut walk = Walk { plan, test, status: 0, pruned: false, quit: false, start: Vec::new() };
    for start in starts {
        match shell.files.find(&shell.env.cwd, &start, false) {
            Ok(id) => {
                walk.start.clone_from(&start);
                walk.visit(shell, &start, id, 0)?;
            }
            Err(errno) => {
                shell.warn(&format!("find: '{}': {}", show(&start), errno.text()))?;
                walk.status = 1;
            }
        }
    }
    for (command, paths) in std::mem::take(&mut walk.plan.gathered) {
        if !paths.is_empty() && shell.run_tool(&[command, paths].concat())? != 0 {
            walk.status = 1;
        }
    }
    Ok(walk.status)
}

impl Walk {
    fn visit(&mut self, shell: &mut Shell, path: &[u8], id: Id, depth: usize) -> Run<()> {
        shell.charge(2)?;
        if self.quit {
            return Ok(());
        }
        self.pruned = false;
        let here = depth >= self.plan.least;
        let test = std::mem::replace(&mut self.test, Test::Yes(true));
        let mut ended = Ok(());
        if here && !self.plan.depth_first {
            ended = self.holds(shell, &test, path, id, depth).map(|_| ());
        }
        self.test = test;
        ended?;
        if !self.pruned && self.plan.most.is_none_or(|most| depth < most) {
            let children: Vec<(Vec<u8>, Id)> = match shell.files.children(id) {
                Some(children) => children.iter().map(|(name, id)| (name.clone(), *id)).collect(),
                None => Vec::new(),
            };
            for (name, child) in children {
                let inner = join(path, &name);
                shell.nested(|shell| self.visit(shell, &inner, child, depth + 1))?;
            }
        }
        if here && self.plan.depth_first && !self.quit {
            let test = std::mem::replace(&mut self.test, Test::Yes(true));
            let ended = self.holds(shell, &test, path, id, depth);
            self.test = test;
            ended?;
        }
        Ok(())
    }

    fn holds(&mut self, shell: &mut Shell, test: &Test, path: &[u8], id: Id, depth: usize) -> Run<bool> {
        shell.charge(1)?;
        let Some(node) = shell.files.node(id) else { return Ok(false) };
        Ok(match test {
            Test::Not(inner) => !self.holds(shell, inner, path, id, depth)?,
            Test::All(tests) => {
                for test in tests {
                    if !self.holds(shell, test, path, id, depth)? {
                        return Ok(false);
                    }
                }
                true
            }
            Test::Any(tests) => {
                for test in tests {
                    if self.holds(shell, test, path, id, depth)? {
                        return Ok(true);
                    }
                }
                false
            }
            Test::Name(pattern, fold) => pattern.matches_folding(base_of(path), *fold),
            Test::Path(pattern, fold) => pattern.matches_folding(path, *fold),
            Test::Kind(kinds) => kinds.contains(&match node.content {
                Content::Directory(_) => b'd',
                Content::File(_) => b'f',
                Content::Link(_) => b'l',
                Content::Null => b'c',
            }),
            Test::Size(comparison, unit) => comparison.holds(node.size().div_ceil(*unit)),
            Test::Perm(sign, mode) => match sign {
                b'-' => node.mode & mode == *mode,
                b'/' => *mode == 0 || node.mode & mode != 0,
                _ => node.mode == *mode,
            },
            Test::Empty => match &node.content {
                Content::Directory(children) => children.is_empty(),
                Content::File(bytes) => bytes.is_empty(),
                _ => false,
            },
            Test::Newer(than) => node.changed > *than,
            Test::Executable => node.is_dir() || node.mode & 0o100 != 0,
            Test::Yes(yes) => *yes,
            _ => return self.act(shell, test, path, id, depth),
        })
    }

    fn act(&mut self, shell: &mut Shell, test: &Test, path: &[u8], id: Id, depth: usize) -> Run<bool> {
        match test {
            Test::Print(end) => shell.out(&[path, &[*end]].concat())?,
            Test::Printf(format) => {
                let text = self.formatted(shell, format, path, id, depth);
                shell.out(&text)?;
            }
            Test::Exec(command) => {
                let words: Vec<Vec<u8>> = command.iter().map(|word| replace_all(word, b"{}", path)).collect();
                return Ok(shell.run_tool(&words)? == 0);
            }
            Test::Gather(at) => {
                if let Some((_, paths)) = self.plan.gathered.get_mut(*at) {
                    paths.push(path.to_vec());
                }
            }
            Test::Delete => {
                if path == b"." {
                    return Ok(true);
                }
                let removed = shell
                    .files
                    .walk(&shell.env.cwd, path, false)
                    .and_then(|spot| shell.files.remove(spot.parent, &spot.name));
                if let Err(errno) = removed {
                    shell.warn(&format!("find: cannot delete '{}': {}", show(path), errno.text()))?;
                    self.status = 1;
                    return Ok(false);
                }
            }
            Test::Prune => self.pruned = true,
            Test::Quit => self.quit = true,
            _ => {}
        }
        Ok(true)
    }

    fn formatted(&self, shell: &mut Shell, format: &[u8], path: &[u8], id: Id, depth: usize) -> Vec<u8> {
        let node: Option<Node> = shell.files.node(id).cloned();
        let (mut text, mut at) = (Vec::new(), 0);
        while let Some(&byte) = format.get(at) {
            at += 1;
            if byte == b'\\'
                && let Some((bytes, read)) = super::super::words::escape(&format[at..], false)
            {
                text.extend(bytes);
                at += read;
                continue;
            }
            if byte != b'%' {
                text.push(byte);
                continue;
            }
            let letter = format.get(at).copied().unwrap_or(b'%');
            at += 1;
            let size = node.as_ref().map_or(0, Node::size);
            match letter {
                b'p' => text.extend_from_slice(path),
                b'f' => text.extend_from_slice(base_of(path)),
                b'h' => text.extend_from_slice(directory_of(path)),
                b'P' => {
                    text.extend_from_slice(path.strip_prefix(join(&self.start, b"").as_slice()).unwrap_or_default())
                }
                b's' => text.extend(size.to_string().into_bytes()),
                b'd' => text.extend(depth.to_string().into_bytes()),
                b'm' => text.extend(format!("{:o}", node.as_ref().map_or(0, |node| node.mode)).into_bytes()),
                b'M' => text.extend(node.as_ref().map(super::listing::mode_text).unwrap_or_default().into_bytes()),
                b'y' => text.push(match node.as_ref().map(|node| &node.content) {
                    Some(Content::Directory(_)) => b'd',
                    Some(Content::Link(_)) => b'l',
                    _ => b'f',
                }),
                b'%' => text.push(b'%'),
                other => shell.lack(&format!("find -printf %{}", char::from(other))),
            }
        }
        text
    }
}

pub(crate) fn replace_all(text: &[u8], mark: &[u8], with: &[u8]) -> Vec<u8> {
    let mut done = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if !mark.is_empty() && text[at..].starts_with(mark) {
            done.extend_from_slice(with);
            at += mark.len();
        } else {
            done.push(text[at]);
            at += 1;
        }
    }
    done
}

const XARGS_LONG: &[(&str, u8)] = &[
    ("null", b'0'),
    ("max-args", b'n'),
    ("no-run-if-empty", b'r'),
    ("replace", b'I'),
    ("delimiter", b'd'),
    ("max-procs", b'P'),
    ("max-lines", b'L'),
    ("verbose", b't'),
];

pub(crate) fn xargs(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "+0n:rI:d:P:L:t", XARGS_LONG);
    let text = Source::stdin(shell).rest(shell)?;
    let replace = options.value(b'I').map(<[u8]>::to_vec);
    let Some(items) = items(shell, &text, &options)? else { return Ok(1) };
    let command = if options.operands.is_empty() { vec![b"echo".to_vec()] } else { options.operands.clone() };
    let number = |letter: u8| options.number(letter).and_then(Result::ok).filter(|most| *most > 0);
    let most = number(b'n').or_else(|| number(b'L')).unwrap_or(usize::MAX);
    let mut calls: Vec<Vec<Vec<u8>>> = Vec::new();
    if let Some(mark) = &replace {
        for item in items.iter().filter(|item| !item.is_empty()) {
            shell.charge(1)?;
            calls.push(command.iter().map(|word| replace_all(word, mark, item)).collect());
        }
    } else if items.is_empty() {
        if !options.has(b'r') {
            calls.push(command);
        }
    } else {
        for part in items.chunks(most.min(items.len())) {
            shell.charge(1)?;
            let words = part.iter().cloned();
            calls.push(command.iter().cloned().chain(words).collect());
        }
    }
    let mut status = 0;
    for call in calls {
        if options.has(b't') {
            shell.warn(&show(&call.join(&b' ')))?;
        }
        match shell.run_tool(&call)? {
            0 => {}
            127 => return Ok(127),
            255 => return Ok(124),
            _ => status = 123,
        }
    }
    Ok(status)
}

/// The items of the text; nothing after a complaint.
fn items(shell: &mut Shell, text: &[u8], options: &Options) -> Run<Option<Vec<Vec<u8>>>> {
    if !options.has(b'0') && !options.has(b'd') {
        let by_line = options.has(b'I') || options.has(b'L');
        return match arguments(text, by_line) {
            Ok(items) => Ok(Some(items)),
            Err(quote) => {
                let kind = if quote == b'"' { "double" } else { "single" };
                let why = "by default quotes are special to xargs unless you use the -0 option";
                shell.warn(&format!("xargs: unmatched {kind} quote; {why}"))?;
                Ok(None)
            }
        };
    }
    let end = match options.value(b'd').filter(|_| !options.has(b'0')) {
        Some(b"\\n") => b'\n',
        Some(b"\\t") => b'\t',
        Some(text) => text.first().copied().unwrap_or(0),
        None => 0,
    };
    let mut items: Vec<Vec<u8>> = text.split(|byte| *byte == end).map(<[u8]>::to_vec).collect();
    if items.last().is_some_and(Vec::is_empty) {
        items.pop();
    }
    Ok(Some(items))
}

/// Parts text at blanks (or at newlines), quotes and backslashes heeded; the open quote if one is.
fn arguments(text: &[u8], by_line: bool) -> Result<Vec<Vec<u8>>, u8> {
    let mut items = Vec::new();
    let mut now: Option<Vec<u8>> = None;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\n' => items.extend(now.take()),
            b' ' | b'\t' if !by_line => items.extend(now.take()),
            b' ' | b'\t' if now.is_none() => {}
            b'\\' => now.get_or_insert_default().extend(bytes.next()),
            quote @ (b'"' | b'\'') => {
                let item = now.get_or_insert_default();
                loop {
                    match bytes.next() {
                        Some(byte) if byte == quote => break,
                        Some(b'\n') | None => return Err(*quote),
                        Some(byte) => item.push(*byte),
                    }
                }
            }
            _ => now.get_or_insert_default().push(*byte),
        }
    }
    items.extend(now);
    Ok(items)
}
