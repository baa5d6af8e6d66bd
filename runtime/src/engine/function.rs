//! Functions of the host that programs call.

use std::fmt;
use std::sync::Arc;

use crate::datum::Datum;

/// What a host function does: arguments in, an answer out, or why there is none.
type Call = dyn Fn(&[Datum]) -> Result<Datum, String> + Send + Sync;

/// A function of the host that a program declares by `extern fn`, bound by
/// [`EngineBuilder::function`](super::EngineBuilder::function). Arguments and answer are plain values of the declared types.
///
/// ```
/// use evo::datum::Datum;
/// use evo::engine::{Engine, HostFunction, RunOptions, Settings};
///
/// # fn main() -> Result<(), evo::engine::Failure> {
/// # let folder = std::env::temp_dir().join(format!("evo-host-function-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).expect("a folder");
/// let twice = HostFunction::pure("twice", "1", |args| match args {
///     [Datum::Real(x)] => Ok(Datum::Real(2.0 * x)),
///     other => Err(format!("one real is wanted, not {other:?}")),
/// });
/// let engine = Engine::builder().cwd(&folder).function(twice).build();
/// let program = engine.load_text("host.evo", "extern fn twice(x: real) -> real\nprint twice(1.5)");
/// let outcome = program.plan(&Settings::new())?.start(RunOptions::default())?.wait();
/// assert_eq!(outcome.exit_code(), 0);
/// # std::fs::remove_dir_all(&folder).expect("gone");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HostFunction {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) is_pure: bool,
    pub(crate) call: Arc<Call>,
}

impl HostFunction {
    /// A function that gives the same for the same arguments, always: what is computed from its answers is shared across
    /// runs. `version` enters the identity of its answers; change it with the function. It is called from several
    /// threads, and again wherever its answer is needed.
    pub fn pure<E: fmt::Display>(
        name: impl Into<String>,
        version: impl Into<String>,
        call: impl Fn(&[Datum]) -> Result<Datum, E> + Send + Sync + 'static,
    ) -> HostFunction {
        HostFunction::new(name.into(), version.into(), true, call)
    }

    /// A function that asks the world outside or has effects there: called once a run for each list of arguments, its
    /// answer journaled and replayed when the run is resumed. Nothing computed from it is shared across runs.
    pub fn with_effects<E: fmt::Display>(
        name: impl Into<String>,
        version: impl Into<String>,
        call: impl Fn(&[Datum]) -> Result<Datum, E> + Send + Sync + 'static,
    ) -> HostFunction {
        HostFunction::new(name.into(), version.into(), false, call)
    }

    fn new<E: fmt::Display>(
        name: String,
        version: String,
        is_pure: bool,
        call: impl Fn(&[Datum]) -> Result<Datum, E> + Send + Sync + 'static,
    ) -> HostFunction {
        let call = Arc::new(move |args: &[Datum]| call(args).map_err(|error| error.to_string()));
        HostFunction { name, version, is_pure, call }
    }
}

impl fmt::Debug for HostFunction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostFunction { name, version, is_pure, call: _ } = self;
        let mut shown = out.debug_struct("HostFunction");
        shown.field("name", name).field("version", version).field("is_pure", is_pure).finish_non_exhaustive()
    }
}
