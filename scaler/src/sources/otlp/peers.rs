//! Forwarding between Tidegate's pods: a sender's connection leads to one of them, which forwards its messages to the others.
//!
//! The pods are found by a host name that resolves to the addresses of all, like that of a headless Service. A pod does not know
//! which address is its own until it receives a call with its own mark.
//!
//! Only a pod of Tidegate may forward a message on behalf of its sender, so forwarded calls are accepted from these addresses
//! alone. A pod that has just started may call before the others know it: then they look the name up again at once, and it
//! retries.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient,
};
use parking_lot::Mutex;
use prost::Message;
use tokio::{
    net::lookup_host,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint},
};

use crate::store::SignalStore;

/// How often the addresses are looked up.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Shortest time between two lookups, when an address that is not among them claims to be a peer.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// Longest time that such a call waits for a lookup.
const LOOKED_WITHIN: Duration = Duration::from_secs(2);
/// How long addresses are trusted without an answer from DNS: after that, one may belong to somebody else.
const BELIEVED_FOR: Duration = Duration::from_secs(300);
/// Most KiB of calls that wait for one peer, and most calls. The newest are dropped, because cumulative points come again.
const WAITING_KIB: usize = 32 << 10;
const WAITING: usize = 1000;
/// Timeout for connecting to a peer, and for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Number of retries with a peer that does not know this pod yet, and the time before each.
const TOLD_AGAIN: u32 = 3;
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Most addresses that are used: Tidegate does not have more pods.
const MAX_PEERS: usize = 32;

/// Headers of a forwarded call: the mark of the forwarding pod, and the address of the sender.
pub(super) const FORWARDED_BY: &str = "tidegate-forwarded-by";
pub(super) const SENDER: &str = "tidegate-sender";

/// The kind of sender of a message that is forwarded to other pods; of several in one message, the greatest applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Passes {
    /// A sender whose address the Plan does not know
    Stranger,
    Known,
}

/// The other pods.
pub(super) struct Peers {
    host: String,
    /// Random mark of this process, by which it recognizes its own calls
    mark: String,
    signals: Arc<SignalStore>,
    /// The address of this process itself, once that is known
    own: Mutex<Option<SocketAddr>>,
    queues: Mutex<HashMap<SocketAddr, Queue>>,
    found: watch::Sender<Found>,
    /// Notified when an address that was not found claims to be a peer
    is_missed: Notify,
}

/// The addresses of all pods.
#[derive(Debug, Default)]
struct Found {
    addresses: HashSet<IpAddr>,
    at: Option<Instant>,
}

impl Found {
    fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) && self.at.is_some_and(|at| at.elapsed() < BELIEVED_FOR)
    }
}

/// The calls that wait for one peer.
struct Queue {
    calls: mpsc::Sender<(Passed, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

type Passed = Arc<(IpAddr, ExportMetricsServiceRequest)>;

impl Peers {
    pub(super) fn new(host: String, signals: Arc<SignalStore>) -> Self {
        let mark = format!("{:032x}", rand_mark());
        let (own, queues, is_missed) = (Mutex::default(), Mutex::default(), Notify::new());
        Self { host, mark, signals, own, queues, found: watch::Sender::default(), is_missed }
    }

    /// Whether a pod of Tidegate has this address.
    pub(super) async fn has(&self, address: IpAddr) -> bool {
        let mut found = self.found.subscribe();
        if found.borrow_and_update().has(address) {
            return true;
        }
        self.is_missed.notify_one();
        timeout(LOOKED_WITHIN, found.wait_for(|found| found.has(address))).await.is_ok_and(|found| found.is_ok())
    }

    /// Whether a call with this mark, which came in at this address, is this pod's own. If so, it stops forwarding to itself.
    pub(super) fn is_self(&self, mark: &str, at: Option<SocketAddr>) -> bool {
        let own = mark == self.mark;
        if let Some(at) = at.filter(|_| own) {
            *self.own.lock() = Some(at);
            self.queues.lock().remove(&at);
        }
        own
    }

    /// Queues a message for all other pods. Half of each queue is reserved for senders that the Plan knows.
    pub(super) fn pass_on(&self, sender: IpAddr, request: ExportMetricsServiceRequest, whose: Passes) {
        let kib = u32::try_from(request.encoded_len() / 1024 + 1).unwrap_or(u32::MAX);
        let passed = Arc::new((sender, request));
        let kept = if whose == Passes::Known { 0 } else { WAITING_KIB / 2 };
        for queue in self.queues.lock().values() {
            if queue.room.available_permits() < kept {
                self.signals.metrics().otlp_passed_on("dropped");
                continue;
            }
            let room = Arc::clone(&queue.room).try_acquire_many_owned(kib).ok();
            if room.and_then(|room| queue.calls.try_send((Arc::clone(&passed), room)).ok()).is_none() {
                self.signals.metrics().otlp_passed_on("dropped");
            }
        }
    }

    /// Looks up the other pods, and forwards to them, until `stop` is cancelled.
    pub(super) async fn run(&self, stop: CancellationToken) {
        let mut telling = JoinSet::new();
        let mut failing = false;
        let mut looked = Instant::now();
        let mut next = looked;
        loop {
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.is_missed.notified() => {
                    next = next.min(looked + LOOK_AT_MOST_EVERY);
                    continue;
                }
                Some(_) = telling.join_next() => continue,
                () = stop.cancelled() => return,
            }
            looked = Instant::now();
            next = looked + LOOK_EVERY;
            match timeout(LOOK_EVERY, lookup_host(&self.host)).await {
                Ok(Ok(found)) => {
                    failing = false;
                    self.find(&found.take(MAX_PEERS).collect(), &mut telling);
                }
                Ok(Err(error)) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(host = self.host, %error, "other pods of Tidegate cannot be found; the known ones are kept");
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// Updates the pods: these are all that there are now.
    fn find(&self, found: &HashSet<SocketAddr>, telling: &mut JoinSet<()>) {
        let addresses = found.iter().map(|address| address.ip().to_canonical()).collect();
        self.found.send_replace(Found { addresses, at: Some(Instant::now()) });
        let own = *self.own.lock();
        let mut queues = self.queues.lock();
        queues.retain(|address, _| found.contains(address));
        for address in found.iter().filter(|address| Some(**address) != own) {
            if !queues.contains_key(address)
                && let Some(client) = client(*address)
            {
                let (calls, passed) = mpsc::channel(WAITING);
                queues.insert(*address, Queue { calls, room: Arc::new(Semaphore::new(WAITING_KIB)) });
                telling.spawn(tell(client, passed, self.mark.clone(), Arc::clone(&self.signals)));
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
    signals: Arc<SignalStore>,
) {
    while let Some((passed, _room)) = passed.recv().await {
        let mut result = tell_one(&mut client, &passed, &mark).await;
        for _ in 0..TOLD_AGAIN {
            if result != Code::PermissionDenied {
                break;
            }
            sleep(TOLD_AGAIN_AFTER).await;
            result = tell_one(&mut client, &passed, &mark).await;
        }
        signals.metrics().otlp_passed_on(if result == Code::Ok { "ok" } else { "failed" });
    }
}

async fn tell_one(client: &mut MetricsServiceClient<Channel>, passed: &Passed, mark: &str) -> Code {
    let (sender, request) = &**passed;
    let mut request = Request::new(request.clone());
    let (Ok(mark), Ok(sender)) = (mark.parse(), sender.to_string().parse()) else { return Code::Internal };
    request.metadata_mut().insert(FORWARDED_BY, mark);
    request.metadata_mut().insert(SENDER, sender);
    client.export(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// A random number that no other process has.
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

    use tokio_util::sync::DropGuard;

    use super::*;

    /// An address on which nothing listens.
    const ADDRESS: &str = "127.0.0.1:9";

    fn running() -> (Arc<Peers>, DropGuard) {
        let peers = Arc::new(Peers::new(ADDRESS.to_owned(), Arc::new(SignalStore::new(Duration::from_secs(300)))));
        let stop = CancellationToken::new();
        let run = Arc::clone(&peers);
        let stopped = stop.clone();
        tokio::spawn(async move { run.run(stopped).await });
        (peers, stop.drop_guard())
    }

    async fn after(seconds: u64, peers: &Peers) -> usize {
        advance(Duration::from_secs(seconds)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        peers.queues.lock().len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_finds_its_own_mark_stops_passing_on_to_itself() {
        let (peers, _stop) = running();
        let at = ADDRESS.parse().ok();
        assert_eq!(after(6, &peers).await, 1);
        assert!(!peers.is_self("another's", at));
        assert_eq!(after(6, &peers).await, 1);
        assert!(peers.is_self(&peers.mark, at));
        assert_eq!(after(6, &peers).await, 0);
    }

    fn of_mib(size: usize) -> ExportMetricsServiceRequest {
        let metric = Metric { name: "x".repeat(size << 20), ..Metric::default() };
        let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
        let resource = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
        ExportMetricsServiceRequest { resource_metrics: vec![resource] }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_pod_that_does_not_answer_is_bounded_in_bytes_and_the_rest_is_counted() {
        let (peers, _stop) = running();
        assert_eq!(after(6, &peers).await, 1);
        (0..5).for_each(|_| peers.pass_on([10, 0, 0, 1].into(), of_mib(10), Passes::Known));
        let mut registry = Registry::default();
        peers.signals.register(&mut registry);
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        assert!(page.contains("otlp_passed_on_total{result=\"dropped\"} 2"), "{page}");
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_what_may_wait_is_kept_for_senders_that_are_known() {
        let (peers, _stop) = running();
        assert_eq!(after(6, &peers).await, 1);
        let waiting = || {
            peers.queues.lock().values().map(|queue| queue.calls.max_capacity() - queue.calls.capacity()).sum::<usize>()
        };
        (0..5).for_each(|_| peers.pass_on([10, 0, 0, 1].into(), of_mib(17), Passes::Stranger));
        assert_eq!(waiting(), 1);
        peers.pass_on([10, 0, 0, 2].into(), ExportMetricsServiceRequest::default(), Passes::Known);
        assert_eq!(waiting(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_is_believed_once_the_name_leads_to_it_and_no_stranger_ever_is() {
        let (peers, _stop) = running();
        assert!(peers.has([127, 0, 0, 1].into()).await, "looked up while it waits");
        let begun = Instant::now();
        assert!(!peers.has([10, 0, 0, 66].into()).await);
        assert!(begun.elapsed() <= LOOKED_WITHIN + Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_who_say_that_they_are_pods_do_not_make_lookups_more_than_one_a_second() {
        let (peers, _stop) = running();
        after(1, &peers).await;
        let mut found = peers.found.subscribe();
        let mut lookups = 0;
        for _ in 0..100 {
            peers.is_missed.notify_one();
            advance(Duration::from_millis(100)).await;
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            lookups += usize::from(found.has_changed().unwrap());
            found.mark_unchanged();
        }
        assert!((2..=11).contains(&lookups), "{lookups} in 10 s");
    }
}
