//! Whatever models take from one another, their results have the bits that they have alone.

use std::sync::Arc;

use super::tests::{config, decoder, families, seeded, tokens};
use super::{Config, DecodeError, Decoder, Linear, Residuals, Texts, Weights};
use crate::matmul::Matrix;

const PLENTY: usize = 1 << 30;

/// Texts with beginnings in common, equal ones, one of several passes, and one of which nothing is asked.
fn texts() -> Arc<Texts> {
    let shot = tokens(1, 100);
    let long = tokens(2, 560);
    let mut all: Vec<(Vec<u32>, Vec<u32>)> = vec![(long, tokens(3, 30)), (tokens(4, 3), Vec::new())];
    for i in 0..6 {
        let prompt = [shot.clone(), tokens(10 + i / 2, 9)].concat();
        all.push((prompt, tokens(20 + i / 3, 4)));
    }
    Arc::new(Texts::new(all.iter().map(|(a, b)| (a.as_slice(), b.as_slice()))))
}

type Found = Result<Vec<Vec<f32>>, DecodeError>;

fn bits(found: Found) -> Vec<Vec<u32>> {
    found.unwrap().iter().map(|row| super::tests::bits(row)).collect()
}

/// What a model gives that shares nothing.
fn alone(decoder: &Decoder, texts: &Arc<Texts>) -> Vec<Vec<u32>> {
    bits(decoder.likelihoods(texts, 1))
}

/// A model that has the lower layers of one and the others of another.
fn grafted(below: &Decoder, above: &Decoder, depth: usize) -> Decoder {
    let mut weights = below.weights().clone();
    weights.layers.truncate(depth);
    weights.layers.extend_from_slice(&above.weights().layers[depth..]);
    (weights.norm, weights.head) = (above.weights().norm.clone(), above.weights().head.clone());
    if above.config().tied_head {
        weights.head = weights.embedding.clone();
    }
    Decoder::new(below.config().clone(), weights).unwrap()
}

/// Asks a model, which is to give what it gives alone: the layer that it began with.
fn begun(residuals: &Arc<Residuals>, decoder: &Decoder, texts: &Arc<Texts>, threads: usize) -> usize {
    let mut share = decoder.clone().sharing(Arc::clone(residuals)).shared(texts);
    let first = share.first_layer();
    let found = decoder.run(texts, &mut share, threads).transpose().unwrap();
    share.finish();
    assert_eq!(bits(found), alone(decoder, texts), "begun with layer {first}");
    first
}

#[test]
fn models_with_equal_lower_layers_give_what_they_give_alone() {
    let texts = texts();
    for config in families() {
        let layers = config.num_layers();
        let models: Vec<Decoder> = (0..4).map(|seed| seeded(config.clone(), 40 + seed)).collect();
        for depth in 0..=layers {
            for threads in [1, 2] {
                let residuals = Arc::new(Residuals::new(PLENTY));
                let children: Vec<Decoder> = models[1..].iter().map(|m| grafted(&models[0], m, depth)).collect();
                let found: Vec<usize> = children.iter().map(|m| begun(&residuals, m, &texts, threads)).collect();
                // The second leaves what the third begins with.
                assert_eq!(found, [0, 0, depth], "{depth} of {layers} layers");
            }
        }
    }
}

#[test]
fn layers_may_be_changed_and_changed_back() {
    let texts = texts();
    let (a, b) = (seeded(config(), 1), seeded(config(), 2));
    let residuals = Arc::new(Residuals::new(PLENTY));
    let depths = [3, 1, 2, 3, 0, 2, 1, 3];
    let found = depths.map(|depth| begun(&residuals, &grafted(&a, &b, depth), &texts, 2));
    assert_eq!(found, [0, 0, 1, 2, 0, 2, 1, 3]);
}

#[test]
fn differences_of_low_rank_are_layers_of_their_own() {
    let texts = texts();
    let base = decoder(config());
    let low = |rows: usize, cols: usize, seed: u64| {
        let values: Vec<f32> = tokens(seed, rows * cols).iter().map(|&x| x as f32 / 530.0 - 0.05).collect();
        Arc::new(Matrix::from_rows(rows, cols, &values, 1))
    };
    let changed = |layer: usize, seed: u64| {
        let mut weights: Weights = base.weights().clone();
        let q = &mut weights.layers[layer].q;
        let (a, b) = (low(2, q.weight.cols(), seed), low(q.weight.rows(), 2, seed + 1));
        let sum = Matrix::with_low_rank(q.weight.clone(), a, b).unwrap();
        *q = Linear { weight: Arc::new(sum), bias: q.bias.clone() };
        Decoder::new(base.config().clone(), weights).unwrap()
    };
    let residuals = Arc::new(Residuals::new(PLENTY));
    let found = [(1, 1), (1, 3), (1, 5), (2, 7), (0, 9), (2, 11)].map(|(layer, seed)| {
        let model = changed(layer, seed);
        assert_ne!(alone(&model, &texts), alone(&base, &texts));
        begun(&residuals, &model, &texts, 2)
    });
    assert_eq!(found, [0, 0, 1, 1, 0, 1]);
    assert_eq!(begun(&residuals, &changed(2, 13), &texts, 1), 2);
}

#[test]
fn rows_are_shared_by_the_same_texts_and_configuration_alone() {
    let (one, other) = (texts(), texts());
    let model = decoder(config());
    let residuals = Arc::new(Residuals::new(PLENTY));
    assert_eq!([0, 1, 2].map(|_| begun(&residuals, &model, &one, 1)), [0, 0, 3]);
    assert_eq!(begun(&residuals, &model, &other, 1), 0);
    let capped = Config { attention_cap: Some(0.5), ..config() };
    assert_eq!(begun(&residuals, &Decoder::new(capped, model.weights().clone()).unwrap(), &one, 1), 0);
    let mut windowed = config();
    windowed.layers[1].window = Some(4);
    let windowed = Decoder::new(windowed, model.weights().clone()).unwrap();
    // The first layer is that of the others.
    assert_eq!([0, 1].map(|_| begun(&residuals, &windowed, &one, 1)), [0, 1]);
    let rows = 4 * 20 * one.rows();
    assert_eq!(residuals.bytes(), 3 * rows);
    // They go with the texts, and with the weights.
    drop(one);
    assert_eq!(begun(&residuals, &model, &other, 1), 0);
    assert_eq!(residuals.bytes(), rows);
    drop((model, windowed));
    assert_eq!(begun(&residuals, &seeded(config(), 9), &other, 1), 0);
    assert_eq!(residuals.bytes(), 0);
}

#[test]
fn no_more_is_kept_than_fits() {
    let texts = texts();
    let one = 4 * 20 * texts.rows();
    let models: Vec<Decoder> = (0..3).map(|seed| seeded(config(), seed)).collect();
    for (limit, kept) in [(one - 1, 0), (one, 1), (2 * one + 1, 2)] {
        let residuals = Arc::new(Residuals::new(limit));
        for (below, above, depth) in [(0, 1, 1), (0, 2, 1), (0, 1, 2), (0, 2, 2), (1, 0, 1), (1, 2, 1), (0, 1, 1)] {
            begun(&residuals, &grafted(&models[below], &models[above], depth), &texts, 1);
            assert!(residuals.bytes() <= limit);
        }
        assert_eq!(residuals.bytes(), kept * one);
    }
}

#[test]
fn models_that_are_asked_at_once_wait_for_one_another_and_for_no_one_who_gave_up() {
    let texts = texts();
    let (a, b) = (seeded(config(), 1), seeded(config(), 2));
    let residuals = Arc::new(Residuals::new(PLENTY));
    bits(a.clone().sharing(residuals.clone()).likelihoods(&texts, 1));
    let model = grafted(&a, &b, 2);
    let expected = alone(&model, &texts);
    let making = model.clone().sharing(residuals.clone()).shared(&texts);
    assert_eq!((making.first_layer(), making.leaves()), (0, Some(2)));
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..3)
            .map(|_| {
                let model = grafted(&a, &b, 2).sharing(residuals.clone());
                let texts = &texts;
                scope.spawn(move || bits(model.likelihoods(texts, 1)))
            })
            .collect();
        // One that has them in hand and gives up: the others go on without.
        drop(making);
        for found in all {
            assert_eq!(found.join().unwrap(), expected);
        }
    });
    let found: Vec<_> = std::thread::scope(|scope| {
        let run = |_| scope.spawn(|| bits(model.clone().sharing(residuals.clone()).likelihoods(&texts, 2)));
        let all: Vec<_> = (0..4).map(run).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(found.iter().all(|one| *one == expected));
    assert!(begun(&residuals, &model, &texts, 1) >= 2);
}
