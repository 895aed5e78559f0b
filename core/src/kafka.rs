//! Whose Kafka lag counts, and what a partition of it is worth.

use std::fmt;

use serde::Serialize;

/// The lag of one consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KafkaLag {
    /// The name of the Kafka cluster in Tidegate's configuration
    pub cluster: String,
    /// The consumer group
    pub group: String,
    /// Its topics; empty for all that the group has offsets for
    pub topics: Vec<String>,
    /// What a partition counts on which the group has committed nothing
    pub no_offset: NoOffset,
    /// Never more replicas than partitions
    pub partition_cap: bool,
}

impl fmt::Display for KafkaLag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}", self.group)?;
        if !self.topics.is_empty() {
            write!(f, " on {}", self.topics.join(", "))?;
        }
        write!(f, " of Kafka cluster {}", self.cluster)
    }
}

/// What a partition counts on which the group has committed nothing: it never read it, or its offsets have expired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoOffset {
    /// All of its messages: the group will begin at the start
    Earliest,
    /// None of them, but one replica is there to begin: the group will begin at the end
    #[default]
    Latest,
    /// Nothing at all
    Zero,
    /// There is no lag to tell, so replicas stay as they are
    Hold,
}

impl NoOffset {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Earliest, Self::Latest, Self::Zero, Self::Hold];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Earliest => "earliest",
            Self::Latest => "latest",
            Self::Zero => "zero",
            Self::Hold => "hold",
        }
    }
}

/// Offsets of one partition, all of one sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// The first that is still there
    pub earliest: i64,
    /// The one that the next message gets, or with read-committed isolation the first of an open transaction
    pub latest: i64,
    /// The next that the group will read, if it has committed any
    pub committed: Option<i64>,
}

/// The lag of a group over all of its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Messages that wait
    pub messages: u64,
    /// Partitions that they may be on
    pub partitions: u32,
}

/// A partition has no committed offset, and the policy is [`NoOffset::Hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the group has committed no offset on {0} of its partitions, and kafka-no-offset is hold")]
pub struct NothingCommitted(pub u32);

/// Adds up partitions.
///
/// What retention has deleted cannot be read any more, so a committed offset before the start of the log counts as its start
/// (KEDA counts it as lag, kedacore/keda#7936).
pub fn lag(partitions: &[PartitionOffsets], no_offset: NoOffset) -> Result<Lag, NothingCommitted> {
    let uncommitted = partitions.iter().filter(|partition| partition.committed.is_none());
    if no_offset == NoOffset::Hold && uncommitted.clone().next().is_some() {
        return Err(NothingCommitted(u32::try_from(uncommitted.count()).unwrap_or(u32::MAX)));
    }
    let waiting = |partition: &PartitionOffsets| {
        let PartitionOffsets { earliest, latest, committed } = *partition;
        let from = match (committed, no_offset) {
            (Some(committed), _) => committed.max(earliest),
            (None, NoOffset::Earliest) => earliest,
            (None, _) => latest,
        };
        u64::try_from(latest.saturating_sub(from)).unwrap_or(0)
    };
    let mut messages = partitions.iter().map(waiting).fold(0, u64::saturating_add);
    // Nobody commits the first offset while there is no replica.
    let untouched = uncommitted.clone().any(|partition| partition.latest > partition.earliest);
    if messages == 0 && no_offset == NoOffset::Latest && untouched {
        messages = 1;
    }
    Ok(Lag { messages, partitions: u32::try_from(partitions.len()).unwrap_or(u32::MAX) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partition(earliest: i64, latest: i64, committed: impl Into<Option<i64>>) -> PartitionOffsets {
        PartitionOffsets { earliest, latest, committed: committed.into() }
    }

    fn messages(partitions: &[PartitionOffsets], no_offset: NoOffset) -> u64 {
        lag(partitions, no_offset).unwrap().messages
    }

    #[test]
    fn lag_is_what_waits_on_all_partitions() {
        let all = [partition(0, 100, 70), partition(0, 50, 50), partition(10, 20, 15)];
        assert_eq!(lag(&all, NoOffset::Latest), Ok(Lag { messages: 35, partitions: 3 }));
    }

    #[test]
    fn what_retention_deleted_does_not_wait() {
        assert_eq!(messages(&[partition(900, 1000, 10)], NoOffset::Latest), 100);
    }

    #[test]
    fn an_offset_beyond_the_end_is_no_negative_lag() {
        assert_eq!(messages(&[partition(0, 5, 9), partition(0, 8, 6)], NoOffset::Latest), 2);
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

    proptest! {
        #[test]
        fn no_offsets_overflow(all in proptest::collection::vec((any::<i64>(), any::<i64>(), any::<Option<i64>>()), 0..20)) {
            let all: Vec<_> = all.into_iter().map(|(earliest, latest, committed)| partition(earliest, latest, committed)).collect();
            for policy in NoOffset::ALL {
                let _ = lag(&all, policy);
            }
        }
    }
}
