//! The line to language models: a blocking HTTP client with TLS whose every wait is bounded, and that follows no redirection.
//!
//! A call runs on a thread of its own, so that a run which is asked to stop does not wait for a server. What the server sends is handed
//! on as it comes; what it refuses is read to a bound, and freed of the key, should it repeat it.

mod key;
#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use evo_stdlib::llm::client::Heed;
use evo_stdlib::llm::{Head, LlmError, Pace, Post, Transport, TransportError, wire};
use ureq::config::Config;
use ureq::{Agent, Body, Error, RequestBuilder, Timeout};

use crate::clock::{self, Stopwatch};
use crate::events::Cancel;

pub use key::Key;
pub(crate) use key::without_keys;

/// How often it is looked whether the run was asked to stop.
const LOOK: Duration = Duration::from_millis(20);
/// Parts of a reply that may wait to be read.
const QUEUE: usize = 16;
/// Bytes of a part.
const PART: usize = 16 << 10;
/// Bytes of a refusal that are read.
const REFUSAL: u64 = 64 << 10;
/// Connections that are kept for the next request, and for how long: servers close theirs after 5 s and more.
const IDLE: usize = 16;
const IDLE_FOR: Duration = Duration::from_secs(3);
/// Seconds that an endpoint may take to show that it is there.
const REACH: f64 = 10.0;

/// A line to one endpoint.
#[derive(Debug)]
pub struct Http {
    agent: Agent,
    key: Option<Key>,
    needs_key: bool,
    cancel: Cancel,
}

/// What comes from the thread that a call runs on.
enum Part {
    Head(Head),
    Bytes(Vec<u8>),
    End(Result<(), TransportError>),
}

impl Http {
    /// A line to an endpoint, with the key that the environment holds for it.
    pub fn new(endpoint: &str, cancel: Cancel) -> Http {
        let key = Key::of(endpoint, |name| std::env::var(name).ok());
        Http::keyed(key, key::is_needed(endpoint), key::is_near(endpoint), cancel)
    }

    fn keyed(key: Option<Key>, needs_key: bool, is_near: bool, cancel: Cancel) -> Http {
        Http { agent: agent(is_near), key, needs_key, cancel }
    }

    /// A text without the key.
    pub fn scrubbed(&self, text: String) -> String {
        match &self.key {
            Some(key) => key.scrubbed(text),
            None => text,
        }
    }

    /// Whether somebody answers at an endpoint, and takes the key: asked before anything is spent.
    ///
    /// # Errors
    /// Nobody does, or the key is refused.
    pub fn reach(&self, endpoint: &str) -> Result<(), LlmError> {
        if self.needs_key && self.key.is_none() {
            return Err(LlmError::NoKey { endpoint: endpoint.to_owned() });
        }
        let lost = |reason| LlmError::Lost { endpoint: endpoint.to_owned(), reason, attempts: 1 };
        let mut get = timed(self.agent.get(format!("{endpoint}/models")), REACH, REACH, REACH);
        if let Some(key) = &self.key {
            get = get.header("Authorization", key.header());
        }
        match get.call() {
            Ok(mut reply) if matches!(reply.status().as_u16(), 401 | 403) => {
                let mut body = Vec::new();
                // What cannot be read of a refusal is no further news.
                let _ = reply.body_mut().as_reader().take(REFUSAL).read_to_end(&mut body);
                Err(LlmError::Key { endpoint: endpoint.to_owned(), reason: self.scrubbed(wire::reason(&body)) })
            }
            Ok(_) => Ok(()),
            Err(error) => match failed(&error) {
                TransportError::Connect(reason) | TransportError::Broken(reason) => Err(lost(self.scrubbed(reason))),
                _ => Err(lost(format!("it did not reply within {REACH} s"))),
            },
        }
    }
}

/// Connections to one host, without redirections and proxies to this machine.
fn agent(is_near: bool) -> Agent {
    let config = Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(IDLE)
        .max_idle_connections_per_host(IDLE)
        .max_idle_age(IDLE_FOR)
        .user_agent(concat!("evo/", env!("CARGO_PKG_VERSION")));
    // What is on this machine is not asked of a proxy.
    if is_near { config.proxy(None).build().new_agent() } else { config.build().new_agent() }
}

/// A request that is given so many seconds until the connection stands, until the reply begins, and until it is whole.
fn timed<Any>(request: RequestBuilder<Any>, connect: f64, first_byte: f64, whole: f64) -> RequestBuilder<Any> {
    let time = |seconds: f64| Some(Duration::from_secs_f64(seconds.clamp(0.001, 1e6)));
    let config = request.config().timeout_connect(time(connect));
    config.timeout_recv_response(time(first_byte)).timeout_global(time(whole)).build()
}

impl Transport for Http {
    fn post(&self, post: &Post<'_>, heed: &mut Heed<'_>) -> Result<Head, TransportError> {
        if self.needs_key && self.key.is_none() {
            return Err(TransportError::NoKey);
        }
        let request = self.agent.post(format!("{}/chat/completions", post.endpoint));
        let mut request = timed(request, post.connect, post.first_byte, post.whole);
        request = request.header("Content-Type", "application/json");
        request = request.header("Accept", "text/event-stream, application/json");
        if let Some(key) = &self.key {
            request = request.header("Authorization", key.header());
        }
        let (to, parts) = sync_channel(QUEUE);
        let (body, key) = (post.body.to_owned(), self.key.clone());
        let call = move || {
            let end = match request.send(body) {
                Ok(reply) => carry(reply, key.as_ref(), &to),
                Err(error) => Err(scrub(failed(&error), key.as_ref())),
            };
            let _ = to.send(Part::End(end)); // whoever waits no longer needs no end
        };
        std::thread::Builder::new()
            .name("evo-llm".into())
            .spawn(call)
            .map_err(|error| TransportError::Connect(format!("no thread could be started: {error}")))?;
        self.heard(&parts, heed)
    }
}

impl Http {
    fn heard(&self, parts: &Receiver<Part>, heed: &mut Heed<'_>) -> Result<Head, TransportError> {
        let mut head = None;
        loop {
            match parts.recv_timeout(LOOK) {
                Ok(Part::Head(found)) => head = Some(found),
                Ok(Part::Bytes(bytes)) => {
                    let head = head.get_or_insert_default();
                    if heed(head, &bytes) == ControlFlow::Break(()) {
                        return Ok(head.clone());
                    }
                }
                Ok(Part::End(end)) => {
                    let gone = || TransportError::Broken("there was no reply".into());
                    return end.and_then(|()| head.ok_or_else(gone));
                }
                Err(RecvTimeoutError::Timeout) if self.cancel.is_stopped() => return Err(TransportError::Cancelled),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(TransportError::Broken("its thread ended unexpectedly".into()));
                }
            }
        }
    }
}

/// Hands a reply on, part by part, until it ends or nobody listens.
fn carry(
    mut reply: ureq::http::Response<Body>,
    key: Option<&Key>,
    to: &SyncSender<Part>,
) -> Result<(), TransportError> {
    let header = |name| reply.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let location = header("location").map(|text| key.map_or(text.clone(), |key| key.scrubbed(text)));
    let head = Head {
        status: reply.status().as_u16(),
        content_type: header("content-type").unwrap_or_default(),
        retry_after: header("retry-after"),
        location,
    };
    let is_refusal = head.status != 200;
    if to.send(Part::Head(head)).is_err() {
        return Ok(());
    }
    let mut reader = reply.body_mut().as_reader();
    if is_refusal {
        let mut text = Vec::new();
        let read = reader.take(REFUSAL).read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        let text = key.map_or(text.clone(), |key| key.scrubbed(text));
        let _ = to.send(Part::Bytes(text.into_bytes()));
        // A refusal that breaks off is a refusal.
        return read.map(drop).or(Ok(()));
    }
    let mut part = vec![0; PART];
    loop {
        let count = reader.read(&mut part).map_err(|error| scrub(unread(&error), key))?;
        let bytes = part.get(..count).unwrap_or_default().to_vec();
        if count == 0 || to.send(Part::Bytes(bytes)).is_err() {
            return Ok(());
        }
    }
}

fn scrub(error: TransportError, key: Option<&Key>) -> TransportError {
    let Some(key) = key else { return error };
    match error {
        TransportError::Connect(reason) => TransportError::Connect(key.scrubbed(reason)),
        TransportError::Broken(reason) => TransportError::Broken(key.scrubbed(reason)),
        other => other,
    }
}

/// Why a body could not be read: what is ours of it, or the system's word.
fn unread(error: &std::io::Error) -> TransportError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(inner) => failed(inner),
        None if error.kind() == std::io::ErrorKind::TimedOut => TransportError::Late("the rest of the reply"),
        None => TransportError::Broken(error.to_string()),
    }
}

fn failed(error: &Error) -> TransportError {
    match error {
        Error::Timeout(Timeout::Connect | Timeout::Resolve) => TransportError::Late("a connection"),
        Error::Timeout(Timeout::RecvResponse) => TransportError::Late("the reply to begin"),
        Error::Timeout(_) => TransportError::Late("the reply"),
        Error::HostNotFound => TransportError::Connect("there is no such host".into()),
        Error::ConnectionFailed => TransportError::Connect("it cannot be connected to".into()),
        Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
            TransportError::Connect("the connection is refused: nobody listens there".into())
        }
        other => {
            let cause = other.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            let text = other.to_string();
            let cause = if text.contains(cause.trim_start_matches(": ")) { String::new() } else { cause };
            TransportError::Broken(wire::clipped(&format!("{text}{cause}")))
        }
    }
}

/// The machine's clock, and a die that falls another way each time.
#[derive(Debug)]
pub(crate) struct MachinePace {
    clock: Stopwatch,
    thrown: AtomicU64,
    cancel: Cancel,
}

impl MachinePace {
    pub(crate) fn new(cancel: Cancel) -> MachinePace {
        MachinePace { clock: Stopwatch::start(), thrown: AtomicU64::new(0), cancel }
    }
}

impl Pace for MachinePace {
    fn now(&self) -> f64 {
        self.clock.seconds()
    }

    fn date(&self) -> i64 {
        clock::now_ms() / 1000
    }

    fn sleep(&self, seconds: f64) {
        let watch = Stopwatch::start();
        while watch.seconds() < seconds && !self.is_cancelled() {
            std::thread::sleep(LOOK.min(Duration::from_secs_f64((seconds - watch.seconds()).clamp(0.0, 1.0))));
        }
    }

    fn chance(&self) -> f64 {
        // Processes that failed at one moment differ in their number; throws of one, in theirs.
        let seed = [
            u64::from(std::process::id()),
            self.thrown.fetch_add(1, Ordering::Relaxed),
            self.clock.seconds().to_bits(),
        ];
        let hash = blake3::hash(bytes(&seed).as_slice());
        let top = hash.as_bytes().first_chunk::<4>().copied().unwrap_or_default();
        f64::from(u32::from_le_bytes(top)) / f64::from(u32::MAX)
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_stopped()
    }
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
