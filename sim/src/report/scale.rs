//! The map from values to positions, and the round numbers on an axis.

use std::time::Duration;

/// A linear map from `0..=max` to pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    max: f64,
    from: f64,
    to: f64,
}

impl Scale {
    pub(super) fn new(max: f64, from: f64, to: f64) -> Self {
        Self { max: if max > 0.0 { max } else { 1.0 }, from, to }
    }

    pub(super) fn at(&self, value: f64) -> f64 {
        let share = if value.is_finite() { (value / self.max).clamp(0.0, 1.0) } else { 0.0 };
        self.from + (self.to - self.from) * share
    }
}

/// Ticks of an axis from 0 that reaches at least `max`: about `about` steps of 1, 2 or 5 times a power of ten.
pub fn ticks(max: f64, about: f64) -> Vec<f64> {
    let rough = (max / about).max(1e-9);
    let magnitude = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].iter().map(|factor| factor * magnitude).find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * magnitude);
    (0..=(max / step).ceil().max(1.0) as u32).map(|index| f64::from(index) * step).collect()
}

/// Instants on a time axis within `max`, at most `most` of them.
pub(super) fn time_ticks(max: Duration, most: u64) -> Vec<Duration> {
    const STEPS: [u64; 16] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600];
    let seconds = max.as_secs();
    let step = STEPS.into_iter().find(|step| seconds / step <= most).unwrap_or(86_400 * (seconds / 86_400 / most + 1));
    (0..=seconds / step).map(|index| Duration::from_secs(index * step)).collect()
}

/// The format of the times of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// `1:05`
    Minutes,
    /// `1:05:00`
    Hours,
}

impl Clock {
    pub(super) fn of(duration: Duration) -> Self {
        if duration < Duration::from_secs(3600) { Self::Minutes } else { Self::Hours }
    }

    /// To the second.
    pub(super) fn time(self, at: Duration) -> String {
        let seconds = at.as_secs();
        match self {
            Self::Minutes => format!("{}:{:02}", seconds / 60, seconds % 60),
            Self::Hours => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        }
    }

    /// For an axis, where the seconds of hours are always zero.
    pub(super) fn tick(self, at: Duration) -> String {
        let seconds = at.as_secs();
        match self {
            Self::Minutes => self.time(at),
            Self::Hours => format!("{}:{:02}", seconds / 3600, seconds / 60 % 60),
        }
    }

    /// The units of a tick's two numbers.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Minutes => "min:s",
            Self::Hours => "h:min",
        }
    }
}

/// `12,345` or `0.25`: two decimals, but none from ten on and for whole numbers.
pub(super) fn number(value: f64) -> String {
    let decimals = if value == value.round() || value.abs() >= 10.0 { 0 } else { 2 };
    let plain = format!("{value:.decimals$}");
    let (whole, rest) = plain.split_once('.').map_or((plain.as_str(), String::new()), |(w, r)| (w, format!(".{r}")));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 && digit != '-' && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + &rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(ticks(830.0, 4.0), [0.0, 500.0, 1000.0]);
        assert_eq!(ticks(9.0, 5.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(time_ticks(Duration::from_secs(180), 8).last(), Some(&Duration::from_secs(180)));
        assert_eq!(time_ticks(Duration::from_secs(86_400), 8).len(), 7, "every four hours");
    }

    #[test]
    fn times_and_numbers_read_as_people_write_them() {
        let at = Duration::from_secs(3665);
        assert_eq!(
            (Clock::Minutes.time(at), Clock::Hours.time(at), Clock::Hours.tick(at)),
            ("61:05".into(), "1:01:05".into(), "1:01".into())
        );
        assert_eq!([1_234_567.0, 999.0, 0.256, 12.7, 100.0].map(number), ["1,234,567", "999", "0.26", "13", "100"]);
    }

    proptest! {
        #[test]
        fn an_axis_reaches_its_maximum_with_few_ticks(max in 0.0f64..1e12) {
            let ticks = ticks(max, 5.0);
            prop_assert!(ticks.last().is_some_and(|last| *last >= max));
            prop_assert!((2..=7).contains(&ticks.len()));
        }
    }
}
