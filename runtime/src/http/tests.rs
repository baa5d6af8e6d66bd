//! A server that does what servers should not, over real connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use evo_stdlib::llm::{
    Client, Exchange, Format, Line, LlmError, Message, Policy, Purse, Rate, Reply, Request, Role, Said,
};

use super::*;

/// What the server does with a connection whose request it has read.
type Act = Box<dyn FnOnce(&mut TcpStream) + Send>;

struct Fault {
    endpoint: String,
    requests: Receiver<String>,
    thread: JoinHandle<()>,
}

/// Plays one act a connection, then goes.
fn fault(acts: Vec<Act>) -> Fault {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1", listener.local_addr().unwrap());
    let (told, requests) = channel();
    let thread = std::thread::spawn(move || {
        for act in acts {
            let (mut stream, _) = listener.accept().unwrap();
            told.send(read(&stream)).unwrap();
            act(&mut stream);
        }
    });
    Fault { endpoint, requests, thread }
}

/// A request, head and body.
fn read(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let at = text.len();
        if reader.read_line(&mut text).unwrap() == 0 || &text[at..] == "\r\n" {
            break;
        }
        if let Some(count) = text[at..].to_lowercase().strip_prefix("content-length:") {
            length = count.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    text.push_str(std::str::from_utf8(&body).unwrap());
    text
}

fn raw(bytes: impl Into<Vec<u8>>) -> Act {
    let bytes = bytes.into();
    Box::new(move |stream| {
        let _ = stream.write_all(&bytes); // who has heard enough is gone
    })
}

fn http(status: &str, headers: &str, body: &str) -> Act {
    raw(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len()))
}

fn refusal(status: &str, headers: &str, reason: &str) -> Act {
    http(
        status,
        &format!("Content-Type: application/json\r\n{headers}"),
        &format!("{{\"error\": {{\"message\": \"{reason}\"}}}}"),
    )
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn event(text: &str) -> Vec<u8> {
    chunk(format!("data: {{\"choices\": [{{\"delta\": {{\"content\": \"{text}\"}}}}]}}\n\n").as_bytes())
}

/// A stream that goes well; its second event comes in two chunks, cut within a character.
fn good() -> Act {
    let whole =
        "data: {\"choices\": [{\"delta\": {\"content\": \"ü!\"}, \"finish_reason\": \"stop\"}]}\n\ndata: [DONE]\n\n"
            .as_bytes();
    let cut = whole.iter().position(|byte| *byte == 0xc3).unwrap() + 1;
    let (first, second) = whole.split_at(cut);
    raw([EVENTS.as_bytes(), &event("a "), &chunk(first), &chunk(second), b"0\r\n\r\n"].concat())
}

/// Goes on until nobody listens.
fn endless(part: &'static [u8]) -> Act {
    Box::new(move |stream| {
        let _ = stream.write_all(EVENTS.as_bytes());
        let part = chunk(&part.repeat(4096 / part.len().max(1)));
        while stream.write_all(&part).is_ok() {}
    })
}

/// Says nothing more until the other side goes.
fn hang(before: impl Into<Vec<u8>>) -> Act {
    let before = before.into();
    Box::new(move |stream| {
        stream.write_all(&before).unwrap();
        let _ = stream.read(&mut [0; 16]);
    })
}

fn request() -> Request {
    Request {
        model: "m".into(),
        messages: vec![Message::new(Role::User, "Hi")],
        temperature: 0.0,
        top_p: 1.0,
        max_tokens: 8,
        seed: Some(3),
        format: Format::Text,
        attempt: 0,
    }
}

/// Time as it is, but nobody waits between attempts.
struct Hasty(MachinePace);

impl Pace for Hasty {
    fn now(&self) -> f64 {
        self.0.now()
    }
    fn date(&self) -> i64 {
        self.0.date()
    }
    fn sleep(&self, _: f64) {}
    fn chance(&self) -> f64 {
        self.0.chance()
    }
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

fn with(server: &Fault, key: Option<Key>, policy: Policy) -> Result<Exchange, LlmError> {
    let cancel = Cancel::new();
    let http = Http::keyed(key, false, true, cancel.clone());
    let line = Line { endpoint: server.endpoint.as_str().into(), rate: Rate::FREE, policy };
    let pace = Hasty(MachinePace::new(cancel));
    Client { transport: &http, pace: &pace }.call(&line, &request(), &Purse::default(), &mut |_| ())
}

/// Asks once for each act.
fn ask(acts: Vec<Act>) -> Result<Exchange, LlmError> {
    let count = acts.len();
    let policy = Policy { attempts: count as u32, first_byte: 5.0, ..Policy::default() };
    let server = fault(acts);
    let found = with(&server, None, policy);
    assert_eq!(server.requests.try_iter().count(), count, "{found:?}");
    found
}

fn content(exchange: &Exchange) -> &str {
    match &exchange.said {
        Said::Reply(Reply { content, .. }) => content,
        Said::Unsupported { reason, .. } => reason,
    }
}

fn lost(found: Result<Exchange, LlmError>) -> String {
    match found {
        Err(LlmError::Lost { reason, .. } | LlmError::Late { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

fn malformed(found: Result<Exchange, LlmError>) -> String {
    match found {
        Err(LlmError::Malformed { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_arrives_whole_with_the_key_in_its_header_alone() {
    let server = fault(vec![good()]);
    let found = with(&server, Key::of(&server.endpoint, |_| Some("a-long-secret".into())), Policy::default()).unwrap();
    assert_eq!(content(&found), "a ü!");
    let sent = server.requests.recv().unwrap();
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    assert!(head.starts_with("post /v1/chat/completions http/1.1") && head.contains("content-type: application/json"));
    assert!(head.contains("authorization: bearer a-long-secret") && !body.contains("secret"));
    assert!(body.contains("\"seed\":3") && !body.contains("top_p"));
    server.thread.join().unwrap();
}

#[test]
fn what_passes_is_waited_out() {
    let found = ask(vec![
        refusal("429 Too Many Requests", "Retry-After: 1\r\n", "slow down"),
        refusal("500 Internal Server Error", "", "oops"),
        raw(""),
        raw("HTTP/1.1 200 OK\r\nContent-Le"),
        raw([EVENTS.as_bytes(), &event("lost"), b"5\r\nda"].concat()),
        raw([EVENTS.as_bytes(), &event("lost"), b"zz\r\nnot hex\r\n"].concat()),
        raw([EVENTS.as_bytes(), &event("half"), b"0\r\n\r\n"].concat()),
        good(),
    ])
    .unwrap();
    assert_eq!((content(&found), found.attempts), ("a ü!", 8));
}

#[test]
fn what_breaks_is_told_by_its_cause() {
    let cut = [EVENTS.as_bytes(), &event("a"), b"5\r\nda"].concat();
    assert!(lost(ask(vec![raw(cut)])).contains("broke"));
    let half = [EVENTS.as_bytes(), &event("a"), b"0\r\n\r\n"].concat();
    assert_eq!(lost(ask(vec![raw(half)])), "the stream ended before the answer did");
    assert!(lost(ask(vec![raw("SSH-2.0-OpenSSH_9.9\r\n")])).contains("broke"));
    assert!(lost(ask(vec![raw(format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(1 << 20)))])).contains("broke"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let nobody = Http::new(&closed, Cancel::new());
    assert!(matches!(nobody.reach(&closed), Err(LlmError::Lost { reason, .. }) if reason.contains("nobody listens")));
}

#[test]
fn what_is_no_reply_is_not_asked_for_again() {
    assert!(malformed(ask(vec![http("200 OK", "Content-Type: text/html\r\n", "<p>hello")])).contains("`text/html`"));
    let bytes = [EVENTS.as_bytes(), &chunk(b"data: \xff\xfe\n\n"), b"0\r\n\r\n"].concat();
    assert_eq!(malformed(ask(vec![raw(bytes)])), "it is not UTF-8");
    assert!(malformed(ask(vec![endless(b"data: {\"choices\": []}\n\n")])).contains("longer than"));
    assert!(malformed(ask(vec![endless(b"x")])).contains("longer than"), "a line without an end");
    assert!(malformed(ask(vec![http("204 No Content", "", "")])).contains("204"));
}

#[test]
fn no_redirection_is_followed() {
    let elsewhere = fault(vec![good()]);
    for status in
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let to = format!("Location: {}/chat/completions\r\n", elsewhere.endpoint);
        let reason = malformed(ask(vec![http(status, &to, "")]));
        assert!(reason.contains(&elsewhere.endpoint) && reason.contains("no redirection"), "{status}: {reason}");
    }
    assert!(elsewhere.requests.try_recv().is_err(), "nothing has come there");
}

#[test]
fn every_wait_has_an_end() {
    let quick = |first_byte, deadline| Policy { attempts: 1, deadline, first_byte, ..Policy::default() };
    let server = fault(vec![hang("")]);
    assert!(lost(with(&server, None, quick(0.1, 5.0))).contains("to begin"));
    server.thread.join().unwrap();
    let server = fault(vec![hang([EVENTS.as_bytes(), &event("a")].concat())]);
    let found = with(&server, None, quick(0.1, 0.3));
    assert!(matches!(&found, Err(LlmError::Late { reason, .. }) if reason.contains("time ran out")), "{found:?}");
    server.thread.join().unwrap();
}

#[test]
fn who_is_asked_to_stop_does_not_wait() {
    let server = fault(vec![hang([EVENTS.as_bytes(), &event("a")].concat())]);
    let cancel = Cancel::new();
    let http = Http::new(&server.endpoint, cancel.clone());
    let post = Post { endpoint: &server.endpoint, body: "{}", connect: 5.0, first_byte: 5.0, whole: 1.0 };
    let found = http.post(&post, &mut |_, _| {
        cancel.stop();
        ControlFlow::Continue(())
    });
    assert_eq!(found, Err(TransportError::Cancelled));
    server.thread.join().unwrap();
}

#[test]
fn a_key_that_a_server_repeats_is_taken_out() {
    let key = || Key::of("https://x", |_| Some("a-long-secret".into()));
    let server = fault(vec![refusal("401 Unauthorized", "", "no such key: a-long-secret")]);
    let found = with(&server, key(), Policy::default()).unwrap_err();
    assert!(matches!(&found, LlmError::Key { reason, .. } if reason == "no such key: [key]"), "{found:?}");
    assert!(!format!("{found:?} {found}").contains("secret"));
    server.thread.join().unwrap();
    let server = fault(vec![refusal("403 Forbidden", "", "a-long-secret")]);
    let http = Http::keyed(key(), false, true, Cancel::new());
    let found = http.reach(&server.endpoint).unwrap_err();
    assert!(matches!(&found, LlmError::Key { reason, .. } if reason == "[key]"), "{found:?}");
    assert!(server.requests.recv().unwrap().starts_with("GET /v1/models"));
    server.thread.join().unwrap();
}

#[test]
fn a_connection_serves_many_calls() {
    let whole = |n: usize| {
        let body = format!("{{\"choices\": [{{\"message\": {{\"content\": \"{n}\"}}, \"finish_reason\": \"stop\"}}]}}");
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    // One connection is taken, and no other.
    let server = fault(vec![Box::new(move |stream| {
        stream.write_all(whole(1).as_bytes()).unwrap();
        for n in 2..=3 {
            assert!(read(stream).contains("\"seed\":3"));
            stream.write_all(whole(n).as_bytes()).unwrap();
        }
    })]);
    let cancel = Cancel::new();
    let http = Http::keyed(None, false, true, cancel.clone());
    let line = Line { endpoint: server.endpoint.as_str().into(), rate: Rate::FREE, policy: Policy::default() };
    let pace = Hasty(MachinePace::new(cancel));
    let client = Client { transport: &http, pace: &pace };
    for n in ["1", "2", "3"] {
        let found = client.call(&line, &request(), &Purse::default(), &mut |_| ()).unwrap();
        assert_eq!((content(&found), found.attempts), (n, 1));
    }
    server.thread.join().unwrap();
}

#[test]
fn chances_differ_and_lie_between_nought_and_one() {
    let pace = MachinePace::new(Cancel::new());
    let all: Vec<f64> = (0..100).map(|_| pace.chance()).collect();
    assert!(all.iter().all(|chance| (0.0..=1.0).contains(chance)));
    let mean = all.iter().sum::<f64>() / 100.0;
    assert!(all[0] != all[1] && (0.3..0.7).contains(&mean), "{mean}");
}
