//! Latencies in buckets that grow with the latency: 3 % wide, from a microsecond to hours, in fixed memory.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Buckets per power of two: the relative error of a quantile is below 1/32.
const PER_OCTAVE: usize = 32;
/// The first `PER_OCTAVE` microseconds have a bucket each; then 29 octaves reach 4.7 hours.
const BUCKETS: usize = PER_OCTAVE * 30;

/// Many threads record, one reads now and then.
#[derive(Debug)]
pub(super) struct Recorder([AtomicU64; BUCKETS]);

impl Default for Recorder {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Recorder {
    pub(super) fn record(&self, latency: Duration) {
        let bucket = bucket_of(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        self.0[bucket].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Latencies {
        Latencies(self.0.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect())
    }
}

fn bucket_of(micros: u64) -> usize {
    let octave = (micros.max(PER_OCTAVE as u64).ilog2() - PER_OCTAVE.ilog2()) as usize;
    let within = (micros >> octave) as usize;
    (octave * PER_OCTAVE + within).min(BUCKETS - 1)
}

/// The longest latency that falls into a bucket.
fn upper_edge(bucket: usize) -> Duration {
    let octave = (bucket / PER_OCTAVE).saturating_sub(1);
    let within = (bucket - octave * PER_OCTAVE) as u64;
    Duration::from_micros(((within + 1) << octave) - 1)
}

/// A distribution of latencies, exact to 3 %.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The latency that a share `q` (0 to 1) of the requests did not exceed; `None` when there were none.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = (q.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.0.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(upper_edge(bucket))
    }

    /// Returns the latencies recorded after `earlier`, which is an earlier reading of the same load.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.0.iter().chain(std::iter::repeat(&0));
        Self(self.0.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_99th_percentile_of_1_to_100_ms_is_99_ms_within_3_percent() {
        let recorder = Recorder::default();
        (1..=100).for_each(|ms| recorder.record(Duration::from_millis(ms)));
        let p99 = recorder.read().quantile(0.99).unwrap().as_secs_f64();
        assert!((0.099..0.102).contains(&p99), "{p99}");
    }

    #[test]
    fn no_requests_have_no_quantile() {
        assert_eq!(Recorder::default().read().quantile(0.5), None);
    }

    #[test]
    fn a_later_reading_less_an_earlier_one_is_what_happened_between() {
        let recorder = Recorder::default();
        recorder.record(Duration::from_secs(1));
        let before = recorder.read();
        recorder.record(Duration::from_millis(1));
        let between = recorder.read().since(&before);
        assert_eq!(between.count(), 1);
        assert!(between.quantile(1.0).unwrap() < Duration::from_millis(2));
    }

    proptest! {
        #[test]
        fn a_latency_is_within_3_percent_of_its_buckets_edge(micros in 0u64..10_000_000_000) {
            let edge = upper_edge(bucket_of(micros)).as_micros() as u64;
            prop_assert!(edge >= micros);
            prop_assert!((edge - micros) as f64 <= micros as f64 / 32.0);
        }
    }
}
