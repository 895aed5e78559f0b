//! The side that reports to the other pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    future::pending,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{HELD, Peers};
use crate::metrics::ActivatorMetrics;

/// Interval of reports while anything is in hand.
const INTERVAL: Duration = Duration::from_secs(1);
/// Least time between two reports: many workloads may wake in the same moment.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// Timeout of one report: the next one is complete, too.
const SPEAK_WITHIN: Duration = Duration::from_secs(1);

pub(super) type HttpClient = Client<HttpConnector, Full<Bytes>>;

pub(super) fn client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

impl Peers {
    /// Reports forever: at once when there is news, each second while there is anything, and one last time that there is nothing.
    pub(super) async fn speak(&self, mut peers: watch::Receiver<Arc<[SocketAddr]>>) {
        let (reports, mut news) = (watch::Sender::new(Bytes::new()), self.shared.accounts.own_news());
        let mut speakers = BTreeMap::new();
        let (mut sequence, mut is_expected) = (0, false);
        loop {
            self.follow(&mut peers, &mut speakers, &reports);
            let report = self.report(sequence + 1);
            let is_empty = report.held.is_empty() && report.refused.is_empty();
            if is_expected || !is_empty {
                is_expected = !is_empty;
                sequence += 1;
                // Numbers, names and lists can always be written.
                if let Ok(report) = serde_json::to_vec(&report) {
                    reports.send_replace(report.into());
                }
            }
            sleep(LEAST_INTERVAL).await;
            tokio::select! {
                changed = news.changed() => if changed.is_err() { pending::<()>().await },
                changed = peers.changed() => if changed.is_err() { pending::<()>().await },
                () = sleep(INTERVAL.saturating_sub(LEAST_INTERVAL)), if is_expected => {}
            }
        }
    }

    /// Starts a task for each new peer, and ends those of former ones. A slow peer delays no other.
    fn follow(
        &self,
        peers: &mut watch::Receiver<Arc<[SocketAddr]>>,
        speakers: &mut BTreeMap<SocketAddr, AbortOnDropHandle<()>>,
        reports: &watch::Sender<Bytes>,
    ) {
        let current: BTreeSet<SocketAddr> = peers.borrow_and_update().iter().copied().collect();
        speakers.retain(|peer, _| current.contains(peer));
        for peer in current {
            speakers.entry(peer).or_insert_with(|| {
                let (client, metrics) = (self.client.clone(), self.shared.metrics.clone());
                let speaking = speak_to(peer, reports.subscribe(), client, metrics);
                AbortOnDropHandle::new(tokio::spawn(speaking))
            });
        }
    }
}

/// Sends each report to one peer, or the latest if several have come meanwhile.
async fn speak_to(
    peer: SocketAddr,
    mut reports: watch::Receiver<Bytes>,
    client: HttpClient,
    metrics: ActivatorMetrics,
) {
    while reports.changed().await.is_ok() {
        let report = reports.borrow_and_update().clone();
        let result = match timeout(SPEAK_WITHIN, send(peer, HELD, report, &client)).await {
            Ok(Ok(())) => "ok",
            Ok(Err(error)) => {
                tracing::debug!(%peer, error, "a report to another pod failed");
                "failed"
            }
            Err(_) => "failed",
        };
        metrics.peer_report(result);
    }
}

/// Posts a message to one peer, and waits until it has taken it in.
pub(super) async fn send(
    peer: SocketAddr,
    path: &str,
    report: Bytes,
    client: &HttpClient,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let request = Request::post(format!("http://{peer}{path}")).header(CONTENT_TYPE, "application/json");
    let answer = client.request(request.body(Full::new(report))?).await?;
    if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string().into()) }
}
