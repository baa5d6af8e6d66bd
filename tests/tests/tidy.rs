//! The rules of the house that no compiler holds: what lies where, what depends on what, what stays out.
//! Rules about code that clippy knows (no `unwrap`, no prints, long functions …) are workspace lints in `Cargo.toml`.

use evo_tests::{files, root, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Fails with one line for every breach.
fn no_breach(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}\n  {}", breaches.join("\n  "));
}

fn rust_files() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|path| path.ends_with(".rs")).filter_map(|path| text(&path).map(|text| (path, text)))
}

/// The part of a Rust file that ships: what stands before its test module, without comments; none of a test file.
fn shipped_lines(path: &str, text: &str) -> Vec<(usize, String)> {
    let is_test = path.split('/').any(|part| matches!(part, "tests" | "benches" | "tests.rs"));
    if is_test {
        return Vec::new();
    }
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default().to_owned()))
        .collect()
}

/// Does `line` contain `word` with no letter, digit or underscore beside it?
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part_of_word) && !line[at + word.len()..].starts_with(part_of_word))
}

#[test]
fn the_top_level_holds_what_the_architecture_page_names() {
    let page = text("ARCHITECTURE.md").expect("ARCHITECTURE.md exists");
    let house = page.split("\n## ").find(|section| section.starts_with("The house")).expect("a section `The house`");
    let inside_backticks = house.split('`').skip(1).step_by(2);
    let named: BTreeSet<&str> = inside_backticks.map(|name| name.trim_end_matches('/')).collect();
    let present: BTreeSet<String> =
        files().iter().filter_map(|path| path.split('/').next().map(str::to_owned)).collect();
    let strangers: Vec<String> = present.iter().filter(|name| !named.contains(name.as_str())).cloned().collect();
    no_breach("top-level entries that ARCHITECTURE.md does not name:", &strangers);
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let written_by_hand = [".rs", ".evo", ".pest", ".py", ".sh", ".js", ".css"];
    let breaches: Vec<String> = files()
        .into_iter()
        .filter(|path| written_by_hand.iter().any(|extension| path.ends_with(extension)))
        .filter_map(|path| text(&path).map(|text| (path, text.lines().count())))
        .filter(|(_, lines)| *lines > 600)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    no_breach("files of more than 600 lines:", &breaches);
}

/// Clippy counts the lines (`too-many-lines-threshold`); this keeps the list of exceptions short and in sight.
#[test]
fn few_functions_are_longer_than_60_lines() {
    let exceptions: Vec<String> = rust_files()
        .filter(|(path, _)| path != "tests/tests/tidy.rs")
        .filter(|(_, text)| text.contains("clippy::too_many_lines"))
        .map(|(path, _)| path)
        .collect();
    assert!(exceptions.len() <= 6, "more than six files hold a function of over 60 lines: {exceptions:#?}");
}

#[test]
fn every_module_says_what_it_is_for() {
    let breaches: Vec<String> = rust_files()
        .filter(|(_, text)| !text.trim_start().starts_with("//! "))
        .map(|(path, _)| format!("{path}: begins without `//! …`"))
        .collect();
    no_breach("modules that do not say what they are for:", &breaches);
}

/// The only modules that may hold `unsafe`; clippy asks a `// SAFETY:` line of each block.
const UNSAFE_MODULES: &[&str] = &[
    "kernels/src/block/",
    "kernels/src/decode/",
    "kernels/src/matmul/",
    "kernels/src/vector",
    "lang/src/codegen/",
    "runtime/src/workers/limits.rs",
    "stdlib/src/model/",
];

#[test]
fn unsafe_code_stays_in_named_modules() {
    let mut breaches = Vec::new();
    for (path, text) in rust_files() {
        if UNSAFE_MODULES.iter().any(|module| path.starts_with(module)) || path == "tests/tests/tidy.rs" {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if has_word(code, "unsafe") && !code.contains("\"unsafe") {
                breaches.push(format!("{path}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    no_breach("`unsafe` outside the modules that tidy names:", &breaches);
}

#[test]
fn lints_are_excused_only_where_the_rule_says_so() {
    // (lint, where an exception may stand)
    let rules: &[(&str, &[&str])] = &[
        ("clippy::unwrap_used", &[]),
        ("clippy::expect_used", &[]),
        ("clippy::panic", &[]),
        ("clippy::todo", &[]),
        ("clippy::unimplemented", &[]),
        ("clippy::iter_over_hash_type", &[]),
        ("clippy::print_stdout", &["runtime/src/"]),
        ("clippy::print_stderr", &["runtime/src/"]),
        ("clippy::disallowed_types", &["runtime/src/"]),
        ("clippy::disallowed_methods", &[]),
        ("missing_docs", &["lang/src/syntax/mod.rs"]),
    ];
    let mut breaches = Vec::new();
    for (path, text) in rust_files() {
        for (line, code) in shipped_lines(&path, &text) {
            for (lint, allowed) in rules {
                let excused = (code.contains("allow(") || code.contains("expect(")) && has_word(&code, lint);
                if excused && !allowed.iter().any(|start| path.starts_with(start)) {
                    breaches.push(format!("{path}:{line}: {lint}"));
                }
            }
        }
    }
    no_breach("lints excused where they hold without exception:", &breaches);
}

#[test]
fn the_language_opens_no_file_reads_no_clock_and_prints_nothing() {
    let outside = ["std::fs", "std::time", "std::io", "std::net", "std::env", "std::process", "std::thread"];
    let prints = ["println!", "print!", "eprintln!", "eprint!", "dbg!"];
    let mut breaches = Vec::new();
    for (path, text) in rust_files().filter(|(path, _)| path.starts_with("lang/src/")) {
        for (line, code) in shipped_lines(&path, &text) {
            for word in outside.iter().chain(&prints).filter(|word| has_word(&code, word)) {
                breaches.push(format!("{path}:{line}: {word}"));
            }
        }
    }
    no_breach("effects in `lang`:", &breaches);
}

#[test]
fn only_the_runtime_writes_to_the_terminal() {
    let terminal = ["println!", "print!", "eprintln!", "eprint!", "stdout()", "stderr()"];
    let mut breaches = Vec::new();
    let others = rust_files().filter(|(path, _)| !path.starts_with("runtime/"));
    for (path, text) in others {
        for (line, code) in shipped_lines(&path, &text) {
            if terminal.iter().any(|word| has_word(&code, word)) {
                breaches.push(format!("{path}:{line}: {}", code.trim()));
            }
        }
    }
    no_breach("terminal output outside `runtime`:", &breaches);
}

#[test]
fn connections_are_opened_in_two_rooms() {
    let network = ["TcpStream", "TcpListener", "UdpSocket", "ureq"];
    let rooms = ["runtime/src/http/", "runtime/src/serve/"];
    let mut breaches = Vec::new();
    for (path, text) in rust_files().filter(|(path, _)| !rooms.iter().any(|room| path.starts_with(room))) {
        for (line, code) in shipped_lines(&path, &text) {
            if path != "tests/tests/tidy.rs" && network.iter().any(|word| has_word(&code, word)) {
                breaches.push(format!("{path}:{line}: {}", code.trim()));
            }
        }
    }
    no_breach("connections outside the line to language models and the server:", &breaches);
}

/// Words that tell of one machine, or of where packages come from, written in pieces so that this file passes.
fn forbidden() -> Vec<String> {
    let machine = [concat!("/wo", "rk"), concat!("/ro", "ot"), concat!("../sha", "red"), concat!("/fa", "rm")];
    let hosts = [
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("npmjs", ".org"),
        concat!("npmjs", ".com"),
        concat!("deb.debian", ".org"),
        concat!("proxy.golang", ".org"),
    ];
    machine.iter().chain(&hosts).map(|word| (*word).to_owned()).collect()
}

#[test]
fn nothing_tells_of_the_machine_it_was_made_on() {
    // Cargo writes the name of the registry's index into the lock file.
    let own_files = files().into_iter().filter(|path| path != "Cargo.lock");
    let words = forbidden();
    let mut breaches = Vec::new();
    for path in own_files {
        let Some(text) = text(&path) else { continue };
        for (at, line) in text.lines().enumerate() {
            let starts_a_path = |word: &str| {
                line.match_indices(word).any(|(start, _)| {
                    let before = line[..start].chars().next_back();
                    let after = line[start + word.len()..].chars().next();
                    let inside_a_path = before.is_some_and(|c| c.is_alphanumeric() || "._-/}$*".contains(c));
                    let longer_word = after.is_some_and(|c| c.is_alphanumeric() || "_-".contains(c));
                    !(longer_word || inside_a_path && word.starts_with('/'))
                })
            };
            for word in words.iter().filter(|word| starts_a_path(word)) {
                breaches.push(format!("{path}:{}: {word}", at + 1));
            }
        }
    }
    no_breach("paths and hosts that do not belong in the repository:", &breaches);
}

/// Each member and the members that it may build on.
fn allowed_dependencies() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("evo-lang", &[] as &[&str]),
        ("evo-kernels", &[]),
        ("evo-stdlib", &["evo-lang", "evo-kernels"]),
        ("evo", &["evo-stdlib", "evo-lang", "evo-kernels"]),
        ("evo-tests", &["evo", "evo-stdlib", "evo-lang", "evo-kernels"]),
    ])
}

fn workspace_packages() -> Vec<Value> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("`cargo metadata` runs");
    assert!(cargo.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

#[test]
fn dependencies_point_one_way() {
    let allowed = allowed_dependencies();
    let mut breaches = Vec::new();
    for package in workspace_packages() {
        let name = package["name"].as_str().expect("a package has a name");
        let Some(may) = allowed.get(name) else {
            breaches.push(format!("{name}: a member that tidy does not know"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let target = dependency["name"].as_str().expect("a dependency has a name");
            if allowed.contains_key(target) && !may.contains(&target) {
                breaches.push(format!("{name} → {target}"));
            }
            if name == "evo-lang" && target.starts_with("candle") {
                breaches.push(format!("{name} → {target}: the language builds without tensors"));
            }
        }
    }
    no_breach("dependencies against the direction that ARCHITECTURE.md gives:", &breaches);
}

#[test]
fn the_only_cargo_features_are_the_four_back_ends() {
    let known = ["accelerate", "cuda", "metal", "mkl"];
    let mut breaches = Vec::new();
    for package in workspace_packages() {
        let features = package["features"].as_object().expect("features");
        for feature in features.keys().filter(|feature| !known.contains(&feature.as_str())) {
            breaches.push(format!("{}: {feature}", package["name"]));
        }
    }
    no_breach("cargo features beyond the four:", &breaches);
}

#[test]
fn members_keep_the_workspace_lints() {
    for member in ["lang", "kernels", "stdlib", "runtime"] {
        let manifest = text(&format!("{member}/Cargo.toml")).expect("every member has a manifest");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{member}/Cargo.toml does not inherit the lints");
    }
}

#[test]
fn words_are_found_whole() {
    assert!(has_word("use std::fs;", "std::fs") && !has_word("use std::fsx;", "std::fs"));
    assert!(has_word("println!(\"\")", "println!") && !has_word("eprintln!()", "println!"));
}
