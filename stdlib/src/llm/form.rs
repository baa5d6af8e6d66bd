//! Answers that have a structure: a ladder of ways to ask for one, and repairs.
//!
//! The server is asked to hold the answer to the schema, in two ways; if it does not know how, to write some JSON object; if it does not know that either, the
//! words alone ask for a fenced block. Whatever way it came, the answer is held against the schema here. One that does not fit goes
//! back with what is wrong with it, at most [`REPAIRS`] times.

use serde_json::Value;

use super::client::Said;
use super::error::LlmError;
use super::request::{Format, Message, Request, Role};
use super::schema::Schema;
use super::wire::{Finish, Reply};

/// How often a language model is shown what is wrong with its answer.
pub const REPAIRS: u32 = 3;

/// Asks for JSON of a schema: what `say` answers to `first` and to what follows from it.
///
/// # Errors
/// Those of `say`, and [`LlmError::Form`] where no answer fits.
pub fn ask<E: From<LlmError>>(
    first: &Request,
    schema: &Schema,
    mut say: impl FnMut(&Request) -> Result<Said, E>,
) -> Result<Value, E> {
    let told = told(first, schema);
    let rungs = [
        Request { format: Format::Schema(schema.json().clone()), ..first.clone() },
        Request { format: Format::ObjectOf(schema.json().clone()), ..told.clone() },
        Request { format: Format::Object, ..told.clone() },
        Request { format: Format::Text, ..told },
    ];
    let mut refused = String::new();
    for mut request in rungs {
        let mut repairs = 0;
        loop {
            let reply = match say(&request)? {
                Said::Reply(reply) => reply,
                // A server that took the form once and does not take it in a repair has no better way.
                Said::Unsupported { reason, .. } => {
                    refused = reason;
                    break;
                }
            };
            let reason = match judged(&reply, schema) {
                Ok(value) => return Ok(value),
                Err(reason) => reason,
            };
            if repairs == REPAIRS {
                return Err(LlmError::Form { reason, repairs }.into());
            }
            repairs += 1;
            request.messages.push(Message::new(Role::Assistant, reply.content));
            let is_first_told = repairs == 1 && matches!(request.format, Format::Schema(_));
            request.messages.push(Message::new(Role::User, repair(&reason, is_first_told.then_some(schema))));
        }
    }
    Err(LlmError::Form { reason: format!("the server refuses every way of asking: {refused}"), repairs: 0 }.into())
}

/// The request with the schema in words, for servers that are not given it otherwise.
fn told(first: &Request, schema: &Schema) -> Request {
    let words = format!(
        "Reply with one JSON value that satisfies this JSON Schema, in a block between ```json and ```, and with nothing else.\n\n{}",
        schema.json()
    );
    let mut request = first.clone();
    match request.messages.first_mut().filter(|message| message.role == Role::System) {
        Some(system) => system.content = format!("{}\n\n{words}", system.content),
        None => request.messages.insert(0, Message::new(Role::System, words)),
    }
    request
}

/// What a language model is told of an answer; with the schema, where it may not have seen it: some servers pass over what they do not know.
fn repair(reason: &str, schema: Option<&Schema>) -> String {
    let schema = schema.map(|schema| format!(" Its JSON Schema is {}", schema.json())).unwrap_or_default();
    format!(
        "This answer cannot be used: {reason}. Reply again with the whole corrected JSON, and with nothing else.{schema}"
    )
}

/// The value of an answer, or what is wrong with it, in words for the language model.
fn judged(reply: &Reply, schema: &Schema) -> Result<Value, String> {
    match &reply.finish_reason {
        Finish::Length => return Err("it is cut off, since it became too long; write a shorter one".into()),
        Finish::Stop => {}
        Finish::Other(reason) if reply.content.trim().is_empty() => return Err(format!("it ended with `{reason}`")),
        Finish::Other(_) => {}
    }
    let value = json(&reply.content)?;
    schema.admits(&value)?;
    Ok(value)
}

/// The JSON in a text: all of it, or its fenced block, or what stands between its outermost brackets.
pub fn json(text: &str) -> Result<Value, String> {
    let text = text.trim();
    let error = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if let Some(block) = fenced(text) {
        return serde_json::from_str(block).map_err(|error| format!("its block is no JSON: {error}"));
    }
    let ends = text.find(['{', '[']).zip(text.rfind(['}', ']'])).filter(|(from, to)| from < to);
    match ends.and_then(|(from, to)| text.get(from..=to)).map(serde_json::from_str) {
        Some(Ok(value)) => Ok(value),
        _ if text.is_empty() => Err("it is empty".into()),
        _ => Err(format!("it is no JSON: {error}")),
    }
}

/// The inside of the last fenced block: models think aloud before they answer.
fn fenced(text: &str) -> Option<&str> {
    let (before, _) = text.rsplit_once("```")?;
    let (_, block) = before.rsplit_once("```")?;
    let first = block.split_once('\n').filter(|(word, _)| word.trim().chars().all(char::is_alphanumeric));
    Some(first.map_or(block, |(_, rest)| rest).trim())
}
