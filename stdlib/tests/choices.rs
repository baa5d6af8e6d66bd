//! Multiple choice against what transformers computes by the evaluation harness's rules (`tests/conformance/multiple_choice`).
#![cfg(test)]

use std::path::Path;

use evo_stdlib::data::{Cell, Data, Template};
use evo_stdlib::model::hf;
use evo_stdlib::task::{AnswerForm, Choices, Compare, Method, Task, score};
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    question: String,
    choices: Vec<String>,
    right: usize,
    sums: Vec<f64>,
    acc: usize,
    acc_norm: usize,
}

#[test]
fn choices_are_those_of_the_harness() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let golden = std::fs::read_to_string(root.join("tests/conformance/multiple_choice/golden.json")).unwrap();
    let golden: Vec<Row> = serde_json::from_str(&golden).unwrap();
    let model = hf(&root.join("programs/models/tiny-bilingual")).unwrap();
    let row = |row: &Row| {
        vec![
            row.question.as_str().into(),
            Cell::List(row.choices.iter().map(|text| text.as_str().into()).collect()),
            Cell::from(row.right as i64),
        ]
    };
    let data = Data::new(&["question", "choices", "right"], golden.iter().map(row).collect()).unwrap();
    let template = |text| Template::parse(text).unwrap();
    for compare in [Compare::Total, Compare::PerCharacter] {
        let choices = Choices { templates: vec![template(" {choices}")], compare, answer: AnswerForm::Index };
        let method = Method::MultipleChoice(choices);
        let task = Task { data: data.clone(), prompt: template("{question}"), expected: template("{right}"), method };
        let found = score(&model, &task.prepare(&model).unwrap(), 2).unwrap();
        let wanted = |row: &Row| if compare == Compare::Total { row.acc } else { row.acc_norm };
        for (row, record) in golden.iter().zip(&found.records) {
            let choice = format!(" {}", row.choices[wanted(row)]);
            assert_eq!(record.answer.as_deref(), Some(choice.as_str()), "{}", row.question);
        }
        let right = golden.iter().filter(|row| wanted(row) == row.right).count();
        assert_eq!(found.value, right as f64 / golden.len() as f64);
    }
    // The sums themselves.
    let tokenizer = model.require_tokenizer().unwrap();
    let decoder = model.decoder(1).unwrap();
    for row in &golden {
        let prompt = tokenizer.encode(&row.question, true).unwrap();
        let tokens: Vec<Vec<u32>> =
            row.choices.iter().map(|choice| tokenizer.encode(&format!(" {choice}"), false).unwrap()).collect();
        let pairs: Vec<(&[u32], &[u32])> = tokens.iter().map(|t| (prompt.as_slice(), t.as_slice())).collect();
        for (found, wanted) in decoder.logprobs(&pairs, 1).unwrap().iter().zip(&row.sums) {
            let sum: f64 = found.iter().map(|&l| f64::from(l)).sum();
            assert!((sum - wanted).abs() < 1e-3, "{sum} {wanted}");
        }
    }
}
