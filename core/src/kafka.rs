//! Kafka lag as a signal: the group and partitions that it covers, the lag of a partition without an offset, and the most replicas
//! that it may ask for.

mod drain;
mod keys;
mod lag;
mod topics;

use std::{fmt, str::FromStr, time::Duration};

use serde::Serialize;

pub use self::{
    drain::Throughput,
    lag::{Lag, NothingCommitted, PartitionOffsets, Rates, lag},
    topics::{MOST_MATCHED, NoMatch, NotAPattern, NotTopics, TopicPattern, TopicSelector, Topics},
};
use crate::signal::PerReplica;

/// The intent for a workload that consumes from Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KafkaIntent {
    /// The lag that is measured
    pub lag: KafkaLag,
    /// More messages than this wake the workload from zero
    pub activation: u64,
    /// The most replicas that lag asks for
    pub cap: PartitionCap,
    /// Whether replicas are rounded up so that all have the same number of partitions
    pub even: bool,
}

impl KafkaIntent {
    /// The value that is reported to the HPA for a group's `value` when one replica carries `per_replica`: no more than there are
    /// partitions for and, if even distribution is asked for, enough for a number of replicas that divides the partitions.
    ///
    /// KEDA's kafka scaler has the same two options as `allowIdleConsumers` and `ensureEvenDistributionOfPartitions`.
    pub fn told(&self, value: f64, per_replica: PerReplica, lag: &Lag) -> f64 {
        let most = match self.cap {
            PartitionCap::All => f64::from(lag.partitions),
            PartitionCap::WithLag => f64::from(lag.with_lag),
            PartitionCap::None => f64::INFINITY,
        };
        let value = value.min(most * per_replica.get());
        let replicas = (value / per_replica.get()).ceil();
        if !self.even || replicas < 1.0 || replicas > f64::from(lag.partitions) {
            return value;
        }
        let divides = |replicas: &u32| lag.partitions.is_multiple_of(*replicas);
        let next = (replicas as u32..=lag.partitions).find(divides).unwrap_or(lag.partitions);
        f64::from(next) * per_replica.get()
    }
}

/// The lag of one consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KafkaLag {
    /// The name of the Kafka cluster in Tidegate's configuration
    pub cluster: String,
    /// The consumer group
    pub group: String,
    /// Its topics
    pub topics: Topics,
    /// The partitions of these topics that are measured
    pub partitions: Partitions,
    /// The lag of a partition on which the group has committed nothing
    pub no_offset: NoOffset,
    /// A partition with waiting messages and no commit for this long is left out
    pub stuck_after: Option<Duration>,
}

impl fmt::Display for KafkaLag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}", self.group)?;
        if !self.topics.is_empty() {
            write!(f, " on {}", self.topics)?;
        }
        if self.partitions != Partitions::default() {
            write!(f, " (partitions {})", self.partitions)?;
        }
        write!(f, " of Kafka cluster {}", self.cluster)
    }
}

/// Partition numbers, as ranges: `1,3-5`. All partitions if there is no range.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partitions(Vec<(u32, u32)>);

impl Partitions {
    /// Whether this partition is one of them.
    pub fn contains(&self, partition: i32) -> bool {
        let within = |(from, to): &(u32, u32)| u32::try_from(partition).is_ok_and(|id| (*from..=*to).contains(&id));
        self.0.is_empty() || self.0.iter().any(within)
    }
}

/// The error that a text is not a list of partitions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("numbers and ranges of partitions separated by commas, such as \"1,3-5\"")]
pub struct NotPartitions;

impl FromStr for Partitions {
    type Err = NotPartitions;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| NotPartitions);
        let range = |text: &str| {
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            let (from, to) = (number(from)?, number(to)?);
            if from <= to { Ok((from, to)) } else { Err(NotPartitions) }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |(from, to): &(u32, u32)| if from == to { from.to_string() } else { format!("{from}-{to}") };
        f.write_str(&self.0.iter().map(range).collect::<Vec<_>>().join(","))
    }
}

/// The most replicas that a lag asks for: a partition is read by one member of the group, so more would be idle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionCap {
    /// As many as there are partitions
    #[default]
    All,
    /// As many as there are partitions with lag
    WithLag,
    /// Any number
    None,
}

impl PartitionCap {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::All, Self::WithLag, Self::None];

    /// The value as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "true",
            Self::WithLag => "with-lag",
            Self::None => "false",
        }
    }
}

/// The lag of a partition on which the group has no valid offset: it never read the partition, its offsets have expired, or they
/// are beyond the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoOffset {
    /// All of its messages: the group will begin at the start
    Earliest,
    /// None of its messages, but one replica is kept to begin reading: the group will begin at the end
    #[default]
    Latest,
    /// None of its messages, and no replica to begin reading
    Zero,
    /// The lag is unknown, so replicas stay as they are
    Hold,
}

impl NoOffset {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Earliest, Self::Latest, Self::Zero, Self::Hold];

    /// The value as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Earliest => "earliest",
            Self::Latest => "latest",
            Self::Zero => "zero",
            Self::Hold => "hold",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(cap: PartitionCap, even: bool, value: f64) -> f64 {
        let lag = KafkaLag {
            cluster: "default".into(),
            group: "billing".into(),
            topics: Topics::default(),
            partitions: Partitions::default(),
            no_offset: NoOffset::default(),
            stuck_after: None,
        };
        let found = Lag { partitions: 12, with_lag: 5, ..Lag::default() };
        KafkaIntent { lag, activation: 0, cap, even }.told(value, PerReplica::new(10.0).unwrap(), &found)
    }

    #[test]
    fn no_more_replicas_are_asked_for_than_partitions_can_feed() {
        assert_eq!(told(PartitionCap::All, false, 1000.0), 120.0);
        assert_eq!(told(PartitionCap::WithLag, false, 1000.0), 50.0);
        assert_eq!(told(PartitionCap::None, false, 1000.0), 1000.0);
    }

    #[test]
    fn even_replicas_divide_the_partitions_and_are_never_fewer_than_needed() {
        for (needed, even) in [(1.0, 1.0), (5.0, 6.0), (7.0, 12.0), (11.5, 12.0), (0.0, 0.0)] {
            assert_eq!(told(PartitionCap::All, true, needed * 10.0), even * 10.0, "{needed}");
        }
        assert_eq!(told(PartitionCap::None, true, 1000.0), 1000.0, "idle replicas were asked for");
    }

    #[test]
    fn partitions_are_numbers_and_ranges() {
        let some: Partitions = "1, 3-5".parse().unwrap();
        let counted: Vec<_> = (-1..8).filter(|id| some.contains(*id)).collect();
        assert_eq!((counted, some.to_string().as_str()), (vec![1, 3, 4, 5], "1,3-5"));
        assert!(Partitions::default().contains(7));
        for wrong in ["", "x", "5-3", "1,,2", "-1", "1-2-3", "4294967296"] {
            assert_eq!(wrong.parse::<Partitions>(), Err(NotPartitions), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn partitions_are_read_back(text in "[0-9]{1,3}(-[0-9]{1,3})?(,[0-9]{1,3}){0,3}") {
            if let Ok(partitions) = text.parse::<Partitions>() {
                prop_assert_eq!(partitions.to_string().parse(), Ok(partitions));
            }
        }

        #[test]
        fn no_list_of_partitions_panics(text in ".{0,40}") {
            let _ = text.parse::<Partitions>();
        }
    }
}
