//! Training learns, repeats itself to the bit, and fails with a reason.

use std::ops::ControlFlow;
use std::path::Path;

use evo_kernels::optim::gradient::{AdamW, Rule};
use evo_kernels::rng::Stream;
use serde_json::json;

use super::*;
use crate::data::{Cell, Data, DataError, Template};
use crate::model::{Card, Config, Model, Parts, Place, Tensor, Tensors, Tokenizer};

/// A random model over the characters of [`CHARACTERS`], whose last token ends a text.
pub(super) fn tiny(tied: bool) -> Model {
    tiny_of(tied, 5)
}

/// The same from another seed.
pub(super) fn tiny_of(tied: bool, seed: u64) -> Model {
    let config = json!({
        "model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "hidden_act": "silu", "max_position_embeddings": 32, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "vocab_size": CHARACTERS.len(), "tie_word_embeddings": tied, "eos_token_id": CHARACTERS.len() - 1,
    });
    let config = Config::from_json(&config.to_string(), Path::new("config.json")).unwrap();
    let tensors: Tensors = (0..)
        .zip(config.tensor_shapes())
        .map(|(index, (name, shape))| {
            let stream = Stream::from_seed(seed).at(index);
            let scale = if name.contains("norm") { (1.0, 0.0) } else { (0.0, 0.1) };
            let values =
                (0..shape.iter().product::<usize>() as u64).map(|i| (scale.0 + scale.1 * stream.normal(i)) as f32);
            (name, Tensor::from_f32(values.collect(), shape).unwrap())
        })
        .collect();
    let vocab: serde_json::Map<_, _> = CHARACTERS.chars().zip(0..).map(|(c, id)| (c.to_string(), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    Model::new(Parts {
        name: "tiny".to_owned(),
        config: config.into(),
        tensors: tensors.into(),
        tokenizer: Some(Tokenizer::from_json(&tokenizer.to_string(), Path::new("tokenizer.json")).unwrap().into()),
        chat_template: None,
        tokenizer_config: None,
        generation_config: None,
        card: Card::default().into(),
    })
}

const CHARACTERS: &str = "0123456789+=.";

fn sums() -> Data {
    let rows = (0..25).map(|i| (i / 5, i % 5));
    let rows = rows.map(|(a, b)| vec![Cell::from(format!("{a}+{b}=")), Cell::from(a + b)]);
    Data::new(&["question", "answer"], rows.collect()).unwrap()
}

pub(super) fn sums_for(model: &Model) -> Vec<Example> {
    let template = |text| Template::parse(text).unwrap();
    examples(model, &sums(), &template("{question}"), &template("{answer}")).unwrap()
}

pub(super) fn objective(model: &Model) -> NextToken {
    NextToken::new(sums_for(model)).unwrap()
}

fn run(model: &Model, settings: &Settings) -> (Vec<f64>, Result<Model, TrainError>) {
    let mut losses = Vec::new();
    let result = train(model, &objective(model), settings, &Place::from(1), &mut |event| {
        if let Event::Step { loss, .. } = event {
            losses.push(loss);
        }
        ControlFlow::Continue(())
    });
    (losses, result)
}

#[test]
fn examples_give_the_prompt_and_learn_the_answer_and_the_end() {
    let model = tiny(true);
    let all = sums_for(&model);
    assert_eq!(all[9], Example::after(vec![1, 10, 4, 11, 5, 12], 4));
    let template = |text| Template::parse(text).unwrap();
    let unknown = examples(&model, &sums(), &template("{query}"), &template("{answer}"));
    assert!(matches!(unknown, Err(TrainError::Data(DataError::UnknownColumn { .. }))));
    let long = examples(&model, &sums(), &template(&"{question}".repeat(8)), &template("{answer}"));
    assert!(matches!(long, Err(TrainError::TooLong { row: 0, tokens: 34, positions: 32, .. })));
}

#[test]
fn training_learns_single_digit_sums() {
    let settings = Settings {
        batch: 10,
        rule: Rule::AdamW(AdamW { beta2: 0.98, ..AdamW::default() }),
        ..Settings::new(150, 2e-2)
    };
    let (losses, tuned) = run(&tiny(true), &settings);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert!((mean(&losses[..1]) - (CHARACTERS.len() as f64).ln()).abs() < 0.3, "{}", losses[0]);
    assert!(mean(&losses[140..]) < 0.3, "{losses:?}");
    let (model, tuned) = (tiny(true), tuned.unwrap());
    assert_eq!(tuned.config, model.config);
    for (name, tensor) in model.tensors.iter() {
        assert_eq!(tuned.tensors[name].shape(), tensor.shape());
        assert_ne!(tuned.tensors[name].digest(), tensor.digest(), "{name} was not trained");
    }
}

#[test]
fn the_result_is_the_same_to_the_bit_on_any_number_of_threads() {
    let settings = Settings { batch: 7, ..Settings::new(12, 1e-2) };
    let in_pool = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&tiny(false), &settings).1.unwrap().digest())
    };
    let here = run(&tiny(false), &settings).1.unwrap().digest();
    assert_eq!(here, in_pool(1));
    assert_eq!(here, in_pool(4));
    let other = run(&tiny(false), &Settings { seed: 1, ..settings }).1.unwrap().digest();
    assert_ne!(here, other);
}

#[test]
fn an_epoch_holds_each_example_once_whatever_the_batch() {
    let model = tiny(true);
    let mut tokens = Vec::new();
    train(
        &model,
        &objective(&model),
        &Settings { batch: 5, ..Settings::new(10, 1e-3) },
        &Place::from(1),
        &mut |event| {
            if let Event::Step { tokens: so_far, .. } = event {
                tokens.push(so_far);
            }
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    let inputs: usize = sums_for(&model).iter().map(|e| e.tokens.len() - 1).sum();
    assert_eq!((tokens[4], tokens[9]), (inputs, 2 * inputs));
}

#[test]
fn failures_have_a_reason_and_a_step() {
    let model = tiny(true);
    let (losses, exploded) = run(&model, &Settings { clip: None, warmup: 0, ..Settings::new(50, 1e25) });
    match exploded {
        Err(TrainError::Diverged { step, .. }) => assert_eq!(step, losses.len() + 1),
        other => panic!("{other:?}"),
    }
    let setting = |settings: Settings| match run(&model, &settings).1 {
        Err(TrainError::Setting { setting, .. }) => setting,
        other => panic!("{other:?}"),
    };
    assert_eq!(setting(Settings::new(0, 1e-3)), "steps");
    assert_eq!(setting(Settings::new(1, f64::NAN)), "rate");
    assert_eq!(setting(Settings { planned: Some(3), ..Settings::new(4, 1e-3) }), "horizon");
    let nothing = NextToken::new(vec![Example::after(vec![1, 2], 2)]);
    assert!(matches!(nothing, Err(TrainError::NoTarget { row: 0 })));

    let mut broken = (*model.tensors).clone();
    let shape = broken["model.norm.weight"].shape().to_vec();
    broken.insert("model.norm.weight".to_owned(), Tensor::from_f32(vec![f32::NAN; 16], shape).unwrap());
    let broken = model.with_tensors("broken", broken, Card::default());
    assert!(matches!(run(&broken, &Settings::new(1, 1e-3)).1, Err(TrainError::Tensor { .. })));
}
