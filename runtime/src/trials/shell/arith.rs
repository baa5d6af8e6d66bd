//! Shell arithmetic: 64-bit integers with C's operators.

/// Where arithmetic reads and writes its variables.
pub(crate) trait Scope {
    fn get(&mut self, name: &[u8], index: Option<&[u8]>) -> Vec<u8>;
    fn set(&mut self, name: &[u8], index: Option<&[u8]>, value: i64) -> Result<(), String>;
}

type Value = Result<i64, String>;

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    scope: &'a mut dyn Scope,
    depth: usize,
    /// Is the value wanted? If not, nothing is assigned and nothing divided.
    live: bool,
}

const DEEPEST: usize = 64;

/// Binary operators from the loosest to the tightest.
const LEVELS: &[&[&[u8]]] = &[
    &[b"||"],
    &[b"&&"],
    &[b"|"],
    &[b"^"],
    &[b"&"],
    &[b"==", b"!="],
    &[b"<=", b">=", b"<", b">"],
    &[b"<<", b">>"],
    &[b"+", b"-"],
    &[b"*", b"/", b"%"],
    &[b"**"],
];
const ASSIGN: &[&[u8]] = &[b"=", b"+=", b"-=", b"*=", b"/=", b"%=", b"<<=", b">>=", b"&=", b"|=", b"^="];

pub(crate) fn evaluate(text: &[u8], scope: &mut dyn Scope, depth: usize) -> Value {
    if depth > DEEPEST {
        return Err("expression recursion level exceeded".to_owned());
    }
    let mut reader = Reader { text, at: 0, scope, depth, live: true };
    reader.blanks();
    if reader.at == text.len() {
        return Ok(0);
    }
    let value = reader.comma()?;
    if reader.at < text.len() {
        let rest = String::from_utf8_lossy(&text[reader.at..]).into_owned();
        let whole = String::from_utf8_lossy(text).into_owned();
        return Err(format!("{}: syntax error in expression (error token is \"{rest}\")", whole.trim_start()));
    }
    Ok(value)
}

impl Reader<'_> {
    fn blanks(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn looks_at(&self, token: &[u8]) -> bool {
        self.text[self.at..].starts_with(token)
    }

    fn accept(&mut self, token: &[u8]) -> bool {
        let yes = self.looks_at(token);
        if yes {
            self.at += token.len();
            self.blanks();
        }
        yes
    }

    fn fault(&self, what: &str) -> Value {
        let whole = String::from_utf8_lossy(self.text).into_owned();
        let rest = String::from_utf8_lossy(&self.text[self.at.min(self.text.len())..]).into_owned();
        Err(format!("{}: {what} (error token is \"{rest}\")", whole.trim()))
    }

    fn comma(&mut self) -> Value {
        let mut value = self.assignment()?;
        while self.accept(b",") {
            value = self.assignment()?;
        }
        Ok(value)
    }

    fn assignment(&mut self) -> Value {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("expression recursion level exceeded".to_owned());
        }
        let value = stacker::maybe_grow(128 << 10, 1 << 20, || self.conditional());
        self.depth -= 1;
        value
    }

    fn conditional(&mut self) -> Value {
        let condition = self.binary(0)?;
        if !self.accept(b"?") {
            return Ok(condition);
        }
        let live = self.live;
        self.live = live && condition != 0;
        let yes = self.assignment()?;
        self.live = live && condition == 0;
        if !self.accept(b":") {
            return self.fault("`:' expected for conditional expression");
        }
        let no = self.assignment()?;
        self.live = live;
        Ok(if condition != 0 { yes } else { no })
    }

    fn operator(&self, level: usize) -> Option<&'static [u8]> {
        let found = LEVELS[level].iter().find(|op| self.looks_at(op))?;
        let next = self.text.get(self.at + found.len());
        let longer = match *found {
            b"|" | b"&" => next == Some(&found[0]) || next == Some(&b'='),
            b"*" => next == Some(&b'*') || next == Some(&b'='),
            b"<" | b">" => next == Some(&found[0]) || next == Some(&b'='),
            b"<<" | b">>" | b"^" | b"/" | b"%" => next == Some(&b'='),
            b"+" | b"-" => next == Some(&b'='),
            _ => false,
        };
        (!longer).then_some(found)
    }

    fn binary(&mut self, level: usize) -> Value {
        if level == LEVELS.len() {
            return self.unary();
        }
        let mut left = self.binary(level + 1)?;
        while let Some(op) = self.operator(level) {
            let live = self.live;
            self.accept(op);
            match op {
                b"||" => self.live = live && left == 0,
                b"&&" => self.live = live && left != 0,
                _ => {}
            }
            let right = if op == b"**" {
                // `**` groups to the right.
                self.depth += 1;
                if self.depth > DEEPEST {
                    return Err("expression recursion level exceeded".to_owned());
                }
                let right = self.binary(level)?;
                self.depth -= 1;
                right
            } else {
                self.binary(level + 1)?
            };
            self.live = live;
            left = self.apply(op, left, right)?;
        }
        Ok(left)
    }

    fn apply(&self, op: &[u8], left: i64, right: i64) -> Value {
        let shift = u32::try_from(right.rem_euclid(64)).unwrap_or(0);
        Ok(match op {
            b"||" => i64::from(left != 0 || right != 0),
            b"&&" => i64::from(left != 0 && right != 0),
            b"|" => left | right,
            b"^" => left ^ right,
            b"&" => left & right,
            b"==" => i64::from(left == right),
            b"!=" => i64::from(left != right),
            b"<=" => i64::from(left <= right),
            b">=" => i64::from(left >= right),
            b"<" => i64::from(left < right),
            b">" => i64::from(left > right),
            b"<<" => left.wrapping_shl(shift),
            b">>" => left.wrapping_shr(shift),
            b"+" => left.wrapping_add(right),
            b"-" => left.wrapping_sub(right),
            b"*" => left.wrapping_mul(right),
            b"/" | b"%" if right == 0 => {
                if !self.live {
                    return Ok(0);
                }
                return self.fault("division by 0");
            }
            b"/" => left.wrapping_div(right),
            b"%" => left.wrapping_rem(right),
            _ if right < 0 && self.live => return self.fault("exponent less than 0"),
            _ => power(left, right),
        })
    }

    fn unary(&mut self) -> Value {
        self.blanks();
        let mut ops = Vec::new();
        let step = loop {
            if self.looks_at(b"++") || self.looks_at(b"--") {
                let step = if self.text[self.at] == b'+' { 1 } else { -1 };
                let behind = self.text[self.at + 2..].iter().find(|byte| !byte.is_ascii_whitespace());
                if behind.is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_') {
                    self.at += 2;
                    self.blanks();
                    break step;
                }
            }
            match self.text.get(self.at) {
                Some(op @ (b'-' | b'+' | b'!' | b'~')) => {
                    ops.push(*op);
                    self.at += 1;
                    self.blanks();
                }
                _ => break 0,
            }
        };
        let mut value = self.primary(step)?;
        for op in ops.into_iter().rev() {
            value = match op {
                b'-' => value.wrapping_neg(),
                b'!' => i64::from(value == 0),
                b'~' => !value,
                _ => value,
            };
        }
        Ok(value)
    }

    fn primary(&mut self, step: i64) -> Value {
        match self.text.get(self.at) {
            Some(b'(') => {
                self.accept(b"(");
                self.depth += 1;
                if self.depth > DEEPEST {
                    return Err("expression recursion level exceeded".to_owned());
                }
                let value = self.comma()?;
                self.depth -= 1;
                if self.accept(b")") { Ok(value) } else { self.fault("missing `)'") }
            }
            Some(byte) if byte.is_ascii_digit() => self.number(),
            Some(byte) if byte.is_ascii_alphabetic() || *byte == b'_' => self.variable(step),
            _ => self.fault("syntax error: operand expected"),
        }
    }

    fn number(&mut self) -> Value {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|byte| byte.is_ascii_alphanumeric() || b"#@_".contains(byte)) {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        self.blanks();
        let (digits, radix) = match text {
            [b'0', b'x' | b'X', rest @ ..] => (rest, 16),
            _ => match text.iter().position(|byte| *byte == b'#') {
                Some(at) => {
                    let base = std::str::from_utf8(&text[..at]).ok().and_then(|base| base.parse().ok());
                    match base {
                        Some(base @ 2..=36) => (&text[at + 1..], base),
                        _ => return self.fault("invalid arithmetic base"),
                    }
                }
                None if text.len() > 1 && text[0] == b'0' => (&text[1..], 8),
                None => (text, 10),
            },
        };
        let mut value = 0i64;
        for byte in digits {
            let Some(digit) = char::from(*byte).to_digit(radix) else {
                let token = String::from_utf8_lossy(text).into_owned();
                return Err(format!("{token}: value too great for base (error token is \"{token}\")"));
            };
            value = value.wrapping_mul(i64::from(radix)).wrapping_add(i64::from(digit));
        }
        Ok(value)
    }

    fn value_of(&mut self, name: &[u8], index: Option<&[u8]>) -> Value {
        let text = self.scope.get(name, index);
        evaluate(&text, self.scope, self.depth + 1)
    }

    fn variable(&mut self, step: i64) -> Value {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            self.at += 1;
        }
        let name = self.text[start..self.at].to_vec();
        let mut index = None;
        if self.text.get(self.at) == Some(&b'[') {
            let from = self.at + 1;
            let mut open = 1;
            self.at = from;
            while open > 0 {
                match self.text.get(self.at) {
                    Some(b'[') => open += 1,
                    Some(b']') => open -= 1,
                    Some(_) => {}
                    None => return self.fault("bad array subscript"),
                }
                self.at += 1;
            }
            index = Some(self.text[from..self.at - 1].to_vec());
        }
        let index = index.as_deref();
        self.blanks();
        if step != 0 {
            let value = self.value_of(&name, index)?.wrapping_add(step);
            self.store(&name, index, value)?;
            return Ok(value);
        }
        for (token, step) in [(b"++", 1i64), (b"--", -1)] {
            if self.accept(token) {
                let value = self.value_of(&name, index)?;
                self.store(&name, index, value.wrapping_add(step))?;
                return Ok(value);
            }
        }
        let assigns = ASSIGN.iter().find(|token| self.looks_at(token)).filter(|_| !self.looks_at(b"=="));
        if let Some(token) = assigns {
            self.accept(token);
            let right = self.assignment()?;
            let value = match token.split_last() {
                Some((_, [])) | None => right,
                Some((_, op)) => {
                    let left = self.value_of(&name, index)?;
                    self.apply(op, left, right)?
                }
            };
            self.store(&name, index, value)?;
            return Ok(value);
        }
        if !self.live {
            return Ok(0);
        }
        self.value_of(&name, index)
    }

    fn store(&mut self, name: &[u8], index: Option<&[u8]>, value: i64) -> Result<(), String> {
        if self.live { self.scope.set(name, index, value) } else { Ok(()) }
    }
}

fn power(base: i64, exponent: i64) -> i64 {
    let (mut base, mut exponent, mut value) = (base, exponent.max(0), 1i64);
    while exponent > 0 {
        if exponent & 1 == 1 {
            value = value.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    value
}
