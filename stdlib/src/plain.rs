//! Plain values as bytes, exactly: every bit of a real is kept, NaN's too.

use std::sync::Arc;

use evo_lang::plan::{Const, RangeConst};

/// The bytes of a plain value; `None` for a search space, which is never a result.
pub fn encode(value: &Const) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Some(out)
}

/// The value of bytes that [`encode`] wrote; `None` for any others.
pub fn decode(bytes: &[u8]) -> Option<Const> {
    let mut reader = Reader { rest: bytes };
    let value = reader.value(0)?;
    reader.rest.is_empty().then_some(value)
}

fn write(value: &Const, out: &mut Vec<u8>) -> Option<()> {
    match value {
        Const::Nothing => out.push(0),
        Const::Int(i) => number(out, 1, *i as u64),
        Const::Real(r) => number(out, 2, r.to_bits()),
        Const::Bool(b) => out.extend([3, u8::from(*b)]),
        Const::Text(text) => {
            out.push(4);
            write_text(text, out);
        }
        Const::Quantity(q) => number(out, 5, q.to_bits()),
        Const::Case(i, word) => {
            number(out, 6, u64::from(*i));
            write_text(word, out);
        }
        Const::Range(r) => {
            number(out, 7, r.lo.to_bits());
            out.extend(r.hi.to_bits().to_le_bytes());
            out.extend([u8::from(r.inclusive), u8::from(r.whole)]);
        }
        Const::List(items) => write_items(8, items, out)?,
        Const::Tuple(items) => write_items(9, items, out)?,
        Const::Record(fields) => {
            number(out, 10, fields.len() as u64);
            for (name, item) in fields.iter() {
                write_text(name, out);
                write(item, out)?;
            }
        }
        Const::Space(_) => return None,
    }
    Some(())
}

fn number(out: &mut Vec<u8>, tag: u8, n: u64) {
    out.push(tag);
    out.extend(n.to_le_bytes());
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn write_items(tag: u8, items: &[Const], out: &mut Vec<u8>) -> Option<()> {
    number(out, tag, items.len() as u64);
    items.iter().try_for_each(|item| write(item, out))
}

struct Reader<'b> {
    rest: &'b [u8],
}

/// Deeper nesting than any program can write.
const DEEPEST: usize = 300;

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let (first, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*first))
    }

    fn real(&mut self) -> Option<f64> {
        self.number().map(f64::from_bits)
    }

    fn text(&mut self) -> Option<Arc<str>> {
        let len = usize::try_from(self.number()?).ok()?;
        let (first, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(std::str::from_utf8(first).ok()?.into())
    }

    /// Every item takes a byte at least, so that a lying count cannot allocate more than there is.
    fn items(&mut self, depth: usize) -> Option<Arc<[Const]>> {
        let len = usize::try_from(self.number()?).ok().filter(|n| *n <= self.rest.len())?;
        (0..len).map(|_| self.value(depth + 1)).collect()
    }

    fn value(&mut self, depth: usize) -> Option<Const> {
        if depth > DEEPEST {
            return None;
        }
        Some(match self.byte()? {
            0 => Const::Nothing,
            1 => Const::Int(self.number()? as i64),
            2 => Const::Real(self.real()?),
            3 => Const::Bool(self.byte()? != 0),
            4 => Const::Text(self.text()?),
            5 => Const::Quantity(self.real()?),
            6 => Const::Case(u32::try_from(self.number()?).ok()?, self.text()?),
            7 => Const::Range(RangeConst {
                lo: self.real()?,
                hi: self.real()?,
                inclusive: self.byte()? != 0,
                whole: self.byte()? != 0,
            }),
            8 => Const::List(self.items(depth)?),
            9 => Const::Tuple(self.items(depth)?),
            10 => {
                let len = usize::try_from(self.number()?).ok().filter(|n| *n <= self.rest.len())?;
                Const::Record((0..len).map(|_| Some((self.text()?, self.value(depth + 1)?))).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Const> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Const::Int),
            any::<f64>().prop_filter("NaN is not equal to itself", |x| !x.is_nan()).prop_map(Const::Real),
            any::<bool>().prop_map(Const::Bool),
            ".*".prop_map(|s: String| Const::Text(s.into())),
            Just(Const::Nothing),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(|v| Const::List(v.into())),
                prop::collection::vec(("[a-z]+", inner), 0..5)
                    .prop_map(|v| Const::Record(v.into_iter().map(|(n, v)| (n.into(), v)).collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn decoding_gives_back_what_was_encoded(v in value()) {
            prop_assert_eq!(decode(&encode(&v).unwrap()), Some(v));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
