//! Identity and transcripts.

use super::*;

#[test]
fn the_canonical_text_is_fixed_for_ever() {
    let asked = request("Hi \"you\"\n");
    assert_eq!(
        asked.canonical(),
        r#"{"attempt":0,"max_tokens":100,"messages":[{"content":"Hi \"you\"\n","role":"user"}],"model":"m","response_format":{"type":"text"},"seed":null,"temperature":0.7,"top_p":1.0}"#
    );
    // sha256sum of the line above.
    assert_eq!(asked.key().to_string(), "9ac12460738b0f2570436c53870862f8022e5da87015e3a85ce32f405fc4e2ed");
    let others = [
        Request { attempt: 1, ..asked.clone() },
        Request { seed: Some(0), ..asked.clone() },
        Request { model: "n".into(), ..asked.clone() },
        Request { format: Format::Object, ..asked.clone() },
        Request { temperature: 0.8, ..asked.clone() },
        request("Hi"),
    ];
    for other in others {
        assert_ne!(other.key(), asked.key(), "{other:?}");
    }
    assert_eq!(Request { temperature: -0.0, ..asked.clone() }.key(), Request { temperature: 0.0, ..asked }.key());
}

fn entry(prompt: &str, endpoint: &str, content: &str) -> Entry {
    let reply = Reply { content: content.into(), finish_reason: Finish::Stop, model: Some("m-1".into()) };
    let usage = Usage { prompt_tokens: 5, completion_tokens: 7 };
    let exchange = Exchange { said: Said::Reply(reply), usage, cost: 0.1, seconds: 1.5, attempts: 2 };
    Entry::new(endpoint, &request(prompt), &exchange)
}

fn content(found: Option<Exchange>) -> Option<String> {
    match found?.said {
        Said::Reply(reply) => Some(reply.content),
        Said::Unsupported { reason, .. } => Some(reason),
    }
}

#[test]
fn what_is_written_is_said_again() {
    let unsupported = Exchange {
        said: Said::Unsupported { status: 400, reason: "no".into() },
        usage: Usage::default(),
        cost: 0.0,
        seconds: 0.1,
        attempts: 1,
    };
    let lines = [
        entry("a", "http://x", "1"),
        entry("a", "http://x", "2"),
        Entry::new("http://x", &request("b"), &unsupported),
        Entry::failed("http://x", &request("c"), "R0530", "gone".into(), 0.25, 90),
    ];
    let text: String = lines.iter().map(Entry::line).collect();
    for torn in ["", "{\"key\": \"12", "\u{0}\u{0}"] {
        let mut recorded = Recorded::default();
        assert_eq!(recorded.read(format!("{text}{torn}").as_bytes()), Ok(torn.is_empty()));
        assert_eq!(content(recorded.find("http://x", &request("a").key())).as_deref(), Some("1"), "the first stays");
        assert_eq!(recorded.find("http://x", &request("b").key()), Some(unsupported.clone()));
        assert_eq!(recorded.find("http://x", &request("c").key()), None, "a failure is not said again");
        assert_eq!(recorded.find("http://x", &request("d").key()), None);
        let (money, tokens) = recorded.spent();
        assert!((money - 0.45).abs() < 1e-12 && tokens == 2 * 12 + 90);
    }
}

#[test]
fn a_transcript_holds_wherever_the_server_stands() {
    let mut recorded = Recorded::default();
    recorded.add(entry("a", "http://x", "1"));
    recorded.add(entry("b", "http://x", "1"));
    recorded.add(entry("b", "http://y", "2"));
    let find = |endpoint: &str, prompt: &str| content(recorded.find(endpoint, &request(prompt).key()));
    assert_eq!(find("http://z", "a").as_deref(), Some("1"));
    assert_eq!(find("http://y", "b").as_deref(), Some("2"));
    assert_eq!(find("http://z", "b"), None, "two answered, and nobody knows which is meant");
}

#[test]
fn lines_that_were_changed_are_told() {
    let line = entry("a", "http://x", "1").line();
    let mut recorded = Recorded::default();
    let changed = line.replace("\"max_tokens\":100", "\"max_tokens\":101");
    assert_ne!(changed, line);
    let error = recorded.read(format!("{line}{changed}").as_bytes()).unwrap_err();
    assert_eq!((error.line, error.reason.as_str()), (2, "its key is not its request's"));
    assert_eq!(Recorded::default().read(b"\n{}\n").unwrap_err().line, 2);
    // Who writes lines by hand leaves the key to us.
    let by_hand = line.replacen(&format!("\"key\":\"{}\",", request("a").key()), "", 1);
    assert_ne!(by_hand, line);
    recorded = Recorded::default();
    recorded.read(by_hand.as_bytes()).unwrap();
    assert!(recorded.find("http://x", &request("a").key()).is_some());
}
