//! Models that contradict themselves and requests that a model cannot take, through the command line: each has its code, its
//! place, its cause and a help line, or a result that is defined.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn conformance(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance").join(file)
}

fn evo(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evo"))
        .args(args)
        .current_dir(folder)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap()
}

/// What is told must be one error with this code and place, these words and a help line, and no word of a panic.
#[track_caller]
fn told(output: &Output, exit: i32, code: &str, words: &[&str]) {
    let err = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{err}");
    assert_eq!(err.matches("error[").count(), 1, "{err}");
    for word in words.iter().chain(&[format!("error[{code}]: ").as_str(), "help: "]) {
        assert!(err.contains(word), "{word}:\n{err}");
    }
    assert!(!err.contains("panic"), "{err}");
}

/// A place in a GGUF file behind a name that its header has.
fn after(file: &[u8], name: &str) -> usize {
    let key = [&(name.len() as u64).to_le_bytes(), name.as_bytes()].concat();
    file.windows(key.len()).position(|window| window == key).unwrap() + key.len()
}

/// What checking a program says that reads a GGUF file spoilt by `spoil`.
#[track_caller]
fn gguf_refused(model: &str, spoil: impl Fn(&mut Vec<u8>), code: &str, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut file = fs::read(conformance(&format!("gguf/{model}.gguf"))).unwrap();
    spoil(&mut file);
    fs::write(folder.path().join("x.gguf"), file).unwrap();
    fs::write(folder.path().join("p.evo"), "model m = gguf(\"x.gguf\")\nprint answers(m, [\"a\"])\n").unwrap();
    for command in ["check", "run"] {
        told(&evo(folder.path(), &[command, "p.evo"]), 2, code, &[words, &["p.evo:1:16", "`x.gguf`"]].concat());
        assert!(!folder.path().join("runs").exists());
    }
}

/// Sets a number of the metadata, which is 4 bytes wide.
fn number(key: &str, to: u32) -> impl Fn(&mut Vec<u8>) {
    let key = key.to_owned();
    move |file| {
        let at = after(file, &key) + 4;
        file[at..at + 4].copy_from_slice(&to.to_le_bytes());
    }
}

#[test]
fn gguf_files_that_contradict_themselves() {
    let heads = |n, words: &[&str]| gguf_refused("untied", number("llama.attention.head_count", n), "E0402", words);
    heads(3, &["`num_key_value_heads`", "is 2, which does not divide 3 attention heads"]);
    heads(0, &["`num_attention_heads`", "is 0, not a positive whole number"]);
    let kv = number("llama.attention.head_count_kv", 3);
    gguf_refused("untied", kv, "E0402", &["is 3, which does not divide 4 attention heads"]);
    gguf_refused(
        "gpt2",
        number("gpt2.attention.head_count", 5),
        "E0402",
        &["`n_head`", "does not divide the width of 32"],
    );
    let layers = |n| number("llama.block_count", n);
    gguf_refused("untied", layers(3), "E0407", &["`model.layers.2.input_layernorm.weight` is missing"]);
    gguf_refused("untied", layers(1), "E0407", &["`blk.1.", "has no place in a `llama` model"]);
    gguf_refused(
        "untied",
        layers(200_000),
        "E0402",
        &["`num_hidden_layers`", "is 200000; models have up to 65536 layers"],
    );
    gguf_refused("untied", layers(u32::MAX), "E0402", &["`num_hidden_layers`"]);
    let experts = number("llama.expert_count", 3);
    gguf_refused("mixtral", experts, "E0402", &["ffn_gate_exps", "[4, 45, 32] for 3 experts"]);
    let wide = number("qwen2.embedding_length", 64);
    gguf_refused("qwen2", wide, "E0407", &["has shape [61, 32], but its configuration says [61, 64]"]);
    gguf_refused("qwen3", number("qwen3.context_length", 0), "E0402", &["`max_position_embeddings`"]);
    gguf_refused("phi3_longrope", number("phi3.rope.dimension_count", 6), "E0402", &["has 2 entries for 3 pairs"]);
    gguf_refused("gemma2_plain", number("gemma2.attention.key_length", 4), "E0407", &["has shape"]);
}

#[test]
fn gguf_files_with_the_wrong_number_of_blocks() {
    let packing = |code: u32| {
        move |file: &mut Vec<u8>| {
            // After the name: the number of dimensions, two of them, the packing.
            let at = after(file, "blk.0.ffn_gate.weight") + 4 + 16;
            file[at..at + 4].copy_from_slice(&code.to_le_bytes());
        }
    };
    gguf_refused(
        "untied",
        packing(12),
        "E0402",
        &["`blk.0.ffn_gate.weight`", "rows of 32, no multiple of its block of 256"],
    );
    gguf_refused("untied", packing(999), "E0402", &["the unknown element type 999", "another quantisation"]);
    let cut = |file: &mut Vec<u8>| file.truncate(file.len() - 1);
    gguf_refused("untied", cut, "E0402", &["but the file ends before", "download the file again"]);
}

#[test]
fn gguf_files_of_an_unknown_family() {
    let rename = |file: &mut Vec<u8>| {
        let at = after(file, "general.architecture") + 12;
        file[at..at + 5].copy_from_slice(b"mamba");
    };
    let known = "the known architectures are llama, qwen2, qwen3, smollm3, phi3, gemma2, gemma3, stablelm, gpt2";
    gguf_refused("untied", rename, "E0403", &["is a `mamba` model", known]);
}

#[test]
fn directories_whose_configuration_contradicts_the_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    for entry in fs::read_dir(conformance("families/tied_biased")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), other.join(entry.file_name())).unwrap();
    }
    fs::write(folder.path().join("p.evo"), "model m = hf(\"other\")\nprint layers(m)\n").unwrap();
    let config: Value = serde_json::from_slice(&fs::read(other.join("config.json")).unwrap()).unwrap();
    for (field, value, code, words) in [
        ("num_hidden_layers", json!(3), "E0407", "`model.layers.2.input_layernorm.weight` is missing"),
        ("num_hidden_layers", json!(1), "E0407", "has no place in a `llama` model"),
        ("hidden_size", json!(48), "E0407", "has shape [61, 32], but its configuration says [61, 48]"),
        ("head_dim", json!(8), "E0407", "has shape [20, 32], but its configuration says [16, 32]"),
        ("vocab_size", json!(60), "E0407", "but its configuration says [60, 32]"),
        ("num_key_value_heads", json!(3), "E0402", "is 3, which does not divide 2 attention heads"),
        ("num_attention_heads", json!(2.5), "E0402", "is 2.5, not a positive whole number"),
        ("head_dim", json!(9), "E0402", "rotary positions need an even width"),
        (
            "rope_parameters",
            json!({"rope_type": "yarn"}),
            "E0402",
            "`default`, `linear`, `llama3` and `longrope` are known",
        ),
    ] {
        let mut spoilt = config.clone();
        spoilt[field] = value;
        fs::write(other.join("config.json"), spoilt.to_string()).unwrap();
        told(&evo(folder.path(), &["check", "p.evo"]), 2, code, &["p.evo:1:14", words]);
    }
}

const MODEL: &str = "model m = llama_tiny { layers: 1, width: 16, heads: 2, feed_forward: 24, context: 64 }\n";

/// A run of a program about a model of 64 positions over bytes.
fn run(request: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let rows = json!({"q": "x".repeat(40), "a": "y".repeat(40)}).to_string();
    fs::write(folder.path().join("d.jsonl"), format!("{{\"q\": \"a\", \"a\": \"b\"}}\n{rows}\n")).unwrap();
    fs::write(folder.path().join("p.evo"), format!("{MODEL}{request}\n")).unwrap();
    evo(folder.path(), &["run", "p.evo"])
}

#[test]
fn an_empty_prompt_and_one_that_outgrows_the_model() {
    let place = "p.evo:2:7";
    told(&run("print answers(m, [\"one\", \"\"], max_tokens: 8)"), 3, "R0513", &[place, "prompt 1 is empty"]);
    let full = |more| run(&format!("print answers(m, [\"one\", \"1234567890\"], max_tokens: {more})"));
    told(&full(55), 3, "R0513", &[place, "prompt 1 has 10 tokens", "55", "64 positions"]);
    let fits = full(54);
    assert!(fits.status.success(), "to the last position: {}", String::from_utf8_lossy(&fits.stderr));
    assert!(String::from_utf8(fits.stdout).unwrap().lines().any(|line| line.trim_start().starts_with('1')));
    let task = "data d = jsonl(\"d.jsonl\", columns: [\"q\", \"a\"])\n\
        task t = likelihood { data: d, prompt: \"{q}\", expected: \"{a}\" }\nprint score(m, t)";
    told(&run(task), 3, "R0513", &["p.evo:4:7", "row 1 has 81 tokens", "64 positions"]);
    let empty = task.replace("{q}\"", "\"");
    told(&run(&empty), 3, "R0513", &["p.evo:4:7", "row 0 has an empty prompt"]);
}

#[test]
fn a_stop_text_that_never_comes_ends_at_the_greatest_length() {
    let output = run("print answers(m, [\"a\"], max_tokens: 9, by: sampling(stop: [\"never\", \"\"]))");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let whole = run("print answers(m, [\"a\"], max_tokens: 9)");
    assert_eq!(output.stdout, whole.stdout);
}

#[test]
fn ids_and_lengths_that_a_model_has_not() {
    let untied = conformance("gguf/untied.gguf").display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let logits = |args: &[&str]| evo(folder.path(), &[&["logits", &untied], args].concat());
    told(
        &logits(&["--tokens", "1,61"]),
        2,
        "R0513",
        &["token id 61 is outside the vocabulary of 61", "ids run from 0 to 60"],
    );
    let many = vec!["1"; 60].join(",");
    told(
        &logits(&["--tokens", &many, "--greedy", "5"]),
        2,
        "R0513",
        &["65 tokens are more than the model's 64 positions"],
    );
    assert!(logits(&["--tokens", &many, "--greedy", "4"]).status.success());
    told(&logits(&["--text", "a"]), 2, "E0408", &["has no tokenizer", "give token ids instead"]);
}
