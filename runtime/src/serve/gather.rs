//! A request's answers: asked for all at once, told one by one or together.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use evo_stdlib::answer::service::{Request, Sink, Weighed, Work};
use evo_stdlib::answer::{Answering, Ended};
use evo_stdlib::task::TaskError;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;

use super::shared::{Shared, now};
use super::wire::{ApiError, Common, Fields};

/// Chunks of a stream that may wait for a slow reader.
const CHUNKS: usize = 32;

/// Something of one answer.
pub(super) enum Told {
    Prompt(Vec<Weighed>),
    More(String, Weighed),
    End(String, Result<Ended, TaskError>),
}

/// Sends what it is told to whoever waits for the request.
struct Post {
    choice: usize,
    to: UnboundedSender<(usize, Told)>,
}

impl Sink for Post {
    // Whoever does not listen any more is noticed by `is_wanted`.
    fn prompt(&mut self, tokens: Vec<Weighed>) {
        let _ = self.to.send((self.choice, Told::Prompt(tokens)));
    }

    fn more(&mut self, text: &str, token: Weighed) {
        let _ = self.to.send((self.choice, Told::More(text.to_owned(), token)));
    }

    fn end(&mut self, rest: &str, ended: Result<Ended, TaskError>) {
        let _ = self.to.send((self.choice, Told::End(rest.to_owned(), ended)));
    }

    fn is_wanted(&self) -> bool {
        !self.to.is_closed()
    }
}

/// What a request asks of the engine.
pub(super) struct Asked {
    /// What the reply is called.
    pub(super) id: String,
    pub(super) prompts: Vec<Vec<u32>>,
    pub(super) max_tokens: Vec<usize>,
    pub(super) common: Common,
    /// With how many of the likeliest tokens log-probabilities are told, if they are.
    pub(super) top: Option<usize>,
    pub(super) reads_prompt: bool,
}

/// One answer, so far.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) prompt: Vec<Weighed>,
    pub(super) text: String,
    pub(super) tokens: Vec<Weighed>,
    pub(super) ended: Option<Ended>,
}

impl Answer {
    /// As OpenAI's clients name the end.
    pub(super) fn finish_reason(&self) -> Option<&'static str> {
        self.ended.map(finish_reason)
    }
}

pub(super) fn finish_reason(ended: Ended) -> &'static str {
    match ended {
        Ended::Length => "length",
        Ended::Model | Ended::Stop | Ended::Form => "stop",
    }
}

/// What chats and completions make of answers.
pub(super) trait Shape: Send + Sync + 'static {
    /// The object's name, whole and in chunks.
    fn object(&self) -> (&'static str, &'static str);
    /// A whole answer.
    fn choice(&self, index: usize, answer: &Answer, shared: &Shared) -> Value;
    /// Before the first piece of an answer.
    fn opening(&self, index: usize) -> Option<Value>;
    /// A piece of an answer.
    fn piece(&self, index: usize, text: &str, tokens: &[Weighed], ended: Option<Ended>, shared: &Shared) -> Value;
    /// What the prompt shows as in a stream, if it does.
    fn echo(&self, index: usize, prompt: Vec<Weighed>, shared: &Shared) -> Option<Value>;
}

/// Makes of a request's fields what the engine is asked, and the shape of its reply.
pub(super) type Reading<S> = fn(&Shared, Fields) -> Result<(Asked, S), ApiError>;

/// Reads a request, asks, and answers: whole, or as a stream. `read` may take its time (tokenising is work): connections are
/// served by other threads meanwhile.
pub(super) async fn answer<S: Shape>(shared: Arc<Shared>, body: Body, read: Reading<S>) -> Result<Response, ApiError> {
    let fields = Fields::of(body, &shared).await?;
    let permit = shared.place()?;
    let deadline = Instant::now() + shared.limits.time;
    let (to, from) = unbounded_channel();
    let desk = shared.clone();
    let asks = move || {
        let (asked, shape) = read(&desk, fields)?;
        let (stream, include_usage) = (asked.common.stream, asked.common.include_usage);
        let prompt_tokens = asked.prompts.iter().map(Vec::len).sum();
        let choices = asked.prompts.len() * asked.common.n;
        let id = asked.id.clone();
        hand_in(&desk, asked, &to)?;
        let reply = Reply { shared: desk, shape, id, choices, prompt_tokens, created: now(), deadline };
        Ok((reply, stream, include_usage))
    };
    let (reply, stream, include_usage) = off(asks).await?;
    if !stream {
        let told = reply.whole(from).await?;
        drop(permit);
        return Ok(axum::Json(told).into_response());
    }
    let (chunks, body) = channel(CHUNKS);
    tokio::spawn(async move {
        reply.stream(from, &chunks, include_usage).await;
        drop(permit);
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((kind, Body::from_stream(ReceiverStream::new(body))).into_response())
}

/// Does work on a thread that serves no connections.
pub(super) async fn off<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let broken = |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be read; this is a bug");
    tokio::task::spawn_blocking(work).await.map_err(broken)?
}

/// Makes the engine's requests and hands them in.
fn hand_in(shared: &Shared, asked: Asked, to: &UnboundedSender<(usize, Told)>) -> Result<(), ApiError> {
    let Asked { prompts, max_tokens, common, top, reads_prompt, .. } = asked;
    let mut requests = Vec::new();
    for (at, (prompt, max_tokens)) in prompts.into_iter().zip(max_tokens).enumerate() {
        for draw in 0..common.n {
            let choice = at * common.n + draw;
            let sink = Box::new(Post { choice, to: to.clone() });
            let how: (Answering, u64) = (common.how.clone(), choice as u64);
            let request =
                Request::new(&shared.model, prompt.clone(), max_tokens, how, sink).map_err(|e| refused(&e))?;
            let request = if let Some(top) = top { request.weighed(top) } else { request };
            requests.push(if reads_prompt { request.reading_prompt() } else { request });
        }
    }
    requests.into_iter().try_for_each(|request| shared.hand_in(Work::Answer(Box::new(request))))
}

pub(super) fn refused(error: &TaskError) -> ApiError {
    let status = match error {
        TaskError::Decode(_) | TaskError::Form(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    ApiError::new(status, error.to_string())
}

/// How answers are told.
struct Reply<S> {
    shared: Arc<Shared>,
    shape: S,
    id: String,
    choices: usize,
    prompt_tokens: usize,
    created: u64,
    deadline: Instant,
}

impl<S: Shape> Reply<S> {
    fn usage(&self, completion_tokens: usize) -> Value {
        let prompt_tokens = self.prompt_tokens;
        json!({ "prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens })
    }

    fn object(&self, name: &str, choices: Vec<Value>) -> Value {
        json!({ "id": self.id, "object": name, "created": self.created, "model": self.shared.name, "choices": choices })
    }

    /// The next piece of any answer; an error if the time is over or the engine has gone.
    async fn next(&self, from: &mut UnboundedReceiver<(usize, Told)>) -> Result<(usize, Told), ApiError> {
        match timeout_at(self.deadline, from.recv()).await {
            Ok(Some(told)) => Ok(told),
            Ok(None) => Err(ApiError::ended()),
            Err(_) => Err(ApiError::late(self.shared.limits.time)),
        }
    }

    /// All answers in one object.
    async fn whole(&self, mut from: UnboundedReceiver<(usize, Told)>) -> Result<Value, ApiError> {
        let mut answers: Vec<Answer> = (0..self.choices).map(|_| Answer::default()).collect();
        let mut open = self.choices;
        while open > 0 {
            let (choice, told) = self.next(&mut from).await?;
            let Some(answer) = answers.get_mut(choice) else { continue };
            match told {
                Told::Prompt(tokens) => answer.prompt = tokens,
                Told::More(text, token) => {
                    answer.text.push_str(&text);
                    answer.tokens.push(token);
                }
                Told::End(rest, ended) => {
                    answer.text.push_str(&rest);
                    answer.ended = Some(ended.map_err(|error| refused(&error))?);
                    open -= 1;
                }
            }
        }
        let choices =
            answers.iter().enumerate().map(|(i, answer)| self.shape.choice(i, answer, &self.shared)).collect();
        let mut object = self.object(self.shape.object().0, choices);
        if let Some(object) = object.as_object_mut() {
            let tokens = answers.iter().map(|answer| answer.tokens.len()).sum();
            object.insert("usage".into(), self.usage(tokens));
        }
        Ok(object)
    }

    /// All answers as events, in the order in which they are written.
    async fn stream(
        &self,
        mut from: UnboundedReceiver<(usize, Told)>,
        to: &Sender<Result<String, Infallible>>,
        include_usage: bool,
    ) {
        let done = self.events(&mut from, to, include_usage).await;
        from.close(); // the engine gives up what is open still
        let last = match done {
            Ok(()) => "data: [DONE]\n\n".to_owned(),
            Err(Some(error)) => format!("data: {}\n\n", error.json()),
            Err(None) => return,
        };
        let _ = to.send(Ok(last)).await;
    }

    /// The events; no error to tell if nobody listens any more.
    async fn events(
        &self,
        from: &mut UnboundedReceiver<(usize, Told)>,
        to: &Sender<Result<String, Infallible>>,
        include_usage: bool,
    ) -> Result<(), Option<ApiError>> {
        let name = self.shape.object().1;
        let send = async |choices: Vec<Value>, usage: Option<Value>| {
            let mut object = self.object(name, choices);
            if let (Some(object), Some(usage)) = (object.as_object_mut(), usage) {
                object.insert("usage".into(), usage);
            }
            // A reader who takes nothing holds its request no longer than one who waits.
            match timeout_at(self.deadline, to.send(Ok(format!("data: {object}\n\n")))).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(None),
            }
        };
        for choice in 0..self.choices {
            if let Some(opening) = self.shape.opening(choice) {
                send(vec![opening], None).await?;
            }
        }
        let (mut open, mut tokens) = (self.choices, 0);
        while open > 0 {
            let told = tokio::select! {
                told = self.next(from) => told.map_err(Some)?,
                () = to.closed() => return Err(None),
            };
            let piece = match told {
                (choice, Told::Prompt(prompt)) => match self.shape.echo(choice, prompt, &self.shared) {
                    Some(piece) => piece,
                    None => continue,
                },
                (choice, Told::More(text, token)) => {
                    tokens += 1;
                    self.shape.piece(choice, &text, &[token], None, &self.shared)
                }
                (choice, Told::End(rest, ended)) => {
                    open -= 1;
                    let ended = ended.map_err(|error| Some(refused(&error)))?;
                    self.shape.piece(choice, &rest, &[], Some(ended), &self.shared)
                }
            };
            send(vec![piece], None).await?;
        }
        if include_usage {
            send(Vec::new(), Some(self.usage(tokens))).await?;
        }
        Ok(())
    }
}
