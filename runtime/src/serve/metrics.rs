//! `/metrics`: counters in the text format that Prometheus reads.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::shared::Shared;

/// Bounds of the histogram of times, in seconds.
const BOUNDS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];

/// Requests and their times, until the reply began.
#[derive(Debug, Default)]
pub(super) struct Metrics(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    requests: BTreeMap<(&'static str, u16), u64>,
    times: [u64; BOUNDS.len()],
    seconds: f64,
    count: u64,
}

impl Metrics {
    pub(super) fn count(&self, route: &'static str, status: u16, seconds: f64) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counted.requests.entry((route, status)).or_default() += 1;
        counted.seconds += seconds;
        counted.count += 1;
        for (count, bound) in counted.times.iter_mut().zip(BOUNDS) {
            *count += u64::from(seconds <= bound);
        }
    }
}

/// The known routes by name: unknown ones make no new counters.
pub(super) fn route(path: &str) -> &'static str {
    const ROUTES: [&str; 6] =
        ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/health", "/metrics"];
    ROUTES.into_iter().find(|route| *route == path).unwrap_or("other")
}

/// Shows the counters.
pub(super) async fn show(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let load = shared.load();
    let mut text = String::new();
    let mut one = |name: &str, kind: &str, help: &str, value: u64| {
        let _ = write!(text, "# HELP evo_{name} {help}\n# TYPE evo_{name} {kind}\nevo_{name} {value}\n");
    };
    one("prompt_tokens_total", "counter", "Tokens of prompts that were run.", load.prompt_tokens);
    one("spared_prompt_tokens_total", "counter", "Tokens of prompts that were known.", load.spared_tokens);
    one("completion_tokens_total", "counter", "Tokens of answers.", load.chosen_tokens);
    one("requests_open", "gauge", "Requests that are open.", shared.open() as u64);
    one("answers_open", "gauge", "Answers that are being written.", load.open as u64);
    one("answers_waiting", "gauge", "Answers that wait for a place.", load.waiting as u64);
    let counted = shared.metrics.0.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = write!(text, "# HELP evo_requests_total Requests.\n# TYPE evo_requests_total counter\n");
    for ((route, status), count) in &counted.requests {
        let _ = writeln!(text, "evo_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}");
    }
    let name = "evo_request_seconds";
    let _ = write!(text, "# HELP {name} Time until a reply began.\n# TYPE {name} histogram\n");
    for (bound, count) in BOUNDS.iter().zip(counted.times) {
        let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}");
    }
    let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {}", counted.count);
    let _ = writeln!(text, "{name}_sum {}\n{name}_count {}", counted.seconds, counted.count);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
