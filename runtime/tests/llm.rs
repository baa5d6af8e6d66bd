//! Language models in programs: asked once, journaled, resumed, replayed, within a budget; and `evo serve` as one that is asked.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails there")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use evo::datum::Datum;
use evo::engine::{Asked, Engine, HostFunction, Replay, Resume, RunOptions, RunOutcome, Settings};
use evo::events::Status;
use evo::serve::{Limits, Server};
use evo_stdlib::answer::{Answering, answers};
use evo_stdlib::llm::Recorded;
use evo_stdlib::model::{Model, Parts, Place};

/// A server whose n-th answer is the text `n`, until it has given `good` of them; then it wants a key.
struct Counting {
    endpoint: String,
    asked: Arc<AtomicUsize>,
}

impl Counting {
    fn start(good: usize) -> Counting {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (status, body) = match is_post(&stream) {
                    false => (200, "{}".to_owned()),
                    true if count.load(Ordering::SeqCst) >= good => (401, "{\"error\": \"who are you?\"}".to_owned()),
                    true => (200, reply(count.fetch_add(1, Ordering::SeqCst) + 1)),
                };
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Counting { endpoint, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn reply(n: usize) -> String {
    format!(
        r#"{{"choices": [{{"message": {{"content": "{n}"}}, "finish_reason": "stop"}}], "usage": {{"prompt_tokens": 10, "completion_tokens": 5}}}}"#
    )
}

/// Reads a request, and says whether it asks for an answer.
fn is_post(stream: &TcpStream) -> bool {
    heard(stream).0
}

/// The same, with the key that it gives.
fn heard(stream: &TcpStream) -> (bool, String) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut is_post, mut length, mut key) = (String::new(), false, 0, String::new());
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        is_post |= line.starts_with("POST ");
        if let Some(count) = line.to_lowercase().strip_prefix("content-length:") {
            length = count.trim().parse().unwrap();
        }
        if line.to_lowercase().starts_with("authorization: bearer ") {
            line.trim()["authorization: bearer ".len()..].clone_into(&mut key);
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    (is_post, key)
}

fn length() -> HostFunction {
    HostFunction::pure("size", "1", |args| match args {
        [Datum::Text(text)] => text.trim().parse().map(Datum::Real).map_err(|_| format!("no number: {text}")),
        other => Err(format!("{other:?}")),
    })
}

fn engine(folder: &Path) -> Engine {
    Engine::builder().cwd(folder).jobs(2).function(length()).build()
}

fn run(folder: &Path, text: &str, options: RunOptions) -> RunOutcome {
    engine(folder).load_text("ask.evo", text).plan(&Settings::new()).unwrap().start(options).unwrap().wait()
}

fn code(outcome: &RunOutcome) -> &str {
    outcome.failure.as_ref().unwrap().diagnostics[0].code.as_str()
}

fn texts(outcome: &RunOutcome) -> String {
    outcome.outputs.iter().map(|output| format!("{:?}\n", output.kind)).collect()
}

fn calls(run: &Path) -> (i64, i64, f64) {
    let journal = rusqlite::Connection::open(run.join("run.db")).unwrap();
    let sql = "SELECT count(*), sum(tokens_in + tokens_out), sum(cost) FROM calls WHERE target LIKE 'm at http%'";
    journal.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
}

fn program(endpoint: &str) -> String {
    format!(
        "let l = llm {{ endpoint: \"{endpoint}\", model: \"m\", at_once: 1 }}\n\
         print answers(l, [\"a\", \"b\", \"a\"])\nprint ask(l, \"a\")\n"
    )
}

const PRICES: &str = "[models.m]\ninput = 100000\noutput = 200000\n";

#[test]
fn a_resumed_run_pays_for_nothing_twice_and_is_replayed_offline() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("prices.toml"), PRICES).unwrap();
    let server = Counting::start(2);
    let text = program(&server.endpoint);
    let first = run(folder.path(), &text, RunOptions::default());
    assert_eq!((first.exit_code(), code(&first), server.asked()), (3, "R0531", 2));
    assert_eq!(calls(&first.run_dir), (2, 30, 4.0));
    // The transcript's last line is torn, as `kill -9` may leave it; what the journal holds of it is enough.
    let transcript = first.run_dir.join("llm/calls.jsonl");
    let lines = std::fs::read_to_string(&transcript).unwrap();
    std::fs::write(&transcript, &lines[..lines.len() - 9]).unwrap();

    // The server answers again: of the three requests one is left, `a` a second time.
    server.asked.store(0, Ordering::SeqCst);
    let done = run(folder.path(), &text, RunOptions { resume: Resume::Latest, ..RunOptions::default() });
    assert_eq!((done.exit_code(), server.asked()), (0, 1), "{:?}", done.failure);
    assert_eq!(calls(&done.run_dir), (3, 45, 6.0));
    assert_eq!(done.asked, Asked { calls: 3, tokens: 45, cost: 6.0 });
    let shown = texts(&done);
    assert!(shown.contains('1') && shown.contains('2'), "{shown}");

    // Offline: another program text with the same requests, at an endpoint where nobody is.
    let moved = program("http://127.0.0.1:1/v1");
    let options = || RunOptions { replay: Some(done.run_dir.clone()), ..RunOptions::default() };
    let replayed = run(folder.path(), &moved, options());
    assert_eq!((replayed.exit_code(), texts(&replayed)), (0, shown), "{:?}", replayed.failure);
    assert_eq!(calls(&replayed.run_dir).0, 3);
    let missed = run(folder.path(), &format!("{moved}print ask(l, \"c\")\n"), options());
    assert_eq!((missed.exit_code(), code(&missed)), (3, "R0537"));
    // What was recorded can be read by whoever has the file.
    let mut recorded = Recorded::default();
    assert_eq!(recorded.read(&std::fs::read(done.run_dir.join("llm/calls.jsonl")).unwrap()), Ok(true));
    assert!(!recorded.is_empty());
}

#[test]
fn nothing_is_asked_beyond_the_budget_or_without_a_price() {
    let folder = tempfile::tempdir().unwrap();
    let server = Counting::start(usize::MAX);
    let text = program(&server.endpoint);
    let unpriced = run(folder.path(), &text, RunOptions::default());
    assert_eq!((unpriced.exit_code(), code(&unpriced), server.asked()), (3, "R0534", 0));
    // A call costs 2 dollars, and may cost some 418.
    std::fs::write(folder.path().join("prices.toml"), PRICES).unwrap();
    let poor = run(folder.path(), &text, RunOptions { budget: Some(419.0), ..RunOptions::default() });
    assert_eq!((poor.exit_code(), poor.status, code(&poor)), (4, Status::CutShort, "R0533"));
    assert_eq!(server.asked(), 1);
    let tokens = RunOptions { token_budget: Some(2000), ..RunOptions::default() };
    let brief = run(folder.path(), &text, tokens);
    assert_eq!((brief.exit_code(), code(&brief), server.asked()), (4, "R0533", 1), "2048 of an answer are too many");
    let resume = Resume::Named(poor.run_dir.display().to_string());
    let rich = run(folder.path(), &text, RunOptions { budget: Some(430.0), resume, ..RunOptions::default() });
    assert_eq!((rich.exit_code(), server.asked()), (0, 3), "{:?}", rich.failure);
    std::fs::write(folder.path().join("prices.toml"), "[models.m]\ninput = 1\n").unwrap();
    let wrong = run(folder.path(), &text, RunOptions::default());
    assert_eq!((wrong.exit_code(), code(&wrong), server.asked()), (3, "E0451", 3));
    // Who asks for no price has nothing to do with the file.
    assert_eq!(run(folder.path(), "print 1\n", RunOptions::default()).exit_code(), 0);
    assert_eq!(
        run(folder.path(), &text.replace("at_once", "price: free, at_once"), RunOptions::default()).exit_code(),
        0
    );
}

#[test]
fn who_is_not_there_is_found_out_before_anything_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let text = format!(
        "let l = llm {{ endpoint: \"{endpoint}\", price: free }}\nprint 1\n\
         extern fn size(answer: text) -> real\nprint size(ask(l, \"a\"))\n"
    );
    let outcome = run(folder.path(), &text, RunOptions::default());
    assert_eq!((outcome.exit_code(), code(&outcome)), (4, "R0530"), "{:?}", outcome.failure);
    assert!(outcome.outputs.is_empty());
    let branch = "param endpoint: text = \"\"\nlet l = if endpoint == \"\" then llm { endpoint: \"http://x\", price: free } else llm { \
                  endpoint: endpoint, model: \"default\", temperature: 1.0 }\nprint 1\n";
    let unasked = run(folder.path(), branch, RunOptions::default());
    assert_eq!(unasked.exit_code(), 0, "{:?}", unasked.failure);
}

#[test]
fn a_candidate_that_asks_is_replayed_from_what_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let server = Counting::start(usize::MAX);
    let text = format!(
        "extern fn size(answer: text) -> real\n\
         let l = llm {{ endpoint: \"{}\", model: \"m\", price: free }}\n\
         genome Try {{ n: int in 0..1000000 }}\n\
         fitness quality(g: Try) = size(ask(l, \"x\", attempt: g.n))\n\
         evolve found {{ maximize: quality, stop: {{ evaluations: 6 }} }}\nprint found.score\n",
        server.endpoint
    );
    std::fs::write(folder.path().join("ask.evo"), &text).unwrap();
    let engine = engine(folder.path());
    let plan = engine.load(Path::new("ask.evo")).unwrap().plan(&Settings::new()).unwrap();
    let outcome = plan.start(RunOptions::default()).unwrap().wait();
    assert_eq!(outcome.exit_code(), 0, "{:?}", outcome.failure);
    let asked = server.asked();
    assert!((1..=6).contains(&asked));
    let run = outcome.run_dir.display().to_string();
    for candidate in 0..3 {
        let again = engine.replay(&Replay { run: run.clone(), candidate, ..Replay::default() }).unwrap();
        assert!(again.equal, "{again:?}");
    }
    assert_eq!(server.asked(), asked, "nobody was asked again");
}

/// A server that repeats what it was given as a key: first in an answer, then in a refusal.
fn telltale() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut posts = 0;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (is_post, key) = heard(&stream);
            posts += usize::from(is_post);
            let (status, body) = match (is_post, posts) {
                (true, 1) => (200, format!(r#"{{"choices": [{{"message": {{"content": "<{key}>"}}}}]}}"#)),
                (true, _) => (401, format!(r#"{{"error": "not {key}"}}"#)),
                (false, _) => (200, key),
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    endpoint
}

#[test]
fn a_key_is_in_no_file_and_in_no_word_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, key) = (telltale(), "sk-0123456789abcdef");
    let text = format!(
        "let l = llm {{ endpoint: \"{endpoint}\", at_once: 1, price: unknown }}\nprint ask(l, \"a\")\n\
         print answers(l, [\"b\", \"c\"])\n"
    );
    std::fs::write(folder.path().join("ask.evo"), text).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_evo"));
    let command = command.args(["run", "ask.evo", "--json"]).current_dir(folder.path()).env("EVO_LLM_KEY", key);
    let told = command.output().unwrap();
    let words = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
    assert_eq!(told.status.code(), Some(3), "{words}");
    assert!(words.contains("R0531") && words.contains("not [key]"), "{words}");
    let mut files = vec![folder.path().to_owned()];
    let (mut looked, mut found) = (0, 0);
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!holds(key), "{}", path.display());
        looked += 1;
        found += usize::from(holds("<[key]>"));
    }
    assert!(looked >= 4 && found >= 2, "{looked} {found}: the transcript and the journal hold the answer");
    assert!(!words.contains(key), "{words}");
}

fn model(folder: &Path) -> Model {
    let program = "save llama_tiny { layers: 2, width: 32, heads: 2, context: 512, seed: 3 } to \"m\"";
    let plan = engine(folder).load_text("m.evo", program).plan(&Settings::new()).unwrap();
    assert_eq!(plan.start(RunOptions::default()).unwrap().wait().exit_code(), 0);
    let model = evo_stdlib::model::hf(&folder.join("m")).unwrap();
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";
    Model::new(Parts { chat_template: Some(template.into()), ..(*model).clone() })
}

#[test]
fn our_own_server_is_asked_as_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let address = "127.0.0.1:0".parse().unwrap();
    let settings = evo::serve::Settings { address, name: "tiny".into(), key: None, seed: 1, limits: Limits::default() };
    let server = Server::start(model.clone(), &Place::from(2), settings).unwrap();
    let text = format!(
        "let l = llm {{ endpoint: \"http://{}/v1\", model: \"tiny\", temperature: 0, max_tokens: 12, price: free }}\n\
         print ask(l, \"two plus\")\n\
         print ask(l, \"Yes?\", schema: \"{{\\\"type\\\": \\\"boolean\\\"}}\")\n",
        server.address()
    );
    let outcome = run(folder.path(), &text, RunOptions::default());
    assert_eq!(outcome.exit_code(), 0, "{:?}", outcome.failure);
    let tokens = model.require_tokenizer().unwrap().encode("user: two plus\nassistant:", false).unwrap();
    let alone = answers(&model, &[tokens], 12, &Answering::GREEDY, 2).unwrap();
    let shown = texts(&outcome);
    assert!(shown.contains(&format!("{:?}", alone[0].text)), "{shown}\n{:?}", alone[0].text);
    assert!(shown.contains("true") || shown.contains("false"), "{shown}");
    // A model that nobody serves is refused, once, with the server's reason.
    let refused = run(folder.path(), &text.replace("\"tiny\"", "\"huge\""), RunOptions::default());
    assert_eq!((refused.exit_code(), code(&refused)), (3, "R0532"), "{:?}", refused.failure);
    server.stopper().stop();
    server.wait().unwrap();
}
