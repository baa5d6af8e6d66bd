//! The desk through which a run asks language models: each request once, its answer journaled and written down, its price within the budget.
//!
//! An answer is looked for in the run's own transcript and journal, then in the transcripts that the run is to repeat, and only then is
//! somebody asked. The transcript is written before the journal: whatever has been paid for is found again after `kill -9`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evo_lang::plan::{Elaborator, Key, NodeId};
use evo_stdlib::cx::Failure;
use evo_stdlib::llm::bind::{Pricing, ProposerFacts};
use evo_stdlib::llm::budget::Amount;
use evo_stdlib::llm::{
    Client, Entry, Exchange, Line, LlmError, Outcome, PriceTable, Proposer, Purse, Rate, Recorded, Request, Said, Usage,
};

use super::journal::Journal;
use super::rows::Call;
use super::world::unjournaled;
use crate::datum::Datum;
use crate::db::DiskError;
use crate::events::Cancel;
use crate::http::{Http, MachinePace};

/// The transcript within the folder `llm/` of a run.
const TRANSCRIPT: &str = "calls.jsonl";
/// The price table, beside the program or in a search path.
pub(crate) const PRICES: &str = "prices.toml";
/// How often those who wait look whether the run was asked to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Where answers may come from, and what they may cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// The folder `llm/` of the run; what is computed in memory has none.
    pub(crate) folder: Option<PathBuf>,
    /// The transcripts, or a folder of them, beside which nobody is asked.
    pub(crate) replay: Option<PathBuf>,
    /// Whether nobody is asked.
    pub(crate) is_offline: bool,
    /// US dollars of all segments of the run, at most.
    pub(crate) budget: Option<f64>,
    /// Tokens of all segments of the run, at most.
    pub(crate) token_budget: Option<u64>,
}

/// What language models were asked in a run, over all its segments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Asked {
    /// Requests that were answered, or refused for their form.
    pub calls: u64,
    /// Tokens of questions and answers.
    pub tokens: u64,
    /// US dollars.
    pub cost: f64,
}

/// Who asks for a run.
pub(crate) struct Desk {
    own: Mutex<Recorded>,
    given: Recorded,
    is_offline: bool,
    file: Option<(PathBuf, Mutex<File>)>,
    /// Whoever names no price in the program needs the table; others may have a file of that name for something else.
    prices: Result<PriceTable, Failure>,
    purse: Purse,
    lines: Mutex<BTreeMap<Arc<str>, Arc<Http>>>,
    open: Mutex<Open>,
    closed: Condvar,
    pace: MachinePace,
    cancel: Cancel,
}

/// What is being asked.
#[derive(Default)]
struct Open {
    requests: BTreeSet<(Arc<str>, Key)>,
    at: BTreeMap<Arc<str>, usize>,
}

/// A request that is being asked; others of the same wait until it is dropped.
struct Turn<'d> {
    desk: &'d Desk,
    id: (Arc<str>, Key),
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut open = locked(&self.desk.open);
        open.requests.remove(&self.id);
        if let Some(count) = open.at.get_mut(&self.id.0) {
            *count = count.saturating_sub(1);
        }
        self.desk.closed.notify_all();
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("spent", &self.purse.spent()).finish_non_exhaustive()
    }
}

impl Desk {
    /// A desk under terms. `prices` is the file of the price table, if there is one.
    pub(crate) fn open(terms: &Terms, prices: &Path, cancel: &Cancel) -> Result<Desk, Failure> {
        let mut own = Recorded::default();
        let file = match &terms.folder {
            Some(folder) => {
                let path = folder.join(TRANSCRIPT);
                Some((path.clone(), Mutex::new(appendable(&path, &mut own)?)))
            }
            None => None,
        };
        let mut given = Recorded::default();
        if let Some(path) = &terms.replay {
            for path in transcripts(path)? {
                let text = std::fs::read(&path).map_err(|error| unread(&path, &error))?;
                given.read(&text).map_err(|error| damaged(&path, &error))?;
            }
        }
        let (money, tokens) = own.spent();
        Ok(Desk {
            own: Mutex::new(own),
            given,
            is_offline: terms.is_offline || terms.replay.is_some(),
            file,
            prices: table(prices),
            purse: Purse::new(terms.budget, terms.token_budget, Amount { money, tokens }),
            lines: Mutex::default(),
            open: Mutex::default(),
            closed: Condvar::new(),
            pace: MachinePace::new(cancel.clone()),
            cancel: cancel.clone(),
        })
    }

    /// Looks, before anything is spent, whether the language models of a plan can be asked: their prices known, somebody there, the key
    /// taken. A run that goes on, or repeats, may do without all of that.
    pub(crate) fn check(&self, elaborator: &Elaborator, roots: &[NodeId]) -> Result<(), Failure> {
        if self.is_offline || !locked(&self.own).is_empty() {
            return Ok(());
        }
        let mut seen = BTreeSet::new();
        for (node, facts) in proposers(elaborator, roots) {
            let at = |failure: Failure| Failure { node: Some(node), ..failure };
            self.rate(&facts.endpoint, &facts.model, facts.pricing).map_err(at)?;
            if seen.insert(facts.endpoint.clone()) {
                self.line(&facts.endpoint).reach(&facts.endpoint).map_err(|error| at(error.into()))?;
            }
        }
        Ok(())
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Asked {
        let own = locked(&self.own);
        let (cost, tokens) = own.spent();
        Asked { calls: own.len() as u64, tokens, cost }
    }

    /// What a language model says to a request: what it said before in this run, or what it says now.
    pub(crate) fn chat(&self, journal: &Journal, proposer: &Proposer, request: &Request) -> Result<Exchange, Failure> {
        let key = request.key();
        let endpoint = &proposer.endpoint;
        let _turn = self.turn(proposer, key)?;
        if let Some(known) = locked(&self.own).find_at(endpoint, &key) {
            self.journal(journal, endpoint, request, &known)?; // the process may have ended between the two
            return Ok(known);
        }
        if let Some(known) = journal.call(&row_key(endpoint, &key)).map_err(|error| unjournaled(&error.into()))? {
            let lost = || Failure::new("R0543", "a journaled answer is none of a language model");
            let known = said(&known).ok_or_else(lost)?;
            self.note(Entry::new(endpoint, request, &known))?;
            return Ok(known);
        }
        if let Some(known) = self.given.find(endpoint, &key) {
            self.note(Entry::new(endpoint, request, &known))?;
            self.journal(journal, endpoint, request, &known)?;
            return Ok(known);
        }
        if self.is_offline {
            return Err(LlmError::Unrecorded { model: request.model.clone(), key: key.short() }.into());
        }
        let rate = self.rate(endpoint, &request.model, proposer.pricing)?;
        let line = Line { endpoint: endpoint.clone(), rate, policy: proposer.policy };
        let http = self.line(endpoint);
        let client = Client { transport: &*http, pace: &self.pace };
        let mut lost = None;
        let asked = client.call(&line, request, &self.purse, &mut |amount| lost = Some(amount));
        let exchange = match asked {
            Ok(exchange) => scrubbed(&http, exchange),
            Err(error) => {
                let failure = Failure::from(error);
                if let Some(Amount { money, tokens }) = lost {
                    let reason = failure.title.to_string();
                    self.note(Entry::failed(endpoint, request, failure.code, reason, money, tokens))?;
                }
                return Err(failure);
            }
        };
        self.note(Entry::new(endpoint, request, &exchange))?;
        self.journal(journal, endpoint, request, &exchange)?;
        Ok(exchange)
    }

    /// Waits until the request may be asked: nobody else asks the same, and the endpoint has not too much to do.
    fn turn(&self, proposer: &Proposer, key: Key) -> Result<Turn<'_>, Failure> {
        let id = (proposer.endpoint.clone(), key);
        let mut open = locked(&self.open);
        loop {
            if self.cancel.is_stopped() {
                return Err(Failure::cancelled());
            }
            let count = open.at.get(&id.0).copied().unwrap_or(0);
            if count < proposer.at_once.max(1) && !open.requests.contains(&id) {
                break;
            }
            open = self.closed.wait_timeout(open, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *open.at.entry(id.0.clone()).or_default() += 1;
        open.requests.insert(id.clone());
        drop(open);
        Ok(Turn { desk: self, id })
    }

    fn line(&self, endpoint: &Arc<str>) -> Arc<Http> {
        let mut lines = locked(&self.lines);
        let line = lines.entry(endpoint.clone());
        line.or_insert_with(|| Arc::new(Http::new(endpoint, self.cancel.clone()))).clone()
    }

    fn rate(&self, endpoint: &str, model: &str, pricing: Pricing) -> Result<Rate, Failure> {
        match pricing {
            Pricing::Free | Pricing::Unknown => Ok(Rate::FREE),
            Pricing::Listed => {
                let found = self.prices.as_ref().map_err(Failure::clone)?.find(endpoint, model);
                let (model, endpoint) = (model.to_owned(), endpoint.to_owned());
                found.ok_or_else(|| LlmError::Unpriced { model, endpoint }.into())
            }
        }
    }

    /// Adds a line to the transcript.
    fn note(&self, entry: Entry) -> Result<(), Failure> {
        if let Some((path, file)) = &self.file {
            let written = locked(file).write_all(entry.line().as_bytes());
            written.map_err(|error| disk(&DiskError::from_io(path, &error)))?;
        }
        locked(&self.own).add(entry);
        Ok(())
    }

    fn journal(&self, journal: &Journal, endpoint: &str, request: &Request, known: &Exchange) -> Result<(), Failure> {
        let entry = Entry::new(endpoint, request, known);
        let call = Call {
            request: row_key(endpoint, &request.key()),
            target: format!("{} at {endpoint}", request.model),
            question: datum(&entry.request),
            answer: datum(&entry.outcome),
            tokens_in: known.usage.prompt_tokens,
            tokens_out: known.usage.completion_tokens,
            cost: known.cost,
            seconds: known.seconds,
        };
        journal.commit(vec![call.row()]).map_err(|error| unjournaled(&error))
    }
}

/// The language models that requests need, also within the functions of searches; in the order of the graph.
fn proposers(elaborator: &Elaborator, roots: &[NodeId]) -> Vec<(NodeId, ProposerFacts)> {
    let mut seen = BTreeSet::new();
    let mut stack = roots.to_vec();
    while let Some(id) = stack.pop() {
        if seen.insert(id) {
            stack.extend(elaborator.graph().node(id).inputs.iter());
            stack.extend(elaborator.probe(id));
        }
    }
    let facts = |id: &NodeId| elaborator.graph().node(*id).fact.as_ref()?.downcast_ref::<ProposerFacts>().cloned();
    seen.iter().filter_map(|id| Some((*id, facts(id)?))).collect()
}

/// The identity of a row: a request at an endpoint.
fn row_key(endpoint: &str, key: &Key) -> Key {
    Key::of("language model call", &[endpoint.as_bytes(), &key.0])
}

fn datum(value: &impl serde::Serialize) -> Datum {
    serde_json::to_value(value).and_then(serde_json::from_value).unwrap_or_default()
}

/// What a row holds.
fn said(call: &Call) -> Option<Exchange> {
    let outcome: Outcome = serde_json::from_value(serde_json::to_value(&call.answer).ok()?).ok()?;
    let said = match outcome {
        Outcome::Response(reply) => Said::Reply(reply),
        Outcome::Unsupported { status, reason } => Said::Unsupported { status, reason },
        Outcome::Failed { .. } => return None,
    };
    let usage = Usage { prompt_tokens: call.tokens_in, completion_tokens: call.tokens_out };
    Some(Exchange { said, usage, cost: call.cost, seconds: call.seconds, attempts: 1 })
}

/// A server may repeat the key that it was given; nothing of it is kept.
fn scrubbed(http: &Http, exchange: Exchange) -> Exchange {
    let said = match exchange.said {
        Said::Reply(mut reply) => {
            reply.content = http.scrubbed(reply.content);
            reply.model = reply.model.map(|model| http.scrubbed(model));
            Said::Reply(reply)
        }
        Said::Unsupported { status, reason } => Said::Unsupported { status, reason: http.scrubbed(reason) },
    };
    Exchange { said, ..exchange }
}

/// Opens the run's transcript, reads what is there, and cuts off a line that was being written when its process ended.
fn appendable(path: &Path, own: &mut Recorded) -> Result<File, Failure> {
    let at = |error: &io::Error| disk(&DiskError::from_io(path, error));
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|error| at(&error))?,
    };
    let is_whole = own.read(&text).map_err(|error| damaged(path, &error))?;
    let file = OpenOptions::new().append(true).create(true).open(path).map_err(|error| at(&error))?;
    if !is_whole {
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64).map_err(|error| at(&error))?;
    }
    Ok(file)
}

/// The transcripts at a path: a file; or those of a folder, of a run's own `llm/` if it is a run's.
fn transcripts(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let folder = if path.join("llm").is_dir() { path.join("llm") } else { path.to_owned() };
    let entries = std::fs::read_dir(&folder).map_err(|error| unread(&folder, &error))?;
    let is_transcript = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jsonl");
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_transcript).collect();
    found.sort();
    if found.is_empty() {
        return Err(Failure::new("E0452", format!("`{}` holds no transcript", folder.display()))
            .help("name a run's directory, its folder `llm/`, or a file of lines as that folder holds it"));
    }
    Ok(found)
}

/// The price table, empty where there is no file.
fn table(path: &Path) -> Result<PriceTable, Failure> {
    let help = "see `evo explain E0451` for how it is written";
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(PriceTable::default()),
        Err(error) => {
            let title = format!("the price table `{}` cannot be read: {error}", path.display());
            return Err(Failure::new("E0451", title).help(help));
        }
        Ok(text) => text,
    };
    PriceTable::parse(&text).map_err(|error| {
        let title = format!("the price table `{}` cannot be read: {error}", path.display());
        Failure::new("E0451", title).help(help)
    })
}

fn unread(path: &Path, error: &io::Error) -> Failure {
    Failure::new("E0452", format!("the transcript `{}` cannot be read: {error}", path.display()))
        .help("name a run's directory, its folder `llm/`, or a file of lines as that folder holds it")
}

fn damaged(path: &Path, error: &impl std::fmt::Display) -> Failure {
    Failure::new("E0452", format!("the transcript `{}` cannot be read: {error}", path.display()))
        .help("put the file back as it was written, or take it away")
}

fn disk(error: &DiskError) -> Failure {
    Failure::new(error.code().as_str(), error.to_string()).help(error.help())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
