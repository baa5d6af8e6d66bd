//! Sequences that come and go, decoded together: continuous batching (Yu et al., 2022, "Orca: A distributed serving system for
//! transformer-based generative models"), with prompts in pieces between the tokens of answers.
//!
//! None of this changes a bit of an answer, since a row of [`Decoder::hidden`] depends on its own sequence alone: the same request
//! has the same answer alone and among others, whatever was asked before.

use std::collections::VecDeque;

use super::generate::{HEAD, POSITIONS, answer_positions};
use super::prefix::common;
use super::{Cache, Choose, DecodeError, Decoder, Entry};
use crate::matmul::lines::Scratch;
use crate::matmul::parallel;

/// Sequences that are decoded at one time.
const OPEN: usize = 64;
/// Tokens of prompts in one pass beside answers that wait for their next token, and where none does.
const PIECE: (usize, usize) = (128, 512);
/// Beginnings of earlier prompts that are kept, and the positions that they may take together.
const KEPT: (usize, usize) = (16, 8192);
/// Tokens that prompts must have in common for one to wait for the other, or go on from it.
const WORTH_SHARING: usize = 32;

/// Chooses the tokens of one sequence among others that come and go.
pub trait Serve: Choose + Sync {
    /// What it keeps of the logits after one token of the prompt.
    type Row: Send;

    /// Whether it reads what the model makes of the prompt.
    fn reads_prompt(&self) -> bool {
        false
    }

    /// What is to be kept of the logits after the prompt's token `position`, counted from 0, of all tokens but the last.
    fn digest(&self, position: usize, logits: &[f32]) -> Self::Row;

    /// Takes what was kept of some tokens, in their order.
    fn read(&mut self, rows: Vec<Self::Row>) {
        drop(rows);
    }

    /// Whether anybody waits for it still.
    fn is_wanted(&self) -> bool {
        true
    }
}

/// Where a sequence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Some of its prompt is still to be run.
    Prompt,
    /// This token is to be run next.
    Answer([u32; 1]),
    Ended,
}

/// A sequence on its way.
struct Sequence<C> {
    prompt: Vec<u32>,
    most: usize,
    chooser: C,
    cache: Cache,
    stage: Stage,
    chosen: usize,
}

impl<C: Serve> Sequence<C> {
    /// Tokens of the prompt that are still to be run.
    fn rest(&self) -> usize {
        if self.stage == Stage::Prompt { self.prompt.len() - self.cache.len() } else { 0 }
    }

    /// Of the next `piece` tokens of the prompt, how many have rows that are wanted.
    fn wanted(&self, piece: usize) -> usize {
        if self.chooser.reads_prompt() { piece } else { usize::from(piece == self.rest()) }
    }

    fn positions(&self) -> usize {
        answer_positions(self.prompt.len() + self.most)
    }

    /// Chooses a token after its latest one.
    fn choose(&mut self, logits: &mut [f32]) {
        let chosen = self.chooser.choose(logits);
        self.chosen += usize::from(chosen.is_some());
        self.stage = match chosen {
            Some(id) if self.chosen < self.most => Stage::Answer([id]),
            _ => Stage::Ended,
        };
    }
}

/// A decoder that serves sequences as they come.
pub struct Continuous<C> {
    decoder: Decoder,
    of_answers: Option<Decoder>,
    threads: usize,
    waiting: VecDeque<Sequence<C>>,
    open: Vec<Sequence<C>>,
    /// Beginnings of earlier prompts, the latest last.
    kept: VecDeque<(Vec<u32>, Cache)>,
}

/// What one step did.
pub struct Stepped<C> {
    /// The choosers of the sequences that have ended.
    pub ended: Vec<C>,
    /// Tokens of prompts that were run.
    pub prompt_tokens: usize,
    /// Tokens of prompts that others' work has spared.
    pub spared_tokens: usize,
    /// Tokens that were chosen.
    pub chosen_tokens: usize,
}

impl<C: Serve> Continuous<C> {
    /// Serves with this decoder.
    pub fn new(decoder: Decoder, threads: usize) -> Self {
        let of_answers = decoder.of_answers();
        let (waiting, open, kept) = (VecDeque::new(), Vec::new(), VecDeque::new());
        Self { decoder, of_answers, threads, waiting, open, kept }
    }

    /// Sequences that wait for a place, and those that have one.
    pub fn sequences(&self) -> (usize, usize) {
        (self.waiting.len(), self.open.len())
    }

    /// Takes in a sequence: at most `most` tokens after `prompt`. With 0 the prompt alone is read.
    ///
    /// # Errors
    /// An empty prompt, an id outside the vocabulary, or a sequence that outgrows the model.
    pub fn admit(&mut self, prompt: Vec<u32>, most: usize, chooser: C) -> Result<(), DecodeError> {
        self.decoder.check_prompt(&prompt, most)?;
        let cache = self.decoder.cache();
        self.waiting.push_back(Sequence { prompt, most, chooser, cache, stage: Stage::Prompt, chosen: 0 });
        Ok(())
    }

    /// Runs one pass: a token of each open answer, and pieces of prompts. Does nothing if there is no sequence.
    ///
    /// # Errors
    /// Those of the device, and [`DecodeError::Stopped`]; all sequences are lost then.
    pub fn step(&mut self) -> Result<Stepped<C>, DecodeError> {
        let mut stepped = Stepped { ended: Vec::new(), prompt_tokens: 0, spared_tokens: 0, chosen_tokens: 0 };
        self.leave(&mut stepped.ended);
        stepped.spared_tokens = self.enter();
        let threads = self.threads;
        let pieces = self.pieces();
        parallel::together(threads, || self.pass(&pieces, &mut stepped))?;
        self.keep(&pieces);
        let ended = self.open.extract_if(.., |sequence| sequence.stage == Stage::Ended);
        stepped.ended.extend(ended.map(|sequence| sequence.chooser));
        Ok(stepped)
    }

    /// Gives up what nobody waits for.
    fn leave(&mut self, ended: &mut Vec<C>) {
        let unwanted = |sequence: &mut Sequence<C>| !sequence.chooser.is_wanted();
        ended.extend(self.open.extract_if(.., unwanted).map(|sequence| sequence.chooser));
        let (waiting, left) = self.waiting.drain(..).partition(|sequence| sequence.chooser.is_wanted());
        self.waiting = waiting;
        ended.extend(VecDeque::into_iter(left).map(|sequence: Sequence<C>| sequence.chooser));
    }

    /// Gives free places to those who have waited longest; returns the tokens of their prompts that were known.
    fn enter(&mut self) -> usize {
        let mut positions: usize = self.open.iter().map(Sequence::positions).sum();
        let (mut spared, mut later) = (0, VecDeque::new());
        while let Some(mut sequence) = self.waiting.pop_front() {
            let fits = self.open.is_empty() || positions + sequence.positions() <= POSITIONS;
            if self.open.len() == OPEN || !fits {
                later.push_back(sequence);
                break; // nobody overtakes a long prompt for ever
            }
            if self.will_be_known(&sequence) {
                later.push_back(sequence);
                continue;
            }
            spared += self.begin(&mut sequence);
            positions += sequence.positions();
            self.open.push(sequence);
        }
        later.append(&mut self.waiting);
        self.waiting = later;
        spared
    }

    /// Whether an open sequence is about to run what this one begins with, so that to wait for it is quicker.
    fn will_be_known(&self, sequence: &Sequence<C>) -> bool {
        let known = self.known(sequence).map_or(0, |(common, _)| common);
        let running = self.open.iter().filter(|open| open.stage == Stage::Prompt);
        let most = running.map(|open| common(&open.prompt, &sequence.prompt)).max().unwrap_or(0);
        self.shares(sequence) && most.min(sequence.prompt.len() - 1) >= known + WORTH_SHARING
    }

    /// On a device caches have no pages that could be shared, and who reads the prompt needs all of its rows.
    fn shares(&self, sequence: &Sequence<C>) -> bool {
        !self.decoder.is_on_device() && !sequence.chooser.reads_prompt()
    }

    /// The longest beginning of a prompt that is kept, and which it is.
    fn known(&self, sequence: &Sequence<C>) -> Option<(usize, usize)> {
        let prompt = &sequence.prompt[..sequence.prompt.len() - 1]; // the last token's row is wanted
        let all = self.kept.iter().enumerate().map(|(i, (kept, _))| (common(kept, prompt), i));
        all.max().filter(|(common, _)| self.shares(sequence) && *common >= WORTH_SHARING)
    }

    /// Lets a sequence go on from what is known of its prompt; returns how much that is.
    fn begin(&mut self, sequence: &mut Sequence<C>) -> usize {
        let Some((common, of)) = self.known(sequence) else { return 0 };
        if let Some((tokens, cache)) = self.kept.remove(of) {
            sequence.cache = cache.clone();
            sequence.cache.cut(common);
            self.kept.push_back((tokens, cache));
        }
        common
    }

    /// How many tokens of each open sequence's prompt are run next.
    fn pieces(&self) -> Vec<usize> {
        let answering = self.open.iter().any(|sequence| matches!(sequence.stage, Stage::Answer(_)));
        let mut room = if answering { PIECE.0 } else { PIECE.1 };
        let piece = |sequence: &Sequence<C>| {
            let piece = sequence.rest().min(room);
            room -= piece;
            piece
        };
        self.open.iter().map(piece).collect()
    }

    /// Runs the pieces and the last tokens, and lets choosers read and choose.
    fn pass(&mut self, pieces: &[usize], stepped: &mut Stepped<C>) -> Result<(), DecodeError> {
        let wanted: Vec<usize> =
            self.open.iter().zip(pieces).map(|(sequence, piece)| sequence.wanted(*piece)).collect();
        let (of_answers, of_prompts) = self.run(pieces, &wanted)?;
        stepped.prompt_tokens = pieces.iter().sum();
        let width = self.decoder.config().hidden_size;
        let (mut going_on, mut beginning, mut first) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = of_prompts.chunks_exact(width);
        for ((sequence, piece), wanted) in self.open.iter_mut().zip(pieces).zip(wanted) {
            match sequence.stage {
                Stage::Answer(_) => going_on.push(sequence),
                Stage::Prompt if *piece > 0 => {
                    // The row after a whole prompt is chosen from; those before it are read.
                    let is_whole = sequence.rest() == 0;
                    let read =
                        rows.by_ref().take(wanted - usize::from(is_whole)).flatten().copied().collect::<Vec<f32>>();
                    let seen = sequence.cache.len() - piece;
                    let chooser = &sequence.chooser;
                    let digest = |row: usize, logits: &[f32]| chooser.digest(seen + row, logits);
                    let read = self.decoder.each_row(&read, self.threads, digest)?;
                    sequence.chooser.read(read);
                    let last = if is_whole { rows.next().unwrap_or_default() } else { &[] };
                    match (is_whole, sequence.most) {
                        (true, 0) => sequence.stage = Stage::Ended,
                        (true, _) => {
                            first.extend_from_slice(last);
                            beginning.push(sequence);
                        }
                        (false, _) => (),
                    }
                }
                Stage::Prompt | Stage::Ended => (),
            }
        }
        let mut hidden = of_answers;
        hidden.append(&mut first);
        going_on.append(&mut beginning);
        let before: usize = going_on.iter().map(|sequence| sequence.chosen).sum();
        let by = self.of_answers.as_ref().unwrap_or(&self.decoder);
        choose(by, &hidden, &mut going_on, self.threads)?;
        stepped.chosen_tokens = going_on.iter().map(|sequence| sequence.chosen).sum::<usize>() - before;
        Ok(())
    }

    /// The rows of the answers' last tokens, and those of the pieces that are wanted.
    fn run(&mut self, pieces: &[usize], wanted: &[usize]) -> Result<(Vec<f32>, Vec<f32>), DecodeError> {
        let (mut prompts, mut answers) = (Vec::new(), Vec::new());
        for ((sequence, &piece), &wanted) in self.open.iter_mut().zip(pieces).zip(wanted) {
            let Sequence { prompt, cache, stage, .. } = sequence;
            let seen = cache.len();
            match stage {
                Stage::Answer(last) => answers.push(Entry { tokens: last, cache, wanted: 1 }),
                Stage::Prompt if piece > 0 => {
                    prompts.push(Entry { tokens: &prompt[seen..seen + piece], cache, wanted })
                }
                Stage::Prompt | Stage::Ended => (),
            }
        }
        if let Some(other) = &self.of_answers {
            return Ok((other.hidden(&mut answers, self.threads)?, self.decoder.hidden(&mut prompts, self.threads)?));
        }
        let rows = answers.len() * self.decoder.config().hidden_size;
        answers.append(&mut prompts);
        let mut hidden = self.decoder.hidden(&mut answers, self.threads)?;
        let of_prompts = hidden.split_off(rows);
        Ok((hidden, of_prompts))
    }

    /// Keeps what prompts that were just finished have seen.
    fn keep(&mut self, pieces: &[usize]) {
        for (sequence, _) in self.open.iter().zip(pieces).filter(|(_, piece)| **piece > 0) {
            let whole = sequence.cache.len() == sequence.prompt.len();
            if !whole || sequence.prompt.len() < WORTH_SHARING || self.decoder.is_on_device() {
                continue;
            }
            // One that this one goes on from says nothing more.
            self.kept.retain(|(tokens, _)| common(tokens, &sequence.prompt) < tokens.len());
            self.kept.push_back((sequence.prompt.clone(), sequence.cache.clone()));
        }
        let mut positions: usize = self.kept.iter().map(|(tokens, _)| tokens.len()).sum();
        while self.kept.len() > KEPT.0 || positions > KEPT.1 {
            positions -= self.kept.pop_front().map_or(positions, |(tokens, _)| tokens.len());
        }
    }
}

/// Lets each sequence choose its next token, given a row of `hidden` for each.
fn choose<C: Serve>(
    by: &Decoder,
    hidden: &[f32],
    sequences: &mut [&mut Sequence<C>],
    threads: usize,
) -> Result<(), DecodeError> {
    let (vocab, width) = (by.config().vocab_size, by.config().hidden_size);
    for (hidden, sequences) in hidden.chunks(HEAD * width).zip(sequences.chunks_mut(HEAD)) {
        let mut logits = Scratch::take(sequences.len() * vocab);
        by.logits_into(hidden, &mut logits, threads)?;
        let mut work: Vec<_> = sequences.iter_mut().zip(logits.chunks_exact_mut(vocab)).collect();
        let elements = work.len() * vocab;
        parallel::pieces(threads, elements, &mut work, 1, |_, work| {
            work.iter_mut().for_each(|(sequence, logits)| sequence.choose(logits));
        });
    }
    Ok(())
}
