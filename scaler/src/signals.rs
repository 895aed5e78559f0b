//! The store: what was measured last, of which age, and why not.
//!
//! Sources write, RPCs read. Memory is bounded by the clusters that the Plan names and that hand-written triggers ask
//! for; everything else that a proxy tells is dropped at the door.

mod queries;
mod rounds;
mod window;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tidegate_core::{plan::Plan, signal::Signal};
use tokio::{sync::watch, time::Instant};

pub use self::rounds::{Counters, ProxyAnswer, Sample};
use self::{queries::Queries, rounds::Rounds};

/// One measured number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// At least 0 and finite, in the signal's unit
    pub value: f64,
    /// Since the newest sample in it
    pub age: Duration,
}

/// Why there is no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReading {
    /// Nothing was measured so far
    #[error("no value yet: {waiting_for}")]
    NotYet {
        /// What has to happen first
        waiting_for: String,
    },
    /// The last value is too old to be used
    #[error("the last value is {} s old: {reason}", age.as_secs())]
    Stale {
        /// Its age
        age: Duration,
        /// What keeps the source from a new one
        reason: String,
    },
    /// The source answered, but not with a number
    #[error("{reason}")]
    BadAnswer {
        /// What it answered
        reason: String,
    },
}

/// How a source is doing.
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

/// Everything that was measured.
#[derive(Debug)]
pub struct Signals {
    stale_after: Duration,
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    rounds: Rounds,
    queries: Queries,
    /// Clusters that triggers name themselves, and when they were last asked for
    named: HashMap<String, Instant>,
    /// Clusters that the Plan names
    planned: Vec<std::sync::Arc<str>>,
}

/// Hand-written triggers and queries that nobody asked for in this time are forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// More than this, and a mistake or an attack is likelier than a need.
const MAX_NAMED: usize = 10_000;

impl Signals {
    /// An empty store; values older than `stale_after` are not given out.
    pub fn new(stale_after: Duration) -> Self {
        Self { stale_after, state: Mutex::default(), version: watch::Sender::new(0) }
    }

    /// Keeps the clusters that the Plan names, and forgets those that it named before.
    pub fn keep(&self, plan: &Plan) {
        let mut state = self.lock();
        state.planned = plan.clusters().cloned().collect();
        state.planned.sort_unstable();
        state.planned.dedup();
        state.keep();
    }

    /// Keeps clusters that a hand-written trigger names, for as long as it asks.
    pub fn keep_named(&self, clusters: &[String]) {
        let mut state = self.lock();
        let now = Instant::now();
        let mut changed = false;
        for cluster in clusters {
            if let Some(asked) = state.named.get_mut(cluster) {
                *asked = now;
            } else if state.named.len() < MAX_NAMED {
                state.named.insert(cluster.clone(), now);
                changed = true;
            }
        }
        if changed {
            state.keep();
        }
    }

    /// Asks this query from the next round on, for as long as somebody wants it.
    pub fn keep_query(&self, promql: &str) {
        self.lock().queries.keep(promql, Instant::now());
    }

    /// The queries to ask.
    pub fn wanted_queries(&self) -> Vec<String> {
        self.lock().queries.wanted(Instant::now())
    }

    /// The signal of one Envoy cluster. One that no proxy names, while proxies answer, carries nothing: 0.
    pub fn cluster(&self, name: &str, signal: Signal) -> Result<Reading, NoReading> {
        self.lock().rounds.reading(name, signal, Instant::now(), self.stale_after)
    }

    /// The answer of a query.
    pub fn query(&self, promql: &str) -> Result<Reading, NoReading> {
        self.lock().queries.reading(promql, Instant::now(), self.stale_after)
    }

    /// Changes after each round of samples.
    pub fn rounds(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The state of every source.
    pub fn sources(&self) -> Vec<SourceStatus> {
        self.lock().rounds.sources(Instant::now())
    }

    /// How a series of a proxy finds its cluster: see [`Rounds::series`].
    pub fn series(&self) -> std::sync::Arc<HashMap<Box<str>, u32>> {
        self.lock().rounds.series()
    }

    /// Takes in what the proxies answered in one second.
    pub fn commit(&self, answers: Vec<ProxyAnswer>) {
        let mut state = self.lock();
        let now = Instant::now();
        state.rounds.commit(answers, now);
        let before = state.named.len();
        state.named.retain(|_, asked| now.duration_since(*asked) < FORGET_AFTER);
        if state.named.len() != before {
            state.keep();
        }
        drop(state);
        self.version.send_modify(|version| *version += 1);
    }

    /// Takes in what a Prometheus answered: the signals of every cluster with traffic. The others carry nothing.
    pub fn commit_values(&self, source: &str, values: Result<HashMap<String, [f64; 3]>, String>) {
        self.lock().rounds.commit_values(source, values, Instant::now());
        self.version.send_modify(|version| *version += 1);
    }

    /// Takes in the answer of a query.
    pub fn commit_query(&self, promql: &str, answer: Result<f64, String>) {
        self.lock().queries.commit(promql, answer, Instant::now());
        self.version.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves numbers that are whole: nothing here is changed in two steps that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self) {
        let named = self.named.keys().map(String::as_str);
        let planned = self.planned.iter().map(AsRef::as_ref);
        self.rounds.keep(planned.chain(named));
    }
}
