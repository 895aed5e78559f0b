//! One GET to one proxy, within a deadline and a size.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tidegate_core::plan::Proxy;
use tokio::time::timeout;

use super::exposition::Parser;
use crate::signals::Sample;

/// The series that are read; Envoy matches the pattern against `cluster.NAME.upstream_rq_total` and the like.
const PATH: &str = "/stats/prometheus?usedonly&filter=\
    %5Ecluster%5C..%2A%5C.upstream_(rq_(total%7Cretry%7Cactive%7Cpending_(active%7Coverflow%7Cfailure_eject))%7Ccx_active)$";
/// 100,000 clusters fit; more than that is no answer of an Envoy.
const MAX_BODY: usize = 64 << 20;

/// Why a proxy gave no sample.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScrapeError {
    #[error("no answer from {0} within {1:?}")]
    Timeout(Uri, Duration),
    #[error("{0}: {1}")]
    Connect(Uri, hyper_util::client::legacy::Error),
    #[error("{0} answered {1}, wants 200")]
    Status(Uri, StatusCode),
    #[error("{0} broke off: {1}")]
    Body(Uri, hyper::Error),
    #[error("{0} answered more than {MAX_BODY} bytes")]
    TooLarge(Uri),
    #[error("{0} answered something else than Prometheus metrics")]
    NotMetrics(Uri),
    #[error("{0} is no URI")]
    Uri(#[from] http::Error),
}

/// Keeps connections to the proxies open.
pub(super) struct Scraper(Client<HttpConnector, Empty<Bytes>>);

impl Scraper {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(10))
            .pool_max_idle_per_host(1)
            .build(connector);
        Self(client)
    }

    pub(super) async fn scrape(
        &self,
        proxy: &Proxy,
        series: &HashMap<Box<str>, u32>,
        within: Duration,
    ) -> Result<Sample, ScrapeError> {
        let uri = Uri::builder().scheme("http").authority(proxy.stats.to_string()).path_and_query(PATH).build()?;
        let short =
            Uri::builder().scheme("http").authority(proxy.stats.to_string()).path_and_query("/stats/prometheus");
        let short = short.build()?;
        timeout(within, self.read(uri, &short, series))
            .await
            .map_err(|_| ScrapeError::Timeout(short.clone(), within))?
    }

    async fn read(&self, uri: Uri, name: &Uri, series: &HashMap<Box<str>, u32>) -> Result<Sample, ScrapeError> {
        let request = Request::get(uri).body(Empty::new())?;
        let answer = self.0.request(request).await.map_err(|error| ScrapeError::Connect(name.clone(), error))?;
        if answer.status() != StatusCode::OK {
            return Err(ScrapeError::Status(name.clone(), answer.status()));
        }
        let mut body = answer.into_body();
        let mut parser = Parser::new(series);
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ScrapeError::Body(name.clone(), error))?;
            let Some(data) = frame.data_ref() else { continue };
            size += data.len();
            if size > MAX_BODY {
                return Err(ScrapeError::TooLarge(name.clone()));
            }
            parser.feed(data);
        }
        parser.finish().ok_or_else(|| ScrapeError::NotMetrics(name.clone()))
    }
}
