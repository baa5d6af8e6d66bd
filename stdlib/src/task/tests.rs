//! Scores agree with the training's forward pass, depend on no batch and no thread, and fail with a reason.

use std::ops::ControlFlow;

use evo_kernels::backprop::{Batch, Workspace};
use evo_kernels::rng::Stream;

use super::*;
use crate::answer::Answering;
use crate::data::{Cell, Data, DataError, Template};
use crate::model::{Card, Model, Place, Tensor, Tiny, llama_tiny};
use crate::train::network::network;
use crate::train::{NextToken, Settings, Update, examples, train};

fn model() -> Model {
    let sizes = Tiny { layers: 2, hidden: 32, heads: 2, kv_heads: 1, intermediate: 48, positions: 32, tied: true };
    llama_tiny(&sizes, Stream::from_seed(3)).unwrap()
}

fn sums() -> Data {
    let rows = (0..16).map(|i| (i / 4, i % 4));
    let rows = rows.map(|(a, b)| vec![Cell::from(format!("{a}+{b}=")), Cell::from(a + b)]);
    Data::new(&["question", "answer"], rows.collect()).unwrap()
}

fn task(method: Method) -> Task {
    let template = |text| Template::parse(text).unwrap();
    Task { data: sums(), prompt: template("{question}"), expected: template("{answer}"), method }
}

const EXACT: Method =
    Method::ExactMatch { max_tokens: 3, extract: Extract::Whole, language: None, by: Answering::GREEDY };
const LIKELIHOOD: Method = Method::Likelihood { end: true };

fn scored(model: &Model, task: &Task, threads: usize) -> Result<Score, TaskError> {
    score(model, &task.prepare(model)?, threads)
}

fn trained() -> Model {
    let (model, task) = (model(), task(EXACT));
    let all = examples(&model, &task.data, &task.prompt, &task.expected).unwrap();
    let settings = Settings { batch: 16, ..Settings::new(150, 1e-2) };
    train(&model, &NextToken::new(all).unwrap(), &settings, &Place::from(1), &mut |_| ControlFlow::Continue(()))
        .unwrap()
}

#[test]
fn a_trained_model_is_right_and_knows_it() {
    let trained = trained();
    let exact = scored(&trained, &task(EXACT), 1).unwrap();
    assert!(exact.value >= 0.9, "{exact:?}");
    let right = exact.records.iter().filter(|r| r.score == 1.0).count();
    assert!((exact.value - right as f64 / 16.0).abs() < 1e-12);
    assert_eq!(exact.records[11].answer.as_deref(), Some("5"));
    assert_eq!(scored(&model(), &task(EXACT), 1).unwrap().value, 0.0);
    let (before, after) =
        (scored(&model(), &task(LIKELIHOOD), 1).unwrap(), scored(&trained, &task(LIKELIHOOD), 1).unwrap());
    assert!(after.value > -0.2 && before.value < -4.0, "{} {}", before.value, after.value);
    // Too short for the answer and its end: the end is not needed, the answer is.
    let short =
        Method::ExactMatch { max_tokens: 1, extract: Extract::LastNumber, language: None, by: Answering::GREEDY };
    assert_eq!(scored(&trained, &task(short), 1).unwrap().value, exact.value);
}

#[test]
fn likelihood_is_that_of_the_training_pass() {
    let (model, task) = (trained(), task(LIKELIHOOD));
    let network = network(&model, &Update::default(), 1).unwrap();
    let all = examples(&model, &task.data, &task.prompt, &task.expected).unwrap();
    let records = scored(&model, &task, 1).unwrap().records;
    for (example, record) in all.iter().zip(records) {
        let mut batch = Batch::default();
        batch.push_masked(&example.tokens, &example.learned);
        let tokens = network.log_probabilities(&mut Workspace::default(), &batch);
        let mean = tokens.iter().sum::<f32>() / tokens.len() as f32;
        assert!((f64::from(mean) - record.score).abs() < 2e-5, "{mean} {}", record.score);
    }
    let open = Task { method: Method::Likelihood { end: false }, ..task.clone() };
    assert_ne!(scored(&model, &open, 1).unwrap().value, scored(&model, &task, 1).unwrap().value);
}

fn choice(compare: Compare) -> Task {
    let templates = ["0", "1", "2", "3", "4", "5", "6"].map(|text| Template::parse(text).unwrap()).to_vec();
    task(Method::MultipleChoice(Choices { templates, compare, answer: AnswerForm::Text }))
}

#[test]
fn the_likeliest_choice_is_that_of_the_training_pass() {
    let (model, task) = (trained(), choice(Compare::Total));
    let network = network(&model, &Update::default(), 1).unwrap();
    let scored = scored(&model, &task, 1).unwrap();
    assert!(scored.value >= 0.9, "{}", scored.value);
    let tokenizer = model.require_tokenizer().unwrap();
    for (prompt, record) in task.prompt.render_all(&task.data).unwrap().iter().zip(&scored.records) {
        let given = tokenizer.encode(prompt, true).unwrap();
        let sums = (0..=6).map(|n: usize| {
            let mut batch = Batch::default();
            let tokens = [given.clone(), tokenizer.encode(&n.to_string(), false).unwrap()].concat();
            batch.push(&tokens, given.len());
            let logprobs = network.log_probabilities(&mut Workspace::default(), &batch);
            (n, logprobs.iter().sum::<f32>())
        });
        let best = sums.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
        assert_eq!(record.answer.as_deref(), Some(best.to_string().as_str()));
    }
    // Choices of one length: nothing changes with what is compared.
    for compare in [Compare::PerCharacter, Compare::PerByte] {
        assert_eq!(super::tests::scored(&model, &choice(compare), 1).unwrap(), scored);
    }
}

#[test]
fn a_row_scores_the_same_in_any_company_and_on_any_thread() {
    let model = trained();
    for task in [task(EXACT), task(LIKELIHOOD), choice(Compare::PerByte)] {
        let all = scored(&model, &task, 1).unwrap();
        assert_eq!(all, scored(&model, &task, 4).unwrap());
        let some = scored(&model, &task.on(sums().last(5)).unwrap(), 2).unwrap();
        assert_eq!(all.records[11..], some.records);
    }
}

#[test]
fn faults_are_told_before_and_after() {
    let model = model();
    let other = Data::new(&["query", "answer"], vec![vec!["1".into(), "1".into()]]).unwrap();
    assert!(matches!(task(EXACT).on(other), Err(TaskError::Data(DataError::UnknownColumn { .. }))));
    assert!(matches!(task(EXACT).on(sums().first(0)), Err(TaskError::Empty)));
    let silent = Task { expected: Template::parse("").unwrap(), ..task(LIKELIHOOD) };
    assert!(matches!(silent.prepare(&model), Err(TaskError::NoTokens { row: 0, .. })));
    let long = Task { prompt: Template::parse(&"{question}".repeat(9)).unwrap(), ..task(LIKELIHOOD) };
    let refused = scored(&model, &long, 1);
    assert!(matches!(refused, Err(TaskError::TooLong { .. })), "{refused:?}");

    let mut tensors = (*model.tensors).clone();
    tensors.insert("model.norm.weight".to_owned(), Tensor::from_f32(vec![f32::NAN; 32], vec![32]).unwrap());
    let broken = model.with_tensors("broken", tensors, Card::default());
    for task in [task(EXACT), task(LIKELIHOOD), choice(Compare::Total)] {
        assert!(matches!(scored(&broken, &task, 1), Err(TaskError::NotFinite { row: 0, .. })));
    }
}

#[test]
fn a_task_is_prepared_once_and_shared_rows_change_no_score() {
    let (base, other) = (model(), trained());
    let memory = Memory::new(1 << 20);
    let place = || Place { threads: 1, residuals: Some(memory.residuals.clone()), ..Place::default() };
    for task in [task(LIKELIHOOD), choice(Compare::Total)] {
        let prepared = memory.prepared(&task, &base).unwrap();
        // The upper of two layers, and what follows it, come from the other.
        let upper = |(name, tensor): (&String, &Tensor)| {
            let own = name.contains("layers.0") || name.contains("embed");
            (name.clone(), if own { tensor.clone() } else { other.tensors[name].clone() })
        };
        let tensors = base.tensors.iter().map(upper).collect();
        let child = base.with_tensors("child", tensors, Card::default());
        for model in [&base, &child, &base, &child] {
            let again = memory.prepared(&task, model).unwrap();
            assert!(again.shares_texts(&prepared));
            assert_eq!(score(model, &again, place()).unwrap(), score(model, &task.prepare(model).unwrap(), 1).unwrap());
        }
        assert!(memory.residuals.bytes() > 0);
    }
    let open = Task { method: Method::Likelihood { end: false }, ..task(LIKELIHOOD) };
    let prepared = memory.prepared(&task(LIKELIHOOD), &base).unwrap();
    assert!(!memory.prepared(&open, &base).unwrap().shares_texts(&prepared));
    let less = open.on(sums().first(3)).unwrap();
    assert_eq!(score(&base, &memory.prepared(&less, &base).unwrap(), place()).unwrap().records.len(), 3);
}
