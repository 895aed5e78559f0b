//! One GET to one proxy, within a deadline and a size.

use std::time::Duration;

use bytes::Bytes;
use http::{
    Request, StatusCode, Uri,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tidegate_core::plan::Proxy;
use tokio::time::{Instant, timeout};

use super::exposition::{PageError, Parser};
use crate::store::{Sample, Series};

/// The path of a proxy's statistics, on the listener that Envoy Gateway makes for them: the only path that is there.
const PATH: &str = "/stats/prometheus";
/// Only stats that were used, and of these the eleven that are read. Envoy looks for the pattern in names such as
/// `cluster.httproute/default/task-route/rule/0.upstream_rq_total`. `membership_total` is a used stat in each cluster that has
/// endpoints: it distinguishes a cluster that is idle from one that is not there.
const QUERY: &str = "usedonly&filter=%5Ecluster%5C..%2A%5C.\
    (membership_total%7Cratelimit%5C.over_limit%7Cupstream_\
    (rq_(total%7Cretry%7Cactive(_overflow)%3F%7Cpending_(active%7Coverflow%7Cfailure_eject))%7Ccx_(active%7Cnone_healthy)))$";
/// The same, and the traffic of the listeners: `http.http-10080.downstream_rq_total`,
/// `listener.0.0.0.0_10080.downstream_cx_active`. The administration interface's counts the scrape itself, so it is shown
/// wherever listeners are.
const QUERY_WITH_LISTENERS: &str = "usedonly&filter=%5E(cluster%5C..%2A%5C.\
    (membership_total%7Cratelimit%5C.over_limit%7Cupstream_\
    (rq_(total%7Cretry%7Cactive(_overflow)%3F%7Cpending_(active%7Coverflow%7Cfailure_eject))%7Ccx_(active%7Cnone_healthy)))\
    %7Chttp%5C.(admin%7Chttps%3F-.%2A)%5C.downstream_rq_(total%7Cactive)%7Clistener%5C..%2A%5C.downstream_cx_active)$";
/// An answer that comes within this is dated to its arrival.
const PROMPT: Duration = Duration::from_millis(250);
/// Largest answer in bytes: 100,000 clusters fit, and a larger one is not an Envoy's.
const MAX_BODY: usize = 64 << 20;

/// Why a proxy gave no sample.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The deadline has passed
    #[error("no answer from http://{0} within {within:?}", within = .1)]
    Timeout(Endpoint, Duration),
    /// No connection
    #[error(
        "cannot connect to http://{0}: {1}; a NetworkPolicy must let Tidegate in, and the EnvoyProxy must not disable Prometheus metrics"
    )]
    Connect(Endpoint, String),
    /// No answer
    #[error("http://{0}: {1}")]
    Request(Endpoint, String),
    /// A status other than 200
    #[error("http://{0} answered {1}, wants 200")]
    Status(Endpoint, StatusCode),
    /// The answer ended too early
    #[error("http://{0} broke off: {1}")]
    Body(Endpoint, hyper::Error),
    /// The answer is longer than the limit
    #[error("http://{0} answered more than {limit} MiB", limit = .1 >> 20)]
    TooLarge(Endpoint, usize),
    /// Its last line has no end, and nothing else says where the answer ends
    #[error("http://{0} was cut off in the middle of a line")]
    CutOff(Endpoint),
    /// The answer is not an Envoy's
    #[error("http://{0} answered {1}")]
    Page(Endpoint, PageError),
}

impl ScrapeError {
    /// The class of the error, for metrics.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Timeout(..) => "timeout",
            Self::Connect(..) => "connect",
            Self::Request(..) => "request",
            Self::Status(..) => "status",
            Self::Body(..) => "broken_off",
            Self::TooLarge(..) => "too_large",
            Self::CutOff(..) => "cut_off",
            Self::Page(_, PageError::NotMetrics(_)) => "not_metrics",
            Self::Page(_, PageError::NoClusters) => "no_clusters",
            Self::Page(_, PageError::NoNumber(_)) => "no_number",
        }
    }
}

/// Address and path, for messages. The query is left out, because it does not help people.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint(std::net::SocketAddr);

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{PATH}", self.0)
    }
}

/// An answer, and when it was made.
#[derive(Debug)]
pub struct Scrape {
    /// Its content
    pub sample: Sample,
    /// When the proxy made it
    pub at: Instant,
    /// The size of the answer in bytes
    pub bytes: usize,
}

/// A client that keeps connections to the proxies open.
#[derive(Debug, Clone)]
pub struct Scraper {
    client: Client<HttpConnector, Empty<Bytes>>,
    within: Duration,
    max_body: usize,
}

impl Scraper {
    /// Creates a client with a deadline for connecting and one for the whole answer.
    pub fn new(connect_within: Duration, within: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_within));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(1)
            .build(connector);
        Self { client, within, max_body: MAX_BODY }
    }

    /// Scrapes these series from one proxy.
    pub async fn scrape(&self, proxy: &Proxy, series: &Series) -> Result<Scrape, ScrapeError> {
        let endpoint = Endpoint(proxy.stats);
        let fleet = proxy.fleet.as_deref().filter(|fleet| series.of_cluster(fleet).is_some());
        let answer = timeout(self.within, self.read(endpoint, series, fleet)).await;
        answer.map_err(|_| ScrapeError::Timeout(endpoint, self.within))?
    }

    async fn read(&self, endpoint: Endpoint, series: &Series, fleet: Option<&str>) -> Result<Scrape, ScrapeError> {
        let query = if fleet.is_some() { QUERY_WITH_LISTENERS } else { QUERY };
        let uri: Uri = format!("http://{}{PATH}?{query}", endpoint.0)
            .parse()
            .map_err(|error: http::uri::InvalidUri| ScrapeError::Request(endpoint, error.to_string()))?;
        let request =
            Request::get(uri).body(Empty::new()).map_err(|error| ScrapeError::Request(endpoint, error.to_string()))?;
        let asked = Instant::now();
        let answer = self.client.request(request).await.map_err(|error| {
            let wrong = if error.is_connect() { ScrapeError::Connect } else { ScrapeError::Request };
            wrong(endpoint, root_cause(&error))
        })?;
        let at = made_at(asked, Instant::now());
        if answer.status() != StatusCode::OK {
            return Err(ScrapeError::Status(endpoint, answer.status()));
        }
        let headers = answer.headers();
        let has_end = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        let mut body = answer.into_body();
        let mut parser = Parser::new(series).with_fleet(fleet);
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ScrapeError::Body(endpoint, error))?;
            let Some(data) = frame.data_ref() else { continue };
            bytes += data.len();
            if bytes > self.max_body {
                return Err(ScrapeError::TooLarge(endpoint, self.max_body));
            }
            parser.feed(data);
        }
        if !has_end && parser.is_mid_line() {
            return Err(ScrapeError::CutOff(endpoint));
        }
        let sample = parser.finish().map_err(|error| ScrapeError::Page(endpoint, error))?;
        Ok(Scrape { sample, at, bytes })
    }
}

/// The time when the proxy made its answer, which it does in one go before it sends the first byte. If that took long, it is
/// unknown whether the request or the answer was slow: the middle has the smallest possible error.
fn made_at(asked: Instant, answered: Instant) -> Instant {
    let took = answered.duration_since(asked);
    if took < PROMPT { answered } else { asked + took / 2 }
}

/// The innermost cause of an error: "client error (Connect)" alone does not help.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
