//! Why a language model gave no answer.

use super::budget::Overspent;
use crate::cx::Failure;

/// Why a language model gave no answer. No message holds a key.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LlmError {
    /// Nobody answers there, or only with errors that may pass, as often as was tried.
    #[error("the language model at {endpoint} does not answer: {reason}")]
    Lost {
        /// Where.
        endpoint: String,
        /// What the last attempt ended with.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The call's time is over.
    #[error("the language model at {endpoint} did not answer within {seconds} s")]
    Late {
        /// Where.
        endpoint: String,
        /// The deadline.
        seconds: f64,
        /// What the last attempt ended with.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The service wants a key, or another one.
    #[error("the language model at {endpoint} refuses the key: {reason}")]
    Key {
        /// Where.
        endpoint: String,
        /// Its reason.
        reason: String,
    },
    /// There is no key to give.
    #[error("no key is given for {endpoint}")]
    NoKey {
        /// Where.
        endpoint: String,
    },
    /// The service refuses what is asked.
    #[error("the language model at {endpoint} refuses the request ({status}): {reason}")]
    Refused {
        /// Where.
        endpoint: String,
        /// HTTP's number.
        status: u16,
        /// Its reason.
        reason: String,
    },
    /// The budget does not allow the call.
    #[error("the budget for language models is used up")]
    Budget(#[from] Overspent),
    /// Nobody knows what the call costs.
    #[error("the price of `{model}` at {endpoint} is not known")]
    Unpriced {
        /// The model.
        model: String,
        /// Where.
        endpoint: String,
    },
    /// What came back is no reply.
    #[error("the reply from {endpoint} cannot be read: {reason}")]
    Malformed {
        /// Where.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer has not the form that was asked for.
    #[error("the answer has not the form that was asked for, after {repairs} repairs: {reason}")]
    Form {
        /// What is wrong with the last one.
        reason: String,
        /// How often the language model was shown what is wrong.
        repairs: u32,
    },
    /// Only what is recorded may be said, and this is not.
    #[error("the transcript holds no answer of `{model}` to this request ({key})")]
    Unrecorded {
        /// The model.
        model: String,
        /// The request, in short.
        key: String,
    },
    /// The run was asked to stop.
    #[error("the run was asked to stop")]
    Cancelled,
}

impl From<LlmError> for Failure {
    fn from(error: LlmError) -> Failure {
        let title = error.to_string();
        match error {
            LlmError::Lost { reason: _, attempts, .. } => {
                let times = if attempts == 1 { "once".to_owned() } else { format!("{attempts} times") };
                Failure::new("R0530", title).note(format!("it was tried {times}")).help(
                    "see whether the address is right and the service runs; `evo run FILE --resume` goes on from here",
                )
            }
            LlmError::Late { reason, attempts, .. } => Failure::new("R0530", title)
                .note(format!("attempt {attempts} ended with: {reason}"))
                .help("raise `deadline`, or lower `max_tokens`"),
            LlmError::Key { .. } | LlmError::NoKey { .. } => Failure::new("R0531", title)
                .help("set EVO_LLM_KEY to the service's key (for api.openai.com, OPENAI_API_KEY will do)"),
            LlmError::Refused { .. } => Failure::new("R0532", title)
                .help("see to the model's name and to what `llm` is given; asking again would give the same"),
            LlmError::Budget(over) => Failure::new("R0533", title)
                .note(over.to_string())
                .help("raise `--budget` or `--token-budget`, or lower `max_tokens`; `evo run FILE --resume` goes on from here"),
            LlmError::Unpriced { model, endpoint } => Failure::new("R0534", title).help(format!(
                "add `[models.\"{model}\"]` with `input` and `output` (US dollars for a million tokens) to `prices.toml` beside the \
                 program; for a server of your own, `[endpoints.\"{endpoint}\"]` with `free = true`, or `price: free` in the program"
            )),
            LlmError::Malformed { .. } => Failure::new("R0535", title)
                .help("see whether the endpoint speaks OpenAI's chat completions; its address often ends in `/v1`"),
            LlmError::Form { .. } => Failure::new("R0536", title)
                .help("ask for a simpler form, raise `max_tokens`, or ask a larger model"),
            LlmError::Unrecorded { .. } => Failure::new("R0537", title)
                .help("run without `--replay` to ask the language model, which records the answer"),
            LlmError::Cancelled => Failure::cancelled(),
        }
    }
}
