//! A Prometheus that already scrapes the proxies: one query for all clusters, and users' own queries.

mod client;

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use prometheus_http_query::response::{Data, PromqlResult};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

pub use self::client::{Prometheus, PrometheusError};
use crate::signals::Signals;

/// A Prometheus, and how to ask it.
#[derive(Debug, Clone)]
pub struct PrometheusSettings {
    /// Such as `http://prometheus.monitoring:9090`
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

/// All signals of all clusters in one answer, with the same meaning as the direct source: the sum over all proxies; rates
/// over 30 s, or over 6 s where those are at least twice as high. Prometheus needs a scrape interval of at most 3 s for
/// the short window, and of at most 15 s for the long one.
const CLUSTERS: &str = r#"
label_replace(
  sum by (envoy_cluster_name) (rate({__name__=~"envoy_cluster_upstream_rq_(total|pending_overflow|pending_failure_eject)"}[30s]))
  - (sum by (envoy_cluster_name) (rate(envoy_cluster_upstream_rq_retry[30s]))
     or 0 * sum by (envoy_cluster_name) (rate(envoy_cluster_upstream_rq_total[30s]))), "signal", "long", "", "")
or label_replace(
  sum by (envoy_cluster_name) (rate({__name__=~"envoy_cluster_upstream_rq_(total|pending_overflow|pending_failure_eject)"}[6s]))
  - (sum by (envoy_cluster_name) (rate(envoy_cluster_upstream_rq_retry[6s]))
     or 0 * sum by (envoy_cluster_name) (rate(envoy_cluster_upstream_rq_total[6s]))), "signal", "short", "", "")
or label_replace(
  sum by (envoy_cluster_name) ({__name__=~"envoy_cluster_upstream_rq_(active|pending_active)"}), "signal", "concurrency", "", "")
or label_replace(
  sum by (envoy_cluster_name) (envoy_cluster_upstream_cx_active), "signal", "connections", "", "")
"#;

/// Asks until `shutdown` says so.
pub async fn run(prometheus: Prometheus, clusters: bool, signals: Arc<Signals>, mut shutdown: watch::Receiver<bool>) {
    let mut ticks = interval(prometheus.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        if clusters {
            let answer = prometheus.ask(CLUSTERS).await.and_then(|answer| cluster_values(answer.data()));
            signals.commit_values(prometheus.url(), answer);
        }
        // One after another: a Prometheus in trouble is not made worse.
        for query in signals.wanted_queries() {
            let answer = prometheus.ask(&query).await.and_then(|answer| one_number(&answer));
            signals.commit_query(&query, answer);
        }
    }
}

fn cluster_values(data: &Data) -> Result<HashMap<String, [f64; 3]>, String> {
    let Data::Vector(rows) = data else {
        return Err("answered the query for clusters with something else than a vector".into());
    };
    // long, short, concurrency, connections
    let mut found: HashMap<&str, [f64; 4]> = HashMap::new();
    for row in rows {
        let label = |name: &str| row.metric().get(name).map(String::as_str);
        let (Some(cluster), Some(signal)) = (label("envoy_cluster_name"), label("signal")) else { continue };
        let Some(column) = ["long", "short", "concurrency", "connections"].iter().position(|name| *name == signal)
        else {
            continue;
        };
        found.entry(cluster).or_default()[column] = row.sample().value();
    }
    let values = |[long, short, concurrency, connections]: [f64; 4]| {
        [if short >= 2.0 * long { short } else { long }, concurrency, connections]
    };
    Ok(found.into_iter().map(|(cluster, found)| (cluster.to_owned(), values(found))).collect())
}

/// Whatever is not exactly one number is an error that says so: an empty answer is not a zero (kedacore/keda#3065).
fn one_number(answer: &PromqlResult) -> Result<f64, String> {
    let value = match answer.data() {
        Data::Scalar(sample) => sample.value(),
        Data::Vector(rows) => match rows.as_slice() {
            [row] => row.sample().value(),
            [] => return Err("the query found no series; one that may find none can end with \"or vector(0)\"".into()),
            rows => {
                let count = rows.len();
                return Err(format!("the query found {count} series, wants one: aggregate it, for example with sum()"));
            }
        },
        Data::Matrix(_) => {
            return Err("the query gives a range of values, wants one: use a function such as rate()".into());
        }
    };
    if value.is_finite() { Ok(value) } else { Err(format!("the query gives {value}, wants a finite number")) }
}
