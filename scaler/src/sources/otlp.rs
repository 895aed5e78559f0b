//! OTLP over gRPC: AI gateways that push the tokens of models, and Envoys that push what their clusters carry.
//!
//! A call is taken in before it is answered, so that the answer can say which points were refused (OTLP's partial success). Calls
//! beyond what is taken in at one time wait, unread. What one of Tidegate's pods is told it tells the others ([`peers`]), so that
//! all of them answer KEDA alike.

mod clusters;
mod peers;
mod senders;
mod stream;
mod tokens;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::ResourceMetrics,
};
use tidegate_core::{model::AiGateway, plan::Plan};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tonic::{Request, Response, Status, codec::CompressionEncoding, transport::Server};
use tower::limit::GlobalConcurrencyLimitLayer;

use self::{
    peers::Peers,
    senders::{FORGET_AFTER, Senders, Silence},
    stream::Dropped,
};
use crate::{
    service::connections::accept_plain,
    signals::{Signals, lock},
    text::shortened,
};

/// Where metrics are pushed to, and which of them count.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    /// Whether Envoys push what their clusters carry
    pub clusters: bool,
    /// Whether AI gateways push tokens
    pub tokens: bool,
    /// Host and port that lead to all of Tidegate's pods, such as the headless Service's
    pub peers: Option<String>,
}

/// Why nothing can be pushed.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The address is taken, or not one of this machine
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Which one
        address: SocketAddr,
        /// Why
        source: std::io::Error,
    },
    /// The connections
    #[error("the OTLP server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// The SDKs of OpenTelemetry and Envoy put all that they know into one message. A thousand models are 8 MiB. Compressed ones count
/// as they are after.
const LARGEST_MESSAGE: usize = 16 << 20;
/// Calls that are read and taken in at one time. Each may hold a message of that size.
const AT_ONCE: usize = 4;
/// Who sends its message slower than this is cut off.
const SLOWEST_CALL: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Streams of one connection: a sender has one call open at a time.
const MOST_STREAMS: u32 = 64;
/// Proxies push every 5 s where nobody says more.
const SILENT_AFTER: Duration = Duration::from_secs(15);

/// In a call that was passed on: the pod that did, and the address of the sender.
const FORWARDED_BY: &str = "tidegate-forwarded-by";
const SENDER: &str = "tidegate-sender";

/// The socket that metrics are pushed to.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, OtlpError> {
    let listener = TcpListener::bind(address).await.map_err(|source| OtlpError::Bind { address, source })?;
    tracing::info!(%address, "takes in OTLP metrics");
    Ok(listener)
}

/// Takes in what is pushed until `shutdown` says so.
pub async fn serve(
    listener: TcpListener,
    settings: OtlpSettings,
    signals: Arc<Signals>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    shutdown: watch::Receiver<bool>,
) -> Result<(), OtlpError> {
    let peers = settings.peers.clone().map(|host| Arc::new(Peers::new(host, Arc::clone(&signals))));
    let receiver = Arc::new(Receiver::new(settings, signals, plan, peers.clone()));
    let service = MetricsServiceServer::from_arc(Arc::clone(&receiver))
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(LARGEST_MESSAGE);
    let mut stopped = shutdown.clone();
    let stop = async move { _ = stopped.wait_for(|stop| *stop).await };
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .max_concurrent_streams(Some(MOST_STREAMS))
        .timeout(SLOWEST_CALL)
        .layer(GlobalConcurrencyLimitLayer::new(AT_ONCE))
        .add_service(service)
        .serve_with_incoming_shutdown(accept_plain(listener), stop);
    let mut stopped = shutdown.clone();
    let passing_on = async {
        match &peers {
            Some(peers) => peers.run(shutdown).await,
            None => _ = stopped.wait_for(|stop| *stop).await,
        }
    };
    tokio::select! {
        served = serving => Ok(served?),
        () = receiver.close_seconds() => Ok(()),
        () = passing_on => Ok(()),
    }
}

struct Receiver {
    settings: OtlpSettings,
    signals: Arc<Signals>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    senders: Mutex<Senders>,
    peers: Option<Arc<Peers>>,
}

/// What became of the points of a call.
#[derive(Debug, Default)]
struct Outcome {
    accepted: u64,
    dropped: HashMap<Dropped, u64>,
    /// Of one that was refused: which, and why
    example: Option<String>,
}

impl Outcome {
    fn count(&mut self, result: Result<(), Dropped>, metric: &str) {
        match result {
            Ok(()) => self.accepted += 1,
            Err(why) => {
                *self.dropped.entry(why).or_default() += 1;
                self.example.get_or_insert_with(|| format!("{metric}: {why}"));
            }
        }
    }

    /// Late points and duplicates are nothing that a sender can mend.
    fn rejected(&self) -> Option<ExportMetricsPartialSuccess> {
        let of = |why: Dropped| self.dropped.get(&why).copied().unwrap_or(0);
        let rejected = of(Dropped::Malformed) + of(Dropped::TooMany);
        (rejected > 0).then(|| ExportMetricsPartialSuccess {
            rejected_data_points: i64::try_from(rejected).unwrap_or(i64::MAX),
            error_message: self.example.clone().unwrap_or_default(),
        })
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let text = |key: &str| request.metadata().get(key).and_then(|value| value.to_str().ok());
        let forwarded = text(FORWARDED_BY).map(ToOwned::to_owned);
        let told = text(SENDER).filter(|_| forwarded.is_some()).and_then(|address| address.parse().ok());
        let peer = request.remote_addr().map_or(IpAddr::from([0, 0, 0, 0]), |address| address.ip());
        let address = told.unwrap_or(peer);
        if let (Some(by), Some(peers)) = (&forwarded, &self.peers)
            && peers.is_self(by, request.local_addr())
        {
            return Ok(Response::new(ExportMetricsServiceResponse::default()));
        }
        let request = request.into_inner();
        let outcome = self.take_in(address, &request);
        self.signals.metrics().otlp_points("ok", outcome.accepted);
        for (why, count) in &outcome.dropped {
            self.signals.metrics().otlp_points(why.as_str(), *count);
        }
        if let (None, Some(peers)) = (forwarded, &self.peers) {
            peers.pass_on(address, request);
        }
        Ok(Response::new(ExportMetricsServiceResponse { partial_success: outcome.rejected() }))
    }
}

impl Receiver {
    fn new(
        settings: OtlpSettings,
        signals: Arc<Signals>,
        plan: watch::Receiver<Option<Arc<Plan>>>,
        peers: Option<Arc<Peers>>,
    ) -> Self {
        Self { settings, signals, plan, senders: Mutex::default(), peers }
    }

    fn take_in(&self, address: IpAddr, request: &ExportMetricsServiceRequest) -> Outcome {
        let mut outcome = Outcome::default();
        let plan = self.plan.borrow().clone().unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let series = self.signals.series();
        let mut senders = self.senders();
        for resource in &request.resource_metrics {
            let (name, at) = (sender_name(address, resource), Instant::now());
            let room = senders.room();
            let Some(sender) = senders.hear(&name, address, at) else {
                outcome.count(Err(Dropped::TooMany), &format!("sender {name}"));
                continue;
            };
            let before = sender.tokens.len();
            if self.settings.clusters {
                sender.clusters.begin();
            }
            let mut has = (false, false);
            for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
                if self.settings.tokens && tokens::is_wanted(&metric.name) {
                    has.0 = true;
                    sender.tokens.take_in(metric, now, before + room, &mut outcome);
                } else if self.settings.clusters && clusters::is_wanted(&metric.name) {
                    has.1 = true;
                    sender.clusters.take_in(metric, &series, now, &mut outcome);
                }
            }
            if has.0 {
                let fleet = fleet(&plan, address, resource);
                self.signals.tokens_sampled(&name, Ok(&sender.tokens.counted(&fleet)), true);
            }
            if has.1 {
                sender.tells_of_clusters(at);
                match plan.proxies.iter().find(|proxy| proxy.stats.ip() == address) {
                    Some(proxy) => self.signals.sampled(proxy, at, Ok(sender.clusters.sample(&series))),
                    None => outcome.count(Err(Dropped::Unknown), &format!("{address} is no proxy of Envoy Gateway")),
                }
            }
            let grown = sender.tokens.len() - before;
            senders.grew(grown);
        }
        outcome
    }

    /// Closes a round each second.
    async fn close_seconds(&self) {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut unheard = HashMap::new();
        loop {
            ticks.tick().await;
            self.close_second(&mut unheard);
        }
    }

    /// `unheard`: proxies that have pushed nothing so far, and since when they are known.
    fn close_second(&self, unheard: &mut HashMap<SocketAddr, Instant>) {
        let Some(plan) = self.plan.borrow().clone() else { return };
        let over = self.senders().forget_over(FORGET_AFTER.max(self.signals.stale_after()));
        if !over.is_empty() {
            self.signals.senders_gone(|name| over.iter().any(|over| over == name));
        }
        if self.settings.tokens {
            self.signals.commit_tokens(None);
        }
        if self.settings.clusters {
            self.tell_silent(&plan, unheard);
            self.signals.series();
            self.signals.commit(&plan.proxies);
        }
    }

    /// Proxies that have to push and do not.
    fn tell_silent(&self, plan: &Plan, unheard: &mut HashMap<SocketAddr, Instant>) {
        let senders = self.senders();
        unheard.retain(|address, _| plan.proxies.iter().any(|proxy| proxy.stats == *address && proxy.ready));
        for proxy in &plan.proxies {
            let why = if let Some(Silence { lasts, usual }) = senders.silence(proxy.stats.ip()) {
                unheard.remove(&proxy.stats);
                (lasts > (usual * 3).max(SILENT_AFTER))
                    .then(|| format!("it has pushed nothing for {} s", lasts.as_secs()))
            } else if proxy.ready {
                let silence = unheard.entry(proxy.stats).or_insert_with(Instant::now).elapsed();
                (silence > SILENT_AFTER).then(|| {
                    let seconds = silence.as_secs();
                    format!("it has pushed nothing in the {seconds} s since it is ready: see telemetry.metrics.sinks of its EnvoyProxy")
                })
            } else {
                None
            };
            if let Some(why) = why {
                self.signals.sampled(proxy, Instant::now(), Err(why));
            }
        }
    }

    fn senders(&self) -> MutexGuard<'_, Senders> {
        lock(&self.senders)
    }
}

/// What tells one process from another: its address, and behind a collector what it says of itself.
fn sender_name(address: IpAddr, resource: &ResourceMetrics) -> String {
    let attributes = attributes(resource);
    let named = ["service.instance.id", "k8s.pod.uid", "k8s.pod.name", "host.name"];
    match named.iter().find_map(|key| text(attributes, key)) {
        Some(instance) => format!("{address} ({})", shortened(instance)),
        None => address.to_string(),
    }
}

/// The set of proxies that a sender is part of: the pod that it says it is, which a collector may have added, or the one at its
/// address.
fn fleet(plan: &Plan, address: IpAddr, resource: &ResourceMetrics) -> Arc<str> {
    let attributes = attributes(resource);
    let pod = text(attributes, "k8s.namespace.name").zip(text(attributes, "k8s.pod.name"));
    let is_it = |gateway: &&AiGateway| match pod {
        Some((namespace, pod)) => gateway.name.split_once('/') == Some((namespace, pod)),
        None => gateway.metrics.ip() == address,
    };
    plan.ai_gateways.iter().find(is_it).and_then(|gateway| gateway.fleet.clone()).unwrap_or_default()
}

fn attributes(resource: &ResourceMetrics) -> &[KeyValue] {
    resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes)
}

/// The text of an attribute.
fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
