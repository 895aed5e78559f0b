//! A server on a free port, its measurements, and clients.

use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use prometheus_client::{encoding::text, registry::Registry};
use tidegate_core::{
    calendar::Calendars,
    ids::{RouteRef, ServiceId},
    intent::{Annotations, Intent},
    plan::{ClusterShare, Plan, PlannedWorkload, Replicas},
    workload::{WorkloadId, WorkloadKind},
};
use tidegate_proto::{GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient};
use tidegate_scaler::{
    demand::Demands,
    metrics::{ScalerMetrics, register_workloads},
    service::{Scaler, ServeError, ServiceSettings, TlsSettings, serve},
    store::SignalStore,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};

/// Time for which the tests' values stay valid.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(300);
/// Time after which a wait is a hang.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) type Client = ExternalScalerClient<Channel>;

/// A running scaler.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) signals: Arc<SignalStore>,
    pub(crate) plan: watch::Sender<Option<Arc<Plan>>>,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), ServeError>>,
    registry: Mutex<Registry>,
}

impl Server {
    pub(crate) async fn start(plan: Plan) -> Self {
        Self::start_with(plan, None).await
    }

    pub(crate) async fn start_with(plan: Plan, tls: Option<TlsSettings>) -> Self {
        let signals = Arc::new(SignalStore::new(STALE_AFTER));
        signals.keep(&plan);
        let demands = Arc::new(Demands::new(Arc::clone(&signals), STALE_AFTER));
        let (plan, planned) = watch::channel(Some(Arc::new(plan)));
        let stop = CancellationToken::new();
        let mut registry = Registry::default();
        signals.register(&mut registry);
        let metrics = ScalerMetrics::register(&mut registry);
        register_workloads(&mut registry, Arc::clone(&demands), planned.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scaler = Scaler::new(demands, planned, metrics);
        let task = tokio::spawn(serve(listener, ServiceSettings { tls }, scaler, stop.clone()));
        Self { address, signals, plan, stop, task, registry: Mutex::new(registry) }
    }

    /// Commits a round in which only these clusters carry anything: requests/s, requests in flight and connections. The other clusters
    /// of the Plan exist, and are idle.
    pub(crate) fn measure(&self, values: &[(&str, [f64; 3])]) {
        let plan = self.plan.borrow().clone();
        let idle = plan.iter().flat_map(|plan| plan.shares()).map(|share| (share.cluster.to_string(), [0.0; 3]));
        let mut all: HashMap<_, _> = idle.collect();
        all.extend(values.iter().map(|(name, values)| ((*name).to_owned(), *values)));
        self.signals.commit_values("test", Ok(all));
    }

    pub(crate) fn replace_plan(&self, plan: Plan) {
        self.signals.keep(&plan);
        self.plan.send_replace(Some(Arc::new(plan)));
    }

    pub(crate) async fn client(&self) -> Client {
        in_time(Client::connect(format!("http://{}", self.address))).await.unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        in_time(endpoint.connect()).await.unwrap()
    }

    /// The page of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry.lock().unwrap()).unwrap();
        page
    }
}

/// Awaits a future, and fails when it does not end in time.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    time::timeout(DEADLINE, future).await.expect("it ends in time")
}

/// Waits until the condition holds, and fails when it does not in time.
pub(crate) async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let mut looks = time::interval(Duration::from_millis(5));
    let holds = async {
        while !so() {
            looks.tick().await;
        }
    };
    time::timeout(DEADLINE, holds).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// Advances the clock without waiting. Sockets are not affected.
pub(crate) async fn later(time: Duration) {
    time::pause();
    time::advance(time).await;
    time::resume();
}

pub(crate) fn deployment(name: &str) -> WorkloadId {
    WorkloadId { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: name.into() }
}

/// The cluster of [`plan`]'s workload of this name.
pub(crate) fn cluster(name: &str) -> String {
    format!("httproute/shop/{name}/rule/0")
}

/// One Deployment and Service of each name in the namespace `shop`, each with a route of its own.
pub(crate) fn plan(names: &[&str]) -> Plan {
    let mut plan = Plan::default();
    for name in names {
        let service = ServiceId { namespace: "shop".into(), name: (*name).into() };
        let route =
            RouteRef { kind: "HTTPRoute".into(), namespace: "shop".into(), name: (*name).into(), rule: Some(0) };
        let share = ClusterShare {
            cluster: cluster(name).into(),
            split: None,
            share: 1.0,
            of_backend: 1.0,
            route,
            service: service.clone(),
            fleets: [].into(),
            meaning: 0,
            pending: false,
        };
        let annotations = Annotations::from([("tidegate.dev/requests-per-second".to_owned(), "100".to_owned())]);
        let intent = Intent::of_workload(&annotations, "shop", &Annotations::new()).unwrap().unwrap();
        let (id, own) = (deployment(name), vec![share.clone()]);
        let replicas = Replicas::default();
        let workload = PlannedWorkload::new(&id, String::new(), Ok(intent), own, replicas, 1, &Calendars::default());
        plan.workloads.insert(id, workload);
        plan.services.insert(service, vec![share]);
    }
    plan
}

/// A ScaledObject of the namespace `shop` whose trigger holds this metadata.
pub(crate) fn object(metadata: &[(&str, &str)]) -> ScaledObjectRef {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    // A key that KEDA itself uses and passes on.
    let own = [("scalerAddress".to_owned(), "tidegate.tidegate-system.svc:9090".to_owned())];
    ScaledObjectRef { name: "api".into(), namespace: "shop".into(), scaler_metadata: metadata.chain(own).collect() }
}

/// The trigger that the operator writes for `deployment/NAME`.
pub(crate) fn of_deployment(name: &str) -> ScaledObjectRef {
    object(&[("workload", &format!("deployment/{name}")), ("requestsPerSecond", "100")])
}

/// GetMetrics as KEDA calls it: the only value, or why there is none.
pub(crate) async fn metric(client: &mut Client, object: &ScaledObjectRef, name: &str) -> Result<f64, Status> {
    let request = GetMetricsRequest { scaled_object_ref: Some(object.clone()), metric_name: name.into() };
    let answer = in_time(client.get_metrics(request)).await?.into_inner();
    assert_eq!(answer.metric_values.len(), 1, "the HPA adds up whatever comes back");
    assert_eq!(answer.metric_values[0].metric_name, name);
    let value = &answer.metric_values[0];
    // As KEDA reads it.
    Ok(if value.metric_value_float > 0.0 { value.metric_value_float } else { value.metric_value as f64 })
}

pub(crate) async fn is_active(client: &mut Client, object: &ScaledObjectRef) -> Result<bool, Status> {
    Ok(in_time(client.is_active(object.clone())).await?.into_inner().result)
}
