//! Summary statistics. All sums are taken pairwise in a fixed order, so they are exact to a few units in the last place
//! and do not depend on who computes them.

/// Terms below which a pairwise sum adds one after the other.
const BLOCK: usize = 64;

/// The sum, by halves (pairwise): the rounding error grows with log n. 0 for no values.
pub fn sum(values: &[f64]) -> f64 {
    if values.len() <= BLOCK {
        return values.iter().fold(0.0, |total, value| total + value);
    }
    let (left, right) = values.split_at(values.len() / 2);
    sum(left) + sum(right)
}

/// The arithmetic mean; NaN for no values.
pub fn mean(values: &[f64]) -> f64 {
    sum(values) / values.len() as f64
}

/// The variance about the mean, with divisor n − `ddof`: 1 for a sample's unbiased estimate, 0 for a population.
/// NaN if there are no more than `ddof` values.
pub fn variance(values: &[f64], ddof: usize) -> f64 {
    if values.len() <= ddof {
        return f64::NAN;
    }
    let center = mean(values);
    let squares: Vec<f64> = values.iter().map(|value| (value - center).powi(2)).collect();
    sum(&squares) / (values.len() - ddof) as f64
}

/// The square root of [`variance`].
pub fn standard_deviation(values: &[f64], ddof: usize) -> f64 {
    variance(values, ddof).sqrt()
}

/// The standard error of the mean of a sample; NaN for fewer than two values.
pub fn standard_error(values: &[f64]) -> f64 {
    (variance(values, 1) / values.len() as f64).sqrt()
}

/// The quantile at `q` from 0 to 1, linear between order statistics (type 7 of Hyndman and Fan, 1996: NumPy's default).
/// NaN for no values, or if one is NaN.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    if values.is_empty() || values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    if below == above { below } else { below + (above - below) * place.fract() }
}

/// The middle value, or the mean of the two middle values.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// An interval that holds the mean of what the values are a sample of in a share `level` of all samples: `(low, high)`. Where all
/// values are 0 or 1 it is Wilson's (1927), which stays within 0 and 1 and is right for few values; else it is that of the normal
/// approximation, the mean and so many standard errors. NaN for no values, or for one that is neither 0 nor 1.
pub fn confidence(values: &[f64], level: f64) -> (f64, f64) {
    let z = two_sided(level);
    let (mean, n) = (mean(values), values.len() as f64);
    if !values.is_empty() && values.iter().all(|value| *value == 0.0 || *value == 1.0) {
        let spread = z * (mean * (1.0 - mean) / n + z * z / (4.0 * n * n)).sqrt();
        let (center, scale) = (mean + z * z / (2.0 * n), 1.0 + z * z / n);
        return (((center - spread) / scale).max(0.0), ((center + spread) / scale).min(1.0));
    }
    let spread = z * standard_error(values);
    (mean - spread, mean + spread)
}

/// How many standard deviations about its mean hold a share `level` of a normal distribution.
fn two_sided(level: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    // Halved until no number lies between.
    for _ in 0..200 {
        let middle: f64 = 0.5 * (low + high);
        if libm::erfc(middle / std::f64::consts::SQRT_2) > 1.0 - level { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn figures_that_can_be_checked_by_hand() {
        let x = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!((mean(&x), variance(&x, 0), standard_deviation(&x, 0)), (5.0, 4.0, 2.0));
        assert_eq!(variance(&x, 1), 32.0 / 7.0);
        assert_eq!(standard_error(&x), (4.0f64 / 7.0).sqrt());
        assert_eq!((median(&x), quantile(&x, 0.0), quantile(&x, 0.9), quantile(&x, 1.0)), (4.5, 2.0, 7.6, 9.0));
    }

    #[test]
    fn intervals_are_those_of_the_tables() {
        let close =
            |found: (f64, f64), low: f64, high: f64| (found.0 - low).abs() < 5e-5 && (found.1 - high).abs() < 5e-5;
        assert!(
            (two_sided(0.95) - 1.959_963_984_540_054).abs() < 1e-12
                && (two_sided(0.5) - 0.674_489_750_196_082).abs() < 1e-12
        );
        let share = |ones: usize, all: usize| (0..all).map(|i| f64::from(i < ones)).collect::<Vec<_>>();
        // Newcombe (1998), table I: Wilson's score interval without continuity correction.
        assert!(close(confidence(&share(81, 263), 0.95), 0.2553, 0.3662));
        assert!(close(confidence(&share(15, 148), 0.95), 0.0624, 0.1605));
        assert!(close(confidence(&share(0, 20), 0.95), 0.0, 0.1611));
        assert!(close(confidence(&share(1, 29), 0.95), 0.0061, 0.1718));
        let (low, high) = confidence(&[1.0, 2.0, 3.0, 4.0], 0.95);
        assert!(
            (low - (2.5 - 1.959_963_984_540_054 * (5.0_f64 / 12.0).sqrt())).abs() < 1e-12
                && (low + high - 5.0).abs() < 1e-12
        );
        assert!(confidence(&[], 0.95).0.is_nan() && confidence(&[0.5], 0.95).0.is_nan());
    }

    #[test]
    fn too_few_values_give_nan() {
        assert_eq!(sum(&[]), 0.0);
        assert!(mean(&[]).is_nan() && variance(&[1.0], 1).is_nan() && standard_error(&[1.0]).is_nan());
        assert!(median(&[]).is_nan() && median(&[1.0, f64::NAN]).is_nan());
    }

    #[test]
    fn a_pairwise_sum_keeps_what_a_running_sum_loses() {
        let tenth = vec![0.1; 1 << 20];
        assert!((sum(&tenth) - 104_857.6).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn variance_ignores_shifts_and_grows_with_the_square_of_scale(
            x in prop::collection::vec(-10.0..10.0f64, 2..300), shift in -5.0..5.0f64, scale in 0.1..4.0f64,
        ) {
            let moved: Vec<f64> = x.iter().map(|v| v * scale + shift).collect();
            prop_assert!((variance(&moved, 1) - scale * scale * variance(&x, 1)).abs() < 1e-9);
            prop_assert!((mean(&moved) - (mean(&x) * scale + shift)).abs() < 1e-10);
        }
    }
}
