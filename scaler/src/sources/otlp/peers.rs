//! A sender's connection leads to one of Tidegate's pods; that one tells the others.
//!
//! They are found by a host name that has the addresses of all, as a headless Service has. A pod does not know which address is its
//! own until it finds its own mark in what comes to it.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient,
};
use prost::Message;
use tokio::{
    net::lookup_host,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tonic::{
    Request,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint},
};

use super::{FORWARDED_BY, SENDER};
use crate::signals::{Signals, lock};

/// How often the addresses are looked up.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// KiB of calls that wait for one peer, and how many. Cumulative points come again; so it is the newest that are dropped.
const WAITING_KIB: usize = 32 << 10;
const WAITING: usize = 1000;
/// A peer that is there answers within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// More pods than this are not Tidegate's.
const MAX_PEERS: usize = 32;

/// The other pods.
pub(super) struct Peers {
    host: String,
    /// Of this process
    mark: String,
    signals: Arc<Signals>,
    /// Where this process listens itself, once that is known
    own: Mutex<Option<SocketAddr>>,
    queues: Mutex<HashMap<SocketAddr, Queue>>,
}

/// What waits for one peer.
struct Queue {
    calls: mpsc::Sender<(Passed, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

type Passed = Arc<(IpAddr, ExportMetricsServiceRequest)>;

impl Peers {
    pub(super) fn new(host: String, signals: Arc<Signals>) -> Self {
        let mark = format!("{:032x}", rand_mark());
        Self { host, mark, signals, own: Mutex::default(), queues: Mutex::default() }
    }

    /// Whether a call with this mark, which came in at this address, is this pod's own. It needs to tell itself no more.
    pub(super) fn is_self(&self, mark: &str, at: Option<SocketAddr>) -> bool {
        let own = mark == self.mark;
        if let Some(at) = at.filter(|_| own) {
            *lock(&self.own) = Some(at);
            lock(&self.queues).remove(&at);
        }
        own
    }

    /// Tells all others, as soon as they can take it.
    pub(super) fn pass_on(&self, sender: IpAddr, request: ExportMetricsServiceRequest) {
        let kib = u32::try_from(request.encoded_len() / 1024 + 1).unwrap_or(u32::MAX);
        let passed = Arc::new((sender, request));
        for queue in lock(&self.queues).values() {
            let room = Arc::clone(&queue.room).try_acquire_many_owned(kib).ok();
            if room.and_then(|room| queue.calls.try_send((Arc::clone(&passed), room)).ok()).is_none() {
                self.signals.metrics().otlp_passed_on("dropped");
            }
        }
    }

    /// Finds the others until `shutdown` says so.
    pub(super) async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        let mut telling = JoinSet::new();
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Some(_) = telling.join_next() => continue,
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
            let found: HashSet<SocketAddr> = match timeout(LOOK_EVERY, lookup_host(&self.host)).await {
                Ok(Ok(found)) => found.take(MAX_PEERS).collect(),
                Ok(Err(error)) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(host = self.host, %error, "other pods of Tidegate cannot be found; those that are known stay");
                    }
                    continue;
                }
                Err(_) => continue,
            };
            failing = false;
            let own = *lock(&self.own);
            let mut queues = lock(&self.queues);
            queues.retain(|address, _| found.contains(address));
            for address in found.into_iter().filter(|address| Some(*address) != own) {
                if !queues.contains_key(&address)
                    && let Some(client) = client(address)
                {
                    let (calls, passed) = mpsc::channel(WAITING);
                    queues.insert(address, Queue { calls, room: Arc::new(Semaphore::new(WAITING_KIB)) });
                    telling.spawn(tell(client, passed, self.mark.clone(), Arc::clone(&self.signals)));
                }
            }
        }
    }
}

fn client(address: SocketAddr) -> Option<MetricsServiceClient<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
    let channel = endpoint.connect_timeout(ANSWER_WITHIN).timeout(ANSWER_WITHIN).connect_lazy();
    Some(MetricsServiceClient::new(channel).send_compressed(CompressionEncoding::Gzip))
}

async fn tell(
    mut client: MetricsServiceClient<Channel>,
    mut passed: mpsc::Receiver<(Passed, OwnedSemaphorePermit)>,
    mark: String,
    signals: Arc<Signals>,
) {
    while let Some((passed, _room)) = passed.recv().await {
        let (sender, request) = &*passed;
        let mut request = Request::new(request.clone());
        if let (Ok(mark), Ok(sender)) = (mark.parse(), sender.to_string().parse()) {
            request.metadata_mut().insert(FORWARDED_BY, mark);
            request.metadata_mut().insert(SENDER, sender);
            let result = if client.export(request).await.is_ok() { "ok" } else { "failed" };
            signals.metrics().otlp_passed_on(result);
        }
    }
}

/// Nobody else has it.
fn rand_mark() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    let half = || u128::from(RandomState::new().hash_one(std::process::id()));
    half() << 64 | half()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
    use prometheus_client::{encoding::text::encode, registry::Registry};
    use tokio::time::advance;

    use super::*;

    /// Nobody listens there.
    const ADDRESS: &str = "127.0.0.1:9";

    fn running() -> (Arc<Peers>, watch::Sender<bool>) {
        let peers = Arc::new(Peers::new(ADDRESS.to_owned(), Arc::new(Signals::new(Duration::from_secs(300)))));
        let (stop, stopped) = watch::channel(false);
        let run = Arc::clone(&peers);
        tokio::spawn(async move { run.run(stopped).await });
        (peers, stop)
    }

    async fn after(seconds: u64, peers: &Peers) -> usize {
        advance(Duration::from_secs(seconds)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        lock(&peers.queues).len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_finds_its_own_mark_tells_itself_no_more() {
        let (peers, _stop) = running();
        let at = ADDRESS.parse().ok();
        assert_eq!(after(6, &peers).await, 1);
        assert!(!peers.is_self("another's", at));
        assert_eq!(after(6, &peers).await, 1);
        assert!(peers.is_self(&peers.mark, at));
        assert_eq!(after(6, &peers).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_pod_that_does_not_answer_is_bounded_in_bytes_and_the_rest_is_counted() {
        let (peers, _stop) = running();
        assert_eq!(after(6, &peers).await, 1);
        let large = || {
            let metric = Metric { name: "x".repeat(10 << 20), ..Metric::default() };
            let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
            let resource = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
            ExportMetricsServiceRequest { resource_metrics: vec![resource] }
        };
        (0..5).for_each(|_| peers.pass_on([10, 0, 0, 1].into(), large()));
        let mut registry = Registry::default();
        peers.signals.register(&mut registry);
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        assert!(page.contains("otlp_passed_on_total{result=\"dropped\"} 2"), "{page}");
    }
}
