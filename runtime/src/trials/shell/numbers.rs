//! Formats values as C's `printf` does, for the shell's and for awk's.

/// One `%` directive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Directive {
    pub(crate) left: bool,
    pub(crate) plus: bool,
    pub(crate) space: bool,
    pub(crate) zero: bool,
    pub(crate) alternate: bool,
    pub(crate) width: Option<usize>,
    pub(crate) precision: Option<usize>,
    pub(crate) conversion: u8,
}

/// No field is wider, no number longer: what a hostile format may ask for.
const WIDEST: usize = 1 << 16;
const FINEST: usize = 4096;

/// Reads the directive behind a `%`. `star` gives the numbers that `*` asks for.
pub(crate) fn directive(rest: &[u8], star: &mut dyn FnMut() -> i64) -> Option<(Directive, usize)> {
    let mut made = Directive::default();
    let mut at = 0;
    while let Some(flag) = rest.get(at) {
        match flag {
            b'-' => made.left = true,
            b'+' => made.plus = true,
            b' ' => made.space = true,
            b'0' => made.zero = true,
            b'#' => made.alternate = true,
            b'\'' => {}
            _ => break,
        }
        at += 1;
    }
    let number = |at: &mut usize| {
        let mut value = 0usize;
        let start = *at;
        while let Some(digit) = rest.get(*at).filter(|byte| byte.is_ascii_digit()) {
            value = value.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
            *at += 1;
        }
        (*at > start).then_some(value)
    };
    if rest.get(at) == Some(&b'*') {
        at += 1;
        let width = star();
        made.left |= width < 0;
        made.width = usize::try_from(width.unsigned_abs()).ok();
    } else {
        made.width = number(&mut at);
    }
    if rest.get(at) == Some(&b'.') {
        at += 1;
        if rest.get(at) == Some(&b'*') {
            at += 1;
            made.precision = usize::try_from(star()).ok();
        } else {
            made.precision = Some(number(&mut at).unwrap_or(0));
        }
    }
    while rest.get(at).is_some_and(|byte| b"hlLqjzt".contains(byte))
        && rest.get(at + 1).is_some_and(u8::is_ascii_alphabetic)
    {
        at += 1;
    }
    made.conversion = *rest.get(at)?;
    made.width = made.width.map(|width| width.min(WIDEST));
    Some((made, at + 1))
}

impl Directive {
    fn pad(&self, sign: &[u8], body: &[u8], zero: bool) -> Vec<u8> {
        let length = sign.len() + body.len();
        let missing = self.width.unwrap_or(0).saturating_sub(length);
        let mut text = Vec::with_capacity(length + missing);
        if !self.left && !zero {
            text.resize(missing, b' ');
        }
        text.extend_from_slice(sign);
        if !self.left && zero {
            text.resize(text.len() + missing, b'0');
        }
        text.extend_from_slice(body);
        if self.left {
            text.resize(text.len() + missing, b' ');
        }
        text
    }

    pub(crate) fn text(&self, bytes: &[u8]) -> Vec<u8> {
        let kept = self.precision.unwrap_or(bytes.len()).min(bytes.len());
        self.pad(b"", &bytes[..kept], false)
    }

    fn sign(&self, negative: bool) -> &'static [u8] {
        if negative {
            b"-"
        } else if self.plus {
            b"+"
        } else if self.space {
            b" "
        } else {
            b""
        }
    }

    fn digits(&self, sign: &[u8], digits: String) -> Vec<u8> {
        let mut digits = digits.into_bytes();
        if let Some(precision) = self.precision {
            let missing = precision.min(FINEST).saturating_sub(digits.len());
            digits.splice(0..0, std::iter::repeat_n(b'0', missing));
            return self.pad(sign, &digits, false);
        }
        self.pad(sign, &digits, self.zero)
    }

    pub(crate) fn signed(&self, value: i64) -> Vec<u8> {
        self.digits(self.sign(value < 0), value.unsigned_abs().to_string())
    }

    pub(crate) fn unsigned(&self, value: u64) -> Vec<u8> {
        let alternate = self.alternate && value != 0;
        match self.conversion {
            b'o' if alternate => self.digits(b"", format!("0{value:o}")),
            b'o' => self.digits(b"", format!("{value:o}")),
            b'x' => self.digits(if alternate { b"0x" } else { b"" }, format!("{value:x}")),
            b'X' => self.digits(if alternate { b"0X" } else { b"" }, format!("{value:X}")),
            _ => self.digits(b"", value.to_string()),
        }
    }

    pub(crate) fn float(&self, value: f64) -> Vec<u8> {
        let sign = self.sign(value.is_sign_negative() && !value.is_nan());
        if !value.is_finite() {
            let body: &[u8] = if value.is_nan() { b"nan" } else { b"inf" };
            return self.pad(sign, body, false);
        }
        let precision = self.precision.unwrap_or(6).min(FINEST);
        let magnitude = value.abs();
        let body = match self.conversion.to_ascii_lowercase() {
            b'e' => exponential(magnitude, precision),
            b'g' => general(magnitude, precision, self.alternate),
            _ => format!("{magnitude:.precision$}"),
        };
        let body = if self.conversion.is_ascii_uppercase() { body.to_uppercase() } else { body };
        self.pad(sign, body.as_bytes(), self.zero)
    }
}

fn exponential(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn general(value: f64, precision: usize, keep_zeros: bool) -> String {
    let precision = precision.max(1);
    let text = format!("{value:.*e}", precision - 1);
    let exponent: i32 = text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let precision = i32::try_from(precision).unwrap_or(6);
    let fixed = exponent >= -4 && exponent < precision;
    let text = if fixed {
        format!("{value:.*}", usize::try_from(precision - 1 - exponent).unwrap_or(0))
    } else {
        exponential(value, usize::try_from(precision - 1).unwrap_or(0))
    };
    if keep_zeros {
        return text;
    }
    let (digits, exponent) = match text.split_once('e') {
        Some((digits, exponent)) => (digits, format!("e{exponent}")),
        None => (text.as_str(), String::new()),
    };
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    format!("{digits}{exponent}")
}

/// The number that a text begins with, as `strtod` reads it (decimal, no words), and how long it is.
pub(crate) fn leading_number(text: &[u8]) -> (f64, usize) {
    let start = text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let mut at = start;
    let digits = |at: &mut usize| {
        let from = *at;
        while text.get(*at).is_some_and(u8::is_ascii_digit) {
            *at += 1;
        }
        *at - from
    };
    if matches!(text.get(at), Some(b'+' | b'-')) {
        at += 1;
    }
    let mut count = digits(&mut at);
    if text.get(at) == Some(&b'.') {
        let mut behind = at + 1;
        count += digits(&mut behind);
        if count > 0 {
            at = behind;
        }
    }
    if count == 0 {
        return (0.0, 0);
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let mut behind = at + 1;
        if matches!(text.get(behind), Some(b'+' | b'-')) {
            behind += 1;
        }
        if digits(&mut behind) > 0 {
            at = behind;
        }
    }
    let value = std::str::from_utf8(&text[start..at]).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    (value, at)
}
