//! The quantised blocks of GGUF files: what numbers they stand for, and how they go into panels and come back.
//!
//! The formats are those of ggml's `block_q8_0`, `block_q4_0`, `block_q4_1`, `block_q4_K` and `block_q6_K`
//! (<https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>), little-endian. `d` and `m` are f16 scales.
//!
//! | format | columns | bytes | element |
//! |---|---|---|---|
//! | Q8_0 | 32 | `d`, 32 signed bytes `q` | `d·q` |
//! | Q4_0 | 32 | `d`, 16 bytes: columns `i` and `16 + i` | `d·(q − 8)` |
//! | Q4_1 | 32 | `d`, `m`, 16 bytes: columns `i` and `16 + i` | `d·q + m` |
//! | Q4_K | 256 | `d`, `m`, 12 bytes of 6-bit `s` and `o`, 128 bytes: columns `64·j + i` and `64·j + 32 + i` | `(d·s)·q − m·o` |
//! | Q6_K | 256 | 128 bytes of lower, 64 of upper bits, 16 signed bytes `s`, `d` | `(d·s)·(q − 32)` |

use half::{bf16, f16};

use super::lanes::PANEL;
use super::storage::Storage;

/// Why blocks cannot be packed or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// A row that is no whole number of blocks.
    #[error("rows of {cols} are no multiple of the block of {block}")]
    Cols {
        /// Elements of a row.
        cols: usize,
        /// Elements of a block.
        block: usize,
    },
    /// Data of another length than the blocks have.
    #[error("a row of blocks takes {needs} bytes, but {has} are there")]
    Length {
        /// Bytes of the blocks.
        needs: usize,
        /// Bytes of the data.
        has: usize,
    },
    /// A storage that is not made of blocks.
    #[error("{0:?} is not made of blocks")]
    Dense(Storage),
}

/// Bytes of a row of `cols` elements in GGUF files.
pub fn row_bytes(storage: Storage, cols: usize) -> Result<usize, BlockError> {
    let block = storage.block_cols();
    if block == 1 {
        return Err(BlockError::Dense(storage));
    }
    if !cols.is_multiple_of(block) {
        return Err(BlockError::Cols { cols, block });
    }
    Ok(cols / block * storage.block_bytes())
}

pub(crate) fn check_row(row: &[u8], needs: usize) -> Result<(), BlockError> {
    if row.len() == needs { Ok(()) } else { Err(BlockError::Length { needs, has: row.len() }) }
}

/// Writes the numbers that a row of blocks stands for into `out`, to the bit as ggml does.
pub fn dequantise(storage: Storage, row: &[u8], out: &mut [f32]) -> Result<(), BlockError> {
    check_row(row, row_bytes(storage, out.len())?)?;
    let block_cols = storage.block_cols();
    for (block, out) in row.chunks_exact(storage.block_bytes()).zip(out.chunks_exact_mut(block_cols)) {
        let block = Block::read(storage, block);
        for (i, x) in out.iter_mut().enumerate() {
            *x = block.value(storage, i);
        }
    }
    Ok(())
}

/// A block taken apart.
struct Block {
    scale: f32,
    offset: f32,
    /// What scales and offsets of parts are multiplied by; Q4_K and Q6_K only.
    scales: [i8; 16],
    offsets: [u8; 8],
    /// Unsigned, but for Q8_0, whose bytes are signed.
    numbers: [u8; 256],
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

impl Block {
    /// Takes a block apart. Panics unless it has the bytes of one block.
    fn read(storage: Storage, bytes: &[u8]) -> Self {
        assert_eq!(bytes.len(), storage.block_bytes());
        let mut block = Self { scale: 0.0, offset: 0.0, scales: [1; 16], offsets: [1; 8], numbers: [0; 256] };
        match storage {
            Storage::Q8_0 => {
                block.scale = half_at(bytes, 0);
                block.numbers[..32].copy_from_slice(&bytes[2..]);
            }
            Storage::Q4_0 => {
                block.scale = half_at(bytes, 0);
                block.nibbles(&bytes[2..], 16);
            }
            Storage::Q4_1 => {
                (block.scale, block.offset) = (half_at(bytes, 0), half_at(bytes, 2));
                block.nibbles(&bytes[4..], 16);
            }
            Storage::Q4K => {
                (block.scale, block.offset) = (half_at(bytes, 0), half_at(bytes, 2));
                block.six_bit_scales(&bytes[4..16]);
                block.nibbles(&bytes[16..], 32);
            }
            Storage::Q6K => {
                block.scale = half_at(bytes, 208);
                for (to, &from) in block.scales.iter_mut().zip(&bytes[192..208]) {
                    *to = from.cast_signed();
                }
                block.six_bit_numbers(&bytes[..128], &bytes[128..192]);
            }
            Storage::F32 | Storage::Bf16 | Storage::F16 => {}
        }
        block
    }

    /// Numbers of four bits: `width` bytes hold `width` columns below and the next `width` columns above.
    fn nibbles(&mut self, bytes: &[u8], width: usize) {
        for (from, to) in bytes.chunks_exact(width).zip(self.numbers.chunks_exact_mut(2 * width)) {
            for (i, byte) in from.iter().enumerate() {
                (to[i], to[width + i]) = (byte & 15, byte >> 4);
            }
        }
    }

    /// Scales and offsets of Q4_K: the first four in six bits of a byte each, the others in four and two bits apart.
    fn six_bit_scales(&mut self, bytes: &[u8]) {
        for i in 0..8 {
            let (scale, offset) = if i < 4 {
                (bytes[i] & 63, bytes[i + 4] & 63)
            } else {
                let upper = |byte: u8| byte >> 6 << 4;
                (bytes[i + 4] & 15 | upper(bytes[i - 4]), bytes[i + 4] >> 4 | upper(bytes[i]))
            };
            (self.scales[i], self.offsets[i]) = (scale.cast_signed(), offset);
        }
    }

    /// Numbers of Q6_K: halves of 128 columns, of four times 32 whose upper bits share a byte.
    fn six_bit_numbers(&mut self, low: &[u8], high: &[u8]) {
        for (i, number) in self.numbers.iter_mut().enumerate() {
            let (half, quarter, column) = (i / 128, i % 128 / 32, i % 32);
            let low = low[half * 64 + quarter % 2 * 32 + column] >> (quarter / 2 * 4) & 15;
            let high = high[half * 32 + column] >> (quarter * 2) & 3;
            *number = low | high << 4;
        }
    }

    fn value(&self, storage: Storage, i: usize) -> f32 {
        let number = self.numbers[i];
        match storage {
            Storage::Q8_0 => self.scale * f32::from(number.cast_signed()),
            Storage::Q4_0 => self.scale * (f32::from(number) - 8.0),
            Storage::Q4_1 => self.scale * f32::from(number) + self.offset,
            Storage::Q4K => {
                let (scale, offset) = (f32::from(self.scales[i / 32]), f32::from(self.offsets[i / 32]));
                self.scale * scale * f32::from(number) - self.offset * offset
            }
            Storage::Q6K => self.scale * f32::from(self.scales[i / 16]) * (f32::from(number) - 32.0),
            Storage::F32 | Storage::Bf16 | Storage::F16 => 0.0,
        }
    }
}

/// Where a block's parts lie within its 32 rows' share of a panel, in bytes; see [`super::storage`].
struct Layout {
    /// Bytes of a block of 32 rows.
    size: usize,
    /// Where the numbers begin.
    numbers: usize,
    /// Where the word of `column` begins, counted from there.
    word: fn(usize) -> usize,
}

fn layout(storage: Storage) -> Layout {
    let size = storage.panel_bytes(storage.block_cols());
    let numbers = match storage {
        Storage::Q8_0 | Storage::Q4_0 => 64,
        Storage::Q4_1 => 128,
        Storage::Q4K => 640,
        Storage::Q6K => 576,
        Storage::F32 | Storage::Bf16 | Storage::F16 => 0,
    };
    let word = match storage {
        Storage::Q6K => |column| column / 16 * 384 + column % 16 / 8 * 128,
        _ => |column| column / 8 * 128,
    };
    Layout { size, numbers, word }
}

/// Puts the blocks of a row into its lane of a panel, which is zero before. Panics if the lengths do not fit.
pub(crate) fn pack_row(storage: Storage, row: &[u8], lane: usize, panel: &mut [u8]) {
    let Layout { size, numbers, word } = layout(storage);
    for (bytes, out) in row.chunks_exact(storage.block_bytes()).zip(panel.chunks_exact_mut(size)) {
        let block = Block::read(storage, bytes);
        let mut put_half = |at: usize, from: usize| {
            out[at + 2 * lane..at + 2 * lane + 2].copy_from_slice(&bytes[from..from + 2]);
        };
        match storage {
            Storage::Q6K => put_half(0, 208),
            Storage::Q4_1 | Storage::Q4K => {
                put_half(0, 0);
                put_half(64, 2);
            }
            _ => put_half(0, 0),
        }
        if storage == Storage::Q4K {
            for i in 0..8 {
                out[128 + i * 64 + lane] = block.scales[i].cast_unsigned();
                out[160 + i * 64 + lane] = block.offsets[i];
            }
        }
        if storage == Storage::Q6K {
            for i in 0..16 {
                out[64 + i * 32 + lane] = block.scales[i].cast_unsigned();
            }
        }
        let out = &mut out[numbers..];
        for (i, &number) in block.numbers.iter().take(storage.block_cols()).enumerate() {
            if storage == Storage::Q8_0 {
                out[i * PANEL + lane] = number;
                continue;
            }
            let at = word(i) + 4 * lane;
            out[at + i % 8 / 2] |= (number & 15) << (4 * (i % 2));
            if storage == Storage::Q6K {
                let at = i / 16 * 384 + 256 + 4 * lane;
                out[at + i % 16 / 4] |= number >> 4 << (2 * (i % 4));
            }
        }
    }
}

/// Writes the row in a lane of a panel into `out`. Panics if the lengths do not fit.
pub(crate) fn unpack_row(storage: Storage, panel: &[u8], lane: usize, out: &mut [f32]) {
    assert_eq!(panel.len(), storage.panel_bytes(out.len()));
    match storage {
        Storage::F32 => {
            for (x, column) in out.iter_mut().zip(bytemuck::cast_slice::<u8, f32>(panel).chunks_exact(PANEL)) {
                *x = column[lane];
            }
        }
        Storage::F16 | Storage::Bf16 => {
            let place = if storage == Storage::F16 { lane } else { lane % 16 * 2 + lane / 16 };
            for (x, column) in out.iter_mut().zip(bytemuck::cast_slice::<u8, u16>(panel).chunks_exact(PANEL)) {
                let bits = column[place];
                *x = if storage == Storage::F16 {
                    f16::from_bits(bits).to_f32()
                } else {
                    bf16::from_bits(bits).to_f32()
                };
            }
        }
        _ => unpack_blocks(storage, panel, lane, out),
    }
}

fn unpack_blocks(storage: Storage, panel: &[u8], lane: usize, out: &mut [f32]) {
    let Layout { size, numbers, word } = layout(storage);
    for (bytes, out) in panel.chunks_exact(size).zip(out.chunks_exact_mut(storage.block_cols())) {
        let mut block = Block { scale: 0.0, offset: 0.0, scales: [1; 16], offsets: [1; 8], numbers: [0; 256] };
        block.scale = half_at(bytes, 2 * lane);
        if matches!(storage, Storage::Q4_1 | Storage::Q4K) {
            block.offset = half_at(bytes, 64 + 2 * lane);
        }
        if storage == Storage::Q4K {
            for i in 0..8 {
                block.scales[i] = bytes[128 + i * 64 + lane].cast_signed();
                block.offsets[i] = bytes[160 + i * 64 + lane];
            }
        }
        if storage == Storage::Q6K {
            for i in 0..16 {
                block.scales[i] = bytes[64 + i * 32 + lane].cast_signed();
            }
        }
        let bytes = &bytes[numbers..];
        for (i, x) in out.iter_mut().enumerate() {
            block.numbers[i] = if storage == Storage::Q8_0 {
                bytes[i * PANEL + lane]
            } else {
                bytes[word(i) + 4 * lane + i % 8 / 2] >> (4 * (i % 2)) & 15
            };
            if storage == Storage::Q6K {
                let high = bytes[i / 16 * 384 + 256 + 4 * lane + i % 16 / 4] >> (2 * (i % 4)) & 3;
                block.numbers[i] |= high << 4;
            }
            *x = block.value(storage, i);
        }
    }
}
