//! The Plan: the traffic that reaches each workload, and the intent of its annotations.
//!
//! The operator makes it from the cluster or from files, as a pure function of the objects that it sees; the scaler
//! reads it. A Plan is replaced as a whole and never changed in place.

use std::{collections::BTreeMap, fmt, net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    beside::Pod,
    calendar::Calendars,
    fleet::Fleet,
    gate::{Gate, NotHeld},
    ids::{RouteRef, ServiceId},
    intent::{Annotations, Intent},
    llm::{AiGateway, AiRule, ModelShare, ServingPod},
    not_followed::{Few, NoEntrance, NotFollowed},
    problem::Problem,
    request_timeout::RequestTimeout,
    schedule::Schedule,
    workload::{Requests, WorkloadId},
};

/// Everything that the scaler needs to know about the cluster.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The workloads that Tidegate scales because of their annotations, or their Namespace's
    pub workloads: BTreeMap<WorkloadId, PlannedWorkload>,
    /// The clusters of every Service that a route reaches, for hand-written ScaledObjects
    pub services: BTreeMap<ServiceId, Vec<ClusterShare>>,
    /// The proxies that carry the traffic
    pub proxies: Vec<Proxy>,
    /// The AI gateways: the parts of proxies that count tokens
    pub ai_gateways: Vec<AiGateway>,
    /// The rules of AIGatewayRoutes that a Gateway accepts
    pub ai_rules: Vec<Arc<AiRule>>,
    /// The annotated Gateways, by the EnvoyProxy that sets their number of proxies
    pub fleets: Vec<Fleet>,
    /// The Calendars
    pub calendars: Calendars,
}

/// One annotated workload.
#[derive(Debug, Clone)]
pub struct PlannedWorkload {
    /// `metadata.uid`; empty when the workload comes from a file
    pub uid: String,
    /// The intent of its annotations, or their problems
    pub intent: Result<Intent, Vec<Problem>>,
    /// Problems of its annotations, while the ones that were applied before still apply
    pub problems: Vec<Problem>,
    /// The annotations from which the intent was parsed, its Namespace's included
    pub applied: Annotations,
    /// The clusters that carry its traffic, with its share of each
    pub traffic: Vec<ClusterShare>,
    /// What of the routes that name its Services does not lead to it, where that matters: when no route does, or when Envoy
    /// Gateway refuses one
    pub not_followed: Vec<NotFollowed>,
    /// Why nothing could lead to it, if it wants traffic and no route names a Service of its
    pub no_entrance: Option<NoEntrance>,
    /// `spec.replicas` and `status.readyReplicas`
    pub replicas: Replicas,
    /// The resources that one replica requests
    pub requests: Requests,
    /// What its pods say of CPU and memory, if it is to be scaled on them: for other workloads it does not matter
    pub pod: Pod,
    /// Whether a container of its pods has a readiness or startup probe, without which a pod is ready as soon as its containers run;
    /// `None` where its containers are not known
    pub has_probe: Option<bool>,
    /// Its business hours
    pub schedule: Option<Arc<Schedule>>,
    /// The name of the Calendar that these hours come from
    pub calendar: Option<String>,
    /// The workload that has to be Ready before it opens, if that exists
    pub after: Option<Prerequisite>,
    /// Where requests are held while it has no replicas; or why they cannot be, where zero replicas are wanted
    pub gates: Result<Arc<[Gate]>, NotHeld>,
    /// Of the rules that lead to these gates, the one that gives up on a request first; `None` when none ever does
    pub request_timeout: Option<Arc<RequestTimeout>>,
    /// The models that it serves behind an AI gateway
    pub models: Vec<ModelShare>,
    /// Its pods, if it serves a model: for other workloads they do not matter
    pub pods: Vec<ServingPod>,
    /// Time until its pods were ready: the median of the last 20
    pub measured_startup: Option<Duration>,
    /// The replicas that it had when Tidegate found it, where these are its floor inside hours; 0 when somebody had stopped it
    pub adopted: Option<u32>,
}

/// The annotation of a ScaledObject that keeps the number of replicas that its workload had when Tidegate found it.
pub const ADOPTED_REPLICAS: &str = "tidegate.dev/adopted-replicas";

/// The label of a ScaledObject that names the release of Tidegate that owns it: of two releases in one cluster, each leaves the
/// other's alone.
pub const RELEASE: &str = "tidegate.dev/release";

impl PlannedWorkload {
    /// Plans a workload by its intent. `adopted` is the number of replicas that it had when Tidegate found it, which only some
    /// intents need.
    pub fn new(
        id: &WorkloadId,
        uid: String,
        intent: Result<Intent, Vec<Problem>>,
        traffic: Vec<ClusterShare>,
        replicas: Replicas,
        adopted: u32,
        calendars: &Calendars,
    ) -> Self {
        // A Calendar that is missing or invalid is still the one that the workload uses.
        let (mut calendar, mut schedule) = (None, None);
        let intent = intent.and_then(|intent| {
            calendar = intent.schedule.as_ref().and_then(|schedule| schedule.calendar.clone());
            schedule = intent.schedule(&id.to_string(), calendars).map_err(|problem| vec![problem])?;
            Ok(intent)
        });
        let adopted = intent.as_ref().ok().filter(|intent| intent.adopts).map(|_| adopted);
        let schedule =
            schedule.map(|schedule| Arc::new(Schedule { floor: adopted.unwrap_or(schedule.floor), ..schedule }));
        Self {
            uid,
            intent,
            problems: Vec::new(),
            applied: Annotations::new(),
            traffic,
            not_followed: Vec::new(),
            no_entrance: None,
            replicas,
            requests: Requests::default(),
            pod: Pod::default(),
            has_probe: None,
            schedule,
            calendar,
            after: None,
            gates: Ok(Arc::default()),
            request_timeout: None,
            models: Vec::new(),
            pods: Vec::new(),
            measured_startup: None,
            adopted,
        }
    }

    /// Why no route reaches it, as far as that is known, or else what is wanted. A sentence without its full stop.
    pub fn why_unreached(&self) -> String {
        match (self.not_followed.as_slice(), &self.no_entrance) {
            ([], Some(why)) => why.to_string(),
            ([], None) => format!(
                "wants an {} that a Gateway of Envoy Gateway accepts, with a backendRef to a Service that selects its pods",
                RouteRef::MEASURED
            ),
            (refused, _) => Few(refused).to_string(),
        }
    }
}

/// A workload that has to be Ready before another one opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prerequisite {
    /// The workload
    pub id: WorkloadId,
    /// Whether all the replicas that it wants are Ready, and it wants at least one
    pub ready: bool,
}

/// Replicas as the workload's own object reports them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    /// `spec.replicas`
    pub wanted: u32,
    /// `status.readyReplicas`
    pub ready: u32,
}

/// The part of an Envoy cluster's traffic that belongs to one backend.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterShare {
    /// The cluster of the whole rule, as it stands in the label `envoy_cluster_name`:
    /// `httproute/default/task-route/rule/0`
    pub cluster: Arc<str>,
    /// The backend's own cluster, which Envoy Gateway creates instead of the rule's when it splits the rule (a backend with
    /// filters, mixed endpoints, or one that is invalid or has no endpoint): `…/rule/0/backend/1`. All its traffic is the
    /// backend's. Both clusters are always read, because Envoy Gateway switches between them at run time.
    pub split: Option<Arc<str>>,
    /// This backend's share of the rule's cluster, from 0 to 1
    pub share: f64,
    /// This workload's share of the backend, from 0 to 1: below 1 when several workloads are behind one Service. Multiplies both
    /// clusters.
    pub of_backend: f64,
    /// The route that the cluster comes from
    pub route: RouteRef,
    /// The Service behind it
    pub service: ServiceId,
    /// The proxy sets that have the rule (`gateway/NAMESPACE/NAME`, `gatewayclass/NAME`): only their reports apply to its clusters,
    /// and only they are waited for. Empty where the sets are unknown, which stands for any proxy.
    pub fleets: Arc<[Arc<str>]>,
    /// Identity of the rule behind the clusters' names: a hash of its backends, without their weights. Names contain indexes, so
    /// after a rule is inserted the same name belongs to another rule, and earlier measurements under it are void.
    pub meaning: u64,
    /// Whether Envoy Gateway has yet to process the current version of the route
    /// (`status.parents[].conditions[].observedGeneration`): until then the proxies do not have these names.
    pub pending: bool,
}

/// The reason why a backend gets requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A rule sends them to it
    #[default]
    Backend,
    /// A rule sends copies of them to it
    Mirror,
    /// A SecurityPolicy has Envoy ask it whether a request may pass
    ExtAuth,
    /// An EnvoyExtensionPolicy has Envoy pass each request through it
    ExtProc,
}

impl Role {
    /// Whether it is the role of most backends, [`Self::Backend`].
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
    pub fn is_backend(&self) -> bool {
        *self == Self::Backend
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Backend => "backend",
            Self::Mirror => "mirror",
            Self::ExtAuth => "ext-auth",
            Self::ExtProc => "ext-proc",
        })
    }
}

/// An Envoy that carries traffic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Proxy {
    /// Namespace and name of its pod, or how it was named on the command line
    pub name: String,
    /// The address at which it serves `/stats/prometheus`
    pub stats: SocketAddr,
    /// Whether it gets new traffic. A proxy that does not may still carry open connections (it drains), but its silence means
    /// nothing.
    pub ready: bool,
    /// Its proxy set, by the key in the signal store for the traffic of its listeners
    pub fleet: Option<Arc<str>>,
}

impl Plan {
    /// All cluster shares in the Plan; a cluster may occur more than once.
    pub fn shares(&self) -> impl Iterator<Item = &ClusterShare> {
        self.services.values().flatten().chain(self.workloads.values().flat_map(|workload| &workload.traffic))
    }
}
