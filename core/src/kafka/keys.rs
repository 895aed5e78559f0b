//! A workload's Kafka keys, as annotations and as metadata of a trigger.

use super::{KafkaIntent, KafkaLag, Partitions, Topics};
use crate::{
    key::Key,
    value::{self, ReadKeys},
};

/// The cluster that applies when none is named.
const DEFAULT_CLUSTER: &str = "default";

impl KafkaIntent {
    /// Reads the keys; `None` without a group.
    pub(crate) fn read(keys: &mut impl ReadKeys) -> Option<Self> {
        let group = keys.read(Key::KafkaGroup, value::text);
        let topics = keys.read(Key::KafkaTopics, value::topics);
        let cluster = keys.read(Key::KafkaCluster, value::object_name);
        let partitions = keys.read(Key::KafkaPartitions, value::partitions);
        let no_offset = keys.read(Key::KafkaNoOffset, value::no_offset);
        let stuck_after = keys.read(Key::KafkaStuckAfter, value::stuck_after);
        let activation = keys.read(Key::KafkaActivation, value::messages);
        let cap = keys.read(Key::KafkaPartitionCap, value::partition_cap);
        let even = keys.read(Key::KafkaEvenDistribution, value::boolean);
        let lag = KafkaLag {
            cluster: cluster.unwrap_or_else(|| DEFAULT_CLUSTER.to_owned()),
            group: group?,
            topics: topics.unwrap_or_default(),
            partitions: partitions.unwrap_or_default(),
            no_offset: no_offset.unwrap_or_default(),
            stuck_after,
        };
        Some(Self {
            lag,
            activation: activation.unwrap_or_default(),
            cap: cap.unwrap_or_default(),
            even: even.unwrap_or_default(),
        })
    }

    /// The metadata that [`Self::read`] reads back. Defaults are left out, except for those that deserve to be seen.
    pub(crate) fn metadata(&self) -> Vec<(&'static str, String)> {
        let Self { lag, activation, cap, even } = self;
        let KafkaLag { cluster, group, topics, partitions, no_offset, stuck_after } = lag;
        let mut metadata = vec![
            (Key::KafkaCluster, cluster.clone()),
            (Key::KafkaGroup, group.clone()),
            (Key::KafkaNoOffset, no_offset.as_str().to_owned()),
            (Key::KafkaPartitionCap, cap.as_str().to_owned()),
        ];
        let topics = (!topics.is_empty()).then(|| written(topics));
        let partitions = (*partitions != Partitions::default()).then(|| partitions.to_string());
        let stuck_after = stuck_after.map(|time| humantime::format_duration(time).to_string());
        metadata.extend(topics.map(|topics| (Key::KafkaTopics, topics)));
        metadata.extend(partitions.map(|partitions| (Key::KafkaPartitions, partitions)));
        metadata.extend(stuck_after.map(|time| (Key::KafkaStuckAfter, time)));
        metadata.extend((*activation > 0).then(|| (Key::KafkaActivation, activation.to_string())));
        metadata.extend(even.then(|| (Key::KafkaEvenDistribution, even.to_string())));
        metadata.into_iter().map(|(key, value)| (key.camel_case(), value)).collect()
    }
}

/// Without spaces, as the operator has always written lists.
fn written(topics: &Topics) -> String {
    topics.selectors().iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl Key {
    /// The keys that define the lag that is measured.
    pub(crate) const OF_KAFKA: [Self; 9] = [
        Self::KafkaGroup,
        Self::KafkaTopics,
        Self::KafkaCluster,
        Self::KafkaPartitions,
        Self::KafkaNoOffset,
        Self::KafkaStuckAfter,
        Self::KafkaActivation,
        Self::KafkaPartitionCap,
        Self::KafkaEvenDistribution,
    ];
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        kafka::{NoOffset, PartitionCap},
        trigger::Trigger,
    };

    proptest! {
        #[test]
        fn what_the_operator_writes_is_read_back(
            group in "[a-z]{1,20}",
            topics in proptest::collection::vec("[a-z.]{1,9}x|/[a-z]{1,5}-(\\.\\*|[a-z]\\{1,3\\})/", 0..3),
            no_offset in proptest::sample::select(&NoOffset::ALL),
            cap in proptest::sample::select(&PartitionCap::ALL),
            partitions in proptest::option::of(0u32..100),
            stuck_after in proptest::option::of(30u64..90_000),
            activation: u64,
            even: bool,
        ) {
            let partitions = partitions.map(|from| format!("{from}-{}", from + 3).parse().unwrap()).unwrap_or_default();
            let topics = topics.join(", ").parse().unwrap_or_default();
            let stuck_after = stuck_after.map(std::time::Duration::from_secs);
            let lag = KafkaLag { cluster: "events".into(), group, topics, partitions, no_offset, stuck_after };
            let kafka = KafkaIntent { lag, activation, cap, even };
            let target = (Key::KafkaLag.camel_case(), "1".to_owned());
            let written: HashMap<_, _> = kafka.metadata().into_iter().chain([target])
                .map(|(key, value)| (key.to_owned(), value)).collect();
            prop_assert_eq!(Trigger::parse("shop", &written).unwrap().kafka, Some(kafka));
        }
    }
}
