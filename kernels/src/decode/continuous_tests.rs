//! Sequences that come and go have the answers that each has alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::tests::{decoder, decoders, families};
use super::*;
use crate::rng::Stream;

/// Greedy, until token 7, and all that it was given.
struct Asked {
    name: usize,
    reads: bool,
    wanted: Arc<AtomicBool>,
    ids: Vec<u32>,
    rows: Vec<(usize, Vec<f32>)>,
}

impl Choose for Asked {
    fn choose(&mut self, logits: &mut [f32]) -> Option<u32> {
        let id = Greedy { stop: &[7] }.choose(logits)?;
        self.ids.push(id);
        Some(id)
    }
}

impl Serve for Asked {
    type Row = (usize, Vec<f32>);

    fn reads_prompt(&self) -> bool {
        self.reads
    }

    fn digest(&self, position: usize, logits: &[f32]) -> Self::Row {
        (position, logits.to_vec())
    }

    fn read(&mut self, rows: Vec<Self::Row>) {
        self.rows.extend(rows);
    }

    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }
}

/// What is asked: a prompt, the length of its answer, whether the prompt is read.
type Question = (Vec<u32>, usize, bool);

/// Prompts of 1 to 230 tokens, most of which begin like others.
fn questions() -> Vec<Question> {
    let stream = Stream::from_seed(3);
    let question = |i: u64| {
        let stream = stream.at(i);
        let tokens =
            |n: u64, seed: u64| (0..n).map(|t| Stream::from_seed(seed).below(t, 53) as u32).collect::<Vec<_>>();
        let (shared, own) = (40 * stream.below(0, 5), 1 + stream.below(1, 30));
        let prompt = [tokens(shared, stream.below(2, 2)), tokens(own, 100 + i)].concat();
        (prompt, [0, 1, 5, 30][stream.below(3, 4) as usize], stream.below(4, 4) == 0)
    };
    (0..24).map(question).collect()
}

/// All answers, whose questions come a few a step; those of `dropped` are given up after their second step.
fn served(decoder: &Decoder, dropped: &[usize], threads: usize) -> (Vec<Asked>, usize) {
    let mut serving = Continuous::new(decoder.clone(), threads);
    let mut coming = questions().into_iter().enumerate().peekable();
    let (mut ended, mut spared, mut steps) = (Vec::new(), 0, Vec::new());
    while coming.peek().is_some() || serving.sequences() != (0, 0) {
        for (name, (prompt, most, reads)) in coming.by_ref().take(3) {
            let wanted = Arc::new(AtomicBool::new(true));
            steps.push((name, 0, wanted.clone()));
            serving.admit(prompt, most, Asked { name, reads, wanted, ids: Vec::new(), rows: Vec::new() }).unwrap();
        }
        let stepped = serving.step().unwrap();
        spared += stepped.spared_tokens;
        ended.extend(stepped.ended);
        for (name, step, wanted) in &mut steps {
            *step += 1;
            wanted.store(!(dropped.contains(name) && *step >= 2), Ordering::Relaxed);
        }
    }
    ended.sort_by_key(|asked: &Asked| asked.name);
    (ended, spared)
}

#[test]
fn each_answer_is_the_one_alone() {
    for decoder in families().into_iter().flat_map(decoders) {
        let dropped = [4, 11, 20];
        let (all, spared) = served(&decoder, &dropped, 2);
        assert_eq!(all.len(), questions().len());
        assert!(spared > 200, "{spared} tokens spared");
        for (asked, (prompt, most, reads)) in all.iter().zip(questions()) {
            let alone = decoder.greedy(std::slice::from_ref(&prompt), most, &[7], 1).unwrap().concat();
            if dropped.contains(&asked.name) {
                assert!(alone.starts_with(&asked.ids));
                continue;
            }
            assert_eq!(asked.ids, alone, "{}", asked.name);
            let read = if reads { prompt.len() - 1 } else { 0 };
            assert_eq!(asked.rows.len(), read);
            let mut cache = decoder.cache();
            let mut entry = [Entry { tokens: &prompt, cache: &mut cache, wanted: prompt.len() }];
            let logits = decoder.logits(&decoder.hidden(&mut entry, 1).unwrap(), 1).unwrap();
            for ((position, row), (i, alone)) in asked.rows.iter().zip(logits.chunks_exact(53).enumerate()) {
                assert_eq!(*position, i);
                assert!(row.iter().zip(alone).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
        let (again, _) = served(&decoder, &dropped, 1);
        assert!(all.iter().zip(&again).all(|(a, b)| a.ids == b.ids));
    }
}

#[test]
fn what_outgrows_the_model_is_not_taken_in() {
    let mut serving = Continuous::new(decoder(tests::config()), 1);
    let mut admit = |prompt: Vec<u32>, most| {
        let wanted = Arc::new(AtomicBool::new(true));
        serving.admit(prompt, most, Asked { name: 0, reads: false, wanted, ids: Vec::new(), rows: Vec::new() })
    };
    assert!(matches!(admit(vec![], 1), Err(DecodeError::EmptyPrompt)));
    assert!(matches!(admit(vec![99], 1), Err(DecodeError::TokenRange { id: 99, .. })));
    assert!(matches!(admit(vec![1; 598], 3), Err(DecodeError::TooLong { length: 601, limit: 600 })));
    assert!(admit(vec![1; 598], 2).is_ok());
}
