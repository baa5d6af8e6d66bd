//! What a service answers is what `answers` answers, and what it tells on the way adds up to it.

use std::sync::{Arc, Mutex, PoisonError};

use evo_kernels::decode::Sampling;

use super::service::{Load, Request, Sink, Weighed, Work, serve};
use super::tests::{model, prompts};
use super::*;
use crate::model::Place;
use crate::task::TaskError;

/// All that a sink was told.
#[derive(Debug, Default)]
struct Told {
    prompt: Vec<Weighed>,
    text: String,
    tokens: Vec<Weighed>,
    ended: Option<Ended>,
}

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Told>>);

impl Notes {
    fn told(&self, f: impl FnOnce(&mut Told)) {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Sink for Notes {
    fn prompt(&mut self, tokens: Vec<Weighed>) {
        self.told(|told| told.prompt = tokens);
    }

    fn more(&mut self, text: &str, token: Weighed) {
        self.told(|told| {
            told.text.push_str(text);
            told.tokens.push(token);
        });
    }

    fn end(&mut self, rest: &str, ended: Result<Ended, TaskError>) {
        self.told(|told| {
            told.text.push_str(rest);
            told.ended = Some(ended.unwrap());
        });
    }

    fn is_wanted(&self) -> bool {
        true
    }
}

/// What is answered to these prompts, with the log-probabilities of everything.
fn served(how: &Answering, prompts: &[Vec<u32>], max_tokens: usize) -> Vec<Told> {
    let model = model();
    let notes: Vec<Notes> = prompts.iter().map(|_| Notes::default()).collect();
    let request = |(i, (prompt, notes)): (usize, (&Vec<u32>, &Notes))| {
        let request =
            Request::new(&model, prompt.clone(), max_tokens, (how.clone(), i as u64), Box::new(notes.clone())).unwrap();
        Work::Answer(Box::new(request.weighed(2).reading_prompt()))
    };
    let mut coming = prompts.iter().zip(&notes).enumerate().map(request).collect::<Vec<_>>().into_iter();
    let next = |load: &Load| {
        let some: Vec<Work> = coming.by_ref().take(2).collect();
        (!some.is_empty() || load.open + load.waiting > 0).then_some(some)
    };
    serve(&model, &Place::from(2), next).unwrap();
    notes.into_iter().map(|notes| std::mem::take(&mut *notes.0.lock().unwrap())).collect()
}

#[test]
fn a_service_answers_as_a_model_asked_alone() {
    let model = model();
    let prompts = prompts(&model, 12);
    let drawn = Answering { sampling: Sampling::default(), seed: 5, ..Answering::GREEDY };
    let stopping = Answering { stop: vec!["e".into(), "th".into()], ..drawn.clone() };
    let held = Answering { form: Some(Form::Pattern("(yes|no|é|maybe), [0-9]{2}".into())), ..drawn.clone() };
    for how in [Answering::GREEDY, drawn, stopping, held] {
        let expected = answers(&model, &prompts, 20, &how, 1).unwrap();
        let found = served(&how, &prompts, 20);
        for ((expected, told), prompt) in expected.iter().zip(&found).zip(&prompts) {
            assert_eq!((&told.text, told.ended), (&expected.text, Some(expected.ended)));
            let ids: Vec<u32> = told.tokens.iter().map(|token| token.id).collect();
            assert!(expected.ids.starts_with(&ids), "{:?} {ids:?}", expected.ids);
            assert_eq!(told.prompt.iter().map(|token| token.id).collect::<Vec<_>>(), *prompt);
            let whole = [prompt.as_slice(), &ids].concat();
            let decoder = model.decoder(1).unwrap();
            let alone = decoder.logprobs(&[(&whole[..1], &whole[1..])], 1).unwrap().concat();
            let told = told.prompt.iter().chain(&told.tokens).skip(1);
            assert!(told.clone().all(|token| token.top.len() == 2 && token.top[0].1 >= token.logprob.unwrap()));
            assert_eq!(told.map(|token| token.logprob.unwrap()).collect::<Vec<_>>(), alone);
        }
    }
}

#[test]
fn a_prompt_alone_can_be_read() {
    let model = model();
    let prompts = prompts(&model, 2);
    for (told, prompt) in served(&Answering::GREEDY, &prompts, 0).iter().zip(&prompts) {
        assert_eq!((told.prompt.len(), told.tokens.len(), told.ended), (prompt.len(), 0, Some(Ended::Length)));
    }
}

#[test]
fn what_cannot_be_answered_is_refused_before() {
    let model = model();
    let ask = |prompt: Vec<u32>, max_tokens, form| {
        let how = Answering { form, ..Answering::GREEDY };
        Request::new(&model, prompt, max_tokens, (how, 0), Box::new(Notes::default())).map(drop)
    };
    assert!(matches!(ask(vec![], 1, None), Err(TaskError::Decode(_))));
    assert!(matches!(ask(vec![u32::MAX], 1, None), Err(TaskError::Decode(_))));
    assert!(matches!(ask(vec![1; 90], 7, None), Err(TaskError::Decode(_))));
    assert!(matches!(ask(vec![1], 7, Some(Form::Schema("{".into()))), Err(TaskError::Form(_))));
    assert!(ask(vec![1; 90], 6, None).is_ok());
}
