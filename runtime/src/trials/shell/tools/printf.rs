//! `printf`.

use super::super::builtins::unescape;
use super::super::numbers::{directive, leading_number};
use super::super::state::{Run, Shell, show};
use super::super::words::escape;

struct Arguments<'a> {
    rest: std::slice::Iter<'a, Vec<u8>>,
    faults: Vec<String>,
}

impl Arguments<'_> {
    fn integer(&mut self) -> i64 {
        let Some(text) = self.rest.next() else { return 0 };
        if let [b'\'' | b'"', byte, ..] = text.as_slice() {
            return i64::from(*byte);
        }
        let (sign, digits) = match text.as_slice() {
            [b'-', rest @ ..] => (-1i64, rest),
            [b'+', rest @ ..] => (1, rest),
            rest => (1, rest),
        };
        let (digits, radix) = match digits {
            [b'0', b'x' | b'X', rest @ ..] => (rest, 16),
            [b'0', rest @ ..] if !rest.is_empty() => (rest, 8),
            _ => (digits, 10),
        };
        let good = digits.iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
        let value = i128::from_str_radix(&show(&digits[..good]), radix).unwrap_or(0) * i128::from(sign);
        if good < digits.len() || digits.is_empty() && !text.is_empty() {
            self.faults.push(format!("{}: invalid number", show(text)));
        }
        i64::try_from(value).unwrap_or_else(|_| {
            u64::try_from(value).map_or(if sign < 0 { i64::MIN } else { i64::MAX }, |value| value as i64)
        })
    }

    fn float(&mut self) -> f64 {
        let Some(text) = self.rest.next() else { return 0.0 };
        let (value, read) = leading_number(text);
        if read < text.len() {
            self.faults.push(format!("{}: invalid number", show(text)));
        }
        value
    }
}

pub(crate) fn printf(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let mut args = &args[1..];
    let mut variable = None;
    if let [option, name, rest @ ..] = args
        && option == b"-v"
    {
        variable = Some(name.clone());
        args = rest;
    }
    if args.first().is_some_and(|arg| arg == b"--") {
        args = &args[1..];
    }
    let [format, rest @ ..] = args else {
        shell.warn("bash: printf: usage: printf [-v var] format [arguments]")?;
        return Ok(2);
    };
    let mut arguments = Arguments { rest: rest.iter(), faults: Vec::new() };
    let mut out = Vec::new();
    loop {
        let before = arguments.rest.len();
        shell.charge(1 + (format.len() + out.len()) as u64 / 64)?;
        if out.len() > shell.limits.output_bytes {
            return Err(shell.exhausted(super::super::Stopped::OutputBytes));
        }
        let ended = once(format, &mut arguments, &mut out);
        if ended || arguments.rest.len() == 0 || arguments.rest.len() == before {
            break;
        }
        if variable.is_none() {
            shell.out(&out)?;
            out.clear();
        }
    }
    for fault in &arguments.faults {
        shell.complain(&format!("printf: {fault}"))?;
    }
    match variable {
        Some(name) => {
            shell.assign(&name, out)?;
        }
        None => shell.out(&out)?,
    }
    Ok(i32::from(!arguments.faults.is_empty()))
}

/// Goes through the format once; true if `\c` ended the output.
fn once(format: &[u8], arguments: &mut Arguments<'_>, out: &mut Vec<u8>) -> bool {
    let mut at = 0;
    while let Some(&byte) = format.get(at) {
        at += 1;
        match byte {
            b'\\' => match format.get(at) {
                Some(b'c') => return true,
                Some(mark @ (b'"' | b'\'')) => {
                    out.push(*mark);
                    at += 1;
                }
                _ => match escape(&format[at..], false) {
                    Some((bytes, read)) => {
                        out.extend(bytes);
                        at += read;
                    }
                    None => out.push(b'\\'),
                },
            },
            b'%' if format.get(at) == Some(&b'%') => {
                out.push(b'%');
                at += 1;
            }
            b'%' => {
                let Some((made, read)) = directive(&format[at..], &mut || arguments.integer()) else {
                    arguments.faults.push("`%': missing format character".to_owned());
                    return true;
                };
                at += read;
                match made.conversion {
                    b'd' | b'i' => out.extend(made.signed(arguments.integer())),
                    b'u' | b'o' | b'x' | b'X' => out.extend(made.unsigned(arguments.integer() as u64)),
                    b'e' | b'E' | b'f' | b'F' | b'g' | b'G' => out.extend(made.float(arguments.float())),
                    b'c' => {
                        out.extend(made.text(arguments.rest.next().and_then(|text| text.get(..1)).unwrap_or_default()))
                    }
                    b's' => out.extend(made.text(arguments.rest.next().map_or(&[], Vec::as_slice))),
                    b'b' => {
                        let (text, ended) = unescape(arguments.rest.next().map_or(&[], Vec::as_slice));
                        out.extend(made.text(&text));
                        if ended {
                            return true;
                        }
                    }
                    b'q' => out.extend(made.text(&quoted(arguments.rest.next().map_or(&[], Vec::as_slice)))),
                    other => {
                        arguments.faults.push(format!("`{}': invalid format character", char::from(other)));
                        return true;
                    }
                }
            }
            _ => out.push(byte),
        }
    }
    false
}

fn quoted(text: &[u8]) -> Vec<u8> {
    if text.is_empty() {
        return b"''".to_vec();
    }
    let mut out = Vec::new();
    for byte in text {
        if !(byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(byte)) {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out
}
