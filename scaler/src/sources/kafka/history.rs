//! The history of sweeps: how fast partitions move, and which stand still.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use tidegate_core::kafka::{KafkaLag, Lag, NothingCommitted, PartitionOffsets, Rates, lag};

use tidegate_kafka_admin::Partition;

/// The window of rates. Consumers commit every 5 s by default, and a shorter window would show single commits. A longer one would
/// delay the estimate of what a replica reads, which needs a whole window with the present number of replicas.
const WINDOW: Duration = Duration::from_secs(30);
/// Shortest time for which rates are reported.
const SOONEST: Duration = Duration::from_secs(20);

/// The past of each lag that is asked for.
#[derive(Default)]
pub(super) struct History(HashMap<KafkaLag, Past>);

#[derive(Default)]
struct Past {
    sweeps: VecDeque<Seen>,
    still: HashMap<Partition, Still>,
}

/// The sums over all partitions in one sweep.
struct Seen {
    at: Instant,
    ends: i128,
    committed: i128,
    waiting: u64,
    partitions: u32,
}

/// A partition on which messages wait and nothing is committed.
struct Still {
    committed: i64,
    since: Instant,
}

impl History {
    /// The lag of these partitions now, with the rates and the stuck partitions that earlier sweeps show.
    pub(super) fn lag(
        &mut self,
        wanted: &KafkaLag,
        partitions: Vec<(Partition, PartitionOffsets)>,
        now: Instant,
    ) -> Result<Lag, NothingCommitted> {
        let past = self.0.entry(wanted.clone()).or_default();
        // After a gap the past is dropped: while Kafka does not answer, no consumer can commit either.
        if past.sweeps.back().is_some_and(|last| now.duration_since(last.at) > WINDOW) {
            *past = Past::default();
        }
        let offsets: Vec<_> = partitions
            .into_iter()
            .map(|(partition, offsets)| {
                let stuck =
                    wanted.stuck_after.is_some_and(|after| past.stands_still(partition, &offsets, now) >= after);
                PartitionOffsets { stuck, ..offsets }
            })
            .collect();
        let lag = lag(&offsets, wanted.no_offset)?;
        Ok(Lag { rates: past.rates(&offsets, &lag, now), ..lag })
    }

    /// Forgets all lags but the wanted ones.
    pub(super) fn keep(&mut self, wanted: &[KafkaLag]) {
        if self.0.len() > wanted.len() {
            self.0.retain(|lag, _| wanted.binary_search(lag).is_ok());
        }
    }
}

impl Past {
    /// The time for which nothing was committed while messages wait.
    fn stands_still(&mut self, partition: Partition, offsets: &PartitionOffsets, now: Instant) -> Duration {
        let Some(committed) = offsets.valid().filter(|committed| *committed < offsets.latest) else {
            self.still.remove(&partition);
            return Duration::ZERO;
        };
        let still = self.still.entry(partition).or_insert(Still { committed, since: now });
        if still.committed != committed {
            *still = Still { committed, since: now };
        }
        now.duration_since(still.since)
    }

    fn rates(&mut self, offsets: &[PartitionOffsets], lag: &Lag, now: Instant) -> Option<Rates> {
        let sum = |of: fn(&PartitionOffsets) -> i64| offsets.iter().map(|partition| i128::from(of(partition))).sum();
        let seen = Seen {
            at: now,
            ends: sum(|partition| partition.latest),
            // Without a committed offset nothing was read: the first offset stands in for it.
            committed: sum(|partition| partition.valid().unwrap_or(partition.earliest)),
            waiting: lag.messages.saturating_add(lag.stuck),
            partitions: lag.partitions,
        };
        // If partitions were added, a topic was recreated or offsets were reset, the sums do not show how much was read.
        let goes_on = |last: &Seen| {
            last.partitions == seen.partitions && last.ends <= seen.ends && last.committed <= seen.committed
        };
        if !self.sweeps.back().is_none_or(goes_on) {
            self.sweeps.clear();
        }
        self.sweeps.push_back(seen);
        // The oldest that is kept is the last one from before the window.
        while self.sweeps.get(1).is_some_and(|next| now.duration_since(next.at) >= WINDOW) {
            self.sweeps.pop_front();
        }
        let (oldest, newest) = (self.sweeps.front()?, self.sweeps.back()?);
        let over = newest.at.duration_since(oldest.at);
        let per_second = |messages: i128| messages as f64 / over.as_secs_f64();
        (over >= SOONEST).then(|| Rates {
            arriving: per_second(newest.ends - oldest.ends),
            consumed: per_second(newest.committed - oldest.committed),
            least_waiting: self.sweeps.iter().map(|seen| seen.waiting).min().unwrap_or(0),
            over,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_core::kafka::{NoOffset, Partitions};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn wanted(stuck_after: Option<Duration>) -> KafkaLag {
        KafkaLag {
            cluster: "default".into(),
            group: "billing".into(),
            topics: tidegate_core::kafka::Topics::default(),
            partitions: Partitions::default(),
            no_offset: NoOffset::Latest,
            stuck_after,
        }
    }

    fn offsets(all: &[(i64, i64)]) -> Vec<(Partition, PartitionOffsets)> {
        let offsets = |(id, (latest, committed)): (usize, &(i64, i64))| {
            let (latest, committed) = (*latest, Some(*committed));
            let offsets = PartitionOffsets { earliest: 0, latest, end: latest, committed, stuck: false };
            (("events".to_owned(), i32::try_from(id).unwrap()), offsets)
        };
        all.iter().enumerate().map(offsets).collect()
    }

    /// Sweeps each second; `at` gives end and committed offset of each partition.
    fn sweep(
        history: &mut History,
        wanted: &KafkaLag,
        seconds: std::ops::Range<u32>,
        start: Instant,
        at: impl Fn(i64) -> Vec<(i64, i64)>,
    ) -> Lag {
        let mut last = Lag::default();
        for second in seconds {
            last = history.lag(wanted, offsets(&at(second.into())), start + SECOND * second).unwrap();
        }
        last
    }

    #[test]
    fn rates_are_of_the_last_30_seconds_and_known_after_20() {
        let (mut history, start, wanted) = (History::default(), Instant::now(), wanted(None));
        let early = sweep(&mut history, &wanted, 0..20, start, |t| vec![(1000 + 10 * t, 4 * t)]);
        assert_eq!(early.rates, None);
        let rates = sweep(&mut history, &wanted, 20..200, start, |t| vec![(1000 + 10 * t, 4 * t)]).rates.unwrap();
        assert_eq!((rates.arriving, rates.consumed, rates.over), (10.0, 4.0, WINDOW));
        assert_eq!(rates.least_waiting, 1000 + 6 * 169, "30 s before second 199");
    }

    #[test]
    fn offsets_that_were_reset_and_partitions_that_were_added_are_no_rate() {
        let (mut history, start, wanted) = (History::default(), Instant::now(), wanted(None));
        assert!(sweep(&mut history, &wanted, 0..30, start, |t| vec![(10 * t, 10 * t)]).rates.is_some());
        assert_eq!(sweep(&mut history, &wanted, 30..31, start, |_| vec![(300, 0)]).rates, None);
        assert!(sweep(&mut history, &wanted, 31..60, start, |_| vec![(300, 0)]).rates.is_some());
        assert_eq!(sweep(&mut history, &wanted, 60..61, start, |_| vec![(300, 0), (5, 0)]).rates, None);
    }

    #[test]
    fn a_partition_that_stands_still_for_the_time_does_not_count_until_it_moves() {
        let (mut history, start, wanted) = (History::default(), Instant::now(), wanted(Some(SECOND * 60)));
        let poisoned = |t: i64| vec![(100 + t, 7), (100 + t, 90 + t)];
        let lag = sweep(&mut history, &wanted, 0..60, start, poisoned);
        assert_eq!((lag.messages, lag.stuck), (100 + 59 - 7 + 10, 0));
        let lag = sweep(&mut history, &wanted, 60..61, start, poisoned);
        assert_eq!((lag.messages, lag.stuck), (10, 153));
        let lag = sweep(&mut history, &wanted, 61..62, start, |t| vec![(100 + t, 8), (100 + t, 90 + t)]);
        assert_eq!((lag.messages, lag.stuck), (163, 0));
    }

    #[test]
    fn a_partition_without_lag_never_stands_still_and_neither_does_one_while_kafka_is_away() {
        let (mut history, start, wanted) = (History::default(), Instant::now(), wanted(Some(SECOND * 60)));
        sweep(&mut history, &wanted, 0..300, start, |_| vec![(100, 100)]);
        let lag = sweep(&mut history, &wanted, 300..310, start, |_| vec![(200, 100)]);
        assert_eq!((lag.messages, lag.stuck), (100, 0));
        let lag = sweep(&mut history, &wanted, 900..901, start, |_| vec![(200, 100)]);
        assert_eq!((lag.messages, lag.stuck), (100, 0));
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let (mut history, now) = (History::default(), Instant::now());
        let (one, other) = (wanted(None), wanted(Some(SECOND)));
        for lag in [&one, &other] {
            history.lag(lag, offsets(&[(5, 1)]), now).unwrap();
        }
        history.keep(std::slice::from_ref(&other));
        assert_eq!(history.0.keys().collect::<Vec<_>>(), [&other]);
    }

    proptest! {
        #[test]
        fn rates_are_always_numbers(sweeps in proptest::collection::vec(proptest::collection::vec((any::<i64>(), any::<i64>()), 0..4), 0..60)) {
            let (mut history, start, wanted) = (History::default(), Instant::now(), wanted(Some(SECOND)));
            for (second, all) in (0u32..).zip(sweeps) {
                let rates = history.lag(&wanted, offsets(&all), start + SECOND * second).unwrap().rates;
                prop_assert!(rates.is_none_or(|rates| rates.arriving >= 0.0 && rates.consumed.is_finite()));
            }
        }
    }
}
