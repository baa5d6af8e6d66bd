//! `grep`, `egrep`, `fgrep`.

use super::super::files::{Errno, Node, join};
use super::super::options::Options;
use super::super::pattern::Pattern;
use super::super::read::{Source, lines};
use super::super::regex::{Dialect, Matcher};
use super::super::state::{Run, Shell, show};

struct Search {
    matchers: Vec<Matcher>,
    invert: bool,
    words: bool,
    whole: bool,
    only: bool,
    count: bool,
    quiet: bool,
    list: Option<bool>,
    numbers: bool,
    names: bool,
    before: usize,
    after: usize,
    most: usize,
    matched: bool,
    shown: bool,
}

const LONG: &[(&str, u8)] = &[
    ("ignore-case", b'i'),
    ("invert-match", b'v'),
    ("count", b'c'),
    ("line-number", b'n'),
    ("files-with-matches", b'l'),
    ("files-without-match", b'L'),
    ("only-matching", b'o'),
    ("word-regexp", b'w'),
    ("line-regexp", b'x'),
    ("quiet", b'q'),
    ("silent", b'q'),
    ("extended-regexp", b'E'),
    ("fixed-strings", b'F'),
    ("regexp", b'e'),
    ("file", b'f'),
    ("recursive", b'r'),
    ("no-filename", b'h'),
    ("with-filename", b'H'),
    ("max-count", b'm'),
    ("after-context", b'A'),
    ("before-context", b'B'),
    ("context", b'C'),
    ("include", b'\x01'),
    ("exclude", b'\x02'),
    ("exclude-dir", b'\x04'),
    ("no-messages", b's'),
    ("color", b'\x03'),
    ("text", b'a'),
];

pub(crate) fn grep(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    // `-5` is `-C 5`, and `--color=auto` changes nothing.
    let args: Vec<Vec<u8>> = args
        .iter()
        .filter(|arg| !arg.starts_with(b"--colo"))
        .map(|arg| match arg.as_slice() {
            [b'-', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                [b"-C", digits].concat()
            }
            _ => arg.clone(),
        })
        .collect();
    let mut options = options!(shell, &args, "ivcnlLowxqEFGe:f:rRhHm:A:B:C:sa\x01:\x02:\x04:P", LONG);
    if options.has(b'P') {
        // What Perl's expressions have beyond the extended ones is mostly classes such as \d.
        shell.lack("grep -P (read as -E, with \\d)");
    }
    let Some(patterns) = patterns(shell, &mut options)? else { return Ok(2) };
    let fixed = options.last_of(b"EFGP") == Some(b'F') || args[0] == b"fgrep";
    let extended = matches!(options.last_of(b"EFGP"), Some(b'E' | b'P')) || args[0] == b"egrep";
    let mut matchers = Vec::new();
    for pattern in patterns {
        let mut text = if fixed { escape(&pattern) } else { pattern };
        if options.has(b'P') {
            text = show(&text).replace("\\d", "[0-9]").into_bytes();
        }
        let dialect = if extended { Dialect::Extended } else { Dialect::Basic };
        match Matcher::new(&text, dialect, options.has(b'i')) {
            Ok(matcher) => matchers.push(matcher),
            Err(fault) => {
                shell.warn(&format!("grep: {fault}"))?;
                return Ok(2);
            }
        }
    }
    let recursive = options.has(b'r') || options.has(b'R');
    let names = if options.operands.is_empty() {
        vec![if recursive { b".".to_vec() } else { b"-".to_vec() }]
    } else {
        options.operands.clone()
    };
    let mut search = Search::new(matchers, &options, names.len() > 1 || recursive);
    let mut failed = false;
    let bare = options.operands.is_empty() && recursive;
    for name in names {
        failed |= one(shell, &mut search, &options, name, recursive, bare)?;
        if search.quiet && search.matched {
            return Ok(0);
        }
    }
    Ok(if failed { 2 } else { i32::from(!search.matched) })
}

fn patterns(shell: &mut Shell, options: &mut Options) -> Run<Option<Vec<Vec<u8>>>> {
    let mut texts: Vec<Vec<u8>> = options.values(b'e').into_iter().map(<[u8]>::to_vec).collect();
    for file in options.values(b'f') {
        match Source::open(shell, file) {
            Ok(mut source) => {
                let whole = source.rest(shell)?;
                texts.extend(lines(&whole).into_iter().map(<[u8]>::to_vec));
            }
            Err(errno) => {
                shell.warn_path("grep", file, errno)?;
                return Ok(None);
            }
        }
    }
    if !options.has(b'e') && !options.has(b'f') {
        if options.operands.is_empty() {
            shell.warn("Usage: grep [OPTION]... PATTERNS [FILE]...\nTry 'grep --help' for more information.")?;
            return Ok(None);
        }
        texts.push(options.operands.remove(0));
    }
    Ok(Some(texts.iter().flat_map(|text| text.split(|byte| *byte == b'\n')).map(<[u8]>::to_vec).collect()))
}

fn escape(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    for byte in text {
        if b"\\.[]*^$".contains(byte) {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

/// Searches a file, or what is in a directory; true if something could not be read.
fn one(
    shell: &mut Shell,
    search: &mut Search,
    options: &Options,
    name: Vec<u8>,
    recursive: bool,
    bare: bool,
) -> Run<bool> {
    let quiet = options.has(b's');
    let mut failed = false;
    let mut todo = vec![(name, true)];
    while let Some((name, given)) = todo.pop() {
        shell.charge(1)?;
        let id = if name == b"-" { None } else { shell.files.find(&shell.env.cwd, &name, given).ok() };
        let children = id.and_then(|id| shell.files.children(id)).cloned();
        if let Some(children) = children {
            if !recursive {
                if !quiet {
                    shell.warn(&format!("grep: {}: {}", show(&name), Errno::IsDirectory.text()))?;
                }
                continue;
            }
            let skipped = |child: &[u8]| options.values(b'\x04').iter().any(|text| Pattern::plain(text).matches(child));
            for (child, id) in children.iter().rev() {
                let node = shell.files.node(*id);
                if node.is_none_or(Node::is_link) || node.is_some_and(Node::is_dir) && skipped(child) {
                    continue;
                }
                let path = if bare && name == b"." { child.clone() } else { join(&name, child) };
                todo.push((path, false));
            }
            continue;
        }
        if recursive {
            let base = super::names::base_of(&name);
            let fits = |letter: u8| options.values(letter).iter().any(|text| Pattern::plain(text).matches(base));
            if options.has(b'\x01') && !fits(b'\x01') || fits(b'\x02') {
                continue;
            }
        }
        match Source::open(shell, &name) {
            Ok(source) => search.file(shell, &name, source)?,
            Err(errno) => {
                if !quiet {
                    shell.warn_path("grep", &name, errno)?;
                }
                failed = true;
            }
        }
        if search.quiet && search.matched {
            break;
        }
    }
    Ok(failed)
}

impl Search {
    fn new(matchers: Vec<Matcher>, options: &Options, many: bool) -> Self {
        let number = |letters: &[u8], usual: usize| {
            letters.iter().find_map(|letter| options.number(*letter)).and_then(Result::ok).unwrap_or(usual)
        };
        Search {
            matchers,
            invert: options.has(b'v'),
            words: options.has(b'w'),
            whole: options.has(b'x'),
            only: options.has(b'o'),
            count: options.has(b'c'),
            quiet: options.has(b'q'),
            list: options.last_of(b"lL").map(|letter| letter == b'l'),
            numbers: options.has(b'n'),
            names: match options.last_of(b"hH") {
                Some(letter) => letter == b'H',
                None => many,
            },
            before: number(b"BC", 0),
            after: number(b"AC", 0),
            most: number(b"m", usize::MAX),
            matched: false,
            shown: false,
        }
    }

    /// The first match at `from` or behind that `-w` and `-x` allow.
    fn next(&self, line: &[u8], from: usize) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize)> = None;
        for matcher in &self.matchers {
            let mut at = from;
            while let Some((start, end)) = matcher.find(line, at) {
                let word = |at: Option<&u8>| at.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
                let before = start.checked_sub(1).and_then(|at| line.get(at));
                let fits = !(self.words && (word(before) || word(line.get(end)) || start == end))
                    && !(self.whole && (start > 0 || end < line.len()));
                if fits {
                    let better = best.is_none_or(|(own, own_end)| start < own || start == own && end > own_end);
                    if better {
                        best = Some((start, end));
                    }
                    break;
                }
                at = start + 1;
                if at > line.len() {
                    break;
                }
            }
        }
        best
    }

    fn prefix(&self, name: &[u8], number: usize, mark: u8) -> Vec<u8> {
        let mut text = Vec::new();
        if self.names {
            text.extend_from_slice(if name == b"-" { b"(standard input)" } else { name });
            text.push(mark);
        }
        if self.numbers {
            text.extend(number.to_string().into_bytes());
            text.push(mark);
        }
        text
    }

    fn file(&mut self, shell: &mut Shell, name: &[u8], mut source: Source) -> Run<()> {
        let (mut number, mut count) = (0usize, 0usize);
        let mut held: std::collections::VecDeque<(usize, Vec<u8>)> = std::collections::VecDeque::new();
        let mut following = 0usize;
        let mut last = 0usize;
        let context = self.before + self.after > 0;
        while count < self.most || following > 0 {
            let Some((line, _)) = source.line(shell, b'\n')? else { break };
            number += 1;
            shell.charge(self.matchers.len() as u64)?;
            let hit = count < self.most && self.next(&line, 0).is_some() != self.invert;
            if hit {
                count += 1;
                self.matched |= self.list != Some(false);
                if self.quiet || self.list.is_some() {
                    break;
                }
                if self.count {
                    continue;
                }
                if self.only {
                    self.pieces(shell, name, number, &line)?;
                    continue;
                }
                let first = held.front().map_or(number, |(at, _)| *at);
                if context && self.shown && first > last + 1 {
                    shell.out(b"--\n")?;
                }
                for (at, line) in held.drain(..) {
                    let prefix = self.prefix(name, at, b'-');
                    shell.out_line(&[prefix, line].concat())?;
                }
                let prefix = self.prefix(name, number, b':');
                shell.out_line(&[prefix, line].concat())?;
                self.shown = true;
                last = number;
                following = self.after;
            } else if following > 0 {
                following -= 1;
                let prefix = self.prefix(name, number, b'-');
                shell.out_line(&[prefix, line].concat())?;
                last = number;
            } else if self.before > 0 {
                held.push_back((number, line));
                if held.len() > self.before {
                    held.pop_front();
                }
            }
        }
        self.sum_up(shell, name, count)
    }

    /// What `-l`, `-L` and `-c` say of a file.
    fn sum_up(&mut self, shell: &mut Shell, name: &[u8], count: usize) -> Run<()> {
        let shown_name: &[u8] = if name == b"-" { b"(standard input)" } else { name };
        match self.list {
            Some(with) if !self.quiet && (count > 0) == with => {
                self.matched = true;
                shell.out_line(shown_name)?;
            }
            _ if self.count && !self.quiet => {
                let prefix = if self.names { [shown_name, b":"].concat() } else { Vec::new() };
                shell.out_line(&[prefix, count.to_string().into_bytes()].concat())?;
            }
            _ => {}
        }
        Ok(())
    }

    fn pieces(&mut self, shell: &mut Shell, name: &[u8], number: usize, line: &[u8]) -> Run<()> {
        if self.invert {
            return Ok(());
        }
        let mut at = 0;
        while let Some((start, end)) = self.next(line, at) {
            shell.charge(1 + line.len() as u64 / 64)?;
            if end > start {
                let prefix = self.prefix(name, number, b':');
                shell.out_line(&[prefix.as_slice(), &line[start..end]].concat())?;
            }
            at = if end > start { end } else { end + 1 };
            if at > line.len() {
                break;
            }
        }
        Ok(())
    }
}
