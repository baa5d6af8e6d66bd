//! One call: money set aside, attempts, waits, the reply.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::budget::{Amount, Hold, Purse};
use super::error::LlmError;
use super::price::Rate;
use super::request::{Format, Request};
use super::retry::{self, Policy};
use super::wire::{self, Hearing, Reply, Usage, Wrong};

/// What is posted.
#[derive(Clone, Debug)]
pub struct Post<'a> {
    /// Where: the endpoint, to which the transport adds the path and the key.
    pub endpoint: &'a str,
    /// JSON.
    pub body: &'a str,
    /// Seconds until the connection stands, at most.
    pub connect: f64,
    /// Seconds until the reply begins, at most.
    pub first_byte: f64,
    /// Seconds until the reply is whole, at most.
    pub whole: f64,
}

/// How a reply begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// HTTP's number.
    pub status: u16,
    /// `Content-Type`, or nothing.
    pub content_type: String,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// `Location`, of a reply that sends elsewhere.
    pub location: Option<String>,
}

/// Why there is no reply, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// No connection stands: nothing was asked.
    Connect(String),
    /// The connection is gone, or what comes over it is no HTTP.
    Broken(String),
    /// Time is over, while so much was waited for.
    Late(&'static str),
    /// There is no key for an endpoint that needs one.
    NoKey,
    /// The run was asked to stop.
    Cancelled,
}

/// Takes the parts of a body as they come; may break off.
pub type Heed<'a> = dyn FnMut(&Head, &[u8]) -> ControlFlow<()> + 'a;

/// Who carries requests to an endpoint. It follows no redirection.
pub trait Transport: Send + Sync {
    /// Posts, hands the body's parts to `heed` as they come, and returns how the reply began.
    ///
    /// # Errors
    /// There was none, or it broke off.
    fn post(&self, post: &Post<'_>, heed: &mut Heed<'_>) -> Result<Head, TransportError>;
}

/// Time and chance, of which no result depends.
pub trait Pace: Send + Sync {
    /// Seconds since some beginning; never goes back.
    fn now(&self) -> f64;
    /// Seconds since 1970.
    fn date(&self) -> i64;
    /// Waits for so many seconds, or until the run is asked to stop.
    fn sleep(&self, seconds: f64);
    /// A number from 0 to 1, another one each time.
    fn chance(&self) -> f64;
    /// Whether the run was asked to stop.
    fn is_cancelled(&self) -> bool;
}

/// An endpoint, what it costs, and how long it is waited for.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The address before `/chat/completions`.
    pub endpoint: Arc<str>,
    /// What its tokens cost.
    pub rate: Rate,
    /// How often and how long it is tried.
    pub policy: Policy,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// An answer.
    Reply(Reply),
    /// It does not know the form that the answer was to have: the request can be made in another.
    Unsupported {
        /// HTTP's number.
        status: u16,
        /// Its reason.
        reason: String,
    },
}

/// A call that has come to an end.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// What was said.
    pub said: Said,
    /// Tokens: the server's count, or the bound that was set aside where it does not count.
    pub usage: Usage,
    /// US dollars, with what attempts that broke off may have cost.
    pub cost: f64,
    /// Seconds from the first attempt on.
    pub seconds: f64,
    /// How often it was sent.
    pub attempts: u32,
}

/// Asks.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    /// Carries requests.
    pub transport: &'a dyn Transport,
    /// Waits.
    pub pace: &'a dyn Pace,
}

/// Bytes of a refusal that are read.
const REFUSAL: usize = 64 << 10;

/// Bytes of a reply: some, and for each token what an event takes.
fn most_bytes(max_tokens: u32) -> usize {
    (256 << 10) + (max_tokens as usize).saturating_mul(4 << 10).min(64 << 20)
}

/// What an attempt ended with, if not with a reply.
enum Miss {
    /// It may go better next time: why, and how long the server asks to wait.
    Again(String, Option<f64>),
    /// Never.
    Never(LlmError),
    /// The server wants `max_completion_tokens`.
    Newer(String),
}

impl Client<'_> {
    /// Asks, and tries again what may pass, until there is an answer, or the line's bounds are met. The worst case is taken from `purse`
    /// before anything is sent; `lost` is told what attempts may have cost that gave nothing, if the call fails.
    ///
    /// # Errors
    /// Any of [`LlmError`] but those about forms and transcripts.
    pub fn call(
        &self,
        line: &Line,
        request: &Request,
        purse: &Purse,
        lost: &mut dyn FnMut(Amount),
    ) -> Result<Exchange, LlmError> {
        let most = Usage { prompt_tokens: request.most_tokens_in(), completion_tokens: u64::from(request.max_tokens) };
        let mut hold = purse.hold(amount(line, most))?;
        let found = self.attempts(line, request, most, &mut hold);
        if found.is_err() && hold.used() != Amount::default() {
            lost(hold.used());
        }
        found
    }

    fn attempts(&self, line: &Line, request: &Request, most: Usage, hold: &mut Hold<'_>) -> Result<Exchange, LlmError> {
        let start = self.pace.now();
        let policy = &line.policy;
        let endpoint = || line.endpoint.to_string();
        let late = |reason: String, attempts| LlmError::Late {
            endpoint: endpoint(),
            seconds: policy.deadline,
            reason,
            attempts,
        };
        let (mut attempts, mut newer) = (0, false);
        loop {
            if self.pace.is_cancelled() {
                return Err(LlmError::Cancelled);
            }
            attempts += 1;
            let left = policy.deadline - (self.pace.now() - start);
            let (reason, asked) = match self.attempt(line, request, newer, left, most, hold) {
                Ok((said, usage)) => {
                    let seconds = self.pace.now() - start;
                    return Ok(Exchange { said, usage, cost: hold.used().money, seconds, attempts });
                }
                Err(Miss::Never(error)) => return Err(error),
                Err(Miss::Newer(reason)) if newer => (reason, None),
                Err(Miss::Newer(reason)) => {
                    newer = true;
                    if attempts < policy.attempts {
                        continue;
                    }
                    (reason, None)
                }
                Err(Miss::Again(reason, asked)) => (reason, asked),
            };
            let left = policy.deadline - (self.pace.now() - start);
            if left <= 0.0 {
                return Err(late(reason, attempts));
            }
            if attempts >= policy.attempts {
                return Err(LlmError::Lost { endpoint: endpoint(), reason, attempts });
            }
            let wait = retry::wait(attempts, self.pace.chance(), asked);
            if wait >= left {
                return Err(late(format!("{reason}; the next attempt would be in {wait:.0} s"), attempts));
            }
            self.pace.sleep(wait);
        }
    }

    fn attempt(
        &self,
        line: &Line,
        request: &Request,
        newer: bool,
        left: f64,
        most: Usage,
        hold: &mut Hold<'_>,
    ) -> Result<(Said, Usage), Miss> {
        let policy = &line.policy;
        let body = request.body(newer);
        let post = Post {
            endpoint: &line.endpoint,
            body: &body,
            connect: policy.connect.min(left),
            first_byte: policy.first_byte.min(left),
            whole: left,
        };
        let mut hearing = Hearing::new(most_bytes(request.max_tokens));
        let (mut refusal, mut wrong, mut is_reply) = (Vec::new(), None, false);
        let sent = self.transport.post(&post, &mut |head, bytes| {
            if head.status != 200 {
                let room = REFUSAL - refusal.len();
                refusal.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
                return if refusal.len() < REFUSAL { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
            }
            is_reply = true;
            match hearing.take(&head.content_type, bytes) {
                Ok(()) if hearing.is_done() => ControlFlow::Break(()),
                Ok(()) => ControlFlow::Continue(()),
                Err(found) => {
                    wrong = Some(found);
                    ControlFlow::Break(())
                }
            }
        });
        let heard = match (sent, wrong) {
            (Err(error), _) => Err(failed(line, error)),
            (Ok(_), Some(wrong)) => Err(self::wrong(line, wrong)),
            (Ok(head), None) if head.status == 200 => hearing.end().map_err(|found| self::wrong(line, found)),
            (Ok(head), None) => {
                let found = refused(line, request, newer, &head, &refusal, self.pace.date());
                return found.map(|said| (said, Usage::default()));
            }
        };
        match heard {
            Ok((reply, usage)) => {
                let usage = usage.unwrap_or(most);
                hold.use_up(amount(line, usage));
                Ok((Said::Reply(reply), usage))
            }
            Err(miss) => {
                // An answer that had begun may be charged, and nobody says how much of it.
                if is_reply {
                    hold.use_up(amount(line, most));
                }
                Err(miss)
            }
        }
    }
}

fn amount(line: &Line, usage: Usage) -> Amount {
    let Usage { prompt_tokens, completion_tokens } = usage;
    let money = line.rate.cost(prompt_tokens, completion_tokens);
    Amount { money, tokens: prompt_tokens.saturating_add(completion_tokens) }
}

fn failed(line: &Line, error: TransportError) -> Miss {
    match error {
        TransportError::Connect(reason) => Miss::Again(reason, None),
        TransportError::Broken(reason) => Miss::Again(format!("the connection broke: {reason}"), None),
        TransportError::Late(what) => Miss::Again(format!("time ran out while waiting for {what}"), None),
        TransportError::NoKey => Miss::Never(LlmError::NoKey { endpoint: line.endpoint.to_string() }),
        TransportError::Cancelled => Miss::Never(LlmError::Cancelled),
    }
}

fn wrong(line: &Line, wrong: Wrong) -> Miss {
    match wrong {
        Wrong::Broken(reason) => Miss::Again(reason, None),
        Wrong::Malformed(reason) => Miss::Never(LlmError::Malformed { endpoint: line.endpoint.to_string(), reason }),
    }
}

/// What a refusal means.
fn refused(line: &Line, request: &Request, newer: bool, head: &Head, body: &[u8], now: i64) -> Result<Said, Miss> {
    let (endpoint, status) = (line.endpoint.to_string(), head.status);
    let reason = wire::reason(body);
    let is_about_form = |body: &[u8]| String::from_utf8_lossy(body).contains("response_format");
    let is_unpaid = reason.contains("quota") && String::from_utf8_lossy(body).contains("insufficient_quota");
    match status {
        300..=399 => {
            let to = head.location.as_deref().map_or("elsewhere".to_owned(), wire::clipped);
            let reason = format!("it sends to {to}, and no redirection is followed");
            Err(Miss::Never(LlmError::Malformed { endpoint, reason }))
        }
        401 | 403 => Err(Miss::Never(LlmError::Key { endpoint, reason })),
        429 if is_unpaid => Err(Miss::Never(LlmError::Refused { endpoint, status, reason })),
        400 if !newer && reason.contains("max_completion_tokens") => Err(Miss::Newer(reason)),
        400 | 415 | 422 | 501 if request.format != Format::Text => Ok(Said::Unsupported { status, reason }),
        // Some servers stumble over a form that they do not know: that will not pass, whatever the number.
        500.. if request.format != Format::Text && is_about_form(body) => Ok(Said::Unsupported { status, reason }),
        status if retry::may_pass(status) && status != 501 => {
            let asked = head.retry_after.as_deref().and_then(|text| retry::retry_after(text, now));
            Err(Miss::Again(format!("it says {status}: {reason}"), asked))
        }
        200..=299 => Err(Miss::Never(LlmError::Malformed { endpoint, reason: format!("it says {status}, not 200") })),
        _ => Err(Miss::Never(LlmError::Refused { endpoint, status, reason })),
    }
}
