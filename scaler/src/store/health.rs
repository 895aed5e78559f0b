//! Whether the sources answer, and which signals of a workload they did not answer for.

use serde::Serialize;
use tidegate_core::{
    kafka::KafkaLag,
    plan::PlannedWorkload,
    signal::{Family, Signal},
};
use tokio::time::Instant;

use super::SignalStore;

/// The health of a source.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// The proxy or server
    pub name: String,
    /// Seconds since it last answered; `None` when it never did
    pub last_success_seconds: Option<f64>,
    /// Why it does not answer now
    pub error: Option<String>,
}

/// The state of a Kafka cluster after its last sweep.
#[derive(Debug, Default)]
pub(super) struct KafkaCluster {
    answered: Option<Instant>,
    error: Option<String>,
}

impl SignalStore {
    /// Returns the state of every source.
    pub fn sources(&self) -> Vec<SourceStatus> {
        let now = Instant::now();
        let mut sources = self.rounds.lock().sources(now);
        sources.extend(self.tokens.lock().sources(now));
        sources.extend(self.servers.lock().sources(now));
        sources.extend(self.kafka_clusters.lock().iter().map(|(name, cluster)| SourceStatus {
            name: format!("Kafka cluster {name}"),
            last_success_seconds: cluster.answered.map(|at| now.saturating_duration_since(at).as_secs_f64()),
            error: cluster.error.clone(),
        }));
        sources
    }

    /// Returns why this query was not answered the last time that it was asked, or why it is not asked.
    pub fn query_error(&self, namespace: &str, promql: &str) -> Option<String> {
        self.queries.lock().error(namespace, promql)
    }

    /// Returns why this lag was not found in the last sweep.
    pub fn lag_error(&self, lag: &KafkaLag) -> Option<String> {
        self.lags.lock().error(lag)
    }

    /// Returns the signals of a workload that were not answered the last time that they were asked for, and why. Traffic signals are
    /// left out: they have the same sources for all workloads, and [`Self::sources`] reports these.
    pub fn missing(&self, namespace: &str, workload: &PlannedWorkload) -> Vec<(Signal, String)> {
        let Ok(intent) = &workload.intent else { return Vec::new() };
        let query = intent.query.as_deref().and_then(|query| self.query_error(namespace, query));
        let lag =
            intent.kafka.as_ref().and_then(|kafka| Some(format!("{}: {}", kafka.lag, self.lag_error(&kafka.lag)?)));
        let signal = intent.targets.iter().map(|target| target.signal).find(|signal| signal.family() == Family::Kafka);
        let query = query.map(|error| (Signal::PrometheusQuery, error));
        let of_servers = |signal: &Signal| match signal.family() {
            Family::ModelServers => true,
            Family::Tokens => workload.models.is_empty(),
            Family::Traffic | Family::Kafka | Family::Query | Family::Schedule => false,
        };
        let served = intent.targets.iter().map(|target| target.signal).filter(of_servers);
        let servers = self.servers.lock();
        let served = served.filter_map(|signal| Some((signal, servers.error(&workload.pods, signal)?)));
        query.into_iter().chain(signal.zip(lag)).chain(served).collect()
    }

    /// Records the end of a sweep of a Kafka cluster; `error` says why no lag at all is known.
    pub fn kafka_swept(&self, cluster: &str, error: Option<String>) {
        let mut clusters = self.kafka_clusters.lock();
        let known = clusters.entry(cluster.to_owned()).or_default();
        if error.is_none() {
            known.answered = Some(Instant::now());
        }
        known.error = error;
    }

    /// Records the health of a server that is used only for queries.
    pub fn source_status(&self, source: &str, error: Option<String>) {
        self.rounds.lock().prometheus_status(source, error, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_kafka_cluster_is_a_source_that_says_since_when_it_does_not_answer() {
        let signals = SignalStore::new(Duration::from_secs(300));
        let status = || {
            let all = signals.sources().into_iter();
            all.map(|source| (source.name, source.last_success_seconds, source.error)).collect::<Vec<_>>()
        };
        assert_eq!(status(), []);
        signals.kafka_swept("events", None);
        advance(Duration::from_secs(7)).await;
        signals.kafka_swept("events", Some("all brokers are down".to_owned()));
        let down = ("Kafka cluster events".to_owned(), Some(7.0), Some("all brokers are down".to_owned()));
        assert_eq!(status(), [down]);
        signals.kafka_swept("events", None);
        assert_eq!(status(), [("Kafka cluster events".to_owned(), Some(0.0), None)]);
    }
}
