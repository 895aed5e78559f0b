//! What all doors of an activator share.

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{account::Accounts, door::HoldLimits, metrics::ActivatorMetrics};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: HoldLimits,
    pub(crate) accounts: Accounts,
    pub(crate) metrics: ActivatorMetrics,
    /// Grows whenever a workload goes from nothing in hand to something, here or in another pod
    pub(crate) news: watch::Sender<u64>,
    /// Tracks what is in hand, probes included, so that stopping can wait for it
    pub(crate) in_hand: TaskTracker,
    /// The tasks of connections
    pub(crate) tasks: TaskTracker,
    /// The stages of stopping
    pub(crate) stages: Stages,
}

/// The stages of stopping, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stages {
    /// Clients are asked to make their next request elsewhere
    pub(crate) draining: CancellationToken,
    /// Those that still wait for a pod are refused
    pub(crate) refusing: CancellationToken,
    /// Connections end as soon as they are idle
    pub(crate) ending: CancellationToken,
}

impl Shared {
    pub(crate) fn new(limits: HoldLimits) -> Self {
        let (metrics, news) = (ActivatorMetrics::default(), watch::Sender::new(0));
        Self {
            limits,
            accounts: Accounts::new(limits, metrics.clone(), news.clone()),
            metrics,
            news,
            in_hand: TaskTracker::new(),
            tasks: TaskTracker::new(),
            stages: Stages::default(),
        }
    }
}
