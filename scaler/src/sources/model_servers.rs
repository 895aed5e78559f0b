//! Model servers themselves: the metrics of the pods of each workload that serves a model, once a second.

mod names;

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use tidegate_core::plan::Plan;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use self::names::counters;
use super::pages::Pages;
use crate::signals::Signals;

/// The time between two rounds. A page of vLLM takes it about 10 ms.
const ROUND: Duration = Duration::from_secs(1);
/// Pods that are asked at one time.
const AT_ONCE: usize = 64;

/// Asks the pods of the Plan until `shutdown` says so.
pub(super) async fn run(
    signals: Arc<Signals>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let pages = Pages::new();
    let mut ticks = interval(ROUND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut round = async || {
        ticks.tick().await;
        let servers = plan.borrow().as_deref().map(servers).unwrap_or_default();
        if servers.is_empty() {
            return;
        }
        let asking = stream::iter(servers.clone())
            .map(|(address, path)| ask(&pages, address, path, &signals))
            .buffer_unordered(AT_ONCE);
        asking.collect::<()>().await;
        signals.commit_servers(&servers.into_keys().collect::<HashSet<_>>());
    };
    tokio::select! {
        () = async { loop { round().await } } => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

async fn ask(pages: &Pages, address: SocketAddr, path: Arc<str>, signals: &Signals) {
    let sample = pages.get(address, &path).await.and_then(|page| counters(&page));
    signals.server_sampled(address, sample);
}

/// Pods that start do not answer yet, and that is no failure of theirs.
fn servers(plan: &Plan) -> BTreeMap<SocketAddr, Arc<str>> {
    let pods = plan.workloads.values().flat_map(|workload| &workload.pods).filter(|pod| pod.ready);
    pods.filter_map(|pod| Some((pod.metrics?, Arc::clone(&pod.path)))).collect()
}
