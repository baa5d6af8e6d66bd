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
