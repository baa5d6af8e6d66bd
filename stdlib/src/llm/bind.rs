//! The family `llm` as the language sees it.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use evo_lang::plan::{Answer, Call, Const, Fact, Key, Problem};
use indexmap::IndexMap;

use super::client::{Exchange, Said};
use super::form;
use super::request::{Format, Message, Request, Role};
use super::retry::Policy;
use super::schema::Schema;
use crate::args;
use crate::bind::{Module, Place};
use crate::cx::{Cx, Failure, Progress};
use crate::value::Object;

/// The family `llm`.
pub fn module() -> Module {
    Module::new("llm", include_str!("llm.evo"))
        .bind("llm", llm)
        .facts("llm", llm_facts)
        .bind("ask", ask)
        .directs()
        .facts("ask", asks)
        .bind_overload("answers", 1, answers)
        .directs()
        .facts("answers", asks)
}

/// What its tokens cost, as the program has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pricing {
    /// As the price table says.
    Listed,
    /// Nothing.
    Free,
    /// Nobody knows.
    Unknown,
}

/// A language model at an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposer {
    /// The address before `/chat/completions`, without a slash at its end.
    pub endpoint: Arc<str>,
    /// What the endpoint calls the model.
    pub model: Arc<str>,
    /// Divides the logits before a draw.
    pub temperature: f64,
    /// Only the most likely tokens that together have this probability.
    pub top_p: f64,
    /// The most tokens of an answer.
    pub max_tokens: u32,
    /// Of the server's draws.
    pub seed: Option<i64>,
    /// What the conversation begins with.
    pub system: Arc<str>,
    /// What its tokens cost.
    pub pricing: Pricing,
    /// How often and how long it is tried.
    pub policy: Policy,
    /// Requests under way at one time.
    pub at_once: usize,
}

/// What is known of a language model before anything runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposerFacts {
    /// The endpoint.
    pub endpoint: Arc<str>,
    /// The model.
    pub model: Arc<str>,
    /// What its tokens cost.
    pub pricing: Pricing,
}

args! {
    struct LlmArgs {
        endpoint: Arc<str>, model: Arc<str>, temperature: f64, top_p: f64, max_tokens: i64, seed: Option<i64>,
        system: Arc<str>, price: Arc<str>, deadline: f64, attempts: i64, at_once: i64,
    }
}
args! { struct AskArgs { l: Proposer, prompt: Arc<str>, schema: Arc<str>, attempt: i64 } }
args! { struct AnswersArgs { l: Proposer, prompts: Vec<Arc<str>>, schema: Arc<str> } }

fn llm(_: &Cx<'_>, args: LlmArgs) -> Result<Proposer, Failure> {
    let endpoint =
        address(&args.endpoint).map_err(|(title, help)| Failure::new("E0450", title).param("endpoint").help(help))?;
    let count = |n: i64| u32::try_from(n).unwrap_or(1);
    Ok(Proposer {
        endpoint,
        model: args.model,
        temperature: args.temperature,
        top_p: args.top_p,
        max_tokens: count(args.max_tokens),
        seed: args.seed,
        system: args.system,
        pricing: pricing(&args.price),
        policy: Policy { attempts: count(args.attempts), deadline: args.deadline.max(0.001), ..Policy::default() },
        at_once: count(args.at_once) as usize,
    })
}

fn pricing(word: &str) -> Pricing {
    match word {
        "free" => Pricing::Free,
        "unknown" => Pricing::Unknown,
        _ => Pricing::Listed,
    }
}

/// An endpoint without the slash at its end; or what is wrong with it, and what to do.
fn address(text: &str) -> Result<Arc<str>, (String, String)> {
    let example = "write it such as `http://127.0.0.1:8080/v1`".to_owned();
    let bare = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = bare.map(|rest| rest.split('/').next().unwrap_or_default());
    let is_plain = |c: char| c.is_ascii_graphic() && !"?#@\\\"<>{}|^`".contains(c);
    match host {
        Some(host) if !host.is_empty() && !host.starts_with(':') && text.chars().all(is_plain) => {}
        _ if text.contains('@') => {
            let help = "leave out what stands before `@`: a key comes from EVO_LLM_KEY".to_owned();
            return Err(("an endpoint holds no name and no key".into(), help));
        }
        _ => return Err((format!("`{text}` is no endpoint"), example)),
    }
    let text = text.trim_end_matches('/');
    if text.ends_with("/chat/completions") {
        let help = "leave `/chat/completions` out: it is added".to_owned();
        return Err((format!("`{text}` names more than the endpoint"), help));
    }
    Ok(text.into())
}

fn llm_facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let text = |name| call.arg(name).and_then(|arg| arg.constant()?.as_text().cloned());
    let (Some(endpoint), Some(model)) = (text("endpoint"), text("model")) else { return Answer::Unknown };
    match address(&endpoint) {
        Ok(endpoint) => {
            let pricing = pricing(&text("price").unwrap_or_default());
            Answer::Fact(Arc::new(ProposerFacts { endpoint, model, pricing }))
        }
        Err((title, help)) => {
            let label = "cannot be asked".to_owned();
            let param = Some("endpoint".to_owned());
            problems.push(Problem { code: "E0450", title, label, param, help, ..Problem::default() });
            Answer::Unknown
        }
    }
}

/// What is asked lies outside: its answers belong to the run.
fn asks(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let schema = call.arg("schema").and_then(|arg| arg.constant()?.as_text().cloned()).unwrap_or_default();
    if let Err(failure) = schema_of(&schema) {
        problems.push(Problem {
            code: failure.code,
            title: failure.title.into(),
            label: "cannot be held to".into(),
            param: Some("schema".into()),
            help: failure.help.into(),
            ..Problem::default()
        });
    }
    Answer::Effect(Key::of("language model", &[]))
}

fn schema_of(text: &str) -> Result<Option<Schema>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    Schema::parse(text).map(Some).map_err(|error| {
        let help = "keep to types, `properties`, `required`, `items`, `enum`, bounds, `anyOf` and the like";
        Failure::new("E0431", error.to_string()).param("schema").help(help)
    })
}

fn ask(cx: &Cx<'_>, args: AskArgs) -> Result<Arc<str>, Failure> {
    let schema = schema_of(&args.schema)?;
    let (told, tally) = (Mutex::new(0), Tally::default());
    let attempt = u32::try_from(args.attempt).unwrap_or(0);
    let request = args.l.request(&args.prompt, attempt);
    let say = |request: &Request| tally.heard(cx, &args.l, request, &told, 1);
    answer(&request, schema.as_ref(), say)
}

fn answers(cx: &Cx<'_>, args: AnswersArgs) -> Result<Vec<Arc<str>>, Failure> {
    let schema = schema_of(&args.schema)?;
    let mut seen: IndexMap<&str, u32> = IndexMap::new();
    let mut requests = Vec::with_capacity(args.prompts.len());
    for prompt in &args.prompts {
        let before = seen.entry(prompt).or_default();
        requests.push(args.l.request(prompt, *before));
        *before += 1;
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (done, tally) = (Mutex::new(0), Tally::default());
    let found: Vec<OnceLock<Result<Arc<str>, Failure>>> = requests.iter().map(|_| OnceLock::new()).collect();
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let (Some(request), Some(slot)) = (requests.get(i), found.get(i)) else { break };
            let say = |request: &Request| tally.heard(cx, &args.l, request, &done, requests.len() as u64);
            let answer = answer(request, schema.as_ref(), say);
            failed.fetch_or(answer.is_err(), Ordering::Relaxed);
            *done.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            let _ = slot.set(answer); // each slot is one worker's
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..args.l.at_once.min(requests.len()) {
            scope.spawn(work);
        }
        work();
    });
    found.into_iter().filter_map(OnceLock::into_inner).collect()
}

/// An answer as text; JSON of a schema without white space around its signs.
fn answer(
    request: &Request,
    schema: Option<&Schema>,
    mut say: impl FnMut(&Request) -> Result<Said, Failure>,
) -> Result<Arc<str>, Failure> {
    match schema {
        Some(schema) => Ok(form::ask(request, schema, say)?.to_string().into()),
        None => match say(request)? {
            Said::Reply(reply) => Ok(reply.content.into()),
            Said::Unsupported { reason, .. } => Err(Failure::new("R0532", reason)), // of a form, and none was asked for
        },
    }
}

/// What a node's calls came to.
#[derive(Default)]
struct Tally(Mutex<(u64, u64, f64)>);

impl Tally {
    /// Asks, and tells how far the node is: calls, tokens, money.
    fn heard(
        &self,
        cx: &Cx<'_>,
        l: &Proposer,
        request: &Request,
        done: &Mutex<u64>,
        total: u64,
    ) -> Result<Said, Failure> {
        cx.check_cancelled()?;
        let Exchange { said, usage, cost, .. } = cx.effects.chat(l, request)?;
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sum.0 += 1;
        sum.1 += usage.prompt_tokens + usage.completion_tokens;
        sum.2 += cost;
        let (calls, tokens, money) = *sum;
        let calls = if calls == 1 { "1 call".to_owned() } else { format!("{calls} calls") };
        let done = *done.lock().unwrap_or_else(PoisonError::into_inner);
        let message = format!("{calls}, {tokens} tokens, {money:.4} usd");
        cx.effects.progress(Progress { done, total: Some(total), message, ..Progress::default() });
        Ok(said)
    }
}

impl Proposer {
    /// A prompt as a request.
    pub fn request(&self, prompt: &str, attempt: u32) -> Request {
        let system = (!self.system.is_empty()).then(|| Message::new(Role::System, &*self.system));
        Request {
            model: self.model.to_string(),
            messages: system.into_iter().chain([Message::new(Role::User, prompt)]).collect(),
            temperature: self.temperature,
            top_p: self.top_p,
            max_tokens: self.max_tokens,
            seed: self.seed,
            format: Format::Text,
            attempt,
        }
    }
}

impl Object for Proposer {
    fn kind(&self) -> &'static str {
        "Proposer"
    }

    fn identity(&self) -> Option<(Key, Option<Fact>)> {
        let facts = ProposerFacts { endpoint: self.endpoint.clone(), model: self.model.clone(), pricing: self.pricing };
        Some((Key::of("llm", &[format!("{self:?}").as_bytes()]), Some(Arc::new(facts))))
    }

    fn show(&self) -> Const {
        Const::Text(format!("{} at {}", self.model, self.endpoint).into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

crate::bind::node!(Proposer, "Proposer");

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn endpoints_are_addresses_without_keys() {
        for (text, want) in
            [("http://127.0.0.1:8080/v1", None), ("https://api.example.com/v1/", Some("https://api.example.com/v1"))]
        {
            assert_eq!(address(text).as_deref(), Ok(want.unwrap_or(text)));
        }
        let wrong = [
            "",
            "localhost:8080",
            "ftp://x",
            "http://",
            "http://:80/",
            "http://a b",
            "http://x/v1?key=1",
            "http://k@x/v1",
        ];
        for text in wrong {
            assert!(address(text).is_err(), "{text}");
        }
        assert!(address("http://x/v1/chat/completions").unwrap_err().1.contains("leave"));
    }
}
