//! The types of KEDA's scalers: the table of those that KEDA 2.21 knows.

use serde::Serialize;

/// Longest text that is compared with the known types to suggest one.
const LONGEST: usize = 64;

/// All types, in alphabetical order: `buildScaler` in KEDA 2.21's `pkg/scaling/scalers_builder.go`, less `external-mock`, which is for
/// its tests.
const ALL: [&str; 79] = [
    "activemq",
    "apache-kafka",
    "arangodb",
    "artemis-queue",
    "aws-cloudwatch",
    "aws-dynamodb",
    "aws-dynamodb-streams",
    "aws-kinesis-stream",
    "aws-sqs-queue",
    "azure-app-insights",
    "azure-blob",
    "azure-cosmosdb",
    "azure-data-explorer",
    "azure-eventhub",
    "azure-log-analytics",
    "azure-monitor",
    "azure-pipelines",
    "azure-queue",
    "azure-servicebus",
    "beanstalkd",
    "cassandra",
    "clickhouse",
    "couchdb",
    "cpu",
    "cron",
    "datadog",
    "dynatrace",
    "elastic-forecast",
    "elasticsearch",
    "etcd",
    "external",
    "external-push",
    "forgejo-runner",
    "gcp-cloudtasks",
    "gcp-pubsub",
    "gcp-spanner",
    "gcp-stackdriver",
    "gcp-storage",
    "github-runner",
    "graphite",
    "huawei-cloudeye",
    "ibmmq",
    "influxdb",
    "kafka",
    "kubernetes-resource",
    "kubernetes-workload",
    "liiklus",
    "loki",
    "memory",
    "metrics-api",
    "mongodb",
    "mssql",
    "mysql",
    "nats-jetstream",
    "new-relic",
    "nsq",
    "opensearch",
    "openstack-metric",
    "openstack-swift",
    "postgresql",
    "predictkube",
    "prometheus",
    "pulsar",
    "rabbitmq",
    "redis",
    "redis-cluster",
    "redis-cluster-streams",
    "redis-sentinel",
    "redis-sentinel-streams",
    "redis-streams",
    "selenium-grid",
    "solace-direct-messaging",
    "solace-event-queue",
    "solarwinds",
    "solr",
    "splunk",
    "splunk-observability",
    "sumologic",
    "temporal",
];

/// The type of one of KEDA's scalers: `rabbitmq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ScalerType(&'static str);

impl ScalerType {
    /// `cpu`
    pub const CPU: Self = Self("cpu");
    /// `memory`
    pub const MEMORY: Self = Self("memory");

    /// The type of this name.
    pub fn find(name: &str) -> Option<Self> {
        ALL.into_iter().find(|known| *known == name).map(Self)
    }

    /// The type that was probably meant.
    pub(super) fn nearest(name: &str) -> Option<&'static str> {
        let written: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        if name.len() > LONGEST {
            return None;
        }
        let likeness = |known: &str| strsim::jaro_winkler(&written, &known.replace('-', ""));
        let likely = ALL.into_iter().map(|known| (likeness(known), known)).filter(|(likeness, _)| *likeness > 0.8);
        likely.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
    }

    /// The type as KEDA writes it.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// Whether it is `cpu` or `memory`, which the HPA itself measures. KEDA never asks them whether they are active.
    pub fn is_resource(self) -> bool {
        self == Self::CPU || self == Self::MEMORY
    }

    /// Whether it asks a scaler outside of KEDA at the `scalerAddress` of its metadata.
    pub fn is_external(self) -> bool {
        matches!(self.0, "external" | "external-push")
    }

    /// Whether KEDA takes `useCachedMetrics` (`ValidateTriggers` in its `apis/keda/v1alpha1/scaletriggers_types.go`).
    pub(super) fn may_be_cached(self) -> bool {
        !self.is_resource() && self.0 != "cron"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_has_each_type_once() {
        assert!(ALL.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_misspelled_type_finds_the_one_that_was_meant() {
        for (written, meant) in [
            ("rabbitMQ", "rabbitmq"),
            ("rabitmq", "rabbitmq"),
            ("aws-sqs", "aws-sqs-queue"),
            ("postgres", "postgresql"),
            ("redis-stream", "redis-streams"),
            ("kafka-apache", "kafka"),
        ] {
            assert_eq!(ScalerType::nearest(written), Some(meant), "{written}");
        }
        assert_eq!(ScalerType::nearest("zzz"), None);
    }
}
