//! One vector for a text: the rows of a transformer's last block, pooled.

use super::{DecodeError, Decoder, Entry};
use crate::vector;

/// Tokens of one pass; bounds the memory of activations.
const PASS: usize = 2048;

/// How the rows of a text become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first row, that of the token `[CLS]` in a BERT.
    First,
    /// The last row.
    Last,
}

/// A transformer that gives a vector for a text. Cloning shares the weights.
#[derive(Clone, Debug)]
pub struct Encoder {
    decoder: Decoder,
    pooling: Pooling,
    normalise: bool,
}

impl Encoder {
    /// An encoder that pools the rows of `decoder` (of an encoder's configuration, or of a causal one's) and, with
    /// `normalise`, divides each vector by its length.
    pub fn new(decoder: Decoder, pooling: Pooling, normalise: bool) -> Self {
        Self { decoder, pooling, normalise }
    }

    /// Width of a vector.
    pub fn size(&self) -> usize {
        self.decoder.config().hidden_size
    }

    /// A vector of [`Encoder::size`] elements for each text, one after the other.
    ///
    /// A vector depends on its own text alone, to the bit: not on the other texts, not on `threads`.
    ///
    /// # Errors
    /// A text without a token, a token outside the vocabulary, more tokens than the model has positions.
    pub fn embed(&self, texts: &[&[u32]], threads: usize) -> Result<Vec<f32>, DecodeError> {
        let mut vectors = Vec::with_capacity(texts.len() * self.size());
        let mut rest = texts;
        while !rest.is_empty() {
            // A text is never cut, so one that is longer than a pass makes a pass alone.
            let mut tokens = 0;
            let fits = rest.iter().take_while(|text| {
                tokens += text.len();
                tokens <= PASS
            });
            let count = fits.count().max(1);
            let (some, later) = rest.split_at(count);
            self.embed_some(some, threads, &mut vectors)?;
            rest = later;
        }
        Ok(vectors)
    }

    fn embed_some(&self, texts: &[&[u32]], threads: usize, vectors: &mut Vec<f32>) -> Result<(), DecodeError> {
        let width = self.size();
        let mut caches: Vec<_> = texts.iter().map(|_| self.decoder.cache()).collect();
        let wanted = |text: &[u32]| if self.pooling == Pooling::Last { 1 } else { text.len() };
        let mut batch: Vec<Entry<'_>> = texts
            .iter()
            .zip(&mut caches)
            .map(|(tokens, cache)| Entry { tokens, cache, wanted: wanted(tokens) })
            .collect();
        let rows = self.decoder.hidden(&mut batch, threads)?;
        let mut rows = rows.as_slice();
        for text in texts {
            let (own, others) = rows.split_at(wanted(text) * width);
            rows = others;
            let at = vectors.len();
            vectors.extend_from_slice(&own[..width]);
            let vector = &mut vectors[at..];
            if self.pooling == Pooling::Mean {
                own[width..].chunks_exact(width).for_each(|row| vector::add(vector, row));
                let scale = 1.0 / text.len() as f32;
                vector.iter_mut().for_each(|x| *x *= scale);
            }
            if self.normalise {
                vector::unit(vector);
            }
        }
        Ok(())
    }
}
