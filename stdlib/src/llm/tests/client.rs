//! One call: retries, bounds, money.

use super::super::budget::Amount;
use super::super::retry;
use super::super::wire::{Hearing, Wrong};
use super::*;

fn ask(world: &World, purse: &Purse) -> Result<Exchange, LlmError> {
    world.client().call(&line(), &request("Hi"), purse, &mut |_| ())
}

fn said(exchange: Exchange) -> Reply {
    match exchange.said {
        Said::Reply(reply) => reply,
        other => panic!("{other:?}"),
    }
}

#[test]
fn whole_and_streamed_replies_are_one() {
    for act in [whole("a ü\n", "stop"), streamed(&["a ", "ü", "\n"], "stop")] {
        let world = World::new([act]);
        let exchange = ask(&world, &Purse::default()).unwrap();
        assert_eq!((exchange.usage, exchange.attempts), (Usage { prompt_tokens: 5, completion_tokens: 7 }, 1));
        assert_eq!(exchange.cost, (5.0 + 70.0) / 1e6);
        let reply = said(exchange);
        assert_eq!((reply.content.as_str(), reply.finish_reason), ("a ü\n", Finish::Stop));
        let sent = &world.sent.lock().unwrap()[0];
        assert_eq!(sent["max_tokens"], 100);
        assert_eq!(sent["stream"], true);
        assert!(sent.get("seed").is_none() && sent.get("response_format").is_none());
    }
}

#[test]
fn what_may_pass_is_tried_again_with_doubled_waits() {
    let world = World::new([
        Act::Reply(500, "text/html", "<h1>oops</h1>".into()),
        Act::Fail(TransportError::Connect("refused".into())),
        Act::Wait(429, "7"),
        Act::Wait(503, "Sun, 09 Sep 2001 01:46:52 GMT"),
        Act::Cut(vec![b"data: {\"choices\": [{\"delta\": {\"content\": \"ha"]),
        streamed(&["done"], "stop"),
    ]);
    let purse = Purse::default();
    let exchange = ask(&world, &purse).unwrap();
    assert_eq!(*world.slept.lock().unwrap(), [0.5, 1.0, 7.0, 12.0, 8.0]);
    assert_eq!(exchange.attempts, 6);
    // The reply that broke off after it had begun is reckoned at its worst.
    let most = line().rate.cost(request("Hi").most_tokens_in(), 100);
    assert!((exchange.cost - most - 75e-6).abs() < 1e-12);
    assert_eq!(purse.spent().money, exchange.cost);
    assert_eq!(said(exchange).content, "done");
}

#[test]
fn what_will_not_pass_is_sent_once() {
    let refusal = || r#"{"error": {"message": "no such model"}}"#.to_owned();
    for status in [400, 401, 403, 404, 405, 413, 422] {
        let world = World::new([Act::Reply(status, "application/json", refusal())]);
        let error = ask(&world, &Purse::default()).unwrap_err();
        assert!(error.to_string().contains("no such model"), "{error}");
        let is_key = matches!(error, LlmError::Key { .. });
        assert!(
            is_key == matches!(status, 401 | 403) && (is_key || matches!(error, LlmError::Refused { .. })),
            "{error:?}"
        );
    }
    let unpaid = r#"{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}"#;
    let world = World::new([Act::Reply(429, "application/json", unpaid.into())]);
    assert!(matches!(ask(&world, &Purse::default()), Err(LlmError::Refused { status: 429, .. })));
    let moved = Act::Reply(307, "", String::new());
    assert!(matches!(ask(&World::new([moved]), &Purse::default()), Err(LlmError::Malformed { .. })));
}

#[test]
fn attempts_and_time_are_bounded() {
    let world = World::new((0..6).map(|_| Act::Reply(502, "", String::new())));
    let error = ask(&world, &Purse::default()).unwrap_err();
    assert!(matches!(error, LlmError::Lost { attempts: 6, .. }), "{error:?}");
    assert_eq!(*world.slept.lock().unwrap(), [0.5, 1.0, 2.0, 4.0, 8.0]);
    // A server that asks for more time than the call has is not waited for.
    let world = World::new([Act::Wait(429, "3600")]);
    assert!(matches!(ask(&world, &Purse::default()), Err(LlmError::Late { attempts: 1, .. })));
    assert!(world.slept.lock().unwrap().is_empty());
    // One deadline for all attempts: 600 s hold two of 299 s and the wait between them, not three.
    let mut world = World::new((0..2).map(|_| Act::Fail(TransportError::Late("the reply"))));
    world.pace = 299.9;
    assert!(matches!(ask(&world, &Purse::default()), Err(LlmError::Late { attempts: 2, .. })));
}

#[test]
fn waits_are_spread_and_bounded() {
    assert_eq!((retry::wait(1, 0.0, None), retry::wait(1, 1.0, None)), (0.25, 0.5));
    assert_eq!(retry::wait(40, 1.0, None), 30.0);
    assert_eq!(retry::wait(1, 0.5, Some(20.0)), 20.0);
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    assert_eq!(retry::retry_after(date, 1_445_412_470), Some(10.0));
    assert_eq!(retry::retry_after(date, 1_445_412_490), Some(0.0), "a date that is over");
    assert_eq!(retry::retry_after(" 1.5 ", 0), Some(1.5));
    for nonsense in ["-1", "soon", "NaN", "inf", ""] {
        assert_eq!(retry::retry_after(nonsense, 0), None, "{nonsense}");
    }
}

#[test]
fn replies_that_are_none_are_told_apart_from_broken_ones() {
    let malformed: [(&str, &[u8]); 7] = [
        ("text/html", b"<html>"),
        ("application/json", b"{\"choices\": []}"),
        ("application/json", b"[1, 2"),
        ("application/json", b"{\"choices\": [{\"message\": {\"content\": 5}}]}"),
        ("application/json", b"\"\xff\""),
        ("text/event-stream", b"data: {nope}\n\n"),
        ("text/event-stream", b"data: \xff\n\n"),
    ];
    let heard = |content_type: &str, bytes: &[u8]| {
        let mut hearing = Hearing::new(1000);
        hearing.take(content_type, bytes).and_then(|()| hearing.end())
    };
    for (content_type, bytes) in malformed {
        let is_cut = bytes == b"[1, 2";
        let found = heard(content_type, bytes);
        assert!(
            matches!(found, Err(Wrong::Broken(_)) if is_cut) || matches!(found, Err(Wrong::Malformed(_))),
            "{found:?}"
        );
    }
    let error = b"data: {\"error\": {\"message\": \"out of memory\"}}\n\n";
    assert_eq!(heard("text/event-stream", error), Err(Wrong::Broken("the server says: out of memory".into())));
    let half = b"data: {\"choices\": [{\"delta\": {\"content\": \"a\"}}]}\n\n";
    assert!(matches!(heard("text/event-stream", half), Err(Wrong::Broken(_))));
    assert!(matches!(heard("text/event-stream", b""), Err(Wrong::Broken(_))));
    assert!(matches!(heard("application/json", &[b' '; 1001]), Err(Wrong::Malformed(text)) if text.contains("1000")));
    assert!(matches!(heard("text/event-stream", &[b':'; 1001]), Err(Wrong::Malformed(_))), "an endless line");
}

#[test]
fn where_a_stream_is_cut_does_not_matter() {
    let Act::Reply(_, content_type, body) = streamed(&["a ü", "漢字\n", ""], "length") else { panic!("a reply") };
    let heard = |cuts: &[usize]| {
        let mut hearing = Hearing::new(10_000);
        let mut from = 0;
        for to in cuts.iter().copied().chain([body.len()]) {
            hearing.take(content_type, &body.as_bytes()[from..to]).unwrap();
            from = to;
        }
        hearing.end().unwrap()
    };
    let whole = heard(&[]);
    assert_eq!((whole.0.content.as_str(), &whole.0.finish_reason), ("a ü漢字\n", &Finish::Length));
    for cut in 0..body.len() {
        assert_eq!(heard(&[cut]), whole, "{cut}");
        assert_eq!(heard(&[cut / 2, cut]), whole, "{cut}");
    }
    let each: Vec<usize> = (1..body.len()).collect();
    assert_eq!(heard(&each), whole);
}

#[test]
fn unknown_and_null_fields_do_no_harm() {
    let bare = r#"{"choices": [{"message": {"content": null, "tool_calls": null}, "finish_reason": "content_filter"}], "usage": null}"#;
    let exchange = ask(&World::new([Act::Reply(200, "", bare.into())]), &Purse::default()).unwrap();
    // Tokens that nobody counted are reckoned at their worst.
    assert_eq!(exchange.usage, Usage { prompt_tokens: request("Hi").most_tokens_in(), completion_tokens: 100 });
    let reply = said(exchange);
    assert_eq!((reply.content.as_str(), reply.finish_reason), ("", Finish::Other("content_filter".into())));
}

#[test]
fn a_form_that_a_server_does_not_know_is_no_failure() {
    let told = "{\"error\": {\"message\": \"1 validation error: ('body', 'response_format', 'type')\"}}";
    for (status, body) in [(400, "{}"), (422, "{}"), (501, ""), (500, told)] {
        let world = World::new([Act::Reply(status, "application/json", body.into())]);
        let asked = Request { format: Format::Object, ..request("Hi") };
        let found = world.client().call(&line(), &asked, &Purse::default(), &mut |_| ()).unwrap();
        assert!(matches!(found.said, Said::Unsupported { status: given, .. } if given == status), "{found:?}");
        assert_eq!(found.cost, 0.0);
    }
}

#[test]
fn newer_models_get_the_name_that_they_want() {
    let refusal =
        r#"{"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}"#;
    let world = World::new([Act::Reply(400, "application/json", refusal.into()), whole("ok", "stop")]);
    assert_eq!(said(ask(&world, &Purse::default()).unwrap()).content, "ok");
    let sent = world.sent.lock().unwrap();
    assert_eq!((sent[0].get("max_completion_tokens"), &sent[1]["max_completion_tokens"]), (None, &json!(100)));
    assert!(world.slept.lock().unwrap().is_empty());
}

#[test]
fn nothing_is_sent_that_the_budget_may_not_hold() {
    let worst = line().rate.cost(request("Hi").most_tokens_in(), 100);
    let purse = Purse::new(Some(worst * 1.5), None, Amount::default());
    let world = World::new([whole("a", "stop"), whole("b", "stop")]);
    ask(&world, &purse).unwrap();
    assert_eq!(purse.spent(), Amount { money: 75e-6, tokens: 12 });
    let purse = Purse::new(Some(worst * 1.5), None, Amount { money: worst * 0.6, tokens: 0 });
    assert!(matches!(ask(&world, &purse), Err(LlmError::Budget(Overspent::Money { .. }))));
    let purse = Purse::new(None, Some(request("Hi").most_tokens_in() + 99), Amount::default());
    assert!(matches!(ask(&world, &purse), Err(LlmError::Budget(Overspent::Tokens { .. }))));
    assert_eq!(world.sent.lock().unwrap().len(), 1);
}

#[test]
fn calls_at_one_time_wait_for_what_others_leave_over() {
    let purse = Purse::new(Some(10.0), None, Amount::default());
    let mut first = purse.hold(Amount { money: 8.0, tokens: 1 }).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| purse.hold(Amount { money: 8.0, tokens: 1 }).map(drop));
        first.use_up(Amount { money: 1.0, tokens: 1 });
        drop(first);
        assert_eq!(second.join().unwrap(), Ok(()));
    });
    assert_eq!(purse.spent(), Amount { money: 1.0, tokens: 1 });
    let never = purse.hold(Amount { money: 9.5, tokens: 1 }).unwrap_err();
    assert_eq!(never, Overspent::Money { worst: 9.5, left: 9.0, limit: 10.0 });
}

#[test]
fn what_a_failed_call_may_have_cost_is_told() {
    let begun: &[u8] = b"data: {\"choices\": [{\"delta\": {\"content\": \"a\"}}]}\n\n";
    let world = World::new((0..6).map(|_| Act::Cut(vec![begun])));
    let (purse, mut lost) = (Purse::default(), Amount::default());
    let failed = world.client().call(&line(), &request("Hi"), &purse, &mut |amount| lost = amount);
    assert!(matches!(failed, Err(LlmError::Lost { .. })));
    assert_eq!(lost, purse.spent());
    assert!((lost.money - 6.0 * line().rate.cost(request("Hi").most_tokens_in(), 100)).abs() < 1e-12);
}

#[test]
fn a_price_table_says_what_it_knows_and_where_it_is_wrong() {
    let text = "[models.\"a/b\"]\ninput = 2\noutput = 8.5\n[endpoints.\"http://near/v1/\"]\nfree = true\n";
    let table = PriceTable::parse(text).unwrap();
    assert_eq!(table.find("http://far/v1", "a/b"), Some(Rate { input: 2.0, output: 8.5 }));
    assert_eq!(table.find("http://near/v1", "whatever"), Some(Rate::FREE));
    assert_eq!(table.find("http://far/v1", "other"), None);
    let wrong = [
        ("x = = 1", 1),
        ("\nmodel.a.input = 1", 2),
        ("\n\n[models.a]\ninput = 1", 3),
        ("[models.a]\ninput = -1\noutput = 1", 1),
        ("[models.a]\ninput = 1\noutput = nan", 1),
        ("[models.a]\nprice = 1", 1),
        ("[endpoints.x]\nfree = 1", 1),
    ];
    for (text, line) in wrong {
        assert_eq!(PriceTable::parse(text).unwrap_err().line, line, "{text}");
    }
}
