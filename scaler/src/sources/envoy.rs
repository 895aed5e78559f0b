//! The proxies themselves: `/stats/prometheus` of each, once a second.

mod exposition;
mod scrape;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use tidegate_core::plan::{Plan, Proxy};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

pub use self::exposition::Parser;
use self::scrape::Scraper;
use crate::signals::{ProxyAnswer, Signals};

/// The time between two rounds, and the most that a round takes.
const ROUND: Duration = Duration::from_secs(1);
/// Proxies that are asked at one time.
const AT_ONCE: usize = 128;

/// Measures on every proxy of the Plan, and on these, until `shutdown` says so.
pub async fn run(
    also: Vec<Proxy>,
    signals: Arc<Signals>,
    plan: watch::Receiver<Arc<Plan>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let scraper = Scraper::new();
    let mut ticks = interval(ROUND);
    // After a pause of the process one round is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        let mut proxies = plan.borrow().proxies.clone();
        proxies.extend(also.iter().cloned());
        proxies.sort_unstable();
        proxies.dedup_by_key(|proxy| proxy.stats);
        let series = signals.series();
        let answers = stream::iter(proxies)
            .map(|proxy| {
                let (scraper, series) = (&scraper, &series);
                async move {
                    let sample = scraper.scrape(&proxy, series, ROUND).await.map_err(|error| error.to_string());
                    if let Err(error) = &sample {
                        tracing::debug!(proxy = proxy.name, error, "no answer");
                    }
                    ProxyAnswer { proxy, at: Instant::now(), sample }
                }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        signals.commit(answers);
    }
}
