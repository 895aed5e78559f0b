//! The values of one cluster, model or pod over the last 30 seconds that were measured.

/// Requests/s, requests in flight, connections: the order of all arrays of signals.
pub(super) type Values = [f32; 3];

/// Seconds of the long window.
pub(super) const LONG: u8 = 30;
/// Seconds of the short window.
const SHORT: u8 = 6;
/// Smallest ratio of the short window's mean to the long one's that is a burst.
const BURST: f64 = 2.0;
/// Fewest seconds that give a mean. Fewer are noise: at 10 requests/s one second alone is off by a third as often as not.
const ENOUGH: u8 = 3;

/// The means over the long window and the short one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Means {
    pub(super) long: f64,
    pub(super) short: f64,
}

impl Means {
    /// Creates the means from a value that another source computed.
    pub(super) fn of(value: f64) -> Self {
        Self { long: value, short: value }
    }

    /// Returns the mean over the long window, or over the short one if that is a burst.
    pub(super) fn value(self) -> f64 {
        if self.short >= BURST * self.long { self.short } else { self.long }
    }

    /// Returns the mean over the short window, if that is a burst and at least `counted` were in it, so that chance is ruled out.
    pub(super) fn burst(self, counted: f64) -> Option<f64> {
        let Self { long, short } = self;
        (short >= BURST * long && short * f64::from(SHORT) >= counted).then_some(short)
    }

    /// Adds a part of other means.
    pub(super) fn plus(self, other: Self, part: f64) -> Self {
        Self { long: self.long + other.long * part, short: self.short + other.short * part }
    }
}

/// A ring of one-second values. Only seconds that were measured are in it: a gap is not a zero.
#[derive(Debug, Clone)]
pub(super) struct Window<const N: usize> {
    seconds: [[f32; N]; LONG as usize],
    len: u8,
    next: u8,
}

impl<const N: usize> Default for Window<N> {
    fn default() -> Self {
        Self { seconds: [[0.0; N]; LONG as usize], len: 0, next: 0 }
    }
}

impl<const N: usize> Window<N> {
    /// A window filled with zeros, for a series that did not exist before: otherwise its first lump would read as a high rate.
    pub(super) fn of_zeros() -> Self {
        Self { len: LONG, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, values: [f32; N]) {
        self.seconds[usize::from(self.next)] = values;
        self.next = (self.next + 1) % LONG;
        self.len = (self.len + 1).min(LONG);
    }

    /// Adds to a second that was already pushed; the newest is 0 back. A second that has left the window is not corrected.
    pub(super) fn correct(&mut self, back: u8, by: [f32; N]) {
        if back >= self.len {
            return;
        }
        let second = &mut self.seconds[usize::from((self.next + LONG - 1 - back) % LONG)];
        for (value, by) in second.iter_mut().zip(by) {
            *value = (*value + by).max(0.0);
        }
    }

    /// Returns the mean over the long window, or over the short one if that is at least twice as high, so that a burst shows at once
    /// and a dip does not. `None` while too little was measured.
    pub(super) fn values(&self) -> Option<[f64; N]> {
        let means = self.both_means()?;
        Some(std::array::from_fn(|i| means[i].value()))
    }

    /// Returns the means over both windows. `None` while too little was measured.
    pub(super) fn both_means(&self) -> Option<[Means; N]> {
        let (long, short) = (self.means()?, self.mean(0, SHORT));
        Some(std::array::from_fn(|i| Means { long: long[i], short: short[i] }))
    }

    /// Returns the mean over the long window alone, for values that come in lumps, where a few lumps are no burst. `None` while too
    /// little was measured.
    pub(super) fn means(&self) -> Option<[f64; N]> {
        (self.len >= ENOUGH).then(|| self.mean(0, LONG))
    }

    /// Returns the change of each value per second over the long window. `None` while too little was measured.
    pub(super) fn slopes(&self) -> Option<[f64; N]> {
        let apart = self.len.checked_sub(ENOUGH).filter(|apart| *apart >= SHORT)?;
        let (newest, oldest) = (self.mean(0, ENOUGH), self.mean(apart, ENOUGH));
        Some(std::array::from_fn(|i| (newest[i] - oldest[i]) / f64::from(apart)))
    }

    /// Returns the mean of some seconds, the newest of which is this many seconds back.
    fn mean(&self, newest: u8, seconds: u8) -> [f64; N] {
        let count = seconds.min(self.len - newest);
        let (newer, older) = self.seconds.split_at(usize::from(self.next));
        let from_newest = newer.iter().rev().chain(older.iter().rev());
        let mut sum = [0.0; N];
        from_newest.skip(usize::from(newest)).take(usize::from(count)).for_each(|second| {
            for (sum, value) in sum.iter_mut().zip(second) {
                *sum += f64::from(*value);
            }
        });
        sum.map(|sum| sum / f64::from(count.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(rates: &[f32]) -> Window<3> {
        let mut window = Window::<3>::default();
        for rate in rates {
            window.push([*rate, 0.0, 0.0]);
        }
        window
    }

    fn rate(rates: &[f32]) -> Option<f64> {
        window(rates).values().map(|values| values[0])
    }

    #[test]
    fn one_or_two_seconds_are_too_few_to_say_a_rate() {
        assert_eq!((rate(&[]), rate(&[9.0]), rate(&[9.0, 9.0])), (None, None, None));
        assert_eq!(rate(&[9.0, 9.0, 9.0]), Some(9.0));
    }

    #[test]
    fn a_steady_rate_is_what_it_is() {
        assert_eq!(rate(&[100.0; 45]), Some(100.0));
    }

    #[test]
    fn a_burst_shows_in_the_first_second_and_whole_after_six() {
        let after = |seconds: usize| {
            let mut rates = vec![10.0; 40];
            rates.extend(vec![310.0; seconds]);
            rate(&rates).unwrap()
        };
        assert_eq!((after(0), after(1), after(2), after(6)), (10.0, 60.0, 110.0, 310.0));
    }

    #[test]
    fn a_dip_shows_over_the_long_window_only() {
        let mut rates = vec![300.0; 40];
        rates.extend([0.0; 6]);
        assert_eq!(rate(&rates), Some(240.0));
    }

    #[test]
    fn a_lump_is_spread_over_the_long_window() {
        let mut rates = vec![10.0; 40];
        rates.push(310.0);
        assert_eq!(window(&rates).means().unwrap()[0], 20.0);
    }

    #[test]
    fn a_slope_is_known_once_there_are_seconds_enough_and_over_the_long_window_at_most() {
        let rising: Vec<f32> = (0..60u8).map(f32::from).collect();
        assert_eq!(window(&rising[..8]).slopes(), None);
        assert_eq!(window(&rising[..9]).slopes().unwrap()[0], 1.0);
        assert_eq!(window(&rising).slopes().unwrap()[0], 1.0);
        assert_eq!(window(&[7.0; 40]).slopes().unwrap()[0], 0.0);
    }

    #[test]
    fn a_burst_of_few_may_be_chance() {
        let after = |rate: f32| {
            let mut window = window(&[1.0; 30]);
            (0..6).for_each(|_| window.push([rate, 0.0, 0.0]));
            window.both_means().unwrap()[0].burst(30.0)
        };
        assert_eq!((after(1.0), after(4.9), after(5.0)), (None, None, Some(5.0)));
        assert_eq!(window(&[100.0; 6]).both_means().unwrap()[0].burst(30.0), None, "nothing is known of before");
    }

    #[test]
    fn each_signal_has_its_own_burst() {
        let mut window = window(&[10.0; 40]);
        (0..6).for_each(|_| window.push([10.0, 60.0, 1.0]));
        assert_eq!(window.values(), Some([10.0, 60.0, 1.0]));
    }

    proptest! {
        #[test]
        fn the_value_is_the_rule_of_the_plain_words(rates in proptest::collection::vec(0f32..1e6, 0..80)) {
            let mean = |seconds: usize| {
                let last = &rates[rates.len().saturating_sub(seconds)..];
                last.iter().map(|rate| f64::from(*rate)).sum::<f64>() / last.len() as f64
            };
            let expected = (rates.len() >= 3).then(|| {
                let (short, long) = (mean(6), mean(30));
                if short >= 2.0 * long { short } else { long }
            });
            match (rate(&rates), expected) {
                (Some(value), Some(expected)) => prop_assert!((value - expected).abs() <= 1e-6 * expected.max(1.0)),
                (value, expected) => prop_assert_eq!(value, expected),
            }
        }
    }
}
