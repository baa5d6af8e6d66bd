//! Answers of a small random model, which writes anything unless it is held to a form.

use evo_kernels::decode::Sampling;
use evo_kernels::rng::Stream;

use super::*;
use crate::model::{Model, Tiny, Tokenizer, llama_tiny};
use crate::task::TaskError;

pub(super) fn model() -> Model {
    let sizes = Tiny { layers: 2, hidden: 32, heads: 2, kv_heads: 1, intermediate: 48, positions: 96, tied: true };
    llama_tiny(&sizes, Stream::from_seed(3)).unwrap()
}

pub(super) fn prompts(model: &Model, n: usize) -> Vec<Vec<u32>> {
    let tokenizer = model.require_tokenizer().unwrap();
    (0..n).map(|i| tokenizer.encode(&format!("{i} and {i} is"), true).unwrap()).collect()
}

fn drawn(seed: u64, form: Option<Form>) -> Answering {
    Answering { sampling: Sampling::default(), seed, form, ..Answering::GREEDY }
}

fn ask(model: &Model, n: usize, max_tokens: usize, how: &Answering) -> Vec<Answer> {
    answers(model, &prompts(model, n), max_tokens, how, 2).unwrap()
}

#[test]
fn choices_are_answered_with_one_of_them() {
    let model = model();
    let choices = ["yes", "no (really)", "yesterday", "é|[.]"];
    let how = drawn(1, Some(Form::Choices(choices.map(str::to_owned).to_vec())));
    let found = ask(&model, 40, 30, &how);
    assert!(found.iter().all(|a| choices.contains(&a.text.as_str()) && a.ended != Ended::Length), "{found:?}");
    let different: std::collections::BTreeSet<&str> = found.iter().map(|a| a.text.as_str()).collect();
    assert!(different.len() > 1, "{different:?}");
    assert_eq!(ask(&model, 40, 30, &how), found, "the same seed, the same answers");
    assert_ne!(ask(&model, 40, 30, &Answering { seed: 2, ..how }), found);
}

#[test]
fn patterns_schemas_and_grammars_are_kept() {
    let model = model();
    for answer in ask(&model, 20, 20, &drawn(1, Some(Form::Pattern("-?[1-9][0-9]{0,3}( apples)?".into())))) {
        assert!(answer.text.trim_end_matches(" apples").parse::<i32>().is_ok(), "{answer:?}");
    }
    let schema = r#"{"type": "object", "additionalProperties": false, "required": ["n", "kind"],
        "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 12}, "kind": {"enum": ["a", "b"]}}}"#;
    let found = ask(&model, 20, 60, &drawn(4, Some(Form::Schema(schema.into()))));
    assert!(found.iter().filter(|a| a.ended != Ended::Length).count() > 5, "{found:?}");
    for answer in found {
        if answer.ended == Ended::Length {
            continue; // white space between its parts may be long
        }
        let value: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        assert!(
            (3..=12).contains(&value["n"].as_i64().unwrap()) && ["a", "b"].contains(&value["kind"].as_str().unwrap())
        );
    }
    let grammar = "start: \"(\" start \")\" | \"x\"";
    for answer in ask(&model, 20, 40, &drawn(4, Some(Form::Grammar(grammar.into())))) {
        let depth = answer.text.matches('(').count();
        let whole = format!("{}x{}", "(".repeat(depth), ")".repeat(depth));
        assert!(answer.text == whole || answer.ended == Ended::Length && whole.starts_with(&answer.text), "{answer:?}");
    }
}

#[test]
fn stop_texts_end_an_answer_before_them() {
    let model = model();
    let free = ask(&model, 6, 40, &drawn(5, None));
    let stop = vec![free[2].text[8..11].to_owned(), "a text that never comes".to_owned()];
    let stopped = ask(&model, 6, 40, &Answering { stop: stop.clone(), ..drawn(5, None) });
    for (free, stopped) in free.iter().zip(&stopped) {
        let end = stop.iter().filter_map(|stop| free.text.find(stop)).min();
        assert_eq!(stopped.text, &free.text[..end.unwrap_or(free.text.len())]);
        assert_eq!(stopped.ended == Ended::Stop, end.is_some());
    }
    assert!(stopped.iter().any(|a| a.ended == Ended::Stop));
    let never = ask(&model, 3, 7, &Answering { stop: vec!["a text that never comes".into()], ..Answering::GREEDY });
    assert!(never.iter().all(|a| a.ended == Ended::Length && a.ids.len() == 7 || a.ended == Ended::Model));
}

#[test]
fn wrong_forms_are_told_with_what_is_wrong() {
    let cause = |form: Form| form.check().unwrap_err().to_string();
    assert!(cause(Form::Pattern("[0-9".into())).contains("pattern"));
    assert!(cause(Form::Schema("{".into())).contains("EOF"));
    assert!(cause(Form::Schema(r#"{"type": "nothing"}"#.into())).contains("schema"));
    assert!(cause(Form::Grammar("start: missing".into())).contains("missing"));
    assert!(cause(Form::Choices(vec![String::new()])).contains("empty"));
    assert!(Form::Choices(vec!["a".into()]).check().is_ok());
}

#[test]
fn a_form_that_the_vocabulary_cannot_write_is_an_error() {
    let model = model();
    let mut json: serde_json::Value = serde_json::from_str(model.require_tokenizer().unwrap().json()).unwrap();
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    for digit in '0'..='9' {
        let id = vocab.remove(&digit.to_string()).unwrap();
        vocab.insert(format!("ĠĠ{digit}x"), id);
    }
    let tokenizer = Tokenizer::from_json(&json.to_string(), "tokenizer.json".as_ref()).unwrap();
    let holder = Form::Pattern("[0-9]+".into()).holder(tokenizer.vocabulary().unwrap()).unwrap();
    let mut logits = vec![0.0; model.config.vocab_size];
    assert!(matches!(holder.fresh().limit(&mut logits, &[]), Err(FormError::Stuck { what: "pattern", .. })));
}

#[test]
fn a_prompt_that_outgrows_the_model_is_an_error() {
    let model = model();
    let asked = answers(&model, &prompts(&model, 1), 90, &Answering::GREEDY, 1);
    assert!(matches!(asked, Err(TaskError::Decode(_))), "{asked:?}");
    assert!(matches!(answers(&model, &[vec![]], 5, &Answering::GREEDY, 1), Err(TaskError::Decode(_))));
}
