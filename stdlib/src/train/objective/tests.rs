//! Objectives: gradients that are slopes of what is told, however a batch is cut; learning; faults by their row.

use std::ops::ControlFlow;

use evo_kernels::backprop::{Network, Workspace};
use evo_lang::ir::builder::Builder;
use evo_lang::ir::rows::RowFunction;
use evo_lang::ir::{Batch as OverRows, Binary, Module, Op, Type, Unary};

use super::*;
use crate::data::{Cell, Data, Template};
use crate::loss::PairLoss;
use crate::model::{Model, Place};
use crate::train::network::network;
use crate::train::tests::{tiny, tiny_of};
use crate::train::{
    Event, Example, Places, Settings, Turns, Update, UpdateMethod, chat_examples, conversations, examples, train,
};

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn place() -> Place {
    Place::from(1)
}

/// `-log_sigmoid(beta (a - c))`; coupled: less the batch's mean of its inside.
fn loss(beta: f64, coupled: bool) -> PairLoss {
    let mut b = Builder::new("dpo", &vec![Type::Real; 7]);
    let p = b.params().to_vec();
    let a = b.binary(Binary::Sub, p[0], p[2]).unwrap();
    let c = b.binary(Binary::Sub, p[1], p[3]).unwrap();
    let ratio = b.binary(Binary::Sub, a, c).unwrap();
    let mut z = b.binary(Binary::Mul, ratio, p[6]).unwrap();
    if coupled {
        let sum = b.push(Op::Batch(OverRows::Sum(z))).unwrap();
        let count = b.push(Op::Batch(OverRows::Count)).unwrap();
        let mean = b.binary(Binary::Div, sum, count).unwrap();
        let square = b.binary(Binary::Mul, mean, mean).unwrap();
        z = b.binary(Binary::Sub, z, square).unwrap();
    }
    let inner = b.unary(Unary::LogSigmoid, z).unwrap();
    let result = b.unary(Unary::Neg, inner).unwrap();
    let module = Module { functions: vec![b.finish(result).unwrap()] };
    let row = RowFunction::new(&module, vec![false, false, false, false, false, false, true]).unwrap();
    PairLoss::of_rows(&row, beta).unwrap()
}

/// Sums of two digits, the right answer before a wrong one.
fn sums(rows: usize) -> Data {
    let row = |i: usize| {
        let (a, b) = (i as i64 / 5 % 5, i as i64 % 5);
        let wrong = (a + b + 1 + i as i64 % 3) % 10;
        vec![Cell::from(format!("{a}+{b}=")), Cell::from(a + b), Cell::from(wrong)]
    };
    Data::new(&["prompt", "chosen", "rejected"], (0..rows).map(row).collect()).unwrap()
}

fn pairs(model: &Model, rows: usize) -> Pairs {
    let templates =
        PairTemplates { prompt: template("{prompt}"), chosen: template("{chosen}"), rejected: template("{rejected}") };
    Pairs::new(model, &sums(rows), &templates).unwrap()
}

fn preference(model: &Model, rows: usize, coupled: bool) -> Preference {
    Preference::new(model, pairs(model, rows), (loss(0.5, coupled), 0.5), model, &place()).unwrap()
}

fn learned(objective: &dyn Objective, network: &Network, units: &[usize]) -> (Learned, Vec<Vec<f32>>) {
    let mut gradients = network.gradients();
    let learned = objective.learn(network, &mut Workspace::new(1), units, &mut gradients).unwrap();
    (learned, gradients)
}

/// A network that is not the model any more: each parameter moved a little.
fn moved(model: &Model) -> Network {
    let mut network = network(model, &Update::default(), 1).unwrap();
    for (i, parameter) in network.parameters_mut().iter_mut().enumerate() {
        for (j, value) in parameter.values.iter_mut().enumerate() {
            *value += 0.05 * ((i * 31 + j * 7) as f32).sin();
        }
    }
    network
}

/// The gradient along a direction is the slope of the loss along it.
fn gradients_are_slopes(objective: &dyn Objective, model: &Model) {
    let units: Vec<usize> = (0..objective.units()).collect();
    let mut network = moved(model);
    let (at, gradients) = learned(objective, &network, &units);
    let evaluated = objective.evaluate(&network, &mut Workspace::new(1)).unwrap();
    assert!((at.loss - evaluated).abs() < 1e-5 * (1.0 + at.loss.abs()), "{} {evaluated}", at.loss);
    let norm: f64 = gradients.iter().flatten().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    assert!(norm > 1e-4, "no gradient");
    let mut along = |step: f64| {
        for (parameter, gradient) in network.parameters_mut().iter_mut().zip(&gradients) {
            for (value, g) in parameter.values.iter_mut().zip(gradient) {
                *value += (step * f64::from(*g) / norm) as f32;
            }
        }
        objective.evaluate(&network, &mut Workspace::new(1)).unwrap()
    };
    let h = 4e-3;
    let (up, down) = (along(h), along(-2.0 * h));
    let slope = (up - down) / (2.0 * h);
    assert!((slope - norm).abs() < 0.01 * norm, "slope {slope}, norm {norm}");
}

fn close(a: &[Vec<f32>], b: &[Vec<f32>]) {
    let most = a.iter().flatten().fold(0.0_f32, |m, g| m.max(g.abs()));
    for (x, y) in a.iter().flatten().zip(b.iter().flatten()) {
        assert!((x - y).abs() <= 2e-5 * most, "{x} {y} of {most}");
    }
}

fn rows(model: &Model, count: usize) -> Vec<Example> {
    examples(model, &sums(count), &template("{prompt}"), &template("{chosen}")).unwrap()
}

#[test]
fn gradients_are_slopes_of_the_loss() {
    let model = tiny(true);
    gradients_are_slopes(&NextToken::new(rows(&model, 7)).unwrap(), &model);
    gradients_are_slopes(&preference(&model, 7, false), &model);
    gradients_are_slopes(&preference(&model, 7, true), &model);
    let labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8"];
    let templates = (&template("{prompt}"), &template("{chosen}"));
    gradients_are_slopes(&Classification::new(&model, &sums(7), templates, &labels).unwrap(), &model);
    let teacher = tiny_of(true, 9);
    for (temperature, weight) in [(1.0, 1.0), (2.0, 0.4)] {
        let distillation = Distillation::new(&model, rows(&model, 7), &teacher, (temperature, weight), 1).unwrap();
        gradients_are_slopes(&distillation, &model);
    }
}

#[test]
fn a_batch_in_parts_gives_the_mean_over_the_whole_batch() {
    let model = tiny(true);
    let network = moved(&model);
    // 300 rows make several parts; each row alone gives the same in the mean, unless rows are coupled.
    let next = NextToken::new(rows(&model, 300)).unwrap();
    let plain = preference(&model, 300, false);
    for objective in [&next as &dyn Objective, &plain] {
        let all: Vec<usize> = (0..300).collect();
        let (whole, gradients) = learned(objective, &network, &all);
        let mut mean = network.gradients();
        let mut loss = 0.0;
        for unit in all {
            let (one, gradient) = learned(objective, &network, &[unit]);
            loss += one.loss / 300.0;
            for (sum, g) in mean.iter_mut().flatten().zip(gradient.iter().flatten()) {
                *sum += g / 300.0;
            }
        }
        assert!((loss - whole.loss).abs() < 1e-5, "{loss} {}", whole.loss);
        close(&gradients, &mean);
    }
}

#[test]
fn coupled_losses_see_the_whole_batch() {
    let model = tiny(true);
    assert!(loss(0.5, true).couples() && !loss(0.5, false).couples());
    // Twelve times the same 25 rows have the means of the 25, and so the same loss and gradients, though cut into several parts.
    let few = preference(&model, 25, true);
    let network = moved(&model);
    let once: Vec<usize> = (0..25).collect();
    let often: Vec<usize> = (0..300).map(|i| i % 25).collect();
    let ((a, once), (b, often)) = (learned(&few, &network, &once), learned(&few, &network, &often));
    assert!((a.loss - b.loss).abs() < 1e-6, "{} {}", a.loss, b.loss);
    assert!(b.tokens > 2 * PART && b.tokens == 12 * a.tokens);
    close(&once, &often);
}

#[test]
fn a_policy_that_is_its_reference_has_the_loss_of_no_margin() {
    let model = tiny(true);
    let network = network(&model, &Update::default(), 1).unwrap();
    let (learned, _) = learned(&preference(&model, 10, false), &network, &(0..10).collect::<Vec<_>>());
    assert!((learned.loss - std::f64::consts::LN_2).abs() < 1e-5, "{}", learned.loss);
    assert!(learned.metrics.iter().any(|(name, margin)| *name == "margin" && margin.abs() < 1e-5));
}

fn tuned(model: &Model, objective: &dyn Objective, steps: usize) -> Model {
    let settings = Settings { batch: 25, warmup: 0, ..Settings::new(steps, 1e-2) };
    train(model, objective, &settings, &place(), &mut |_: Event<'_>| ControlFlow::Continue(())).unwrap()
}

#[test]
fn preferences_are_learned() {
    let model = tiny(true);
    let after = tuned(&model, &preference(&model, 25, false), 40);
    let pairs = pairs(&model, 25);
    let accuracy = |model: &Model, reference| preference_accuracy(model, reference, &pairs, &place()).unwrap();
    assert!(accuracy(&after, Some(&model)) >= 0.95, "{}", accuracy(&after, Some(&model)));
    assert!(accuracy(&after, None) > accuracy(&model, None));
    assert_eq!(accuracy(&model, Some(&model)), 0.5, "equal ones count half");
}

#[test]
fn a_student_comes_near_its_teacher() {
    let (model, teacher) = (tiny(true), tiny_of(true, 9));
    let objective = Distillation::new(&model, rows(&model, 25), &teacher, (1.0, 1.0), 1).unwrap();
    let loss = |model: &Model| {
        objective.evaluate(&network(model, &Update::default(), 1).unwrap(), &mut Workspace::new(1)).unwrap()
    };
    assert!(loss(&teacher).abs() < 1e-6, "a model does not diverge from itself");
    let after = tuned(&model, &objective, 60);
    assert!(loss(&after) < 0.3 * loss(&model), "{} {}", loss(&after), loss(&model));
}

#[test]
fn classes_are_learned_and_asked_as_choices() {
    use crate::task::{AnswerForm, Choices, Compare, Method, Task, score};
    let model = tiny(true);
    let labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8"];
    let (data, prompt, expected) = (sums(25), template("{prompt}"), template("{chosen}"));
    let objective = Classification::new(&model, &data, (&prompt, &expected), &labels).unwrap();
    let after = tuned(&model, &objective, 120);
    let choices = Choices {
        templates: labels.iter().map(|label| template(label)).collect(),
        compare: Compare::Total,
        answer: AnswerForm::Text,
    };
    let task = Task { data, prompt, expected, method: Method::MultipleChoice(choices) };
    let accuracy = |model: &Model| score(model, &task.prepare(model).unwrap(), place()).unwrap().value;
    assert!(accuracy(&after) > 0.9 && accuracy(&model) < 0.5, "{} {}", accuracy(&after), accuracy(&model));
    let network = network(&after, &Update::default(), 1).unwrap();
    let (learned, _) = learned(&objective, &network, &(0..25).collect::<Vec<_>>());
    assert!((learned.metrics[0].1 - accuracy(&after)).abs() < 1e-9, "training and the task count alike");
}

/// `<role>content.` a message, where `.` ends a turn; open, a header stands at the end.
fn chatty(anew: bool) -> Model {
    let turns = "{% for m in messages %}{{ '+' if m.role == 'user' else '=' }}{{ m.content }}.7{% endfor %}";
    let anew = if anew { "{{ messages | length }}" } else { "" };
    let model = tiny(true);
    let mut parts = (*model).clone();
    parts.chat_template = Some(format!("{anew}{turns}{{% if add_generation_prompt %}}={{% endif %}}").into());
    Model::new(parts)
}

fn chats() -> Data {
    let line = r#"{"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "22"},
        {"role": "user", "content": "3"}, {"role": "assistant", "content": "4"}, {"role": "user", "content": "5"}]}"#;
    crate::data::jsonl(line.replace('\n', " ").as_bytes(), "f", &["messages"], 9).unwrap()
}

#[test]
fn of_conversations_the_assistants_turns_are_learned_with_their_ends() {
    let model = chatty(false);
    let conversations = conversations(&chats(), "messages").unwrap();
    let learned = |turns| {
        let example = &chat_examples(&model, &conversations, turns).unwrap()[0];
        let text = model.require_tokenizer().unwrap().decode(&example.tokens, false).unwrap();
        let mask: String = example.learned.iter().map(|l| if *l { '^' } else { ' ' }).collect();
        (text.replace(' ', ""), mask)
    };
    // The user's last message comes after the last answer and is left out; what the template writes after an end is not learned.
    assert_eq!(learned(Turns::All), ("+1.7=22.7+3.7=4.7".to_owned(), "     ^^^      ^^ ".to_owned()));
    assert_eq!(learned(Turns::Last).1, "              ^^ ");
}

#[test]
fn conversations_that_cannot_be_learned_are_told_by_their_row() {
    let conversations = conversations(&chats(), "messages").unwrap();
    let fault = |model: &Model, chats: &[Vec<crate::model::Message>]| match chat_examples(model, chats, Turns::All) {
        Err(TrainError::Conversation { row, problem }) => format!("{row} {problem}"),
        other => panic!("{other:?}"),
    };
    assert!(fault(&chatty(true), &conversations).starts_with("0 the chat template writes earlier turns anew"));
    let silent = vec![conversations[0].clone(), vec![conversations[0][0].clone()]];
    assert_eq!(fault(&chatty(false), &silent), "1 there is no turn of the assistant's");
    assert!(matches!(chat_examples(&tiny(true), &conversations, Turns::All), Err(TrainError::Model(_))));
    let numbers = crate::train::conversations(&sums(1), "chosen");
    assert!(matches!(numbers, Err(TrainError::Conversation { row: 0, .. })));
}

#[test]
fn faults_are_found_before_a_step() {
    let model = tiny(true);
    let same =
        PairTemplates { prompt: template("{prompt}"), chosen: template("{chosen}"), rejected: template("{chosen}") };
    assert!(matches!(Pairs::new(&model, &sums(3), &same), Err(TrainError::EqualPairs)));
    let labels = |labels: &[&str]| check_labels(labels).unwrap_err().to_string();
    assert_eq!(labels(&["a"]), "1 labels leave nothing to choose");
    assert_eq!(labels(&["a", " "]), "label 1 is blank");
    assert_eq!(labels(&["a", "b", " a"]), "two labels are `a`");
    let templates = (&template("{prompt}"), &template("{chosen}"));
    let unknown = Classification::new(&model, &sums(3), templates, &["0", "1"]);
    assert!(matches!(unknown, Err(TrainError::NoLabel { row: 2, .. })));
    let mut other = (*tiny(true)).clone();
    other.tokenizer = None;
    let other = Model::new(other);
    let taught = Distillation::new(&model, rows(&model, 3), &other, (1.0, 1.0), 1);
    assert!(matches!(taught, Err(TrainError::Vocabulary { .. })));
    let hot = Distillation::new(&model, rows(&model, 3), &model, (0.0, 1.0), 1);
    assert!(matches!(hot, Err(TrainError::Setting { setting: "temperature", .. })));
    assert!(matches!(NextToken::new(Vec::new()), Err(TrainError::NothingToLearn)));
}

/// Answers of four tokens to two prompts; the reward is the share of sevens.
fn sevens<'a>(model: &Model, settings: ReinforceSettings) -> Reinforcement<'a> {
    let reward = Box::new(|_: usize, text: &str| Ok(text.chars().filter(|c| *c == '7').count() as f64 / 4.0));
    let settings = ReinforceSettings { max_tokens: 4, samples: 8, ..settings };
    Reinforcement::new(model, vec![vec![1, 10], vec![2, 10]], reward, settings, (None, &place())).unwrap()
}

#[test]
fn rewards_rise() {
    let model = tiny(true);
    // Singular values alone, of so small a model, cannot say much more than it began with.
    let singular = Update { method: UpdateMethod::Singular { on: Places::default() }, ..Update::default() };
    for (update, rate, at_least) in [(Update::default(), 1e-2, 0.85), (singular, 5e-2, 0.15)] {
        let objective = sevens(&model, ReinforceSettings { kl: 0.01, ..ReinforceSettings::default() });
        let reward = |model: &Model| -> f64 {
            let all = objective.rollouts(model, &[0, 1, 0, 1], 3).unwrap();
            all.iter().map(|rollout| rollout.reward).sum::<f64>() / all.len() as f64
        };
        let settings = Settings { batch: 2, warmup: 0, update, ..Settings::new(150, rate) };
        let after =
            train(&model, &objective, &settings, &place(), &mut |_: Event<'_>| ControlFlow::Continue(())).unwrap();
        assert!(reward(&model) < 0.1 && reward(&after) > at_least, "{} {}", reward(&model), reward(&after));
    }
}

#[test]
fn the_gradient_of_a_reward_is_weighed_by_advantages() {
    let model = tiny(true);
    // All answers alike: nothing is better than its baseline, and nothing is learned.
    let same = Reinforcement::new(
        &model,
        vec![vec![1]],
        Box::new(|_, _| Ok(1.0)),
        ReinforceSettings::default(),
        (None, &place()),
    );
    let network = moved(&model);
    let (told, gradients) = learned(&same.unwrap(), &network, &[0]);
    assert!(told.loss == 0.0 && gradients.iter().flatten().all(|g| *g == 0.0));
    let objective = sevens(&model, ReinforceSettings { samples: 2, ..ReinforceSettings::default() });
    assert_eq!(objective.advantages(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])[..2], [1.0, -1.0 / 7.0]);
    let signed = ReinforceSettings { baseline: Baseline::None, signed: true, ..ReinforceSettings::default() };
    assert_eq!(sevens(&model, signed).advantages(&[1.0, 0.0, 0.5]), [1.0, -1.0, 0.0]);
    let normalised = ReinforceSettings { normalised: true, ..ReinforceSettings::default() };
    assert_eq!(sevens(&model, normalised.clone()).advantages(&[0.5; 8]), [0.0; 8]);
    let spread = sevens(&model, normalised).advantages(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
    assert!(spread.iter().sum::<f64>().abs() < 1e-12 && (spread[0] - 8.0 / 7.0).abs() < 1e-12);
}

#[test]
fn the_draws_of_a_batch_hang_on_parameters_and_prompts() {
    let model = tiny(true);
    let objective = sevens(&model, ReinforceSettings::default());
    let (here, there) = (network(&model, &Update::default(), 1).unwrap(), moved(&model));
    let (once, again) = (learned(&objective, &here, &[0, 1]), learned(&objective, &here, &[0, 1]));
    assert_eq!(once, again);
    assert_ne!(once.1, learned(&objective, &there, &[0, 1]).1);
    let written = |seed| objective.rollouts(&model, &[0, 1], seed).unwrap();
    assert_eq!(written(1), written(1));
    assert_ne!(written(1), written(2));
}

#[test]
fn a_task_rewards_its_right_answers() {
    use crate::task::{Extract, Method, Task};
    let model = tiny(true);
    let method = Method::ExactMatch {
        max_tokens: 3,
        extract: Extract::Whole,
        language: None,
        by: crate::answer::Answering::GREEDY,
    };
    let task = Task { data: sums(5), prompt: template("{prompt}"), expected: template("{chosen}"), method };
    let objective = Reinforcement::of_task(&model, &task, ReinforceSettings::default(), (None, &place())).unwrap();
    assert_eq!(objective.units(), 5);
    assert_eq!((objective.reward(3, "3").unwrap(), objective.reward(3, "4").unwrap()), (1.0, 0.0));
    let smooth = Task { method: Method::Likelihood { end: true }, ..task };
    let refused = Reinforcement::of_task(&model, &smooth, ReinforceSettings::default(), (None, &place()));
    assert!(matches!(refused, Err(TrainError::Reward { .. })));
}
