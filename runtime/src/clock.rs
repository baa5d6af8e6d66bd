//! The only place that reads the clock. What it says is shown and noted down; no result depends on it.
#![allow(clippy::disallowed_types, reason = "somebody has to read the clock: here, and nowhere else")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, UTC.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Now, such as `2026-01-02T03:04:05.678Z`.
pub(crate) fn now_text() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// Now as the name of a run begins with it, such as `20260102T030405Z`.
pub(crate) fn stamp() -> String {
    let text = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    text.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

/// Counts seconds from when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts counting.
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_the_formats_say() {
        let text = now_text();
        assert_eq!(text.len(), "2026-01-02T03:04:05.678Z".len());
        let parsed = humantime::parse_rfc3339(&text).unwrap().duration_since(UNIX_EPOCH).unwrap();
        assert!((parsed.as_millis() as i64 - now_ms()).abs() < 60_000);
        assert_eq!(stamp().len(), "20260102T030405Z".len());
    }
}
