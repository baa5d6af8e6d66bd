//! Laws of the optimizers.
#![cfg(test)]

use evo_kernels::optim::{
    CmaEs, CmaSettings, Coordinate, Gene, OptimError, Optimizer, RandomSearch, Space, StopReason, Value,
};
use evo_kernels::rng::Stream;
use proptest::prelude::*;

fn cma(coordinates: Vec<Coordinate>, seed: u64) -> CmaEs {
    CmaEs::new(CmaSettings::new(coordinates), Stream::from_seed(seed)).unwrap()
}

fn step(search: &mut dyn Optimizer, cost: &dyn Fn(&[f64]) -> f64) {
    let costs: Vec<f64> = search.ask().iter().map(|x| cost(x)).collect();
    search.tell(&costs).unwrap();
}

fn run(search: &mut dyn Optimizer, generations: u64, cost: &dyn Fn(&[f64]) -> f64) {
    while search.generation() < generations && search.stop().is_none() {
        step(search, cost);
    }
}

fn sphere(center: f64) -> impl Fn(&[f64]) -> f64 {
    move |x| x.iter().map(|v| (v - center).powi(2)).sum()
}

fn searches(seed: u64) -> [Box<dyn Optimizer>; 2] {
    let coordinates = vec![Coordinate::UNIT; 4];
    let random = RandomSearch::new(coordinates.clone(), 7, Stream::from_seed(seed)).unwrap();
    [Box::new(cma(coordinates, seed)), Box::new(random)]
}

proptest! {
    #[test]
    fn asking_changes_nothing_and_a_restored_search_goes_on_to_the_bit(seed: u64, before in 0u64..30, after in 1u64..30) {
        let cost = sphere(0.3);
        for (mut search, mut other) in searches(seed).into_iter().zip(searches(seed)) {
            run(&mut *search, before, &cost);
            prop_assert_eq!(search.ask(), search.ask());
            other.restore(&search.state()).unwrap();
            prop_assert_eq!(other.state(), search.state());
            run(&mut *search, before + after, &cost);
            run(&mut *other, before + after, &cost);
            prop_assert_eq!(other.state(), search.state());
            prop_assert_eq!(other.ask(), search.ask());
        }
    }

    #[test]
    fn only_the_order_of_costs_matters(seed: u64) {
        let (mut plain, mut other) = (cma(vec![Coordinate::FREE; 3], seed), cma(vec![Coordinate::FREE; 3], seed));
        // In the same order to the last bit: powers of two do not round.
        let bent = |cost: f64| if cost < 0.01 { cost / 1024.0 } else { cost * 1024.0 };
        for _ in 0..20 {
            step(&mut plain, &sphere(1.0));
            step(&mut other, &|x| bent(sphere(1.0)(x)));
        }
        prop_assert_eq!(plain.ask(), other.ask());
    }

    #[test]
    fn candidates_stay_within_their_bounds(seed: u64, low in -10.0..10.0f64, width in 0.01..100.0f64, generations in 0u64..20) {
        let c = Coordinate { low, high: low + width, ..Coordinate::UNIT };
        let mut settings = CmaSettings::new(vec![c; 3]);
        settings.sigma = 2.0;
        let mut search = CmaEs::new(settings, Stream::from_seed(seed)).unwrap();
        run(&mut search, generations, &sphere(low + 2.0 * width));
        prop_assert!(search.ask().iter().flatten().all(|x| (low..=low + width).contains(x)));
        prop_assert!(search.favorite().iter().all(|x| (low..=low + width).contains(x)));
    }

    #[test]
    fn seeds_differ(seed: u64) {
        for (a, b) in searches(seed).iter().zip(&searches(!seed)) {
            prop_assert_ne!(a.ask(), b.ask());
        }
    }
}

#[test]
fn an_optimum_on_the_bound_is_found() {
    for seed in 0..10 {
        let mut search = cma(vec![Coordinate::UNIT; 4], seed);
        run(&mut search, 200, &sphere(1.7));
        assert!(search.favorite().iter().all(|x| *x > 1.0 - 1e-6), "{:?}", search.favorite());
    }
}

#[test]
fn failed_candidates_rank_last_and_do_not_stop_a_search() {
    for seed in 0..10 {
        let mut search = cma(vec![Coordinate::UNIT; 3], seed);
        // The half-space beside the start fails.
        run(&mut search, 150, &|x| {
            if x[0] < 0.48 { f64::NAN } else { sphere(0.6)(x) }
        });
        assert!(sphere(0.6)(&search.favorite()) < 1e-8);
    }
}

#[test]
fn a_generation_of_failures_draws_anew_from_the_same_distribution() {
    let mut search = cma(vec![Coordinate::UNIT; 3], 1);
    let (before, favorite) = (search.ask(), search.favorite());
    step(&mut search, &|_| f64::NAN);
    assert_eq!((search.generation(), search.favorite()), (1, favorite));
    assert_ne!(search.ask(), before);
    assert_eq!(search.stop(), None);
}

/// The share of seeds whose search ends at the optimum of a function of decoded values.
fn solved(genes: &[Gene], generations: u64, optimum: &[Value], cost: fn(&[Value]) -> f64) -> usize {
    let space = Space::new(genes.to_vec()).unwrap();
    let decoded_cost = |x: &[f64]| cost(&space.decode(x).unwrap());
    let solves = |seed: &u64| {
        let mut search = cma(space.coordinates(), *seed);
        run(&mut search, generations, &decoded_cost);
        space.decode(&search.favorite()).unwrap() == optimum
    };
    (0..20).filter(solves).count()
}

#[test]
fn integers_far_from_the_start_are_found() {
    let genes = [Gene::Int { low: -20, high: 20, log: false }; 5];
    let optimum = [17, -20, 20, 0, -3].map(Value::Int);
    let cost = |values: &[Value]| {
        let distance = |(v, target): (&Value, i64)| match v {
            Value::Int(i) => (i - target).pow(2) as f64,
            _ => f64::NAN,
        };
        values.iter().zip([17, -20, 20, 0, -3]).map(distance).sum()
    };
    let count = solved(&genes, 400, &optimum, cost);
    assert!(count >= 18, "{count} of 20");
}

#[test]
fn yes_or_no_genes_do_not_freeze() {
    // Every gene helps a little; which ones are wrong at first is up to the draw.
    let cost = |values: &[Value]| values.iter().filter(|v| **v == Value::Bool(false)).count() as f64;
    let count = solved(&[Gene::Bool; 8], 400, &[const { Value::Bool(true) }; 8], cost);
    assert!(count >= 18, "{count} of 20");
}

#[test]
fn choices_and_orders_are_found() {
    let choices = [Gene::OneOf { cases: 4 }; 3];
    let cost = |values: &[Value]| {
        let wrong = |(v, target): (&Value, usize)| f64::from(*v != Value::Case(target));
        values.iter().zip([3, 0, 2]).map(wrong).sum()
    };
    let count = solved(&choices, 100, &[Value::Case(3), Value::Case(0), Value::Case(2)], cost);
    assert!(count >= 16, "{count} of 20");

    let cost = |values: &[Value]| match &values[0] {
        Value::Order(order) => order.iter().enumerate().map(|(i, v)| (i as f64 - 5.0 + *v as f64).powi(2)).sum(),
        _ => f64::NAN,
    };
    let count = solved(&[Gene::Permutation { length: 6 }], 100, &[Value::Order(vec![5, 4, 3, 2, 1, 0])], cost);
    assert!(count >= 16, "{count} of 20");
}

#[test]
fn a_random_search_covers_the_ranges() {
    let c = Coordinate { low: -1.0, high: 3.0, ..Coordinate::UNIT };
    let mut search = RandomSearch::new(vec![c; 2], 1000, Stream::from_seed(3)).unwrap();
    let quadrant = |x: &Vec<f64>| usize::from(x[0] > 1.0) + 2 * usize::from(x[1] > 1.0);
    let mut counts = [0; 4];
    search.ask().iter().for_each(|x| counts[quadrant(x)] += 1);
    assert!(counts.iter().all(|c| (200..300).contains(c)), "{counts:?}");
    run(&mut search, 20, &sphere(2.0));
    assert!(sphere(2.0)(&search.favorite()) < 0.01);
}

#[test]
fn searches_say_why_they_end() {
    let ends = |coordinates: Vec<Coordinate>, cost: &dyn Fn(&[f64]) -> f64| {
        let mut search = cma(coordinates, 5);
        run(&mut search, 100_000, cost);
        search.stop().unwrap()
    };
    let free = || vec![Coordinate::FREE; 3];
    let converged = ends(free(), &sphere(1.0));
    assert!(matches!(converged, StopReason::TolFun { .. } | StopReason::TolFunHistory { .. }), "{converged}");
    assert_eq!(ends(free(), &|_| 1.0), StopReason::FlatFitness { generations: 2 });
    assert_eq!(ends(free(), &|x| x[0]), StopReason::TolFacUpX { factor: 1e3 });
    let sharp = ends(vec![Coordinate::UNIT; 3], &|x| -1.0 / sphere(0.4)(x));
    assert_eq!(sharp, StopReason::TolX { tolerance: 1e-11 });
    let text = StopReason::FlatFitness { generations: 2 }.to_string();
    assert_eq!(text, "the fitness is flat: most candidates had the same cost for 2 generations (tolflatfitness)");
}

#[test]
fn bad_settings_and_costs_are_refused() {
    let stream = Stream::from_seed(0);
    let refused = |change: &dyn Fn(&mut CmaSettings)| {
        let mut settings = CmaSettings::new(vec![Coordinate::UNIT; 2]);
        change(&mut settings);
        CmaEs::new(settings, stream).unwrap_err()
    };
    assert_eq!(refused(&|s| s.coordinates.clear()), OptimError::NoCoordinates);
    assert_eq!(refused(&|s| s.start[1] = 1.5), OptimError::Start { coordinate: 1 });
    assert_eq!(refused(&|s| s.start.push(0.5)), OptimError::Start { coordinate: 2 });
    assert_eq!(refused(&|s| s.sigma = 0.0), OptimError::Sigma { sigma: 0.0 });
    assert_eq!(refused(&|s| s.population = 1), OptimError::Population { population: 1, least: 2 });
    assert!(RandomSearch::new(vec![Coordinate::FREE], 5, stream).is_err());
    for mut search in searches(1) {
        let (state, expected) = (search.state(), search.population());
        assert_eq!(search.tell(&[1.0]), Err(OptimError::Costs { expected, found: 1 }));
        assert_eq!(search.restore(&state[1..]), Err(OptimError::State));
        assert_eq!(search.restore(&[&state[..], &[0.0]].concat()), Err(OptimError::State));
        assert_eq!(search.state(), state);
    }
}
