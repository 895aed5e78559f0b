//! Once a second, the contributions of all proxies become one value for each cluster and signal.
//!
//! The rules that keep missing data from looking like missing demand, in addition to those of [`proxies`](super::proxies) and
//! [`proxy_sets`](super::proxy_sets):
//! - a second of a cluster is completely measured when every proxy that has to show the cluster does, and each is known; a value is
//!   exact when all 30 seconds of its window were, and a lower bound otherwise;
//! - a proxy that does not answer makes the same contribution as before, and is unknown after `stale_after`;
//! - a cluster that no proxy shows carries no traffic that could be known;
//! - when all proxies fail, the readings grow old.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tidegate_core::plan::Proxy;
use tokio::time::Instant;

use super::{
    NoReading, SourceStatus,
    clusters::{Cluster, Covered, News, SECOND, ShownCluster, Sum, rest},
    kept_clusters::{Ids, Kept, Series},
    proxies::{KnownProxy, Span},
    proxy_sets::{Gap, ProxySets, there},
    rate_limited::RateLimited,
    sample::Sample,
    window::LONG,
};

#[derive(Debug)]
pub(super) struct Rounds {
    stale_after: Duration,
    series: Arc<Series>,
    ids: Ids,
    clusters: Vec<Cluster>,
    /// News of each cluster
    news: Vec<News>,
    proxies: HashMap<SocketAddr, KnownProxy>,
    rate_limited: RateLimited,
    fleets: ProxySets,
    /// The end of the last second that was closed; `None` before the first
    edge: Option<Instant>,
    prometheus: HashMap<String, PrometheusStatus>,
    sums: Vec<Sum>,
    newest: Option<Instant>,
    why: Why,
}

/// The table that readers see: replaced after each round.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) series: Arc<Series>,
    pub(super) clusters: Vec<ShownCluster>,
    pub(super) fleets: ProxySets,
    pub(super) why: Why,
}

impl Shown {
    pub(super) fn cluster(&self, name: &str) -> Option<&ShownCluster> {
        self.clusters.get(self.series.of_cluster(name)? as usize)
    }

    /// Returns why a signal of traffic on one or the other of these clusters is not known, or not completely.
    pub(super) fn why_not(&self, clusters: &[(&str, f64)], signal: usize) -> NoReading {
        let known = clusters.iter().filter_map(|(name, _)| Some((*name, self.cluster(name)?)));
        // Of the two clusters one never exists: the reason is the other one's.
        let Some((name, cluster)) = known.min_by_key(|(_, cluster)| cluster.gaps[signal] == Gap::NotShown) else {
            return NoReading::NotYet { waiting_for: self.why.reason("it is measured from the next second on") };
        };
        let gap = cluster.gaps[signal];
        let reason = match (&self.why.failure, gap) {
            (Some(failure), Gap::None | Gap::NoProxy) => failure.clone(),
            (None, Gap::None) if self.why.no_rate.is_some() => self.why.reason(""),
            // A source other than the proxies knows no fleets.
            (None, Gap::Blocked) if self.fleets.blocked().is_none() => self.why.reason("no proxy of it is ready"),
            _ => self.fleets.reason(&cluster.fleets, name, gap),
        };
        match gap {
            Gap::NotShown | Gap::PartlyShown | Gap::LeftOut => NoReading::NotShown { reason },
            Gap::Blocked if self.fleets.is_refused(&cluster.fleets) => NoReading::NotShown { reason },
            Gap::None | Gap::NoProxy | Gap::Blocked => NoReading::NotYet { waiting_for: reason },
        }
    }
}

/// Reasons for missing or incomplete values.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Why {
    /// No source answers
    pub(super) failure: Option<String>,
    /// Some traffic is not measured
    pub(super) incomplete: Option<String>,
    /// Some cluster has traffic and no rate
    pub(super) no_rate: Option<String>,
}

impl Why {
    /// Returns why a cluster has no value, or no new one.
    pub(super) fn reason(&self, otherwise: &str) -> String {
        let known = self.failure.as_deref().or(self.incomplete.as_deref()).or(self.no_rate.as_deref());
        known.unwrap_or(otherwise).to_owned()
    }
}

#[derive(Debug, Default)]
struct PrometheusStatus {
    answered: Option<Instant>,
    error: Option<String>,
}

/// The values of the clusters from a Prometheus.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterValues {
    /// Requests/s, requests in flight and connections by the name of the series (see [`Series`]); `None` where there is
    /// traffic but no rate yet. A cluster that is not in it is shown by no proxy.
    pub values: HashMap<String, Option<[f64; 3]>>,
    /// Description of traffic that is missing from the values
    pub missing: Option<String>,
}

/// Time by which a second may be closed before its end, because rounds of answers do not follow the clock exactly.
const EARLY: Duration = Duration::from_millis(200);

impl Rounds {
    pub(super) fn new(stale_after: Duration) -> Self {
        Self {
            stale_after,
            series: Arc::default(),
            ids: Ids::default(),
            clusters: Vec::new(),
            news: Vec::new(),
            proxies: HashMap::new(),
            rate_limited: RateLimited::default(),
            fleets: ProxySets::default(),
            edge: None,
            prometheus: HashMap::new(),
            sums: Vec::new(),
            newest: None,
            why: Why::default(),
        }
    }

    pub(super) fn series(&self) -> &Arc<Series> {
        &self.series
    }

    pub(super) fn keep<'a>(&mut self, clusters: impl Iterator<Item = Kept<'a>>) {
        let mut series = Series::clone(&self.series);
        let change = series.keep(clusters, &mut self.ids);
        let dropped: HashSet<u32> = change.removed.into_iter().collect();
        if !dropped.is_empty() {
            self.proxies.values_mut().for_each(|proxy| proxy.forget(|id| !dropped.contains(&id)));
            self.rate_limited.forget(&dropped);
        }
        for (id, fleets) in change.kept {
            let index = id as usize;
            self.clusters.resize(self.clusters.len().max(index + 1), Cluster::default());
            self.news.resize(self.clusters.len(), News::default());
            if change.added.contains(&id) {
                self.news[index] = News::default();
                self.clusters[index] = Cluster::new(series.generation(), fleets);
            } else {
                self.clusters[index].move_to(fleets);
            }
        }
        self.series = Arc::new(series);
    }

    /// Records one proxy's answer; returns whether the proxy's health changed.
    pub(super) fn sampled(&mut self, proxy: &Proxy, at: Instant, sample: Result<Sample, String>) -> bool {
        // After a pause of the process an answer covers many seconds.
        if self.edge.is_some_and(|edge| at >= edge + 2 * SECOND) {
            self.close_seconds(at);
        }
        let known = self.proxies.entry(proxy.stats).or_insert_with(|| KnownProxy::named(&proxy.name));
        if known.name != proxy.name {
            // Another pod has the address now: its counters are unrelated to the known ones.
            *known = KnownProxy::named(&proxy.name);
        }
        let failed_before = known.error.is_some();
        let (clusters, news) = (&mut self.clusters, &mut self.news);
        let covered = known.answered().zip(self.edge).map(|(last, edge)| Covered::of(last, at, edge));
        let fleet = proxy.fleet.as_deref();
        known.error = match sample {
            Ok(sample) => {
                self.rate_limited.take_in(proxy.stats, at, &sample);
                let mut late = Vec::new();
                let since = |id: u32| {
                    clusters.get(id as usize).filter(|cluster| cluster.is_on(fleet)).map(|cluster| cluster.kept_since)
                };
                let mut take = |id: u32, span: &Span| {
                    if let Some((news, covered)) = news.get_mut(id as usize).zip(covered.as_ref()) {
                        news.take(span, covered);
                    }
                };
                // Hardly any answer is late, and a loop that keeps spans takes twice as long.
                let taken = if covered.as_ref().is_some_and(Covered::is_late) {
                    known.take_in(at, &sample, since, |id, span| {
                        take(id, &span);
                        late.push((id, span));
                    })
                } else {
                    known.take_in(at, &sample, since, |id, span| take(id, &span))
                };
                for (id, span) in late {
                    if let Some((cluster, covered)) = clusters.get_mut(id as usize).zip(covered.as_ref()) {
                        cluster.correct(&span, covered);
                    }
                }
                taken.err()
            }
            Err(error) => Some(error),
        };
        failed_before != known.error.is_some()
    }

    /// Closes a round at this time. `proxies` are all current ones.
    pub(super) fn commit(&mut self, proxies: &[Proxy], now: Instant) {
        let there = there(proxies);
        // A proxy that is gone contributes nothing more; its earlier contributions stay in the windows.
        self.proxies.retain(|address, known| there.contains(&(*address, known.name.as_str())));
        self.fleets = ProxySets::of(proxies, &self.proxies, now, self.stale_after);
        self.rate_limited.forget_old(now);
        self.edge.get_or_insert(now);
        self.close_seconds(now);
        self.clusters.iter_mut().for_each(Cluster::show);
        let answering = self.proxies.values().filter(|known| known.error.is_none());
        let newest = answering.filter_map(KnownProxy::answered).max();
        self.newest = self.newest.max(newest);
        self.why.incomplete = self.fleets.blocked();
        self.why.failure = newest.is_none().then(|| no_answer(proxies, &self.proxies));
    }

    /// Closes the seconds that are over.
    fn close_seconds(&mut self, now: Instant) {
        let Some(mut edge) = self.edge else { return };
        // After a pause of the process no second before the window matters.
        if let Some(oldest) = now.checked_sub(SECOND * (u32::from(LONG) + 1)) {
            edge = edge.max(oldest);
        }
        while edge + SECOND <= now + EARLY {
            self.close_second(edge);
            edge += SECOND;
        }
        self.edge = Some(edge);
    }

    fn close_second(&mut self, edge: Instant) {
        self.sums.clear();
        self.sums.resize(self.clusters.len(), Sum::default());
        for (address, known) in &mut self.proxies {
            let (part, Some(answered)) = (self.fleets.part(*address), known.answered()) else { continue };
            known.stood(part.contributes());
            let rest = rest(edge, answered);
            for cell in known.cells() {
                let Some(sum) = self.sums.get_mut(cell.id as usize) else { continue };
                sum.add(cell, part, rest);
            }
        }
        for ((cluster, news), sum) in self.clusters.iter_mut().zip(&mut self.news).zip(&self.sums) {
            let gaps = self.fleets.gaps(cluster.fleets(), sum.showing, sum.shown);
            let newest = self.fleets.newest(cluster.fleets());
            cluster.close(sum, std::mem::take(news), gaps, newest);
        }
    }

    /// Records values from a Prometheus as they are: it has already computed rates from counters.
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
        let (gap, not_shown) =
            if missing.is_some() { (Gap::Blocked, Gap::Blocked) } else { (Gap::None, Gap::NotShown) };
        self.why = Why { failure: None, incomplete: missing, no_rate };
        for (name, id) in self.series.iter() {
            let Some(cluster) = self.clusters.get_mut(id as usize) else { continue };
            match values.get(name) {
                None => cluster.told(now, None, not_shown),
                Some(Some(values)) => cluster.told(now, Some(*values), gap),
                // The cluster holds its last value, which grows old.
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

    /// Returns the requests/s of a cluster that a global rate limit refused.
    pub(super) fn rate_limited(&self, cluster: &str) -> Option<f64> {
        self.rate_limited.rate(self.series.of_cluster(cluster)?)
    }

    pub(super) fn shown(&self) -> Shown {
        let clusters = self.clusters.iter().map(|cluster| cluster.shown().clone()).collect();
        Shown { series: Arc::clone(&self.series), clusters, fleets: self.fleets.clone(), why: self.why.clone() }
    }

    /// Returns the time of the newest sample that is in a value.
    pub(super) fn newest(&self) -> Option<Instant> {
        self.newest
    }

    /// Returns the numbers of proxies that answer, that fail, and that were not heard from yet.
    pub(super) fn health(&self, proxies: usize) -> (usize, usize, usize) {
        let failing = self.proxies.values().filter(|known| known.error.is_some()).count();
        let answering = self.proxies.len() - failing;
        (answering, failing, proxies.saturating_sub(answering + failing))
    }

    pub(super) fn sources(&self, now: Instant) -> Vec<SourceStatus> {
        let status = |name: &str, answered: Option<Instant>, error: &Option<String>| SourceStatus {
            name: name.to_owned(),
            last_success_seconds: answered.map(|at| now.saturating_duration_since(at).as_secs_f64()),
            error: error.clone(),
        };
        let proxies = self.proxies.values().map(|known| status(&known.name, known.answered(), &known.error));
        let prometheus = self.prometheus.iter().map(|(url, known)| status(url, known.answered, &known.error));
        let mut sources: Vec<_> = proxies.chain(prometheus).collect();
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        sources
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
