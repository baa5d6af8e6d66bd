//! What models with equal lower layers share: the residual stream of texts above these layers.
//!
//! Candidates of a search are often one model up to some layer: paths through layers that begin alike, merges whose weight is 1
//! below, changes of upper layers alone. Asked the same texts, they compute the same rows up to there, to the bit, so one of them
//! can leave these rows for the others, which then need neither the lower layers nor their keys and values.
//!
//! Whether layers are equal is told by identity: a matrix is the very same in memory (a `Weak` pointer holds its place, so that no
//! other can be mistaken for it), a vector has the same bits. Rows are left where a model parts from one that was asked the same
//! texts before, since others may part there too.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use super::likelihood::Texts;
use super::{Config, Decoder, LayerConfig, Weights};
use crate::matmul::{Matrix, Units};

/// Models that are remembered, to see where others part from them.
const SEEN: usize = 32;

/// Rows of the residual stream that models with equal lower layers share, up to a bound on their memory: those that were not asked
/// for the longest make room for others. Which rows there are changes the time that is taken, and nothing else.
#[derive(Debug)]
pub struct Residuals {
    limit: usize,
    /// Of all rows that live, and those for which room is held.
    bytes: Arc<AtomicUsize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Those that were asked for last come last.
    kept: Vec<Arc<Kept>>,
    seen: VecDeque<(Weak<Texts>, Trunk)>,
}

/// A matrix's identity.
#[derive(Clone, Debug)]
struct Same(Weak<Matrix>);

impl PartialEq for Same {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

/// The embeddings and lowest layers of a model: what its rows depend on up to there.
#[derive(Clone, Debug)]
struct Trunk {
    units: Units,
    /// Without its layers.
    config: Config,
    layers: Vec<LayerConfig>,
    /// With hashes of vectors, and without what comes after the layers.
    weights: Weights<Same, blake3::Hash>,
}

impl Trunk {
    fn of(decoder: &Decoder) -> Self {
        let hash = |values: &Arc<[f32]>| blake3::hash(bytemuck::cast_slice(values));
        let mut weights = decoder.weights().map(|matrix| Same(Arc::downgrade(matrix)), hash);
        (weights.head, weights.norm) = (weights.embedding.clone(), None);
        let mut config = decoder.config().clone();
        let layers = std::mem::take(&mut config.layers);
        Self { units: decoder.units(), config, layers, weights }
    }

    /// How many layers both begin with alike; none if anything differs that all of them depend on.
    fn common(&self, other: &Self) -> usize {
        let (a, b) = (&self.weights, &other.weights);
        let embedded = self.units == other.units
            && a.embedding == b.embedding
            && a.positions == b.positions
            && a.token_type == b.token_type;
        if !embedded || a.embedding_norm != b.embedding_norm || self.config != other.config {
            return 0;
        }
        let configs = self.layers.iter().zip(&other.layers);
        let layers = a.layers.iter().zip(&b.layers).zip(configs);
        layers.take_while(|((a, b), (x, y))| a == b && x == y).count()
    }

    fn cut(&self, depth: usize) -> Self {
        let mut cut = self.clone();
        cut.layers.truncate(depth);
        cut.weights.layers.truncate(depth);
        cut
    }

    fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Whether a model can still have these very matrices.
    fn lives(&self) -> bool {
        let mut lives = true;
        self.weights.map(|matrix| lives &= matrix.0.strong_count() > 0, |_| ());
        lives
    }
}

/// The rows of some texts after some layers, pass by pass, while they are made and after.
#[derive(Debug)]
struct Kept {
    texts: Weak<Texts>,
    trunk: Trunk,
    passes: Mutex<Passes>,
    /// Told of each pass.
    more: Condvar,
    size: usize,
    bytes: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Passes {
    rows: Vec<Arc<Vec<f32>>>,
    /// Whether no more will come: all are there, or they were given up.
    ended: bool,
    whole: bool,
}

impl Kept {
    fn passes(&self) -> MutexGuard<'_, Passes> {
        self.passes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_of_use(&self) -> bool {
        let passes = self.passes();
        (passes.whole || !passes.ended) && self.texts.strong_count() > 0 && self.trunk.lives()
    }

    /// The rows of a pass, once they are there; `None` if they were given up.
    fn wait(&self, pass: usize) -> Option<Arc<Vec<f32>>> {
        let mut passes = self.passes();
        while passes.rows.len() <= pass && !passes.ended {
            passes = self.more.wait(passes).unwrap_or_else(PoisonError::into_inner);
        }
        passes.rows.get(pass).cloned()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.size, Ordering::AcqRel);
    }
}

/// Rows that are being made. They are given up unless it is said that all are there.
struct Making(Arc<Kept>);

impl Drop for Making {
    fn drop(&mut self) {
        self.0.passes().ended = true;
        self.0.more.notify_all();
    }
}

/// What one model's run over texts takes from others and leaves to others.
#[derive(Default)]
pub(super) struct Share {
    from: Option<Arc<Kept>>,
    making: Option<Making>,
    /// Passes so far.
    pass: usize,
}

/// The rows to begin with were given up by whoever made them.
pub(super) struct GivenUp;

impl Share {
    /// The layer that passes begin with.
    pub(super) fn first_layer(&self) -> usize {
        self.from.as_ref().map_or(0, |kept| kept.trunk.depth())
    }

    /// After how many layers rows are to be left.
    pub(super) fn leaves(&self) -> Option<usize> {
        self.making.as_ref().map(|making| making.0.trunk.depth())
    }

    /// The rows that the next pass begins with, if it does not begin with the embeddings.
    pub(super) fn rows(&self) -> Result<Option<Arc<Vec<f32>>>, GivenUp> {
        self.from.as_ref().map(|kept| kept.wait(self.pass).ok_or(GivenUp)).transpose()
    }

    /// Takes note of a pass and of the rows that it left.
    pub(super) fn next(&mut self, left: Vec<f32>) {
        self.pass += 1;
        if let Some(Making(kept)) = &self.making {
            kept.passes().rows.push(Arc::new(left));
            kept.more.notify_all();
        }
    }

    /// All passes were run.
    pub(super) fn finish(self) {
        if let Some(Making(kept)) = &self.making {
            kept.passes().whole = true;
        }
    }
}

impl Residuals {
    /// Rows of at most so many bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: Arc::default(), state: Mutex::default() }
    }

    /// Bytes of the rows that are kept or under way.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// What a model can take from others before it, and is to leave for others after it.
    pub(super) fn begin(&self, decoder: &Decoder, texts: &Arc<Texts>) -> Share {
        let trunk = Trunk::of(decoder);
        let own = Arc::downgrade(texts);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.kept.retain(|kept| kept.is_of_use());
        state.seen.retain(|(texts, _)| texts.strong_count() > 0);
        let fits = |kept: &Kept| kept.texts.ptr_eq(&own) && kept.trunk.common(&trunk) == kept.trunk.depth();
        let places = (0..state.kept.len()).filter(|&i| fits(&state.kept[i]));
        let from = places.max_by_key(|&i| state.kept[i].trunk.depth()).map(|i| state.kept.remove(i));
        state.kept.extend(from.clone());
        let seen = state.seen.iter().filter(|(texts, _)| texts.ptr_eq(&own));
        let parted = seen.map(|(_, other)| other.common(&trunk)).max().unwrap_or(0);
        let deeper = parted > from.as_ref().map_or(0, |kept| kept.trunk.depth());
        let size = texts.rows() * decoder.config().hidden_size * size_of::<f32>();
        let making = (deeper && self.hold(&mut state, size)).then(|| {
            let (trunk, bytes) = (trunk.cut(parted), Arc::clone(&self.bytes));
            let (passes, more) = (Mutex::default(), Condvar::new());
            let kept = Arc::new(Kept { texts: own.clone(), trunk, passes, more, size, bytes });
            state.kept.push(Arc::clone(&kept));
            Making(kept)
        });
        state.seen.push_back((own, trunk));
        if state.seen.len() > SEEN {
            state.seen.pop_front();
        }
        Share { from, making, pass: 0 }
    }

    /// Holds room, if there is as much, or will be when rows are given up that no one is using.
    fn hold(&self, state: &mut State, size: usize) -> bool {
        let idle = |state: &State| state.kept.iter().position(|kept| Arc::strong_count(kept) == 1);
        while size <= self.limit && self.bytes() > self.limit - size {
            let Some(i) = idle(state) else { return false };
            state.kept.remove(i);
        }
        if size <= self.limit {
            self.bytes.fetch_add(size, Ordering::AcqRel);
        }
        size <= self.limit
    }
}
