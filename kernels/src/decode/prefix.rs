//! What many texts have in common: a prefix tree whose edges are computed once each, and its way through the decoder.

use std::ops::Range;

use super::decoder::Stretch;
use super::generate::{HEAD, POSITIONS, answer_positions};
use super::{Cache, Config, DecodeError, Decoder, Entry};
use crate::matmul::matrix::PANEL;

/// Texts that are run in one pass; bounds the memory of the pages that they write to.
const OPEN: usize = 64;
/// Tokens of one pass; bounds the memory of activations, and is enough to keep the matrix product busy.
const PASS: usize = 512;
/// Tokens that a common beginning must save to be worth a pass of its own.
const WORTH_SHARING: usize = 8;

/// Positions of the pages that one pass writes to: each text of it may copy a page that it shares, and begin one that it does not fill.
const WRITTEN: usize = PASS + 2 * OPEN * (PANEL - 1);

impl Config {
    /// Bytes that the passes over texts of at most `longest` tokens take besides the weights, the texts being answered too if
    /// `answers`: activations, the logits of some rows, keys and values.
    ///
    /// Keys and values are those of the longest text, of the texts of one pass, and of the texts of one pass on which others of a
    /// later pass go on, as choices go on from questions; each further place at which texts that begin alike part may add those of
    /// one pass more. Answers that are open at one time are so many as have room in 32,768 positions; equal prompts, which are
    /// answered at once, may take more.
    pub fn pass_bytes(&self, longest: usize, answers: bool) -> usize {
        let kv = self.num_kv_heads * self.head_dim;
        let row = 4 * self.hidden_size + 2 * (self.num_heads * self.head_dim + kv) + 2 * self.intermediate_size;
        let values = self.num_kv_heads * self.head_dim.next_multiple_of(PANEL);
        let position = self.num_layers() * (kv + values);
        let open = if answers { POSITIONS.max(answer_positions(longest)) } else { 0 };
        let positions = longest + 2 * WRITTEN + open;
        let floats = PASS * row + HEAD * self.vocab_size + positions * position;
        floats * size_of::<f32>()
    }
}

/// A stretch of tokens that some texts have in common, after what a cache has seen.
pub(super) struct Edge {
    /// The texts, as places in the sorted order.
    texts: Range<usize>,
    /// Up to which token of these texts it goes.
    to: usize,
    cache: Cache,
}

/// The end of a text in the tree.
pub(super) struct End {
    /// The text, as it was numbered by the caller.
    pub(super) text: usize,
    /// What it has seen: all its tokens.
    pub(super) cache: Cache,
}

/// A row of the residual stream, and the texts to which it belongs.
pub(super) struct Row {
    /// The texts, as they were numbered by the caller.
    pub(super) texts: Vec<usize>,
    /// The token after which it stands, from 0.
    pub(super) position: usize,
}

/// Many texts, and what of them is still to be run.
pub(super) struct Prefixes<'a> {
    /// The texts in the order of their tokens, with their numbers.
    sorted: Vec<(&'a [u32], usize)>,
    /// From which token on the rows of a text are wanted, by its number.
    wanted: Vec<usize>,
    /// What can be run, the next one last. Depth first, so that few caches are alive at a time.
    ready: Vec<Edge>,
}

/// What a pass made.
#[derive(Default)]
pub(super) struct Done {
    /// The wanted rows, one for each of `rows`.
    pub(super) hidden: Vec<f32>,
    pub(super) rows: Vec<Row>,
    pub(super) ends: Vec<End>,
}

/// The edges of one pass, each with the tokens of it that are run.
pub(super) struct Pass {
    edges: Vec<(Edge, Range<usize>)>,
}

impl<'a> Prefixes<'a> {
    /// The tree of texts that come after what `cache` has seen, of which rows are wanted from some token on. No text is empty.
    pub(super) fn new(texts: &[&'a [u32]], wanted: Vec<usize>, cache: &Cache) -> Self {
        let mut sorted: Vec<(&[u32], usize)> = texts.iter().enumerate().map(|(i, &text)| (text, i)).collect();
        sorted.sort();
        let mut tree = Self { sorted, wanted, ready: Vec::new() };
        tree.open(0..texts.len(), 0, cache);
        tree
    }

    /// Whether all was run.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Makes edges of some texts that have their first `depth` tokens in common and are longer.
    fn open(&mut self, texts: Range<usize>, depth: usize, cache: &Cache) {
        let mut edges = Vec::new();
        let mut from = texts.start;
        while from < texts.end {
            let same = |n: &usize| self.sorted[*n].0.get(depth) == self.sorted[from].0.get(depth);
            let group = from..(from..texts.end).take_while(same).last().map_or(from + 1, |last| last + 1);
            from = group.end;
            let common = common(self.sorted[group.start].0, self.sorted[group.end - 1].0);
            if (common - depth) * (group.len() - 1) >= WORTH_SHARING {
                edges.push((group, common));
            } else {
                edges.extend(self.equals(group));
            }
        }
        // The last edge is run first.
        for (texts, to) in edges.into_iter().rev() {
            self.ready.push(Edge { texts, to, cache: cache.clone() });
        }
    }

    /// Some texts, cut into runs of equal ones.
    fn equals(&self, texts: Range<usize>) -> Vec<(Range<usize>, usize)> {
        let mut runs: Vec<(Range<usize>, usize)> = Vec::new();
        for i in texts {
            let text = self.sorted[i].0;
            match runs.last_mut() {
                Some((run, _)) if self.sorted[run.start].0 == text => run.end += 1,
                _ => runs.push((i..i + 1, text.len())),
            }
        }
        runs
    }

    /// Takes out what one pass can run beside `others` sequences of one token each, so that at most `ends` texts come to
    /// their ends; at least one edge if there are no others.
    pub(super) fn take(&mut self, others: usize, mut ends: usize) -> Pass {
        let mut pass = Pass { edges: Vec::new() };
        let mut tokens = others;
        while let Some(edge) = self.ready.last() {
            let rest = edge.cache.len()..edge.to;
            let ending = self.longer(edge) - edge.texts.start;
            let first = pass.edges.is_empty();
            let fits = first || tokens + rest.len() <= PASS && pass.edges.len() + others < OPEN;
            if !fits || ending > ends && !(first && others == 0) {
                break;
            }
            let now = rest.start..rest.end.min(rest.start + PASS.saturating_sub(tokens).max(1));
            tokens += now.len();
            ends = ends.saturating_sub(ending);
            pass.edges.extend(self.ready.pop().map(|edge| (edge, now)));
        }
        pass
    }

    /// The entries of a pass, in the order of its edges.
    pub(super) fn entries<'p>(&'p self, pass: &'p mut Pass) -> Vec<Entry<'p>> {
        let entries = pass.edges.iter_mut().map(|(edge, now)| {
            let from = edge.texts.clone().map(|i| self.wanted[self.sorted[i].1]).min().unwrap_or(now.end);
            let wanted = now.end - from.clamp(now.start, now.end);
            Entry { tokens: &self.sorted[edge.texts.start].0[now.clone()], cache: &mut edge.cache, wanted }
        });
        entries.collect()
    }

    /// Takes note of a pass that was run, with the wanted rows that it gave.
    pub(super) fn finish(&mut self, pass: Pass, hidden: Vec<f32>) -> Done {
        let mut done = Done { hidden, ..Done::default() };
        for (edge, now) in pass.edges {
            let numbers: Vec<usize> = edge.texts.clone().map(|i| self.sorted[i].1).collect();
            let from = numbers.iter().map(|&n| self.wanted[n]).min().unwrap_or(now.end);
            for position in from.clamp(now.start, now.end)..now.end {
                let texts = numbers.iter().copied().filter(|&n| self.wanted[n] <= position).collect();
                done.rows.push(Row { texts, position });
            }
            if now.end < edge.to {
                self.ready.push(edge);
                continue;
            }
            let longer = self.longer(&edge);
            let ended = self.sorted[edge.texts.start..longer].iter();
            done.ends.extend(ended.map(|&(_, text)| End { text, cache: edge.cache.clone() }));
            self.open(longer..edge.texts.end, edge.to, &edge.cache);
        }
        done
    }

    /// The first text of an edge that goes on after it.
    fn longer(&self, edge: &Edge) -> usize {
        edge.texts.clone().find(|&i| self.sorted[i].0.len() > edge.to).unwrap_or(edge.texts.end)
    }

    /// Runs one pass of the tree alone.
    pub(super) fn step(
        &mut self,
        decoder: &Decoder,
        stretch: Stretch<'_>,
        threads: usize,
    ) -> Result<Done, DecodeError> {
        let mut pass = self.take(0, usize::MAX);
        let hidden = decoder.through(&mut self.entries(&mut pass), stretch, threads)?;
        Ok(self.finish(pass, hidden))
    }

    /// How many rows all passes have together.
    pub(super) fn rows(mut self) -> usize {
        let mut rows = 0;
        while !self.is_empty() {
            let mut pass = self.take(0, usize::MAX);
            for entry in self.entries(&mut pass) {
                entry.cache.advance(entry.tokens.len());
                rows += entry.tokens.len();
            }
            self.finish(pass, Vec::new());
        }
        rows
    }
}

/// How many tokens two texts begin with alike.
pub(super) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    //! What a tree takes at a time.

    use std::collections::BTreeSet;

    use super::super::tests::{config, tokens};
    use super::*;

    /// The most positions of pages that are there at once.
    fn most(texts: &[Vec<u32>]) -> usize {
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let cache = Cache::new(&Config { layers: config().layers[..1].to_vec(), ..config() });
        let mut tree = Prefixes::new(&texts, vec![usize::MAX; texts.len()], &cache);
        let mut most = 0;
        while !tree.is_empty() {
            let mut pass = tree.take(0, usize::MAX);
            for entry in tree.entries(&mut pass) {
                entry.cache.prepare(entry.tokens.len());
                entry.cache.advance(entry.tokens.len());
            }
            let caches = tree.ready.iter().chain(pass.edges.iter().map(|(edge, _)| edge)).map(|edge| &edge.cache);
            most = most.max(caches.flat_map(Cache::page_ids).collect::<BTreeSet<_>>().len() * PANEL);
            tree.finish(pass, Vec::new());
        }
        most
    }

    #[test]
    fn texts_take_no_more_pages_than_the_plan_says() {
        let shots = |i: u64| [tokens(1, 700), tokens(100 + i, 9 + i as usize * 7 % 60)].concat();
        let choices = |i: u64| [shots(i / 4), tokens(900 + i, 1 + i as usize % 12)].concat();
        let alone = |i: u64| tokens(2000 + i, 1 + i as usize * 31 % 500);
        let short = |i: u64| [tokens(1, 40), tokens(3000 + i / 2, 8), tokens(4000 + i, 9)].concat();
        let all = |text: &dyn Fn(u64) -> Vec<u32>| (0..500).map(text).collect::<Vec<_>>();
        for texts in [all(&shots), all(&choices), all(&alone), all(&short)] {
            let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
            let (most, bound) = (most(&texts), longest + 2 * WRITTEN);
            assert!(most <= bound, "{most} of {bound} for texts of {longest}");
        }
        let bytes = |longest, answers| config().pass_bytes(longest, answers);
        let position = 3 * 2 * (6 + 32) * size_of::<f32>();
        assert_eq!(bytes(300, false) - bytes(200, false), 100 * position);
        assert_eq!(bytes(300, true) - bytes(300, false), POSITIONS * position);
        assert!(bytes(POSITIONS, true) - bytes(POSITIONS, false) > POSITIONS * position);
    }
}
