//! The signal store: the last measured values, their ages, and why values are missing.
//!
//! Sources write (`intake`), RPCs read. Each round of a source becomes one table, which readers share: they never wait for a round in
//! progress. Memory is bounded by the clusters that the Plan names and that hand-written triggers ask for; everything else that a
//! proxy reports is dropped on arrival.

mod clusters;
mod counts;
mod health;
mod intake;
mod kept_clusters;
mod metrics;
mod plausible;
mod proxies;
mod proxy_sets;
mod queries;
mod questions;
mod rate_limited;
mod reading;
mod rounds;
mod sample;
mod serving;
mod tokens;
mod window;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use tidegate_core::{
    kafka::{KafkaLag, Lag},
    llm::ServingPod,
    measured::Measured,
    plan::Plan,
    signal::Signal,
};
use tokio::{sync::watch, time::Instant};

use self::{
    clusters::ALL,
    health::KafkaCluster,
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
    health::SourceStatus,
    kept_clusters::Series,
    reading::{NoReading, Reading},
    rounds::ClusterValues,
    sample::{Counters, Sample, Shows},
    serving::ServerCounters,
    tokens::TokenCounters,
};

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

    /// Returns the requests/s of a cluster that a global rate limit refused; `None` if none was, or no proxy is asked. They are no
    /// demand: a limit is there so that they are not served.
    pub(crate) fn rate_limited(&self, name: &str) -> Option<f64> {
        self.rounds.lock().rate_limited(name)
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

    /// Returns for how long a value is used.
    pub(crate) fn stale_after(&self) -> Duration {
        self.stale_after
    }

    /// Returns a watch that changes after each round of samples.
    pub fn rounds(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
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

#[cfg(test)]
mod tests;
