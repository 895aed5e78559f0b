//! The demand of bursts: the leader reports it to the other pods before it adds replicas, and waits until they know it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use tidegate_core::demand::Peak;
use tokio::{task::JoinSet, time::timeout};

use super::{PEAKS, Peers, speaker::send};

/// Timeout of a report. A pod that does not answer in time delays the replicas by no more than this.
const REPORT_WITHIN: Duration = Duration::from_millis(300);

/// A function that takes in the peaks that another pod reports.
pub type HeardPeaks = Arc<dyn Fn(Vec<Peak>) + Send + Sync>;

impl Peers {
    /// Reports peaks to all other pods, at the same time.
    pub(crate) async fn report_peaks(&self, peaks: &[Peak]) {
        let others = self.others.get().map(|others| Arc::clone(&others.borrow())).unwrap_or_default();
        // Numbers and names can always be written.
        let Ok(body) = serde_json::to_vec(peaks) else { return };
        let body = Bytes::from(body);
        let reports: JoinSet<_> = others.iter().map(|peer| self.report_to(*peer, body.clone())).collect();
        reports.join_all().await;
    }

    fn report_to(&self, peer: SocketAddr, body: Bytes) -> impl Future<Output = ()> + Send + use<> {
        let (client, metrics) = (self.client.clone(), self.shared.metrics.clone());
        async move {
            let result = timeout(REPORT_WITHIN, send(peer, PEAKS, body, &client)).await;
            if !matches!(result, Ok(Ok(()))) {
                tracing::debug!(%peer, ?result, "cannot report bursts to another pod");
                metrics.peer_report("failed");
            }
        }
    }
}
