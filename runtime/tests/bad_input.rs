//! Bad input, through the command line: each kind has its code, a place, a cause and a help line, comes before anything
//! is computed, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const MODELS: &str = r#"
save llama_tiny { layers: 1, width: 16, heads: 2, feed_forward: 24, context: 64 } to "good"
save llama_tiny { layers: 1, width: 8, heads: 2, feed_forward: 24, context: 64 } to "narrow"
"#;

/// A program that reads `other`; whatever is wrong with it must be told before the training begins.
const MERGE: &str = r#"model base = hf("good")
data sums = word_problems { language: "en", left: 1..=9, right: 1..=9, count: 8, seed: 1 }
train tuned { start: base, on: sums, steps: 2 }
task t = likelihood { data: sums }
model other = hf("other")
merge both = linear { models: [tuned, other] }
print score(tuned, t)
print score(both, t)
save both to "merged"
"#;

fn evo(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evo"));
    command.args(args).current_dir(folder).env_remove("RUST_BACKTRACE").output().unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A folder with two good models, `good` and `narrow`, and nothing of the run that made them.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("make.evo"), MODELS).unwrap();
    let made = evo(folder.path(), &["run", "make.evo"]);
    assert!(made.status.success(), "{}", err(&made));
    for left in ["runs", ".evo"] {
        fs::remove_dir_all(folder.path().join(left)).unwrap();
    }
    folder
}

/// The same with a copy of the good model, to be spoilt.
fn with_other() -> (TempDir, PathBuf) {
    let folder = folder();
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    for entry in fs::read_dir(folder.path().join("good")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), other.join(entry.file_name())).unwrap();
    }
    fs::write(folder.path().join("p.evo"), MERGE).unwrap();
    (folder, other)
}

/// Every file below a folder with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(path.clone(), Vec::new());
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Runs `p.evo`, which must be refused: with this code, at this place of it, with these words, and without a trace.
fn refused(folder: &Path, args: &[&str], code: &str, place: &str, words: &[&str]) {
    let before = files(folder);
    let output = evo(folder, &[&["run", "p.evo"], args].concat());
    let told = err(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(output.stdout.is_empty(), "nothing was computed");
    let errors: Vec<&str> = told.lines().filter(|line| line.starts_with("error")).collect();
    assert!(errors.len() == 1 && errors[0].starts_with(&format!("error[{code}]: ")), "one error {code}:\n{told}");
    assert!(told.contains(place), "{place}:\n{told}");
    assert!(told.lines().any(|line| line.trim_start().starts_with("help: ")), "{told}");
    for word in words {
        assert!(told.contains(word), "{word}:\n{told}");
    }
    assert!(files(folder) == before, "something was left behind");
}

/// The header of a safetensors file and the bytes behind it.
fn parts(file: &Path) -> (Value, Vec<u8>) {
    let bytes = fs::read(file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

fn write_parts(file: &Path, header: &Value, data: &[u8]) {
    let header = serde_json::to_vec(header).unwrap();
    let length = (header.len() as u64).to_le_bytes();
    fs::write(file, [&length, &*header, data].concat()).unwrap();
}

/// Spoils the weights of `other`, and runs.
fn weights_refused(spoil: impl Fn(&Path), code: &str, words: &[&str]) {
    let (folder, other) = with_other();
    spoil(&other.join("model.safetensors"));
    refused(folder.path(), &[], code, "p.evo:5:18", words);
}

fn header_refused(spoil: impl Fn(&mut Value), code: &str, words: &[&str]) {
    let spoil = |file: &Path| {
        let (mut header, data) = parts(file);
        spoil(&mut header);
        write_parts(file, &header, &data);
    };
    weights_refused(spoil, code, words);
}

const NORM: &str = "model.norm.weight";

#[test]
fn a_missing_model_or_file_of_a_model() {
    let (folder, other) = with_other();
    fs::remove_file(other.join("model.safetensors")).unwrap();
    let words =
        ["no such file: `other/model.safetensors`", "a file of the model is missing", "download what is missing"];
    refused(folder.path(), &[], "E0401", "p.evo:5:18", &words);
    fs::remove_dir_all(other).unwrap();
    refused(folder.path(), &[], "E0401", "p.evo:5:18", &["`other`", "there is nothing here", "check the path"]);
}

#[test]
fn a_truncated_tensor_file() {
    let cut = |keep: fn(usize) -> usize| {
        move |file: &Path| {
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..keep(bytes.len())]).unwrap();
        }
    };
    let damaged = "the file is damaged";
    weights_refused(cut(|all| all / 2), "E0402", &["but the file holds only", damaged, "download the file again"]);
    weights_refused(cut(|all| all - 1), "E0402", &["but the file holds only", damaged]);
    weights_refused(cut(|_| 100), "E0402", &["but only 92 follow", damaged]);
    weights_refused(cut(|_| 4), "E0402", &["it has 4 bytes, fewer than the 8 of the header's length"]);
    weights_refused(cut(|_| 0), "E0402", &["it has 0 bytes"]);
}

#[test]
fn a_header_that_lies_about_lengths_or_offsets() {
    let lengths = |length: u64| {
        move |file: &Path| {
            let mut bytes = fs::read(file).unwrap();
            bytes[..8].copy_from_slice(&length.to_le_bytes());
            fs::write(file, bytes).unwrap();
        }
    };
    weights_refused(lengths(1 << 40), "E0402", &["its header claims 1099511627776 bytes"]);
    weights_refused(lengths(u64::MAX), "E0402", &["its header claims"]);
    weights_refused(lengths(10), "E0402", &["is not a valid tensor file"]);
    let offsets = |first: u64, last: u64| move |header: &mut Value| header[NORM]["data_offsets"] = json!([first, last]);
    header_refused(offsets(1 << 50, (1 << 50) + 64), "E0402", &["`model.norm.weight`"]);
    header_refused(offsets(0, 64), "E0402", &["overlaps tensor"]);
    header_refused(offsets(64, 0), "E0402", &["`model.norm.weight`"]);
    header_refused(|header| header[NORM]["shape"] = json!([15]), "E0402", &["needs 60 bytes for its shape"]);
    header_refused(|header| header[NORM]["shape"] = json!([u64::MAX, u64::MAX]), "E0402", &["`model.norm.weight`"]);
}

#[test]
fn weights_that_do_not_fit_their_configuration() {
    let rename = |header: &mut Value| {
        let norm = header.as_object_mut().unwrap().remove(NORM).unwrap();
        header["model.gnome.weight"] = norm;
    };
    header_refused(rename, "E0407", &["`model.norm.weight`", "take the configuration and the weights from one model"]);
    header_refused(|header| header[NORM]["dtype"] = json!("I32"), "E0407", &["holds I32 where floating-point"]);
}

#[test]
fn shapes_that_differ_between_models() {
    let (folder, other) = with_other();
    fs::remove_dir_all(&other).unwrap();
    fs::rename(folder.path().join("narrow"), other).unwrap();
    let words = ["cannot merge models of different shape", "is [256, 16] in one model and [256, 8] in the other"];
    refused(folder.path(), &[], "E0304", "p.evo:6:31", &words);
}

#[test]
fn element_types_that_differ_between_models_are_a_warning() {
    let (folder, other) = with_other();
    let file = other.join("model.safetensors");
    let (mut header, data) = parts(&file);
    // The upper half of an f32 is the bf16 nearest to zero.
    let narrow: Vec<u8> = data.chunks_exact(4).flat_map(|four| [four[2], four[3]]).collect();
    for (name, entry) in header.as_object_mut().unwrap() {
        if name != "__metadata__" {
            let ends: Vec<u64> = serde_json::from_value(entry["data_offsets"].clone()).unwrap();
            *entry = json!({ "dtype": "BF16", "shape": entry["shape"], "data_offsets": [ends[0] / 2, ends[1] / 2] });
        }
    }
    write_parts(&file, &header, &narrow);
    let output = evo(folder.path(), &["check", "p.evo"]);
    let told = err(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for words in ["warning[E0423]: `tuned` holds F32 weights, `other` BF16", "p.evo:6:31", "help: convert one"] {
        assert!(told.contains(words), "{words}:\n{told}");
    }
    assert_eq!(evo(folder.path(), &["run", "p.evo"]).status.code(), Some(0));
}

#[test]
fn an_unknown_architecture() {
    let (folder, other) = with_other();
    let config = other.join("config.json");
    let mut known: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    known["model_type"] = json!("mamba");
    known["architectures"] = json!(["MambaForCausalLM"]);
    fs::write(config, known.to_string()).unwrap();
    let words = ["is a `mamba` model, an unknown architecture", "the known architectures are llama"];
    refused(folder.path(), &[], "E0403", "p.evo:5:18", &words);
}

#[test]
fn a_tokenizer_that_does_not_match() {
    let (folder, other) = with_other();
    let file = other.join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    tokenizer["model"]["vocab"]["unheard"] = json!(1000);
    fs::write(&file, tokenizer.to_string()).unwrap();
    let words =
        ["has ids up to 1000, but the model's vocabulary ends at 256", "take the tokenizer and the weights from one"];
    refused(folder.path(), &[], "E0408", "p.evo:5:18", &words);
    fs::write(&file, "{").unwrap();
    refused(folder.path(), &[], "E0408", "p.evo:5:18", &["tokenizer.json"]);
}

#[test]
fn weights_that_are_no_numbers() {
    for (bad, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let spoil = |file: &Path| {
            let (header, mut data) = parts(file);
            let at = header[NORM]["data_offsets"][0].as_u64().unwrap() as usize + 8;
            data[at..at + 4].copy_from_slice(&bad.to_le_bytes());
            write_parts(file, &header, &data);
        };
        let words = [
            &*format!("tensor `model.norm.weight` holds {shown} at element 2"),
            "its training or merging has diverged",
        ];
        weights_refused(spoil, "E0409", &words);
    }
}

/// Runs a program that names no model, with a data file beside it.
fn program_refused(text: &str, data: &str, args: &[&str], code: &str, place: &str, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.evo"), text).unwrap();
    fs::write(folder.path().join("d.jsonl"), data).unwrap();
    refused(folder.path(), args, code, place, words);
}

const ASK: &str = r#"model m = llama_tiny { layers: 1, width: 16, heads: 2 }
data d = jsonl("d.jsonl", columns: ["question", "answer"])
task t = exact_match { data: d, prompt: "{question}", expected: "{answer}" }
print score(m, t)
"#;

#[test]
fn data_without_rows_or_columns() {
    let row = "{\"question\":\"1 + 1\",\"answer\":\"2\"}\n";
    program_refused(ASK, "", &[], "E0411", "p.evo:2:16", &["`d.jsonl` holds no rows", "write at least one row"]);
    program_refused(ASK, "\n\n", &[], "E0411", "p.evo:2:16", &["holds no rows"]);
    program_refused(ASK, &format!("{row}{{\"q\": "), &[], "E0412", "p.evo:2:16", &["line 2 of `d.jsonl`"]);
    let late = format!("{}{{\"q\": ", row.repeat(1000));
    program_refused(ASK, &late, &[], "E0412", "p.evo:2:16", &["line 1001 of `d.jsonl`"]);
    program_refused(
        ASK,
        "{\"q\": 1}\n",
        &[],
        "E0413",
        "p.evo:2:36",
        &["line 1 of `d.jsonl` has no `question`", "the columns are q"],
    );
    let other = ASK.replace("{question}", "{query}");
    let words = ["there is no column `query`", "the columns are question, answer"];
    program_refused(&other, row, &[], "E0413", "p.evo:3:41", &words);
    program_refused(
        &ASK.replace("d.jsonl", "e.jsonl"),
        row,
        &[],
        "E0401",
        "p.evo:2:16",
        &["`e.jsonl`", "check the path"],
    );
}

#[test]
fn params_that_are_not_set_or_of_a_wrong_type() {
    let text = "param n: int = 3\nparam name: text\nprint n\n";
    program_refused(text, "", &[], "E0333", "p.evo:2:7", &["param `name` is not set", "--set name="]);
    let set = |n: &'static str| ["--set", "name=a", "--set", n];
    program_refused(text, "", &set("n=many"), "E0422", "p.evo:1:7", &["param `n` cannot be `many`", "of type `int`"]);
    program_refused(text, "", &set("n=1.5"), "E0422", "p.evo:1:7", &["param `n` cannot be `1.5`"]);
    let model = "param base: Model\nprint layers(base)\n";
    program_refused(
        model,
        "",
        &["--set", "base=3"],
        "E0422",
        "p.evo:1:21",
        &["param `base` cannot be `3`", "of type `Model`"],
    );
    program_refused(model, "", &["--set", "base=hf(\"no\")"], "E0401", "p.evo:1:24", &["hf(\"no\")"]);
}

#[test]
fn a_genome_with_an_empty_range() {
    let search = |gene: &str| {
        format!(
            "genome G {{ x: {gene} }}\nfitness f(g: G) = g.x\nevolve s {{ maximize: f, stop: {{ evaluations: 3 }} }}\nprint s.score\n"
        )
    };
    program_refused(&search("real in 1..0"), "", &[], "E0309", "p.evo:1:23", &["the range from 1 to 0 is empty"]);
    program_refused(&search("int in 3..3"), "", &[], "E0309", "p.evo:1:22", &["empty", "write `..=` to include it"]);
    let text = format!("param last: int = 3\n{}", search("int in 4..=last"));
    program_refused(&text, "", &[], "E0339", "p.evo:2:22", &["the range of gene `x` is empty"]);
}

#[test]
fn two_declarations_of_one_name_and_cycles() {
    let twice = "let a = 1\nlet b = 2\nlet a = 3\nprint a\n";
    program_refused(twice, "", &[], "E0202", "p.evo:3:5", &["`a` is declared twice", "first declared here"]);
    let cycle = "let a = b + 1\nlet b = c\nlet c = a\nprint a\n";
    program_refused(cycle, "", &[], "E0203", "p.evo:1:5", &["the cycle is a → b → c → a"]);
    program_refused("use \"p.evo\" as me\nprint 1\n", "", &[], "E0210", "p.evo:1:5", &["uses itself"]);
}

#[test]
fn a_place_that_cannot_be_written_to() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.evo"), "print 1\n").unwrap();
    for out in ["p.evo", "p.evo/out", "/proc/no/such", "/dev/null"] {
        refused(
            folder.path(),
            &["--out", out],
            "R0542",
            &format!("`{out}`"),
            &["choose a place that can be written to"],
        );
    }
}

/// A disk cannot be filled without a file system of one's own, which takes rights that a test does not have. A limit on the
/// size of files, which any process may give itself, makes the same call fail at the same moment: in the middle of the
/// weights that are being saved. (`trap` keeps the limit from killing the process before the call fails.)
#[test]
fn a_disk_that_is_full_when_a_model_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let text = "save llama_tiny { layers: 1, width: 8, heads: 1, feed_forward: 8 } to \"small\"\n\
                model big = llama_tiny { layers: 2, width: 256, heads: 2 }\nsave big to \"big\"\nplot [1.0] to \"chart.svg\"\n";
    fs::write(folder.path().join("p.evo"), &text[..text.rfind("plot").unwrap()]).unwrap();
    let limited = format!("trap '' XFSZ; ulimit -f 2000; exec '{}' run p.evo", env!("CARGO_BIN_EXE_evo"));
    let output = Command::new("sh").args(["-c", &limited]).current_dir(folder.path()).output().unwrap();
    let told = err(&output);
    assert_eq!(output.status.code(), Some(3), "{told}");
    for words in ["error[R0541]: ", "big", "p.evo:3:1", "help: free some space", "to go on: evo run p.evo --resume"] {
        assert!(told.contains(words), "{words}:\n{told}");
    }
    let mut left: Vec<String> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, [".evo", "p.evo", "runs", "small"], "what was whole is there, and nothing else");
    // With room again, the run goes on.
    let output = evo(folder.path(), &["run", "p.evo", "--resume"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(folder.path().join("big/model.safetensors").is_file());
}
