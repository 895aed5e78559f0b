//! `kafka` and `apache-kafka` triggers.

use super::Trigger;
use crate::migrate::{brokers::Brokers, draft::Draft};

/// Threshold where a trigger gives none (`kafka_scaler.go`).
const DEFAULT_LAG: &str = "10";

/// Turns a trigger, or says why it stays one of KEDA's.
pub(super) fn turn(trigger: &Trigger<'_>, brokers: &mut Brokers, draft: &mut Draft) -> Result<(), String> {
    trigger.is_per_replica()?;
    if draft.has("kafka-lag") {
        return Err("a workload has one Kafka group, which another trigger gives".to_owned());
    }
    if let Some(key) = trigger.env_key() {
        return Err(format!("{key} reads the pod's environment, which Tidegate does not"));
    }
    let servers = trigger.get("bootstrapServers").ok_or("it has no bootstrapServers")?;
    let group = trigger.get("consumerGroup").ok_or("it has no consumerGroup")?;
    let threshold = trigger.get("lagThreshold").unwrap_or_else(|| DEFAULT_LAG.to_owned());
    if !threshold.parse().is_ok_and(|lag: u32| lag > 0) {
        return Err(format!("its lagThreshold is \"{threshold}\""));
    }
    let cluster = brokers.name(&servers).ok_or("its bootstrapServers name no broker")?;
    draft.set("kafka-lag", threshold);
    draft.set("kafka-group", group);
    draft.set("kafka-cluster", cluster);
    for (theirs, ours) in [("topic", "kafka-topics"), ("partitionLimitation", "kafka-partitions")] {
        if let Some(value) = trigger.get(theirs) {
            draft.set(ours, value);
        }
    }
    if let Some(activation) = trigger.get("activationLagThreshold").filter(|lag| lag != "0") {
        draft.set("kafka-activation", activation);
    }
    flags(trigger, draft);
    if draft.annotations.get("tidegate.dev/kafka-partition-cap").map(String::as_str) != Some("false") {
        draft.note(
            trigger.field("metadata"),
            "there are never more replicas than partitions; KEDA, which rounds down before it compares, has one more at times",
        );
    }
    Ok(())
}

fn flags(trigger: &Trigger<'_>, draft: &mut Draft) {
    let is = |key: &str| trigger.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if is("scaleToZeroOnInvalidOffset") {
        draft.set("kafka-no-offset", "zero");
    } else if trigger.get("offsetResetPolicy").as_deref() == Some("earliest") {
        draft.set("kafka-no-offset", "earliest");
    }
    if is("limitToPartitionsWithLag") {
        draft.set("kafka-partition-cap", "with-lag");
    } else if is("allowIdleConsumers") {
        draft.set("kafka-partition-cap", "false");
    }
    if is("ensureEvenDistributionOfPartitions") {
        draft.set("kafka-even-distribution", "true");
    }
    if is("excludePersistentLag") {
        draft.set("kafka-stuck-after", "10m");
        draft.note(
            trigger.field("metadata.excludePersistentLag"),
            "KEDA leaves a partition out that did not move between two polls; tidegate.dev/kafka-stuck-after does after 10 min",
        );
    }
}
