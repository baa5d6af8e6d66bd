//! Devices by name, and the same transformer through candle's tensor operations for those that our kernels do not run on.
//!
//! It takes a [`super::Config`] and the weights of a [`super::Decoder`], and gives what [`super::Decoder::hidden`] and
//! [`super::Decoder::logits`] give, in f32: generation, likelihoods and embeddings are those of the CPU, on top of it. Results
//! agree with the CPU's up to rounding, not to the bit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use candle_core::{D, Result, Tensor};

use super::{
    Activation, Cache, Config, DecodeError, Entry, FeedForward, Layer, Linear, Mlp, Norm, NormKind, NormWeights,
};
use super::{Decoder, Order, Weights};
use crate::matmul::Matrix;
use crate::matmul::Units;
use crate::vector;

/// Why a device cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// There is no device of this name.
    #[error("`{name}` is no device")]
    Unknown {
        /// The name.
        name: String,
    },
    /// This build leaves it out.
    #[error("this evo is built without `{name}`")]
    NotBuilt {
        /// The device, and the cargo feature.
        name: &'static str,
    },
    /// This machine has none.
    #[error("this machine has no `{name}`: {needs}")]
    Missing {
        /// The device.
        name: &'static str,
        /// What it is.
        needs: &'static str,
    },
    /// It does not answer.
    #[error("the device `{name}` cannot be used: {reason}")]
    Refused {
        /// The device.
        name: &'static str,
        /// What its driver says.
        reason: String,
    },
}

type Kept = BTreeMap<usize, (Weak<Matrix>, Tensor)>;

/// The names of all devices; the first is the one that every machine has.
pub const DEVICES: [&str; 4] = ["cpu", AMX, "cuda", "metal"];

const AMX: &str = "amx";

/// A device beside the vector instructions of the CPU. Cloning shares it and the weights that lie on it.
#[derive(Clone, Debug)]
pub struct Device(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// The CPU's matrix tiles: our own kernels, see [`Units::Tiles`].
    Tiles,
    /// What candle computes on.
    Candle(Candle),
}

/// A device that candle computes on.
#[derive(Clone, Debug)]
struct Candle {
    name: &'static str,
    device: candle_core::Device,
    /// What lies on the device, by the address of the matrix that it was made of, for as long as that lives.
    kept: Arc<Mutex<Kept>>,
}

impl Device {
    /// The device of this name, the first of its kind on the machine; `None` for `cpu`, the vector instructions of our own kernels.
    ///
    /// # Errors
    /// A name that is none of [`DEVICES`], a device that the machine lacks or that is not built in (cargo features `cuda` and
    /// `metal`), or one that does not answer.
    pub fn open(name: &str) -> std::result::Result<Option<Self>, DeviceError> {
        Self::check(name)?;
        let (name, opened) = match name {
            "cuda" => ("cuda", candle_core::Device::new_cuda(0)),
            "metal" => ("metal", candle_core::Device::new_metal(0)),
            AMX => return Ok(Some(Self(Kind::Tiles))),
            _ => return Ok(None),
        };
        match opened {
            Ok(device) => Ok(Some(Self(Kind::Candle(Candle::new(name, device))))),
            Err(error) => Err(DeviceError::Refused { name, reason: error.to_string() }),
        }
    }

    /// Whether a device of this name is known and built in; whether it answers, [`Device::open`] finds out.
    ///
    /// # Errors
    /// [`DeviceError::Unknown`], [`DeviceError::NotBuilt`].
    pub fn check(name: &str) -> std::result::Result<(), DeviceError> {
        match name {
            "cpu" => Ok(()),
            AMX if Units::Tiles.available() => Ok(()),
            AMX => {
                Err(DeviceError::Missing { name: AMX, needs: "the matrix tiles of newer Intel processors, on Linux" })
            }
            "cuda" if candle_core::utils::cuda_is_available() => Ok(()),
            "metal" if candle_core::utils::metal_is_available() => Ok(()),
            "cuda" => Err(DeviceError::NotBuilt { name: "cuda" }),
            "metal" => Err(DeviceError::NotBuilt { name: "metal" }),
            other => Err(DeviceError::Unknown { name: other.into() }),
        }
    }

    /// The fastest that our own kernels have on this machine: tiles, if there are any, else `None`, the vectors.
    pub fn best() -> Option<Self> {
        Units::Tiles.available().then_some(Self(Kind::Tiles))
    }

    /// The CPU by candle's operations instead of our kernels: what other devices compute can be checked without having one.
    pub fn reference() -> Self {
        Self(Kind::Candle(Candle::new("candle on the CPU", candle_core::Device::Cpu)))
    }

    /// The device's name.
    pub fn name(&self) -> &'static str {
        match &self.0 {
            Kind::Tiles => AMX,
            Kind::Candle(candle) => candle.name,
        }
    }

    /// What our own kernels compute products on where this is the device: candle's devices have none of these.
    pub fn units(&self) -> Units {
        match &self.0 {
            Kind::Tiles => Units::Tiles,
            Kind::Candle(_) => Units::Vectors,
        }
    }

    /// The decoder on this device.
    pub(super) fn bring(&self, decoder: Decoder) -> std::result::Result<Decoder, DecodeError> {
        match &self.0 {
            Kind::Tiles => Ok(decoder.with(Units::Tiles)),
            Kind::Candle(candle) => {
                let moved = OnDevice::new(candle, decoder.weights())?;
                Ok(decoder.computed_by(moved))
            }
        }
    }
}

impl Candle {
    fn new(name: &'static str, device: candle_core::Device) -> Self {
        Self { name, device, kept: Arc::default() }
    }

    /// A matrix on the device; models that share one share it there too.
    fn matrix(&self, matrix: &Arc<Matrix>) -> Result<Tensor> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let address = Arc::as_ptr(matrix) as usize;
        if let Some((of, tensor)) = kept.get(&address)
            && of.strong_count() > 0
        {
            return Ok(tensor.clone());
        }
        kept.retain(|_, (of, _)| of.strong_count() > 0);
        let (rows, cols) = (matrix.rows(), matrix.cols());
        let mut values = vec![0.0; rows * cols];
        values.chunks_exact_mut(cols.max(1)).enumerate().for_each(|(i, row)| matrix.row(i, row));
        let tensor = self.tensor(values, (rows, cols))?;
        kept.insert(address, (Arc::downgrade(matrix), tensor.clone()));
        Ok(tensor)
    }

    fn failed(&self, error: &candle_core::Error) -> DecodeError {
        DecodeError::Device { name: self.name, reason: error.to_string() }
    }

    fn tensor(&self, values: Vec<f32>, shape: impl candle_core::shape::ShapeWithOneHole) -> Result<Tensor> {
        Tensor::from_vec(values, shape, &self.device)
    }
}

/// A transformer's weights on a device.
#[derive(Clone, Debug)]
pub(super) struct OnDevice {
    device: Candle,
    weights: Weights<Tensor, Tensor>,
}

/// The keys and values of one layer that a sequence has seen, `[key head][position][dimension]`.
pub(super) type Seen = (Tensor, Tensor);

impl OnDevice {
    fn new(device: &Candle, weights: &Weights) -> std::result::Result<Self, DecodeError> {
        let vector = |values: &Arc<[f32]>| device.tensor(values.to_vec(), ((),));
        let weights = weights.try_map(|matrix| device.matrix(matrix), vector).map_err(|e| device.failed(&e))?;
        Ok(Self { device: device.clone(), weights })
    }

    /// As [`super::Decoder::hidden`], of a batch that was checked.
    pub(super) fn hidden(
        &self,
        config: &Config,
        batch: &mut [Entry<'_>],
    ) -> std::result::Result<Vec<f32>, DecodeError> {
        self.rows(config, batch).map_err(|e| self.device.failed(&e))
    }

    /// As [`super::Decoder::logits`].
    pub(super) fn logits(&self, config: &Config, hidden: &[f32]) -> std::result::Result<Vec<f32>, DecodeError> {
        self.head(config, hidden).map_err(|e| self.device.failed(&e))
    }

    fn rows(&self, config: &Config, batch: &mut [Entry<'_>]) -> Result<Vec<f32>> {
        let pass = Pass { config, on: self };
        let mut x = pass.embed(batch)?;
        for (index, layer) in self.weights.layers.iter().enumerate() {
            x = pass.block(index, layer, x, batch)?;
        }
        let (mut wanted, mut end) = (Vec::new(), 0);
        for entry in batch.iter() {
            end += entry.tokens.len();
            wanted.extend((end - entry.wanted.min(entry.tokens.len())..end).map(|row| row as u32));
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let rows = x.index_select(&self.ids(wanted)?, 0)?;
        let rows = pass.maybe_norm(rows, self.weights.norm.as_ref())?;
        rows.flatten_all()?.to_vec1()
    }

    fn head(&self, config: &Config, hidden: &[f32]) -> Result<Vec<f32>> {
        let rows = hidden.len() / config.hidden_size;
        if rows == 0 {
            return Ok(Vec::new());
        }
        let hidden = self.device.tensor(hidden.to_vec(), (rows, config.hidden_size))?;
        let logits = hidden.matmul(&self.weights.head.t()?)?;
        soft_cap(logits, config.logit_cap)?.flatten_all()?.to_vec1()
    }

    fn ids(&self, ids: Vec<u32>) -> Result<Tensor> {
        let count = ids.len();
        Tensor::from_vec(ids, count, &self.device.device)
    }
}

/// One pass over a batch: a row of the residual stream for each token, block by block.
struct Pass<'a> {
    config: &'a Config,
    on: &'a OnDevice,
}

impl Pass<'_> {
    fn embed(&self, batch: &[Entry<'_>]) -> Result<Tensor> {
        let weights = &self.on.weights;
        let ids: Vec<u32> = batch.iter().flat_map(|entry| entry.tokens).copied().collect();
        let mut x = weights.embedding.index_select(&self.on.ids(ids)?, 0)?;
        if self.config.embedding_scale != 1.0 {
            x = (x * f64::from(self.config.embedding_scale))?;
        }
        if let Some(kind) = &weights.token_type {
            x = x.broadcast_add(kind)?;
        }
        if let Some(learned) = &weights.positions {
            let positions = positions(batch).map(|position| position as u32).collect();
            x = (x + learned.index_select(&self.on.ids(positions)?, 0)?)?;
        }
        self.maybe_norm(x, weights.embedding_norm.as_ref())
    }

    fn block(&self, index: usize, layer: &Layer<Tensor, Tensor>, x: Tensor, batch: &mut [Entry<'_>]) -> Result<Tensor> {
        let before = self.maybe_norm(x.clone(), layer.attention_norm.as_ref())?;
        let mixed = self.attention(index, layer, &before, batch)?;
        match self.config.order {
            Order::Before | Order::Around => {
                let x = (x + self.maybe_norm(mixed, layer.attention_out_norm.as_ref())?)?;
                let before = self.maybe_norm(x.clone(), layer.mlp_norm.as_ref())?;
                let made = self.feed_forward(layer, &before)?;
                x + self.maybe_norm(made, layer.mlp_out_norm.as_ref())?
            }
            Order::Parallel => (x + mixed)? + self.feed_forward(layer, &before)?,
            Order::After => {
                let x = self.maybe_norm((x + mixed)?, layer.attention_out_norm.as_ref())?;
                let made = self.feed_forward(layer, &x)?;
                self.maybe_norm((x + made)?, layer.mlp_out_norm.as_ref())
            }
        }
    }

    fn attention(
        &self,
        index: usize,
        layer: &Layer<Tensor, Tensor>,
        h: &Tensor,
        batch: &mut [Entry<'_>],
    ) -> Result<Tensor> {
        let (rows, config) = (h.dim(0)?, self.config);
        let heads = |x: Tensor, count: usize| x.reshape((rows, count, config.head_dim));
        let mut q = self.maybe_norm(heads(linear(&layer.q, h)?, config.num_heads)?, layer.q_norm.as_ref())?;
        let mut k = self.maybe_norm(heads(linear(&layer.k, h)?, config.num_kv_heads)?, layer.k_norm.as_ref())?;
        let v = heads(linear(&layer.v, h)?, config.num_kv_heads)?;
        if config.layers[index].rope.is_some() {
            let (cos, sin) = self.angles(index, batch)?;
            q = rotate(&q, &cos, &sin)?;
            k = rotate(&k, &cos, &sin)?;
        }
        let (mut mixed, mut first) = (Vec::new(), 0);
        for entry in batch.iter_mut() {
            let count = entry.tokens.len();
            let own = |x: &Tensor| x.narrow(0, first, count)?.transpose(0, 1)?.contiguous();
            let (keys, values) = entry.cache.seen(index, own(&k)?, own(&v)?)?;
            mixed.push(self.look(index, &q.narrow(0, first, count)?, &keys, &values, entry.cache)?);
            first += count;
        }
        linear(&layer.o, &Tensor::cat(&mixed, 0)?)
    }

    /// The attention of one sequence's new tokens over all that it has seen: a row of all heads for each.
    fn look(&self, index: usize, q: &Tensor, keys: &Tensor, values: &Tensor, cache: &Cache) -> Result<Tensor> {
        let config = self.config;
        let (count, seen) = (q.dim(0)?, keys.dim(1)?);
        let (kv, group, width) = (config.num_kv_heads, config.num_heads / config.num_kv_heads, config.head_dim);
        let q = q.reshape((count, kv, group, width))?.permute((1, 2, 0, 3))?.contiguous()?;
        let q = q.reshape((kv, group * count, width))?;
        let scores = (q.matmul(&keys.t()?)? * f64::from(config.attention_scale))?;
        let scores = soft_cap(scores, config.attention_cap)?.reshape((kv, group, count, seen))?;
        let scores = scores.broadcast_add(&self.mask(index, cache.len(), count, seen)?)?;
        let most = scores.max_keepdim(D::Minus1)?;
        let weights = scores.broadcast_sub(&most)?.exp()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        let mixed = weights.reshape((kv, group * count, seen))?.matmul(values)?;
        let mixed = mixed.reshape((kv, group, count, width))?.permute((2, 0, 1, 3))?.contiguous()?;
        mixed.reshape((count, config.query_size()))
    }

    /// 0 where a token sees a position, -∞ where it does not.
    fn mask(&self, index: usize, start: usize, count: usize, seen: usize) -> Result<Tensor> {
        let window = self.config.layers[index].window.unwrap_or(usize::MAX);
        let mut mask = vec![f32::NEG_INFINITY; count * seen];
        for (i, row) in mask.chunks_exact_mut(seen).enumerate() {
            let end = start + i + 1;
            row[end.saturating_sub(window)..if self.config.causal { end } else { seen }].fill(0.0);
        }
        self.on.device.tensor(mask, (count, seen))
    }

    /// Cosines and sines of each row's angles, `rows × 1 × width / 2`.
    fn angles(&self, index: usize, batch: &[Entry<'_>]) -> Result<(Tensor, Tensor)> {
        let Some(rope) = &self.config.layers[index].rope else { candle_core::bail!("a layer without rotation") };
        let (frequencies, amplitude) = (rope.frequencies(), rope.amplitude());
        let angles: Vec<f64> = positions(batch)
            .flat_map(|position| frequencies.iter().map(move |frequency| f64::from(position as f32 * frequency)))
            .collect();
        let of = |f: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().map(|&angle| (f(angle) * amplitude) as f32).collect();
            self.on.device.tensor(values, ((), 1, frequencies.len()))
        };
        Ok((of(libm::cos)?, of(libm::sin)?))
    }

    fn feed_forward(&self, layer: &Layer<Tensor, Tensor>, h: &Tensor) -> Result<Tensor> {
        match (&layer.router, self.config.mlp, layer.experts.as_slice()) {
            (Some(router), Mlp::Experts { chosen, .. }, experts) => self.mixture(router, experts, chosen, h),
            (_, _, [one]) => self.one_expert(one, h),
            _ => h.zeros_like(),
        }
    }

    fn one_expert(&self, expert: &FeedForward<Tensor, Tensor>, h: &Tensor) -> Result<Tensor> {
        let activate = |x: Tensor| match self.config.activation {
            Activation::Silu => x.silu(),
            Activation::Gelu => x.gelu_erf(),
            Activation::GeluTanh => x.gelu(),
            Activation::Relu => x.relu(),
        };
        let up = linear(&expert.up, h)?;
        let wide = match &expert.gate {
            Some(gate) => (activate(linear(gate, h)?)? * up)?,
            None => activate(up)?,
        };
        linear(&expert.down, &wide)
    }

    /// Each row through its chosen experts.
    fn mixture(
        &self,
        router: &Linear<Tensor, Tensor>,
        experts: &[FeedForward<Tensor, Tensor>],
        chosen: usize,
        h: &Tensor,
    ) -> Result<Tensor> {
        let mut scores: Vec<Vec<f32>> = linear(router, h)?.to_vec2()?;
        let shares: Vec<Vec<(usize, f32)>> = scores.iter_mut().map(|row| vector::shares(row, chosen)).collect();
        let mut out = h.zeros_like()?;
        for (index, expert) in experts.iter().enumerate() {
            let share = |row: &[(usize, f32)]| row.iter().find(|(e, _)| *e == index).map(|(_, share)| *share);
            let of = shares.iter().enumerate().filter_map(|(i, row)| Some((i as u32, share(row)?)));
            let (rows, shares): (Vec<u32>, Vec<f32>) = of.unzip();
            if !rows.is_empty() {
                let rows = self.on.ids(rows)?;
                let made = self.one_expert(expert, &h.index_select(&rows, 0)?)?;
                let shares = self.on.device.tensor(shares, ((), 1))?;
                out = out.index_add(&rows, &made.broadcast_mul(&shares)?, 0)?;
            }
        }
        Ok(out)
    }

    /// Norms rows (or heads) that are as wide as the weights.
    fn maybe_norm(&self, x: Tensor, weights: Option<&NormWeights<Tensor>>) -> Result<Tensor> {
        let Some(weights) = weights else { return Ok(x) };
        let Norm { kind, eps } = self.config.norm;
        let x = match kind {
            NormKind::Rms => x,
            NormKind::Layer => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
        };
        let spread = (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(eps))?.sqrt()?;
        let normed = x.broadcast_div(&spread)?.broadcast_mul(&weights.weight)?;
        match &weights.bias {
            Some(bias) => normed.broadcast_add(bias),
            None => Ok(normed),
        }
    }
}

/// The position of each row's token.
fn positions<'a>(batch: &'a [Entry<'_>]) -> impl Iterator<Item = usize> + 'a {
    batch.iter().flat_map(|entry| entry.cache.len()..entry.cache.len() + entry.tokens.len())
}

fn linear(linear: &Linear<Tensor, Tensor>, x: &Tensor) -> Result<Tensor> {
    let y = x.matmul(&linear.weight.t()?)?;
    match &linear.bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

fn soft_cap(x: Tensor, cap: Option<f32>) -> Result<Tensor> {
    let Some(cap) = cap.map(f64::from) else { return Ok(x) };
    (x / cap)?.tanh()? * cap
}

/// Turns the first elements of each head, halves against each other.
fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (half, width) = (cos.dim(D::Minus1)?, x.dim(D::Minus1)?);
    let (left, right) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let a = (left.broadcast_mul(cos)? - right.broadcast_mul(sin)?)?;
    let b = (right.broadcast_mul(cos)? + left.broadcast_mul(sin)?)?;
    match width - 2 * half {
        0 => Tensor::cat(&[a, b], D::Minus1),
        rest => Tensor::cat(&[a, b, x.narrow(D::Minus1, 2 * half, rest)?], D::Minus1),
    }
}
