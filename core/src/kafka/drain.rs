//! Lag as time: the number of replicas that read the waiting messages, and those that arrive meanwhile, within the target time.

use super::{Lag, Rates};

/// Estimate of the messages/s that one replica reads.
///
/// A replica with too little to do reads less than it could, so its rate is its full throughput only while more messages wait than
/// would be read within the target time. Otherwise the rate is a lower bound: it keeps replicas from being removed too early, and
/// adds none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Throughput {
    per_replica: f64,
    /// Whether it was measured while there was more to do than the replicas could do
    full: bool,
}

impl Throughput {
    /// Updates the estimate from a window in which the number of ready replicas was constant. A group that rebalances or is stuck
    /// reads nothing: the estimate stays.
    pub fn observe(&mut self, rates: &Rates, replicas: u32, seconds: f64) {
        let per_replica = rates.consumed / f64::from(replicas);
        // Without replicas the rate is not finite, and after offsets were reset it may be negative.
        if !per_replica.is_finite() || per_replica <= 0.0 {
            return;
        }
        if rates.least_waiting as f64 >= rates.consumed * seconds {
            *self = Self { per_replica, full: true };
        } else if per_replica > self.per_replica {
            self.per_replica = per_replica;
        }
    }

    /// The estimate in messages/s; `None` before the first one.
    pub fn per_replica(&self) -> Option<f64> {
        (self.per_replica > 0.0).then_some(self.per_replica)
    }

    /// Whether [`Self::per_replica`] is a replica's full throughput, and not a lower bound.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Seconds of work for one replica: for the messages that wait, and those that arrive in `seconds`. Divided by `seconds` it is
    /// the number of replicas that have read all of them by then.
    ///
    /// While a replica's full throughput is unknown, the result is never more than the work of the current `replicas`.
    pub fn work(&self, lag: &Lag, rates: &Rates, seconds: f64, replicas: u32) -> f64 {
        let messages = lag.messages as f64 + rates.arriving * seconds;
        if messages <= 0.0 {
            return 0.0;
        }
        let present = f64::from(replicas.max(1)) * seconds;
        match self.per_replica() {
            Some(per_replica) if self.full => messages / per_replica,
            Some(per_replica) => (messages / per_replica).min(present),
            None => present,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::time::Duration;

    use super::*;

    const MINUTE: f64 = 60.0;

    fn rates(arriving: f64, consumed: f64, least_waiting: u64) -> Rates {
        Rates { arriving, consumed, least_waiting, over: Duration::from_secs(60) }
    }

    fn waiting(messages: u64) -> Lag {
        Lag { messages, ..Lag::default() }
    }

    fn replicas(throughput: &Throughput, lag: u64, rates: &Rates, now: u32) -> f64 {
        throughput.work(&waiting(lag), rates, MINUTE, now) / MINUTE
    }

    #[test]
    fn a_backlog_is_read_in_the_time_that_is_asked_for_while_more_arrives() {
        let (mut throughput, behind) = (Throughput::default(), rates(100.0, 40.0, 30_000));
        throughput.observe(&behind, 2, MINUTE);
        assert_eq!((throughput.per_replica(), throughput.is_full()), (Some(20.0), true));
        // 30,000 that wait and 6,000 that arrive, at 1,200 a replica.
        assert_eq!(replicas(&throughput, 30_000, &behind, 2), 30.0);
        // Everything is read: as many replicas stay as keep up with new messages.
        assert_eq!(replicas(&throughput, 0, &rates(100.0, 100.0, 0), 30), 5.0);
    }

    #[test]
    fn replicas_that_keep_up_do_not_become_more_because_they_have_little_to_do() {
        let (mut throughput, idle) = (Throughput::default(), rates(100.0, 100.0, 0));
        for (lag, now) in [(0, 4), (300, 4), (500, 4)] {
            throughput.observe(&idle, now, MINUTE);
            assert!(replicas(&throughput, lag, &idle, now) <= f64::from(now));
        }
        assert!(!throughput.is_full());
        // Fewer messages arrive, so fewer replicas are enough.
        assert_eq!(replicas(&throughput, 0, &rates(50.0, 50.0, 0), 4), 2.0);
    }

    #[test]
    fn a_group_that_rebalances_keeps_what_was_known() {
        let mut throughput = Throughput::default();
        throughput.observe(&rates(100.0, 40.0, 30_000), 2, MINUTE);
        let known = throughput;
        throughput.observe(&rates(100.0, 0.0, 30_000), 2, MINUTE);
        throughput.observe(&rates(100.0, 40.0, 30_000), 0, MINUTE);
        assert_eq!(throughput, known);
    }

    #[test]
    fn before_anything_was_read_replicas_stay_as_they_are_and_one_begins() {
        let throughput = Throughput::default();
        assert_eq!(replicas(&throughput, 1000, &rates(10.0, 0.0, 0), 3), 3.0);
        assert_eq!(replicas(&throughput, 1000, &rates(10.0, 0.0, 0), 0), 1.0);
        assert_eq!(replicas(&throughput, 0, &rates(0.0, 0.0, 0), 3), 0.0);
    }

    proptest! {
        #[test]
        fn work_is_always_a_number(
            lag: u64, least: u64, arriving in 0.0..1e12f64, consumed in -1e12..1e12f64, now in 0u32..1000, seconds in 0.001..1e12f64
        ) {
            let (mut throughput, rates) = (Throughput::default(), rates(arriving, consumed, least));
            throughput.observe(&rates, now, seconds);
            let work = throughput.work(&waiting(lag), &rates, seconds, now);
            prop_assert!(work.is_finite() && work >= 0.0, "{work}");
        }
    }
}
