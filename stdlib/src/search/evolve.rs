//! `evolve`: the loop of asking, evaluating and telling.

use std::sync::Arc;

use evo_kernels::matmul::Reuse;
use evo_kernels::optim;
use evo_lang::plan::{Const, Space};

use super::genes::Genes;
use super::history::{History, Leader, Leaderboard};
use super::on_failure::OnFailure;
use super::{Optimizer, Search};
use crate::args;
use crate::cx::{Batch, Cx, Evaluated, Failure, Generation};
use crate::plot::Evaluation;
use crate::value::{Callable, Value};

args! {
    pub(super) struct EvolveArgs {
        maximize: Callable, by: Optimizer, stop: Value, seed: i64, on_failure: OnFailure, space: Arc<Space>,
    }
}

/// When to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Stop {
    generations: Option<u64>,
    evaluations: Option<u64>,
    plateau: Option<u64>,
    /// Seconds.
    time: Option<f64>,
    target: Option<f64>,
}

impl Stop {
    fn read(value: &Value) -> Stop {
        let count = |name: &str| value.field(name).and_then(|v| v.plain()?.as_int()).map(|n| n.max(0) as u64);
        let real = |name: &str| value.field(name).and_then(|v| v.plain()?.as_real());
        Stop {
            generations: count("generations"),
            evaluations: count("evaluations"),
            plateau: count("plateau"),
            time: real("time"),
            target: real("target"),
        }
    }

    /// The most evaluations, for a population of so many.
    fn limit(&self, population: u64) -> Option<u64> {
        let by_generations = self.generations.map(|n| n.saturating_mul(population));
        self.evaluations.into_iter().chain(by_generations).min()
    }
}

/// A search under way.
struct Run<'r, 'e> {
    cx: &'r Cx<'e>,
    genes: Genes,
    operator: &'static str,
    optimizer: Box<dyn optim::Optimizer>,
    stop: Stop,
    on_failure: OnFailure,
    evaluations: Vec<Evaluation>,
    leaders: Vec<Leader>,
    /// The best candidate so far, and the generation it came in.
    best: Option<(Const, f64, u64)>,
    /// Why the last candidate failed that did.
    last_failure: Option<(String, u64, u64)>,
}

/// Runs a search to its end.
pub(super) fn evolve(cx: &Cx<'_>, args: EvolveArgs) -> Result<Search, Failure> {
    // A candidate's weights take the memory of those before it.
    let _reuse = Reuse::begin();
    let genes = Genes::new(args.space)?;
    let stream = cx.stream().child("evolve").at(args.seed as u64);
    let optimizer = args.by.start(&genes.vector, stream)?;
    let mut run = Run {
        cx,
        genes,
        operator: args.by.name(),
        optimizer,
        stop: Stop::read(&args.stop),
        on_failure: args.on_failure,
        evaluations: Vec::new(),
        leaders: Vec::new(),
        best: None,
        last_failure: None,
    };
    let ended = loop {
        if let Some(reason) = run.ended()? {
            break reason;
        }
        run.generation(&args.maximize)?;
    };
    run.finish(ended)
}

impl Run<'_, '_> {
    /// Why the search is over, if it is.
    fn ended(&self) -> Result<Option<String>, Failure> {
        let (generation, evaluations) = (self.optimizer.generation(), self.evaluations.len() as u64);
        let best = self.best.as_ref();
        if self.stop.evaluations.is_some_and(|n| evaluations >= n) {
            return Ok(Some(format!("all {evaluations} evaluations done")));
        }
        if self.stop.generations.is_some_and(|n| generation >= n) {
            return Ok(Some(format!("all {generation} generations done")));
        }
        if let (Some(target), Some((_, score, _))) = (self.stop.target, best)
            && *score >= target
        {
            return Ok(Some(format!("the target of {target} is reached")));
        }
        if let (Some(plateau), Some((_, _, at))) = (self.stop.plateau, best)
            && generation > at + plateau
        {
            return Ok(Some(format!("no improvement over {plateau} generations")));
        }
        // However short the time, one generation is evaluated: a search without a candidate has no result.
        if let Some(time) = self.stop.time.filter(|_| generation > 0)
            && self.cx.effects.is_over(generation, time)?
        {
            return Ok(Some(format!("{time} s have passed")));
        }
        Ok(self.optimizer.stop().map(|reason| reason.to_string()))
    }

    /// One generation: asked, evaluated in parallel, told.
    fn generation(&mut self, fitness: &Callable) -> Result<(), Failure> {
        self.cx.check_cancelled()?;
        let asked = self.optimizer.ask();
        let left = self.stop.evaluations.map_or(asked.len(), |n| (n as usize).saturating_sub(self.evaluations.len()));
        let genomes = asked.iter().take(left).map(|x| self.genes.decode(x)).collect::<Result<Vec<_>, _>>()?;
        let args = genomes.iter().map(|g| vec![Value::Plain(g.clone())]).collect();
        let generation = self.optimizer.generation();
        let at = Batch { generation, first: 0, operator: self.operator, retries: self.on_failure.retries() };
        let evaluated = self.cx.effects.map(fitness, args, at)?;
        self.cx.check_cancelled()?;
        if self.on_failure == OnFailure::Abort {
            none_failed(generation, &evaluated)?;
        }
        let scores: Vec<f64> = evaluated.iter().map(score).collect();
        for (i, ((genome, score), evaluated)) in genomes.into_iter().zip(&scores).zip(&evaluated).enumerate() {
            self.record(genome, *score, evaluated, i as u64);
        }
        // A generation that the limit cuts short ends the search: the optimizer is not told of half of one.
        let mut costs: Vec<f64> = scores.iter().map(|s| -s).collect();
        costs.resize(asked.len(), f64::NAN);
        self.optimizer.tell(&costs)?;
        self.report(generation, asked.len() as u64, &scores);
        Ok(())
    }

    fn record(&mut self, genome: Const, score: f64, evaluated: &Evaluated, candidate: u64) {
        let generation = self.optimizer.generation();
        self.evaluations.push(Evaluation { generation: generation as usize, score });
        match &evaluated.outcome {
            Err(failure) => self.last_failure = Some((failure.title.to_string(), generation, candidate)),
            Ok(value) if !score.is_finite() => self.last_failure = Some((not_finite(value), generation, candidate)),
            Ok(_) => {}
        }
        if score.is_finite() {
            if self.best.as_ref().is_none_or(|(_, best, _)| score > *best) {
                self.best = Some((genome.clone(), score, generation));
            }
            self.leaders.push(Leader { score, generation: generation as usize, genome });
        }
    }

    fn report(&self, generation: u64, population: u64, scores: &[f64]) {
        let finite: Vec<f64> = scores.iter().copied().filter(|s| s.is_finite()).collect();
        self.cx.effects.generation(Generation {
            generation,
            evaluations: self.evaluations.len() as u64,
            limit: self.stop.limit(population),
            best: self.best.as_ref().map(|(_, score, _)| *score),
            mean: (!finite.is_empty()).then(|| finite.iter().sum::<f64>() / finite.len() as f64),
            sigma: None,
        });
    }

    fn finish(self, ended: String) -> Result<Search, Failure> {
        let Some((best, score, _)) = self.best else {
            let failure = Failure::new("R0501", "every candidate of the search failed").help(
                "evaluate one genome by hand, or widen the ranges; `on_failure: abort` shows the first failure whole",
            );
            return Err(match self.last_failure {
                Some((why, generation, candidate)) => {
                    failure.note(format!("the last reason: {why}")).at(generation, candidate)
                }
                None => failure.note("the last reason: no candidate was evaluated"),
            });
        };
        let name = self.cx.name.clone();
        Ok(Search {
            history: History { name: name.clone(), evaluations: self.evaluations.into() },
            leaderboard: Leaderboard::of(self.leaders),
            name,
            best,
            score,
            ended,
        })
    }
}

/// What is wrong with a fitness that is no finite number.
fn not_finite(value: &Value) -> String {
    match value.plain().as_ref().and_then(Const::as_real) {
        Some(x) => format!("the fitness is {x}, which is not finite"),
        None => format!("the fitness is {}, not a number", value.describe()),
    }
}

/// NaN where there is no finite score.
fn score(evaluated: &Evaluated) -> f64 {
    match &evaluated.outcome {
        Ok(value) => value.plain().as_ref().and_then(Const::as_real).filter(|s| s.is_finite()).unwrap_or(f64::NAN),
        Err(_) => f64::NAN,
    }
}

/// The first candidate that failed, as the failure of the search.
fn none_failed(generation: u64, evaluated: &[Evaluated]) -> Result<(), Failure> {
    let Some((i, first)) = evaluated.iter().enumerate().find(|(_, e)| !score(e).is_finite()) else {
        return Ok(());
    };
    let failure = match &first.outcome {
        Err(failure) => Failure::clone(failure),
        Ok(value) => Failure::new("R0502", not_finite(value))
            .help("guard the fitness, or leave `on_failure: abort` out: the candidate then ranks last"),
    };
    Err(failure
        .note(format!("it was candidate {i} of generation {generation}; `on_failure: abort` ends the search"))
        .at(generation, i as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_limit_counts() {
        let stop = Stop { generations: Some(3), evaluations: Some(100), ..Stop::default() };
        assert_eq!(stop.limit(10), Some(30));
        assert_eq!(Stop::default().limit(10), None);
    }
}
