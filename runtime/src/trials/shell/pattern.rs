//! Shell patterns: `*`, `?`, `[…]`.

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Byte(u8),
    Any,
    Star,
    Set { negated: bool, ranges: Vec<(u8, u8)> },
}

/// A compiled pattern. Matching takes at most (pattern × text) steps.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pieces: Vec<Piece>,
}

/// The bytes that `[:name:]` stands for.
pub(crate) fn class(name: &[u8]) -> Option<Vec<(u8, u8)>> {
    let ranges: &[(u8, u8)] = match name {
        b"alpha" => &[(b'A', b'Z'), (b'a', b'z')],
        b"digit" => &[(b'0', b'9')],
        b"alnum" => &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')],
        b"upper" => &[(b'A', b'Z')],
        b"lower" => &[(b'a', b'z')],
        b"space" => &[(9, 13), (b' ', b' ')],
        b"blank" => &[(9, 9), (b' ', b' ')],
        b"punct" => &[(33, 47), (58, 64), (91, 96), (123, 126)],
        b"print" => &[(32, 126)],
        b"graph" => &[(33, 126)],
        b"cntrl" => &[(0, 31), (127, 127)],
        b"xdigit" => &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')],
        _ => return None,
    };
    Some(ranges.to_vec())
}

impl Pattern {
    /// `text` with, for each byte, whether it may be special.
    pub(crate) fn new(text: &[u8], active: &[bool]) -> Self {
        let live = |at: usize| active.get(at).copied().unwrap_or(true);
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            at += 1;
            pieces.push(match byte {
                b'*' if live(at - 1) => {
                    if pieces.last() == Some(&Piece::Star) {
                        continue;
                    }
                    Piece::Star
                }
                b'?' if live(at - 1) => Piece::Any,
                b'[' if live(at - 1) => match set(text, at, &live) {
                    Some((set, behind)) => {
                        at = behind;
                        set
                    }
                    None => Piece::Byte(b'['),
                },
                b'\\' if live(at - 1) && at < text.len() => {
                    at += 1;
                    Piece::Byte(text[at - 1])
                }
                _ => Piece::Byte(byte),
            });
        }
        Pattern { pieces }
    }

    /// A pattern all of whose bytes may be special, as tools read it (`find -name`).
    pub(crate) fn plain(text: &[u8]) -> Self {
        Self::new(text, &[])
    }

    /// How many bytes every match has, if the pattern says.
    pub(crate) fn fixed_length(&self) -> Option<usize> {
        (!self.pieces.contains(&Piece::Star)).then_some(self.pieces.len())
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        self.matches_folding(text, false)
    }

    pub(crate) fn matches_folding(&self, text: &[u8], fold: bool) -> bool {
        let one = |piece: &Piece, byte: u8| match piece {
            Piece::Byte(own) => *own == byte || fold && own.eq_ignore_ascii_case(&byte),
            Piece::Any => true,
            Piece::Star => false,
            Piece::Set { negated, ranges } => {
                let inside = |byte: u8| ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte));
                let found =
                    inside(byte) || fold && (inside(byte.to_ascii_lowercase()) || inside(byte.to_ascii_uppercase()));
                found != *negated
            }
        };
        let (mut piece, mut at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.pieces.get(piece) {
                Some(Piece::Star) => {
                    retry = Some((piece + 1, at));
                    piece += 1;
                }
                Some(other) if one(other, text[at]) => {
                    piece += 1;
                    at += 1;
                }
                _ => {
                    let Some((from, tried)) = retry else { return false };
                    piece = from;
                    at = tried + 1;
                    retry = Some((from, at));
                }
            }
        }
        self.pieces[piece..].iter().all(|piece| *piece == Piece::Star)
    }
}

/// Has the text a byte that makes it a pattern?
pub(crate) fn is_pattern(text: &[u8], active: &[bool]) -> bool {
    text.iter().zip(active).any(|(byte, live)| *live && b"*?[".contains(byte))
}

fn set(text: &[u8], start: usize, live: &dyn Fn(usize) -> bool) -> Option<(Piece, usize)> {
    let mut at = start;
    let negated = matches!(text.get(at), Some(b'!' | b'^')) && live(at);
    if negated {
        at += 1;
    }
    let mut ranges = Vec::new();
    let first = at;
    loop {
        let byte = *text.get(at)?;
        if byte == b']' && at > first && live(at) {
            return Some((Piece::Set { negated, ranges }, at + 1));
        }
        if byte == b'['
            && text.get(at + 1) == Some(&b':')
            && let Some(length) = text[at + 2..].windows(2).position(|pair| pair == b":]")
            && let Some(known) = class(&text[at + 2..at + 2 + length])
        {
            ranges.extend(known);
            at += length + 4;
            continue;
        }
        if byte == b'/' {
            return None;
        }
        let low = if byte == b'\\' && live(at) && at + 1 < text.len() {
            at += 1;
            text[at]
        } else {
            byte
        };
        if text.get(at + 1) == Some(&b'-') && text.get(at + 2).is_some_and(|byte| *byte != b']') {
            ranges.push((low, text[at + 2]));
            at += 3;
        } else {
            ranges.push((low, low));
            at += 1;
        }
    }
}
