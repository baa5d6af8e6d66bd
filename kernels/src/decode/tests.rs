//! Laws of the decoder, on a small random model with sizes that fit no vector and no panel.

use std::sync::Arc;

use super::*;
use crate::matmul::{Matrix, Units};
use crate::rng::Stream;
use crate::vector;

pub(crate) fn config() -> Config {
    let rope = Rope { theta: 10_000.0, width: 6, scaling: RopeScaling::None };
    Config {
        vocab_size: 53,
        hidden_size: 20,
        intermediate_size: 37,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 6,
        max_positions: 600,
        layers: vec![LayerConfig { window: None, rope: Some(rope) }; 3],
        norm: Norm { kind: NormKind::Rms, eps: 1e-5 },
        order: Order::Before,
        qk_norm: false,
        activation: Activation::Silu,
        mlp: Mlp::Gated,
        qkv_bias: true,
        output_bias: false,
        mlp_bias: false,
        attention_scale: 1.0 / 6f32.sqrt(),
        attention_cap: None,
        logit_cap: None,
        embedding_scale: 1.0,
        learned_positions: false,
        token_types: 0,
        causal: true,
        tied_head: false,
    }
}

/// Configurations that between them make every choice.
pub(super) fn families() -> Vec<Config> {
    let plain = config();
    let rope = Rope { theta: 500.0, width: 4, scaling: RopeScaling::Linear { factor: 2.0 } };
    let each = RopeScaling::Each { factors: vec![1.0, 1.5], amplitude: 1.2 };
    let mut mixed = plain.layers.clone();
    mixed[0] = LayerConfig { window: Some(5), rope: Some(rope.clone()) };
    mixed[1].rope = None;
    let gemma = Config {
        layers: mixed.clone(),
        order: Order::Around,
        qk_norm: true,
        activation: Activation::GeluTanh,
        attention_scale: 0.3,
        attention_cap: Some(5.0),
        logit_cap: Some(3.0),
        embedding_scale: 4.5,
        tied_head: true,
        ..plain.clone()
    };
    let gpt = Config {
        layers: vec![LayerConfig { window: None, rope: None }; 2],
        norm: Norm { kind: NormKind::Layer, eps: 1e-5 },
        activation: Activation::Gelu,
        mlp: Mlp::Plain,
        output_bias: true,
        mlp_bias: true,
        learned_positions: true,
        ..plain.clone()
    };
    let parallel = Config {
        layers: vec![LayerConfig { window: None, rope: Some(Rope { scaling: each, ..rope }) }; 2],
        norm: gpt.norm,
        order: Order::Parallel,
        activation: Activation::Relu,
        ..plain.clone()
    };
    let experts = Config { mlp: Mlp::Experts { count: 5, chosen: 2 }, ..plain.clone() };
    vec![plain, gemma, gpt, parallel, experts]
}

pub(super) fn decoder(config: Config) -> Decoder {
    seeded(config, 5)
}

/// A decoder of random weights.
pub(super) fn seeded(config: Config, seed: u64) -> Decoder {
    let stream = Stream::from_seed(seed);
    let values = |slot: &Slot, scale: f64, mean: f64| -> Vec<f32> {
        let stream = stream.child(&format!("{slot:?}"));
        (0..(slot.rows * slot.cols) as u64).map(|i| (stream.normal(i) * scale + mean) as f32).collect()
    };
    let mean = |slot: &Slot| if format!("{:?}", slot.part).ends_with("Norm") && !slot.bias { 1.0 } else { 0.0 };
    let weights = config.slots().map(
        |slot| Arc::new(Matrix::from_rows(slot.rows, slot.cols, &values(slot, 0.3, 0.0), 1)),
        |slot| values(slot, 0.2, mean(slot)).into(),
    );
    Decoder::new(config, weights).unwrap()
}

/// The same on all units that there are.
pub(super) fn decoders(config: Config) -> Vec<Decoder> {
    let one = decoder(config);
    [Units::Vectors, Units::Tiles].into_iter().filter(|u| u.available()).map(|u| one.clone().with(u)).collect()
}

pub(super) fn tokens(seed: u64, n: usize) -> Vec<u32> {
    let stream = Stream::from_seed(seed);
    (0..n as u64).map(|i| stream.u32(i) % 53).collect()
}

/// All logits of one sequence, run alone in one pass on one thread.
fn alone(decoder: &Decoder, tokens: &[u32]) -> Vec<f32> {
    let mut cache = decoder.cache();
    let entry = Entry { tokens, cache: &mut cache, wanted: tokens.len() };
    let hidden = decoder.hidden(&mut [entry], 1).unwrap();
    decoder.logits(&hidden, 1).unwrap()
}

pub(super) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn a_sequence_has_the_same_bits_alone_in_a_batch_in_pieces_and_on_two_threads() {
    for config in families() {
        decoders(config).iter().for_each(same_bits);
    }
}

fn same_bits(decoder: &Decoder) {
    let sequences: Vec<Vec<u32>> = [1, 40, 7, 129, 64].iter().enumerate().map(|(i, &n)| tokens(i as u64, n)).collect();
    let expected: Vec<Vec<f32>> = sequences.iter().map(|s| alone(decoder, s)).collect();
    assert!(expected.iter().flatten().all(|x| x.is_finite()));
    for threads in [1, 2, 5] {
        let mut caches: Vec<Cache> = sequences.iter().map(|_| decoder.cache()).collect();
        let mut batch: Vec<Entry<'_>> = sequences
            .iter()
            .zip(&mut caches)
            .map(|(tokens, cache)| Entry { tokens, cache, wanted: tokens.len() })
            .collect();
        let hidden = decoder.hidden(&mut batch, threads).unwrap();
        let logits = decoder.logits(&hidden, threads).unwrap();
        assert_eq!(bits(&logits), bits(&expected.concat()), "{threads} threads");
    }
    for piece in [1, 3, 50] {
        for (sequence, expected) in sequences.iter().zip(&expected) {
            let mut cache = decoder.cache();
            let mut logits = Vec::new();
            for tokens in sequence.chunks(piece) {
                let entry = Entry { tokens, cache: &mut cache, wanted: tokens.len() };
                let hidden = decoder.hidden(&mut [entry], 2).unwrap();
                logits.extend(decoder.logits(&hidden, 2).unwrap());
            }
            assert_eq!(bits(&logits), bits(expected), "pieces of {piece}");
        }
    }
}

#[test]
fn greedy_is_the_argmax_again_and_again_and_stops_where_told() {
    for decoder in decoders(config()) {
        let prefix = tokens(9, 12);
        let mut prompts: Vec<Vec<u32>> =
            (0..40u64).map(|i| [prefix.clone(), tokens(i, 1 + i as usize % 5)].concat()).collect();
        prompts.push(prefix);
        let answers = decoder.greedy(&prompts, 9, &[], 2).unwrap();
        for (prompt, answer) in prompts.iter().zip(&answers).step_by(13) {
            let mut text = prompt.clone();
            for &id in answer {
                let logits = alone(&decoder, &text);
                let last = &logits[logits.len() - 53..];
                assert_eq!(vector::argmax(last) as u32, id);
                text.push(id);
            }
            assert_eq!(answer.len(), 9);
        }
        let stop = answers[0][4];
        let stopped = decoder.greedy(&prompts, 9, &[stop], 1).unwrap();
        for (full, short) in answers.iter().zip(&stopped) {
            let end = full.iter().position(|&id| id == stop).unwrap_or(9);
            assert_eq!(&full[..end], short.as_slice());
        }
    }
}

#[test]
fn logprobs_are_those_of_the_whole_text() {
    for decoder in decoders(config()) {
        let prefix = tokens(3, 20);
        let prompts: Vec<Vec<u32>> = (0..3).map(|i| [prefix.clone(), tokens(i, 4)].concat()).collect();
        let continuations: Vec<Vec<u32>> = (10..17).map(|i| tokens(i, (i as usize - 10) * 2)).collect();
        let mut pairs: Vec<(&[u32], &[u32])> = Vec::new();
        for (i, continuation) in continuations.iter().enumerate() {
            pairs.push((&prompts[i % 3], continuation));
        }
        let found = decoder.logprobs(&pairs, 2).unwrap();
        for ((prompt, continuation), found) in pairs.iter().zip(&found) {
            assert_eq!(found.len(), continuation.len());
            let text = [*prompt, *continuation].concat();
            let logits = alone(&decoder, &text);
            for (i, &id) in continuation.iter().enumerate() {
                let row = &logits[(prompt.len() + i - 1) * 53..][..53];
                let expected = f64::from(row[id as usize]) - vector::log_sum_exp(row);
                assert_eq!(found[i], expected as f32);
                assert!(found[i] < 0.0);
            }
        }
    }
}

/// Texts over three tokens: many begin alike, are beginnings of others, or are equal.
fn entangled(n: u64) -> Vec<Vec<u32>> {
    let stream = Stream::from_seed(77);
    let text = |i: u64| (0..1 + u64::from(stream.u32(i)) % 23).map(move |k| stream.at(i / 2).u32(k) % 3).collect();
    (0..n).map(text).collect()
}

#[test]
fn texts_with_common_beginnings_have_the_bits_that_they_have_alone() {
    for decoder in decoders(config()) {
        let texts = entangled(200);
        let pairs: Vec<(&[u32], &[u32])> = texts.iter().map(|t| t.split_at(t.len().div_ceil(3))).collect();
        let found = decoder.logprobs(&pairs, 2).unwrap();
        for (i, pair) in pairs.iter().enumerate() {
            assert_eq!(bits(&decoder.logprobs(&[*pair], 1).unwrap()[0]), bits(&found[i]), "text {i}");
        }
    }
}

#[test]
fn answers_end_and_make_room_for_others_without_changing_them() {
    for decoder in decoders(config()) {
        let prompts = entangled(170);
        let stop: Vec<u32> = (0..12).collect();
        let answers = decoder.greedy(&prompts, 20, &stop, 2).unwrap();
        let lengths: std::collections::BTreeSet<usize> = answers.iter().map(Vec::len).collect();
        assert!(lengths.len() > 3, "answers of different lengths: {lengths:?}");
        for (prompt, answer) in prompts.iter().zip(&answers) {
            assert_eq!(&decoder.greedy(std::slice::from_ref(prompt), 20, &stop, 1).unwrap()[0], answer);
        }
        let sampling = Sampling { temperature: 1.3, top_p: 0.9, repetition_penalty: 1.1, ..Sampling::default() };
        let sampler = |i: usize| Sampler::new(sampling, &stop, Stream::from_seed(1).at(i as u64), &prompts[i]);
        let mut samplers: Vec<Sampler<'_>> = (0..prompts.len()).map(sampler).collect();
        let drawn = decoder.generate(&prompts, &mut samplers, 9, 2).unwrap();
        assert_ne!(drawn, answers);
        for i in (0..prompts.len()).step_by(7) {
            assert_eq!(decoder.generate(&prompts[i..=i], &mut [sampler(i)], 9, 1).unwrap()[0], drawn[i]);
        }
    }
}

#[test]
fn what_texts_have_in_common_is_run_once() {
    let decoder = decoder(config());
    let run = |texts: &[Vec<u32>]| {
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let mut tree = prefix::Prefixes::new(&texts, texts.iter().map(|t| t.len() - 1).collect(), &decoder.cache());
        let mut count = (0, 0);
        while !tree.is_empty() {
            let mut pass = tree.take(0, usize::MAX);
            let mut entries = tree.entries(&mut pass);
            count = (count.0 + 1, count.1 + entries.iter().map(|entry| entry.tokens.len()).sum::<usize>());
            let hidden = decoder.hidden(&mut entries, 1).unwrap();
            tree.finish(pass, hidden);
        }
        count
    };
    assert_eq!(run(&vec![tokens(1, 30); 9]), (1, 30));
    let shots = |i: u64| [tokens(1, 100), tokens(50 + i % 3, 20), vec![i as u32; 5]].concat();
    assert_eq!(run(&(0..12).map(shots).collect::<Vec<_>>()), (3, 100 + 3 * 20 + 12 * 5));
    // Two tokens in common save too little to be a pass.
    assert_eq!(run(&[tokens(1, 2), [tokens(1, 2), tokens(2, 20)].concat()]), (1, 24));
    assert_eq!(run(&[tokens(1, 590), tokens(2, 3)]).1, 593);
}

#[test]
fn long_prompts_go_through_in_passes() {
    for decoder in decoders(config()) {
        let prompt = tokens(1, 590);
        let logits = alone(&decoder, &prompt);
        let last = &logits[589 * 53..];
        let answers = decoder.greedy(&[prompt.clone(), tokens(2, 3)], 1, &[], 2).unwrap();
        assert_eq!(answers[0], [vector::argmax(last) as u32]);
        assert_eq!(decoder.greedy(&[prompt], 11, &[], 1), Err(DecodeError::TooLong { length: 601, limit: 600 }));
    }
}

#[test]
fn a_window_hides_what_lies_before_it() {
    let wide = decoder(config());
    let mut layers = config().layers;
    layers.iter_mut().for_each(|layer| layer.window = Some(4));
    let narrow = decoder(Config { layers, ..config() });
    let text = tokens(1, 30);
    assert_eq!(bits(&alone(&wide, &text)[..4 * 53]), bits(&alone(&narrow, &text)[..4 * 53]));
    assert_ne!(bits(&alone(&wide, &text)[29 * 53..]), bits(&alone(&narrow, &text)[29 * 53..]));
    // Three layers of a window of four reach nine tokens back; the first of thirty is out of reach.
    let mut other = text.clone();
    other[0] = (other[0] + 1) % 53;
    assert_eq!(bits(&alone(&narrow, &text)[10 * 53..]), bits(&alone(&narrow, &other)[10 * 53..]));
}

#[test]
fn bad_requests_are_errors() {
    let decoder = decoder(config());
    let range = DecodeError::TokenRange { id: 53, vocab_size: 53 };
    assert_eq!(decoder.greedy(&[vec![53]], 1, &[], 1), Err(range.clone()));
    assert_eq!(decoder.greedy(&[vec![]], 1, &[], 1), Err(DecodeError::EmptyPrompt));
    assert_eq!(decoder.logprobs(&[(&[1], &[2, 53])], 1), Err(range));
    let mut cache = decoder.cache();
    let entry = Entry { tokens: &[1; 601], cache: &mut cache, wanted: 1 };
    assert!(matches!(decoder.hidden(&mut [entry], 1), Err(DecodeError::TooLong { length: 601, limit: 600 })));
    let weights = decoder.clone();
    let wrong = Config { hidden_size: 21, ..config() };
    assert!(Decoder::new(wrong, weights.weights().clone()).is_err());
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let all = families();
    let weights: Vec<Weights> = all.iter().map(|config| decoder(config.clone()).weights().clone()).collect();
    for (i, config) in all.iter().enumerate() {
        for (j, weights) in weights.iter().enumerate() {
            assert_eq!(Decoder::new(config.clone(), weights.clone()).is_ok(), i == j, "{i} with the weights of {j}");
        }
    }
    let what = |config: Config| match Decoder::new(config, weights[0].clone()) {
        Err(DecodeError::Weights { what }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(what(Config { num_kv_heads: 3, ..config() }), "number of heads");
    assert_eq!(what(Config { intermediate_size: 36, ..config() }), "layer 0");
    assert_eq!(what(Config { vocab_size: 52, ..config() }), "embedding, head or last norm");
    let mut odd = config();
    odd.layers[2].rope.as_mut().unwrap().width = 8;
    assert_eq!(what(odd), "rotated width of heads");
}

#[test]
fn a_block_of_equal_experts_is_that_of_one() {
    let one = decoder(config());
    let mut many = decoder(Config { mlp: Mlp::Experts { count: 3, chosen: 2 }, ..config() }).weights().clone();
    for (layer, same) in many.layers.iter_mut().zip(&one.weights().layers) {
        *layer = Layer { router: layer.router.clone(), experts: vec![same.experts[0].clone(); 3], ..same.clone() };
    }
    many = Weights { layers: many.layers, ..one.weights().clone() };
    let many = Decoder::new(Config { mlp: Mlp::Experts { count: 3, chosen: 2 }, ..config() }, many).unwrap();
    let text = tokens(4, 20);
    for (a, b) in alone(&one, &text).iter().zip(alone(&many, &text)) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
}

#[test]
fn a_vector_is_its_texts_alone() {
    let norm = Norm { kind: NormKind::Layer, eps: 1e-5 };
    let bert = Config { causal: false, order: Order::After, token_types: 2, tied_head: true, norm, ..config() };
    let texts: Vec<Vec<u32>> =
        [1, 300, 7, 600, 600, 600, 2].iter().enumerate().map(|(i, &n)| tokens(i as u64, n)).collect();
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    for (config, pooling) in [(bert.clone(), Pooling::Mean), (bert, Pooling::First), (config(), Pooling::Last)] {
        let encoder = Encoder::new(decoder(config), pooling, true);
        let all = encoder.embed(&texts, 2).unwrap();
        for (text, vector) in texts.iter().zip(all.chunks_exact(20)) {
            assert_eq!(bits(&encoder.embed(&[text], 1).unwrap()), bits(vector));
            assert!((vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        }
        assert_eq!(encoder.embed(&[&[1], &[]], 1), Err(DecodeError::EmptyPrompt));
        assert!(encoder.embed(&[], 1).unwrap().is_empty());
        let long = DecodeError::TooLong { length: 601, limit: 600 };
        assert!(matches!(encoder.embed(&[&[1; 601]], 1), Err(e) if e == long || pooling == Pooling::Last));
    }
}
