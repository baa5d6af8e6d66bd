//! A small random model, asked over real connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use evo_stdlib::answer::{Answering, answers};
use evo_stdlib::model::{Message, Model, Parts, Place};
use serde_json::{Value, json};

use super::*;
use crate::engine::{Engine, RunOptions};

/// Made once, by a program.
fn model() -> Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let program = "save llama_tiny { layers: 2, width: 32, heads: 2, context: 512, seed: 3 } to \"m\"";
        let engine = Engine::builder().cwd(folder.path()).build();
        let run = engine.load_text("m.evo", program).plan(&crate::engine::Settings::new()).unwrap();
        assert_eq!(run.start(RunOptions::default()).unwrap().wait().exit_code(), 0);
        let model = evo_stdlib::model::hf(&folder.path().join("m")).unwrap();
        let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";
        Model::new(Parts { chat_template: Some(template.into()), ..(*model).clone() })
    };
    MODEL.get_or_init(make).clone()
}

fn served(change: impl FnOnce(&mut Settings)) -> Server {
    let address = "127.0.0.1:0".parse().unwrap();
    let mut settings = Settings { address, name: "tiny".into(), key: None, seed: 1, limits: Limits::default() };
    change(&mut settings);
    Server::start(model(), &Place::from(2), settings).unwrap()
}

fn end(server: Server) {
    server.stopper().stop();
    server.wait().unwrap();
}

/// A request as it goes over the wire.
fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

const JSON: &str = "Content-Type: application/json\r\n";

/// What is replied: the status and the body.
fn reply(to: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    let _ = stream.write_all(request); // who sends too much is not read to the end
    read(&mut stream)
}

fn read(stream: &mut TcpStream) -> (u16, String) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut is_chunked, mut status) = (String::new(), false, 0);
    loop {
        line.clear();
        if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
            break;
        }
        let lower = line.to_lowercase();
        is_chunked |= lower.starts_with("transfer-encoding: chunked");
        status = if status == 0 { line.split(' ').nth(1).unwrap().parse().unwrap() } else { status };
    }
    let mut body = Vec::new();
    reader.read_to_end(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    if !is_chunked {
        return (status, body);
    }
    let mut whole = String::new();
    let mut rest = body.as_str();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let (chunk, after) = after.split_at(usize::from_str_radix(length, 16).unwrap());
        whole.push_str(chunk);
        rest = after.strip_prefix("\r\n").unwrap();
    }
    (status, whole)
}

fn post(to: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    let (status, text) = reply(to, &request("POST", path, JSON, body.to_string().as_bytes()));
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// The events of a stream; the last one is `[DONE]`.
fn events(to: SocketAddr, path: &str, body: &Value) -> Vec<Value> {
    let (status, text) = reply(to, &request("POST", path, JSON, body.to_string().as_bytes()));
    assert_eq!(status, 200, "{text}");
    let mut events: Vec<&str> = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    assert_eq!(events.pop(), Some("[DONE]"));
    events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

/// What the model itself answers.
fn alone(prompts: &[Vec<u32>], max_tokens: usize, how: &Answering) -> Vec<String> {
    answers(&model(), prompts, max_tokens, how, 1).unwrap().into_iter().map(|answer| answer.text).collect()
}

#[test]
fn completions_are_what_the_model_answers_alone() {
    let server = served(|_| ());
    let to = server.address();
    let model = model();
    let tokenizer = model.require_tokenizer().unwrap();
    let texts = ["1 and 2 is", "two plus", "1 and 2 is three"];
    let prompts: Vec<Vec<u32>> = texts.iter().map(|text| tokenizer.encode(text, true).unwrap()).collect();
    let greedy = alone(&prompts, 20, &Answering::GREEDY);
    let asked = json!({ "prompt": texts, "max_tokens": 20, "temperature": 0 });
    let (status, whole) = post(to, "/v1/completions", &asked);
    assert_eq!(status, 200, "{whole}");
    let found: Vec<&str> = whole["choices"].as_array().unwrap().iter().map(|c| c["text"].as_str().unwrap()).collect();
    assert_eq!(found, greedy);
    let tokens: usize = prompts.iter().map(Vec::len).sum();
    assert_eq!(whole["usage"]["prompt_tokens"], tokens);
    // Drawn, each answer by its number.
    let mut how = Answering { seed: 9, stop: vec!["e".into()], ..Answering::GREEDY };
    how.sampling.temperature = 0.7;
    how.sampling.top_p = 0.9;
    let asked = json!({ "prompt": prompts[0], "n": 3, "seed": 9, "temperature": 0.7, "top_p": 0.9, "stop": "e", "max_tokens": 20 });
    let (_, drawn) = post(to, "/v1/completions", &asked);
    let expected = alone(&vec![prompts[0].clone(); 3], 20, &how);
    for (choice, expected) in drawn["choices"].as_array().unwrap().iter().zip(&expected) {
        assert_eq!(choice["text"], **expected);
    }
    // As a stream, in pieces.
    let mut streamed = vec![String::new(); 3];
    let mut asked = json!({ "prompt": texts, "max_tokens": 20, "temperature": 0, "stream": true, "stream_options": { "include_usage": true } });
    let all = events(to, "/v1/completions", &asked);
    for choice in all.iter().flat_map(|event| event["choices"].as_array().unwrap()) {
        streamed[choice["index"].as_u64().unwrap() as usize].push_str(choice["text"].as_str().unwrap());
    }
    assert_eq!(streamed, greedy);
    assert_eq!(all.last().unwrap()["usage"], whole["usage"]);
    // Echoed, with what the model makes of the prompt.
    asked = json!({ "prompt": [prompts[0]], "max_tokens": 1, "temperature": 0, "echo": true, "logprobs": 1 });
    let (_, echoed) = post(to, "/v1/completions", &asked);
    let logprobs = &echoed["choices"][0]["logprobs"];
    let told: Vec<Option<f64>> = serde_json::from_value(logprobs["token_logprobs"].clone()).unwrap();
    let decoder = model.decoder(1).unwrap();
    let expected = decoder.logprobs(&[(&prompts[0][..1], &prompts[0][1..])], 1).unwrap().concat();
    assert_eq!((told[0], told.len()), (None, prompts[0].len() + 1));
    assert!(told[1..].iter().zip(&expected).all(|(a, b)| a.unwrap() as f32 == *b), "{told:?} {expected:?}");
    assert!(logprobs["top_logprobs"][1].as_object().unwrap().len() == 1);
    end(server);
}

#[test]
fn chats_keep_to_schemas_and_stream() {
    let server = served(|_| ());
    let to = server.address();
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer", "minimum": 3, "maximum": 99 } },
        "required": ["n"], "additionalProperties": false });
    let asked = json!({ "model": "default", "messages": [{ "role": "user", "content": [{ "type": "text", "text": "Hi" }] }],
        "seed": 4, "max_completion_tokens": 60, "logprobs": true, "top_logprobs": 2, "user": "me",
        "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": schema } } });
    let (status, told) = post(to, "/v1/chat/completions", &asked);
    assert_eq!(status, 200, "{told}");
    let choice = &told["choices"][0];
    if choice["finish_reason"] == "stop" {
        let answer: Value = serde_json::from_str(choice["message"]["content"].as_str().unwrap()).unwrap();
        assert!(answer["n"].as_i64().is_some_and(|n| (3..=99).contains(&n)), "{answer}");
    }
    assert_eq!(choice["logprobs"]["content"][0]["top_logprobs"].as_array().unwrap().len(), 2);
    let text = model().chat(&[Message::user("Hi")], None).unwrap();
    let ids = model().require_tokenizer().unwrap().encode(&text, false).unwrap();
    let asked = json!({ "messages": [{ "role": "user", "content": "Hi" }], "temperature": 0, "max_tokens": 12, "stream": true });
    let deltas = events(to, "/v1/chat/completions", &asked);
    assert_eq!(deltas[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String = deltas.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, alone(&[ids], 12, &Answering::GREEDY)[0]);
    assert!(deltas.last().unwrap()["choices"][0]["finish_reason"].is_string());
    end(server);
}

#[test]
fn embeddings_models_health_and_metrics() {
    let server = served(|_| ());
    let to = server.address();
    let (_, two) = post(to, "/v1/embeddings", &json!({ "input": ["one", "two and three"] }));
    let (_, one) = post(to, "/v1/embeddings", &json!({ "input": "two and three", "model": "tiny" }));
    let vector: Vec<f64> = serde_json::from_value(one["data"][0]["embedding"].clone()).unwrap();
    assert!((vector.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5);
    assert_eq!(two["data"][1]["embedding"], one["data"][0]["embedding"]);
    let get = |path: &str| reply(to, &request("GET", path, "", b""));
    assert!(get("/v1/models").1.contains(r#""id":"tiny""#));
    assert_eq!(get("/health"), (200, r#"{"status":"ok"}"#.to_owned()));
    let (_, metrics) = get("/metrics");
    assert!(metrics.contains("evo_requests_total{route=\"/v1/embeddings\",status=\"200\"} 2"), "{metrics}");
    end(server);
}

#[test]
fn what_cannot_be_answered_is_refused_with_its_reason() {
    let server = served(|settings| settings.limits.body = 2000);
    let to = server.address();
    let chat = "/v1/chat/completions";
    let hi = json!([{ "role": "user", "content": "Hi" }]);
    for (path, body, status, says) in [
        ("/v1/completions", json!({ "prompt": "a", "temprature": 0 }), 400, "temprature"),
        ("/v1/completions", json!({ "prompt": "a", "temperature": -1 }), 400, "from 0 to 2"),
        ("/v1/completions", json!({ "prompt": "a", "model": "gpt-4" }), 404, "`tiny`"),
        ("/v1/completions", json!({ "prompt": "" }), 400, "empty"),
        ("/v1/completions", json!({ "prompt": { "a": 1 } }), 400, "no text"),
        ("/v1/completions", json!({ "prompt": [1, 99_999] }), 400, "vocabulary"),
        ("/v1/completions", json!({ "prompt": "a", "max_tokens": 5000 }), 400, "512 positions"),
        ("/v1/completions", json!({ "prompt": vec!["a"; 100], "n": 2 }), 400, "128"),
        ("/v1/completions", json!({ "prompt": "a", "suffix": "b" }), 400, "suffix"),
        ("/v1/completions", json!({ "prompt": "a", "logprobs": 50 }), 400, "from 0 to 20"),
        ("/v1/completions", json!({ "prompt": "a".repeat(3000) }), 413, "2000 bytes"),
        (chat, json!({}), 400, "messages"),
        (chat, json!({ "messages": [{ "role": "user" }] }), 400, "content"),
        (chat, json!({ "messages": hi, "tools": [{}] }), 400, "tools"),
        (chat, json!({ "messages": hi, "response_format": { "type": "xml" } }), 400, "json_schema"),
        (chat, json!({ "messages": hi, "top_logprobs": 3 }), 400, "logprobs"),
        ("/v1/embeddings", json!({ "input": [] , "encoding_format": "base64" }), 400, "float"),
        ("/v1/images", json!({}), 404, "/v1/images"),
    ] {
        let (found, told) = post(to, path, &body);
        let message = told["error"]["message"].as_str().unwrap_or_default();
        assert!(found == status && message.contains(says), "{path} {body}: {found} {told}");
    }
    for (raw, status) in [
        (request("POST", chat, JSON, b"{\"messages\": ["), 400),
        (request("POST", chat, JSON, b"\xff\xfe{}"), 400),
        (request("POST", chat, JSON, b"[]"), 400),
        (request("POST", chat, "Content-Type: text/plain\r\n", b"{}"), 415),
        (request("GET", chat, "", b""), 405),
        (b"garbage\r\n\r\n".to_vec(), 400),
    ] {
        assert_eq!(reply(to, &raw).0, status);
    }
    end(server);
}

#[test]
fn keys_limits_and_times_are_kept() {
    let server = served(|settings| settings.key = Some("open sesame".into()));
    let asked = |header: &str| reply(server.address(), &request("GET", "/v1/models", header, b"")).0;
    assert_eq!(asked(""), 401);
    assert_eq!(asked("Authorization: Bearer open sesam\r\n"), 401);
    assert_eq!(asked("Authorization: Bearer open sesame\r\n"), 200);
    assert_eq!(reply(server.address(), &request("GET", "/health", "", b"")).0, 200);
    end(server);
    let hi = json!({ "prompt": "Hi", "presence_penalty": 0, "tools": [], "anything": null });
    let long = json!({ "prompt": "Hi", "n": 128, "max_tokens": 500 });
    for (asked, limits, status) in [
        (&hi, Limits { requests: 0, ..Limits::default() }, 429),
        (&long, Limits { time: Duration::from_millis(1), ..Limits::default() }, 504),
        (&hi, Limits::default(), 200),
    ] {
        let server = served(|settings| settings.limits = limits);
        assert_eq!(post(server.address(), "/v1/completions", asked).0, status);
        end(server);
    }
    // A body that does not come, and headers that do not.
    let server = served(|settings| settings.limits.arrival = Duration::from_millis(50));
    let whole = request("POST", "/v1/completions", JSON, hi.to_string().as_bytes());
    assert_eq!(reply(server.address(), &whole[..whole.len() - 3]).0, 408);
    let mut silent = TcpStream::connect(server.address()).unwrap();
    silent.write_all(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n").unwrap();
    let _ = silent.read_to_end(&mut Vec::new()); // ends
    end(server);
}

#[test]
fn whoever_goes_away_frees_the_place() {
    let server = served(|settings| settings.limits.requests = 64);
    let to = server.address();
    let one = |i: usize| {
        let stream = i.is_multiple_of(2);
        let asked =
            json!({ "prompt": format!("{} and {i} is", i % 5), "max_tokens": 40, "temperature": 0, "stream": stream });
        let raw = request("POST", "/v1/completions", JSON, asked.to_string().as_bytes());
        if i % 5 == 3 {
            let mut gone = TcpStream::connect(to).unwrap();
            gone.write_all(&raw).unwrap();
            let _ = gone.read(&mut [0; 1]);
            return;
        }
        let model = model();
        let prompt = model.require_tokenizer().unwrap().encode(asked["prompt"].as_str().unwrap(), true).unwrap();
        let expected = alone(&[prompt], 40, &Answering::GREEDY).concat();
        let text: String = if stream {
            let all = events(to, "/v1/completions", &asked);
            all.iter().map(|event| event["choices"][0]["text"].as_str().unwrap()).collect()
        } else {
            post(to, "/v1/completions", &asked).1["choices"][0]["text"].as_str().unwrap().to_owned()
        };
        assert_eq!(text, expected);
    };
    std::thread::scope(|scope| {
        for worker in 0..8 {
            scope.spawn(move || (worker..80).step_by(8).for_each(one));
        }
    });
    // What was given up is noticed in the next steps.
    let idle = |text: &str| text.contains("evo_requests_open 0\n") && text.contains("evo_answers_open 0\n");
    let mut metrics = String::new();
    for _ in 0..500 {
        metrics = reply(to, &request("GET", "/metrics", "", b"")).1;
        if idle(&metrics) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(idle(&metrics), "{metrics}");
    end(server);
}

#[test]
fn what_is_open_goes_on_when_the_server_ends() {
    let server = served(|_| ());
    let body = json!({ "prompt": "Hi", "temperature": 0 }).to_string();
    let whole = request("POST", "/v1/completions", &format!("{JSON}Expect: 100-continue\r\n"), body.as_bytes());
    let (head, body) = whole.split_at(whole.len() - body.len());
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(head).unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.stopper().stop();
    let to = server.address();
    let waiting = std::thread::spawn(move || server.wait());
    stream.write_all(body).unwrap();
    assert_eq!(read(&mut stream).0, 200);
    waiting.join().unwrap().unwrap();
    assert!(TcpStream::connect(to).is_err());
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let server = served(|_| ());
    let settings =
        Settings { address: server.address(), name: "b".into(), key: None, seed: 1, limits: Limits::default() };
    assert!(matches!(Server::start(model(), &Place::from(1), settings), Err(ServeError::Address { .. })));
    end(server);
}
