//! KEDA's loops against a scaler that answers real gRPC, over pipes in memory and in paused time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tidegate_proto::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue,
    ScaledObjectRef,
    external_scaler_client::ExternalScalerClient,
    external_scaler_server::{ExternalScaler, ExternalScalerServer},
};
use tidegate_sim::{
    hpa::{ControllerFlags, Scale},
    keda::{KedaLoop, Report, ScaleTarget, ScaledObject, Source, TargetError},
    quantity::Milli,
};
use tokio::{
    io::DuplexStream,
    sync::{broadcast, mpsc, watch},
    time::{Instant, timeout},
};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{ReceiverStream, WatchStream},
};
use tonic::{
    Request, Response, Status,
    transport::{Endpoint, Server, Uri},
};
use tower_service::Service;

/// A scaler whose answers the test sets.
#[derive(Clone)]
struct FakeScaler {
    rps: Arc<Mutex<Result<f64, Status>>>,
    active: watch::Sender<bool>,
    target: watch::Sender<f64>,
    streams_specs: bool,
    streams_activity: bool,
    start: Instant,
    /// When each call came, in seconds
    calls: Arc<Mutex<HashMap<&'static str, Vec<u64>>>>,
    seen: Arc<Mutex<Option<ScaledObjectRef>>>,
}

impl FakeScaler {
    fn new(rps: f64, active: bool) -> Self {
        Self {
            rps: Arc::new(Mutex::new(Ok(rps))),
            active: watch::Sender::new(active),
            target: watch::Sender::new(100.0),
            streams_specs: true,
            streams_activity: true,
            start: Instant::now(),
            calls: Arc::default(),
            seen: Arc::default(),
        }
    }

    fn set(&self, rps: f64) {
        *self.rps.lock().unwrap() = Ok(rps);
    }

    fn fail(&self) {
        *self.rps.lock().unwrap() = Err(Status::unavailable("the signal is stale"));
    }

    fn called(&self, call: &'static str) {
        let seconds = self.start.elapsed().as_secs();
        self.calls.lock().unwrap().entry(call).or_default().push(seconds);
    }

    fn calls_at(&self, call: &'static str) -> Vec<u64> {
        self.calls.lock().unwrap().get(call).cloned().unwrap_or_default()
    }

    fn calls(&self, call: &'static str) -> usize {
        self.calls_at(call).len()
    }
}

fn specs(target: f64) -> GetMetricSpecResponse {
    let spec =
        MetricSpec { metric_name: "requests-per-second".into(), target_size: target as i64, target_size_float: target };
    GetMetricSpecResponse { metric_specs: vec![spec] }
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ExternalScaler for FakeScaler {
    type StreamIsActiveStream = Streamed<IsActiveResponse>;
    type StreamMetricSpecStream = Streamed<GetMetricSpecResponse>;

    async fn is_active(&self, _: Request<ScaledObjectRef>) -> Result<Response<IsActiveResponse>, Status> {
        self.called("IsActive");
        Ok(Response::new(IsActiveResponse { result: *self.active.borrow() }))
    }

    async fn stream_is_active(
        &self,
        _: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        self.called("StreamIsActive");
        if !self.streams_activity {
            return Err(Status::unavailable("try later"));
        }
        let states = WatchStream::new(self.active.subscribe()).map(|result| Ok(IsActiveResponse { result }));
        Ok(Response::new(Box::pin(states)))
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        self.called("GetMetricSpec");
        *self.seen.lock().unwrap() = Some(request.into_inner());
        Ok(Response::new(specs(*self.target.borrow())))
    }

    async fn get_metrics(&self, request: Request<GetMetricsRequest>) -> Result<Response<GetMetricsResponse>, Status> {
        self.called("GetMetrics");
        assert_eq!(request.get_ref().metric_name, "requests-per-second", "without KEDA's index");
        let metric_value_float = self.rps.lock().unwrap().clone()?;
        let value = MetricValue { metric_name: String::new(), metric_value: 0, metric_value_float };
        Ok(Response::new(GetMetricsResponse { metric_values: vec![value] }))
    }

    async fn stream_metric_spec(
        &self,
        _: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamMetricSpecStream>, Status> {
        self.called("StreamMetricSpec");
        if !self.streams_specs {
            return Err(Status::unimplemented("not here"));
        }
        Ok(Response::new(Box::pin(WatchStream::new(self.target.subscribe()).map(|target| Ok(specs(target))))))
    }
}

/// Connects to the scaler, as long as it is up.
#[derive(Clone)]
struct Network {
    to_server: mpsc::Sender<io::Result<DuplexStream>>,
    up: Arc<AtomicBool>,
}

impl Service<Uri> for Network {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let network = self.clone();
        Box::pin(async move {
            if !network.up.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (client, server) = tokio::io::duplex(1 << 16);
            network.to_server.send(Ok(server)).await.map_err(io::Error::other)?;
            Ok(TokioIo::new(client))
        })
    }
}

/// Replicas without pods.
#[derive(Clone, Default)]
struct Replicas(Arc<AtomicU32>);

impl ScaleTarget for Replicas {
    async fn replicas(&self) -> Result<Scale, TargetError> {
        Ok(self.0.load(Ordering::SeqCst).into())
    }

    async fn scale(&self, replicas: u32) -> Result<(), TargetError> {
        self.0.store(replicas, Ordering::SeqCst);
        Ok(())
    }
}

struct World {
    scaler: FakeScaler,
    network: Network,
    replicas: Replicas,
    reports: broadcast::Receiver<Report>,
    keda: KedaLoop,
}

fn object(fields: &str) -> ScaledObject {
    let yaml = format!(
        "metadata: {{ name: task-api, namespace: shop }}\n\
         spec: {{ triggers: [{{ type: external-push, metadata: {{ service: task-api }} }}], maxReplicaCount: 20, {fields} }}"
    );
    serde_saphyr::from_str(&yaml).unwrap()
}

impl World {
    fn start(fields: &str, replicas: u32, scaler: FakeScaler, up: bool) -> Self {
        let (to_server, from_clients) = mpsc::channel(4);
        let service = ExternalScalerServer::new(scaler.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(ReceiverStream::new(from_clients)));
        let network = Network { to_server, up: Arc::new(up.into()) };
        let channel = Endpoint::from_static("http://tidegate").connect_with_connector_lazy(network.clone());
        let replicas = Replicas(Arc::new(replicas.into()));
        let (keda, reports) = KedaLoop::start(
            &object(fields),
            ControllerFlags::default(),
            ExternalScalerClient::new(channel),
            replicas.clone(),
        );
        Self { scaler, network, replicas, reports, keda }
    }

    /// The next decision of this kind, which must come within a simulated hour.
    async fn next(&mut self, wanted: impl Fn(&Report) -> bool) -> Report {
        let search = async {
            loop {
                let report = self.reports.recv().await.unwrap();
                if wanted(&report) {
                    return report;
                }
            }
        };
        timeout(Duration::from_secs(3600), search).await.expect("no such decision within an hour")
    }

    async fn change(&mut self) -> (u64, Source, u32) {
        let report = self.next(|report| report.desired != report.replicas).await;
        (report.at.as_secs(), report.source, report.desired)
    }
}

#[tokio::test(start_paused = true)]
async fn load_raises_replicas_through_the_hpa_and_every_decision_is_reported() {
    let mut world = World::start("minReplicaCount: 1", 1, FakeScaler::new(830.0, true), true);
    let first = world.next(|report| report.source == Source::Hpa).await;
    assert_eq!(first.metrics[0].name, "s0-requests-per-second");
    assert_eq!((&first.metrics[0].value, first.metrics[0].target), (&Ok(Milli::whole(830)), Milli::whole(100)));
    assert_eq!(first.why, "requests-per-second above target, which takes 9, the scale-up policies allow no more now");
    assert_eq!(world.change().await, (15, Source::Hpa, 8));
    assert_eq!(world.change().await, (30, Source::Hpa, 9));
    assert_eq!(world.replicas.0.load(Ordering::SeqCst), 9);
}

#[tokio::test(start_paused = true)]
async fn the_scaler_learns_which_object_asks_and_with_what_metadata() {
    let mut world = World::start("minReplicaCount: 1", 1, FakeScaler::new(0.0, false), true);
    world.next(|_| true).await;
    let seen = world.scaler.seen.lock().unwrap().clone().unwrap();
    assert_eq!((seen.name.as_str(), seen.namespace.as_str()), ("task-api", "shop"));
    assert_eq!(seen.scaler_metadata["service"], "task-api");
}

#[tokio::test(start_paused = true)]
async fn a_push_wakes_from_zero_at_once_and_inactivity_ends_there_a_cooldown_later() {
    let mut world = World::start("minReplicaCount: 0, cooldownPeriod: 60", 0, FakeScaler::new(0.0, false), true);
    world.next(|report| report.at.as_secs() == 30).await;
    world.scaler.set(50.0);
    world.scaler.active.send_replace(true);
    assert_eq!(world.change().await, (30, Source::Push, 1));
    world.next(|report| report.source == Source::Poll && report.at.as_secs() == 60).await;
    world.scaler.set(0.0);
    world.scaler.active.send_replace(false);
    assert_eq!(world.change().await, (120, Source::Poll, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failing_metric_holds_replicas_and_says_why() {
    let mut world = World::start("minReplicaCount: 1", 8, FakeScaler::new(800.0, true), true);
    world.next(|report| report.source == Source::Hpa).await;
    world.scaler.fail();
    let held = world.next(|report| report.why.contains("failed")).await;
    assert_eq!(held.why, "metrics failed (requests-per-second: GetMetrics: Unavailable: the signal is stale)");
    assert_eq!(held.metrics[0].value, Err("GetMetrics: Unavailable: the signal is stale".into()));
    let late = world.next(|report| report.at.as_secs() > 2000).await;
    assert_eq!(late.desired, 8);
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_tried_once_more_at_once() {
    let mut world = World::start("minReplicaCount: 1", 8, FakeScaler::new(800.0, true), true);
    world.next(|report| report.source == Source::Hpa && report.at.as_secs() == 15).await;
    world.scaler.fail();
    let before = world.scaler.calls("GetMetrics");
    world.next(|report| report.source == Source::Hpa).await;
    assert_eq!(world.scaler.calls("GetMetrics") - before, 2);
}

#[tokio::test(start_paused = true)]
async fn with_a_minimum_the_scale_loop_asks_for_no_metrics_itself() {
    let mut world = World::start("minReplicaCount: 1", 8, FakeScaler::new(800.0, true), true);
    world.next(|report| report.source == Source::Hpa && report.at.as_secs() == 15).await;
    let before = world.scaler.calls("GetMetrics");
    world.next(|report| report.source == Source::Hpa && report.at.as_secs() == 615).await;
    assert_eq!(world.scaler.calls("GetMetrics") - before, 600 / 15);
}

#[tokio::test(start_paused = true)]
async fn streamed_specs_retarget_the_hpa_at_once_and_replace_get_metric_spec() {
    let mut world = World::start("minReplicaCount: 1", 8, FakeScaler::new(800.0, true), true);
    world.next(|report| report.source == Source::Hpa && report.at.as_secs() == 15).await;
    let before = world.scaler.calls("GetMetricSpec");
    world.scaler.target.send_replace(50.0);
    assert_eq!(world.change().await, (15, Source::Hpa, 16));
    world.next(|report| report.source == Source::Hpa && report.at.as_secs() == 615).await;
    assert_eq!(world.scaler.calls("GetMetricSpec"), before);
}

#[tokio::test(start_paused = true)]
async fn a_scaler_that_does_not_stream_specs_is_asked_for_them_and_only_once_to_stream() {
    let scaler = FakeScaler { streams_specs: false, ..FakeScaler::new(800.0, true) };
    let mut world = World::start("minReplicaCount: 1", 8, scaler, true);
    world.next(|report| report.at.as_secs() > 600).await;
    assert_eq!(world.scaler.calls("StreamMetricSpec"), 1);
    assert!(world.scaler.calls("GetMetricSpec") > 600 / 15);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_comes_back_after_2_then_4_seconds_up_to_a_minute() {
    let scaler = FakeScaler { streams_activity: false, ..FakeScaler::new(800.0, true) };
    let mut world = World::start("minReplicaCount: 1", 8, scaler, true);
    world.next(|report| report.at.as_secs() >= 195).await;
    assert_eq!(world.scaler.calls_at("StreamIsActive"), [0, 2, 6, 14, 30, 62, 122, 182]);
}

#[tokio::test(start_paused = true)]
async fn a_scaler_that_is_down_at_first_is_asked_again_and_again() {
    let mut world = World::start("minReplicaCount: 1", 1, FakeScaler::new(830.0, true), false);
    assert!(timeout(Duration::from_secs(5), world.reports.recv()).await.is_err(), "no HPA, no decisions");
    world.network.up.store(true, Ordering::SeqCst);
    let (at, _, desired) = world.change().await;
    assert_eq!(desired, 4);
    assert!((5..=11).contains(&at), "5 ms doubled up to then: {at}");
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_is_dropped_asks_no_more() {
    let mut world = World::start("minReplicaCount: 1", 1, FakeScaler::new(50.0, true), true);
    world.next(|_| true).await;
    drop(world.keda);
    let closed = async { while world.reports.recv().await.is_ok() {} };
    timeout(Duration::from_secs(60), closed).await.unwrap();
}
