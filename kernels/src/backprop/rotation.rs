//! Rotary position embedding (Su et al., 2021), forward and reverse.

use super::Workspace;
use crate::decode::{Config, Rope};
use crate::matmul::parallel;
use crate::vector;

/// Cosines and sines of each kind of rotation of a model, position by position.
pub(super) struct Rotations(Vec<Table>);

struct Table {
    rope: Rope,
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// The sines of turning back.
    back: Vec<f32>,
}

impl Rotations {
    /// Tables for positions `0..positions`.
    pub(super) fn new(config: &Config, positions: usize) -> Self {
        let mut tables: Vec<Table> = Vec::new();
        for rope in config.layers.iter().filter_map(|layer| layer.rope.as_ref()) {
            if tables.iter().any(|table| table.rope == *rope) {
                continue;
            }
            let (frequencies, amplitude) = (rope.frequencies(), rope.amplitude());
            let angles = (0..positions).flat_map(|p| frequencies.iter().map(move |f| f64::from(p as f32 * f)));
            let (cos, sin): (Vec<f32>, Vec<f32>) = angles
                .map(|angle| ((libm::cos(angle) * amplitude) as f32, (libm::sin(angle) * amplitude) as f32))
                .unzip();
            let back = sin.iter().map(|sin| -sin).collect();
            tables.push(Table { rope: rope.clone(), cos, sin, back });
        }
        Self(tables)
    }

    /// Turns the first elements of each head of each row by its position's angle; of gradients, in `reverse`, the other way.
    pub(super) fn rotate(
        &self,
        ws: &Workspace,
        rope: &Rope,
        (x, width): (&mut [f32], usize),
        head_dim: usize,
        positions: &[usize],
        reverse: bool,
    ) {
        let Some(table) = self.0.iter().find(|table| table.rope == *rope) else { return };
        let (half, sin) = (rope.width / 2, if reverse { &table.back } else { &table.sin });
        parallel::rows(ws.threads(), x, width, |i, row| {
            let at = positions[i] * half..(positions[i] + 1) * half;
            for head in row.chunks_exact_mut(head_dim) {
                vector::rotate(&mut head[..2 * half], &table.cos[at.clone()], &sin[at.clone()]);
            }
        });
    }
}
