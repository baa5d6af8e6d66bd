//! Keys: read from the environment, sent to their service, and shown nowhere.

use std::fmt;
use std::net::IpAddr;
use std::process::Command;

/// The variables of the environment that hold keys.
const SECRETS: [&str; 3] = ["EVO_LLM_KEY", "OPENAI_API_KEY", "EVO_SERVE_KEY"];

/// The service whose own variable will do.
const OPENAI: &str = "api.openai.com";

/// A command whose process is not given the keys of this one. (Workers are given next to nothing of the environment.)
pub(crate) fn without_keys(command: &mut Command) -> &mut Command {
    SECRETS.iter().fold(command, |command, name| command.env_remove(name))
}

/// Characters of a key that is one.
const SHORTEST: usize = 8;

/// A key that does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// The key for an endpoint. It goes encrypted, or to this machine; and OpenAI's goes to nobody else.
    pub fn of(endpoint: &str, variable: impl Fn(&str) -> Option<String>) -> Option<Key> {
        if !endpoint.starts_with("https://") && !is_near(endpoint) {
            return None;
        }
        let given = |name| variable(name).map(|key| key.trim().to_owned()).filter(|key| is_key(key));
        let own = given("EVO_LLM_KEY");
        own.or_else(|| given("OPENAI_API_KEY").filter(|_| is_needed(endpoint))).map(Key)
    }

    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// A text without the key. What is too short to be a secret (`none`, for a server that wants anything) stays.
    pub(super) fn scrubbed(&self, text: String) -> String {
        if self.0.len() >= SHORTEST && text.contains(&self.0) { text.replace(&self.0, "[key]") } else { text }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// What can stand in a header.
fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())
}

/// Whether an endpoint answers nobody without a key.
pub(super) fn is_needed(endpoint: &str) -> bool {
    endpoint.starts_with("https://") && host(endpoint) == OPENAI
}

/// Whether an endpoint is on this machine.
pub(super) fn is_near(endpoint: &str) -> bool {
    let host = host(endpoint);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host of an endpoint, without its port.
fn host(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let place = rest.split('/').next().unwrap_or_default();
    match place.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => place.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(endpoint: &str, set: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Key::of(endpoint, variable).map(|key| key.0)
    }

    #[test]
    fn keys_go_only_where_they_belong() {
        let both = [("EVO_LLM_KEY", "own\n"), ("OPENAI_API_KEY", "theirs")];
        let one = [("OPENAI_API_KEY", "theirs")];
        assert_eq!(of("https://api.openai.com/v1", &both).as_deref(), Some("own"));
        assert_eq!(of("https://api.openai.com/v1", &one).as_deref(), Some("theirs"));
        for other in [
            "https://api.openai.com.example.com/v1",
            "http://api.openai.com/v1",
            "https://x/api.openai.com",
            "http://127.0.0.1/v1",
        ] {
            assert_eq!(of(other, &one), None, "{other}");
        }
        for near in ["http://127.0.0.1:8080/v1", "http://localhost/v1", "http://[::1]:80/v1"] {
            assert_eq!(of(near, &both).as_deref(), Some("own"), "{near}");
        }
        assert_eq!(of("http://192.168.1.7:8000/v1", &both), None, "not over an open line");
        assert_eq!(of("http://127.0.0.1.example.com/v1", &both), None);
        assert_eq!(of("https://x/v1", &[("EVO_LLM_KEY", "a\r\nHost: y")]), None, "no second header");
        assert_eq!(of("https://x/v1", &[("EVO_LLM_KEY", " ")]), None);
    }

    #[test]
    fn a_key_shows_itself_nowhere() {
        let key = Key("s3cret-s3cret".into());
        assert_eq!(format!("{key:?}"), "Key");
        assert_eq!(key.scrubbed("bad key s3cret-s3cret!".into()), "bad key [key]!");
        assert_eq!(Key("none".into()).scrubbed("none of it".into()), "none of it");
    }
}
