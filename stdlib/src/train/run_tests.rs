//! The loop: schedules, accumulation, evaluation, divergence, and checkpoints that go on to the bit.

use std::io::{self, Write};
use std::ops::ControlFlow;

use evo_kernels::backprop::{Gradients, Network, Workspace};
use evo_kernels::optim::gradient::{AdamW, Lion, Muon, Rule};

use super::tests::{objective, sums_for, tiny};
use super::*;
use crate::model::{Model, Place};

fn go_on(_: Event<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn the_rate_rises_then_goes_by_its_schedule() {
    let rates = |schedule: Schedule| {
        let settings = Settings { warmup: 4, planned: Some(104), floor: 0.2, schedule, ..Settings::new(50, 1.0) };
        (0..130).map(|step| settings.rate_at(step)).collect::<Vec<f64>>()
    };
    let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
    for schedule in [
        Schedule::Cosine,
        Schedule::Linear,
        Schedule::Constant,
        Schedule::WarmupStableDecay { decay: 0.25 },
        Schedule::InverseSqrt,
    ] {
        let rates = rates(schedule);
        assert_eq!(rates[..5], [0.25, 0.5, 0.75, 1.0, 1.0], "{schedule:?}");
        assert!(rates[4..].windows(2).all(|pair| pair[1] <= pair[0]) && rates[129] >= 0.2, "{schedule:?}");
    }
    let cosine = rates(Schedule::Cosine);
    assert!(near(cosine[54], 0.6) && near(cosine[104], 0.2) && near(cosine[129], 0.2));
    let linear = rates(Schedule::Linear);
    assert!(near(linear[29], 0.8) && near(linear[54], 0.6) && near(linear[129], 0.2));
    assert_eq!(rates(Schedule::Constant)[129], 1.0);
    let stable = rates(Schedule::WarmupStableDecay { decay: 0.25 });
    assert!(stable[79] == 1.0 && near(stable[91], 0.616) && near(stable[104], 0.2));
    let root = rates(Schedule::InverseSqrt);
    assert!(near(root[16], 0.5) && near(root[129], 0.2));
}

#[test]
fn accumulated_batches_are_one_large_batch() {
    let model = tiny(true);
    let digest = |batch: usize, accumulate: usize| {
        let settings = Settings { batch, accumulate, ..Settings::new(9, 1e-2) };
        train(&model, &objective(&model), &settings, &Place::from(1), &mut go_on).unwrap().digest()
    };
    let whole = digest(12, 1);
    assert_eq!(whole, digest(4, 3));
    assert_eq!(whole, digest(1, 12));
    assert_ne!(whole, digest(4, 1));
}

#[test]
fn every_rule_learns() {
    let model = tiny(true);
    let rules = [
        (Rule::AdamW(AdamW::default()), 2e-2),
        (Rule::Lion(Lion::default()), 4e-3),
        (Rule::Muon(Muon::default(), AdamW::default()), 2e-2),
    ];
    for (rule, rate) in rules {
        let settings = Settings { rule, batch: 25, ..Settings::new(120, rate) };
        let tuned = train(&model, &objective(&model), &settings, &Place::from(1), &mut go_on).unwrap();
        let record = tuned.card.training.clone().unwrap();
        let (first, last) = (record.steps[0].loss, record.steps[119].loss);
        assert!(first > 2.0 && last < 0.8, "{rule:?}: {first} {last}");
    }
}

/// A training of the tiny model, evaluated on some of its rows.
struct Setup {
    model: Model,
    learned: NextToken,
    held_out: NextToken,
    settings: Settings,
    place: Place,
}

impl Setup {
    fn new(settings: Settings) -> Setup {
        let model = tiny(true);
        let (held_out, learned) = sums_for(&model).into_iter().partition(|e| e.tokens[0] == 3);
        let of = |examples: Vec<Example>| NextToken::new(examples).unwrap();
        Setup { learned: of(learned), held_out: of(held_out), model, settings, place: Place::from(1) }
    }

    fn run<'a>(
        &'a self,
        checkpoints: Option<&'a mut (dyn Checkpoints + 'a)>,
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Model, TrainError> {
        Training {
            model: &self.model,
            objective: &self.learned,
            evaluation: Some(&self.held_out),
            settings: &self.settings,
            place: &self.place,
            checkpoints: match checkpoints {
                Some(checkpoints) => Some((checkpoints, [7; 32])),
                None => None,
            },
        }
        .run(observe)
    }
}

#[test]
fn evaluations_come_in_turn_and_the_best_weights_are_kept() {
    let settings = Settings { every: 10, keep: Keep::Best, batch: 5, ..Settings::new(95, 3e-2) };
    let setup = Setup::new(settings);
    let mut told = Vec::new();
    let best = setup.run(None, &mut |event| {
        if let Event::Evaluated { step, loss } = event {
            told.push((step, loss));
        }
        ControlFlow::Continue(())
    });
    let best = best.unwrap();
    let record = best.card.training.clone().unwrap();
    assert_eq!(record.evaluations, told);
    let at: Vec<usize> = told.iter().map(|(step, _)| *step).collect();
    assert_eq!(at, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95]);
    let (step, lowest) = record.best().unwrap();
    assert_eq!((record.kept, record.ended_early), (step, false));
    assert!(step > 0 && step < 95, "rows that were held out are overlearned: {told:?}");
    let evaluated = |model: &Model| {
        let network = network::network(model, &Update::default(), 1).unwrap();
        setup.held_out.evaluate(&network, &mut Workspace::new(1)).unwrap()
    };
    assert_eq!(evaluated(&best), lowest);
    let last = Setup::new(Settings { keep: Keep::Last, ..setup.settings.clone() }).run(None, &mut go_on).unwrap();
    assert_eq!(evaluated(&last), told[10].1);
    assert_eq!(last.card.training.clone().unwrap().kept, 95);
}

#[test]
fn a_training_without_improvement_ends_early() {
    let settings = Settings { every: 5, patience: Some(3), keep: Keep::Best, batch: 5, ..Settings::new(400, 3e-2) };
    let tuned = Setup::new(settings).run(None, &mut go_on).unwrap();
    let record = tuned.card.training.clone().unwrap();
    let best = record.best().unwrap().0;
    assert!(record.ended_early && record.steps.len() < 400);
    assert_eq!(record.steps.len(), best + 3 * 5);
    assert_eq!(record.kept, best);
    let refused = |settings: Settings| match train(
        &tiny(true),
        &objective(&tiny(true)),
        &settings,
        &Place::from(1),
        &mut go_on,
    ) {
        Err(TrainError::Setting { setting, .. }) => setting,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(Settings { patience: Some(1), ..Settings::new(3, 1e-3) }), "patience");
    assert_eq!(refused(Settings { keep: Keep::Best, ..Settings::new(3, 1e-3) }), "keep");
    assert_eq!(refused(Settings { accumulate: 0, ..Settings::new(3, 1e-3) }), "accumulate");
    assert_eq!(refused(Settings::new(3, 0.0)), "rate");
}

/// Checkpoints in memory: one is due after each of these steps.
#[derive(Default)]
struct Shelf {
    asked: usize,
    due: Vec<usize>,
    kept: Option<Vec<u8>>,
    all: Vec<Vec<u8>>,
    damaged: bool,
}

impl Checkpoints for Shelf {
    fn load(&mut self) -> Result<Option<Vec<u8>>, TrainError> {
        Ok(self.kept.clone())
    }

    fn is_due(&mut self) -> bool {
        self.asked += 1;
        self.due.contains(&self.asked)
    }

    fn save(&mut self, write: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> Result<(), TrainError> {
        let mut bytes = Vec::new();
        write(&mut bytes).unwrap();
        self.kept = Some(bytes.clone());
        self.all.push(bytes);
        Ok(())
    }

    fn damaged(&mut self) {
        self.damaged = true;
    }
}

#[test]
fn every_checkpoint_goes_on_to_the_bit() {
    let rules =
        [Rule::AdamW(AdamW::default()), Rule::Lion(Lion::default()), Rule::Muon(Muon::default(), AdamW::default())];
    for rule in rules {
        let settings =
            Settings { rule, every: 4, keep: Keep::Best, patience: Some(3), batch: 7, ..Settings::new(23, 2e-2) };
        let setup = Setup::new(settings);
        let whole = setup.run(None, &mut go_on).unwrap();
        let mut shelf = Shelf { due: vec![1, 4, 8, 15, 22], ..Shelf::default() };
        let written = setup.run(Some(&mut shelf), &mut go_on).unwrap();
        assert_eq!((whole.digest(), &whole.card), (written.digest(), &written.card), "writing changes nothing");
        assert!(shelf.all.len() >= 3);
        for kept in shelf.all {
            let mut begun = None;
            let mut shelf = Shelf { kept: Some(kept), ..Shelf::default() };
            let resumed = setup.run(Some(&mut shelf), &mut |event| {
                if let Event::Begun { step, .. } = event {
                    begun = Some(step);
                }
                ControlFlow::Continue(())
            });
            let resumed = resumed.unwrap();
            assert!(begun > Some(0) && !shelf.damaged);
            assert_eq!(whole.digest(), resumed.digest());
            assert_eq!(whole.card, resumed.card, "the record, too");
        }
    }
}

#[test]
fn who_stops_a_training_finds_it_again() {
    let setup = Setup::new(Settings { every: 5, ..Settings::new(20, 1e-2) });
    let whole = setup.run(None, &mut go_on).unwrap();
    let mut shelf = Shelf::default();
    let stopped = setup.run(Some(&mut shelf), &mut |event| match event {
        Event::Step { step: 10, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(stopped, Err(TrainError::Stopped { step: 10 })));
    let mut first = None;
    let resumed = setup.run(Some(&mut shelf), &mut |event| {
        if let Event::Step { step, .. } = event {
            first.get_or_insert(step);
        }
        ControlFlow::Continue(())
    });
    assert_eq!((first, resumed.unwrap().card.clone()), (Some(11), whole.card.clone()));
}

#[test]
fn a_foreign_checkpoint_is_refused_and_a_damaged_one_is_left() {
    let setup = Setup::new(Settings::new(12, 1e-2));
    let mut shelf = Shelf { due: vec![5], ..Shelf::default() };
    let whole = setup.run(Some(&mut shelf), &mut go_on).unwrap();
    let kept = shelf.kept.clone().unwrap();
    let part = |setup: &Setup, task: [u8; 32]| {
        let mut shelf = Shelf { kept: Some(kept.clone()), ..Shelf::default() };
        let training = Training {
            model: &setup.model,
            objective: &setup.learned,
            evaluation: None,
            settings: &setup.settings,
            place: &Place::from(1),
            checkpoints: Some((&mut shelf, task)),
        };
        match training.run(&mut go_on) {
            Err(TrainError::OtherCheckpoint { part, .. }) => part,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(part(&Setup { model: tiny(false), ..Setup::new(Settings::new(12, 1e-2)) }, [7; 32]), "model");
    assert_eq!(part(&Setup::new(Settings::new(13, 1e-2)), [7; 32]), "settings");
    assert_eq!(part(&setup, [8; 32]), "data");
    for torn in [&kept[..kept.len() - 3], &kept[..200], &kept[..4]] {
        let mut shelf = Shelf { kept: Some(torn.to_vec()), ..Shelf::default() };
        let anew = setup.run(Some(&mut shelf), &mut go_on).unwrap();
        assert!(shelf.damaged && anew.digest() == whole.digest());
    }
}

#[test]
fn a_training_that_explodes_or_stands_still_fails_with_its_step() {
    let model = tiny(true);
    let fails = |settings: Settings| match train(&model, &objective(&model), &settings, &Place::from(1), &mut go_on) {
        Err(TrainError::Diverged { step, what }) => (step, what),
        other => panic!("{other:?}"),
    };
    let full = |steps, rate| Settings { batch: 25, clip: None, warmup: 0, ..Settings::new(steps, rate) };
    let (step, what) = fails(full(50, 1e25));
    assert!(step > 1 && matches!(what, Divergence::Loss { .. } | Divergence::Gradient { .. }), "{step} {what}");
    let (_, what) = fails(full(200, 30.0));
    assert!(matches!(what, Divergence::Explosion { .. }), "{what}");
    let (step, what) = fails(full(50, 1e-12));
    assert!(step == 21 && matches!(what, Divergence::Constant { .. }), "{step} {what}");
}

/// A loss without a slope.
struct Flat;

impl Objective for Flat {
    fn units(&self) -> usize {
        3
    }

    fn learn(&self, _: &Network, _: &mut Workspace, _: &[usize], _: &mut Gradients) -> Result<Learned, TrainError> {
        Ok(Learned { loss: 0.693, tokens: 4, metrics: vec![("accuracy", 0.5)] })
    }

    fn evaluate(&self, _: &Network, _: &mut Workspace) -> Result<f64, TrainError> {
        Ok(f64::NAN)
    }
}

#[test]
fn a_loss_without_a_slope_and_an_evaluation_that_is_no_number_are_told() {
    let (model, settings, place) = (tiny(true), Settings::new(50, 1e-2), Place::from(1));
    let flat = train(&model, &Flat, &settings, &place, &mut go_on);
    assert!(matches!(flat, Err(TrainError::Diverged { step: 20, what: Divergence::NoGradient { .. } })), "{flat:?}");
    let learned = objective(&model);
    let evaluation: Option<&dyn Objective> = Some(&Flat);
    let training = Training {
        model: &model,
        objective: &learned,
        evaluation,
        settings: &settings,
        place: &place,
        checkpoints: None,
    };
    let evaluated = training.run(&mut go_on);
    assert!(matches!(evaluated, Err(TrainError::Diverged { step: 0, what: Divergence::Loss { weights: false, .. } })));
}
