//! The refusals of a workload that somebody should know of: by its `wake-limit`, and after its `hold-timeout`.
//!
//! Refusals that follow each other are one episode, which is counted from its first.

use std::time::Duration;

use chrono::Utc;
use tidegate_core::{
    refused::{Limited, NoPod, Refused, TimedOut},
    wake::WakeLimit,
};
use tokio::time::Instant;

/// Time without a refusal after which an episode is over. An episode is one event, so a short time would make many.
const OVER_AFTER: Duration = Duration::from_secs(600);
/// Longest clause about a pod that is kept, in bytes.
const LONGEST_CAUSE: usize = 500;

/// The current episodes.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    limited: Option<(Limited, Instant)>,
    timed_out: Option<(TimedOut, Instant)>,
}

impl Refusals {
    /// Counts a request that was not allowed to wake the workload for this long. Whether an episode begins with it.
    pub(crate) fn limited(&mut self, limit: WakeLimit, wait: Duration, now: Instant) -> bool {
        self.forget(now);
        let (count, since) = self.limited.take().map_or((0, Utc::now()), |(known, _)| (known.count, known.since));
        let until = chrono::TimeDelta::from_std(wait).ok().and_then(|wait| Utc::now().checked_add_signed(wait));
        let limited = Limited { count: count + 1, since, until: until.unwrap_or_default() };
        // A scanner is refused, wakes it, and is refused again: that is one episode.
        let over_at = now + OVER_AFTER.max(limit.per.min(crate::wakes::LONGEST));
        self.limited = Some((limited, over_at));
        count == 0
    }

    /// Counts a request that was held for this long, and found no pod.
    pub(crate) fn timed_out(&mut self, held: Duration, mut cause: NoPod, now: Instant) {
        self.forget(now);
        if let NoPod::NotReady(why) | NoPod::Unreachable(why) = &mut cause {
            why.truncate(why.floor_char_boundary(LONGEST_CAUSE));
        }
        let (count, since) = self.timed_out.take().map_or((0, Utc::now()), |(known, _)| (known.count, known.since));
        self.timed_out = Some((TimedOut { count: count + 1, since, held, cause }, now + OVER_AFTER));
    }

    /// The current episodes.
    pub(crate) fn now(&mut self, now: Instant) -> Refused {
        self.forget(now);
        Refused {
            limited: self.limited.as_ref().map(|(limited, _)| limited.clone()),
            timed_out: self.timed_out.as_ref().map(|(timed_out, _)| timed_out.clone()),
        }
    }

    fn forget(&mut self, now: Instant) {
        self.limited.take_if(|(_, over_at)| now >= *over_at);
        self.timed_out.take_if(|(_, over_at)| now >= *over_at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(seconds: u64) -> WakeLimit {
        WakeLimit { count: 1, per: Duration::from_secs(seconds) }
    }

    #[test]
    fn refusals_that_follow_each_other_are_counted_together_and_a_long_pause_begins_anew() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let count = |refused: Refused| refused.timed_out.map(|timed_out| (timed_out.count, timed_out.cause));
        refusals.timed_out(Duration::from_secs(60), NoPod::Busy(8), at(0));
        refusals.timed_out(Duration::from_secs(60), NoPod::NotReady("it crashes".into()), at(599));
        assert_eq!(count(refusals.now(at(1_198))), Some((2, NoPod::NotReady("it crashes".into()))));
        assert_eq!(count(refusals.now(at(1_199))), None);
        refusals.timed_out(Duration::from_secs(60), NoPod::Busy(8), at(1_200));
        assert_eq!(count(refusals.now(at(1_200))), Some((1, NoPod::Busy(8))));
    }

    #[test]
    fn a_limit_binds_in_one_episode_for_as_long_as_its_own_time() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        refusals.limited(limit(3_600), Duration::from_secs(120), start);
        let hour = start + Duration::from_secs(3_599);
        let told = refusals.now(hour).limited.unwrap();
        assert!((119..=120).contains(&(told.until - told.since).num_seconds()), "{told:?}");
        refusals.limited(limit(3_600), Duration::from_secs(120), hour);
        assert_eq!(refusals.now(hour).limited.unwrap().count, 2);
        assert_eq!(refusals.now(hour + Duration::from_secs(3_600)), Refused::default());
    }

    proptest! {
        #[test]
        fn a_cause_of_any_length_is_kept_in_part_and_no_time_makes_it_panic(why in "\\PC{0,600}", wait in any::<u64>(), per in any::<u64>()) {
            let (mut refusals, now) = (Refusals::default(), Instant::now());
            refusals.limited(limit(per), Duration::from_secs(wait), now);
            refusals.timed_out(Duration::from_secs(wait), NoPod::Unreachable(why.clone()), now);
            let Some(NoPod::Unreachable(kept)) = refusals.now(now).timed_out.map(|timed_out| timed_out.cause) else { panic!() };
            prop_assert!(kept.len() <= LONGEST_CAUSE && why.starts_with(&kept));
        }
    }
}
