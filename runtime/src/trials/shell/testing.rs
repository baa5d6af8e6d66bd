//! Conditions: `[ … ]`, `test` and `[[ … ]]`.

use super::ast::Test;
use super::files::{Content, Node};
use super::regex::{Dialect, Matcher};
use super::state::{Flow, Run, Shell, Value, Var, show};

impl Shell {
    pub(crate) fn run_test(&mut self, test: &Test) -> Run<bool> {
        self.charge(1)?;
        match test {
            Test::Not(inner) => self.nested(|shell| shell.run_test(inner)).map(|yes| !yes),
            Test::All(tests) => {
                for test in tests {
                    if !self.nested(|shell| shell.run_test(test))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::Any(tests) => {
                for test in tests {
                    if self.nested(|shell| shell.run_test(test))? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Test::Word(word) => Ok(!self.expand_text(word)?.is_empty()),
            Test::Unary(op, word) => {
                let text = self.expand_text(word)?;
                self.unary_test(op, &text)
            }
            Test::Binary(left, op, right) => {
                let text = self.expand_text(left)?;
                match op.as_slice() {
                    b"==" | b"=" | b"!=" => {
                        let pattern = self.expand_pattern(right)?;
                        let fold = self.env.settings.nocasematch;
                        Ok(pattern.matches_folding(&text, fold) == (op != b"!="))
                    }
                    b"=~" => {
                        let pattern = self.expand_regex(right)?;
                        self.regex_test(&text, &pattern)
                    }
                    b"-eq" | b"-ne" | b"-lt" | b"-le" | b"-gt" | b"-ge" => {
                        let right = self.expand_text(right)?;
                        let (left, right) = (self.arithmetic(&text)?, self.arithmetic(&right)?);
                        Ok(compare(op, left, right))
                    }
                    _ => {
                        let right = self.expand_text(right)?;
                        self.binary_test(&text, op, &right).map(|answer| answer.unwrap_or(false))
                    }
                }
            }
        }
    }

    fn regex_test(&mut self, text: &[u8], pattern: &[u8]) -> Run<bool> {
        let fold = self.env.settings.nocasematch;
        let matcher = match Matcher::new(pattern, Dialect::Extended, fold) {
            Ok(matcher) => matcher,
            Err(_) => return Err(Flow::Abandon),
        };
        self.charge_bytes(text.len() * 8)?;
        let found = matcher.captures(text, 0);
        let groups = found.map(|groups| {
            let piece =
                |range: Option<(usize, usize)>| range.map_or_else(Vec::new, |(from, to)| text[from..to].to_vec());
            groups.into_iter().map(piece).enumerate().collect()
        });
        let yes = groups.is_some();
        let value = Some(Value::List(groups.unwrap_or_default()));
        self.env.vars.insert(b"BASH_REMATCH".to_vec(), Var { value, ..Var::default() });
        Ok(yes)
    }

    fn node_of(&self, path: &[u8], follow: bool) -> Option<&Node> {
        self.files.node(self.files.find(&self.env.cwd, path, follow).ok()?)
    }

    pub(crate) fn unary_test(&mut self, op: &[u8], text: &[u8]) -> Run<bool> {
        let node = self.node_of(text, true);
        Ok(match op {
            b"-n" => !text.is_empty(),
            b"-z" => text.is_empty(),
            b"-e" | b"-a" => node.is_some(),
            b"-f" => node.is_some_and(Node::is_file),
            b"-d" => node.is_some_and(Node::is_dir),
            b"-s" => node.is_some_and(|node| node.size() > 0),
            b"-r" => node.is_some_and(|node| node.mode & 0o400 != 0),
            b"-w" => node.is_some_and(|node| node.mode & 0o200 != 0),
            b"-x" => node.is_some_and(|node| node.mode & 0o100 != 0),
            b"-c" => node.is_some_and(|node| node.content == Content::Null),
            b"-O" | b"-G" => node.is_some(),
            b"-h" | b"-L" => self.node_of(text, false).is_some_and(Node::is_link),
            b"-v" => {
                let (name, index) = super::declare::split_index(text);
                match index {
                    Some(index) => self.element(&name, &index)?.is_some(),
                    None => self.text_of(&name).is_some(),
                }
            }
            b"-o" => text == b"errexit" && self.env.settings.errexit,
            _ => false,
        })
    }

    /// `None` if there is no such operator; an integer operator on a text complains and gives `Err`-like status 2.
    pub(crate) fn binary_test(&mut self, left: &[u8], op: &[u8], right: &[u8]) -> Run<Option<bool>> {
        let changed = |shell: &Shell, path: &[u8]| shell.node_of(path, true).map(|node| node.changed);
        Ok(Some(match op {
            b"=" | b"==" => left == right,
            b"!=" => left != right,
            b"<" => left < right,
            b">" => left > right,
            b"-nt" => changed(self, left) > changed(self, right),
            b"-ot" => changed(self, left) < changed(self, right),
            b"-ef" => {
                let id = |path: &[u8]| self.files.find(&self.env.cwd, path, true).ok();
                id(left).is_some() && id(left) == id(right)
            }
            _ => return Ok(None),
        }))
    }

    /// `test` and `[`, their name in `args[0]`.
    pub(crate) fn test_command(&mut self, args: &[Vec<u8>]) -> Run {
        let bracket = args.first().is_some_and(|name| name == b"[");
        let mut words = &args[1..];
        if bracket {
            match words.split_last() {
                Some((last, rest)) if last == b"]" => words = rest,
                _ => {
                    self.complain("[: missing `]'")?;
                    return Ok(2);
                }
            }
        }
        let name = if bracket { "[" } else { "test" };
        let mut reader = Expression { shell: self, words, at: 0, name, fault: None, depth: 0 };
        if words.is_empty() {
            return Ok(1);
        }
        let yes = reader.any()?;
        let (at, fault) = (reader.at, reader.fault.take());
        let fault = fault.or_else(|| (at < words.len()).then(|| "too many arguments".to_owned()));
        if let Some(fault) = fault {
            self.complain(&format!("{name}: {fault}"))?;
            return Ok(2);
        }
        Ok(i32::from(!yes))
    }
}

fn compare(op: &[u8], left: i64, right: i64) -> bool {
    match op {
        b"-eq" => left == right,
        b"-ne" => left != right,
        b"-lt" => left < right,
        b"-le" => left <= right,
        b"-gt" => left > right,
        _ => left >= right,
    }
}

struct Expression<'a> {
    shell: &'a mut Shell,
    words: &'a [Vec<u8>],
    at: usize,
    name: &'static str,
    fault: Option<String>,
    depth: usize,
}

impl Expression<'_> {
    fn word(&self, ahead: usize) -> Option<&[u8]> {
        self.words.get(self.at + ahead).map(Vec::as_slice)
    }

    fn any(&mut self) -> Run<bool> {
        let mut yes = self.all()?;
        while self.word(0) == Some(b"-o") && self.fault.is_none() {
            self.at += 1;
            yes |= self.all()?;
        }
        Ok(yes)
    }

    fn all(&mut self) -> Run<bool> {
        let mut yes = self.one()?;
        while self.word(0) == Some(b"-a") && self.fault.is_none() {
            self.at += 1;
            yes &= self.one()?;
        }
        Ok(yes)
    }

    fn is_binary(op: &[u8]) -> bool {
        let known: [&[u8]; 14] =
            [b"=", b"==", b"!=", b"<", b">", b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge", b"-nt", b"-ot", b"-ef"];
        known.contains(&op)
    }

    fn one(&mut self) -> Run<bool> {
        self.shell.charge(1)?;
        self.depth += 1;
        if self.depth > self.shell.limits.depth {
            return Err(Flow::Stop(super::Stopped::Depth));
        }
        let Some(first) = self.word(0).map(<[u8]>::to_vec) else {
            self.fault = Some("argument expected".to_owned());
            return Ok(false);
        };
        if let (Some(op), Some(right)) = (self.word(1).map(<[u8]>::to_vec), self.word(2).map(<[u8]>::to_vec))
            && Self::is_binary(&op)
        {
            self.at += 3;
            return self.binary(&first, &op, &right);
        }
        self.at += 1;
        if first == b"!" && self.word(0).is_some() {
            return Ok(!self.one()?);
        }
        if first == b"(" && self.word(0).is_some() {
            let yes = self.any()?;
            if self.word(0) == Some(b")") {
                self.at += 1;
            } else {
                self.fault = Some("`)' expected".to_owned());
            }
            return Ok(yes);
        }
        let unary = first.len() == 2 && first[0] == b'-' && b"abcdefghkLnNoOprsStuvwxzG".contains(&first[1]);
        let operand = self.word(0).map(<[u8]>::to_vec);
        match operand {
            Some(operand) if unary => {
                self.at += 1;
                self.shell.unary_test(&first, &operand)
            }
            _ => {
                if self.words.len() == 2 {
                    self.fault = Some(format!("{}: unary operator expected", show(&first)));
                } else if self.words.len() == 3 && self.at == 1 {
                    let op = self.word(0).map(show).unwrap_or_default();
                    if op != "-a" && op != "-o" {
                        self.fault = Some(format!("{op}: binary operator expected"));
                    }
                }
                Ok(!first.is_empty())
            }
        }
    }

    fn binary(&mut self, left: &[u8], op: &[u8], right: &[u8]) -> Run<bool> {
        if let Some(answer) = self.shell.binary_test(left, op, right)? {
            return Ok(answer);
        }
        let number = |text: &[u8]| -> Result<i64, String> {
            let plain = std::str::from_utf8(text).ok().map(str::trim);
            plain
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| format!("{}: integer expression expected", show(text)))
        };
        match (number(left), number(right)) {
            (Ok(left), Ok(right)) => Ok(compare(op, left, right)),
            (Err(fault), _) | (_, Err(fault)) => {
                debug_assert!(!self.name.is_empty());
                self.fault = Some(fault);
                Ok(false)
            }
        }
    }
}
