//! Ways of searching, as values.

use std::any::Any;

use evo_kernels::optim::{self, CmaEs, CmaSettings, OptimError, RandomSearch, default_population};
use evo_kernels::rng::Stream;
use evo_lang::plan::Const;
use evo_lang::types::Ty;

use crate::args;
use crate::bind::FromValue;
use crate::cx::{Cx, Failure};
use crate::value::{Object, Value};

/// A configured optimizer, not yet started.
#[derive(Clone, Debug)]
pub enum Optimizer {
    /// CMA-ES.
    CmaEs {
        /// Candidates a generation; by default from the number of genes.
        population: Option<usize>,
        /// The first standard deviation, in units of each range.
        sigma: f64,
    },
    /// Random search.
    Random {
        /// Candidates a generation.
        population: Option<usize>,
    },
}

/// `Population`: a number, or `auto`.
pub(super) struct Population(Option<usize>);

impl FromValue for Population {
    fn fits(ty: &Ty) -> bool {
        matches!(ty, Ty::Union(_))
    }

    fn rust() -> String {
        "Population".to_owned()
    }

    fn from_value(value: Value) -> Option<Population> {
        match value.plain()? {
            Const::Int(n) => Some(Population(Some(usize::try_from(n).unwrap_or(0)))),
            Const::Case(..) => Some(Population(None)),
            _ => None,
        }
    }
}

args! { pub(super) struct CmaArgs { population: Population, sigma: f64 } }
args! { pub(super) struct RandomArgs { population: Population } }

pub(super) fn cma_es(_: &Cx<'_>, args: CmaArgs) -> Result<Optimizer, Failure> {
    Ok(Optimizer::CmaEs { population: args.population.0, sigma: args.sigma })
}

pub(super) fn random_search(_: &Cx<'_>, args: RandomArgs) -> Result<Optimizer, Failure> {
    Ok(Optimizer::Random { population: args.population.0 })
}

impl Optimizer {
    /// Starts it on a space.
    pub(super) fn start(&self, space: &optim::Space, stream: Stream) -> Result<Box<dyn optim::Optimizer>, Failure> {
        let coordinates = space.coordinates();
        Ok(match self {
            Optimizer::CmaEs { population, sigma } => {
                let default = CmaSettings::new(coordinates);
                let population = population.unwrap_or(default.population);
                Box::new(CmaEs::new(CmaSettings { population, sigma: *sigma, ..default }, stream)?)
            }
            Optimizer::Random { population } => {
                let population = population.unwrap_or_else(|| default_population(coordinates.len()));
                Box::new(RandomSearch::new(coordinates, population, stream)?)
            }
        })
    }

    /// The method's name, which the journal gives as the origin of its candidates.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Optimizer::CmaEs { .. } => "cma_es",
            Optimizer::Random { .. } => "random_search",
        }
    }
}

impl Object for Optimizer {
    fn kind(&self) -> &'static str {
        "Optimizer"
    }

    fn show(&self) -> Const {
        Const::Text(self.name().into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

crate::bind::node!(Optimizer, "Optimizer");

impl From<OptimError> for Failure {
    fn from(error: OptimError) -> Failure {
        Failure::new("R0514", error.to_string()).help("change the optimizer's arguments, or the ranges of the genome")
    }
}
