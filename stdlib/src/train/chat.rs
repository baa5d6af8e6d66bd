//! Conversations to token sequences: a model's own chat template, with the assistant's turns to be learned.

use super::{Example, TrainError};
use crate::data::{Cell, Data, Template};
use crate::model::{Message, Model};

/// Which of the assistant's turns are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Turns {
    /// All of them.
    #[default]
    All,
    /// The last.
    Last,
}

/// The conversations of a column, one a row.
///
/// # Errors
/// [`TrainError::Data`] for an unknown column, [`TrainError::Conversation`] for a cell that is none.
pub fn conversations(data: &Data, column: &str) -> Result<Vec<Vec<Message>>, TrainError> {
    let cells = data.column(column)?.into_iter().enumerate();
    cells
        .map(|(row, cell)| match cell {
            Cell::Chat(messages) => Ok(messages.to_vec()),
            other => {
                let problem = format!("`{column}` is {}, not a conversation", kind(other));
                Err(TrainError::Conversation { row, problem })
            }
        })
        .collect()
}

fn kind(cell: &Cell) -> &'static str {
    match cell {
        Cell::Text(_) => "a text",
        Cell::Int(_) | Cell::Real(_) => "a number",
        Cell::Bool(_) => "a bool",
        Cell::List(_) => "a list of texts",
        Cell::Chat(_) => "a conversation",
    }
}

/// A conversation of two turns a row: the user's, then the assistant's.
///
/// # Errors
/// [`TrainError::Data`] for an unknown column.
pub fn two_turns(data: &Data, prompt: &Template, expected: &Template) -> Result<Vec<Vec<Message>>, TrainError> {
    let rows = prompt.render_all(data)?.into_iter().zip(expected.render_all(data)?);
    let assistant = |content| Message { role: "assistant".to_owned(), content };
    Ok(rows.map(|(prompt, expected)| vec![Message::user(prompt), assistant(expected)]).collect())
}

/// The examples of conversations, written by the model's chat template.
///
/// A turn's tokens are those that generation sees: the text up to the turn, open for an answer, is tokenised apart from the answer.
/// Learned is what the assistant writes: its text and the token that ends it, not what the template puts after that, nor the
/// header that it puts before. The template itself writes all special tokens.
///
/// # Errors
/// [`TrainError::Conversation`] without a turn of the assistant, for a template that changes earlier turns as later ones come, and
/// for what the template refuses; [`TrainError::Model`] without a template or tokenizer; [`TrainError::TooLong`].
pub fn chat_examples(model: &Model, chats: &[Vec<Message>], turns: Turns) -> Result<Vec<Example>, TrainError> {
    let chat = |(row, messages): (usize, &Vec<Message>)| chat_example(model, row, messages, turns);
    chats.iter().enumerate().map(chat).collect()
}

fn chat_example(model: &Model, row: usize, messages: &[Message], turns: Turns) -> Result<Example, TrainError> {
    let tokenizer = model.require_tokenizer()?;
    let wrong = |problem: String| TrainError::Conversation { row, problem };
    let spoken: Vec<usize> =
        (0..messages.len()).filter(|i| messages.get(*i).is_some_and(|m| m.role == "assistant")).collect();
    let Some(last) = spoken.last() else { return Err(wrong("there is no turn of the assistant's".to_owned())) };
    let ends = model.stop_ids();
    let written = |count: usize, open: bool| {
        let part = messages.get(..count).unwrap_or_default();
        model.conversation(part, open, None).map_err(|error| match error {
            crate::model::ModelError::Template { cause } => wrong(format!("the chat template refuses it: {cause}")),
            other => other.into(),
        })
    };
    let mut example = Example { tokens: Vec::new(), learned: Vec::new() };
    let mut add = |text: &str, learns: bool| -> Result<(), TrainError> {
        let ids = tokenizer.encode(text, false)?;
        // What a template writes after the end token is never generated.
        let end = ids.iter().rposition(|id| ends.contains(id)).map_or(ids.len(), |at| at + 1);
        example.learned.extend((0..ids.len()).map(|i| learns && i < end));
        example.tokens.extend(ids);
        Ok(())
    };
    let mut before = String::new();
    for turn in &spoken {
        let (open, closed) = (written(*turn, true)?, written(*turn + 1, false)?);
        let changed = || {
            let problem = "the chat template writes earlier turns anew when later ones come";
            wrong(format!("{problem}, so that turn {turn} cannot be told apart"))
        };
        let given = open.strip_prefix(before.as_str()).ok_or_else(changed)?;
        let answer = closed.strip_prefix(open.as_str()).ok_or_else(changed)?;
        add(given, false)?;
        add(answer, turns == Turns::All || turn == last)?;
        before = closed;
    }
    example.check(model, row)
}
