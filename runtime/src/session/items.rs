//! The items of a session, and the texts that are made of them.

use std::collections::BTreeSet;

use evo_lang::ide::{self, Sort};

/// An item that was entered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) sort: Sort,
    /// What it declares.
    pub(super) name: Option<String>,
    /// Its text with documentation and comments.
    pub(super) text: String,
    /// What stands before it: comments of their own, empty lines.
    before: String,
    /// Where its text begins in the entry, as long as it is being entered.
    at: Option<usize>,
    /// Bytes of the text that the user did not write.
    hidden: usize,
    mentions: Vec<String>,
}

impl Item {
    /// The request that an expression stands for.
    pub(super) fn showing(expression: &str) -> Item {
        let text = format!("{SHOW}{expression}");
        let mentions = ide::outline(&text).into_iter().flat_map(|o| o.mentions).collect();
        let (before, hidden) = (String::new(), SHOW.len());
        Item { sort: Sort::Request, name: None, text, before, at: Some(0), hidden, mentions }
    }

    /// The item as part of the session.
    pub(super) fn settled(self) -> Item {
        Item { at: None, ..self }
    }

    /// Two requests with the same key ask for the same, or save to one place.
    fn key(&self) -> String {
        let line = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.strip_prefix("save ").and_then(|rest| rest.rsplit_once(" to ")) {
            Some((_, path)) => format!("save to {path}"),
            None => line,
        }
    }
}

const SHOW: &str = "print ";

/// The items of a text.
pub(super) fn of(text: &str) -> Vec<Item> {
    let mut from = 0;
    let mut items = Vec::new();
    for o in ide::outline(text) {
        let before = text.get(from..o.range.start).unwrap_or("").trim_start_matches(['\n', ' ', '\t']).to_owned();
        let gap = text.get(from..o.range.start).unwrap_or("");
        let blank = if gap.matches('\n').count() > 1 { "\n" } else { "" };
        let before = if from == 0 { before } else { format!("{blank}{before}") };
        from = o.range.end;
        let text = text.get(o.range.clone()).unwrap_or("").to_owned();
        let (at, mentions) = (Some(o.range.start), o.mentions);
        items.push(Item { sort: o.sort, name: o.name, text, before, at, hidden: 0, mentions });
    }
    items
}

/// The items with new ones: in the place of those of the same name, else at the end; and which names were replaced.
pub(super) fn with(old: &[Item], new: &[Item]) -> (Vec<Item>, BTreeSet<String>) {
    let mut next = old.to_vec();
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    let mut replaced = BTreeSet::new();
    for item in new {
        let same = |known: &Item| match (&known.name, &item.name) {
            (Some(a), Some(b)) => a == b,
            (None, None) => known.sort == Sort::Request && known.key() == item.key(),
            _ => false,
        };
        let place = next.iter().take(old.len()).enumerate().position(|(i, known)| !taken.contains(&i) && same(known));
        match place.and_then(|i| next.get_mut(i).map(|slot| (i, slot))) {
            Some((i, slot)) => {
                let before = std::mem::take(&mut slot.before);
                *slot = Item { before, ..item.clone() };
                taken.insert(i);
                replaced.extend(item.name.clone());
            }
            None => next.push(item.clone()),
        }
    }
    (next, replaced)
}

/// The declarations that some requests need, in the session's order: what they mention, what that mentions, and so on. The
/// seed, which is read without being named, and uses, whose order has a part in identities, always belong to it.
pub(super) fn needed(items: &[Item], asked: &[Item]) -> Vec<Item> {
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = asked.iter().flat_map(|item| item.mentions.iter().map(String::as_str)).collect();
    let always = |item: &Item| item.sort == Sort::Use || item.name.as_deref() == Some("seed");
    open.extend(items.iter().filter(|i| always(i)).flat_map(|i| i.mentions.iter().map(String::as_str)));
    while let Some(name) = open.pop() {
        if wanted.insert(name) {
            let declared = items.iter().filter(|item| item.name.as_deref() == Some(name));
            open.extend(declared.flat_map(|item| item.mentions.iter().map(String::as_str)));
        }
    }
    let is_wanted = |item: &&Item| always(item) || item.name.as_deref().is_some_and(|name| wanted.contains(name));
    items.iter().filter(|item| item.sort != Sort::Request).filter(is_wanted).cloned().collect()
}

/// A program's text, and where what was entered stands in it.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) text: String,
    /// First byte in the text, length, first byte in the entry.
    pieces: Vec<(usize, usize, usize)>,
}

impl Assembled {
    /// The text of all items.
    pub(super) fn of(items: &[Item]) -> Assembled {
        let (mut text, mut pieces) = (String::new(), Vec::new());
        for item in items {
            // The documentation of a program that is loaded into a session with items is a comment there.
            text += &if text.is_empty() { item.before.clone() } else { item.before.replace("//!", "//") };
            if let Some(at) = item.at {
                pieces.push((text.len() + item.hidden, item.text.len() - item.hidden, at));
            }
            text += &item.text;
            text.push('\n');
        }
        Assembled { text, pieces }
    }

    /// The byte of the entry that a byte of the text is.
    pub(super) fn in_entry(&self, at: usize) -> Option<usize> {
        let holds = |(start, len, _): &&(usize, usize, usize)| (*start..=start + len).contains(&at);
        self.pieces.iter().find(holds).map(|(start, _, entry)| entry + at - start)
    }
}
