//! `evo serve`: a model behind the HTTP interface that OpenAI's clients speak.
//!
//! In reading order: [`Settings`] and [`Server`] here · `engine` (the thread that owns the model) · `http` (connections and their limits) ·
//! `shared` (what all requests see) · `wire` (fields and errors) · `gather` (a request's answers) · `completions`, `chat`, `embeddings`
//! (what is asked) · `metrics`.
//!
//! Requests of all connections are decoded together (continuous batching); an answer is the one that its request has alone. The server
//! writes no file, keeps nothing of what it is asked, and answers nobody but this machine unless it is told otherwise.

mod chat;
mod completions;
mod embeddings;
mod engine;
mod gather;
mod http;
mod metrics;
mod shared;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use evo_stdlib::model::{Model, Place};
use tokio::sync::watch;

use shared::Shared;

/// How a model is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where: port 0 takes a free one.
    pub address: SocketAddr,
    /// What the model is called; requests ask for this name or for `default`.
    pub name: String,
    /// The key that requests give as `Authorization: Bearer …`, if they must.
    pub key: Option<String>,
    /// Of the draws of requests that give no seed.
    pub seed: u64,
    /// What bounds requests.
    pub limits: Limits,
}

/// What bounds requests. What is over a limit is refused, and the reply names the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one time; further ones wait to be taken.
    pub connections: usize,
    /// Requests at one time; further ones get 429.
    pub requests: usize,
    /// Answers of one request: prompts times `n`.
    pub choices: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// Tokens of an answer whose request names no `max_tokens`, in chats.
    pub tokens: usize,
    /// How long a request may take until its headers and its body are there.
    pub arrival: Duration,
    /// How long a request may take in all.
    pub time: Duration,
    /// How long open requests may go on when the server is asked to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            requests: 256,
            choices: 128,
            body: 8 << 20,
            tokens: 1024,
            arrival: Duration::from_secs(20),
            time: Duration::from_secs(600),
            grace: Duration::from_secs(30),
        }
    }
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Address {
        /// It.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// The machine gives no threads.
    #[error("cannot start: {0}")]
    Start(io::Error),
    /// The model cannot be computed.
    #[error("{0}")]
    Model(String),
}

/// How far a server is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    No,
    /// Takes nothing more; what is open goes on.
    Soon,
    Now,
}

/// A model that is being served.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    ending: Stopper,
    network: JoinHandle<()>,
    engine: JoinHandle<Result<(), String>>,
}

/// Ends a server, from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<watch::Sender<Ending>>);

impl Stopper {
    /// Asks for the end: first of new requests, and when asked again, of all.
    pub fn stop(&self) {
        self.0.send_modify(|ending| *ending = if *ending == Ending::No { Ending::Soon } else { Ending::Now });
    }

    /// Whether it was asked.
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow() != Ending::No
    }
}

impl Server {
    /// Begins to listen; the model is brought into memory by the first requests or before.
    ///
    /// # Errors
    /// [`ServeError::Address`], [`ServeError::Start`], and [`ServeError::Model`] for one without a tokenizer.
    pub fn start(model: Model, place: &Place, settings: Settings) -> Result<Server, ServeError> {
        let tokenizer = model.require_tokenizer().map_err(|error| ServeError::Model(error.to_string()))?.clone();
        let unheard = |cause| ServeError::Address { address: settings.address, cause };
        let listener = std::net::TcpListener::bind(settings.address).map_err(unheard)?;
        listener.set_nonblocking(true).map_err(ServeError::Start)?;
        let address = listener.local_addr().map_err(ServeError::Start)?;
        let (ending, watch) = watch::channel(Ending::No);
        let ending = Stopper(Arc::new(ending));
        let (work, engine) = engine::start(model.clone(), place, ending.clone()).map_err(ServeError::Start)?;
        let limits = settings.limits;
        let shared = Arc::new(Shared::new(model, settings, tokenizer, work));
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let threads = threads.map_err(ServeError::Start)?;
        let network = std::thread::Builder::new().name("evo-http".into());
        let network = network.spawn(move || threads.block_on(http::listen(listener, shared, limits, watch)));
        Ok(Server { address, ending, network: network.map_err(ServeError::Start)?, engine })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        self.ending.clone()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`ServeError::Model`] if the model could not be computed.
    pub fn wait(self) -> Result<(), ServeError> {
        let broken = |_| "it broke off; this is a bug of evo".to_owned();
        let network = self.network.join().map_err(broken);
        let engine = self.engine.join().map_err(broken);
        engine.and_then(|done| done).and(network).map_err(ServeError::Model)
    }
}
