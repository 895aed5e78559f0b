//! The rounds of sources: when each begins.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// The time between two rounds, for sources whose users do not set it.
pub(super) const ROUND: Duration = Duration::from_secs(1);

/// The starts of rounds, of which the first is now. Those that a slow round, or a pause of the process, has missed are skipped.
pub(super) fn rounds(every: Duration) -> Interval {
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    rounds
}
