//! Model servers themselves: the metrics of the pods of each workload that serves a model, once a second.

mod asked;
mod names;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use tidegate_core::plan::Plan;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use self::asked::{Asked, Pod};
use super::pages::{Pages, url};
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
    let mut asked = Asked::default();
    let mut ticks = interval(ROUND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let asking = async {
        loop {
            ticks.tick().await;
            let Some(plan) = plan.borrow().clone() else { continue };
            asked.plan(&plan);
            ask(&pages, &mut asked, &signals).await;
            signals.commit_servers(&asked.pods().map(|pod| pod.address).collect());
        }
    };
    tokio::select! {
        () = asking => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

/// Asks all of them, and takes each answer in as it comes.
async fn ask(pages: &Pages, asked: &mut Asked, signals: &Signals) {
    let pods: Vec<_> = asked.pods().cloned().collect();
    let asking = stream::iter(pods).map(|pod| page(pages, pod));
    let mut answers = std::pin::pin!(asking.buffer_unordered(AT_ONCE));
    while let Some((pod, page)) = answers.next().await {
        let with_url = |error| format!("{}: {error}", url(pod.address, &pod.path));
        let sample = page.and_then(|page| asked.process(&pod).counters(&page).map_err(with_url));
        signals.server_sampled(pod.address, sample);
    }
}

async fn page(pages: &Pages, pod: Pod) -> (Pod, Result<String, String>) {
    let page = pages.get(pod.address, &pod.path).await;
    (pod, page)
}
