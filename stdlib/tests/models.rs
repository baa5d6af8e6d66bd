//! Models against what transformers answers: small random ones always, SmolLM2 if `EVO_SMOLLM2` names its GGUF file.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evo_kernels::decode::{Choose, DecodeError, Decoder, Device, Pooling};
use evo_stdlib::model::{Card, Message, Model, ModelError, Place, Prompt, gguf, gguf_header, header, hf, logits, save};
use safetensors::SafeTensors;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    tokens: Vec<u32>,
    last_logits: Vec<f32>,
    greedy: Vec<u32>,
    logprobs: Vec<f32>,
}

fn conformance(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance").join(folder)
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn golden<T: serde::de::DeserializeOwned>(dir: &Path) -> Vec<T> {
    serde_json::from_str(&std::fs::read_to_string(dir.join("golden.json")).unwrap()).unwrap()
}

/// Logits, greedy ids and log-probabilities of one small model.
fn check_small(model: &Model, cases: &[Case]) {
    let name = &model.name;
    let decoder = model.decoder(1).unwrap();
    let mut pairs: Vec<(&[u32], &[u32])> = Vec::new();
    for case in cases {
        let found = logits(model, Prompt::Tokens(&case.tokens), case.greedy.len(), 2).unwrap();
        let difference = largest_difference(&found.last_logits, &case.last_logits);
        assert!(difference < 2e-5, "{name}: logits differ by {difference}");
        assert_eq!(found.greedy, case.greedy, "{name}");
        pairs.push(case.tokens.split_at(1));
    }
    let found = decoder.logprobs(&pairs, 2).unwrap();
    for (found, case) in found.iter().zip(cases) {
        let difference = largest_difference(found, &case.logprobs);
        assert!(difference < 2e-5, "{name}: log-probabilities differ by {difference}");
    }
}

const FAMILIES: [&str; 19] = [
    "untied",
    "tied_biased",
    "llama3_rope",
    "mistral_window",
    "mixtral",
    "qwen2",
    "qwen2_window",
    "qwen3",
    "qwen3_window",
    "smollm3",
    "phi3",
    "phi3_longrope",
    "gemma2",
    "gemma2_plain",
    "gemma3",
    "gemma3_plain",
    "stablelm",
    "stablelm_parallel",
    "gpt2",
];

#[test]
fn small_models_answer_as_in_transformers() {
    for name in FAMILIES {
        let dir = conformance("families").join(name);
        let cases: Vec<Case> = golden(&dir);
        let model = hf(&dir).unwrap();
        check_small(&model, &cases);

        assert_eq!(model.stop_ids(), [3, 7]);
        let head = header(&dir).unwrap();
        assert_eq!(head.config, model.config);
        assert!(head.tensors.keys().eq(model.tensors.keys()));

        let copy = tempfile::tempdir().unwrap();
        let copy = copy.path().join("deep/copy");
        save(&model, &copy).unwrap();
        check_small(&hf(&copy).unwrap(), &cases);
        assert_eq!(hf(&copy).unwrap().identity(), model.identity());

        let too_long = logits(&model, Prompt::Tokens(&[1; 64]), 1, 1).unwrap_err();
        assert!(matches!(too_long, ModelError::TooLong { length: 65, limit: 64 }), "{name}: {too_long}");
    }
}

/// Models of which there is a GGUF file, and whether its configuration is the same to the bit: factors of rotations are
/// rounded there.
const IN_GGUF: [(&str, bool); 14] = [
    ("untied", true),
    ("tied_biased", true),
    ("llama3_rope", false),
    ("mixtral", true),
    ("qwen2", true),
    ("qwen3", true),
    ("smollm3", true),
    ("phi3", true),
    ("phi3_longrope", false),
    ("gemma2_plain", true),
    ("gemma3_plain", true),
    ("stablelm", true),
    ("stablelm_parallel", true),
    ("gpt2", true),
];

#[test]
fn gguf_files_of_every_family_answer_as_in_transformers() {
    for (name, alike) in IN_GGUF {
        let path = conformance("gguf").join(format!("{name}.gguf"));
        let original = hf(&conformance("families").join(name)).unwrap();
        let cases: Vec<Case> = golden(&conformance("families").join(name));
        let model = gguf(&path).unwrap();
        check_small(&model, &cases);
        assert!(!alike || model.config.decoder == original.config.decoder, "{name}: {:?}", model.config.decoder);
        assert_eq!(model.config.model_type, original.config.model_type);
        let mut names: Vec<&String> = model.tensors.keys().collect();
        let mut expected: Vec<&String> = original.tensors.keys().collect();
        names.sort();
        expected.sort();
        assert_eq!(names, expected, "{name}");
        for (tensor, found) in model.tensors.iter() {
            let (a, b) = (found.to_f32().unwrap(), original.tensors[tensor].to_f32().unwrap());
            assert!(largest_difference(&a, &b) < 2e-7, "{name}: {tensor}");
        }
        let head = gguf_header(&path).unwrap();
        assert_eq!(head.config, model.config);
        assert!(head.tensors.iter().all(|(tensor, head)| head.shape == model.tensors[tensor].shape()), "{name}");

        let copy = tempfile::tempdir().unwrap();
        let copy = copy.path().join("copy");
        save(&model, &copy).unwrap();
        check_small(&hf(&copy).unwrap(), &cases);
    }
}

/// The operations that other devices run, on the CPU: f32 sums in another order, so the tolerance is that of transformers.
#[test]
fn the_operations_of_devices_answer_as_our_kernels() {
    let place = Place { threads: 1, device: Some(Device::reference()), ..Place::default() };
    for name in FAMILIES {
        let model = hf(&conformance("families").join(name)).unwrap();
        let cases: Vec<Case> = golden(&conformance("families").join(name));
        let ours = model.decoder(2).unwrap();
        let theirs = model.decoder(place.clone()).unwrap();
        let near = |a: &[f32], b: &[f32]| {
            let difference = largest_difference(a, b);
            assert!(difference < 2e-5, "{name}: {difference}");
        };
        for case in &cases {
            let found = logits(&model, Prompt::Tokens(&case.tokens), case.greedy.len(), place.clone()).unwrap();
            near(&found.last_logits, &case.last_logits);
            assert_eq!(found.greedy, case.greedy, "{name}");
        }
        // Several texts at once, some with common beginnings; likelihoods and answers go on from the same tree.
        let texts: Vec<Vec<u32>> = cases.iter().map(|case| case.tokens.iter().take(50).copied().collect()).collect();
        let mut pairs: Vec<(&[u32], &[u32])> = texts.iter().map(|text| text.split_at(1)).collect();
        pairs.extend(texts.iter().map(|text| (text.as_slice(), [5, 9].as_slice())));
        let all = |rows: Vec<Vec<f32>>| rows.concat();
        near(&all(ours.logprobs(&pairs, 2).unwrap()), &all(theirs.logprobs(&pairs, 1).unwrap()));
        let answers = |decoder: &Decoder| decoder.greedy(&texts, 8, &[3, 7], 1).unwrap();
        assert_eq!(answers(&ours), answers(&theirs), "{name}");
    }
    let bert = hf(&conformance("families").join("bert")).unwrap();
    let texts: [&[u32]; 3] = [&[2, 5, 9], &[4], &[1, 2, 3, 4, 5, 6, 7]];
    for (pooling, normalise) in [(Pooling::Mean, true), (Pooling::First, false), (Pooling::Last, false)] {
        let embed = |place: Place| bert.encoder(pooling, normalise, place).unwrap().embed(&texts, 1).unwrap();
        assert!(largest_difference(&embed(1.into()), &embed(place.clone())) < 1e-5, "{pooling:?}");
    }
}

#[test]
fn a_decoder_that_is_asked_to_stop_ends_at_the_next_pass() {
    let stop = Arc::new(AtomicBool::new(false));
    for device in [None, Some(Device::reference())] {
        stop.store(false, Ordering::Relaxed);
        let place = Place { threads: 1, device, stop: Some(stop.clone()), ..Place::default() };
        let decoder = hf(&conformance("families").join("untied")).unwrap().decoder(place).unwrap();
        /// Asks to stop at its third token.
        struct Stopping(usize, Arc<AtomicBool>);
        impl Choose for Stopping {
            fn choose(&mut self, _: &mut [f32]) -> Option<u32> {
                self.0 += 1;
                self.1.store(self.0 == 3, Ordering::Relaxed);
                Some(1)
            }
        }
        let mut chooser = [Stopping(0, stop.clone())];
        let ended = decoder.generate(&[vec![1, 2]], &mut chooser, 40, 1);
        assert_eq!((ended, chooser[0].0), (Err(DecodeError::Stopped), 3));
        assert_eq!(decoder.logprobs(&[(&[1], &[2, 3])], 1), Err(DecodeError::Stopped));
    }
}

#[derive(Deserialize)]
struct Vectors {
    tokens: Vec<u32>,
    first: Vec<f32>,
    last: Vec<f32>,
    mean: Vec<f32>,
    unit: Vec<f32>,
}

#[test]
fn a_small_encoder_answers_as_in_transformers() {
    let dir = conformance("families").join("bert");
    let model = hf(&dir).unwrap();
    let cases: Vec<Vectors> = golden(&dir);
    let texts: Vec<&[u32]> = cases.iter().map(|case| case.tokens.as_slice()).collect();
    let check = |pooling, normalise, wanted: fn(&Vectors) -> &[f32]| {
        let found = model.encoder(pooling, normalise, 2).unwrap().embed(&texts, 2).unwrap();
        for (found, case) in found.chunks_exact(32).zip(&cases) {
            assert!(largest_difference(found, wanted(case)) < 1e-5, "{pooling:?}, {} tokens", case.tokens.len());
        }
    };
    check(Pooling::First, false, |case| &case.first);
    check(Pooling::Last, false, |case| &case.last);
    check(Pooling::Mean, false, |case| &case.mean);
    check(Pooling::Mean, true, |case| &case.unit);
    let refusal = model.decoder(1).unwrap_err();
    assert_eq!(refusal.code(), "E0403");
    assert!(matches!(logits(&model, Prompt::Tokens(&[1]), 1, 1), Err(ModelError::NoDecoder { .. })));
}

#[test]
fn files_of_before_are_read_alike() {
    for (name, rename) in [
        ("gpt2", (|name| name.replace("transformer.", "")) as fn(&str) -> String),
        ("bert", |name| format!("bert.{}", name.replace("LayerNorm.weight", "LayerNorm.gamma"))),
    ] {
        let model = hf(&conformance("families").join(name)).unwrap();
        let place = tempfile::tempdir().unwrap();
        let tensors = model.tensors.iter().map(|(name, tensor)| (rename(name), tensor.clone())).collect();
        save(&model.with_tensors("older", tensors, Card::default()), &place.path().join("older")).unwrap();
        let older = hf(&place.path().join("older")).unwrap();
        assert!(
            header(&place.path().join("older")).unwrap().tensors.contains_key(model.tensors.keys().next().unwrap())
        );
        assert_eq!(older.digest(), model.digest(), "{name}");
    }
}

/// The SmolLM2 of the vectors, or `None` and a line that says why.
fn smollm2() -> Option<Model> {
    if std::env::var_os("EVO_SLOW").is_none() {
        println!("skipped: slow; set EVO_SLOW=1 and EVO_SMOLLM2=/path/of/SmolLM2-135M-Instruct.Q4_1.gguf");
        return None;
    }
    let Some(path) = std::env::var_os("EVO_SMOLLM2") else {
        println!("skipped: EVO_SMOLLM2 does not name the GGUF file");
        return None;
    };
    let model = gguf(Path::new(&path)).unwrap();
    let head = gguf_header(Path::new(&path)).unwrap();
    assert_eq!(head.config, model.config);
    Some(model)
}

#[derive(Deserialize)]
struct Example {
    name: String,
    kind: String,
    prompt: String,
    text: String,
    greedy: String,
}

#[derive(Deserialize)]
struct Spelling {
    text: String,
    ids: Vec<u32>,
}

fn numbers<const N: usize, T>(file: &SafeTensors<'_>, name: &str, convert: fn([u8; N]) -> T) -> Vec<T> {
    let data = file.tensor(name).unwrap();
    data.data().as_chunks::<N>().0.iter().map(|bytes| convert(*bytes)).collect()
}

#[test]
fn smollm2_answers_as_in_transformers() {
    let Some(model) = smollm2() else { return };
    let folder = conformance("smollm2");
    let bytes = std::fs::read(folder.join("golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let examples = std::fs::read_to_string(folder.join("golden.json")).unwrap();
    let examples: Vec<Example> = serde_json::from_str(&examples).unwrap();
    let tokenizer = model.require_tokenizer().unwrap();
    for example in &examples {
        let name = &example.name;
        if example.kind == "chat" {
            let text = model.chat(&[Message::user(&example.prompt)], None).unwrap();
            assert_eq!(text, example.text);
        }
        let found = logits(&model, Prompt::Text(&example.text), 32, 2).unwrap();
        let ids = |what: &str| numbers(&golden, &format!("{name}.{what}"), i64::from_le_bytes);
        let as_i64 = |ids: &[u32]| ids.iter().map(|&id| i64::from(id)).collect::<Vec<_>>();
        assert_eq!(as_i64(&found.tokens), ids("input_ids"), "{name}");
        assert_eq!(as_i64(&found.greedy), ids("greedy32"), "{name}");
        assert_eq!(tokenizer.decode(&found.greedy, false).unwrap(), example.greedy, "{name}");
        let expected = numbers(&golden, &format!("{name}.last_logits"), f32::from_le_bytes);
        let difference = largest_difference(&found.last_logits, &expected);
        println!("{name}: logits differ by at most {difference:e}");
        assert!(difference <= 2e-3, "{name}: {difference}");
    }
}

#[test]
fn smollm2_spells_as_in_transformers() {
    let Some(model) = smollm2() else { return };
    let file = std::fs::read_to_string(conformance("smollm2").join("tokenizer.json")).unwrap();
    let spellings: Vec<Spelling> = serde_json::from_str(&file).unwrap();
    let tokenizer = model.require_tokenizer().unwrap();
    for spelling in &spellings {
        assert_eq!(tokenizer.encode(&spelling.text, false).unwrap(), spelling.ids, "{:?}", spelling.text);
        assert_eq!(tokenizer.decode(&spelling.ids, false).unwrap(), spelling.text);
    }
}
