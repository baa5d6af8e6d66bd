//! From rows to panels: what a row holds side by side, a panel holds one below the other.
//!
//! A panel is written once and read much later, so where there is an instruction for it, its lines go past the caches: a
//! candidate's weights are then not read before they are overwritten, and leave in the caches what is merged into the next.

use super::lanes::PANEL;
use crate::block::prefetch;

/// Columns that are transposed at a time, so that what is written stays in the first cache.
const SOME: usize = 64;

/// Words of a line: what is transposed at a time in registers has as many rows and columns.
const WORDS: usize = 16;

/// Writes a matrix of floats turned: element `j` of row `i`, at `from[i · from_stride + j]`, goes to `to[j · to_stride + i]`.
/// `rows` is as many as `from` has; the rest of `to` stays.
pub(crate) fn turn(from: &[f32], from_stride: usize, shape: (usize, usize), to: &mut [f32], to_stride: usize) {
    let (rows, cols) = shape;
    if rows == 0 || cols == 0 {
        return;
    }
    assert!(from_stride >= cols && from.len() >= (rows - 1) * from_stride + cols);
    assert!(to_stride >= rows && to.len() >= (cols - 1) * to_stride + rows);
    let (mut whole_rows, mut whole_cols) = (0, 0);
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        (whole_rows, whole_cols) = (rows / WORDS * WORDS, cols / WORDS * WORDS);
        // SAFETY: the processor has AVX-512, and the lengths are those asserted above.
        #[expect(unsafe_code, reason = "instructions that not every processor has")]
        unsafe {
            turn_avx512(from, from_stride, (whole_rows, whole_cols), to, to_stride);
        }
    }
    for i in 0..rows {
        let left = if i < whole_rows { whole_cols } else { 0 };
        for (j, &x) in from[i * from_stride..][..cols].iter().enumerate().skip(left) {
            to[j * to_stride + i] = x;
        }
    }
}

/// [`turn`] of whole squares of 16 by 16.
///
/// # Safety
/// The processor has AVX-512, and all elements lie within the slices.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "instructions that not every processor has")]
unsafe fn turn_avx512(
    from: &[f32],
    from_stride: usize,
    (rows, cols): (usize, usize),
    to: &mut [f32],
    to_stride: usize,
) {
    use std::arch::x86_64::*;
    let lower = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    let upper = _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
    for j in (0..cols).step_by(WORDS) {
        for i in (0..rows).step_by(WORDS) {
            let mut words = [_mm512_setzero_ps(); WORDS];
            for (lane, word) in words.iter_mut().enumerate() {
                // SAFETY: row `i + lane` has sixteen elements from `j` on.
                *word = unsafe { _mm512_loadu_ps(from.as_ptr().add((i + lane) * from_stride + j)) };
            }
            for _ in 0..4 {
                let rows = words;
                for k in 0..WORDS / 2 {
                    words[2 * k] = _mm512_permutex2var_ps(rows[k], lower, rows[k + 8]);
                    words[2 * k + 1] = _mm512_permutex2var_ps(rows[k], upper, rows[k + 8]);
                }
            }
            for (lane, word) in words.into_iter().enumerate() {
                // SAFETY: column `j + lane` has sixteen elements from `i` on.
                unsafe { _mm512_storeu_ps(to.as_mut_ptr().add((j + lane) * to_stride + i), word) };
            }
        }
    }
}

/// Writes up to 32 rows of `cols` elements into a panel.
pub(crate) fn transpose<T: Copy>(rows: &[T], cols: usize, panel: &mut [T]) {
    for from in (0..cols).step_by(SOME) {
        let to = (from + SOME).min(cols);
        for (lane, row) in rows.chunks_exact(cols).enumerate() {
            for (column, &x) in panel[from * PANEL..to * PANEL].chunks_exact_mut(PANEL).zip(&row[from..to]) {
                column[lane] = x;
            }
        }
    }
}

/// The same for bf16 panels, whose words hold rows `i` and `16 + i`.
pub(crate) fn transpose_pairs(rows: &[u16], cols: usize, panel: &mut [u32]) {
    assert!(rows.len().is_multiple_of(cols.max(1)) && panel.len() == cols * WORDS);
    let done = past_caches(rows, cols, panel);
    for from in (done..cols).step_by(SOME) {
        let to = (from + SOME).min(cols);
        let columns = &mut panel[from * WORDS..to * WORDS];
        prefetch(columns.as_ptr_range().end.cast(), SOME * PANEL * 2, true);
        let row = |i: usize| rows.get(i * cols + from..i * cols + to);
        for lane in 0..WORDS {
            let Some(low) = row(lane) else { break };
            let columns = columns.chunks_exact_mut(WORDS).zip(low);
            match row(WORDS + lane) {
                Some(high) => {
                    columns.zip(high).for_each(|((column, &l), &h)| column[lane] = u32::from(l) | u32::from(h) << 16);
                }
                None => columns.for_each(|(column, &l)| column[lane] = u32::from(l)),
            }
        }
    }
}

/// Writes columns of a whole panel that stands on lines, with AVX-512: how many, from the first on.
#[cfg(target_arch = "x86_64")]
fn past_caches(rows: &[u16], cols: usize, panel: &mut [u32]) -> usize {
    let fits = rows.len() == PANEL * cols && panel.as_ptr().align_offset(64) == 0;
    if !fits || !std::arch::is_x86_feature_detected!("avx512f") {
        return 0;
    }
    let done = cols / WORDS * WORDS;
    // SAFETY: the processor has AVX-512, and the panel stands on lines.
    #[expect(unsafe_code, reason = "instructions that not every processor has")]
    unsafe {
        pairs_avx512(rows, cols, &mut panel[..done * WORDS]);
    }
    done
}

#[cfg(not(target_arch = "x86_64"))]
fn past_caches(_: &[u16], _: usize, _: &mut [u32]) -> usize {
    0
}

/// Sixteen columns at a time.
///
/// # Safety
/// The processor has AVX-512, `panel` is aligned to 64 bytes, and `rows` are 32 of `cols` elements, at least as many as `panel` has
/// lines.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "instructions that not every processor has")]
unsafe fn pairs_avx512(rows: &[u16], cols: usize, panel: &mut [u32]) {
    use std::arch::x86_64::*;
    // Of two vectors the lower halves, or the upper, element by element in turns.
    let lower = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    let upper = _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
    for (i, columns) in panel.chunks_exact_mut(WORDS * WORDS).enumerate() {
        let mut words = [_mm512_setzero_si512(); WORDS];
        for (lane, word) in words.iter_mut().enumerate() {
            let [low, high] = [lane, WORDS + lane].map(|row| {
                let some = &rows[row * cols + i * WORDS..][..WORDS];
                // SAFETY: 16 elements of two bytes are 32 bytes.
                _mm512_cvtepu16_epi32(unsafe { _mm256_loadu_si256(some.as_ptr().cast()) })
            });
            *word = _mm512_or_si512(low, _mm512_slli_epi32::<16>(high));
        }
        // Four times the perfect shuffle of 16 rows transposes them.
        for _ in 0..4 {
            let rows = words;
            for k in 0..WORDS / 2 {
                words[2 * k] = _mm512_permutex2var_epi32(rows[k], lower, rows[k + 8]);
                words[2 * k + 1] = _mm512_permutex2var_epi32(rows[k], upper, rows[k + 8]);
            }
        }
        for (column, word) in columns.chunks_exact_mut(WORDS).zip(words) {
            // SAFETY: a column is a whole line of the panel, which stands on lines.
            unsafe { _mm512_stream_si512(column.as_mut_ptr().cast(), word) };
        }
    }
    // What goes past the caches is in order only from here on.
    _mm_sfence();
}

#[cfg(test)]
mod tests {
    //! Every element at its place, for every number of rows and columns.

    use super::super::lines::{Line, line_bytes, line_bytes_mut};
    use super::*;

    #[test]
    fn turning_puts_each_element_at_its_mirror_place() {
        for rows in [1, 7, 16, 33, 48] {
            for cols in [1, 15, 16, 50] {
                let (wide, tall) = (cols + 3, rows + 2);
                let from: Vec<f32> = (0..rows * wide).map(|i| i as f32).collect();
                let mut to = vec![-1.0; cols * tall];
                turn(&from, wide, (rows, cols), &mut to, tall);
                for (at, &x) in to.iter().enumerate() {
                    let (j, i) = (at / tall, at % tall);
                    assert_eq!(x, if i < rows { (i * wide + j) as f32 } else { -1.0 }, "{rows} × {cols}");
                }
            }
        }
    }

    #[test]
    fn a_panel_holds_the_rows_in_its_lanes() {
        for cols in [1, 15, 16, 17, 64, 83, 576] {
            for count in [1, 2, 16, 17, 31, 32] {
                let rows: Vec<u16> = (0..count * cols).map(|i| (i * 7919 + 1) as u16).collect();
                let mut lines = vec![Line::ZERO; cols + 1];
                // On lines, and beside them.
                for beside in [0, 4] {
                    let bytes = &mut line_bytes_mut(&mut lines)[beside..beside + 64 * cols];
                    bytes.fill(0);
                    transpose_pairs(&rows, cols, bytemuck::cast_slice_mut(bytes));
                    let panel: &[u32] = bytemuck::cast_slice(&line_bytes(&lines)[beside..beside + 64 * cols]);
                    let row = |lane: usize, column: usize| {
                        if lane < count { u32::from(rows[lane * cols + column]) } else { 0 }
                    };
                    for (i, &word) in panel.iter().enumerate() {
                        let (column, lane) = (i / 16, i % 16);
                        assert_eq!(word, row(lane, column) | row(16 + lane, column) << 16, "{count} × {cols}");
                    }
                }
                let mut panel = vec![0; PANEL * cols];
                transpose(&rows, cols, &mut panel);
                let placed = |(i, &x): (usize, &u16)| panel[i % cols * PANEL + i / cols] == x;
                assert!(rows.iter().enumerate().all(placed));
            }
        }
    }
}
