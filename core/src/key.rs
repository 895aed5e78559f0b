//! The keys that users write: `tidegate.dev/…` annotations, and the same names in camelCase in a trigger's metadata.

use std::fmt;

use serde::Serialize;

use crate::value_kind::ValueKind;

/// Longest name, in bytes, that is compared with the known ones to suggest a correction.
pub(crate) const LONGEST_NAME: usize = 64;

/// The prefix of every annotation of Tidegate.
pub const PREFIX: &str = "tidegate.dev/";

/// Whether an annotation has another prefix than [`PREFIX`], but was probably meant for Tidegate: `tidegate.io/hours`,
/// `tidegate/hours`, `tidgate.dev/hours`.
///
/// ```
/// use tidegate_core::key::has_near_prefix;
///
/// assert!(has_near_prefix("tidegate.io/hours"));
/// assert!(!has_near_prefix("tidegate.dev/hours"));
/// ```
pub fn has_near_prefix(annotation: &str) -> bool {
    let Some((domain, _)) = annotation.split_once('/').filter(|_| !annotation.starts_with(PREFIX)) else {
        let start = annotation.get(.."tidegate".len()).filter(|_| !annotation.contains('/'));
        return start.is_some_and(|start| start.eq_ignore_ascii_case("tidegate"));
    };
    if domain.len() > LONGEST_NAME {
        return false;
    }
    let domain = domain.to_ascii_lowercase();
    let named = |label: &str| label.replace(['-', '_'], "") == "tidegate";
    domain.split('.').any(named) || strsim::osa_distance(&domain, PREFIX.trim_end_matches('/')) <= 2
}

/// The annotation in which Tidegate reports a Gateway's number of proxies, and the reason for it.
pub const STATUS: &str = "tidegate.dev/status";

/// The field of [`STATUS`] that keeps the annotations from which a Gateway's intent was parsed.
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

/// The subject of a key: a section of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Traffic that Envoy carries
    Traffic,
    /// Kafka's lag
    Kafka,
    /// LLM servers
    Models,
    /// A PromQL query
    Query,
    /// KEDA's own triggers beside Tidegate's
    Beside,
    /// Bounds and behaviour
    Bounds,
    /// Business hours
    Hours,
    /// Gateways only
    Gateway,
    /// Namespaces only
    Namespace,
}

impl Topic {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Traffic,
        Self::Kafka,
        Self::Models,
        Self::Query,
        Self::Beside,
        Self::Bounds,
        Self::Hours,
        Self::Gateway,
        Self::Namespace,
    ];
}

macro_rules! keys {
    ($($variant:ident $kebab:literal $camel:literal $topic:ident [$($place:ident)+] $kind:ident [$($other:ident)*] $default:literal $example:literal $meaning:literal;)*) => {
        /// One key that users write.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Key { $(#[doc = $meaning] $variant,)* }

        impl Key {
            /// All keys, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The annotation without its prefix: `requests-per-second`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $kebab,)* }
            }

            /// The full annotation: `tidegate.dev/requests-per-second`.
            pub fn annotation(self) -> &'static str {
                match self { $(Self::$variant => concat!("tidegate.dev/", $kebab),)* }
            }

            /// The key in a trigger's metadata: `requestsPerSecond`.
            pub fn camel_case(self) -> &'static str {
                match self { $(Self::$variant => $camel,)* }
            }

            /// The subject.
            pub fn topic(self) -> Topic {
                match self { $(Self::$variant => Topic::$topic,)* }
            }

            /// The kinds of object that may carry it. On a Namespace it is a default for the objects in it.
            pub fn places(self) -> &'static [Place] {
                match self { $(Self::$variant => &[$(Place::$place),+],)* }
            }

            /// The kind of its value.
            pub fn kind(self) -> ValueKind {
                match self { $(Self::$variant => ValueKind::$kind,)* }
            }

            /// The keys of which it needs one beside it; none when it stands alone.
            pub fn needs(self) -> &'static [Self] {
                match self { $(Self::$variant => &[$(Self::$other),*],)* }
            }

            /// The default: a value, or a description (with spaces) of one that depends on others.
            pub fn default(self) -> Option<&'static str> {
                let default = match self { $(Self::$variant => $default,)* };
                (!default.is_empty()).then_some(default)
            }

            /// An example of a value.
            pub fn example(self) -> &'static str {
                match self { $(Self::$variant => $example,)* }
            }

            /// The meaning, with its unit, as one line of Markdown.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

keys! {
    RequestsPerSecond "requests-per-second" "requestsPerSecond" Traffic [Workload Gateway Namespace] PerReplica [] "" "100"
        "Requests/s that one replica carries, as users send them: completed, plus those that Envoy's circuit breaker refused, less Envoy's own retries. What a rate limit refuses does not count; copies of a `RequestMirror` and questions of `extAuth` and `extProc` count for the workload that gets them";
    Concurrency "concurrency" "concurrency" Traffic [Workload Gateway Namespace] PerReplica [] "" "8"
        "Requests in flight, and waiting for a connection, that one replica carries";
    Connections "connections" "connections" Traffic [Workload Gateway Namespace] PerReplica [] "" "500"
        "Open TCP connections that one replica carries: for TCPRoutes and TLSRoutes";
    KafkaLag "kafka-lag" "kafkaLag" Kafka [Workload Namespace] PerReplica [KafkaGroup] "" "50"
        "Messages that may wait per replica; needs `kafka-group`";
    KafkaLagSeconds "kafka-lag-seconds" "kafkaLagSeconds" Kafka [Workload Namespace] PerReplica [KafkaGroup] "" "30"
        "Seconds within which the waiting messages are to be read; needs `kafka-group`";
    KafkaGroup "kafka-group" "kafkaGroup" Kafka [Workload Namespace] Text [KafkaLag KafkaLagSeconds] "" "task-processors"
        "Consumer group whose lag is measured; needs `kafka-lag` or `kafka-lag-seconds`, as all the keys below do";
    KafkaTopics "kafka-topics" "kafkaTopics" Kafka [Workload Namespace] Topics [KafkaLag KafkaLagSeconds] "all topics of the group" "task-events,/retries-.*/"
        "Topics whose lag is measured: names, and regular expressions between slashes";
    KafkaCluster "kafka-cluster" "kafkaCluster" Kafka [Workload Namespace] ObjectName [KafkaLag KafkaLagSeconds] "default" "events"
        "Name of the Kafka cluster in the chart's values";
    KafkaPartitions "kafka-partitions" "kafkaPartitions" Kafka [Workload Namespace] Partitions [KafkaLag KafkaLagSeconds] "all partitions" "1,3-5"
        "Partitions whose lag is measured";
    KafkaNoOffset "kafka-no-offset" "kafkaNoOffset" Kafka [Workload Namespace] NoOffset [KafkaLag KafkaLagSeconds] "latest" "earliest"
        "Lag of a partition on which the group has committed nothing: all its messages (`earliest`), none but with one replica kept (`latest`), none (`zero`), or unknown (`hold`)";
    KafkaStuckAfter "kafka-stuck-after" "kafkaStuckAfter" Kafka [Workload Namespace] StuckAfter [KafkaLag KafkaLagSeconds] "" "10m"
        "A partition with waiting messages and no commit for this long is left out";
    KafkaActivation "kafka-activation" "kafkaActivation" Kafka [Workload Namespace] Messages [KafkaLag KafkaLagSeconds] "0" "10"
        "More messages than this wake the workload from zero";
    KafkaPartitionCap "kafka-partition-cap" "kafkaPartitionCap" Kafka [Workload Namespace] PartitionCap [KafkaLag KafkaLagSeconds] "true" "with-lag"
        "Never more replicas than partitions, or than partitions with lag";
    KafkaEvenDistribution "kafka-even-distribution" "kafkaEvenDistribution" Kafka [Workload Namespace] Boolean [KafkaLag KafkaLagSeconds] "false" "true"
        "Only numbers of replicas that divide the number of partitions";
    InputTokensPerSecond "input-tokens-per-second" "inputTokensPerSecond" Models [Workload Namespace] PerReplica [] "" "9000"
        "Prompt tokens/s that one replica of an LLM server reads, less those in its prefix cache";
    OutputTokensPerSecond "output-tokens-per-second" "outputTokensPerSecond" Models [Workload Namespace] PerReplica [] "" "1200"
        "Tokens/s that one replica generates, reasoning included";
    QueuePerReplica "queue-per-replica" "queuePerReplica" Models [Workload Namespace] PerReplica [] "" "4"
        "Requests that may wait in one model server";
    KvCache "kv-cache" "kvCache" Models [Workload Namespace] KvCacheShare [] "" "0.8"
        "Part of its KV cache that one model server may use";
    Model "model" "model" Models [Workload Namespace] Text [InputTokensPerSecond OutputTokensPerSecond] "found from AIGatewayRoutes" "qwen3-32b"
        "Name of the model in requests; needs one of the four signals of models, as `startup-time` does";
    StartupTime "startup-time" "startupTime" Models [Workload Namespace] StartupTime [InputTokensPerSecond OutputTokensPerSecond QueuePerReplica KvCache] "measured on its pods" "3m"
        "Time until a new replica is ready";
    PrometheusQuery "prometheus-query" "prometheusQuery" Query [Workload Namespace] Query [PrometheusTarget] "" "sum(rabbitmq_queue_messages{queue='mail'})"
        "PromQL that gives one number, the load of the whole workload in any unit; needs `prometheus-target`, and a Prometheus in the chart's values. An answer with `warnings` (Thanos and Mimir, when a part is away) is a lower bound";
    PrometheusTarget "prometheus-target" "prometheusTarget" Query [Workload Namespace] PerReplica [PrometheusQuery] "" "30"
        "What one replica carries of that number";
    Cpu "cpu" "cpu" Beside [Workload Namespace] Cpu [] "" "70%"
        "CPU that one replica uses: of its request, which each of its containers needs then, or in cores";
    Memory "memory" "memory" Beside [Workload Namespace] Memory [] "" "80%"
        "Memory that one replica uses: of its request, which each of its containers needs then, or an amount";
    Container "container" "container" Beside [Workload] ObjectName [Cpu Memory] "all containers of a pod" "app"
        "Name of the container whose CPU and memory count; needs `cpu` or `memory`";
    KedaTriggers "keda-triggers" "kedaTriggers" Beside [Workload] KedaTriggers [] "" "[{type: rabbitmq, metadata: {queueName: mail, mode: QueueLength, value: 20, hostFromEnv: RABBIT}}]"
        "Triggers of KEDA's own scalers, as a ScaledObject has them";
    Formula "formula" "formula" Beside [Workload] Formula [FormulaTarget] "" "requests_per_second + 5 * kafka_lag"
        "One number out of the metrics, in KEDA's expression language, in place of the largest need; needs `formula-target`. The names are those of the signals with underscores, and those of the triggers of `keda-triggers`";
    FormulaTarget "formula-target" "formulaTarget" Beside [Workload] PerReplica [Formula] "" "100"
        "What one replica carries of the formula's value; needs `formula`";
    FormulaActivation "formula-activation" "formulaActivation" Beside [Workload] Amount [Formula] "0" "10"
        "A value of the formula above this wakes the workload from zero; needs `formula`, and no hours";
    MinReplicas "min-replicas" "minReplicas" Bounds [Workload Gateway Namespace] Replicas [] "1" "2"
        "Never fewer replicas inside hours. With 0 the workload goes to zero, and is woken by a request, which is held meanwhile, by Kafka's lag, a query or a trigger of `keda-triggers`. Where requests cannot be held, one replica is kept";
    MaxReplicas "max-replicas" "maxReplicas" Bounds [Workload Gateway Namespace] MaxReplicas [] "10" "20"
        "Never more replicas";
    ScaleDownAfter "scale-down-after" "scaleDownAfter" Bounds [Workload Gateway Namespace] Window [] "5m" "10m"
        "The HPA goes down only to the highest number of replicas that was wanted within this time";
    ScaleUpAfter "scale-up-after" "scaleUpAfter" Bounds [Workload Namespace] Window [] "0s" "1m"
        "The HPA goes up only to the lowest number of replicas that was wanted within this time; the floor of an opening waits as long";
    ScaleUpRate "scale-up-rate" "scaleUpRate" Bounds [Workload Namespace] Rates [] "100%/15s,4/15s" "50%/1m"
        "How many replicas the HPA adds within a time; of several rates the one that allows most counts";
    ScaleDownRate "scale-down-rate" "scaleDownRate" Bounds [Workload Namespace] Rates [] "100%/15s" "4/30s"
        "How many replicas the HPA takes away within a time; of several rates the one that allows most counts";
    Burst "burst" "burst" Bounds [Workload Namespace] Boolean [] "the chart's `burst.enabled`" "true"
        "Whether replicas that demand asks for are added at once, instead of at the HPA's next look (15 s). Not where `scale-up-after` or `scale-up-rate` holds them back";
    Tolerance "tolerance" "tolerance" Bounds [Workload Namespace] Tolerance [] "0%" "10%"
        "How far a metric may be off its target before the HPA acts, for all metrics alike, the floor of hours among them; needs Kubernetes 1.35";
    Paused "paused" "paused" Bounds [Workload Gateway Namespace] Boolean [] "false" "true"
        "`true`: everything is left as it is, and scales on as last written";
    Adopt "adopt" "adopt" Bounds [Workload] Scaler [] "" "hpa/task-api"
        "The HPA or ScaledObject of another owner that scales the workload now, to be taken over in one step: its HPA is kept, and so are the replicas. Without it nothing of another owner is touched";
    WakeOnRequest "wake-on-request" "wakeOnRequest" Bounds [Workload Namespace] Boolean [] "true inside hours, false outside" "true"
        "Whether a request wakes the workload from zero. Outside hours, with `true`, requests alone decide";
    ZeroAfter "zero-after" "zeroAfter" Bounds [Workload Namespace] ZeroAfter [] "that of `scale-down-after`" "15m"
        "Time without any demand before the last replica goes, where `min-replicas` is 0";
    HoldTimeout "hold-timeout" "holdTimeout" Bounds [Workload Namespace] HoldTimeout [] "60s" "2m"
        "How long a request to a workload at zero is held; then it is answered 503 with the reason why no pod is ready";
    WakeIgnore "wake-ignore" "wakeIgnore" Bounds [Workload Namespace] WakeIgnore [] "" "path=/metrics,user-agent=MyProbe"
        "Requests that wake nothing, besides health checks and scrapes: by path (`*` at its end for a prefix) or by the beginning of their user agent";
    WakeLimit "wake-limit" "wakeLimit" Bounds [Workload Namespace] WakeLimit [] "" "10/h"
        "How often requests may wake the workload; beyond that they are answered 503";
    Hours "hours" "hours" Hours [Workload Gateway Namespace] Hours [Timezone Calendar] "" "Mo-Fr 08:00-18:00; PH off"
        "Business hours; needs `timezone` or `calendar`";
    Timezone "timezone" "timezone" Hours [Workload Gateway Namespace] TimeZone [] "" "Europe/Berlin"
        "Time zone of the hours";
    Calendar "calendar" "calendar" Hours [Workload Gateway Namespace] ObjectName [] "" "office"
        "Name of a Calendar with hours, holidays, exceptions and overrides";
    OffHoursReplicas "off-hours-replicas" "offHoursReplicas" Hours [Workload Gateway Namespace] Replicas [Hours Calendar] "0, and 1 on a Gateway" "1"
        "Cap outside hours; needs `hours` or `calendar`";
    WarmUp "warm-up" "warmUp" Hours [Workload Gateway Namespace] WarmUp [Hours Calendar] "0s" "10m"
        "How long before opening `min-replicas` already applies; needs `hours` or `calendar`";
    After "after" "after" Hours [Workload] Workload [Hours Calendar] "" "statefulset/db"
        "Opens once that workload is Ready, at most 10 min late; needs `hours` or `calendar`";
    KeepAwakeUntil "keep-awake-until" "keepAwakeUntil" Hours [Workload Gateway Namespace] Instant [] "" "2026-03-02T18:00:00+01:00"
        "Override of the hours, with its end";
    CreateEnvoyProxy "create-envoyproxy" "createEnvoyproxy" Gateway [Gateway Namespace] Boolean [] "false" "true"
        "Create an EnvoyProxy and link it where the Gateway names none";
    Manage "manage" "manage" Namespace [Namespace] Manage [] "" "all"
        "Every Deployment, StatefulSet and scaled Rollout in it follows the Namespace's hours, even without annotations of its own; `cronjobs` and `daemonsets` are switched too where the chart's values allow it. Needs `hours` with `timezone`, or `calendar`";
}

impl Key {
    /// Whether this kind of object may carry the key.
    pub fn allowed_on(self, place: Place) -> bool {
        self.places().contains(&place)
    }

    /// Finds the key of this name (without prefix), if this kind of object may carry it.
    pub fn find(name: &str, place: Place) -> Option<Self> {
        Self::ALL.iter().copied().find(|key| key.name() == name && key.allowed_on(place))
    }

    /// The most likely correction of `name`, in either notation, if a key is similar enough to be worth suggesting.
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

/// Keys of kube-downscaler, GoKubeDownscaler, kube-green, KEDA and the HPA, in letters alone, and Tidegate's equivalents.
const OF_OTHERS: [(&str, Key); 17] = [
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
    ("scaledown", Key::ScaleDownAfter),
    ("scaleup", Key::ScaleUpAfter),
    ("targetcpuutilizationpercentage", Key::Cpu),
    ("targetmemoryutilizationpercentage", Key::Memory),
    ("containername", Key::Container),
    ("triggers", Key::KedaTriggers),
];

/// Finds the most similar key. Names are compared by letters alone, so that `requestsPerSecond` and `requests_per_second` find
/// theirs.
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
    fn a_prefix_that_was_meant_to_be_tidegates_is_recognised() {
        for meant in [
            "tidegate.io/hours",
            "tidegate/hours",
            "tide-gate.dev/hours",
            "tidgate.dev/hours",
            "Tidegate.dev/hours",
            "tidegate.dev.hours",
            "tidegate-hours",
        ] {
            assert!(has_near_prefix(meant), "{meant}");
        }
        for other in ["tidegate.dev/hours", "hours", "keda.sh/paused", "linkerd.io/inject", "", "/", "tide.dev/x"] {
            assert!(!has_near_prefix(other), "{other}");
        }
    }

    #[test]
    fn manage_stands_on_namespaces_only() {
        assert_eq!(Key::find("manage", Place::Workload), None);
        assert_eq!(Key::find("manage", Place::Namespace), Some(Key::Manage));
    }
}
