//! Once a second, what every proxy contributes becomes one value for each cluster and signal.
//!
//! The rules that keep missing data from looking like missing demand, beside those of [`proxies`](super::proxies):
//! - a proxy that does not answer contributes what it last did, until the Plan says that it is gone or not ready;
//! - while a ready proxy was never measured, the sum can raise what a cluster showed before, and never lower it; where
//!   nothing was shown before, the value is marked as a lower bound;
//! - while no proxy is ready, the same: the only proxy of a Gateway restarts, answers before it has its configuration, and
//!   its zeros are not the users';
//! - when all proxies fail, nothing is written at all, and the readings grow old.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
};

use tidegate_core::plan::Proxy;
use tokio::time::Instant;

use super::{
    SourceStatus,
    names::{Ids, Series},
    proxies::{KnownProxy, Sample},
    window::{LONG, Values, Window},
};

#[derive(Debug, Default)]
pub(super) struct Rounds {
    series: Arc<Series>,
    ids: Ids,
    clusters: Vec<Cluster>,
    proxies: HashMap<SocketAddr, KnownProxy>,
    prometheus: HashMap<String, PrometheusStatus>,
    totals: Vec<Values>,
    newest: Option<Instant>,
    why: Why,
}

/// What readers see: replaced after each round.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) series: Arc<Series>,
    pub(super) clusters: Vec<Option<ShownCluster>>,
    pub(super) why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ShownCluster {
    pub(super) values: [f64; 3],
    /// Of the newest sample in it
    pub(super) at: Instant,
    pub(super) at_least: bool,
    /// Where that is measured
    pub(super) beginning: Option<Beginning>,
}

/// Requests that begin, and end later.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Beginning {
    /// Requests/s
    pub(crate) rate: f64,
    /// The same of the last seconds alone, when these are a burst that is none by chance
    pub(crate) burst: Option<f64>,
    /// By how many per second requests in flight become more, or fewer
    pub(crate) growth: f64,
}

/// Requests of a burst: at half as many, as many by chance come once in thousands of seconds (Poisson).
const NO_CHANCE: f64 = 30.0;

/// Why there is nothing, or not all.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Why {
    /// No source answers
    pub(super) failure: Option<String>,
    /// Something that carries traffic was never measured
    pub(super) incomplete: Option<String>,
    /// Some cluster has traffic and no rate
    pub(super) no_rate: Option<String>,
}

impl Why {
    /// Why a cluster has no value, or no new one.
    pub(super) fn reason(&self, otherwise: &str) -> String {
        let known = self.failure.as_deref().or(self.incomplete.as_deref()).or(self.no_rate.as_deref());
        known.unwrap_or(otherwise).to_owned()
    }
}

#[derive(Debug, Clone, Default)]
struct Cluster {
    /// The generation of [`Series`] in which the id was given to it
    kept_since: u64,
    window: Window<3>,
    /// What it showed when it was last known in whole
    whole: Option<[f64; 3]>,
    /// For how many more seconds the window has one in it that is a lower bound
    at_least: u8,
    shown: Option<ShownCluster>,
}

#[derive(Debug, Default)]
struct PrometheusStatus {
    answered: Option<Instant>,
    error: Option<String>,
}

/// What a Prometheus told of the clusters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterValues {
    /// Requests/s, requests in flight and connections by the name of the series (see [`Series`]); `None` where there is
    /// traffic but no rate yet. Clusters that are not in it carry nothing.
    pub values: HashMap<String, Option<[f64; 3]>>,
    /// What is not in the values although it carries traffic
    pub missing: Option<String>,
}

impl Rounds {
    pub(super) fn series(&self) -> &Arc<Series> {
        &self.series
    }

    pub(super) fn keep<'a>(&mut self, clusters: impl Iterator<Item = &'a str>) {
        let mut series = Series::clone(&self.series);
        let change = series.keep(clusters, &mut self.ids);
        for id in change.added {
            let index = id as usize;
            self.clusters.resize(self.clusters.len().max(index + 1), Cluster::default());
            self.clusters[index] = Cluster { kept_since: series.generation(), ..Cluster::default() };
        }
        if !change.removed.is_empty() {
            let kept: HashSet<u32> = series.iter().map(|(_, id)| id).collect();
            self.proxies.values_mut().for_each(|proxy| proxy.forget(|id| kept.contains(&id)));
        }
        self.series = Arc::new(series);
    }

    /// Takes in what one proxy answered; whether its health changed.
    pub(super) fn sampled(&mut self, proxy: &Proxy, at: Instant, sample: Result<Sample, String>) -> bool {
        let known = self.proxies.entry(proxy.stats).or_insert_with(|| KnownProxy::named(&proxy.name));
        if known.name != proxy.name {
            // Another pod has got the address: its counters are its own.
            *known = KnownProxy::named(&proxy.name);
        }
        let failed_before = known.error.is_some();
        match sample {
            Ok(sample) => {
                let clusters = &self.clusters;
                known.take_in(at, &sample, |id| clusters.get(id as usize).map(|cluster| cluster.kept_since));
            }
            Err(error) => known.error = Some(error),
        }
        failed_before != known.error.is_some()
    }

    /// Closes a round. `proxies` are all that there are now.
    pub(super) fn commit(&mut self, proxies: &[Proxy]) {
        let there: HashSet<(SocketAddr, &str)> =
            proxies.iter().map(|proxy| (proxy.stats, proxy.name.as_str())).collect();
        // A proxy that is gone contributes nothing more; what it contributed stays in the windows.
        self.proxies.retain(|address, known| there.contains(&(*address, known.name.as_str())));
        let round = self.sum(proxies);
        self.why.incomplete.clone_from(&round.unmeasured);
        match round.newest {
            Some(at) => {
                self.why.failure = None;
                self.newest = Some(at);
                self.write(at, &round);
            }
            None => self.why.failure = Some(no_answer(proxies, &self.proxies)),
        }
    }

    fn sum(&mut self, proxies: &[Proxy]) -> Round {
        self.totals.clear();
        self.totals.resize(self.clusters.len(), Values::default());
        let mut round = Round { newest: None, rated: 0, all_rated: Some(u64::MAX), unmeasured: None, awaited: false };
        if !proxies.iter().any(|proxy| proxy.ready) {
            round.all_rated = None;
            round.awaited = true;
            round.unmeasured = Some("no proxy is ready".to_owned());
        }
        for proxy in proxies {
            let mut known = self.proxies.get_mut(&proxy.stats);
            if let Some(known) = known.as_mut().filter(|known| known.error.is_some() && !proxy.ready) {
                known.is_silent_and_not_ready();
            }
            let Some((known, rated)) = known.and_then(|known| Some((&*known, known.rated()?))) else {
                if proxy.ready {
                    let known = self.proxies.get(&proxy.stats);
                    round.all_rated = None;
                    round.awaited |= known.is_none_or(|known| known.error.is_none());
                    round.unmeasured.get_or_insert_with(|| unmeasured(proxy, known));
                }
                continue;
            };
            for cell in known.contributions() {
                if let Some(total) = self.totals.get_mut(cell.id as usize) {
                    (0..3).for_each(|signal| total[signal] += cell.contribution[signal]);
                }
            }
            round.rated = round.rated.max(rated);
            round.all_rated = round.all_rated.map(|all| if proxy.ready { all.min(rated) } else { all });
            if known.error.is_none() {
                round.newest = round.newest.max(known.answered());
            }
        }
        round
    }

    /// Writes the totals of the clusters that some proxy was measured for.
    fn write(&mut self, at: Instant, round: &Round) {
        for (cluster, total) in self.clusters.iter_mut().zip(&self.totals) {
            let since = cluster.kept_since;
            let whole = round.all_rated.is_some_and(|all| since <= all);
            // The first value of all had better be a whole one, when that is a matter of seconds.
            let wait = round.awaited && cluster.shown.is_none();
            if since <= round.rated && (whole || !wait) {
                cluster.second(at, *total, whole);
            }
        }
    }

    /// A Prometheus has already made rates of counters: its values are taken as they are.
    pub(super) fn commit_values(&mut self, source: &str, answer: Result<ClusterValues, String>, now: Instant) {
        let status = self.prometheus.entry(source.to_owned()).or_default();
        let ClusterValues { values, missing } = match answer {
            Ok(values) => values,
            Err(error) => {
                self.why.failure = Some(format!("{source}: {error}"));
                status.error = Some(error);
                return;
            }
        };
        self.newest = Some(now);
        *status = PrometheusStatus { answered: Some(now), error: missing.clone() };
        let no_rate = values.values().any(Option::is_none).then(|| {
            "Prometheus has fewer than two samples in 30 s: it must scrape the proxies at least every 15 s".to_owned()
        });
        self.why = Why { failure: None, incomplete: missing.clone(), no_rate };
        for (name, id) in self.series.iter() {
            let Some(cluster) = self.clusters.get_mut(id as usize) else { continue };
            match values.get(name) {
                None => cluster.told(now, [0.0; 3], missing.is_none()),
                Some(Some(values)) => cluster.told(now, values.map(sane), missing.is_none()),
                // It holds what it showed, and grows old.
                Some(None) => {}
            }
        }
    }

    pub(super) fn prometheus_status(&mut self, source: &str, error: Option<String>, now: Instant) {
        let status = self.prometheus.entry(source.to_owned()).or_default();
        if error.is_none() {
            status.answered = Some(now);
        }
        status.error = error;
    }

    pub(super) fn shown(&self) -> Shown {
        let clusters = self.clusters.iter().map(|cluster| cluster.shown).collect();
        Shown { series: Arc::clone(&self.series), clusters, why: self.why.clone() }
    }

    /// When the newest sample was taken that is in a value.
    pub(super) fn newest(&self) -> Option<Instant> {
        self.newest
    }

    /// How many proxies answer, fail, and were not heard of yet.
    pub(super) fn health(&self, proxies: usize) -> (usize, usize, usize) {
        let failing = self.proxies.values().filter(|known| known.error.is_some()).count();
        let answering = self.proxies.len() - failing;
        (answering, failing, proxies.saturating_sub(answering + failing))
    }

    pub(super) fn sources(&self, now: Instant) -> Vec<SourceStatus> {
        let status = |name: &str, answered: Option<Instant>, error: &Option<String>| SourceStatus {
            name: name.to_owned(),
            last_success_seconds: answered.map(|at| now.duration_since(at).as_secs_f64()),
            error: error.clone(),
        };
        let proxies = self.proxies.values().map(|known| status(&known.name, known.answered(), &known.error));
        let prometheus = self.prometheus.iter().map(|(url, known)| status(url, known.answered, &known.error));
        let mut sources: Vec<_> = proxies.chain(prometheus).collect();
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        sources
    }
}

/// What one round found.
struct Round {
    /// When the newest answer came of the proxies that answer; `None` when there is nothing to write
    newest: Option<Instant>,
    /// Clusters that are kept since this generation or longer were measured on some proxy
    rated: u64,
    /// … and on every ready proxy; `None` when a ready proxy was never measured, or none is ready
    all_rated: Option<u64>,
    /// Why not all that is carried was measured
    unmeasured: Option<String>,
    /// Whether it may be measured any moment: it was not yet asked in vain
    awaited: bool,
}

impl Cluster {
    /// One second of the proxies; `whole` when it is of all of them.
    fn second(&mut self, at: Instant, mut total: Values, whole: bool) {
        if whole {
            self.at_least = self.at_least.saturating_sub(1);
        } else if let Some(shown) = self.whole {
            (0..3).for_each(|signal| total[signal] = total[signal].max(shown[signal] as f32));
        } else {
            self.at_least = LONG;
        }
        self.window.push(total);
        let Some(values) = self.window.values() else { return };
        if whole && self.at_least == 0 {
            self.whole = Some(values);
        }
        let means = self.window.means().zip(self.window.slopes());
        let beginning = means.map(|(means, slopes)| Beginning {
            rate: means[0],
            burst: self.window.burst(0, NO_CHANCE),
            growth: slopes[1],
        });
        self.shown = Some(ShownCluster { values, at, at_least: self.at_least > 0, beginning });
    }

    /// A value that somebody else measured; `whole` when it is of all proxies.
    fn told(&mut self, at: Instant, mut values: [f64; 3], whole: bool) {
        if whole {
            self.whole = Some(values);
        } else if let Some(shown) = self.whole {
            (0..3).for_each(|signal| values[signal] = values[signal].max(shown[signal]));
        }
        self.shown = Some(ShownCluster { values, at, at_least: self.whole.is_none(), beginning: None });
    }
}

fn sane(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

fn unmeasured(proxy: &Proxy, known: Option<&KnownProxy>) -> String {
    let Proxy { name, stats, .. } = proxy;
    match known.and_then(|known| known.error.as_ref()) {
        Some(error) => format!("proxy {name} is ready and never answered: {error}"),
        None => format!("proxy {name} ({stats}) has not answered twice yet"),
    }
}

fn no_answer(proxies: &[Proxy], known: &HashMap<SocketAddr, KnownProxy>) -> String {
    let failing = proxies.iter().find_map(|proxy| Some((&proxy.name, known.get(&proxy.stats)?.error.as_ref()?)));
    match (proxies.len(), failing) {
        (0, _) => "no proxy is known: no ready pod of Envoy Gateway, and no --proxy".to_owned(),
        (_, None) => "the proxies have not answered twice yet".to_owned(),
        (1, Some((name, error))) => format!("proxy {name} does not answer: {error}"),
        (count, Some((name, error))) => format!("none of {count} proxies answers; {name}: {error}"),
    }
}
