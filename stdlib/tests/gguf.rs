//! GGUF files made here from a known model: what was written comes back, and lies in the header are found out.
#![cfg(test)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use evo_kernels::rng::Stream;
use evo_stdlib::model::{
    Card, Model, ModelError, Prompt, Tensor as ModelTensor, Tensors, Tiny, gguf, gguf_header, hf, llama_tiny, logits,
};

fn untied() -> Model {
    hf(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/families/untied")).unwrap()
}

/// Halves side by side to pairs side by side, as converters to GGUF do with query and key rows.
fn interleave(data: &[f32], heads: usize, cols: usize) -> Vec<f32> {
    let head_dim = data.len() / heads / cols;
    let mut out = Vec::new();
    for head in data.chunks(head_dim * cols) {
        for i in 0..head_dim / 2 {
            for a in 0..2 {
                out.extend(&head[(a * head_dim / 2 + i) * cols..][..cols]);
            }
        }
    }
    out
}

fn gguf_name(name: &str) -> String {
    name.replace("model.embed_tokens", "token_embd")
        .replace("model.norm", "output_norm")
        .replace("lm_head", "output")
        .replace("model.layers", "blk")
        .replace("input_layernorm", "attn_norm")
        .replace("post_attention_layernorm", "ffn_norm")
        .replace("self_attn.o_proj", "attn_output")
        .replace("self_attn.q_proj", "attn_q")
        .replace("self_attn.k_proj", "attn_k")
        .replace("self_attn.v_proj", "attn_v")
        .replace("mlp.gate_proj", "ffn_gate")
        .replace("mlp.up_proj", "ffn_up")
        .replace("mlp.down_proj", "ffn_down")
}

/// The vocabulary of the files.
const TOKENS: [&str; 9] = ["<|end|>", "a", "b", "ab", "1", "2", "Ġ", "Ġab", "<tool>"];

fn metadata(model: &Model) -> Vec<(&'static str, Value)> {
    let size = |n: usize| Value::U32(n as u32);
    let config = &model.config;
    let texts = |list: &[&str]| Value::Array(list.iter().map(|s| Value::String((*s).into())).collect());
    let kinds = [3, 1, 1, 1, 1, 1, 1, 1, 4].map(Value::I32).to_vec();
    vec![
        ("general.architecture", Value::String("llama".into())),
        ("general.license", Value::String("mit".into())),
        ("llama.block_count", size(config.num_layers())),
        ("llama.context_length", size(config.max_positions)),
        ("llama.embedding_length", size(config.hidden_size)),
        ("llama.feed_forward_length", size(config.intermediate_size)),
        ("llama.attention.head_count", size(config.num_heads)),
        ("llama.attention.head_count_kv", size(config.num_kv_heads)),
        ("llama.rope.freq_base", Value::F32(10_000.0)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.pre", Value::String("smollm".into())),
        ("tokenizer.ggml.tokens", texts(&TOKENS)),
        ("tokenizer.ggml.token_type", Value::Array(kinds)),
        ("tokenizer.ggml.merges", texts(&["a b", "Ġ ab"])),
        ("tokenizer.ggml.bos_token_id", Value::U32(1)),
        ("tokenizer.ggml.eos_token_id", Value::U32(0)),
        ("tokenizer.chat_template", Value::String("{{ messages[0].content }}{{ eos_token }}".into())),
    ]
}

/// Writes the model with its matrices packed as `dtype`.
fn write(place: &Path, model: &Model, dtype: GgmlDType, metadata: &[(&str, Value)]) -> PathBuf {
    let device = Device::Cpu;
    let tensors: Vec<(String, QTensor)> = model
        .tensors
        .iter()
        .map(|(name, tensor)| {
            let mut data = tensor.to_f32().unwrap().into_owned();
            if name.contains("q_proj") {
                data = interleave(&data, model.config.num_heads, tensor.shape()[1]);
            } else if name.contains("k_proj") {
                data = interleave(&data, model.config.num_kv_heads, tensor.shape()[1]);
            }
            let block = dtype.block_size();
            let fits = tensor.shape().len() == 2 && tensor.shape()[1].is_multiple_of(block);
            let tensor = Tensor::from_vec(data, tensor.shape(), &device).unwrap();
            let dtype = if fits { dtype } else { GgmlDType::F32 };
            (gguf_name(name), QTensor::quantize(&tensor, dtype).unwrap())
        })
        .collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let path = place.join("model.gguf");
    gguf_file::write(&mut File::create(&path).unwrap(), &metadata, &tensors).unwrap();
    path
}

#[test]
fn what_was_written_comes_back() {
    let place = tempfile::tempdir().unwrap();
    let model = untied();
    let path = write(place.path(), &model, GgmlDType::F32, &metadata(&model));
    let found = gguf(&path).unwrap();
    assert_eq!(found.config.decoder, model.config.decoder);
    assert_eq!(found.digest(), model.digest());
    assert_eq!(found.stop_ids(), [0]);
    assert_eq!(found.card.licenses, ["mit"]);
    let head = gguf_header(&path).unwrap();
    assert_eq!(head.config, found.config);
    assert_eq!(head.tokenizer.unwrap().fingerprint, found.tokenizer.as_ref().unwrap().fingerprint());
    let answer = |model| logits(model, Prompt::Tokens(&[1, 2, 3]), 4, 1).unwrap();
    assert_eq!(answer(&found), answer(&model));

    let tokenizer = found.require_tokenizer().unwrap();
    let ids = tokenizer.encode("ab ab12<tool><|end|>ba", false).unwrap();
    assert_eq!(ids, [3, 7, 4, 5, 8, 0, 2, 1]);
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "ab ab12<tool>ba");
}

#[test]
fn packed_weights_are_close_to_what_they_were() {
    let place = tempfile::tempdir().unwrap();
    let model = untied();
    for (dtype, tolerance) in [
        (GgmlDType::F16, 1e-3),
        (GgmlDType::BF16, 1e-2),
        (GgmlDType::Q8_0, 1e-2),
        (GgmlDType::Q4_1, 0.12),
        (GgmlDType::Q4_0, 0.2),
    ] {
        let path = write(place.path(), &model, dtype, &metadata(&model));
        let found = gguf(&path).unwrap();
        for (name, tensor) in model.tensors.iter() {
            let (a, b) = (tensor.to_f32().unwrap(), found.tensors[name].to_f32().unwrap());
            let worst = a.iter().zip(b.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= tolerance, "{dtype:?} {name}: {worst}");
        }
        assert_ne!(found.digest(), model.digest());
    }
}

/// A model whose rows are whole blocks of every packing.
fn wide() -> Model {
    let sizes = Tiny { layers: 1, hidden: 256, heads: 4, kv_heads: 2, intermediate: 512, positions: 64, tied: true };
    llama_tiny(&sizes, Stream::from_seed(3)).unwrap()
}

#[test]
fn the_decoder_computes_with_blocks_what_it_computes_with_their_numbers() {
    let place = tempfile::tempdir().unwrap();
    let model = wide();
    for dtype in [
        GgmlDType::F32,
        GgmlDType::F16,
        GgmlDType::BF16,
        GgmlDType::Q8_0,
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q4K,
        GgmlDType::Q6K,
        GgmlDType::Q5_1,
    ] {
        let mut about = metadata(&model);
        about.retain(|(key, _)| !key.starts_with("tokenizer."));
        let found = gguf(&write(place.path(), &model, dtype, &about)).unwrap();
        let answer = |model: &Model| {
            let short = logits(model, Prompt::Tokens(&[1, 2, 3]), 4, 1).unwrap();
            let long: Vec<u32> = (0..40).map(|i| i * 5).collect();
            (short, logits(model, Prompt::Tokens(&long), 4, 2).unwrap())
        };
        let packed = answer(&found);
        let digest = found.digest();
        let plain: Tensors = found
            .tensors
            .iter()
            .map(|(name, tensor)| {
                let values = tensor.to_f32().unwrap().into_owned();
                (name.clone(), ModelTensor::from_f32(values, tensor.shape().to_vec()).unwrap())
            })
            .collect();
        let plain = found.with_tensors("plain", plain, Card::default());
        assert_eq!(packed, answer(&plain), "{dtype:?}");
        assert_eq!(digest, plain.digest(), "{dtype:?}");
        // candle's own dequantiser knows nothing of rows put back in order, so a tensor that keeps its rows is compared.
        let name = "model.layers.0.mlp.down_proj.weight";
        let values = Tensor::from_vec(model.tensors[name].to_f32().unwrap().into_owned(), (256, 512), &Device::Cpu);
        let expected = QTensor::quantize(&values.unwrap(), dtype).unwrap().dequantize(&Device::Cpu).unwrap();
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(found.tensors[name].to_f32().unwrap().as_ref(), expected, "{dtype:?}");
    }
}

#[test]
fn tensors_with_the_wrong_number_of_blocks_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let model = untied();
    let path = write(place.path(), &model, GgmlDType::Q4_1, &metadata(&model));
    let whole = fs::read(&path).unwrap();
    let name = b"blk.0.ffn_gate.weight";
    // After the name: the number of dimensions, the width, the height, the packing, the place.
    let at = whole.windows(name.len()).position(|window| window == name).unwrap() + name.len() + 4;
    let refusal = |at: usize, number: u64| {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let error = gguf(&path).unwrap_err();
        assert_eq!(error.to_string(), gguf_header(&path).unwrap_err().to_string());
        assert!(matches!(error, ModelError::Gguf { .. }), "{error}");
        error.to_string()
    };
    let found = refusal(at, 33);
    assert!(found.contains("ffn_gate") && found.contains("rows of 33, no multiple of its block of 32"), "{found}");
    let found = refusal(at + 8, 1 << 40);
    assert!(found.contains("ffn_gate") && found.contains("the file ends before"), "{found}");
    let found = refusal(at + 20, 1 << 40);
    assert!(found.contains("ffn_gate") && found.contains("the file ends before"), "{found}");
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let model = untied();
    let refusal = |key: &str, value: Value| {
        let mut metadata = metadata(&model);
        metadata.retain(|(name, _)| *name != key);
        let changed: Vec<(&str, Value)> = metadata.into_iter().chain([(key, value)]).collect();
        let path = write(place.path(), &model, GgmlDType::F32, &changed);
        let error = gguf(&path).unwrap_err();
        assert_eq!(error.to_string(), gguf_header(&path).unwrap_err().to_string());
        error
    };
    let text = |s: &str| Value::String(s.into());
    assert!(
        matches!(refusal("general.architecture", text("rwkv")), ModelError::UnknownArchitecture { found, .. } if found == "rwkv")
    );
    assert!(matches!(refusal("general.alignment", Value::U32(0)), ModelError::Gguf { .. }));
    assert!(
        matches!(refusal("tokenizer.ggml.model", text("t5")), ModelError::Gguf { cause, .. } if cause.contains("`t5`"))
    );
    assert!(
        matches!(refusal("tokenizer.ggml.pre", text("odd")), ModelError::Gguf { cause, .. } if cause.contains("`odd`"))
    );
    assert!(
        matches!(refusal("split.count", Value::U16(3)), ModelError::Gguf { cause, .. } if cause.contains("one of 3 parts"))
    );
    assert!(matches!(refusal("llama.block_count", Value::U32(3)), ModelError::MissingTensor { .. }));
    assert!(matches!(refusal("llama.block_count", text("2")), ModelError::ConfigField { .. }));
    assert!(matches!(refusal("llama.rope.scaling.type", text("yarn")), ModelError::ConfigField { .. }));
    let more = (9..62).map(|i| text(&format!("t{i}")));
    let many = TOKENS.map(text).into_iter().chain(more).collect();
    assert!(matches!(
        refusal("tokenizer.ggml.tokens", Value::Array(many)),
        ModelError::Vocabulary { largest: 61, vocab_size: 61, .. }
    ));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let model = untied();
    let path = write(place.path(), &model, GgmlDType::Q8_0, &metadata(&model));
    let whole = fs::read(&path).unwrap();
    let cuts = (0..3000).step_by(11).chain((3000..whole.len()).step_by(4001));
    for cut in cuts {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(gguf(&path).is_err(), "cut at {cut}");
    }
    // A length that lies, at every place where one could stand.
    for at in (4..3000).step_by(5) {
        let mut bytes = whole.clone();
        bytes[at..at + 8].fill(0xFF);
        fs::write(&path, &bytes).unwrap();
        let _ = gguf_header(&path);
    }
}
