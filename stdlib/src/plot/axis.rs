//! A number line: which range it shows, where its ticks stand, and how they are written.

/// A closed range with evenly spaced ticks at round numbers.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

/// Larger magnitudes are drawn at this one, so that differences stay finite.
const LARGEST: f64 = 1e300;

impl Axis {
    /// The range of the finite `values`, widened by `margin` of itself at both ends, with about `ticks` ticks.
    /// Without values the range is 0 to 1; around a single value it is one wide, or a tenth of the value.
    pub(super) fn fit(values: impl Iterator<Item = f64>, margin: f64, ticks: usize) -> Axis {
        let finite = values.filter(|value| value.is_finite()).map(|value| value.clamp(-LARGEST, LARGEST));
        let (low, high) =
            finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        let size = low.abs().max(high.abs());
        let (low, high) = if high - low <= size * 1e-9 {
            let half = if size == 0.0 { 0.5 } else { (size * 0.05).max(f64::MIN_POSITIVE) };
            (low - half, high + half)
        } else {
            (low, high)
        };
        let margin = (high - low) * margin;
        let (low, high) = (low - margin, high + margin);
        Axis { low, high, step: round_step((high - low) / ticks.max(1) as f64) }
    }

    /// Where the ticks stand, in order; multiples of a round number inside the range.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-9).ceil();
        (0..64)
            .map(|i| (first + f64::from(i)) * self.step)
            .take_while(|tick| *tick <= self.high + self.step * 1e-9)
            .collect()
    }

    /// Where `value` stands between the ends: 0 at the low one, 1 at the high one.
    pub(super) fn at(&self, value: f64) -> f64 {
        (value.clamp(-LARGEST, LARGEST) - self.low) / (self.high - self.low)
    }

    /// A tick's number with as many digits as tell neighbours apart.
    pub(super) fn label(&self, value: f64) -> String {
        let size = self.low.abs().max(self.high.abs());
        if value.abs() < self.step * 1e-6 {
            return "0".to_owned();
        }
        if size >= 1e6 || self.step < 1e-5 {
            let digits = (size.log10().floor() - self.step.log10().floor()).clamp(0.0, 12.0) as usize;
            return format!("{value:.digits$e}");
        }
        let decimals = (0..9).find(|&d| is_whole(self.step * 10f64.powi(d))).unwrap_or(9) as usize;
        format!("{value:.decimals$}")
    }
}

fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6
}

/// The one of 1, 2, 2.5, 5 and 10 times a power of ten that is nearest to `rough`, by ratio.
fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let power = if power > 0.0 { power } else { f64::MIN_POSITIVE };
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
    let distance = |step: f64| (step / rough).ln().abs();
    steps.into_iter().fold(power, |best, step| if distance(step) < distance(best) { step } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64) -> Vec<String> {
        let axis = Axis::fit([low, high].into_iter(), 0.0, 5);
        axis.ticks().into_iter().map(|tick| axis.label(tick)).collect()
    }

    #[test]
    fn ticks_are_round_numbers_inside_the_range() {
        assert_eq!(labels(0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(0.0, 120.0), ["0", "25", "50", "75", "100"]);
        assert_eq!(labels(-3.0, 9.0), ["-2.5", "0", "2.5", "5.0", "7.5"]);
        assert_eq!(labels(0.0, 2e7), ["0", "5.0e6", "1.0e7", "1.5e7", "2.0e7"]);
    }

    #[test]
    fn odd_ranges_keep_a_few_distinct_ticks() {
        let ranges = [
            (0.0, 0.0),
            (5.0, 5.0),
            (f64::NAN, 1.0),
            (-f64::MAX, f64::MAX),
            (1e16, 1e16 + 2.0),
            (1e-310, 2e-310),
            (0.999_999, 1.000_001),
        ];
        for (low, high) in ranges {
            let axis = Axis::fit([low, high].into_iter(), 0.05, 5);
            let ticks = axis.ticks();
            assert!((2..=12).contains(&ticks.len()), "{low} to {high}: {ticks:?}");
            assert!(
                ticks.iter().all(|tick| tick.is_finite() && (-0.01..=1.01).contains(&axis.at(*tick))),
                "{low} to {high}: {ticks:?}"
            );
            let mut written: Vec<String> = ticks.iter().map(|tick| axis.label(*tick)).collect();
            written.dedup();
            assert_eq!(written.len(), ticks.len(), "{low} to {high}: {written:?}");
        }
    }
}
