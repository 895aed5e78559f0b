//! Model servers themselves: the metrics of the pods of each workload that serves a model, once a second.

mod metric_names;
mod pods;

use std::sync::Arc;

use futures::{StreamExt, stream};
use tidegate_core::plan::Plan;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::pods::{Pod, Pods};
use super::{
    http_pages::{Pages, url},
    rounds::{ROUND, rounds},
};
use crate::store::SignalStore;

/// Most pods that are scraped at one time. vLLM takes about 10 ms for a page.
const AT_ONCE: usize = 64;

/// Scrapes the pods of the Plan until `stop` is cancelled.
pub(super) async fn run(signals: Arc<SignalStore>, plan: watch::Receiver<Option<Arc<Plan>>>, stop: CancellationToken) {
    let pages = Pages::new();
    let mut asked = Pods::default();
    let mut rounds = rounds(ROUND);
    let asking = async {
        loop {
            rounds.tick().await;
            let Some(plan) = plan.borrow().clone() else { continue };
            asked.plan(&plan);
            ask(&pages, &mut asked, &signals).await;
            signals.commit_servers(&asked.pods().map(|pod| pod.address).collect());
        }
    };
    stop.run_until_cancelled(asking).await;
}

/// Scrapes all of them, and processes each answer as it comes.
async fn ask(pages: &Pages, asked: &mut Pods, signals: &SignalStore) {
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
