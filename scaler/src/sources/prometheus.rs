//! A Prometheus that already scrapes the proxies: one query for all clusters, and users' own queries.

mod client;
mod clusters;
mod number;
mod tokens;

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tidegate_core::{measured::Measured, plan::Plan};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub use self::client::{Prometheus, PrometheusError};
use super::rounds::rounds;
use crate::store::SignalStore;

/// A Prometheus, and how to query it.
#[derive(Debug, Clone)]
pub struct PrometheusSettings {
    /// The base URL, such as `http://prometheus.monitoring:9090`. Its query parameters go with every query: `…:9090/?dedup=true`
    pub url: String,
    /// How the client authenticates
    pub credentials: Credentials,
    /// The CA (PEM) of the server's certificate, instead of the system's
    pub ca_file: Option<PathBuf>,
    /// A client certificate and its key (PEM)
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// Headers of every query: names and values
    pub headers: Vec<(String, String)>,
    /// How long one query may take
    pub timeout: Duration,
    /// Time between two queries
    pub interval: Duration,
}

/// How the client authenticates. Files are read again for every query, so that they may be replaced.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// Not at all
    #[default]
    None,
    /// `Authorization: Bearer`, with the token in this file
    BearerTokenFile(PathBuf),
    /// `Authorization: Basic`
    Basic {
        /// The user
        username: String,
        /// The file with the password
        password_file: PathBuf,
    },
}

/// Most users' queries at one time, one per namespace: this spares a Prometheus in trouble.
const AT_ONCE: usize = 4;

/// The queries that are made besides users' own.
#[derive(Debug, Clone, Copy)]
pub struct Questions {
    /// Whether to query the clusters that are kept
    pub clusters: bool,
    /// Whether to query the tokens of models
    pub tokens: bool,
}

/// Queries until `stop` is cancelled. Each kind of query has a loop of its own: users' queries, however slow, never delay the
/// query for clusters.
pub async fn run(
    prometheus: Prometheus,
    asked: Questions,
    signals: Arc<SignalStore>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    stop: CancellationToken,
) {
    let clusters = async {
        let mut rounds = rounds(prometheus.interval());
        loop {
            rounds.tick().await;
            let plan = plan.borrow().clone();
            if let Some(plan) = plan.filter(|_| asked.clusters) {
                ask_for_clusters(&prometheus, &signals, &plan).await;
            }
        }
    };
    let tokens = async {
        let mut rounds = rounds(prometheus.interval());
        loop {
            rounds.tick().await;
            if asked.tokens {
                ask_for_tokens(&prometheus, &signals).await;
            }
        }
    };
    let numbers = ask_for_numbers(&prometheus, &signals);
    tokio::select! {
        _ = async { tokio::join!(clusters, tokens, numbers) } => {}
        () = stop.cancelled() => {}
    }
}

async fn ask_for_clusters(prometheus: &Prometheus, signals: &SignalStore, plan: &Plan) {
    let series = signals.series();
    if series.is_empty() {
        return;
    }
    let asked = Instant::now();
    let answer = prometheus.ask(&clusters::query(&series, &plan.proxies)).await;
    let values = answer.and_then(|answer| clusters::values(&answer, &plan.proxies));
    signals.metrics().asked("clusters", result(values.is_ok()), asked.elapsed());
    signals.commit_clusters(prometheus.name(), values);
}

async fn ask_for_tokens(prometheus: &Prometheus, signals: &SignalStore) {
    let asked = Instant::now();
    let answer = prometheus.ask(tokens::QUERY).await;
    let rates = answer.map_or_else(Measured::Unknown, |answer| answer.measured(tokens::rates));
    signals.metrics().asked("tokens", result(is_known(&rates)), asked.elapsed());
    signals.commit_token_rates(prometheus.name(), rates, prometheus.interval());
}

/// Runs each namespace's queries one after another, and the namespaces concurrently. They take turns at the server, first come
/// first served; a namespace that is not done when a round begins skips that round.
async fn ask_for_numbers(prometheus: &Prometheus, signals: &SignalStore) {
    let (turns, mut rounds) = (Semaphore::new(AT_ONCE), rounds(prometheus.interval()));
    let (mut asking, mut busy) = (FuturesUnordered::new(), HashSet::new());
    loop {
        tokio::select! {
            Some(namespace) = asking.next() => {
                busy.remove(&namespace);
            }
            _ = rounds.tick() => {
                for (namespace, queries) in signals.wanted_queries() {
                    if busy.insert(namespace.clone()) {
                        asking.push(ask_for_namespace(prometheus, signals, &turns, namespace, queries));
                    }
                }
            }
        }
    }
}

async fn ask_for_namespace(
    prometheus: &Prometheus,
    signals: &SignalStore,
    turns: &Semaphore,
    namespace: String,
    queries: Vec<String>,
) -> String {
    for query in queries {
        let _turn = turns.acquire().await;
        ask_for_number(prometheus, signals, &namespace, &query).await;
    }
    namespace
}

/// A query that a healthy server answers at once.
const PLAIN: &str = "vector(1)";

async fn ask_for_number(prometheus: &Prometheus, signals: &SignalStore, namespace: &str, query: &str) {
    let asked = Instant::now();
    let answer = prometheus.ask(query).await;
    let took = asked.elapsed();
    // The server's health is separate from the query's result: a query that is slow or wrong says nothing about the server, which
    // is failing only if a plain query fails, too.
    let failing = match &answer {
        Ok(_) => None,
        Err(_) => prometheus.ask(PLAIN).await.err(),
    };
    signals.source_status(prometheus.name(), failing);
    let number = answer.map_or_else(Measured::Unknown, |answer| answer.measured(number::one));
    signals.metrics().asked("trigger", result(is_known(&number)), took);
    signals.commit_query(namespace, query, number);
}

fn result(is_known: bool) -> &'static str {
    if is_known { "ok" } else { "error" }
}

fn is_known<T>(answer: &Measured<T, String>) -> bool {
    !matches!(answer, Measured::Unknown(_))
}
