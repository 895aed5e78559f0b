//! The rate of arrivals over a short time.

use std::time::Duration;

/// The time that a rate covers, and for which a workload counts as awake after the last arrival.
pub(crate) const WINDOW: Duration = Duration::from_secs(6);
const SLOT: Duration = Duration::from_millis(500);
const SLOTS: usize = 12;

/// Counts of arrivals in slots of half a second. The time is given from outside, as the time since some start.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    counts: [u32; SLOTS],
    /// The slot of the newest count, numbered from the start
    newest: u64,
}

impl Arrivals {
    /// Counts one arrival.
    pub(crate) fn count(&mut self, since_start: Duration) {
        let slot = self.proceed(since_start);
        let count = &mut self.counts[slot];
        *count = count.saturating_add(1);
    }

    /// The rate in arrivals/s over the window that ends now.
    pub(crate) fn per_second(&mut self, since_start: Duration) -> f64 {
        self.proceed(since_start);
        let covered = WINDOW.saturating_sub(SLOT) + Duration::from_nanos(into_slot(since_start));
        self.counts.iter().map(|count| f64::from(*count)).sum::<f64>() / covered.as_secs_f64()
    }

    /// Empties the slots that have begun since the last call, and returns the index of the current one.
    fn proceed(&mut self, since_start: Duration) -> usize {
        let slot = (since_start.as_nanos() / SLOT.as_nanos()) as u64;
        let begun = slot.saturating_sub(self.newest).min(SLOTS as u64);
        (0..begun).for_each(|back| self.counts[index(slot - back)] = 0);
        self.newest = self.newest.max(slot);
        index(self.newest)
    }
}

fn index(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}

fn into_slot(since_start: Duration) -> u64 {
    (since_start.as_nanos() % SLOT.as_nanos()) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arrivals_count_for_six_seconds_and_then_no_longer() {
        let mut arrivals = Arrivals::default();
        (0..12).for_each(|_| arrivals.count(Duration::from_millis(10)));
        assert!((arrivals.per_second(Duration::from_millis(5_900)) - 12.0 / 5.9).abs() < 1e-9);
        assert_eq!(arrivals.per_second(Duration::from_millis(6_000)), 0.0);
    }

    #[test]
    fn after_a_long_silence_nothing_of_before_is_left() {
        let mut arrivals = Arrivals::default();
        for second in 0..10 {
            arrivals.count(Duration::from_secs(second));
        }
        assert_eq!(arrivals.per_second(Duration::from_secs(1_000_000)), 0.0);
    }

    proptest! {
        #[test]
        fn the_rate_is_the_count_of_the_window_over_its_time(mut at in prop::collection::vec(0u64..20_000, 0..50), now in 0u64..25_000) {
            at.sort_unstable();
            at.retain(|at| *at <= now);
            let mut arrivals = Arrivals::default();
            for at in &at {
                arrivals.count(Duration::from_millis(*at));
            }
            let from = (now / 500 * 500).saturating_sub(5_500);
            let counted = at.iter().filter(|at| **at >= from).count() as f64;
            let covered = 5.5 + (now % 500) as f64 / 1000.0;
            prop_assert!((arrivals.per_second(Duration::from_millis(now)) - counted / covered).abs() < 1e-9);
        }
    }
}
