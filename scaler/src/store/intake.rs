//! What sources write: samples and answers, each round of which becomes one table for readers.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tidegate_core::{
    kafka::{KafkaLag, Lag},
    llm::TokenNames,
    measured::Measured,
    plan::Proxy,
};
use tokio::time::Instant;

use super::{
    SignalStore, SourceMetrics,
    kept_clusters::Series,
    rounds::{ClusterValues, Rounds},
    sample::Sample,
    serving::ServerCounters,
    tokens::{TokenCounters, Tokens},
};

impl SignalStore {
    /// Returns the series to look for from now on, including names that were added since the last call.
    pub fn series(&self) -> Arc<Series> {
        let mut rounds = self.rounds.lock();
        if let Some(clusters) = self.wanted.lock().take_changes(Instant::now()) {
            rounds.keep(clusters);
            self.metrics.clusters(rounds.series().len());
        }
        Arc::clone(rounds.series())
    }

    /// Records one proxy's answer to a request of about `at`, or why there is none.
    pub fn sampled(&self, proxy: &Proxy, at: Instant, sample: Result<Sample, String>) {
        let error = sample.as_ref().err().cloned();
        let changed = self.rounds.lock().sampled(proxy, at, sample);
        match error {
            Some(error) if changed => {
                tracing::warn!(proxy = proxy.name, error, "a proxy does not answer: what it last carried is held");
            }
            None if changed => tracing::info!(proxy = proxy.name, "a proxy answers again"),
            _ => {}
        }
    }

    /// Closes a round of samples: computes one value for each cluster and signal. `proxies` are all current ones; the contributions
    /// of others end.
    pub fn commit(&self, proxies: &[Proxy]) {
        let mut rounds = self.rounds.lock();
        rounds.commit(proxies, Instant::now());
        let (answering, failing, new) = rounds.health(proxies.len());
        self.metrics.proxies(answering, failing, new);
        self.show(&rounds);
    }

    /// Records a source's values for all existing clusters, or why there are none: requests/s, requests in flight and connections by
    /// the name of the series (see [`Series`]).
    pub fn commit_values(&self, source: &str, answer: Result<HashMap<String, [f64; 3]>, String>) {
        let whole = |values: HashMap<_, _>| ClusterValues {
            values: values.into_iter().map(|(series, values)| (series, Some(values))).collect(),
            missing: None,
        };
        self.commit_clusters(source, answer.map(whole));
    }

    /// Records the same from a source that also reports which values are missing.
    pub fn commit_clusters(&self, source: &str, answer: Result<ClusterValues, String>) {
        self.series();
        let mut rounds = self.rounds.lock();
        rounds.commit_values(source, answer, Instant::now());
        self.show(&rounds);
    }

    /// Sets how many different queries each namespace may have.
    pub fn limit_queries(&self, per_namespace: usize) {
        self.queries.lock().limit(per_namespace);
    }

    /// Returns the queries to ask, by namespace.
    pub fn wanted_queries(&self) -> BTreeMap<String, Vec<String>> {
        self.queries.lock().wanted(Instant::now())
    }

    /// Records the answer to a namespace's query.
    pub fn commit_query(&self, namespace: &str, promql: &str, answer: Measured<f64, String>) {
        self.queries.lock().commit(namespace, promql, answer, Instant::now());
        self.version.send_modify(|version| *version += 1);
    }

    /// Returns the lags to ask for.
    pub fn wanted_lags(&self) -> Vec<KafkaLag> {
        self.lags.lock().wanted(Instant::now())
    }

    /// Records the results of a sweep of a Kafka cluster.
    pub fn commit_lags(&self, lags: Vec<(KafkaLag, Result<Lag, String>)>) {
        let now = Instant::now();
        let mut known = self.lags.lock();
        for (lag, answer) in lags {
            known.commit(&lag, answer.map_or_else(Measured::Unknown, Measured::Exact), now);
        }
        drop(known);
        self.version.send_modify(|version| *version += 1);
    }

    /// Records the counters of an AI gateway, all or some of them, or why it does not answer. `pushes` means that the gateway sends
    /// them unasked.
    pub fn tokens_sampled(&self, sender: &str, sample: Result<&[(TokenNames, TokenCounters)], String>, pushes: bool) {
        let error = sample.as_ref().err().cloned();
        let (refused, changed) = self.tokens.lock().sampled(sender, Instant::now(), sample, pushes);
        self.metrics.tokens_refused(&refused);
        match error {
            Some(error) if changed => {
                tracing::warn!(sender, error, "an AI gateway does not answer: what it last counted is held");
            }
            None if changed => tracing::info!(sender, "an AI gateway answers again"),
            _ => {}
        }
    }

    /// Closes a second of the AI gateways' counts. `expected` are the gateways that have to answer, each with whether it is ready;
    /// `None` if it is unknown which gateways will push.
    pub fn commit_tokens(&self, expected: Option<&[(&str, bool)]>) {
        let mut tokens = self.tokens.lock();
        tokens.second(expected, self.stale_after, Instant::now());
        self.show_tokens(&tokens);
    }

    /// Records rates over the last seconds that a Prometheus has computed: uncached input tokens, output tokens and requests.
    pub fn commit_token_rates(
        &self,
        source: &str,
        rates: Measured<Vec<(TokenNames, [f64; 4])>, String>,
        every: Duration,
    ) {
        let mut tokens = self.tokens.lock();
        tokens.told(source, rates, every.as_secs_f64(), Instant::now());
        self.show_tokens(&tokens);
    }

    /// Forgets senders of tokens that are known to be gone.
    pub(crate) fn senders_gone(&self, is_gone: impl Fn(&str) -> bool) {
        self.tokens.lock().gone(is_gone, Instant::now());
    }

    /// Records the counters of a model server, or why it does not answer.
    pub fn server_sampled(&self, address: SocketAddr, sample: Result<ServerCounters, String>) {
        self.servers.lock().sampled(address, Instant::now(), sample);
    }

    /// Closes a second of the model servers. `servers` are all current ones.
    pub fn commit_servers(&self, servers: &HashSet<SocketAddr>) {
        self.servers.lock().second(servers, Instant::now());
        if !servers.is_empty() {
            self.version.send_modify(|version| *version += 1);
        }
    }

    pub(crate) fn metrics(&self) -> &SourceMetrics {
        &self.metrics
    }

    fn show_tokens(&self, tokens: &Tokens) {
        *self.shown_tokens.write() = Arc::new(tokens.shown());
        let (senders, models) = tokens.counts();
        self.metrics.models(senders, models);
        self.version.send_modify(|version| *version += 1);
    }

    fn show(&self, rounds: &Rounds) {
        let shown = Arc::new(rounds.shown());
        *self.shown.write() = shown;
        self.metrics.round(rounds.newest().map(|at| Instant::now().saturating_duration_since(at)));
        self.version.send_modify(|version| *version += 1);
    }
}
