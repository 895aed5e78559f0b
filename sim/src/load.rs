//! An open-loop load generator: requests are sent at the times of the [`Profile`], whether or not earlier ones were answered.
//!
//! That is how users behave, and it reveals an overload: a closed loop would slow down with the server. Latency is measured
//! from the instant a request was *due*, so a generator that lags cannot hide it.

mod arrivals;
mod client;
mod connections;
mod latency;
mod profile;
mod stats;

use std::{net::SocketAddr, time::Duration};

use hyper::Uri;
use tokio::{sync::watch, task::JoinHandle};

use self::{
    client::{Clients, Protocol},
    stats::Stats,
};
pub use self::{
    latency::Latencies,
    profile::Profile,
    stats::{Counts, SentRate, Snapshot},
};

/// The kind of load to send. It goes only to the addresses given to [`Load`], regardless of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Requests(Protocol, Uri),
    Connections,
}

/// A host and a path that do not form a URI.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{host}\" and \"{path}\": got {source}, wants a host such as \"tasks.example.com\" and a path such as \"/tasks\""
)]
pub struct TrafficError {
    host: String,
    path: String,
    source: hyper::http::Error,
}

impl Traffic {
    /// `GET path` over HTTP/1.1, with this `Host` header.
    pub fn http(host: &str, path: &str) -> Result<Self, TrafficError> {
        Ok(Self(Kind::Requests(Protocol::Http1, uri(host, path)?)))
    }

    /// A unary gRPC call with an empty message over h2c: to this `:authority`, and a method such as `/tasks.v1.Tasks/List`.
    pub fn grpc(host: &str, method: &str) -> Result<Self, TrafficError> {
        Ok(Self(Kind::Requests(Protocol::Grpc, uri(host, method)?)))
    }

    /// TCP connections that send one byte, expect it back, and then stay open. The profile gives the number of open
    /// connections rather than a rate.
    pub const fn tcp() -> Self {
        Self(Kind::Connections)
    }
}

fn uri(host: &str, path: &str) -> Result<Uri, TrafficError> {
    let built = Uri::builder().scheme("http").authority(host).path_and_query(path).build();
    built.map_err(|source| TrafficError { host: host.to_owned(), path: path.to_owned(), source })
}

/// One load: its traffic, its profile over time, and its limits.
#[derive(Debug, Clone)]
pub struct LoadSpec {
    /// The requests or connections
    pub traffic: Traffic,
    /// Requests per second (or open connections) over time
    pub profile: Profile,
    /// Its limits
    pub limits: LoadLimits,
}

/// The limits of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadLimits {
    /// Most requests in flight (or open connections); a request that is due beyond that is counted as skipped
    pub max_in_flight: usize,
    /// How long a request (or opening a connection) may take before it counts as an error
    pub timeout: Duration,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self { max_in_flight: 2000, timeout: Duration::from_secs(10) }
    }
}

impl LoadSpec {
    /// A load within the default [`LoadLimits`]: 2,000 in flight, 10 s for each.
    pub fn new(traffic: Traffic, profile: Profile) -> Self {
        Self { traffic, profile, limits: LoadLimits::default() }
    }
}

/// A load that runs until its profile ends, [`stop`](Self::stop) is called, or it is dropped.
///
/// ```
/// use std::time::Duration;
/// use tidegate_sim::load::{Load, LoadSpec, Profile, Traffic};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let profile = Profile::starting_at(50.0).hold(Duration::from_millis(100));
/// let traffic = Traffic::http("tasks.example.com", "/tasks").unwrap();
/// // Nobody listens there, so each of the 5 requests fails.
/// let load = Load::start(LoadSpec::new(traffic, profile), vec!["127.0.0.1:1".parse().unwrap()]);
/// assert_eq!(load.finished().await.counts.errors, 5);
/// # }
/// ```
#[derive(Debug)]
pub struct Load {
    stats: Stats,
    stop: watch::Sender<bool>,
    addresses: watch::Sender<Vec<SocketAddr>>,
    driver: JoinHandle<()>,
}

impl Load {
    /// Starts at once, on the current tokio runtime. Requests go to `addresses` in turn.
    pub fn start(spec: LoadSpec, addresses: Vec<SocketAddr>) -> Self {
        let stats = Stats::default();
        let (stop, stopped) = watch::channel(false);
        let addresses = watch::Sender::new(addresses);
        let LoadSpec { traffic: Traffic(kind), profile, limits } = spec;
        let driver = match kind {
            Kind::Requests(protocol, uri) => {
                let clients = Clients::new(protocol, uri, addresses.subscribe());
                tokio::spawn(arrivals::drive(profile, limits, clients, stats.clone(), stopped))
            }
            Kind::Connections => {
                tokio::spawn(connections::drive(profile, limits, addresses.subscribe(), stats.clone(), stopped))
            }
        };
        Self { stats, stop, addresses, driver }
    }

    /// Sends to these addresses from now on: proxies come and go. With none, every request is an error.
    pub fn send_to(&self, addresses: Vec<SocketAddr>) {
        self.addresses.send_replace(addresses);
    }

    /// The counts since the start.
    pub fn snapshot(&self) -> Snapshot {
        self.stats.snapshot()
    }

    /// Stops sending. Requests in flight still complete.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether the profile has ended and every request was answered.
    pub fn is_finished(&self) -> bool {
        self.driver.is_finished()
    }

    /// Waits until the last request was answered, and returns the counts.
    pub async fn finished(mut self) -> Snapshot {
        let _ = (&mut self.driver).await;
        self.stats.snapshot()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
