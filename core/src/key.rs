//! The keys that users write: `tidegate.dev/…` annotations, and the same names in camelCase in a trigger's metadata.

use std::fmt;

use serde::Serialize;

/// Bytes of the longest name that is compared with others, to find the one that was meant.
pub(crate) const LONGEST_NAME: usize = 64;

/// The prefix of every annotation of Tidegate.
pub const PREFIX: &str = "tidegate.dev/";

/// The annotation of a Gateway in which Tidegate says how many proxies it has, and why.
pub const STATUS: &str = "tidegate.dev/status";

/// The field of [`STATUS`] that keeps the annotations that a Gateway's intent was made of.
pub const APPLIED_IN_STATUS: &str = "applied";

/// The kinds of object that annotations are written on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Place {
    /// A Deployment or StatefulSet
    Workload,
    /// A Gateway of the Gateway API
    Gateway,
    /// A Namespace: defaults for the workloads and Gateways in it
    Namespace,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Workload => "a Deployment or StatefulSet",
            Self::Gateway => "a Gateway",
            Self::Namespace => "a Namespace",
        })
    }
}

macro_rules! keys {
    ($($variant:ident $kebab:literal $camel:literal $gateway:literal $doc:literal;)*) => {
        /// One key that users write.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Key { $(#[doc = $doc] $variant,)* }

        impl Key {
            /// All keys, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The annotation without its prefix: `requests-per-second`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $kebab,)* }
            }

            /// The key in a trigger's metadata: `requestsPerSecond`.
            pub fn camel_case(self) -> &'static str {
                match self { $(Self::$variant => $camel,)* }
            }

            fn on_gateways(self) -> bool {
                match self { $(Self::$variant => $gateway,)* }
            }
        }
    };
}

keys! {
    MinReplicas "min-replicas" "minReplicas" true "Lowest number of replicas inside hours";
    MaxReplicas "max-replicas" "maxReplicas" true "Highest number of replicas";
    RequestsPerSecond "requests-per-second" "requestsPerSecond" true "Requests/s that one replica carries";
    Concurrency "concurrency" "concurrency" true "Requests in flight that one replica carries";
    Connections "connections" "connections" true "Open TCP connections that one replica carries";
    KafkaLag "kafka-lag" "kafkaLag" false "Messages waiting per replica";
    KafkaLagSeconds "kafka-lag-seconds" "kafkaLagSeconds" false "Seconds in which what waits is to be read";
    KafkaGroup "kafka-group" "kafkaGroup" false "The consumer group whose lag counts";
    KafkaTopics "kafka-topics" "kafkaTopics" false "The topics whose lag counts";
    KafkaCluster "kafka-cluster" "kafkaCluster" false "The name of the Kafka cluster in the chart's values";
    KafkaPartitions "kafka-partitions" "kafkaPartitions" false "The partitions whose lag counts";
    KafkaNoOffset "kafka-no-offset" "kafkaNoOffset" false "What a partition counts without a committed offset";
    KafkaStuckAfter "kafka-stuck-after" "kafkaStuckAfter" false "How long a partition may stand still and count";
    KafkaActivation "kafka-activation" "kafkaActivation" false "More messages than this wake the workload from zero";
    KafkaPartitionCap "kafka-partition-cap" "kafkaPartitionCap" false "Whether replicas stop at the number of partitions";
    KafkaEvenDistribution "kafka-even-distribution" "kafkaEvenDistribution" false "Whether all replicas have as many partitions";
    InputTokensPerSecond "input-tokens-per-second" "inputTokensPerSecond" false "Uncached prefill tokens/s of one replica";
    OutputTokensPerSecond "output-tokens-per-second" "outputTokensPerSecond" false "Decode tokens/s of one replica";
    QueuePerReplica "queue-per-replica" "queuePerReplica" false "Requests that may wait in one replica";
    KvCache "kv-cache" "kvCache" false "The part of its KV cache that one replica may use";
    Model "model" "model" false "The model's name in requests";
    StartupTime "startup-time" "startupTime" false "How long a replica takes until it is ready";
    PrometheusQuery "prometheus-query" "prometheusQuery" false "A PromQL query that gives one number";
    PrometheusTarget "prometheus-target" "prometheusTarget" false "What one replica carries of that number";
    Hours "hours" "hours" true "Opening hours in OpenStreetMap's notation";
    Timezone "timezone" "timezone" true "The IANA time zone of the hours";
    Calendar "calendar" "calendar" true "The name of a Calendar";
    OffHoursReplicas "off-hours-replicas" "offHoursReplicas" true "The cap outside hours";
    WarmUp "warm-up" "warmUp" true "How long before opening the floor already holds";
    After "after" "after" false "What has to be Ready before this one opens";
    WakeOnRequest "wake-on-request" "wakeOnRequest" false "Whether a request wakes the workload from zero";
    KeepAwakeUntil "keep-awake-until" "keepAwakeUntil" true "An override of the schedule, with its end";
    ScaleDownAfter "scale-down-after" "scaleDownAfter" true "The window whose maximum holds replicas up";
    Paused "paused" "paused" true "Leave what exists as it is";
    CreateEnvoyProxy "create-envoyproxy" "createEnvoyproxy" true "Whether a Gateway without an EnvoyProxy is given one";
    Manage "manage" "manage" false "On a Namespace: all, to schedule every workload in it; with cronjobs and daemonsets, those too";
}

impl Key {
    /// The whole annotation: `tidegate.dev/requests-per-second`.
    pub fn annotation(self) -> String {
        format!("{PREFIX}{}", self.name())
    }

    /// Whether the key means anything there. A Namespace takes nearly every key, as a default for what is inside
    /// it.
    pub fn allowed_on(self, place: Place) -> bool {
        match place {
            Place::Workload => !matches!(self, Self::Manage | Self::CreateEnvoyProxy),
            Place::Gateway => self.on_gateways(),
            // What comes after itself never comes.
            Place::Namespace => self != Self::After,
        }
    }

    /// The key of this name (without prefix) that may stand there.
    pub fn find(name: &str, place: Place) -> Option<Self> {
        Self::ALL.iter().copied().find(|key| key.name() == name && key.allowed_on(place))
    }

    /// The key that somebody who wrote `name` most likely meant, in either notation, if one is near enough to be
    /// worth suggesting.
    pub fn nearest(name: &str, place: Place) -> Option<Self> {
        let candidates = Self::ALL.iter().copied().filter(|key| key.allowed_on(place));
        nearest(name, candidates, Self::name)
    }

    /// As [`Self::nearest`], among the camelCase keys of trigger metadata.
    pub fn nearest_camel_case(name: &str, candidates: &[Self]) -> Option<Self> {
        nearest(name, candidates.iter().copied(), Self::camel_case)
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What kube-downscaler, GoKubeDownscaler and kube-green call what a key of Tidegate says, in letters alone.
const OF_OTHERS: [(&str, Key); 11] = [
    ("downtimereplicas", Key::OffHoursReplicas),
    ("downscalereplicas", Key::OffHoursReplicas),
    ("uptime", Key::Hours),
    ("downtime", Key::Hours),
    ("sleepat", Key::Hours),
    ("wakeupat", Key::Hours),
    ("weekdays", Key::Hours),
    ("forceuptime", Key::KeepAwakeUntil),
    ("excludeuntil", Key::KeepAwakeUntil),
    ("exclude", Key::Paused),
    ("suspend", Key::Paused),
];

/// Words are compared by letters alone, so that `requestsPerSecond` and `requests_per_second` find their key.
fn nearest(name: &str, keys: impl Iterator<Item = Key>, spelled: fn(Key) -> &'static str) -> Option<Key> {
    let letters = |s: &str| s.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if name.len() > LONGEST_NAME {
        return None;
    }
    let wanted = letters(name);
    let keys: Vec<_> = keys.collect();
    if let Some((_, key)) = OF_OTHERS.iter().find(|(theirs, key)| *theirs == wanted && keys.contains(key)) {
        return Some(*key);
    }
    keys.into_iter()
        .map(|key| (strsim::jaro_winkler(&wanted, &letters(spelled(key))), key))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_key_finds_the_one_that_was_meant() {
        for (written, meant) in [
            ("request-per-second", Key::RequestsPerSecond),
            ("requestsPerSecond", Key::RequestsPerSecond),
            ("max_replicas", Key::MaxReplicas),
            ("min-replica", Key::MinReplicas),
            ("time-zone", Key::Timezone),
            ("scale-down", Key::ScaleDownAfter),
        ] {
            assert_eq!(Key::nearest(written, Place::Workload), Some(meant), "{written}");
        }
    }

    #[test]
    fn a_key_that_is_near_nothing_gets_no_suggestion() {
        assert_eq!(Key::nearest("zzz", Place::Workload), None);
    }

    #[test]
    fn manage_stands_on_namespaces_only() {
        assert_eq!(Key::find("manage", Place::Workload), None);
        assert_eq!(Key::find("manage", Place::Namespace), Some(Key::Manage));
    }
}
