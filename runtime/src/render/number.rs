//! Numbers as people read them.

/// A real number with four digits that count: `0.5850`, `12.50`, `0.0003170`, `1.234e9`; never shorter than it is exact
/// to, never longer than six decimals.
pub fn real(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    format!("{value:.*}", decimals(size))
}

/// Decimals that show four digits that count.
pub(crate) fn decimals(size: f64) -> usize {
    match size {
        s if s >= 1000.0 => 0,
        s if s >= 100.0 => 1,
        s if s >= 10.0 => 2,
        s if s >= 1.0 || s == 0.0 => 3,
        s if s >= 0.1 => 4,
        s if s >= 0.01 => 5,
        s if s >= 0.001 => 6,
        _ => 7,
    }
}

/// A whole number with its thousands apart: `812,160`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// An amount of memory or disk: `512 B`, `3.2 MB`, `1.5 GB` (powers of 1000, as `8GB` in programs).
pub fn bytes(bytes: u64) -> String {
    let mut amount = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB"] {
        if amount < 999.5 {
            break;
        }
        amount /= 1000.0;
        unit = larger;
    }
    let digits = usize::from(unit != "B" && amount < 99.95);
    format!("{amount:.digits$} {unit}")
}

/// A length of time: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".into();
    }
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reals_show_four_digits_that_count() {
        let cases = [
            (0.585, "0.5850"),
            (0.0, "0.000"),
            (1.0, "1.000"),
            (-12.5, "-12.50"),
            (1234.56, "1235"),
            (0.000317, "0.0003170"),
            (3.17e-5, "3.170e-5"),
            (1.5e9, "1.500e9"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, text) in cases {
            assert_eq!(real(value), text);
        }
    }

    #[test]
    fn amounts_have_units() {
        assert_eq!([bytes(0), bytes(999), bytes(3_249_152), bytes(999_600)], ["0 B", "999 B", "3.2 MB", "1.0 MB"]);
        assert_eq!(bytes(270_000_000), "270 MB");
        assert_eq!([count(0), count(999), count(812_160), count(1_000_000)], ["0", "999", "812,160", "1,000,000"]);
        let times = [0.44, 9.99, 59.6, 200.0, 7500.0, f64::NAN].map(duration);
        assert_eq!(times, ["0.4 s", "10 s", "1 min 0 s", "3 min 20 s", "2 h 5 min", "?"]);
    }
}
