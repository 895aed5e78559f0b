//! A Prometheus that already scrapes the proxies: one query for all clusters, and users' own queries.

mod client;
mod clusters;
mod number;
mod tokens;

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use tidegate_core::plan::Plan;
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

pub use self::client::{Prometheus, PrometheusError};
use crate::signals::Signals;

/// A Prometheus, and how to ask it.
#[derive(Debug, Clone)]
pub struct PrometheusSettings {
    /// Such as `http://prometheus.monitoring:9090`. Its query parameters go with every query: `…:9090/?dedup=true`
    pub url: String,
    /// How the client says who it is
    pub credentials: Credentials,
    /// The CA (PEM) of the server's certificate, instead of the system's
    pub ca_file: Option<PathBuf>,
    /// A client certificate and its key (PEM)
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// Of every query: names and values
    pub headers: Vec<(String, String)>,
    /// How long one query may take
    pub timeout: Duration,
    /// Time between two queries
    pub interval: Duration,
}

/// How the client says who it is. Files are read again for every query, so that they may be replaced.
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

/// Queries that are asked at one time: a Prometheus in trouble is not made worse.
const AT_ONCE: usize = 4;

/// What is asked for besides users' queries.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The clusters that are kept
    pub clusters: bool,
    /// The tokens of models
    pub tokens: bool,
}

/// Asks until `shutdown` says so. Each kind of question has a loop of its own: users' queries, however slow, never
/// delay the query for clusters.
pub async fn run(
    prometheus: Prometheus,
    asked: Asked,
    signals: Arc<Signals>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let clusters = async {
        let mut ticks = ticks(&prometheus);
        loop {
            ticks.tick().await;
            let plan = plan.borrow().clone();
            if let Some(plan) = plan.filter(|_| asked.clusters) {
                ask_for_clusters(&prometheus, &signals, &plan).await;
            }
        }
    };
    let tokens = async {
        let mut ticks = ticks(&prometheus);
        loop {
            ticks.tick().await;
            if asked.tokens {
                ask_for_tokens(&prometheus, &signals).await;
            }
        }
    };
    let numbers = async {
        let mut ticks = ticks(&prometheus);
        loop {
            ticks.tick().await;
            let asking = stream::iter(signals.wanted_queries())
                .map(|query| ask_for_number(&prometheus, &signals, query))
                .buffer_unordered(AT_ONCE);
            asking.collect::<()>().await;
        }
    };
    tokio::select! {
        _ = async { tokio::join!(clusters, tokens, numbers) } => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

/// The beginnings of rounds. Those that a slow round has missed are left out.
fn ticks(prometheus: &Prometheus) -> Interval {
    let mut ticks = interval(prometheus.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

async fn ask_for_clusters(prometheus: &Prometheus, signals: &Signals, plan: &Plan) {
    let series = signals.series();
    if series.is_empty() {
        return;
    }
    let asked = Instant::now();
    let answer = prometheus.ask(&clusters::query(&series, &plan.proxies)).await;
    let values = answer.and_then(|answer| clusters::values(answer.data(), &plan.proxies));
    signals.metrics().asked("clusters", result(&values), asked.elapsed());
    signals.commit_clusters(prometheus.name(), values);
}

async fn ask_for_tokens(prometheus: &Prometheus, signals: &Signals) {
    let asked = Instant::now();
    let answer = prometheus.ask(tokens::QUERY).await;
    let rates = answer.and_then(|answer| tokens::rates(answer.data()));
    signals.metrics().asked("tokens", result(&rates), asked.elapsed());
    signals.commit_token_rates(prometheus.name(), rates, prometheus.interval());
}

async fn ask_for_number(prometheus: &Prometheus, signals: &Signals, query: String) {
    let asked = Instant::now();
    let answer = prometheus.ask(&query).await;
    // The server's health is one thing, what the query gives another.
    signals.source_status(prometheus.name(), answer.as_ref().err().cloned());
    let number = answer.and_then(|answer| number::one(answer.data()));
    signals.metrics().asked("trigger", result(&number), asked.elapsed());
    signals.commit_query(&query, number);
}

fn result<T>(answer: &Result<T, String>) -> &'static str {
    if answer.is_ok() { "ok" } else { "error" }
}
