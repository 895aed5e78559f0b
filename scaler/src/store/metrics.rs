//! Metrics of the sources themselves. No label holds the name of a proxy or of an Envoy cluster: `explain` reports on each.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tidegate_core::metric::{Metric, register};

use super::TokenRefusal;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuestionLabels {
    what: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KafkaCluster {
    cluster: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KafkaLags {
    cluster: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Counters and timings of the sources.
#[derive(Debug)]
pub(crate) struct SourceMetrics {
    scrapes: Family<Outcome, Counter<u64, AtomicU64>>,
    scrape_seconds: Histogram,
    scraped_bytes: Counter<u64, AtomicU64>,
    queries: Family<QuestionLabels, Counter<u64, AtomicU64>>,
    query_seconds: Histogram,
    proxies: Family<State, Gauge<i64, AtomicI64>>,
    clusters: Gauge<i64, AtomicI64>,
    rounds: Counter<u64, AtomicU64>,
    sweeps: Family<KafkaCluster, Histogram, fn() -> Histogram>,
    lags: Family<KafkaLags, Gauge<i64, AtomicI64>>,
    tokens_refused: Family<Reason, Counter<u64, AtomicU64>>,
    token_senders: Gauge<i64, AtomicI64>,
    otlp_points: Family<Outcome, Counter<u64, AtomicU64>>,
    otlp_passed_on: Family<Outcome, Counter<u64, AtomicU64>>,
    models: Gauge<i64, AtomicI64>,
    age: Gauge<f64, AtomicU64>,
}

impl Default for SourceMetrics {
    fn default() -> Self {
        Self {
            scrapes: Family::default(),
            scrape_seconds: Histogram::new([0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]),
            scraped_bytes: Counter::default(),
            queries: Family::default(),
            query_seconds: Histogram::new([0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]),
            proxies: Family::default(),
            clusters: Gauge::default(),
            rounds: Counter::default(),
            sweeps: Family::new_with_constructor(|| Histogram::new([0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])),
            lags: Family::default(),
            tokens_refused: Family::default(),
            token_senders: Gauge::default(),
            otlp_points: Family::default(),
            otlp_passed_on: Family::default(),
            models: Gauge::default(),
            age: Gauge::default(),
        }
    }
}

impl SourceMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        register(registry, Metric::SourceScrapes, self.scrapes.clone());
        register(registry, Metric::SourceScrapeDuration, self.scrape_seconds.clone());
        register(registry, Metric::SourceScraped, self.scraped_bytes.clone());
        register(registry, Metric::SourceQueries, self.queries.clone());
        register(registry, Metric::SourceQueryDuration, self.query_seconds.clone());
        register(registry, Metric::SourceProxies, self.proxies.clone());
        register(registry, Metric::SourceClusters, self.clusters.clone());
        register(registry, Metric::SourceRounds, self.rounds.clone());
        register(registry, Metric::SourceKafkaSweepDuration, self.sweeps.clone());
        register(registry, Metric::SourceKafkaLags, self.lags.clone());
        register(registry, Metric::SourceTokensRefused, self.tokens_refused.clone());
        register(registry, Metric::SourceTokenSenders, self.token_senders.clone());
        register(registry, Metric::SourceModels, self.models.clone());
        register(registry, Metric::SourceOtlpPoints, self.otlp_points.clone());
        register(registry, Metric::SourceOtlpPassedOn, self.otlp_passed_on.clone());
        register(registry, Metric::SourceSignalsAge, self.age.clone());
    }

    /// `result` is `ok` or the class of the failure.
    pub(crate) fn scraped(&self, result: &'static str, bytes: usize, took: Duration) {
        self.scrapes.get_or_create(&Outcome { result }).inc();
        self.scraped_bytes.inc_by(bytes as u64);
        self.scrape_seconds.observe(took.as_secs_f64());
    }

    /// `what` is `clusters` or `trigger`.
    pub(crate) fn asked(&self, what: &'static str, result: &'static str, took: Duration) {
        self.queries.get_or_create(&QuestionLabels { what, result }).inc();
        self.query_seconds.observe(took.as_secs_f64());
    }

    /// Records one sweep of a Kafka cluster. Clusters come from the configuration, so there are few.
    #[cfg(feature = "kafka")]
    pub(crate) fn swept(&self, cluster: &str, lags: usize, failed: usize, took: Duration) {
        self.sweeps.get_or_create(&KafkaCluster { cluster: cluster.to_owned() }).observe(took.as_secs_f64());
        for (state, count) in [("known", lags - failed), ("failing", failed)] {
            let labels = KafkaLags { cluster: cluster.to_owned(), state };
            self.lags.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn proxies(&self, answering: usize, failing: usize, new: usize) {
        for (state, count) in [("answering", answering), ("failing", failing), ("new", new)] {
            self.proxies.get_or_create(&State { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn clusters(&self, count: usize) {
        self.clusters.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn tokens_refused(&self, refused: &[TokenRefusal]) {
        for (why, reason) in [(TokenRefusal::Unwanted, "unwanted"), (TokenRefusal::TooMany, "too_many")] {
            let count = refused.iter().filter(|refused| **refused == why).count();
            if count > 0 {
                self.tokens_refused.get_or_create(&Reason { reason }).inc_by(count as u64);
            }
        }
    }

    pub(crate) fn otlp_points(&self, result: &'static str, count: u64) {
        self.otlp_points.get_or_create(&Outcome { result }).inc_by(count);
    }

    pub(crate) fn otlp_passed_on(&self, result: &'static str) {
        self.otlp_passed_on.get_or_create(&Outcome { result }).inc();
    }

    pub(super) fn models(&self, senders: usize, models: usize) {
        self.token_senders.set(i64::try_from(senders).unwrap_or(i64::MAX));
        self.models.set(i64::try_from(models).unwrap_or(i64::MAX));
    }

    /// `age` is that of the newest sample, if there was one.
    pub(super) fn round(&self, age: Option<Duration>) {
        self.rounds.inc();
        self.age.set(age.unwrap_or_default().as_secs_f64());
    }
}
