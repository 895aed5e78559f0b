//! Once a second, what every proxy answered becomes one value for each cluster and signal.
//!
//! The rules that keep missing data from looking like missing demand:
//! - a counter below its last value was reset: what it shows was counted since;
//! - a proxy that was never seen gives a baseline only; a series that is new on a known proxy was counted from 0, because
//!   Envoy shows series from their first use on;
//! - a proxy that does not answer keeps contributing what it last did, until the Plan says that it is gone or gets no
//!   traffic;
//! - when no proxy answers, nothing is written at all, and the readings grow old.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tidegate_core::{plan::Proxy, signal::Signal};
use tokio::time::Instant;

use super::{NoReading, Reading, SourceStatus, window::Window};

/// What Envoy counts of one cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counters {
    /// `upstream_rq_total`: requests sent to an endpoint
    pub requests: f64,
    /// `upstream_rq_pending_overflow` and `upstream_rq_pending_failure_eject`: requests that found no connection, by the
    /// circuit breaker or because connecting failed
    pub refused: f64,
    /// `upstream_rq_retry`: those of `requests` that the proxy sent again on its own
    pub retries: f64,
    /// `upstream_rq_active` and `upstream_rq_pending_active`
    pub in_flight: f64,
    /// `upstream_cx_active`
    pub connections: f64,
}

/// What a proxy answered, by the ids of [`Signals::series`](super::Signals::series).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Sorted by id
    pub clusters: Vec<(u32, Counters)>,
}

/// One proxy in one round.
#[derive(Debug)]
pub struct ProxyAnswer {
    /// Who was asked
    pub proxy: Proxy,
    /// When the answer was there
    pub at: Instant,
    /// The answer, or why there is none
    pub sample: Result<Sample, String>,
}

/// requests/s, in flight, connections
type Values = [f32; 3];

const SIGNALS: [Signal; 3] = [Signal::RequestsPerSecond, Signal::Concurrency, Signal::Connections];
/// After such a gap the window is of another time.
const LONGEST_GAP: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// The series' name to the cluster's id
    series: Arc<HashMap<Box<str>, u32>>,
    names: HashMap<Box<str>, u32>,
    clusters: Vec<Cluster>,
    free: Vec<u32>,
    proxies: HashMap<SocketAddr, Known>,
    /// When values were last written
    written: Option<Instant>,
    failure: Option<String>,
    totals: Vec<Values>,
}

#[derive(Debug, Clone, Default)]
struct Cluster {
    windows: [Window; 3],
    last: Option<(Instant, [f64; 3])>,
}

/// What is known of a proxy.
#[derive(Debug, Default)]
struct Known {
    name: String,
    sample: Option<(Instant, Sample)>,
    contribution: Vec<(u32, Values)>,
    error: Option<String>,
}

impl Rounds {
    /// Envoy cuts the label `envoy_cluster_name` at the first dot of a cluster's name and moves the rest into the name of
    /// the metric, where only letters, digits and underscores stay. So a series is found under the label alone or, for a
    /// name with dots, under the label, a dot, and the rest as it stands in the metric.
    pub(super) fn series(&self) -> Arc<HashMap<Box<str>, u32>> {
        Arc::clone(&self.series)
    }

    pub(super) fn keep<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let mut kept: HashMap<Box<str>, u32> = HashMap::new();
        let mut new = Vec::new();
        for name in names {
            match self.names.remove_entry(name) {
                Some((name, id)) => _ = kept.insert(name, id),
                None if !kept.contains_key(name) => new.push(name),
                None => {}
            }
        }
        let gone: HashSet<u32> = self.names.drain().map(|(_, id)| id).collect();
        for id in &gone {
            self.clusters[*id as usize] = Cluster::default();
        }
        for proxy in self.proxies.values_mut().filter(|_| !gone.is_empty()) {
            proxy.contribution.retain(|(id, _)| !gone.contains(id));
            if let Some((_, sample)) = &mut proxy.sample {
                sample.clusters.retain(|(id, _)| !gone.contains(id));
            }
        }
        self.free.extend(gone);
        for name in new {
            let id = self.free.pop().unwrap_or_else(|| {
                self.clusters.push(Cluster::default());
                self.clusters.len() as u32 - 1
            });
            kept.insert(name.into(), id);
        }
        self.names = kept;
        self.series = Arc::new(self.names.iter().map(|(name, id)| (series_name(name), *id)).collect());
    }

    pub(super) fn commit(&mut self, answers: Vec<ProxyAnswer>, now: Instant) {
        let asked: HashSet<SocketAddr> = answers.iter().map(|answer| answer.proxy.stats).collect();
        // A proxy that is gone adds nothing more; what it added stays in the windows.
        self.proxies.retain(|address, _| asked.contains(address));
        if answers.is_empty() {
            self.failure =
                Some("no proxy is known: no pod with the labels of Envoy Gateway's proxies has an address".into());
            return;
        }
        let mut measured = false;
        self.totals.clear();
        self.totals.resize(self.clusters.len(), [0.0; 3]);
        for ProxyAnswer { proxy, at, sample } in answers {
            let known = self.proxies.entry(proxy.stats).or_default();
            known.name = proxy.name;
            match sample {
                Ok(sample) => measured |= known.take_in(at, sample),
                Err(error) => {
                    known.error = Some(error);
                    if !proxy.ready {
                        known.contribution.clear();
                    }
                }
            }
            for (id, values) in &known.contribution {
                if let Some(total) = self.totals.get_mut(*id as usize) {
                    (0..3).for_each(|signal| total[signal] += values[signal]);
                }
            }
        }
        if measured {
            self.write(now);
        } else {
            self.failure =
                self.proxies.values().find_map(|known| Some(format!("{}: {}", known.name, known.error.as_ref()?)));
        }
    }

    /// Writes the totals into the windows.
    fn write(&mut self, now: Instant) {
        let gap = self.written.is_some_and(|written| now.duration_since(written) > LONGEST_GAP);
        for (cluster, total) in self.clusters.iter_mut().zip(&self.totals) {
            let mut values = [0.0; 3];
            for signal in 0..3 {
                let window = &mut cluster.windows[signal];
                if gap {
                    window.clear();
                }
                window.push(total[signal]);
                values[signal] = window.value().unwrap_or_default();
            }
            cluster.last = Some((now, values));
        }
        self.written = Some(now);
        self.failure = None;
    }

    /// A Prometheus has already made rates of counters: its values are taken as they are.
    pub(super) fn commit_values(
        &mut self,
        source: &str,
        values: Result<HashMap<String, [f64; 3]>, String>,
        now: Instant,
    ) {
        match values {
            Ok(values) => {
                for cluster in &mut self.clusters {
                    cluster.last = Some((now, [0.0; 3]));
                }
                for (series, values) in values {
                    let values = values.map(|value| if value.is_finite() { value.max(0.0) } else { 0.0 });
                    if let Some(id) = self.series.get(series.as_str()) {
                        self.clusters[*id as usize].last = Some((now, values));
                    }
                }
                self.written = Some(now);
                self.failure = None;
            }
            Err(error) => self.failure = Some(format!("{source}: {error}")),
        }
    }

    pub(super) fn reading(
        &self,
        name: &str,
        signal: Signal,
        now: Instant,
        stale_after: Duration,
    ) -> Result<Reading, NoReading> {
        let failure = || self.failure.clone().unwrap_or_else(|| "its first two samples, a second apart".to_owned());
        let cluster = self.names.get(name).and_then(|id| self.clusters.get(*id as usize));
        let Some((at, values)) = cluster.and_then(|cluster| cluster.last) else {
            return Err(NoReading::NotYet { waiting_for: failure() });
        };
        let age = now.duration_since(at);
        if age > stale_after {
            return Err(NoReading::Stale { age, reason: failure() });
        }
        let index = SIGNALS.iter().position(|of| *of == signal);
        let value = index
            .map(|index| values[index])
            .ok_or_else(|| NoReading::BadAnswer { reason: format!("{signal} is not measured on clusters") })?;
        Ok(Reading { value, age })
    }

    pub(super) fn sources(&self, now: Instant) -> Vec<SourceStatus> {
        let mut sources: Vec<_> = self
            .proxies
            .values()
            .map(|known| SourceStatus {
                name: known.name.clone(),
                last_success_seconds: known.sample.as_ref().map(|(at, _)| now.duration_since(*at).as_secs_f64()),
                error: known.error.clone(),
            })
            .collect();
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        sources
    }
}

impl Known {
    /// Whether the answer says anything about demand: the first one of a proxy is only a baseline.
    fn take_in(&mut self, at: Instant, sample: Sample) -> bool {
        self.error = None;
        let Some((before, last)) = &self.sample else {
            self.sample = Some((at, sample));
            return false;
        };
        let seconds = at.duration_since(*before).as_secs_f64();
        if seconds < 0.1 {
            return true;
        }
        let mut last = last.clusters.iter().peekable();
        self.contribution.clear();
        for (id, now) in &sample.clusters {
            while last.next_if(|(earlier, _)| earlier < id).is_some() {}
            let then = last.next_if(|(same, _)| same == id).map_or_else(Counters::default, |(_, counters)| *counters);
            let values = [now.demand_since(&then) / seconds, now.in_flight, now.connections];
            self.contribution.push((*id, values.map(|value| value as f32)));
        }
        self.sample = Some((at, sample));
        true
    }
}

impl Counters {
    /// Requests that users sent: sent on and refused, less the proxy's own retries.
    fn demand_since(&self, then: &Self) -> f64 {
        // As Prometheus does: a counter that went down was reset and has counted from 0.
        let since = |now: f64, then: f64| if now < then { now } else { now - then };
        let sent = since(self.requests, then.requests) + since(self.refused, then.refused);
        (sent - since(self.retries, then.retries)).max(0.0)
    }
}

fn series_name(cluster: &str) -> Box<str> {
    let Some((label, rest)) = cluster.split_once('.') else { return cluster.into() };
    let kept = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    format!("{label}.{}", rest.chars().map(kept).collect::<String>()).into()
}
