//! The lag of a group, from the offsets of its partitions.

use std::time::Duration;

use super::NoOffset;

/// Offsets of one partition, all from one sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// The first offset that still exists
    pub earliest: i64,
    /// The offset of the next message, or with read-committed isolation the first one of an open transaction
    pub latest: i64,
    /// The offset after the last message, including those of open transactions
    pub end: i64,
    /// The next offset that the group will read, if it has committed any
    pub committed: Option<i64>,
    /// Whether nothing was committed for so long that the messages waiting here ask for no replicas
    pub stuck: bool,
}

/// The lag of a group over all of its partitions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lag {
    /// Messages that wait, without those on stuck partitions
    pub messages: u64,
    /// Topics that were measured
    pub topics: u32,
    /// Partitions that were measured
    pub partitions: u32,
    /// Partitions on which messages wait, without stuck ones
    pub with_lag: u32,
    /// Messages that wait on stuck partitions
    pub stuck: u64,
    /// Partitions whose committed offset is beyond their end
    pub beyond: u32,
    /// Rates at which messages arrive and are read, once measured for a while
    pub rates: Option<Rates>,
}

/// Rates over all partitions of a group, from successive sweeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Messages/s that arrive
    pub arriving: f64,
    /// Messages/s that the group commits
    pub consumed: f64,
    /// The fewest messages that waited in that time
    pub least_waiting: u64,
    /// The time over which the rates were measured
    pub over: Duration,
}

/// The error that partitions have no valid committed offset, and the policy is [`NoOffset::Hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the group has committed no offset, or one beyond the end, on {0} of its partitions, and kafka-no-offset is hold"
)]
pub struct NothingCommitted(pub u32);

impl PartitionOffsets {
    /// The committed offset, unless it is beyond the end of the partition.
    ///
    /// An offset beyond the end belongs to messages that are gone: the topic was recreated, or lost its last ones. The group will
    /// begin where its consumers do without an offset (`auto.offset.reset`). An offset may be beyond `latest`, though: consumers
    /// that read uncommitted messages pass an open transaction.
    pub fn valid(&self) -> Option<i64> {
        self.committed.filter(|committed| *committed <= self.end)
    }

    /// Messages that wait.
    ///
    /// Messages that retention has deleted cannot be read any more, so a committed offset before the start of the log is taken as
    /// its start (KEDA counts them as lag, kedacore/keda#7936).
    fn waiting(&self, no_offset: NoOffset) -> u64 {
        let from = match (self.valid(), no_offset) {
            (Some(committed), _) => committed.max(self.earliest),
            (None, NoOffset::Earliest) => self.earliest,
            (None, _) => self.latest,
        };
        u64::try_from(self.latest.saturating_sub(from)).unwrap_or(0)
    }
}

/// Adds up the lag of all partitions.
pub fn lag(partitions: &[PartitionOffsets], no_offset: NoOffset) -> Result<Lag, NothingCommitted> {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let uncommitted = || partitions.iter().filter(|partition| partition.valid().is_none());
    if no_offset == NoOffset::Hold && uncommitted().next().is_some() {
        return Err(NothingCommitted(number(uncommitted().count())));
    }
    let mut lag = Lag { partitions: number(partitions.len()), ..Lag::default() };
    for partition in partitions {
        let waiting = partition.waiting(no_offset);
        let sum = if partition.stuck { &mut lag.stuck } else { &mut lag.messages };
        *sum = sum.saturating_add(waiting);
        lag.with_lag += u32::from(waiting > 0 && !partition.stuck);
        lag.beyond += u32::from(partition.committed.is_some() && partition.valid().is_none());
    }
    // One message keeps one replica: without any, nobody commits a first offset, or one on a stuck partition.
    let untouched =
        no_offset == NoOffset::Latest && uncommitted().any(|partition| partition.latest > partition.earliest);
    if lag.messages == 0 && (untouched || lag.stuck > 0) {
        (lag.messages, lag.with_lag) = (1, 1);
    }
    Ok(lag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partition(earliest: i64, latest: i64, committed: impl Into<Option<i64>>) -> PartitionOffsets {
        PartitionOffsets { earliest, latest, end: latest, committed: committed.into(), stuck: false }
    }

    fn messages(partitions: &[PartitionOffsets], no_offset: NoOffset) -> u64 {
        lag(partitions, no_offset).unwrap().messages
    }

    #[test]
    fn lag_is_what_waits_on_all_partitions() {
        let all = [partition(0, 100, 70), partition(0, 50, 50), partition(10, 20, 15)];
        let wanted = Lag { messages: 35, partitions: 3, with_lag: 2, ..Lag::default() };
        assert_eq!(lag(&all, NoOffset::Latest), Ok(wanted));
    }

    #[test]
    fn what_retention_deleted_does_not_wait() {
        assert_eq!(messages(&[partition(900, 1000, 10)], NoOffset::Latest), 100);
    }

    #[test]
    fn an_offset_beyond_the_end_is_no_offset() {
        for policy in [NoOffset::Latest, NoOffset::Earliest, NoOffset::Zero] {
            let (beyond, none) = (lag(&[partition(0, 5, 9)], policy), lag(&[partition(0, 5, None)], policy));
            assert_eq!(beyond.map(|lag| Lag { beyond: 0, ..lag }), none, "{policy:?}");
        }
        assert_eq!(lag(&[partition(0, 5, 9)], NoOffset::Hold), Err(NothingCommitted(1)));
        let beside = lag(&[partition(0, 5, 9), partition(0, 8, 6)], NoOffset::Latest).unwrap();
        assert_eq!((beside.messages, beside.beyond), (2, 1));
        assert_eq!(lag(&[partition(0, 5, 5)], NoOffset::Hold).unwrap().messages, 0, "all of it was read");
    }

    #[test]
    fn an_offset_within_an_open_transaction_is_one() {
        let open = PartitionOffsets { end: 9, ..partition(0, 5, 9) };
        assert_eq!(lag(&[open], NoOffset::Hold), Ok(Lag { partitions: 1, ..Lag::default() }));
    }

    #[test]
    fn a_partition_without_an_offset_counts_as_asked_for() {
        let all = [partition(10, 100, None), partition(0, 10, 4)];
        assert_eq!(messages(&all, NoOffset::Earliest), 96);
        assert_eq!(messages(&all, NoOffset::Latest), 6);
        assert_eq!(messages(&all, NoOffset::Zero), 6);
        assert_eq!(lag(&all, NoOffset::Hold), Err(NothingCommitted(1)));
    }

    #[test]
    fn a_group_that_has_committed_nothing_is_worth_one_replica_and_not_all() {
        let all = [partition(0, 1_000_000, None), partition(0, 1_000_000, None)];
        assert_eq!(messages(&all, NoOffset::Latest), 1);
        assert_eq!(messages(&all, NoOffset::Zero), 0);
        assert_eq!(messages(&[partition(7, 7, None)], NoOffset::Latest), 0, "there is nothing to read");
    }

    #[test]
    fn what_is_stuck_asks_for_no_replicas_but_for_one_that_tries() {
        let stuck = PartitionOffsets { stuck: true, ..partition(0, 500, 20) };
        let beside = lag(&[stuck, partition(0, 90, 50)], NoOffset::Latest).unwrap();
        assert_eq!((beside.messages, beside.stuck, beside.with_lag, beside.partitions), (40, 480, 1, 2));
        let alone = lag(&[stuck, partition(0, 50, 50)], NoOffset::Latest).unwrap();
        assert_eq!((alone.messages, alone.stuck, alone.with_lag), (1, 480, 1));
    }

    proptest! {
        #[test]
        fn no_offsets_overflow(
            all in proptest::collection::vec(any::<(i64, i64, i64, Option<i64>, bool)>(), 0..20)
        ) {
            let offsets =
                |(earliest, latest, end, committed, stuck)| PartitionOffsets { earliest, latest, end, committed, stuck };
            let all: Vec<_> = all.into_iter().map(offsets).collect();
            for policy in NoOffset::ALL {
                let _ = lag(&all, policy);
            }
        }
    }
}
