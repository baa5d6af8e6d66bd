//! What is tried again, how often, and how long is waited before.

use chrono::DateTime;

/// The bounds of one call, all its attempts together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// How often a request is sent at most.
    pub attempts: u32,
    /// Seconds that the whole call may take, waiting included.
    pub deadline: f64,
    /// Seconds until a connection stands, at most.
    pub connect: f64,
    /// Seconds until a reply begins, at most.
    pub first_byte: f64,
}

/// The wait before the second attempt, in seconds; each further one doubles it.
const FIRST: f64 = 0.5;
/// The longest wait of our own choosing, in seconds.
const LONGEST: f64 = 30.0;

impl Default for Policy {
    fn default() -> Policy {
        Policy { attempts: 6, deadline: 600.0, connect: 10.0, first_byte: 300.0 }
    }
}

/// Whether a server's refusal may pass.
pub fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 409 | 425 | 429 | 500..=599)
}

/// Seconds to wait before the attempt after `failed` failed ones: doubled each time, spread over its upper half by `chance` (0 to 1) so that
/// clients which failed together do not come back together; never sooner than the server asks.
pub fn wait(failed: u32, chance: f64, asked: Option<f64>) -> f64 {
    let doubled = FIRST * f64::from(2_u32.saturating_pow(failed.saturating_sub(1).min(16)));
    let own = doubled.min(LONGEST) * (0.5 + 0.5 * chance.clamp(0.0, 1.0));
    asked.map_or(own, |asked| asked.max(own))
}

/// Reads `Retry-After`: seconds, or a date of HTTP, of which the seconds from `now` (seconds since 1970) on are left.
pub fn retry_after(text: &str, now: i64) -> Option<f64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0).then_some(seconds);
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.timestamp() - now).max(0) as f64)
}
