//! The receiver of pushed metrics. It stores the tokens of senders that there is room for, and the clusters of proxies that the
//! Plan has.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse, metrics_service_server::MetricsService,
    },
    metrics::v1::{Metric, ResourceMetrics},
};
use parking_lot::Mutex;
use tidegate_core::plan::Plan;
use tokio::{sync::watch, time::Instant};
use tonic::{Request, Response, Status};

use super::{
    OtlpSettings, clusters,
    gate::Caller,
    heard::Silence,
    outcome::Outcome,
    peers::{Passes, Peers},
    proxies::{Proxies, Report},
    senders::{FORGET_AFTER, Senders},
    stream::{Arrival, Dropped},
    tokens, who,
};
use crate::{
    sources::rounds::{ROUND, rounds},
    store::{Series, SignalStore},
};

/// Shortest silence of a proxy that is reported. Proxies push every 5 s by default.
const SILENT_AFTER: Duration = Duration::from_secs(15);
/// Most processes (OTLP resources) in one message. A collector puts those of many senders into one.
const MOST_RESOURCES: usize = 10_000;

/// The OTLP metrics service.
pub(super) struct Receiver {
    settings: OtlpSettings,
    signals: Arc<SignalStore>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    senders: Mutex<Senders>,
    proxies: Mutex<Proxies>,
    peers: Option<Arc<Peers>>,
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let caller = request.extensions().get::<Caller>().copied();
        let caller = caller.ok_or_else(|| Status::internal("the call came in past the gate"))?;
        let Some(address) = caller.sender() else {
            return Ok(Response::new(ExportMetricsServiceResponse::default()));
        };
        // Without a Plan no sender is known, but that does not make it a stranger.
        let plan = self.plan.borrow().clone();
        let plan = plan.ok_or_else(|| Status::unavailable("Tidegate has not read the cluster yet: try again"))?;
        let request = request.into_inner();
        let outcome = self.take_in(&plan, address, &request);
        self.signals.metrics().otlp_points("ok", outcome.accepted);
        for (why, count) in &outcome.dropped {
            self.signals.metrics().otlp_points(why.as_str(), *count);
        }
        let partial_success = outcome.rejected();
        if let (Caller::Sender(_), Some(peers), Some(passes)) = (caller, &self.peers, outcome.passes) {
            peers.pass_on(address, request, passes);
        }
        Ok(Response::new(ExportMetricsServiceResponse { partial_success }))
    }
}

/// A call that is being processed.
struct Call<'a> {
    plan: &'a Plan,
    series: &'a Series,
    address: IpAddr,
    /// Whether the Plan has a proxy or an AI gateway at this address
    is_known: bool,
    now: Arrival,
}

impl Receiver {
    pub(super) fn new(
        settings: OtlpSettings,
        signals: Arc<SignalStore>,
        plan: watch::Receiver<Option<Arc<Plan>>>,
        peers: Option<Arc<Peers>>,
    ) -> Self {
        Self { settings, signals, plan, senders: Mutex::default(), proxies: Mutex::default(), peers }
    }

    pub(super) fn take_in(&self, plan: &Plan, address: IpAddr, request: &ExportMetricsServiceRequest) -> Outcome {
        let mut outcome = Outcome::default();
        let (series, is_known) = (self.signals.series(), who::is_known(plan, address));
        let call = Call { plan, series: &series, address, is_known, now: Arrival::now() };
        let (resources, beyond) = request.resource_metrics.split_at(request.resource_metrics.len().min(MOST_RESOURCES));
        for resource in resources {
            if self.settings.tokens {
                self.take_in_tokens(&call, resource, &mut outcome);
            }
            if self.settings.clusters {
                self.take_in_clusters(&call, resource, &mut outcome);
            }
        }
        outcome.refuse_all(Dropped::TooMany, beyond.iter().flat_map(metrics));
        outcome
    }

    fn take_in_tokens(&self, call: &Call, resource: &ResourceMetrics, outcome: &mut Outcome) {
        let wanted = || metrics(resource).filter(|metric| tokens::is_wanted(&metric.name));
        if wanted().next().is_none() {
            return;
        }
        let name = who::sender_name(call.address, resource);
        let (standing, fleet) = who::standing(call.plan, call.address, call.is_known, resource);
        let no_room = if standing == who::Standing::Guest { Dropped::Unknown } else { Dropped::TooMany };
        let mut senders = self.senders.lock();
        let counted = senders.hear(&name, (call.address, standing), call.now.at, |tokens, room| {
            let most = tokens.len() + room;
            wanted().for_each(|metric| tokens.take_in(metric, call.now, most, outcome));
            tokens.counted(&fleet)
        });
        let Some(counted) = counted else {
            return outcome.refuse_all(no_room, wanted());
        };
        outcome.passes(if call.is_known { Passes::Known } else { Passes::Stranger });
        match counted {
            Some(Ok(counted)) => self.signals.tokens_sampled(&name, Ok(&counted), true),
            Some(Err(error)) => self.signals.tokens_sampled(&name, Err(error), true),
            None => {}
        }
    }

    fn take_in_clusters(&self, call: &Call, resource: &ResourceMetrics, outcome: &mut Outcome) {
        let wanted = || metrics(resource).filter(|metric| clusters::is_wanted(&metric.name));
        if wanted().next().is_none() {
            return;
        }
        if !who::is_proxy(call.plan, call.address) {
            return outcome.refuse_all(Dropped::Unknown, wanted());
        }
        outcome.passes(Passes::Known);
        let before = self.proxies.lock().take_in(call.address, wanted(), call.series, call.now, outcome);
        if let Some(report) = before {
            self.tell(call.plan, call.address, report);
        }
    }

    fn tell(&self, plan: &Plan, address: IpAddr, (at, report): Report) {
        if let Some(proxy) = plan.proxies.iter().find(|proxy| proxy.stats.ip() == address) {
            self.signals.sampled(proxy, at, report);
        }
    }

    /// Closes a round each second.
    pub(super) async fn close_seconds(&self) {
        let mut rounds = rounds(ROUND);
        let mut unheard = HashMap::new();
        loop {
            rounds.tick().await;
            self.close_second(&mut unheard);
        }
    }

    /// Closes a round. `unheard` has the proxies that have pushed nothing so far, and since when they are known.
    pub(super) fn close_second(&self, unheard: &mut HashMap<SocketAddr, Instant>) {
        let Some(plan) = self.plan.borrow().clone() else { return };
        let over = self.senders.lock().forget_over(FORGET_AFTER.max(self.signals.stale_after()));
        if !over.is_empty() {
            self.signals.senders_gone(|name| over.iter().any(|over| over == name));
        }
        if self.settings.tokens {
            self.signals.commit_tokens(None);
        }
        if self.settings.clusters {
            self.tell_reports(&plan);
            self.tell_silent(&plan, unheard);
            self.signals.commit(&plan.proxies);
        }
    }

    fn tell_reports(&self, plan: &Plan) {
        let series = self.signals.series();
        let mut proxies = self.proxies.lock();
        proxies.keep(&plan.proxies.iter().map(|proxy| proxy.stats.ip()).collect());
        for (address, report) in proxies.over(Instant::now(), &series) {
            self.tell(plan, address, report);
        }
    }

    /// Reports an error for each proxy that has to push and does not.
    fn tell_silent(&self, plan: &Plan, unheard: &mut HashMap<SocketAddr, Instant>) {
        let proxies = self.proxies.lock();
        unheard.retain(|address, _| plan.proxies.iter().any(|proxy| proxy.stats == *address && proxy.ready));
        for proxy in &plan.proxies {
            let why = if let Some(Silence { lasts, usual }) = proxies.silence(proxy.stats.ip()) {
                unheard.remove(&proxy.stats);
                (lasts > (usual * 3).max(SILENT_AFTER))
                    .then(|| format!("it has pushed nothing new for {} s", lasts.as_secs()))
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
}

#[cfg(test)]
impl Receiver {
    /// The numbers of senders and of proxies that are kept.
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.senders.lock().len(), self.proxies.lock().len())
    }
}

fn metrics(resource: &ResourceMetrics) -> impl Iterator<Item = &Metric> {
    resource.scope_metrics.iter().flat_map(|scope| &scope.metrics)
}
