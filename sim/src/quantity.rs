//! Quantities in thousandths: KEDA, the metrics API and the HPA exchange metrics and targets in this form.

use std::fmt;

/// A number of thousandths: a rate of 83.5 requests/s is `Milli(83_500)`. Never negative when KEDA produced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Milli(pub i64);

impl Milli {
    /// A whole number.
    pub const fn whole(value: i64) -> Self {
        Self(value.saturating_mul(1000))
    }

    /// Converts as KEDA does (`quantityFromFloat64` in `pkg/scalers/scaler.go`): rounds to three decimals; NaN, infinities and
    /// negative numbers become zero.
    ///
    /// ```
    /// use tidegate_sim::quantity::Milli;
    ///
    /// assert_eq!(Milli::from_f64(83.4996), Milli(83_500));
    /// assert_eq!(Milli::from_f64(f64::NAN), Milli(0));
    /// ```
    pub fn from_f64(value: f64) -> Self {
        if !value.is_finite() || value < 0.0 {
            return Self(0);
        }
        // Printed and read back as in Go: `value * 1000.0` would round twice.
        let digits: String = format!("{value:.3}").chars().filter(char::is_ascii_digit).collect();
        Self(digits.parse().unwrap_or(i64::MAX))
    }

    /// The number itself.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// The plain number, without trailing zeros: `83.5`.
impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_decimals_survive() {
        assert_eq!(Milli::from_f64(0.001), Milli(1));
        assert_eq!(Milli::from_f64(1.0005), Milli(1000), "1.0005 is a little less in binary");
        assert_eq!(Milli::from_f64(100.0).to_string(), "100");
        assert_eq!(Milli(83_500).to_string(), "83.5");
    }

    #[test]
    fn what_is_no_quantity_is_zero_and_what_is_too_large_saturates() {
        for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.5] {
            assert_eq!(Milli::from_f64(nonsense), Milli(0));
        }
        assert_eq!(Milli::from_f64(1e300), Milli(i64::MAX));
    }

    proptest! {
        #[test]
        fn a_number_of_thousandths_is_kept_exactly(thousandths in 0i64..1_000_000_000_000) {
            prop_assert_eq!(Milli::from_f64(thousandths as f64 / 1000.0), Milli(thousandths));
        }
    }
}
