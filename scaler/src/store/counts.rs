//! Counts of the last 30 seconds that answers cover.

use std::time::Duration;

use tokio::time::Instant;

use super::window::LONG;

/// The counts of each of the last 30 seconds that answers cover: the counts of an answer are spread over the time since the previous
/// one, whenever it comes. So the seconds add up to all that was counted, however late answers are. Time passes only with answers:
/// a silent source keeps its mean.
#[derive(Debug, Clone)]
pub(super) struct Counts<const N: usize> {
    seconds: [[f32; N]; LONG as usize],
    newest: usize,
    /// The end of the newest second
    until: Instant,
}

impl<const N: usize> Counts<N> {
    /// Creates counts that are zero before this time.
    pub(super) fn since(until: Instant) -> Self {
        Self { seconds: [[0.0; N]; LONG as usize], newest: 0, until }
    }

    /// Adds the counts from the last time to this one.
    pub(super) fn add(&mut self, counted: [f64; N], at: Instant) {
        let seconds = at.saturating_duration_since(self.until).as_secs_f64().round();
        if seconds < 1.0 {
            self.seconds[self.newest] = std::array::from_fn(|i| self.seconds[self.newest][i] + counted[i] as f32);
            return;
        }
        for _ in 0..(seconds as usize).min(self.seconds.len()) {
            self.newest = (self.newest + 1) % self.seconds.len();
            self.seconds[self.newest] = counted.map(|counted| (counted / seconds) as f32);
        }
        // Not `at`: parts of seconds would be lost, or counted twice.
        self.until += Duration::from_secs(seconds as u64);
    }

    /// Skips the time until then, about which nothing is known: the means stay as they are.
    pub(super) fn skip(&mut self, until: Instant) {
        self.until = until;
    }

    /// Returns the means per second over the 30 s.
    pub(super) fn means(&self) -> [f64; N] {
        let sum = |i: usize| self.seconds.iter().map(|second| f64::from(second[i])).sum::<f64>();
        std::array::from_fn(|i| sum(i) / f64::from(LONG))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_late_answer_counts_for_all_the_seconds_that_it_covers() {
        let start = Instant::now();
        let mut counts = Counts::since(start);
        for second in (0..=60).filter(|second| second % 4 == 0) {
            counts.add([if second == 0 { 0.0 } else { 4000.0 }], after(start, second * 1000));
        }
        assert_eq!(counts.means(), [1000.0]);
    }

    #[test]
    fn a_silence_changes_nothing_and_a_long_one_is_spread_over_its_time() {
        let start = Instant::now();
        let mut counts = Counts::since(start);
        (1..=30).for_each(|second| counts.add([30.0], after(start, second * 1000)));
        assert_eq!(counts.means(), [30.0]);
        counts.add([6000.0], after(start, 90_000));
        assert_eq!(counts.means(), [100.0], "6000 of a minute");
    }

    proptest! {
        #[test]
        fn nothing_that_was_counted_is_lost_however_answers_come(
            answers in proptest::collection::vec((50u64..3000, 0u32..1000), 1..10),
        ) {
            let start = Instant::now();
            let mut counts = Counts::since(start);
            let (mut at, mut all) = (0, 0.0);
            for (later, counted) in answers {
                at += later;
                all += f64::from(counted);
                counts.add([f64::from(counted)], after(start, at));
            }
            prop_assert!((counts.means()[0] * 30.0 - all).abs() < 0.01);
        }
    }
}
