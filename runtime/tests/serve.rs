//! `evo serve` as a user runs it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails there")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn evo(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evo"));
    command.args(args).current_dir(folder).env_remove("EVO_SERVE_KEY").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A folder with a program that declares a model, and the model saved.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let program = "param seed: int = 1\nmodel small = llama_tiny { layers: 1, width: 16, heads: 2, seed: seed }\nsave small to \"saved\"\n";
    fs::write(folder.path().join("p.evo"), program).unwrap();
    assert!(evo(folder.path(), &["run", "p.evo"]).output().unwrap().status.success());
    folder
}

/// A server, once it says where it listens, and what it says before and there.
fn served(command: &mut Command) -> (Child, String) {
    let mut child = command.spawn().unwrap();
    let mut told = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while !told.contains("/v1; Ctrl-C ends it") {
        assert!(lines.read_line(&mut told).unwrap() > 0, "{told}");
    }
    std::thread::spawn(move || lines.read_to_string(&mut String::new()));
    (child, told)
}

fn get(told: &str, path: &str, header: &str) -> String {
    let address = told.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
#[cfg(unix)]
fn a_model_is_served_until_it_is_interrupted() {
    let folder = folder();
    for (what, name) in [("saved", "saved"), ("p.evo:small", "small")] {
        let (mut child, told) = served(&mut evo(folder.path(), &["serve", what, "--port", "0"]));
        let models = get(&told, "/v1/models", "");
        assert!(models.contains(&format!("\"id\":\"{name}\"")), "{models}");
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let mut with_key = evo(folder.path(), &["serve", "saved", "--port", "0", "--name", "mine"]);
    let (mut child, told) = served(with_key.env("EVO_SERVE_KEY", "k"));
    assert!(get(&told, "/v1/models", "").starts_with("HTTP/1.1 401"));
    assert!(get(&told, "/v1/models", "Authorization: Bearer k\r\n").contains("\"id\":\"mine\""));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_cannot_be_served_is_told() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (args, says) in [
        (&["serve", "nothing", "--port", "0"][..], "error["),
        (&["serve", "saved", "--host", "0.0.0.0", "--port", "0"], "error[E0150]"),
        (&["serve", "saved", "--port", port.as_str()], "error[E0150]"),
        (&["serve", "p.evo:other", "--port", "0"], "error[E0"),
        (&["serve", "saved", "--port", "0", "--device", "tpu"], "invalid value"),
    ] {
        let output = evo(folder.path(), args).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && told.contains(says), "{args:?}: {told}");
        assert!(told.contains("help") || says == "invalid value", "{args:?}: {told}");
    }
}
