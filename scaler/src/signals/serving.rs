//! What model servers tell of themselves: tokens, requests that wait, and how full their KV caches are.
//!
//! A server that does not answer contributes what it last did for as long as its pod is there. While one that is ready was never
//! measured, or for less than 30 s and had worked before, the sum of a workload is a lower bound.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use tidegate_core::model::ServingPod;
use tokio::time::Instant;

use super::{
    NoReading,
    window::{LONG, Window},
};

/// What a model server says now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ServerCounters {
    /// Prompt tokens since it started
    pub input: f64,
    /// Those of them that it had in its prefix cache
    pub cached: f64,
    /// Generated tokens since it started
    pub output: f64,
    /// Requests that it works on; `None` where such a server does not tell
    pub running: Option<f64>,
    /// Requests that wait; `None` where such a server does not tell
    pub waiting: Option<f64>,
    /// The part of its KV cache that is used, from 0 to 1; `None` where such a server does not tell
    pub kv_cache: Option<f64>,
}

/// What all pods of a workload tell together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Served {
    /// Uncached input tokens/s
    pub(crate) input: f64,
    /// Output tokens/s
    pub(crate) output: f64,
    /// Requests that they work on
    pub(crate) running: Option<f64>,
    /// Requests that wait
    pub(crate) waiting: Option<f64>,
    /// The parts of their KV caches that are used, added up
    pub(crate) kv_cache: Option<f64>,
    /// Since the oldest of the newest answers
    pub(crate) age: Duration,
    /// Why this is a lower bound, if it is
    pub(crate) incomplete: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Servers(HashMap<SocketAddr, Server>);

#[derive(Debug)]
struct Server {
    last: Option<(Instant, ServerCounters)>,
    error: Option<String>,
    /// Uncached input tokens/s, output tokens/s, requests waiting, KV cache
    now: Option<[f32; 4]>,
    window: Window<4>,
    /// For how many more seconds its window has some in it that were not measured
    unknown: u8,
}

impl Servers {
    pub(super) fn sampled(&mut self, address: SocketAddr, at: Instant, sample: Result<ServerCounters, String>) {
        let server = self.0.entry(address).or_insert_with(Server::new);
        match sample {
            Ok(counters) => server.take_in(at, counters),
            Err(error) => server.error = Some(error),
        }
    }

    /// Closes a second. These are all that there are now.
    pub(super) fn second(&mut self, servers: &HashSet<SocketAddr>) {
        self.0.retain(|address, _| servers.contains(address));
        for server in self.0.values_mut() {
            if let (Some(now), None) = (server.now, &server.error) {
                server.window.push(now);
                server.unknown = server.unknown.saturating_sub(1);
            }
        }
    }

    /// The sum over these pods.
    pub(super) fn served(&self, pods: &[ServingPod], now: Instant, stale_after: Duration) -> Result<Served, NoReading> {
        let mut sum = Served::default();
        let (mut measured, mut newest, mut why) = (0, None::<Instant>, None);
        for pod in pods {
            let server = pod.metrics.and_then(|address| self.0.get(&address));
            let Some((server, (means, values))) = server.and_then(|server| Some((server, server.told()?))) else {
                if pod.ready {
                    why = why.or_else(|| Some(unmeasured(pod, server)));
                }
                continue;
            };
            let Some((at, last)) = server.last else { continue };
            if pod.ready && server.unknown > 0 {
                let seconds = LONG - server.unknown;
                why = why.or_else(|| Some(format!("pod {} was measured for {seconds} of {LONG} s so far", pod.name)));
            }
            measured += 1;
            newest = newest.max(Some(at));
            sum.input += means[0];
            sum.output += means[1];
            // Who is not ready takes no requests: what it says of its queue and its cache is of the past.
            if pod.ready {
                sum.running = last.running.map(|running| running + sum.running.unwrap_or(0.0)).or(sum.running);
                sum.waiting = last.waiting.map(|_| values[2] + sum.waiting.unwrap_or(0.0)).or(sum.waiting);
                sum.kv_cache = last.kv_cache.map(|_| values[3] + sum.kv_cache.unwrap_or(0.0)).or(sum.kv_cache);
            }
        }
        sum.incomplete = why;
        let reason = || sum.incomplete.clone().unwrap_or_else(|| "no pod of it is ready".to_owned());
        let Some(newest) = newest.filter(|_| measured > 0) else {
            return Err(NoReading::NotYet { waiting_for: reason() });
        };
        sum.age = now.saturating_duration_since(newest);
        if sum.age > stale_after {
            return Err(NoReading::Stale { age: sum.age, reason: reason() });
        }
        Ok(sum)
    }
}

impl Server {
    fn new() -> Self {
        Self { last: None, error: None, now: None, window: Window::of_zeros(), unknown: LONG }
    }

    fn take_in(&mut self, at: Instant, counters: ServerCounters) {
        self.error = None;
        let gauges = [counters.waiting, counters.kv_cache].map(|gauge| gauge.unwrap_or(0.0).max(0.0) as f32);
        let rates = self.last.map(|(then, last)| {
            // A counter that went down has counted from 0, and then all of them have.
            let reset = counters.input < last.input || counters.output < last.output;
            let base = if reset { ServerCounters::default() } else { last };
            let cached = (counters.cached - base.cached).max(0.0);
            let seconds = at.saturating_duration_since(then).as_secs_f64().max(0.1);
            [(counters.input - base.input - cached).max(0.0), counters.output - base.output].map(|n| n / seconds)
        });
        if self.last.is_none() && counters.input + counters.output == 0.0 {
            // It has just begun, and nothing was before.
            self.unknown = 0;
        }
        self.now = rates.map(|[input, output]| [input as f32, output as f32, gauges[0], gauges[1]]);
        self.last = Some((at, counters));
    }

    fn told(&self) -> Option<([f64; 4], [f64; 4])> {
        self.now?;
        Some((self.window.means()?, self.window.values()?))
    }
}

fn unmeasured(pod: &ServingPod, server: Option<&Server>) -> String {
    let name = &pod.name;
    match (pod.metrics, server.and_then(|server| server.error.as_ref())) {
        (None, _) => format!("pod {name} has no address"),
        (Some(_), Some(error)) => format!("pod {name} does not tell its metrics: {error}"),
        (Some(address), None) => format!("pod {name} ({address}) was not asked twice yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Duration = Duration::from_secs(300);

    struct Asked {
        servers: Servers,
        now: Instant,
        pods: Vec<ServingPod>,
    }

    fn pod(number: u8) -> ServingPod {
        let metrics = Some(([10, 0, 0, number], 8000).into());
        ServingPod { name: format!("qwen-{number}"), metrics, path: "/metrics".into(), ready: true, created: None }
    }

    impl Asked {
        fn of(pods: u8) -> Self {
            Self { servers: Servers::default(), now: Instant::now(), pods: (0..pods).map(pod).collect() }
        }

        fn second(&mut self, answers: &[Result<ServerCounters, &str>]) {
            self.now += Duration::from_secs(1);
            for (pod, answer) in self.pods.iter().zip(answers) {
                let address = pod.metrics.unwrap();
                self.servers.sampled(address, self.now, answer.map_err(ToOwned::to_owned));
            }
            let all = self.pods.iter().filter_map(|pod| pod.metrics).collect();
            self.servers.second(&all);
        }

        fn served(&self) -> Result<Served, String> {
            self.servers.served(&self.pods, self.now, STALE).map_err(|none| none.to_string())
        }
    }

    fn busy(second: u8) -> ServerCounters {
        let n = f64::from(second);
        let (running, waiting, kv_cache) = (Some(8.0), Some(4.0), Some(0.5));
        ServerCounters { input: 100.0 * n, cached: 30.0 * n, output: 50.0 * n, running, waiting, kv_cache }
    }

    #[test]
    fn what_pods_tell_is_added_up() {
        let mut asked = Asked::of(2);
        (0..40).for_each(|second| asked.second(&[Ok(busy(second)), Ok(busy(second))]));
        let served = asked.served().unwrap();
        assert_eq!((served.input, served.output), (140.0, 100.0));
        assert_eq!((served.waiting, served.kv_cache, served.incomplete), (Some(8.0), Some(1.0), None));
        assert_eq!(served.running, Some(16.0));
    }

    #[test]
    fn a_lump_in_the_first_seconds_of_a_server_is_no_rate_and_what_it_did_before_is_not_taken_for_nothing() {
        let lump = |total: f64| Ok(ServerCounters { input: total, ..ServerCounters::default() });
        let mut asked = Asked::of(1);
        for total in [0.0, 0.0, 3000.0, 3000.0] {
            asked.second(&[lump(total)]);
        }
        let served = asked.served().unwrap();
        assert_eq!((served.input.round(), served.incomplete), (100.0, None), "it has just begun");
        let mut asked = Asked::of(1);
        for total in [1e9, 1e9, 1e9 + 3000.0] {
            asked.second(&[lump(total)]);
        }
        let served = asked.served().unwrap();
        assert_eq!((served.input.round(), served.incomplete.is_some()), (100.0, true), "nobody saw what it did before");
        (0..30).for_each(|_| asked.second(&[lump(1e9 + 3000.0)]));
        assert_eq!(asked.served().unwrap().incomplete, None);
    }

    #[test]
    fn a_pod_that_is_silent_contributes_what_it_last_did_and_a_new_one_makes_a_lower_bound() {
        let mut asked = Asked::of(2);
        (0..40).for_each(|second| asked.second(&[Ok(busy(second)), Err("timeout")]));
        let served = asked.served().unwrap();
        assert_eq!(served.waiting, Some(4.0));
        assert_eq!(served.incomplete.as_deref(), Some("pod qwen-1 does not tell its metrics: timeout"));
        (40..60).for_each(|_| asked.second(&[Err("timeout"), Err("timeout")]));
        assert_eq!(asked.served().unwrap().waiting, Some(4.0));
        asked.now += STALE;
        assert!(asked.served().unwrap_err().contains("timeout"));
    }

    #[test]
    fn a_server_that_starts_again_is_neither_negative_nor_huge() {
        let mut asked = Asked::of(1);
        (0..40).for_each(|second| asked.second(&[Ok(busy(second))]));
        asked.second(&[Ok(busy(1))]);
        assert_eq!(asked.served().unwrap().output, 50.0);
    }

    #[test]
    fn a_server_that_tells_no_queue_has_none() {
        let mut asked = Asked::of(1);
        (0..5).for_each(|second| asked.second(&[Ok(ServerCounters { waiting: None, kv_cache: None, ..busy(second) })]));
        let served = asked.served().unwrap();
        assert_eq!((served.waiting, served.kv_cache), (None, None));
    }

    #[test]
    fn nothing_is_known_of_no_pods() {
        assert_eq!(Asked::of(0).served(), Err("no value yet: no pod of it is ready".to_owned()));
    }
}
