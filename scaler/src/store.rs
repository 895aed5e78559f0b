//! The signal store: the last measured values, their ages, and why values are missing.
//!
//! Sources write, RPCs read. Each round of a source becomes one table, which readers share: they never wait for a round in
//! progress. Memory is bounded by the clusters that the Plan names and that hand-written triggers ask for; everything else that a
//! proxy reports is dropped on arrival.

mod clusters;
mod counts;
mod kept_clusters;
mod metrics;
mod plausible;
mod proxies;
mod proxy_sets;
mod queries;
mod questions;
mod rounds;
mod sample;
mod serving;
mod tokens;
mod window;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tidegate_core::{
    kafka::{KafkaLag, Lag},
    llm::{ServingPod, TokenNames},
    measured::Measured,
    plan::{Plan, PlannedWorkload, Proxy},
    signal::{Family, Signal},
};
use tokio::{sync::watch, time::Instant};

use self::{
    clusters::ALL,
    kept_clusters::Wanted,
    queries::Queries,
    questions::Questions,
    rounds::{Rounds, Shown},
    serving::Servers,
    tokens::Tokens,
    window::Means,
};
pub(crate) use self::{
    clusters::Beginning,
    metrics::SourceMetrics,
    serving::Served,
    tokens::{ShownTokens, TokenRates, TokenRefusal},
};
pub use self::{
    kept_clusters::Series,
    rounds::ClusterValues,
    sample::{Counters, Sample, Shows},
    serving::ServerCounters,
    tokens::TokenCounters,
};

/// One measured number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// At least 0 and finite, in the signal's unit
    pub value: f64,
    /// Time since the newest sample in it
    pub age: Duration,
}

/// Why there is no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReading {
    /// Nothing was measured so far
    #[error("no value yet: {waiting_for}")]
    NotYet {
        /// The condition that has to be met first
        waiting_for: String,
    },
    /// The last value is too old to be used
    #[error("the last value is {} s old: {reason}", age.as_secs())]
    Stale {
        /// Its age
        age: Duration,
        /// Why the source has no newer one
        reason: String,
    },
    /// The sources answer, and none of them shows it
    #[error("{reason}")]
    NotShown {
        /// The sources that were asked, and where to look
        reason: String,
    },
    /// The source answered, but not with a number
    #[error("{reason}")]
    BadAnswer {
        /// The answer
        reason: String,
    },
}

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
struct KafkaCluster {
    answered: Option<Instant>,
    error: Option<String>,
}

/// All measured signals.
#[derive(Debug)]
pub struct SignalStore {
    stale_after: Duration,
    wanted: Mutex<Wanted>,
    rounds: Mutex<Rounds>,
    shown: RwLock<Arc<Shown>>,
    queries: Mutex<Queries>,
    lags: Mutex<Questions<KafkaLag, Lag>>,
    kafka_clusters: Mutex<BTreeMap<String, KafkaCluster>>,
    tokens: Mutex<Tokens>,
    shown_tokens: RwLock<Arc<ShownTokens>>,
    servers: Mutex<Servers>,
    version: watch::Sender<u64>,
    metrics: SourceMetrics,
}

/// Length of the window that a value is computed over.
pub(crate) const WINDOW: Duration = Duration::from_secs(window::LONG as u64);
/// Order of the signals in all arrays.
const SIGNALS: [Signal; 3] = [Signal::RequestsPerSecond, Signal::Concurrency, Signal::Connections];
/// Hand-written triggers and queries that nobody asked for in this time are forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Maximum number of names: more are likelier a mistake or an attack than a need.
const MAX_NAMED: usize = 10_000;

impl SignalStore {
    /// Creates an empty store; values older than `stale_after` are not returned.
    pub fn new(stale_after: Duration) -> Self {
        Self {
            stale_after,
            wanted: Mutex::default(),
            rounds: Mutex::new(Rounds::new(stale_after)),
            shown: RwLock::default(),
            queries: Mutex::default(),
            lags: Mutex::new(Questions::new("no Kafka broker was asked yet; --kafka-config names the clusters")),
            kafka_clusters: Mutex::default(),
            tokens: Mutex::default(),
            shown_tokens: RwLock::default(),
            servers: Mutex::default(),
            version: watch::Sender::new(0),
            metrics: SourceMetrics::default(),
        }
    }

    /// Registers the metrics of the sources, `tidegate_source_…`.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Keeps the clusters and the queries that the Plan names, and forgets those that only an earlier Plan named.
    pub fn keep(&self, plan: &Plan) {
        self.wanted.lock().plan(plan.shares(), plan.fleets.iter().flat_map(|fleet| &fleet.series));
        let workloads = plan.workloads.iter();
        let intents = workloads.filter_map(|(id, workload)| Some((id, workload.intent.as_ref().ok()?)));
        let now = Instant::now();
        let queries =
            intents.clone().filter_map(|(id, intent)| Some((id.namespace.as_str(), intent.query.as_deref()?)));
        self.queries.lock().plan(queries, now);
        self.tokens.lock().plan(plan, Instant::now());
        self.lags.lock().plan(intents.filter_map(|(_, intent)| Some(intent.kafka.as_ref()?.lag.clone())), now);
    }

    /// Keeps clusters that a hand-written trigger names, for 10 minutes from now.
    pub fn keep_named(&self, clusters: &[String]) {
        let (mut wanted, now) = (self.wanted.lock(), Instant::now());
        for cluster in clusters {
            wanted.name(cluster, now);
        }
    }

    /// Keeps this query of a namespace for 10 minutes from now, if the namespace's budget has room for it.
    pub fn keep_query(&self, namespace: &str, promql: &str) {
        self.queries.lock().keep(namespace, promql, Instant::now());
    }

    /// Keeps this lag for 10 minutes from now.
    pub fn keep_lag(&self, lag: &KafkaLag) {
        self.lags.lock().keep(lag.clone(), Instant::now());
    }

    /// Keeps the token counts of this model for 10 minutes from now.
    pub(crate) fn keep_model(&self, model: &str) {
        self.tokens.lock().keep(model, Instant::now());
    }

    /// Returns the tokens that AI gateways count, and their age.
    pub(crate) fn tokens(&self) -> Result<(Arc<ShownTokens>, Duration), NoReading> {
        let shown = Arc::clone(&self.shown_tokens.read());
        let age = shown.age(self.stale_after)?;
        Ok((shown, age))
    }

    /// Returns the sum of the values that a workload's pods report.
    pub(crate) fn served(&self, pods: &[ServingPod]) -> Result<Served, NoReading> {
        self.servers.lock().served(pods, Instant::now(), self.stale_after)
    }

    /// Returns the signal of one Envoy cluster, if all of it was measured.
    pub fn cluster(&self, name: &str, signal: Signal) -> Result<Reading, NoReading> {
        self.traffic(&[(name, 1.0)], signal).exact()
    }

    /// Returns the lower bound of a cluster's signal. It may raise a workload's replicas, and must not lower them.
    pub fn at_least(&self, name: &str, signal: Signal) -> Option<Reading> {
        self.traffic(&[(name, 1.0)], signal).at_least()
    }

    /// Returns the signal of traffic that is on one or the other of these clusters, each given with the part that applies: Envoy
    /// Gateway makes either the cluster of a rule or those of its backends, and switches at run time. The signal is known in each
    /// second in which one of them was measured, and exact if that was so in all seconds of the window.
    pub fn traffic(&self, clusters: &[(&str, f64)], signal: Signal) -> Measured<Reading, NoReading> {
        let Some(index) = SIGNALS.iter().position(|of| *of == signal) else {
            let reason = format!("{signal} is not measured on Envoy's clusters");
            return Measured::Unknown(NoReading::BadAnswer { reason });
        };
        let shown = self.shown();
        let mut sum: Option<(Means, Duration)> = None;
        let (mut measured, mut unused) = (0, false);
        for (name, part) in clusters {
            let Some(cluster) = shown.cluster(name) else {
                return Measured::Unknown(NoReading::NotYet { waiting_for: self.why_not_kept(&shown) });
            };
            measured |= cluster.measured[index];
            unused |= cluster.unused;
            let Some((means, at)) = cluster.means.zip(cluster.at) else { continue };
            let age = Instant::now().saturating_duration_since(at);
            let (more, least) = sum.unwrap_or((Means::default(), age));
            sum = Some((more.plus(means[index], *part), least.min(age)));
        }
        let why = || shown.why_not(clusters, index);
        match sum.map(|(means, age)| Reading { value: means.value(), age }) {
            Some(sum) if sum.age > self.stale_after => {
                let reason = shown.why.reason("it was not measured since");
                Measured::Unknown(NoReading::Stale { age: sum.age, reason })
            }
            // A cluster that was never used was also idle before its first measurement.
            Some(sum) if measured == ALL || unused => Measured::Exact(sum),
            Some(sum) => Measured::AtLeast(sum, why()),
            None => Measured::Unknown(why()),
        }
    }

    /// Returns the requests of a cluster that begin. `None` if that is not known, or not measured now.
    pub(crate) fn beginning(&self, name: &str) -> Option<Beginning> {
        let shown = self.shown();
        let cluster = shown.cluster(name)?;
        let recent = Instant::now().saturating_duration_since(cluster.at?) <= WINDOW;
        cluster.beginning.filter(|_| recent)
    }

    /// Returns why values are lower bounds, while some may be.
    pub fn incomplete(&self) -> Option<String> {
        self.shown().why.incomplete.clone()
    }

    /// Returns the answer to a namespace's query, if it is complete.
    pub fn query(&self, namespace: &str, promql: &str) -> Result<Reading, NoReading> {
        self.answer(namespace, promql).exact()
    }

    /// Returns the answer to a namespace's query.
    pub fn answer(&self, namespace: &str, promql: &str) -> Measured<Reading, NoReading> {
        self.queries.lock().reading(namespace, promql, Instant::now(), self.stale_after)
    }

    /// Returns the lag of a consumer group, and its age.
    pub fn lag(&self, lag: &KafkaLag) -> Result<(Lag, Duration), NoReading> {
        self.lags.lock().answer(lag, Instant::now(), self.stale_after)
    }

    /// Returns the last lag of a consumer group, however old.
    pub fn last_lag(&self, lag: &KafkaLag) -> Option<Lag> {
        self.lags.lock().last(lag)
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

    /// Returns for how long a value is used.
    pub(crate) fn stale_after(&self) -> Duration {
        self.stale_after
    }

    /// Returns a watch that changes after each round of samples.
    pub fn rounds(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

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

    fn why_not_kept(&self, shown: &Shown) -> String {
        if self.wanted.lock().is_full() {
            return format!("triggers name {MAX_NAMED} other clusters already, and no more are taken");
        }
        shown.why.reason("it is measured from the next second on")
    }

    fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown.read())
    }
}

/// Methods for sources.
impl SignalStore {
    /// Records the end of a sweep of a Kafka cluster; `error` says why no lag at all is known.
    pub fn kafka_swept(&self, cluster: &str, error: Option<String>) {
        let mut clusters = self.kafka_clusters.lock();
        let known = clusters.entry(cluster.to_owned()).or_default();
        if error.is_none() {
            known.answered = Some(Instant::now());
        }
        known.error = error;
    }

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

    /// Records the health of a server that is used only for queries.
    pub fn source_status(&self, source: &str, error: Option<String>) {
        self.rounds.lock().prometheus_status(source, error, Instant::now());
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
        rates: Measured<Vec<(TokenNames, [f64; 3])>, String>,
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

#[cfg(test)]
mod tests;
