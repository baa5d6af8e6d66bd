//! Products of the same rows, shared among threads.

use super::lanes::PANEL;
use super::lines::Scratch;
use super::product::{self, Input, Operand, Target, Units};
use super::{amx, parallel};

/// Rows that are given to a thread together: of two tiles.
const ROWS_APART: usize = 32;

/// `target = x · Wᵀ` (or more, if the target adds) for each operand `W` and its target, where `x` is `rows` rows side by side. An
/// element has the same bits however the work is shared.
pub(crate) fn share(units: Units, x: &[f32], rows: usize, products: &[(Operand<'_>, Target<'_>)], threads: usize) {
    let mut panels = 0;
    let parts: Vec<(usize, usize)> = products
        .iter()
        .map(|(_, target)| {
            let first = panels;
            panels += (target.cols - target.first).div_ceil(PANEL);
            (first, panels)
        })
        .collect();
    let work = products.iter().map(|(operand, target)| rows * (target.cols - target.first) * operand.depth).sum();
    let share = |input: Input<'_>| {
        parallel::ranges(threads, work, panels, product::grain(rows), |range| {
            for ((operand, target), &(first, end)) in products.iter().zip(&parts) {
                let own = |panel: usize| panel.clamp(first, end) - first;
                product::multiply(input, operand, own(range.start)..own(range.end), target);
            }
        });
    };
    if units == Units::Tiles && !x.is_empty() && panels > 0 {
        let tiles = rows / ROWS_APART;
        if tiles < threads * 2 {
            share(Input::Apart { rows: &amx::Rows::of(x, rows, threads), from: 0 });
        } else {
            // Many rows are shared themselves: what a thread has taken apart stays in its own cache.
            parallel::ranges(threads, work, tiles, tiles.div_ceil(2 * threads), |range| {
                let end = if range.end == tiles { rows } else { range.end * ROWS_APART };
                let some = range.start * ROWS_APART..end;
                let x = &x[some.start * x.len() / rows..some.end * x.len() / rows];
                let x = Input::Apart { rows: &amx::Rows::of(x, some.len(), 1), from: 0 };
                for ((operand, target), (first, end)) in products.iter().zip(&parts) {
                    product::multiply(x, operand, 0..end - first, &target.rows(some.clone()));
                }
            });
        }
    } else if product::worth_packing(rows, panels) {
        let mut scratch = Scratch::take(x.len());
        product::pack(x, rows, threads, &mut scratch);
        share(Input::Packed(&scratch));
    } else if let Some((operand, _)) = products.first() {
        share(Input::Rows { x, stride: operand.depth });
    }
}
