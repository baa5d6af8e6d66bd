//! Values that are known before anything runs, and plain values that pass between compiled code and the runtime.

use std::sync::Arc;

use super::key::Hasher;
use crate::ir::text_id;

/// A plain value.
#[derive(Clone, Debug, PartialEq)]
pub enum Const {
    /// An optional argument that was left out.
    Nothing,
    /// `int`.
    Int(i64),
    /// `real`.
    Real(f64),
    /// `bool`.
    Bool(bool),
    /// `text`.
    Text(Arc<str>),
    /// `duration` (seconds), `bytes`, `money` (US dollars).
    Quantity(f64),
    /// The case of an enumeration: its index and its word.
    Case(u32, Arc<str>),
    /// A range.
    Range(RangeConst),
    /// An array or a list.
    List(Arc<[Const]>),
    /// A tuple.
    Tuple(Arc<[Const]>),
    /// A record or a genome's genes, fields in layout order.
    Record(Arc<[(Arc<str>, Const)]>),
    /// The search space that a genome declares.
    Space(Arc<Space>),
}

/// `lo..hi`, of whole or real numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeConst {
    /// First.
    pub lo: f64,
    /// Last, or one past it for a half-open range of whole numbers.
    pub hi: f64,
    /// `..=`.
    pub inclusive: bool,
    /// Whether it ranges over `int`.
    pub whole: bool,
}

impl RangeConst {
    /// The whole numbers `first..end` it covers.
    pub fn whole_bounds(&self) -> (i64, i64) {
        let end = self.hi as i64;
        (self.lo as i64, if self.inclusive { end.saturating_add(1) } else { end })
    }
}

/// A genome's search space with its lengths and ranges evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    /// The genome's name.
    pub name: Arc<str>,
    /// Its fields, in layout order.
    pub fields: Vec<SpaceField>,
}

/// One field of a search space: `shape` genes of one domain.
#[derive(Clone, Debug, PartialEq)]
pub struct SpaceField {
    /// The field's name.
    pub name: Arc<str>,
    /// Lengths from the outside in; empty for a single gene.
    pub shape: Vec<usize>,
    /// What each gene may be.
    pub domain: GeneDomain,
}

impl SpaceField {
    /// How many genes it holds.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What a gene may be.
#[derive(Clone, Debug, PartialEq)]
pub enum GeneDomain {
    /// A real in `[lo, hi]`; on a logarithmic scale if `log`.
    Real {
        /// Least.
        lo: f64,
        /// Greatest.
        hi: f64,
        /// Logarithmic.
        log: bool,
    },
    /// A whole number in `lo..=hi`; on a logarithmic scale if `log`.
    Int {
        /// Least.
        lo: i64,
        /// Greatest.
        hi: i64,
        /// Logarithmic.
        log: bool,
    },
    /// True or false.
    Bool,
    /// One of these words.
    OneOf(Vec<Arc<str>>),
    /// The field as a whole is an order of `0..count`.
    Permutation,
}

impl Const {
    /// As a real, from `int`, `real` or a quantity.
    pub fn as_real(&self) -> Option<f64> {
        match self {
            Const::Int(i) => Some(*i as f64),
            Const::Real(r) | Const::Quantity(r) => Some(*r),
            _ => None,
        }
    }

    /// As a whole number.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Const::Int(i) => Some(*i),
            _ => None,
        }
    }

    /// As text; a case gives its word.
    pub fn as_text(&self) -> Option<&Arc<str>> {
        match self {
            Const::Text(text) | Const::Case(_, text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list or tuple.
    pub fn items(&self) -> Option<&[Const]> {
        match self {
            Const::List(items) | Const::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// A record's field.
    pub fn field(&self, name: &str) -> Option<&Const> {
        match self {
            Const::Record(fields) => fields.iter().find(|(n, _)| &**n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Whether it holds more than `limit` values.
    pub(crate) fn is_larger_than(&self, limit: usize) -> bool {
        let mut seen = 0;
        let mut stack = vec![self];
        while let Some(value) = stack.pop() {
            seen += 1;
            if seen > limit {
                return true;
            }
            match value {
                Const::List(items) | Const::Tuple(items) => stack.extend(items.iter()),
                Const::Record(fields) => stack.extend(fields.iter().map(|(_, value)| value)),
                _ => {}
            }
        }
        false
    }

    /// The flat layout: one 8-byte slot for each scalar, in declared order, text by its [`text_id`]. `None` where the
    /// value has parts that no compiled code reads.
    pub fn flatten(&self, out: &mut Vec<u64>) -> Option<()> {
        match self {
            Const::Int(i) => out.push(*i as u64),
            Const::Real(r) | Const::Quantity(r) => out.push(r.to_bits()),
            Const::Bool(b) => out.push(u64::from(*b)),
            Const::Case(i, _) => out.push(u64::from(*i)),
            Const::List(items) | Const::Tuple(items) => items.iter().try_for_each(|item| item.flatten(out))?,
            Const::Record(fields) => fields.iter().try_for_each(|(_, item)| item.flatten(out))?,
            Const::Text(text) => out.push(text_id(text)),
            Const::Nothing | Const::Range(_) | Const::Space(_) => return None,
        }
        Some(())
    }

    /// Feeds the value to a key, tagged so that no two unlike values agree.
    pub(crate) fn hash<'h>(&self, h: &'h mut Hasher) -> &'h mut Hasher {
        match self {
            Const::Nothing => h.tag(0),
            Const::Int(i) => h.tag(1).number(*i as u64),
            Const::Real(r) => h.tag(2).number(r.to_bits()),
            Const::Bool(b) => h.tag(3).number(u64::from(*b)),
            Const::Text(text) => h.tag(4).text(text),
            Const::Quantity(q) => h.tag(5).number(q.to_bits()),
            Const::Case(_, word) => h.tag(6).text(word),
            Const::Range(r) => h
                .tag(7)
                .number(r.lo.to_bits())
                .number(r.hi.to_bits())
                .number(u64::from(r.inclusive) | u64::from(r.whole) << 1),
            Const::List(items) => hash_items(h, 8, items),
            Const::Tuple(items) => hash_items(h, 9, items),
            Const::Record(fields) => {
                h.tag(10).number(fields.len() as u64);
                for (name, value) in fields.iter() {
                    h.text(name);
                    value.hash(h);
                }
                h
            }
            Const::Space(space) => hash_space(h, space),
        }
    }
}

fn hash_items<'h>(h: &'h mut Hasher, tag: u8, items: &[Const]) -> &'h mut Hasher {
    h.tag(tag).number(items.len() as u64);
    for item in items {
        item.hash(h);
    }
    h
}

fn hash_space<'h>(h: &'h mut Hasher, space: &Space) -> &'h mut Hasher {
    h.tag(11).text(&space.name).number(space.fields.len() as u64);
    for field in &space.fields {
        h.text(&field.name).number(field.shape.len() as u64);
        for len in &field.shape {
            h.number(*len as u64);
        }
        match &field.domain {
            GeneDomain::Real { lo, hi, log } => {
                h.tag(0).number(lo.to_bits()).number(hi.to_bits()).number(u64::from(*log));
            }
            GeneDomain::Int { lo, hi, log } => {
                h.tag(1).number(*lo as u64).number(*hi as u64).number(u64::from(*log));
            }
            GeneDomain::Bool => {
                h.tag(2);
            }
            GeneDomain::OneOf(words) => {
                h.tag(3).number(words.len() as u64);
                for word in words {
                    h.text(word);
                }
            }
            GeneDomain::Permutation => {
                h.tag(4);
            }
        }
    }
    h
}
