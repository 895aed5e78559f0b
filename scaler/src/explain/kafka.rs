//! Explanation of a consumer group: its lag, and the rate at which it reads.

use std::fmt;

use serde::Serialize;
use tidegate_core::{
    kafka::{KafkaIntent, KafkaLag, PartitionCap, TopicSelector},
    signal::Signal,
    trigger::Trigger,
};

use crate::demand::KafkaNow;

/// Explanation for partitions that end before the offset that a group has committed.
const BEYOND: &str = "beyond the end, as after a topic was recreated: kafka-no-offset says what that counts.";

/// A consumer group and its lag.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedKafka {
    /// The name of the Kafka cluster
    pub cluster: String,
    /// The consumer group
    pub group: String,
    /// Its topics and patterns of topics; empty for all topics that it has offsets for
    pub topics: Vec<String>,
    /// The number of topics that these are
    pub topics_found: u32,
    /// Messages that wait
    pub messages: u64,
    /// Partitions that are taken into account
    pub partitions: u32,
    /// Partitions on which messages wait
    pub partitions_with_lag: u32,
    /// Messages that wait on stuck partitions, which are not part of the lag
    pub stuck_messages: u64,
    /// Partitions whose committed offset is beyond their end, which is treated as no offset
    pub partitions_beyond_end: u32,
    /// Messages/s that arrive
    pub arriving_per_second: Option<f64>,
    /// Messages/s that the group reads
    pub consumed_per_second: Option<f64>,
    /// Messages/s that one replica reads, for a target in seconds
    pub consumed_per_replica: Option<f64>,
    /// Whether that is the most that a replica can read
    pub replicas_are_busy: bool,
    /// Replicas that are kept until the group has settled
    pub held_at: Option<u32>,
    #[serde(skip)]
    by_pattern: bool,
    #[serde(skip)]
    in_seconds: bool,
    #[serde(skip)]
    cap: PartitionCap,
}

impl ExplainedKafka {
    pub(super) fn new(trigger: &Trigger, kafka: &KafkaIntent, now: &KafkaNow) -> Self {
        let KafkaLag { cluster, group, topics, .. } = &kafka.lag;
        let in_seconds = trigger.targets.iter().any(|target| target.signal == Signal::KafkaLagSeconds);
        Self {
            cluster: cluster.clone(),
            group: group.clone(),
            topics: topics.selectors().iter().map(TopicSelector::to_string).collect(),
            topics_found: now.lag.topics,
            by_pattern: topics.patterns().next().is_some(),
            messages: now.lag.messages,
            partitions: now.lag.partitions,
            partitions_with_lag: now.lag.with_lag,
            stuck_messages: now.lag.stuck,
            partitions_beyond_end: now.lag.beyond,
            arriving_per_second: now.lag.rates.map(|rates| rates.arriving),
            consumed_per_second: now.lag.rates.map(|rates| rates.consumed),
            consumed_per_replica: now.throughput.per_replica(),
            replicas_are_busy: now.throughput.is_full(),
            held_at: now.held_at,
            in_seconds,
            cap: kafka.cap,
        }
    }

    /// The most replicas that partitions can feed; `None` where partitions are no limit.
    pub(super) fn most(&self) -> Option<u32> {
        match self.cap {
            PartitionCap::All => Some(self.partitions),
            PartitionCap::WithLag => Some(self.partitions_with_lag),
            PartitionCap::None => None,
        }
        .filter(|most| *most > 0)
    }

    fn pace(&self) -> String {
        match (self.consumed_per_replica, self.replicas_are_busy) {
            (Some(pace), true) => format!("A replica reads {pace:.1} messages/s."),
            (Some(pace), false) => format!(
                "A replica reads at least {pace:.1} messages/s; how much it can read is seen when it has more to do than it can."
            ),
            (None, _) => {
                "How much a replica can read was not seen yet: replicas stay as they are until it is.".to_owned()
            }
        }
    }
}

/// `15 messages wait on 2 of 4 partitions for group ledger. 100.0 messages/s arrive, 40.0 are read.`
impl fmt::Display for ExplainedKafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, group, topics, messages, partitions, partitions_with_lag, stuck_messages, .. } = self;
        let verb = if *messages == 1 { "message waits" } else { "messages wait" };
        write!(f, "{messages} {verb} on {partitions_with_lag} of {partitions} partitions for group {group}")?;
        if !topics.is_empty() {
            write!(f, " on {}", topics.join(", "))?;
        }
        if self.by_pattern {
            write!(f, " ({} topics)", self.topics_found)?;
        }
        write!(f, " of Kafka cluster {cluster}.")?;
        if *stuck_messages > 0 {
            write!(f, " {stuck_messages} more are on partitions where nothing moves, and do not count.")?;
        }
        match self.partitions_beyond_end {
            0 => {}
            1 => write!(f, " The offset on one partition is {BEYOND}")?,
            beyond => write!(f, " The offsets on {beyond} partitions are {BEYOND}")?,
        }
        if let (Some(arriving), Some(consumed)) = (self.arriving_per_second, self.consumed_per_second) {
            write!(f, " {arriving:.1} messages/s arrive, {consumed:.1} are read.")?;
        }
        if self.in_seconds {
            write!(f, " {}", self.pace())?;
        }
        if let Some(replicas) = self.held_at {
            write!(f, " The group gave up replicas within the last minute: {replicas} are kept until it has settled.")?;
        }
        Ok(())
    }
}
