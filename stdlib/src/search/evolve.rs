//! `evolve`: the loop of asking, evaluating and telling.

use std::sync::Arc;

use evo_kernels::optim;
use evo_lang::plan::{Answer, Call, Const, Problem, Space};

use super::genes::Genes;
use super::history::{History, Leader, Leaderboard};
use super::{Optimizer, Search};
use crate::args;
use crate::bind::Place;
use crate::cx::{Batch, Cx, Evaluated, Failure, Generation};
use crate::plot::Evaluation;
use crate::value::{Callable, Value};

args! {
    pub(super) struct EvolveArgs { maximize: Callable, by: Optimizer, stop: Value, seed: i64, space: Arc<Space> }
}

/// When to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Stop {
    generations: Option<u64>,
    evaluations: Option<u64>,
    plateau: Option<u64>,
    target: Option<f64>,
}

impl Stop {
    fn read(value: &Value) -> Stop {
        let count = |name: &str| value.field(name).and_then(|v| v.plain()?.as_int()).map(|n| n.max(0) as u64);
        Stop {
            generations: count("generations"),
            evaluations: count("evaluations"),
            plateau: count("plateau"),
            target: value.field("target").and_then(|v| v.plain()?.as_real()),
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
    optimizer: Box<dyn optim::Optimizer>,
    stop: Stop,
    evaluations: Vec<Evaluation>,
    leaders: Vec<Leader>,
    /// The best candidate so far, and the generation it came in.
    best: Option<(Const, f64, u64)>,
    last_failure: Option<Arc<Failure>>,
}

/// Runs a search to its end.
pub(super) fn evolve(cx: &Cx<'_>, args: EvolveArgs) -> Result<Search, Failure> {
    let genes = Genes::new(args.space)?;
    let stream = cx.stream().child("evolve").at(args.seed as u64);
    let optimizer = args.by.start(&genes.vector, stream)?;
    let mut run = Run {
        cx,
        genes,
        optimizer,
        stop: Stop::read(&args.stop),
        evaluations: Vec::new(),
        leaders: Vec::new(),
        best: None,
        last_failure: None,
    };
    let ended = loop {
        if let Some(reason) = run.ended() {
            break reason;
        }
        run.generation(&args.maximize)?;
    };
    run.finish(ended)
}

impl Run<'_, '_> {
    /// Why the search is over, if it is.
    fn ended(&self) -> Option<String> {
        let (generation, evaluations) = (self.optimizer.generation(), self.evaluations.len() as u64);
        let best = self.best.as_ref();
        if self.stop.evaluations.is_some_and(|n| evaluations >= n) {
            return Some(format!("all {evaluations} evaluations done"));
        }
        if self.stop.generations.is_some_and(|n| generation >= n) {
            return Some(format!("all {generation} generations done"));
        }
        if let (Some(target), Some((_, score, _))) = (self.stop.target, best)
            && *score >= target
        {
            return Some(format!("the target of {target} is reached"));
        }
        if let (Some(plateau), Some((_, _, at))) = (self.stop.plateau, best)
            && generation > at + plateau
        {
            return Some(format!("no improvement over {plateau} generations"));
        }
        self.optimizer.stop().map(|reason| reason.to_string())
    }

    /// One generation: asked, evaluated in parallel, told.
    fn generation(&mut self, fitness: &Callable) -> Result<(), Failure> {
        self.cx.check_cancelled()?;
        let asked = self.optimizer.ask();
        let left = self.stop.evaluations.map_or(asked.len(), |n| (n as usize).saturating_sub(self.evaluations.len()));
        let genomes = asked.iter().take(left).map(|x| self.genes.decode(x)).collect::<Result<Vec<_>, _>>()?;
        let args = genomes.iter().map(|g| vec![Value::Plain(g.clone())]).collect();
        let at = Batch { generation: self.optimizer.generation(), first: 0 };
        let evaluated = self.cx.effects.map(fitness, args, at);
        self.cx.check_cancelled()?;
        let scores: Vec<f64> = evaluated.iter().map(score).collect();
        for ((genome, score), evaluated) in genomes.into_iter().zip(&scores).zip(&evaluated) {
            self.record(genome, *score, evaluated);
        }
        // A generation that the limit cuts short ends the search: the optimizer is not told of half of one.
        let mut costs: Vec<f64> = scores.iter().map(|s| -s).collect();
        costs.resize(asked.len(), f64::NAN);
        let generation = self.optimizer.generation();
        self.optimizer.tell(&costs)?;
        self.report(generation, asked.len() as u64, &scores);
        Ok(())
    }

    fn record(&mut self, genome: Const, score: f64, evaluated: &Evaluated) {
        let generation = self.optimizer.generation();
        self.evaluations.push(Evaluation { generation: generation as usize, score });
        if let Err(failure) = &evaluated.outcome {
            self.last_failure = Some(failure.clone());
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
            let why = self.last_failure.map(|f| f.title.clone()).unwrap_or_else(|| "no candidate was evaluated".into());
            return Err(Failure::new("R0501", "every candidate of the search failed")
                .note(format!("the last reason: {why}"))
                .help("evaluate one genome by hand, or widen the ranges"));
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

/// NaN where there is no finite score.
fn score(evaluated: &Evaluated) -> f64 {
    match &evaluated.outcome {
        Ok(value) => value.plain().as_ref().and_then(Const::as_real).filter(|s| s.is_finite()).unwrap_or(f64::NAN),
        Err(_) => f64::NAN,
    }
}

/// A search that nothing bounds is refused before it starts.
pub(super) fn facts(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let Some(stop) = call.arg("stop") else {
        return Answer::Unknown;
    };
    let given = |name: &str| match (stop.constant(), stop.field(name)) {
        (Some(record), _) => record.field(name).is_some_and(|v| *v != Const::Nothing),
        (None, Some(field)) => field.constant() != Some(&Const::Nothing),
        (None, None) => true,
    };
    if !["generations", "evaluations"].iter().any(|name| given(name)) {
        problems.push(Problem {
            code: "E0418",
            title: format!("`{}` has no end", call.ext().name),
            label: "bounds nothing".into(),
            param: Some("stop".into()),
            notes: vec!["`plateau` and `target` alone may never be met".into()],
            help: "add `evaluations: 200` or `generations: 20`".into(),
            ..Problem::default()
        });
        return Answer::Unknown;
    }
    for name in ["generations", "evaluations"] {
        if let Some(n) = stop.constant().and_then(|s| s.field(name)?.as_int()).filter(|n| *n < 1) {
            problems.push(Problem {
                code: "E0418",
                title: format!("a budget of {n} {name} allows no generation"),
                label: format!("{name} is {n}"),
                param: Some("stop".into()),
                help: format!("give `{name}` at least 1"),
                ..Problem::default()
            });
        }
    }
    Answer::Unknown
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
