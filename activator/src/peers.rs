//! The other pods of Tidegate: each reports what it holds to all others, so that all of them give KEDA the same answers.
//!
//! A report is complete and replaces the one before. It is sent at once when a workload goes from nothing in hand to something, and
//! each second while anything is in hand, or was refused lately. One that is not renewed in time is void, so that a pod that dies leaves
//! nothing behind. What the leader keeps of bursts has messages of its own, which it waits for (`peaks`).

mod heard;
mod listener;
mod peaks;
mod speaker;

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};
use tidegate_core::{held::Held, refused::Refused, workload::WorkloadId};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

pub use self::peaks::HeardPeaks;
use self::{heard::HeardReports, speaker::HttpClient};
use crate::shared::Shared;

/// The paths at which reports and peaks are posted.
const HELD: &str = "/held";
const PEAKS: &str = "/peaks";
/// Most workloads of which a report has refusals: their texts must not make it too large for what is held.
const MOST_REFUSED: usize = 1_000;

/// An error that keeps the exchange with other pods from running.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The address is taken, or not one of this machine
    #[error("cannot listen on {address} for the other pods of Tidegate: {source}")]
    Bind {
        /// The address
        address: SocketAddr,
        /// The cause
        source: io::Error,
    },
}

/// What a pod holds, as it reports it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Report {
    /// A number that the pod chose when it started: its address may have been another pod's before
    from: u64,
    /// Grows with each report of the pod. One that was overtaken by a later one is ignored.
    sequence: u64,
    /// All workloads of which it holds anything
    held: Vec<(WorkloadId, Held)>,
    /// All workloads of which it refused something lately; older versions report none
    #[serde(default)]
    refused: Vec<(WorkloadId, Refused)>,
}

/// The exchange with the other pods.
#[derive(Debug)]
pub(crate) struct Peers {
    shared: Arc<Shared>,
    /// The number of this pod in its reports
    id: u64,
    heard: HeardReports,
    client: HttpClient,
    /// The addresses of the others, once the exchange runs
    others: OnceLock<watch::Receiver<Arc<[SocketAddr]>>>,
}

impl Peers {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        let (id, heard) = (RandomState::new().hash_one(()), HeardReports::default());
        Arc::new(Self { shared, id, heard, client: speaker::client(), others: OnceLock::new() })
    }

    /// What the other pods hold of a workload.
    pub(crate) fn held(&self, workload: &WorkloadId) -> Held {
        self.heard.held(workload)
    }

    /// What the other pods refused lately.
    pub(crate) fn refused(&self) -> Vec<(WorkloadId, Refused)> {
        self.heard.refused()
    }

    /// Listens to the others and reports to them until `stop` is cancelled.
    pub(crate) async fn run(
        self: &Arc<Self>,
        address: SocketAddr,
        peers: watch::Receiver<Arc<[SocketAddr]>>,
        heard_peaks: HeardPeaks,
        stop: CancellationToken,
    ) -> Result<(), PeerError> {
        let listener = TcpListener::bind(address).await.map_err(|source| PeerError::Bind { address, source })?;
        let _ = self.others.set(peers.clone());
        tokio::select! {
            () = self.listen(listener, peers.clone(), heard_peaks) => {}
            () = self.speak(peers) => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }

    /// Takes in a report. Whether it was accepted.
    fn hear(&self, report: Report) -> bool {
        let heard = self.heard.take(report);
        if heard == Some(true) {
            self.shared.news.send_modify(|news| *news += 1);
        }
        self.shared.metrics.peer_report(if heard.is_some() { "received" } else { "refused" });
        heard.is_some()
    }

    /// The report of what there is now.
    fn report(&self, sequence: u64) -> Report {
        let accounts = &self.shared.accounts;
        let refused = accounts.refused().into_iter().take(MOST_REFUSED);
        let (held, refused) = (accounts.all().into_iter().collect(), refused.collect());
        Report { from: self.id, sequence, held, refused }
    }
}
