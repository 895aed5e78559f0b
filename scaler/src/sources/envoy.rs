//! The proxies themselves: `/stats/prometheus` of each, once a second.
//!
//! Making the answer takes Envoy's main thread about 60 ms for 1,000 clusters with traffic (measured with Envoy 1.40), so a
//! proxy with very many is asked less often: never for more than a quarter of its time. What it contributes meanwhile is
//! what it did at its last answer.

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
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

pub(in crate::sources) use self::fields::Field;
pub use self::{
    exposition::{PageError, Parser},
    scrape::{Scrape, ScrapeError, Scraper},
};
use crate::store::SignalStore;

/// The time between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// A proxy that is there accepts within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// A proxy with 50,000 clusters answers within this; nobody waits for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Whoever has not answered by then, waiting for its turn included, never will.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// The part of its time that a proxy may be busy answering.
const BUSY: u32 = 4;
/// Answers that are read at one time: each takes memory for the clusters that are kept.
const AT_ONCE: usize = 64;

/// Measures on every proxy of the Plan, and on these, until `shutdown` says so.
pub async fn run(
    also: Vec<Proxy>,
    signals: Arc<SignalStore>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    stop: CancellationToken,
) {
    let mut fleet = Scraped::new(signals);
    let mut ticks = interval(ROUND);
    // After a pause of the process one round is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                fleet.close_round();
                let plan = plan.borrow().clone();
                if let Some(plan) = plan {
                    fleet.open_round(plan.proxies.iter().chain(&also).cloned().collect());
                }
            }
            Some(answer) = fleet.scrapes.join_next() => {
                // A panic in a task that reads one answer is that proxy's failure at most: it is asked again.
                if let Ok(answer) = answer {
                    fleet.answered(answer);
                }
            }
            () = stop.cancelled() => return,
        }
    }
}

/// The proxies, and who is being asked.
struct Scraped {
    signals: Arc<SignalStore>,
    scraper: Scraper,
    room: Arc<Semaphore>,
    proxies: Vec<Proxy>,
    scrapes: JoinSet<Answer>,
    /// Those that are being asked, and since when
    asking: HashMap<SocketAddr, Instant>,
    /// Those that are not asked again before
    resting: HashMap<SocketAddr, Instant>,
    /// Those of this round that have not answered yet; `None` when the round is closed
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
        // One that fails is asked again soon, but not all the time.
        let rest = took * if scrape.is_ok() { BUSY } else { 2 };
        if rest > ROUND {
            // A round may begin a little early or late.
            self.resting.insert(proxy.stats, asked + rest - ROUND / 10);
        }
        if !self.proxies.iter().any(|there| (there.stats, &there.name) == (proxy.stats, &proxy.name)) {
            // It is gone since.
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

    /// Those that have not answered by the end of the second contribute what they last did.
    fn close_round(&mut self) {
        if self.awaited.take().is_some() {
            self.signals.commit(&self.proxies);
        }
    }
}
