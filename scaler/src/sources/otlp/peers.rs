//! A sender's connection leads to one of Tidegate's pods; that one tells the others.
//!
//! They are found by a host name that has the addresses of all, as a headless Service has. A pod does not know which address is its
//! own: it knows its own mark in what comes back to it.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient,
};
use tokio::{
    net::lookup_host,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tonic::{
    Request,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint},
};

use super::{FORWARDED_BY, SENDER};
use crate::signals::Signals;

/// How often the addresses are looked up.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Calls that wait for one peer. Cumulative points come again; so it is the newest that are dropped.
const WAITING: usize = 32;
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
    queues: Mutex<HashMap<SocketAddr, mpsc::Sender<Passed>>>,
}

type Passed = Arc<(IpAddr, ExportMetricsServiceRequest)>;

impl Peers {
    pub(super) fn new(host: String, signals: Arc<Signals>) -> Self {
        let mark = format!("{:032x}", rand_mark());
        Self { host, mark, signals, queues: Mutex::default() }
    }

    pub(super) fn is_self(&self, mark: &str) -> bool {
        mark == self.mark
    }

    /// Tells all others, as soon as they can take it.
    pub(super) fn pass_on(&self, sender: IpAddr, request: ExportMetricsServiceRequest) {
        let passed = Arc::new((sender, request));
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in queues.values() {
            if queue.try_send(Arc::clone(&passed)).is_err() {
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
            let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            queues.retain(|address, _| found.contains(address));
            for address in found {
                if !queues.contains_key(&address)
                    && let Some(client) = client(address)
                {
                    let (queue, passed) = mpsc::channel(WAITING);
                    queues.insert(address, queue);
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
    mut passed: mpsc::Receiver<Passed>,
    mark: String,
    signals: Arc<Signals>,
) {
    while let Some(passed) = passed.recv().await {
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
