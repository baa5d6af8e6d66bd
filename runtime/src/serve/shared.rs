//! What all requests see.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evo_stdlib::answer::service::Work;
use evo_stdlib::model::{Model, Tokenizer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::engine::Desk;
use super::metrics::Metrics;
use super::wire::ApiError;
use super::{Limits, Settings};
use crate::clock;

/// The model, the limits, and the counters.
pub(super) struct Shared {
    pub(super) model: Model,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) name: String,
    pub(super) limits: Limits,
    /// Seconds since 1970 when it began.
    pub(super) begun: u64,
    pub(super) metrics: Metrics,
    key: Option<blake3::Hash>,
    desk: Desk,
    places: Arc<Semaphore>,
    seed: u64,
    asked: AtomicU64,
}

impl Shared {
    /// Of a model that has a tokenizer.
    pub(super) fn new(model: Model, settings: Settings, tokenizer: Arc<Tokenizer>, desk: Desk) -> Self {
        Self {
            tokenizer,
            name: settings.name,
            limits: settings.limits,
            begun: now(),
            metrics: Metrics::default(),
            key: settings.key.map(|key| blake3::hash(key.as_bytes())),
            desk,
            places: Arc::new(Semaphore::new(settings.limits.requests)),
            seed: settings.seed,
            asked: AtomicU64::new(0),
            model,
        }
    }

    /// Whether a request may come in. Hashes are compared, in a time that says nothing of the key.
    pub(super) fn has_key(&self, given: Option<&str>) -> bool {
        match &self.key {
            // The comparison of two `Hash`es takes the same time wherever they differ.
            Some(key) => *key == blake3::hash(given.unwrap_or_default().as_bytes()),
            None => true,
        }
    }

    /// A place among the requests that are open.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let full =
            |_| ApiError::busy(format!("{} requests are open, as many as this server takes", self.limits.requests));
        self.places.clone().try_acquire_owned().map_err(full)
    }

    /// Hands work to the engine.
    pub(super) fn hand_in(&self, work: Work) -> Result<(), ApiError> {
        if self.desk.hand_in(work) { Ok(()) } else { Err(ApiError::ended()) }
    }

    pub(super) fn load(&self) -> evo_stdlib::answer::service::Load {
        self.desk.load()
    }

    /// Requests that are open.
    pub(super) fn open(&self) -> usize {
        self.limits.requests.saturating_sub(self.places.available_permits())
    }

    /// A number for a request, and a seed for its draws if it gives none.
    pub(super) fn number(&self) -> (u64, u64) {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(&number.to_le_bytes());
        let mut seed = [0; 8];
        hasher.finalize_xof().fill(&mut seed);
        (number, u64::from_le_bytes(seed))
    }

    /// Refuses a request for another model.
    pub(super) fn check_name(&self, asked: Option<String>) -> Result<(), ApiError> {
        match asked {
            Some(asked) if asked != self.name && asked != "default" => {
                let message =
                    format!("this server has the model `{}`, not `{asked}`; `default` means it too", self.name);
                Err(ApiError::new(axum::http::StatusCode::NOT_FOUND, message).param("model"))
            }
            _ => Ok(()),
        }
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    clock::now_ms().unsigned_abs() / 1000
}
