//! The forms that an answer can be held to, by the engine llguidance: it says which tokens can still lead to the form.

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv};
use llguidance::{Matcher, ParserFactory};

use crate::model::{ModelError, Vocabulary};

/// The form of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// One of some texts.
    Choices(Vec<String>),
    /// A text that a regular expression matches as a whole.
    Pattern(String),
    /// JSON that satisfies a JSON Schema.
    Schema(String),
    /// What a grammar in llguidance's variant of Lark derives from `start`.
    Grammar(String),
}

/// Why an answer cannot be held to a form.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FormError {
    /// The form itself is wrong.
    #[error("the {what} of answers is wrong: {cause}")]
    Wrong {
        /// `pattern`, `schema`, `grammar` or `choices`.
        what: &'static str,
        /// What the engine says of it.
        cause: String,
    },
    /// No token can go on toward the form: the vocabulary cannot write it, or it is too large for the engine's limits.
    #[error("no token of the model leads on to the {what} of answers: {cause}")]
    Stuck {
        /// As above.
        what: &'static str,
        /// What the engine says.
        cause: String,
    },
    /// The tokenizer does not say how its tokens are written.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl Form {
    /// The parameter of `sampling` that gives it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Choices(_) => "choices",
            Self::Pattern(_) => "pattern",
            Self::Schema(_) => "schema",
            Self::Grammar(_) => "grammar",
        }
    }

    /// Whether the form itself is right: what can be known without a model.
    pub fn check(&self) -> Result<(), FormError> {
        self.compile(&ApproximateTokEnv::single_byte_env()).map(drop)
    }

    /// What holds answers to the form in the tokens of a vocabulary. Compiled once, copied for each answer.
    pub(super) fn holder(&self, vocabulary: &Vocabulary) -> Result<Holder, FormError> {
        let env = vocabulary.trie();
        Ok(Holder { matcher: self.compile(&env)?, end: vocabulary.end(), name: self.name() })
    }

    fn compile(&self, env: &TokEnv) -> Result<Matcher, FormError> {
        let wrong = |cause: String| FormError::Wrong { what: self.name(), cause: one_line(&cause) };
        let grammar = match self {
            Self::Choices(texts) => {
                if texts.iter().any(String::is_empty) {
                    return Err(wrong("a choice is empty".into()));
                }
                let texts: Vec<String> = texts.iter().map(|text| escaped(text)).collect();
                TopLevelGrammar::from_regex(&texts.join("|"))
            }
            Self::Pattern(pattern) => TopLevelGrammar::from_regex(pattern),
            Self::Schema(schema) => {
                TopLevelGrammar::from_json_schema(serde_json::from_str(schema).map_err(|e| wrong(e.to_string()))?)
            }
            Self::Grammar(text) => TopLevelGrammar::from_lark(text.clone()),
        };
        let parser = ParserFactory::new(env, InferenceCapabilities::default(), &[]).and_then(|mut factory| {
            factory.quiet();
            factory.limits_mut().verbose_errors = false;
            factory.create_parser(grammar)
        });
        Ok(Matcher::new(Ok(parser.map_err(|e| wrong(e.to_string()))?)))
    }
}

/// Holds one answer to a form.
pub(super) struct Holder {
    matcher: Matcher,
    end: u32,
    name: &'static str,
}

impl Holder {
    /// The same at the beginning of another answer.
    pub(super) fn fresh(&self) -> Holder {
        Holder { matcher: self.matcher.deep_clone(), ..*self }
    }

    /// Leaves only the logits of tokens that can lead on; tokens of `stop` where the form is complete. False if the form is
    /// complete and nothing can follow, so that the answer ends.
    pub(super) fn limit(&mut self, logits: &mut [f32], stop: &[u32]) -> Result<bool, FormError> {
        if self.matcher.is_stopped() && !self.matcher.is_error() {
            return Ok(false);
        }
        let mask = self.matcher.compute_mask().map_err(|e| self.stuck(&e.to_string()))?;
        let complete = mask.is_allowed(self.end);
        let mut any = false;
        for (id, x) in logits.iter_mut().enumerate() {
            let id = id as u32;
            if if stop.contains(&id) { complete } else { id != self.end && mask.is_allowed(id) } {
                any |= !x.is_nan();
            } else {
                *x = f32::NEG_INFINITY;
            }
        }
        if any || complete { Ok(any) } else { Err(self.stuck("none is left")) }
    }

    /// Takes note of the token that was chosen.
    pub(super) fn take(&mut self, id: u32) -> Result<(), FormError> {
        self.matcher.consume_token(id).map_err(|e| self.stuck(&e.to_string()))
    }

    fn stuck(&self, cause: &str) -> FormError {
        FormError::Stuck { what: self.name, cause: one_line(cause) }
    }
}

/// The regular expression that matches just this text.
fn escaped(text: &str) -> String {
    let of = |c: char| if c.is_ascii_punctuation() { format!("\\{c}") } else { c.to_string() };
    text.chars().map(of).collect()
}

fn one_line(cause: &str) -> String {
    cause.split_whitespace().collect::<Vec<_>>().join(" ")
}
