//! The proxies themselves: `/stats/prometheus` of each, once a second.
//!
//! Making the answer takes Envoy's main thread about 60 ms for 1,000 clusters with traffic (measured with Envoy 1.40), so a proxy
//! with very many is scraped less often: never for more than a quarter of its time. Between answers its last contribution is
//! held.

mod exposition;
mod fields;
mod scrape;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tidegate_core::plan::{Plan, Proxy};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub(in crate::sources) use self::fields::Field;
pub use self::{
    exposition::{PageError, Parser},
    scrape::{Scrape, ScrapeError, Scraper},
};
use super::rounds::{ROUND, rounds};
use crate::store::SignalStore;

/// Timeout for connecting to a proxy.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// Timeout for an answer. A proxy with 50,000 clusters answers within this; no round waits for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Time after which a scrape is given up, waiting for its turn included.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// A proxy may be busy answering for one in this many parts of its time.
const BUSY: u32 = 4;
/// Most answers that are read at one time: each takes memory for the clusters that are kept.
const AT_ONCE: usize = 64;

/// Scrapes every proxy of the Plan, and these, until `stop` is cancelled.
pub async fn run(
    also: Vec<Proxy>,
    signals: Arc<SignalStore>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    stop: CancellationToken,
) {
    let mut fleet = Scraped::new(signals);
    let mut rounds = rounds(ROUND);
    loop {
        tokio::select! {
            _ = rounds.tick() => {
                fleet.close_round();
                let plan = plan.borrow().clone();
                if let Some(plan) = plan {
                    fleet.open_round(plan.proxies.iter().chain(&also).cloned().collect());
                }
            }
            Some(answer) = fleet.scrapes.join_next() => {
                // A panic in a task that reads one answer affects that proxy alone: it is scraped again.
                if let Ok(answer) = answer {
                    fleet.answered(answer);
                }
            }
            () = stop.cancelled() => return,
        }
    }
}

/// The proxies, and the scrapes that are under way.
struct Scraped {
    signals: Arc<SignalStore>,
    scraper: Scraper,
    room: Arc<Semaphore>,
    proxies: Vec<Proxy>,
    scrapes: JoinSet<Answer>,
    /// Proxies that are being scraped, and since when
    asking: HashMap<SocketAddr, Instant>,
    /// Proxies that are not scraped again before this time
    resting: HashMap<SocketAddr, Instant>,
    /// Proxies of this round that have not answered yet; `None` when the round is closed
    awaited: Option<HashSet<SocketAddr>>,
}

struct Answer {
    proxy: Proxy,
    asked: Instant,
    scrape: Result<Scrape, ScrapeError>,
}

impl Scraped {
    fn new(signals: Arc<SignalStore>) -> Self {
        Self {
            signals,
            scraper: Scraper::new(CONNECT_WITHIN, ANSWER_WITHIN),
            room: Arc::new(Semaphore::new(AT_ONCE)),
            proxies: Vec::new(),
            scrapes: JoinSet::new(),
            asking: HashMap::new(),
            resting: HashMap::new(),
            awaited: None,
        }
    }

    fn open_round(&mut self, mut proxies: Vec<Proxy>) {
        proxies.sort_unstable();
        proxies.dedup_by_key(|proxy| proxy.stats);
        self.proxies = proxies;
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        self.asking.retain(|_, since| now.duration_since(*since) < GIVE_UP_AFTER);
        let series = self.signals.series();
        let mut awaited = HashSet::new();
        for proxy in &self.proxies {
            if self.resting.contains_key(&proxy.stats) || self.asking.contains_key(&proxy.stats) {
                continue;
            }
            self.asking.insert(proxy.stats, now);
            awaited.insert(proxy.stats);
            let (proxy, series) = (proxy.clone(), Arc::clone(&series));
            let (scraper, room) = (self.scraper.clone(), Arc::clone(&self.room));
            self.scrapes.spawn(async move {
                // The semaphore is never closed.
                let _room = room.acquire_owned().await;
                let asked = Instant::now();
                let scrape = scraper.scrape(&proxy, &series).await;
                Answer { proxy, asked, scrape }
            });
        }
        self.awaited = Some(awaited);
        self.close_when_all_answered();
    }

    fn answered(&mut self, answer: Answer) {
        let Answer { proxy, asked, scrape } = answer;
        let took = asked.elapsed();
        self.asking.remove(&proxy.stats);
        // A proxy that fails is scraped again soon, but not all the time.
        let rest = took * if scrape.is_ok() { BUSY } else { 2 };
        if rest > ROUND {
            // A round may begin a little early or late.
            self.resting.insert(proxy.stats, asked + rest - ROUND / 10);
        }
        if !self.proxies.iter().any(|there| (there.stats, &there.name) == (proxy.stats, &proxy.name)) {
            // The proxy is gone by now.
            return;
        }
        let metrics = self.signals.metrics();
        match scrape {
            Ok(Scrape { sample, at, bytes }) => {
                metrics.scraped("ok", bytes, took);
                self.signals.sampled(&proxy, at, Ok(sample));
            }
            Err(error) => {
                metrics.scraped(error.class(), 0, took);
                self.signals.sampled(&proxy, Instant::now(), Err(error.to_string()));
            }
        }
        if let Some(awaited) = &mut self.awaited {
            awaited.remove(&proxy.stats);
        }
        self.close_when_all_answered();
    }

    fn close_when_all_answered(&mut self) {
        if self.awaited.as_ref().is_some_and(HashSet::is_empty) {
            self.close_round();
        }
    }

    /// Closes the round. For proxies that have not answered by the end of the second, their last contribution is held.
    fn close_round(&mut self) {
        if self.awaited.take().is_some() {
            self.signals.commit(&self.proxies);
        }
    }
}
