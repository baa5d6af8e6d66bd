//! A transformer whose weights are trained, adapted, or left as they are.

use std::sync::{Arc, OnceLock};

use crate::decode::{Config, Slot, Weights};
use crate::matmul::gemm::{View, gemm};
use crate::matmul::{Matrix, Storage, parallel};
use crate::vector;
use crate::vector::slopes;

use super::Workspace;

/// What a parameter is of the weight whose place it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The weight itself.
    Weight,
    /// The factor next to the input of a low-rank difference, rank × inputs (Hu et al., 2021).
    LowRankA,
    /// The factor next to the output, outputs × rank.
    LowRankB,
    /// The length of each of the weight's rows (Liu et al., 2024, "DoRA").
    Magnitude,
    /// What each singular value is multiplied by (Sun et al., 2025).
    SingularScale,
}

/// Something that is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The weight that it is, or belongs to.
    pub slot: Slot,
    /// What it is of that weight.
    pub role: Role,
    /// Rows of a matrix; elements of a vector.
    pub rows: usize,
    /// Columns; 1 for a vector.
    pub cols: usize,
    /// Row after row.
    pub values: Vec<f32>,
}

/// The derivatives of a loss by each parameter, in their order, each row after row.
pub type Gradients = Vec<Vec<f32>>;

/// What a matrix of a network begins as; its shape is outputs × inputs.
#[derive(Debug)]
pub enum Start {
    /// Trained, from these values, row after row.
    Trained(Vec<f32>),
    /// Left as it is.
    Frozen(Arc<Matrix>),
    /// `W + scale · B · A`, of which `A` and `B` are trained.
    LowRank {
        /// `W`.
        base: Arc<Matrix>,
        /// `A`, rank × inputs.
        a: Vec<f32>,
        /// `B`, outputs × rank.
        b: Vec<f32>,
        /// What the difference is multiplied by: α / rank.
        scale: f32,
        /// The lengths of the rows, if they are trained by themselves: the sum's rows are brought to these. The lengths that they
        /// are divided by pass no gradient, as the paper proposes.
        magnitude: Option<Vec<f32>>,
    },
    /// `U · diag(s · z) · Vᵀ`, of which `z` is trained, from ones.
    Singular(Arc<Frame>),
}

/// A matrix by its singular values, with `rank` of them.
#[derive(Debug)]
pub struct Frame {
    /// Left singular vectors: outputs × rank.
    pub u: Vec<f32>,
    /// Singular values.
    pub s: Vec<f32>,
    /// Right singular vectors: rank × inputs.
    pub vt: Vec<f32>,
}

/// What a vector of a network begins as.
#[derive(Debug)]
pub enum StartVector {
    /// Trained, from these values.
    Trained(Vec<f32>),
    /// Left as it is.
    Frozen(Arc<[f32]>),
}

/// A matrix as it is used.
pub(super) enum Weight {
    Trained(usize),
    Frozen(Frozen),
    LowRank { base: Frozen, a: usize, b: usize, scale: f32, magnitude: Option<usize> },
    Singular { frame: Arc<Frame>, z: usize, current: OnceLock<Vec<f32>> },
}

/// A matrix that no training changes, packed for either direction.
pub(super) struct Frozen {
    pub(super) forward: Arc<Matrix>,
    reverse: OnceLock<Matrix>,
}

/// A vector as it is used.
pub(super) enum VectorWeight {
    Trained(usize),
    Frozen(Arc<[f32]>),
}

/// A transformer being trained. Its [`Parameter`]s are in the order of a pass; a tied head is the embedding.
pub struct Network {
    pub(super) config: Config,
    /// For each weight its index among the matrices, or the vectors.
    pub(super) tree: Weights<usize, usize>,
    matrices: Vec<(Slot, Weight)>,
    vectors: Vec<VectorWeight>,
    parameters: Vec<Parameter>,
    pub(super) rounded: bool,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Network({} parameters)", self.parameters.iter().map(|p| p.values.len()).sum::<usize>())
    }
}

impl Network {
    /// A network of this configuration. `matrix` and `vector` say what each weight begins as; of a tied head they are not asked.
    ///
    /// # Errors
    /// The first error of either.
    ///
    /// # Panics
    /// If the values of a weight do not have its shape.
    pub fn new<E>(
        config: Config,
        mut matrix: impl FnMut(&Slot) -> Result<Start, E>,
        mut vector: impl FnMut(&Slot) -> Result<StartVector, E>,
    ) -> Result<Self, E> {
        let (mut matrices, mut vectors): (Vec<(Slot, Weight)>, Vec<VectorWeight>) = (Vec::new(), Vec::new());
        let parameters = std::cell::RefCell::new(Vec::new());
        let add = |slot: &Slot, role, rows: usize, values: Vec<f32>| {
            let cols = values.len().checked_div(rows).unwrap_or(0);
            assert_eq!(values.len(), rows * cols, "the values of a parameter make whole rows");
            let mut parameters = parameters.borrow_mut();
            parameters.push(Parameter { slot: *slot, role, rows, cols, values });
            parameters.len() - 1
        };
        let tree = config.slots().try_map(
            |slot| {
                // The slot of a tied head is the embedding's.
                if let Some(known) = matrices.iter().position(|(known, _)| known == slot) {
                    return Ok(known);
                }
                let weight = weight_of(slot, matrix(slot)?, &add);
                matrices.push((*slot, weight));
                Ok(matrices.len() - 1)
            },
            |slot| {
                vectors.push(match vector(slot)? {
                    StartVector::Trained(values) => {
                        assert_eq!(values.len(), slot.rows, "a vector has its length");
                        VectorWeight::Trained(add(slot, Role::Weight, slot.rows, values))
                    }
                    StartVector::Frozen(values) => {
                        assert_eq!(values.len(), slot.rows, "a vector has its length");
                        VectorWeight::Frozen(values)
                    }
                });
                Ok(vectors.len() - 1)
            },
        )?;
        Ok(Self { config, tree, matrices, vectors, parameters: parameters.into_inner(), rounded: false })
    }

    /// With trained matrices rounded to bf16 wherever they are multiplied; the parameters stay in f32 (master weights; Micikevicius et
    /// al., 2018).
    #[must_use]
    pub fn rounded(self, rounded: bool) -> Self {
        Self { rounded, ..self }
    }

    /// Which transformer it is.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is trained.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// What is trained, to be changed.
    pub fn parameters_mut(&mut self) -> &mut [Parameter] {
        for (_, weight) in &mut self.matrices {
            if let Weight::Singular { current, .. } = weight {
                *current = OnceLock::new();
            }
        }
        &mut self.parameters
    }

    /// A zero for each value of each parameter.
    pub fn gradients(&self) -> Gradients {
        self.parameters.iter().map(|parameter| vec![0.0; parameter.values.len()]).collect()
    }

    /// The same, moved out where it is a parameter of its own: what is left is a network without it.
    pub fn take_weight(&mut self, ws: &Workspace, slot: &Slot) -> Option<Vec<f32>> {
        let own = |p: &&mut Parameter| p.slot == *slot && p.role == Role::Weight;
        let rounds = self.rounded;
        match self.parameters.iter_mut().find(own) {
            Some(parameter) if !rounds && !parameter.values.is_empty() => Some(std::mem::take(&mut parameter.values)),
            _ => self.weight(ws, slot),
        }
    }

    /// The weight at this place as it is multiplied now, row after row; `None` if it is not trained, or there is none.
    pub fn weight(&self, ws: &Workspace, slot: &Slot) -> Option<Vec<f32>> {
        let own = |p: &&Parameter| p.slot == *slot && p.role == Role::Weight;
        if let Some(parameter) = self.parameters.iter().find(own) {
            let round = |x: &f32| half::bf16::from_f32(*x).to_f32();
            let rounds = self.rounded && self.matrices.iter().any(|(known, _)| known == slot);
            let values = &parameter.values;
            return Some(if rounds { values.iter().map(round).collect() } else { values.clone() });
        }
        let index = self.matrices.iter().position(|(known, _)| known == slot)?;
        match &self.matrices[index].1 {
            Weight::Trained(_) | Weight::Frozen(_) => None,
            Weight::Singular { .. } => Some(self.composed(ws, index).to_vec()),
            Weight::LowRank { base, a, b, scale, magnitude } => {
                let (rows, cols) = (slot.rows, slot.cols);
                let mut out = vec![0.0; rows * cols];
                parallel::rows(ws.threads(), &mut out, cols, |i, row| {
                    self.adapted_row(base, (*a, *b), *scale, i, row);
                    if let Some(magnitude) = magnitude {
                        let length = slopes::dot(row, row).sqrt();
                        slopes::scale(row, self.values(*magnitude)[i] / length);
                    }
                });
                Some(out)
            }
        }
    }

    /// Row `i` of `W + scale · B · A`.
    pub(super) fn adapted_row(&self, base: &Frozen, (a, b): (usize, usize), scale: f32, i: usize, row: &mut [f32]) {
        let rank = self.parameters[a].rows;
        base.forward.row(i, row);
        let factors = &self.values(b)[i * rank..][..rank];
        for (factor, line) in factors.iter().zip(self.values(a).chunks_exact(row.len())) {
            vector::add_scaled(row, line, factor * scale);
        }
    }

    pub(super) fn matrix(&self, index: usize) -> (&Slot, &Weight) {
        let (slot, weight) = &self.matrices[index];
        (slot, weight)
    }

    /// The parameter's values.
    pub(super) fn values(&self, parameter: usize) -> &[f32] {
        &self.parameters[parameter].values
    }

    /// A vector's values, and its parameter if it is trained.
    pub(super) fn vector(&self, index: usize) -> (&[f32], Option<usize>) {
        match &self.vectors[index] {
            VectorWeight::Trained(parameter) => (self.values(*parameter), Some(*parameter)),
            VectorWeight::Frozen(values) => (values, None),
        }
    }

    /// The matrix `U · diag(s · z) · Vᵀ`.
    pub(super) fn composed<'a>(&'a self, ws: &Workspace, index: usize) -> &'a [f32] {
        let (slot, Weight::Singular { frame, z, current }) = self.matrix(index) else { return &[] };
        current.get_or_init(|| {
            let rank = frame.s.len();
            let factors: Vec<f32> = frame.s.iter().zip(self.values(*z)).map(|(s, z)| s * z).collect();
            let scaled: Vec<f32> = frame
                .u
                .chunks_exact(rank.max(1))
                .flat_map(|row| row.iter().zip(&factors).map(|(u, f)| u * f))
                .collect();
            let mut out = vec![0.0; slot.rows * slot.cols];
            gemm(ws.how(false), View::new(&scaled, rank), View::new(&frame.vt, slot.cols).turned(), &mut out, false);
            out
        })
    }
}

/// A matrix as it is used. `add(slot, role, rows, values)` makes a parameter.
fn weight_of(slot: &Slot, start: Start, add: &impl Fn(&Slot, Role, usize, Vec<f32>) -> usize) -> Weight {
    let shape = (slot.rows, slot.cols);
    match start {
        Start::Trained(values) => {
            assert_eq!(values.len(), shape.0 * shape.1, "a weight has its shape");
            Weight::Trained(add(slot, Role::Weight, slot.rows, values))
        }
        Start::Frozen(matrix) => Weight::Frozen(Frozen::new(matrix, shape)),
        Start::LowRank { base, a, b, scale, magnitude } => {
            let rank = a.len() / slot.cols.max(1);
            assert_eq!((a.len(), b.len()), (rank * slot.cols, slot.rows * rank), "factors have their shapes");
            let a = add(slot, Role::LowRankA, rank, a);
            let b = add(slot, Role::LowRankB, slot.rows, b);
            let magnitude = magnitude.map(|lengths| {
                assert_eq!(lengths.len(), slot.rows, "a length for each row");
                add(slot, Role::Magnitude, slot.rows, lengths)
            });
            Weight::LowRank { base: Frozen::new(base, shape), a, b, scale, magnitude }
        }
        Start::Singular(frame) => {
            let rank = frame.s.len();
            let fits = (frame.u.len(), frame.vt.len()) == (slot.rows * rank, rank * slot.cols);
            assert!(fits, "singular vectors have their shapes");
            let z = add(slot, Role::SingularScale, rank, vec![1.0; rank]);
            Weight::Singular { frame, z, current: OnceLock::new() }
        }
    }
}

impl Frozen {
    fn new(forward: Arc<Matrix>, shape: (usize, usize)) -> Self {
        assert_eq!((forward.rows(), forward.cols()), shape, "a weight has its shape");
        Self { forward, reverse: OnceLock::new() }
    }

    /// The transpose, made when it is first asked for, in bf16 if the matrix is, else in f32.
    pub(super) fn reverse(&self, threads: usize) -> &Matrix {
        self.reverse.get_or_init(|| {
            let (rows, cols) = (self.forward.rows(), self.forward.cols());
            let mut plain = vec![0.0; rows * cols];
            parallel::rows(threads, &mut plain, cols, |i, row| self.forward.row(i, row));
            let column = |j: usize| plain.iter().skip(j).step_by(cols.max(1));
            if self.forward.storage() == Storage::Bf16 {
                return Matrix::pack_halves(cols, rows, false, threads, |some, out| {
                    for (j, out) in some.zip(out.chunks_exact_mut(rows)) {
                        out.iter_mut().zip(column(j)).for_each(|(out, x)| *out = (x.to_bits() >> 16) as u16);
                    }
                });
            }
            Matrix::pack(cols, rows, threads, |some, out| {
                for (j, out) in some.zip(out.chunks_exact_mut(rows)) {
                    out.iter_mut().zip(column(j)).for_each(|(out, x)| *out = *x);
                }
            })
        })
    }
}
