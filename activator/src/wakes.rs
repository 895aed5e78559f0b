//! The wakes of a workload, held to `tidegate.dev/wake-limit`.

use std::time::Duration;

use tidegate_core::wake::WakeLimit;
use tokio::time::Instant;

/// Longest time between two wakes that is kept. Limits cover a day at most; this keeps times in range, whatever they say.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A token bucket: as many wakes at once as the limit counts, and then one each time that a share of its time is over.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    /// The time at which the bucket would be full again; `None` before the first wake
    full_at: Option<Instant>,
}

impl Wakes {
    /// Takes one wake. The error is the time until the next is allowed.
    pub(crate) fn take(&mut self, limit: WakeLimit, now: Instant) -> Result<(), Duration> {
        let each = (limit.per / limit.count.max(1)).min(LONGEST);
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + each;
        // The bucket is empty when it takes the whole time to fill it.
        let missing = full_at.duration_since(now).saturating_sub(each * limit.count.max(1));
        if missing.is_zero() {
            self.full_at = Some(full_at);
            return Ok(());
        }
        Err(missing)
    }

    /// Whether all wakes are free, so that nothing need be remembered.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| now >= full_at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(count: u32, seconds: u64) -> WakeLimit {
        WakeLimit { count, per: Duration::from_secs(seconds) }
    }

    #[test]
    fn as_many_wakes_as_the_limit_counts_are_free_and_the_next_waits_for_its_share_of_the_time() {
        let (mut wakes, start) = (Wakes::default(), Instant::now());
        let limit = limit(3, 600);
        (0..3).for_each(|_| assert_eq!(wakes.take(limit, start), Ok(())));
        assert_eq!(wakes.take(limit, start + Duration::from_secs(50)), Err(Duration::from_secs(150)));
        assert_eq!(wakes.take(limit, start + Duration::from_secs(200)), Ok(()));
        assert!(wakes.take(limit, start + Duration::from_secs(200)).is_err());
        assert!(!wakes.is_full(start + Duration::from_secs(799)) && wakes.is_full(start + Duration::from_secs(800)));
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_has_more_wakes_than_twice_the_limit(
            count in 1u32..20, seconds in 1u64..100, mut at in prop::collection::vec(0u64..1_000_000, 0..200),
        ) {
            at.sort_unstable();
            let (mut wakes, start) = (Wakes::default(), Instant::now());
            let taken: Vec<_> = at.into_iter()
                .filter(|at| wakes.take(limit(count, seconds), start + Duration::from_millis(*at)).is_ok()).collect();
            for from in &taken {
                let within = taken.iter().filter(|at| (*from..from + seconds * 1000).contains(*at)).count();
                prop_assert!(within <= 2 * count as usize);
            }
        }

        #[test]
        fn a_refused_wake_is_allowed_when_it_was_said_to_be(count in 1u32..20, seconds in 1u64..100, gap in 0u64..10_000) {
            let (mut wakes, mut now) = (Wakes::default(), Instant::now());
            let wait = loop {
                match wakes.take(limit(count, seconds), now) {
                    Ok(()) => now += Duration::from_millis(gap % (1 + seconds * 1000 / u64::from(count) / 2)),
                    Err(wait) => break wait,
                }
            };
            prop_assert_eq!(wakes.take(limit(count, seconds), now + wait), Ok(()));
        }
    }
}
