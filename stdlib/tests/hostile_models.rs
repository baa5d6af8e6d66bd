//! Broken, lying and mismatched model files: each is refused with its own error, and nothing is half written.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evo_kernels::decode::Decoder;
use evo_kernels::rng::Stream;
use evo_stdlib::model::{
    EntryFault, HeaderFault, Model, ModelError, Prompt, Tensor, Tiny, check_alike, check_finite, gguf, gguf_header,
    header, hf, llama_tiny, logits, safetensors, save,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

fn tiny() -> Model {
    let sizes = Tiny { layers: 2, hidden: 8, heads: 2, kv_heads: 1, intermediate: 12, positions: 32, tied: false };
    llama_tiny(&sizes, Stream::from_seed(1)).unwrap()
}

/// A saved tiny model.
fn saved() -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("model");
    save(&tiny(), &dir).unwrap();
    (place, dir)
}

/// A safetensors file with this header and so many bytes of data.
fn file(place: &Path, header: &str, data: usize) -> PathBuf {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(std::iter::repeat_n(0, data));
    let path = place.join("x.safetensors");
    fs::write(&path, bytes).unwrap();
    path
}

/// Both readers must refuse the file, for the same reason.
fn refusal(path: &Path) -> ModelError {
    let error = safetensors::read_header(path).unwrap_err();
    assert_eq!(error.to_string(), safetensors::open(path).unwrap_err().to_string());
    assert!(!error.help().is_empty());
    error
}

fn entry(dtype: &str, shape: &[u64], from: u64, to: u64) -> Value {
    json!({"dtype": dtype, "shape": shape, "data_offsets": [from, to]})
}

/// Writes such a file; what is said of its tensor `a`.
fn entry_fault(header: &Value, data: usize) -> EntryFault {
    let place = tempfile::tempdir().unwrap();
    match refusal(&file(place.path(), &header.to_string(), data)) {
        ModelError::Entry { tensor, fault, .. } if tensor == "a" => fault,
        other => panic!("{header}: {other}"),
    }
}

#[test]
fn tensors_that_lie_are_found_out() {
    let one = |dtype, shape: &[u64], from, to| {
        let has = 8;
        entry_fault(&json!({"a": entry(dtype, shape, from, to)}), has)
    };
    assert_eq!(one("F32", &[3], 0, 12), EntryFault::BeyondFile { end: 12, has: 8 });
    assert_eq!(one("F32", &[3], 0, 8), EntryFault::Length { needs: 12, has: 8 });
    assert_eq!(one("F32", &[2], 8, 0), EntryFault::Reversed { begin: 8, end: 0 });
    assert_eq!(one("Q7", &[2], 0, 8), EntryFault::UnknownDType { dtype: "Q7".into() });
    let shape = vec![1 << 40, 1 << 40];
    assert_eq!(one("F32", &shape, 0, 8), EntryFault::Overflow { shape: shape.clone() });
    let end = u64::MAX;
    assert_eq!(one("U8", &[end], 0, end), EntryFault::BeyondFile { end, has: 8 });
    let both = json!({"a": entry("U8", &[4], 2, 6), "b": entry("U8", &[4], 0, 4)});
    assert_eq!(entry_fault(&both, 6), EntryFault::Overlap { other: "b".into() });
}

#[test]
fn a_name_that_comes_twice_is_found_out() {
    let place = tempfile::tempdir().unwrap();
    let one = |from: u64| format!(r#""a":{}"#, entry("U8", &[1], from, from + 1));
    let path = file(place.path(), &format!("{{{},{}}}", one(0), one(1)), 2);
    assert!(matches!(refusal(&path), ModelError::Entry { fault: EntryFault::Duplicate, .. }));
}

#[test]
fn headers_that_lie_are_found_out() {
    let place = tempfile::tempdir().unwrap();
    let fault = |path: &Path| match refusal(path) {
        ModelError::Header { fault, .. } => fault,
        other => panic!("{other}"),
    };
    let of = |header: &str, data| fault(&file(place.path(), header, data));
    let gap = json!({"a": entry("U8", &[2], 0, 2), "b": entry("U8", &[2], 4, 6)}).to_string();
    assert_eq!(of(&gap, 6), HeaderFault::Gap { from: 2, bytes: 2 });
    let rest = json!({"a": entry("U8", &[2], 0, 2)}).to_string();
    assert_eq!(of(&rest, 5), HeaderFault::Gap { from: 2, bytes: 3 });
    let negative = r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#;
    let deep = "[".repeat(200_000);
    for bad in ["", "[]", "{", "{\"a\":1}", negative, "\u{0}", &deep] {
        assert!(matches!(of(bad, 4), HeaderFault::NotJson { .. }), "{bad}");
    }
    let path = place.path().join("x.safetensors");
    fs::write(&path, [1, 2, 3]).unwrap();
    assert_eq!(fault(&path), HeaderFault::TooShort { has: 3 });
    fs::write(&path, u64::MAX.to_le_bytes()).unwrap();
    let claims = u64::MAX;
    assert_eq!(fault(&path), HeaderFault::HeaderBeyondFile { claims, has: 0 });
    assert!(matches!(refusal(&place.path().join("none")), ModelError::Missing { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x");
        fs::write(&path, &bytes).unwrap();
        prop_assert!(safetensors::open(&path).is_err());
        prop_assert!(gguf(&path).is_err());
        let mut with_magic = b"GGUF\x03\0\0\0".to_vec();
        with_magic.extend(&bytes);
        fs::write(&path, &with_magic).unwrap();
        prop_assert!(gguf(&path).is_err());
        prop_assert!(gguf_header(&path).is_err());
    }

    #[test]
    fn a_file_cut_or_changed_anywhere_loads_rightly_or_not_at_all(at in 0usize..2000, to in any::<u8>()) {
        let (_place, dir) = saved();
        let path = dir.join("model.safetensors");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..at.min(whole.len() - 1)]).unwrap();
        prop_assert!(hf(&dir).is_err());
        prop_assert!(header(&dir).is_err());
        let mut changed = whole.clone();
        changed[at] = to;
        fs::write(&path, &changed).unwrap();
        if let Ok(model) = hf(&dir) {
            prop_assert_eq!(model.tensors.len(), tiny().tensors.len());
        }
    }
}

fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    edit(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// What both `hf` and `header` say of a directory.
fn directory_refusal(dir: &Path) -> ModelError {
    let error = header(dir).unwrap_err();
    assert_eq!(error.to_string(), hf(dir).unwrap_err().to_string());
    assert!(!error.help().is_empty());
    error
}

/// A saved model that loads no more after `edit`; what is said of it.
fn spoiled(edit: impl FnOnce(&Path)) -> ModelError {
    let (_place, dir) = saved();
    assert!(hf(&dir).is_ok() && header(&dir).is_ok());
    edit(&dir);
    directory_refusal(&dir)
}

fn with_config(field: &str, value: Value) -> ModelError {
    spoiled(|dir| edit_json(&dir.join("config.json"), |json| json[field] = value))
}

#[test]
fn configurations_that_do_not_fit_the_weights_are_refused() {
    let unknown = with_config("model_type", json!("mamba"));
    assert!(matches!(unknown, ModelError::UnknownArchitecture { found, .. } if found == "mamba"));
    let wide = with_config("hidden_size", json!(16));
    assert!(matches!(wide, ModelError::Shape { tensor, .. } if tensor == "model.embed_tokens.weight"));
    let deep = with_config("num_hidden_layers", json!(3));
    assert!(matches!(deep, ModelError::MissingTensor { tensor, .. } if tensor.starts_with("model.layers.2.")));
    let biased = with_config("attention_bias", json!(true));
    assert!(matches!(biased, ModelError::MissingTensor { .. }));
    let shallow = with_config("num_hidden_layers", json!(1));
    assert!(matches!(shallow, ModelError::UnknownTensor { .. }));
    for (field, value) in [
        ("num_attention_heads", json!(0)),
        ("num_key_value_heads", json!(3)),
        ("hidden_size", json!(u64::MAX)),
        ("hidden_size", json!("8")),
        ("hidden_act", json!("mish")),
        ("rope_scaling", json!({"type": "yarn"})),
    ] {
        let error = with_config(field, value);
        assert!(matches!(error, ModelError::ConfigField { .. }), "{field}: {error}");
    }
}

#[test]
fn directories_whose_files_do_not_fit_are_refused() {
    let broken = spoiled(|dir| fs::write(dir.join("config.json"), "{").unwrap());
    assert!(matches!(broken, ModelError::Json { .. }));
    for file in ["config.json", "model.safetensors"] {
        let missing = spoiled(|dir| fs::remove_file(dir.join(file)).unwrap());
        assert!(matches!(missing, ModelError::Missing { path } if path.ends_with(file)));
    }
    let grown = spoiled(|dir| {
        edit_json(&dir.join("tokenizer.json"), |json| {
            json["model"]["vocab"]["zz"] = json!(300);
        });
    });
    assert!(matches!(grown, ModelError::Vocabulary { largest: 300, vocab_size: 256, .. }));
    let nowhere = directory_refusal(Path::new("/nowhere/model"));
    assert!(matches!(nowhere, ModelError::Missing { .. }));
    // A broken tokenizer is noticed by both, each in its words.
    let (_place, dir) = saved();
    fs::write(dir.join("tokenizer.json"), "{}").unwrap();
    assert!(matches!(hf(&dir), Err(ModelError::Tokenizer { .. })));
    assert!(matches!(header(&dir), Err(ModelError::Tokenizer { .. })));
}

#[test]
fn shards_must_agree_with_their_index() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/families/untied");
    let check = |edit: &dyn Fn(&Path), expected: &dyn Fn(&ModelError) -> bool| {
        let place = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(&source).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, place.path().join(path.file_name().unwrap())).unwrap();
        }
        assert!(hf(place.path()).is_ok());
        edit(place.path());
        let error = directory_refusal(place.path());
        assert!(expected(&error), "{error}");
    };
    let index = "model.safetensors.index.json";
    let second = "model-00002-of-00003.safetensors";
    check(
        &|dir| fs::remove_file(dir.join(second)).unwrap(),
        &|e| matches!(e, ModelError::MissingShard { shard, .. } if shard == second),
    );
    let escape = |dir: &Path| {
        edit_json(&dir.join(index), |json| json["weight_map"]["lm_head.weight"] = json!("../x.safetensors"))
    };
    check(&escape, &|e| matches!(e, ModelError::MissingShard { .. }));
    let swap = |dir: &Path| {
        edit_json(&dir.join(index), |json| {
            json["weight_map"]["model.embed_tokens.weight"] = json!("model-00003-of-00003.safetensors");
        })
    };
    check(&swap, &|e| matches!(e, ModelError::ShardIndex { .. }));
    let extra = |dir: &Path| edit_json(&dir.join(index), |json| json["weight_map"]["ghost"] = json!(second));
    check(&extra, &|e| matches!(e, ModelError::ShardIndex { tensor, .. } if tensor == "ghost"));
    let double = |dir: &Path| {
        fs::copy(dir.join(second), dir.join("model-00003-of-00003.safetensors")).unwrap();
    };
    check(&double, &|e| matches!(e, ModelError::ShardIndex { .. }));
    check(&|dir| fs::write(dir.join(index), "[]").unwrap(), &|e| matches!(e, ModelError::Json { .. }));
}

#[test]
fn weights_that_are_not_numbers_are_named() {
    let model = tiny();
    assert!(check_finite(&model.tensors).is_ok());
    let mut tensors = (*model.tensors).clone();
    let name = "model.layers.0.mlp.up_proj.weight";
    let mut data = tensors[name].to_f32().unwrap().into_owned();
    data[5] = f32::NAN;
    data[9] = f32::INFINITY;
    tensors[name] = Tensor::from_f32(data, tensors[name].shape().to_vec()).unwrap();
    let Err(ModelError::NotFinite { tensor, index, count, .. }) = check_finite(&tensors) else {
        panic!("must be found");
    };
    assert_eq!((tensor.as_str(), index, count), (name, 5, 2));
}

#[test]
fn unlike_models_are_told_apart_by_their_first_difference() {
    let model = tiny();
    assert!(check_alike(&model.tensors, &model.tensors, true).is_ok());
    let mut other = (*model.tensors).clone();
    let norm = "model.norm.weight";
    other[norm] = Tensor::from_f32_as(evo_stdlib::model::DType::BF16, vec![1.0; 8], vec![8]).unwrap();
    assert!(check_alike(&model.tensors, &other, false).is_ok());
    assert!(
        matches!(check_alike(&model.tensors, &other, true), Err(ModelError::Unlike { tensor, .. }) if tensor == norm)
    );
    other[norm] = Tensor::from_f32(vec![1.0; 9], vec![9]).unwrap();
    assert!(check_alike(&model.tensors, &other, false).is_err());
    other.shift_remove(norm);
    assert!(check_alike(&model.tensors, &other, false).is_err());
    assert!(check_alike(&other, &model.tensors, false).is_err());
}

#[test]
fn a_model_without_a_tokenizer_works_on_ids() {
    let (_place, dir) = saved();
    fs::remove_file(dir.join("tokenizer.json")).unwrap();
    let model = hf(&dir).unwrap();
    assert!(header(&dir).unwrap().tokenizer.is_none());
    assert!(logits(&model, Prompt::Tokens(&[1, 2]), 2, 1).is_ok());
    let refused = |prompt, more| logits(&model, prompt, more, 1).unwrap_err();
    assert!(matches!(refused(Prompt::Text("a"), 0), ModelError::NoTokenizer { .. }));
    assert!(matches!(refused(Prompt::Tokens(&[]), 0), ModelError::EmptyPrompt));
    assert!(matches!(refused(Prompt::Tokens(&[256]), 0), ModelError::TokenRange { id: 256, vocab_size: 256 }));
    assert!(matches!(refused(Prompt::Tokens(&[1, 2]), 31), ModelError::TooLong { length: 33, limit: 32 }));
    assert!(matches!(refused(Prompt::Tokens(&[1]), usize::MAX), ModelError::TooLong { .. }));
}

#[test]
fn saving_replaces_models_and_nothing_else() {
    let (place, dir) = saved();
    let before = hf(&dir).unwrap().digest();
    let sizes = Tiny { layers: 1, hidden: 8, heads: 2, kv_heads: 1, intermediate: 12, ..Tiny::default() };
    let other = llama_tiny(&sizes, Stream::from_seed(2)).unwrap();
    save(&other, &dir).unwrap();
    let after = hf(&dir).unwrap().digest();
    assert_eq!(after, other.digest());
    assert_ne!(before, after);
    let names = |dir: &Path| fs::read_dir(dir).unwrap().count();
    assert_eq!(names(place.path()), 1, "nothing is left beside the model");

    fs::write(dir.join("thesis.tex"), "years of work").unwrap();
    assert!(matches!(save(&other, &dir), Err(ModelError::Occupied { file, .. }) if file == "thesis.tex"));
    assert!(dir.join("thesis.tex").exists());
    assert!(matches!(save(&other, Path::new("/")), Err(ModelError::Occupied { .. })));

    let occupied = place.path().join("file");
    fs::write(&occupied, "").unwrap();
    assert!(matches!(save(&other, &occupied), Err(ModelError::Write { .. })));
    assert!(matches!(save(&other, &occupied.join("below")), Err(ModelError::Write { .. })));
    assert_eq!(names(place.path()), 2);
}

#[test]
fn a_full_disk_is_told_as_such() {
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    assert!(matches!(ModelError::write(Path::new("x"), full), ModelError::DiskFull { .. }));
    #[cfg(target_os = "linux")]
    {
        let error = fs::write("/dev/full", "x").unwrap_err();
        assert!(matches!(ModelError::write(Path::new("x"), error), ModelError::DiskFull { .. }));
    }
}

#[test]
fn children_share_what_they_do_not_change() {
    let model = tiny();
    let mut tensors = (*model.tensors).clone();
    let norm = "model.norm.weight";
    tensors[norm] = Tensor::from_f32(vec![2.0; 8], vec![8]).unwrap();
    let child = model.with_tensors("child", tensors, Default::default());
    let (a, b) = (model.decoder(1).unwrap(), child.decoder(1).unwrap());
    assert!(Arc::ptr_eq(&a.weights().embedding, &b.weights().embedding));
    let norm = |decoder: &Decoder| decoder.weights().norm.as_ref().unwrap().weight.clone();
    assert!(!Arc::ptr_eq(&norm(&a), &norm(&b)));
    assert_ne!(model.digest(), child.digest());
    assert_eq!(model.digest(), tiny().digest());
}
