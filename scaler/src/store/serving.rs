//! Values that model servers report: tokens, waiting requests, and the used parts of their KV caches.
//!
//! A server that does not answer contributes its last means for as long as its pod exists; once these are older than
//! `stale_after`, the sum of a workload is a lower bound. It also is one while a ready server was never measured, or for less than
//! 30 s and may have worked before.
//!
//! A pod that is no longer ready is included while it answers: its probe may fail because it is full. While it does not answer, the
//! sum is a lower bound; after `stale_after` the pod is left out.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use tidegate_core::{llm::ServingPod, signal::Signal};
use tokio::time::Instant;

use super::{
    NoReading, SourceStatus, WINDOW,
    counts::Counts,
    plausible,
    window::{LONG, Window},
};

/// The values that a model server reports.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ServerCounters {
    /// Prompt tokens since it started
    pub input: f64,
    /// Prompt tokens among these that it had in its prefix cache
    pub cached: f64,
    /// Generated tokens since it started
    pub output: f64,
    /// Requests in progress; `None` if this kind of server does not report them
    pub running: Option<f64>,
    /// Waiting requests; `None` if this kind of server does not report them
    pub waiting: Option<f64>,
    /// The used part of its KV cache, from 0 to 1; `None` if this kind of server does not report it
    pub kv_cache: Option<f64>,
}

/// The sum over all pods of a workload.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Served {
    /// Uncached input tokens/s
    pub(crate) input: f64,
    /// Output tokens/s
    pub(crate) output: f64,
    /// Requests in progress
    pub(crate) running: Option<f64>,
    /// Waiting requests
    pub(crate) waiting: Option<f64>,
    /// Sum of the used parts of their KV caches
    pub(crate) kv_cache: Option<f64>,
    /// Time since the newest answer
    pub(crate) age: Duration,
    /// Why this is a lower bound, if it is
    pub(crate) incomplete: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Servers {
    servers: HashMap<SocketAddr, Server>,
    /// Time from which servers were asked, if there were any
    since: Option<Instant>,
}

#[derive(Debug, Default)]
struct Server {
    measured: Option<Measured>,
    error: Option<String>,
}

#[derive(Debug)]
struct Measured {
    at: Instant,
    last: ServerCounters,
    /// It has answered twice
    rated: bool,
    /// Time of its first answer, if it may have worked before that
    young: Option<Instant>,
    /// Uncached input tokens and output tokens
    tokens: Counts<2>,
    /// Requests waiting and KV cache
    gauges: Window<2>,
}

impl Servers {
    pub(super) fn sampled(&mut self, address: SocketAddr, at: Instant, sample: Result<ServerCounters, String>) {
        let server = self.servers.entry(address).or_default();
        let counters = match sample {
            Ok(counters) => counters,
            Err(error) => return server.error = Some(error),
        };
        if let Some(measured) = &mut server.measured {
            server.error = measured.take_in(at, counters).err();
            return;
        }
        // Had it existed in the last 30 s, it would have been asked.
        let is_new = self.since.is_some_and(|since| at.saturating_duration_since(since) >= WINDOW);
        *server = Server { measured: Some(Measured::new(at, counters, is_new)), error: None };
    }

    /// Closes a second. `servers` are all current ones.
    pub(super) fn second(&mut self, servers: &HashSet<SocketAddr>, now: Instant) {
        self.since.get_or_insert(now);
        self.servers.retain(|address, _| servers.contains(address));
        let answering = self.servers.values_mut().filter(|server| server.error.is_none());
        answering.filter_map(|server| server.measured.as_mut()).for_each(Measured::second);
    }

    /// Returns the status of each server that has ever answered.
    pub(super) fn sources(&self, now: Instant) -> impl Iterator<Item = SourceStatus> {
        self.servers.iter().filter_map(move |(address, server)| {
            let measured = server.measured.as_ref()?;
            Some(SourceStatus {
                name: format!("model server {address}"),
                last_success_seconds: Some(measured.age(now).as_secs_f64()),
                error: server.error.clone(),
            })
        })
    }

    /// Returns why a ready pod among these does not show the values of a signal.
    pub(super) fn error(&self, pods: &[ServingPod], signal: Signal) -> Option<String> {
        pods.iter().filter(|pod| pod.ready).find_map(|pod| {
            let server = self.servers.get(&pod.metrics?)?;
            if server.error.is_some() {
                return Some(unmeasured(pod, Some(server)));
            }
            let last = server.measured.as_ref()?.last;
            let lacks = match signal {
                Signal::Queue => last.waiting.is_none(),
                Signal::KvCache => last.kv_cache.is_none(),
                _ => false,
            };
            lacks.then(|| format!("the metrics of pod {} do not show its {}", pod.name, signal.unit()))
        })
    }

    /// Returns the sum over these pods.
    pub(super) fn served(&self, pods: &[ServingPod], now: Instant, stale_after: Duration) -> Result<Served, NoReading> {
        let mut sum = Served::default();
        let (mut newest, mut why) = (None::<Instant>, None);
        for pod in pods {
            let server = pod.metrics.and_then(|address| self.servers.get(&address));
            let Some((server, measured)) = server.and_then(|server| Some((server, server.rated()?))) else {
                why = why.or_else(|| pod.ready.then(|| unmeasured(pod, server)));
                continue;
            };
            if !pod.ready && server.error.is_some() && measured.age(now) > stale_after {
                continue;
            }
            why = why.or_else(|| server.unknown(measured, pod, now, stale_after));
            newest = newest.max(Some(measured.at));
            sum.add(measured);
        }
        sum.incomplete = why;
        let reason = || sum.incomplete.clone().unwrap_or_else(|| "no pod of it is ready".to_owned());
        let Some(newest) = newest else {
            return Err(NoReading::NotYet { waiting_for: reason() });
        };
        sum.age = now.saturating_duration_since(newest);
        if sum.age > stale_after {
            return Err(NoReading::Stale { age: sum.age, reason: reason() });
        }
        Ok(sum)
    }
}

impl Served {
    fn add(&mut self, Measured { last, tokens, gauges, .. }: &Measured) {
        let [input, output] = tokens.means();
        let [waiting, kv_cache] = gauges.values().unwrap_or_default();
        self.input += input;
        self.output += output;
        let add = |sum: Option<f64>, tells: Option<f64>, value: f64| tells.map(|_| value + sum.unwrap_or(0.0)).or(sum);
        self.running = add(self.running, last.running, last.running.unwrap_or(0.0));
        self.waiting = add(self.waiting, last.waiting, waiting);
        self.kv_cache = add(self.kv_cache, last.kv_cache, kv_cache);
    }
}

impl Server {
    fn rated(&self) -> Option<&Measured> {
        self.measured.as_ref().filter(|measured| measured.rated)
    }

    /// Returns why there may be more than its contribution, if so.
    fn unknown(&self, measured: &Measured, pod: &ServingPod, now: Instant, stale_after: Duration) -> Option<String> {
        let (name, age) = (&pod.name, measured.age(now));
        match (&self.error, pod.ready) {
            (Some(error), false) => Some(format!("pod {name} is not ready and does not show its metrics: {error}")),
            (Some(error), true) if age > stale_after => {
                Some(format!("pod {name} has not answered for {} s: {error}", age.as_secs()))
            }
            _ => {
                let seconds = measured.at.saturating_duration_since(measured.young?).as_secs() + 1;
                Some(format!("pod {name} was measured for {seconds} of {LONG} s so far"))
            }
        }
    }
}

impl Measured {
    /// Creates the state from a server's first answer. `is_new` means that it cannot have existed for long; then it has done nothing
    /// yet, if it reports so.
    fn new(at: Instant, last: ServerCounters, is_new: bool) -> Self {
        let has_begun = is_new && last.input + last.output == 0.0;
        let young = (!has_begun).then_some(at);
        Self { at, last, rated: false, young, tokens: Counts::since(at), gauges: Window::of_zeros() }
    }

    /// Records the next answer. Returns an error if no server can have counted that much; its means then stay as they are, and the next
    /// answer is compared with this one.
    fn take_in(&mut self, at: Instant, now: ServerCounters) -> Result<(), String> {
        // A counter that went down has counted from 0, and then so have all others.
        let reset = now.input < self.last.input || now.output < self.last.output;
        let then = if reset { ServerCounters::default() } else { self.last };
        let cached = (now.cached - then.cached).max(0.0);
        let counted = [(now.input - then.input - cached).max(0.0), now.output - then.output];
        let seconds = at.saturating_duration_since(self.at).as_secs_f64().max(0.1);
        let means = self.tokens.means();
        let another = reset && (0..2).any(|i| plausible::is_of_another(counted[i], seconds, means[i]));
        let checked = plausible::check((now.input - then.input).max(counted[1]), 0.0, seconds);
        if another || checked.is_err() {
            self.tokens.skip(at);
        } else {
            self.tokens.add(counted, at);
        }
        (self.at, self.last, self.rated) = (at, now, true);
        self.young = self.young.filter(|young| at.saturating_duration_since(*young) < WINDOW);
        checked
    }

    /// Closes a second in which it answered.
    fn second(&mut self) {
        if self.rated {
            let gauge = |gauge: Option<f64>| gauge.unwrap_or(0.0) as f32;
            self.gauges.push([gauge(self.last.waiting), gauge(self.last.kv_cache)]);
        }
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.at)
    }
}

fn unmeasured(pod: &ServingPod, server: Option<&Server>) -> String {
    let name = &pod.name;
    match (pod.metrics, server.and_then(|server| server.error.as_ref())) {
        (None, _) => format!("pod {name} has no address"),
        (Some(_), Some(error)) => format!("pod {name} does not show its metrics: {error}"),
        (Some(address), None) => format!("pod {name} ({address}) was not asked twice yet"),
    }
}

#[cfg(test)]
mod tests;
