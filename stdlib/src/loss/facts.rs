//! What is known of losses before anything runs: what they read, and whether a batch gives it.

use std::sync::Arc;

use evo_lang::plan::{Answer, Call, Const, Problem};

use super::INPUTS;
use crate::bind::Place;

/// What a loss reads.
#[derive(Clone, Debug, PartialEq)]
pub struct LossInputs {
    /// Its declared name.
    pub name: Arc<str>,
    /// Its inputs, in the order of its parameters.
    pub inputs: Vec<Arc<str>>,
}

impl LossInputs {
    /// The first input that neither is among the columns `given` nor follows from them.
    pub fn missing(&self, given: &[&str]) -> Option<&str> {
        self.inputs.iter().map(|name| &**name).find(|name| !follows(name, given))
    }
}

/// Whether an input is given or follows from what is: `chosen` and `rejected` from log-probabilities, `z` from these.
fn follows(name: &str, given: &[&str]) -> bool {
    let all = |names: [&str; 2]| names.iter().all(|name| follows(name, given));
    given.contains(&name)
        || match name {
            "beta" => true,
            "chosen" => all(["logp_chosen", "ref_chosen"]),
            "rejected" => all(["logp_rejected", "ref_rejected"]),
            "z" => all(["chosen", "rejected"]),
            _ => false,
        }
}

/// A loss's name and inputs are written out by the checker.
pub(super) fn as_loss(_: &Place, call: &Call<'_>, _: &mut Vec<Problem>) -> Answer {
    let constant = |param| call.arg(param).and_then(|look| look.constant());
    let text = |value: &Const| value.as_text().cloned();
    match (constant("name").and_then(text), constant("inputs").and_then(Const::items)) {
        (Some(name), Some(inputs)) => {
            Answer::Fact(Arc::new(LossInputs { name, inputs: inputs.iter().filter_map(text).collect() }))
        }
        _ => Answer::Unknown,
    }
}

/// The columns that a call gives are those of its arguments; all that the loss reads must follow from them.
pub(super) fn over_columns(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let is_given = |name: &str| call.arg(name).is_some_and(|look| look.constant() != Some(&Const::Nothing));
    let given: Vec<&str> = INPUTS.into_iter().filter(|name| is_given(name)).collect();
    let shown = match given.as_slice() {
        [] => "it gives none".to_owned(),
        _ => format!("it gives `{}`", given.join("`, `")),
    };
    if let Some(loss) = call.arg("l").and_then(|look| look.fact::<LossInputs>())
        && let Some(name) = loss.missing(&given)
    {
        problems.push(Problem {
            code: "E0353",
            title: format!("the loss `{}` reads `{name}`, which the batch does not give", loss.name),
            label: format!("`{name}` is missing"),
            notes: vec![
                shown.clone(),
                "`chosen`, `rejected` and `z` follow from the four log-probabilities, `z` from `chosen` and `rejected`"
                    .to_owned(),
            ],
            help: format!("give it: `{name}: [0.5, 1.0]`"),
            ..Problem::default()
        });
    }
    let by = call.arg("by").and_then(|look| look.constant()).and_then(Const::as_text);
    if let Some(by) = by.filter(|by| !given.contains(&&***by)) {
        problems.push(Problem {
            code: "E0353",
            title: format!("there is no slope by `{by}`, which the batch does not give"),
            label: format!("`{by}` is no column of it"),
            param: Some("by".to_owned()),
            notes: vec![shown],
            help: "say which column to differentiate by, as in `by: chosen`".to_owned(),
            ..Problem::default()
        });
    }
    Answer::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_follow_from_what_is_given() {
        let loss = |inputs: &[&str]| LossInputs {
            name: "l".into(),
            inputs: inputs.iter().map(|name| Arc::from(*name)).collect(),
        };
        let all = ["logp_chosen", "logp_rejected", "ref_chosen", "ref_rejected"];
        assert_eq!(loss(&["z", "beta", "rejected"]).missing(&all), None);
        assert_eq!(loss(&["z"]).missing(&["chosen", "logp_rejected", "ref_rejected"]), None);
        assert_eq!(loss(&["z", "chosen"]).missing(&["z"]), Some("chosen"));
        assert_eq!(loss(&["len_chosen"]).missing(&all), Some("len_chosen"));
        assert_eq!(loss(&["z"]).missing(&all[..3]), Some("z"));
    }
}
