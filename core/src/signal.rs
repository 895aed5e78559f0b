//! Signals that are measured for a workload, and their targets.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::key::Key;

/// A measurement that decides on replicas. Each signal is one metric of the workload's HPA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// Requests per second that users sent: completed, plus those that the gateway's circuit breaker refused, less
    /// the gateway's own retries.
    RequestsPerSecond,
    /// Requests in flight, plus those that wait for a connection.
    Concurrency,
    /// Open TCP connections.
    Connections,
    /// Messages that wait for the workload's consumer group.
    KafkaLag,
    /// Seconds that one replica would need to read the messages that wait for the workload's consumer group, and those that arrive
    /// meanwhile.
    KafkaLagSeconds,
    /// Input tokens per second that a model server has to prefill, without those that came from its prefix cache.
    InputTokens,
    /// Tokens per second that a model server generates, reasoning included.
    OutputTokens,
    /// Requests that wait in the model servers.
    Queue,
    /// Sum of the parts of their KV caches that the model servers use: 1 is the full cache of one replica.
    KvCache,
    /// The answer of the workload's own PromQL query, in the query's own unit.
    PrometheusQuery,
    /// Replicas that business hours ask for: the floor inside them, 0 outside.
    Schedule,
}

impl Signal {
    /// All signals, in the order in which they are shown.
    pub const ALL: [Self; 11] = [
        Self::RequestsPerSecond,
        Self::Concurrency,
        Self::Connections,
        Self::KafkaLag,
        Self::KafkaLagSeconds,
        Self::InputTokens,
        Self::OutputTokens,
        Self::Queue,
        Self::KvCache,
        Self::PrometheusQuery,
        Self::Schedule,
    ];

    /// The name of the metric in the HPA, less KEDA's `s0-` prefix.
    pub fn metric_name(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => "requests-per-second",
            Self::Concurrency => "concurrency",
            Self::Connections => "connections",
            Self::KafkaLag => "kafka-lag",
            Self::KafkaLagSeconds => "kafka-lag-seconds",
            Self::InputTokens => "input-tokens-per-second",
            Self::OutputTokens => "output-tokens-per-second",
            Self::Queue => "queue-per-replica",
            Self::KvCache => "kv-cache",
            Self::PrometheusQuery => "prometheus-query",
            Self::Schedule => "schedule",
        }
    }

    /// The key that gives the target; `None` for a schedule, which asks for replicas: its target is 1.
    pub fn target_key(self) -> Option<Key> {
        match self {
            Self::RequestsPerSecond => Some(Key::RequestsPerSecond),
            Self::Concurrency => Some(Key::Concurrency),
            Self::Connections => Some(Key::Connections),
            Self::KafkaLag => Some(Key::KafkaLag),
            Self::KafkaLagSeconds => Some(Key::KafkaLagSeconds),
            Self::InputTokens => Some(Key::InputTokensPerSecond),
            Self::OutputTokens => Some(Key::OutputTokensPerSecond),
            Self::Queue => Some(Key::QueuePerReplica),
            Self::KvCache => Some(Key::KvCache),
            Self::PrometheusQuery => Some(Key::PrometheusTarget),
            Self::Schedule => None,
        }
    }

    /// The unit, as shown after a number.
    pub fn unit(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => "requests/s",
            Self::Concurrency => "requests in flight",
            Self::Connections => "connections",
            Self::KafkaLag => "messages",
            Self::KafkaLagSeconds => "s of work",
            Self::InputTokens | Self::OutputTokens => "tokens/s",
            Self::Queue => "requests waiting",
            Self::KvCache => "KV caches",
            Self::PrometheusQuery => "(query)",
            Self::Schedule => "replicas",
        }
    }

    /// The family: signals that are measured in the same place.
    pub fn family(self) -> Family {
        match self {
            Self::RequestsPerSecond | Self::Concurrency | Self::Connections => Family::Traffic,
            Self::KafkaLag | Self::KafkaLagSeconds => Family::Kafka,
            Self::InputTokens | Self::OutputTokens => Family::Tokens,
            Self::Queue | Self::KvCache => Family::ModelServers,
            Self::PrometheusQuery => Family::Query,
            Self::Schedule => Family::Schedule,
        }
    }
}

/// Signals that are measured in the same place, by the same sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// The Envoy clusters that carry the workload's traffic
    Traffic,
    /// The lag of a consumer group
    Kafka,
    /// The tokens of a model, at AI gateways or at its servers
    Tokens,
    /// Model servers alone
    ModelServers,
    /// The workload's own PromQL query
    Query,
    /// The clock and the business hours
    Schedule,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric_name())
    }
}

/// The error that no signal has this metric name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no signal is named \"{0}\"")]
pub struct UnknownSignal(pub String);

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|signal| signal.metric_name() == s).ok_or_else(|| UnknownSignal(s.to_owned()))
    }
}

/// Target of a signal: the demand that one replica carries, in the signal's unit. Always finite and at least 0.001, because the
/// quantities of Kubernetes' external metrics keep three decimals.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct PerReplica(f64);

impl PerReplica {
    /// The smallest target that survives the way through KEDA.
    pub const MIN: f64 = 0.001;
    /// Beyond this, thousandths no longer fit the 64 bits of a Kubernetes quantity in milli-units.
    pub const MAX: f64 = 1e12;

    /// `None` unless the value is a number from [`Self::MIN`] to [`Self::MAX`].
    pub fn new(value: f64) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&value).then_some(Self(value))
    }

    /// A target of 1.
    pub const ONE: Self = Self(1.0);

    /// The number itself.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for PerReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A signal and its target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Target {
    /// The signal that is measured
    pub signal: Signal,
    /// The demand that one replica carries
    pub per_replica: PerReplica,
}
