//! `evo repl` as a process: in pipes, and at a terminal that `script` makes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails there")]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn evo(folder: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_evo"))
        .arg("repl")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // An entry that ends the session leaves the rest unread.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn entries_come_from_options_and_pipes() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, _) = said(&evo(folder.path(), &["-e", "let a = 20", "-e", "a + 1"], ""));
    assert_eq!((code, out.as_str()), (0, "21\n"));
    let input = "fn f(x: real) -> real = {\n  let y = x * x\n  y + 1\n}\n\nf(\n  3\n)\n:type f(3)\n";
    let (code, out, err) = said(&evo(folder.path(), &[], input));
    assert_eq!((code, out.as_str()), (0, "10.0\nreal\n"), "{err}");
    std::fs::write(folder.path().join("program.evo"), "param n: int = 3\nprint n").unwrap();
    let (code, out, err) = said(&evo(folder.path(), &["program.evo", "--set", "n=4"], "n * 2\n:run"));
    assert_eq!((code, out.as_str()), (0, "8\n4\n"), "{err}");
}

#[test]
fn a_pipe_ends_at_the_first_entry_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = said(&evo(folder.path(), &[], "1 + 1\nnothing\n3 + 3\n"));
    assert_eq!((code, out.as_str()), (2, "2\n"));
    assert!(err.contains("E0201") && err.contains("entry:1:1"), "{err}");
    assert_eq!(said(&evo(folder.path(), &[], "expect 1 > 2\n")).0, 1);
    assert_eq!(said(&evo(folder.path(), &["-e", ":frobnicate"], "")).0, 2);
    assert_eq!(said(&evo(folder.path(), &["missing.evo"], "")).0, 2);
    assert_eq!(said(&evo(folder.path(), &[], ":quit\nnothing\n")).0, 0);
    assert_eq!(said(&evo(folder.path(), &[], "let a = [1,\n")).0, 2, "unfinished at the end");
}

#[test]
fn a_pipe_waits_for_the_background() {
    let folder = tempfile::tempdir().unwrap();
    let input = "genome G { x: real in 0..1 }\nfitness f(g: G) = g.x\n\
                 evolve s { maximize: f, stop: { evaluations: 30 } }\ns.score > 0.5 &\n";
    let (code, out, err) = said(&evo(folder.path(), &[], input));
    assert_eq!((code, out.as_str()), (0, "true\n"), "{err}");
    assert!(err.contains("[1] s.score > 0.5: done"), "{err}");
}

/// The real program at a terminal.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn start(folder: &Path) -> Terminal {
        let command = format!("stty cols 100 rows 40; exec '{}' --color never repl", env!("CARGO_BIN_EXE_evo"));
        let mut child = Command::new("script")
            .args(["-q", "-e", "-c", &command, "/dev/null"])
            .current_dir(folder)
            .env("XDG_DATA_HOME", folder.join("data"))
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let (send, screen) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut bytes) {
                if send.send(bytes[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let keys = child.stdin.take().unwrap();
        Terminal { child, keys, screen, seen: String::new() }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until the screen shows a text, and forgets everything before it.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            match self.screen.recv_timeout(PATIENCE) {
                Ok(bytes) => self.seen += &String::from_utf8_lossy(&bytes),
                Err(error) => panic!("`{text}` never came ({error}): {:?}", self.seen),
            }
        }
    }
}

#[test]
fn a_terminal_edits_completes_stops_and_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let mut t = Terminal::start(folder.path());
    t.wait_for("evo> ");
    t.press("0.1 + 0.2\r");
    t.wait_for("0.30000000000000004");
    t.wait_for("evo> ");
    t.press("let pair = [1,\r2]\r");
    t.wait_for("let pair: int[2]");
    t.wait_for("evo> ");
    t.press("pai\t[1] + 40\r");
    t.wait_for("42\r\n");
    t.wait_for("evo> ");
    // Ctrl-C at the prompt clears the line and keeps the session.
    t.press("nonsense(\u{3}");
    t.wait_for("evo> ");
    t.press("genome G { x: real in 0..1 }\r");
    t.wait_for("genome G: G");
    t.press("fitness f(g: G) = g.x\r");
    t.wait_for("fitness f: (G) -> real");
    t.press("evolve s { maximize: f, by: random_search(), stop: { evaluations: 1_000_000_000 } }\r");
    t.wait_for("Search<G>");
    t.wait_for("evo> ");
    // Ctrl-C stops what runs and keeps the session.
    t.press("s.score\r");
    t.wait_for("generation");
    t.press("\u{3}");
    t.wait_for("stopped: what is finished is kept");
    t.wait_for("evo> ");
    t.press("pair[0] + 40\r");
    t.wait_for("41\r\n");
    // A job tells of itself while a line is being edited, and is stopped before the session is left.
    t.press("s.score &\r");
    t.wait_for("[1] s.score");
    t.press("pair[1] + 50");
    t.wait_for("[1] s: ");
    t.press("\r");
    t.wait_for("52\r\n");
    t.press(":jobs\r");
    t.wait_for("[1] s.score: s: ");
    t.wait_for("evo> ");
    t.press("\u{4}");
    t.wait_for("1 job runs");
    t.press("y\r");
    t.wait_for("[1] s.score: stopped");
    let status = t.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    let history = std::fs::read_to_string(folder.path().join("data/evo/history")).unwrap();
    assert!(history.contains("0.1 + 0.2"), "{history}");
}
