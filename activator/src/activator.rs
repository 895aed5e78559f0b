//! The activator as the rest of Tidegate sees it.

use std::{
    collections::BTreeMap,
    future::pending,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use prometheus_client::registry::Registry;
use tidegate_core::{demand::Peak, held::Held, refused::Refused, workload::WorkloadId};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    door::{Doors, HoldLimits},
    listeners::Listeners,
    peers::{HeardPeaks, PeerError, Peers},
    shared::Shared,
};

/// Time for what is in hand to be finished once the activator stops. Kubernetes gives a pod 30 s by default.
pub const DRAIN: Duration = Duration::from_secs(25);
/// Time for the last refusals to be written.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// Interval at which a port that could not be opened is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// Holds the traffic of workloads without a ready pod, and passes it on once they have one.
#[derive(Debug)]
pub struct Activator {
    shared: Arc<Shared>,
    listeners: Listeners,
    peers: Arc<Peers>,
}

impl Activator {
    /// An activator whose doors listen on `address`: `0.0.0.0`, `[::]`, or the address of its pod.
    pub fn new(address: IpAddr, limits: HoldLimits) -> Arc<Self> {
        let shared = Arc::new(Shared::new(limits));
        let listeners = Listeners::new(address, Arc::clone(&shared));
        Arc::new(Self { peers: Peers::new(Arc::clone(&shared)), listeners, shared })
    }

    /// Registers its metrics as `tidegate_activator_…`.
    pub fn register(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry);
    }

    /// The traffic of a workload that is in hand here and in the other pods of Tidegate.
    pub fn held(&self, workload: &WorkloadId) -> Held {
        self.shared.accounts.held(workload).plus(self.peers.held(workload))
    }

    /// The traffic that is in hand here, of all workloads that have any.
    pub fn own(&self) -> BTreeMap<WorkloadId, Held> {
        self.shared.accounts.all()
    }

    /// A number that grows whenever a workload goes from nothing in hand to something, here or in another pod of Tidegate.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.shared.news.subscribe()
    }

    /// The ports that it listens on.
    pub fn listening(&self) -> Vec<u16> {
        self.listeners.listening()
    }

    /// The ports that it cannot listen on, and why. They are tried again four times a second.
    pub fn failing(&self) -> Vec<(u16, String)> {
        self.listeners.failing()
    }

    /// What was refused of a workload lately, here and in the other pods of Tidegate.
    pub fn refused(&self, workload: &WorkloadId) -> Refused {
        self.all_refused().remove(workload).unwrap_or_default()
    }

    /// What was refused lately, here and in the other pods of Tidegate, of all workloads of which anything was.
    pub fn all_refused(&self) -> BTreeMap<WorkloadId, Refused> {
        let mut all = self.shared.accounts.refused();
        for (workload, refused) in self.peers.refused() {
            let own = all.remove(&workload).unwrap_or_default();
            all.insert(workload, own.plus(refused));
        }
        all
    }

    /// Serves the doors until `stop` is cancelled, and then until nothing is in hand, for [`DRAIN`] at most.
    ///
    /// Cancel `stop` once nothing sends new traffic to this pod, since with nothing in hand this returns at once. Meanwhile it still
    /// listens, follows `doors` and serves; clients are asked to make their next request elsewhere. After [`DRAIN`], whatever still
    /// waits for a pod is answered 503 with `Retry-After`, and what is being passed on is broken off.
    pub async fn run(self: Arc<Self>, mut doors: watch::Receiver<Arc<Doors>>, stop: CancellationToken) {
        let stages = &self.shared.stages;
        let drained = async {
            stop.cancelled().await;
            stages.draining.cancel();
            self.shared.in_hand.close();
            if timeout(DRAIN, self.shared.in_hand.wait()).await.is_err() {
                tracing::warn!("{} requests and connections are broken off after {DRAIN:?}", self.shared.in_hand.len());
            }
        };
        tokio::select! {
            () = drained => {}
            () = self.follow(&mut doors) => {}
        }
        stages.refusing.cancel();
        self.listeners.close();
        stages.ending.cancel();
        self.shared.tasks.close();
        let _ = timeout(LAST_ANSWERS, self.shared.tasks.wait()).await;
    }

    /// Applies the doors whenever they change, forever.
    async fn follow(&self, doors: &mut watch::Receiver<Arc<Doors>>) {
        loop {
            let current = Arc::clone(&doors.borrow_and_update());
            self.listeners.apply(&current);
            let is_failing = !self.listeners.failing().is_empty();
            tokio::select! {
                changed = doors.changed() => if changed.is_err() { pending::<()>().await },
                () = sleep(TRY_AGAIN), if is_failing => {}
            }
        }
    }

    /// Exchanges what is held with the other pods of Tidegate until `stop` is cancelled.
    ///
    /// `peers` are the addresses at which the others listen, without this one. Only they are listened to. `heard_peaks` gets what
    /// they [report of bursts](Self::report_peaks).
    pub async fn run_peers(
        self: Arc<Self>,
        listen: SocketAddr,
        peers: watch::Receiver<Arc<[SocketAddr]>>,
        heard_peaks: HeardPeaks,
        stop: CancellationToken,
    ) -> Result<(), PeerError> {
        self.peers.run(listen, peers, heard_peaks, stop).await
    }

    /// Reports the demand of bursts to the other pods. Ends when they know it, or have not answered for 300 ms.
    pub async fn report_peaks(&self, peaks: &[Peak]) {
        if !peaks.is_empty() {
            self.peers.report_peaks(peaks).await;
        }
    }
}
