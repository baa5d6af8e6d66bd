//! Optimizer states as plain lists of numbers.

/// Collects numbers.
#[derive(Default)]
pub(super) struct Writer(Vec<f64>);

impl Writer {
    pub(super) fn values(&mut self, values: &[f64]) {
        self.0.extend_from_slice(values);
    }

    /// A count below 2⁵³.
    pub(super) fn count(&mut self, count: u64) {
        self.0.push(count as f64);
    }

    pub(super) fn finish(self) -> Vec<f64> {
        self.0
    }
}

/// Takes them up again in the same order.
pub(super) struct Reader<'a>(pub(super) &'a [f64]);

impl Reader<'_> {
    pub(super) fn value(&mut self) -> Option<f64> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn values(&mut self, count: usize) -> Option<Vec<f64>> {
        let (values, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(values.to_vec())
    }

    pub(super) fn count(&mut self) -> Option<u64> {
        let value = self.value()?;
        (value >= 0.0 && value.fract() == 0.0 && value < (1u64 << 53) as f64).then_some(value as u64)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
