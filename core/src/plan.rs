//! The Plan: which traffic reaches which workload, and what each workload's annotations ask for.
//!
//! The operator makes it from the cluster or from files, as a pure function of the objects that it sees; the scaler
//! reads it. A Plan is replaced as a whole and never changed in place.

use std::{collections::BTreeMap, fmt, net::SocketAddr, sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    calendar::Calendars,
    fleet::Fleet,
    ids::{RouteRef, ServiceId},
    intent::{Annotations, Intent},
    llm::{AiGateway, AiRule, ModelShare, ServingPod},
    problem::Problem,
    schedule::Schedule,
    workload::{Requests, WorkloadId},
};

/// Everything that the scaler has to know of the cluster.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The workloads whose annotations, or whose Namespace, make them Tidegate's
    pub workloads: BTreeMap<WorkloadId, PlannedWorkload>,
    /// The clusters of every Service that a route reaches, for hand-written ScaledObjects
    pub services: BTreeMap<ServiceId, Vec<ClusterShare>>,
    /// The proxies that carry the traffic
    pub proxies: Vec<Proxy>,
    /// The parts of proxies that count tokens
    pub ai_gateways: Vec<AiGateway>,
    /// The rules of AIGatewayRoutes that a Gateway accepts
    pub ai_rules: Vec<Arc<AiRule>>,
    /// The annotated Gateways, by the EnvoyProxy that says how many proxies they have
    pub fleets: Vec<Fleet>,
    /// The Calendars
    pub calendars: Calendars,
}

/// One annotated workload.
#[derive(Debug, Clone)]
pub struct PlannedWorkload {
    /// `metadata.uid`; empty when the workload comes from a file
    pub uid: String,
    /// What it asks for, or what is wrong with that
    pub intent: Result<Intent, Vec<Problem>>,
    /// What is wrong with its annotations while those that were applied before still apply
    pub problems: Vec<Problem>,
    /// The annotations that the intent was made of, its Namespace's among them
    pub applied: Annotations,
    /// The clusters that carry its traffic, with the part of each that is its own
    pub traffic: Vec<ClusterShare>,
    /// `spec.replicas` and `status.readyReplicas`
    pub replicas: Replicas,
    /// What one replica reserves
    pub requests: Requests,
    /// Its business hours
    pub schedule: Option<Arc<Schedule>>,
    /// The name of the Calendar that they are of
    pub calendar: Option<String>,
    /// What has to be Ready before it opens, if that exists
    pub after: Option<Prerequisite>,
    /// The models that it serves behind an AI gateway
    pub models: Vec<ModelShare>,
    /// Its pods, where they matter: those of a workload that serves a model
    pub pods: Vec<ServingPod>,
    /// How long its pods took until they were ready: the median of the last 20
    pub measured_startup: Option<Duration>,
    /// What it had when Tidegate found it, where that is its floor inside hours; 0 when somebody had stopped it
    pub adopted: Option<u32>,
}

/// The annotation of a ScaledObject that keeps what its workload had when Tidegate found it.
pub const ADOPTED_REPLICAS: &str = "tidegate.dev/adopted-replicas";

/// The label of a ScaledObject that names the release of Tidegate whose it is: of two in one cluster each leaves the other's
/// alone.
pub const RELEASE: &str = "tidegate.dev/release";

impl PlannedWorkload {
    /// A workload as its intent has it. `adopted` is what it had when Tidegate found it, which only some intents need.
    pub fn new(
        id: &WorkloadId,
        uid: String,
        intent: Result<Intent, Vec<Problem>>,
        traffic: Vec<ClusterShare>,
        replicas: Replicas,
        adopted: u32,
        calendars: &Calendars,
    ) -> Self {
        // A Calendar that is not there, or makes no sense, is one that is used all the same.
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
            replicas,
            requests: Requests::default(),
            schedule,
            calendar,
            after: None,
            models: Vec::new(),
            pods: Vec::new(),
            measured_startup: None,
            adopted,
        }
    }
}

/// What has to be Ready before another workload opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prerequisite {
    /// Which one
    pub id: WorkloadId,
    /// Whether all the replicas that it wants are Ready, and it wants some
    pub ready: bool,
}

/// Replicas as the workload's own object tells them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
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
    /// The backend's own cluster, which Envoy Gateway makes instead of the rule's when it splits the rule (a backend
    /// with filters, mixed endpoints, or one that is invalid or has no endpoint): `…/rule/0/backend/1`.
    /// Its traffic is all the backend's. Since the names flip at run time, both are always looked at.
    pub split: Option<Arc<str>>,
    /// The part of the rule's cluster that is this backend's, from 0 to 1
    pub share: f64,
    /// The part of the backend that is this workload's, from 0 to 1: below 1 when several workloads stand behind one
    /// Service. Multiplies both clusters.
    pub of_backend: f64,
    /// The route that the cluster comes from
    pub route: RouteRef,
    /// The Service behind it
    pub service: ServiceId,
    /// The sets of proxies that the rule is on (`gateway/NAMESPACE/NAME`, `gatewayclass/NAME`): only these speak for its
    /// clusters, and only these are waited for. Empty where that is not known, which stands for any proxy.
    pub fleets: Arc<[Arc<str>]>,
    /// What the clusters' names stand for: a hash of the rule's backends, without their weights. Names are made of indexes, so
    /// that after a rule was inserted the same name is another rule's, and what was measured under it says nothing.
    pub meaning: u64,
    /// Whether Envoy Gateway has yet to take in the route as it is now (`status.parents[].conditions[].observedGeneration`):
    /// until then the names are not those that the proxies have.
    pub pending: bool,
}

/// Why a backend gets requests.
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
    /// Whether it is what most backends are.
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
    /// Where it serves `/stats/prometheus`
    pub stats: SocketAddr,
    /// Whether it gets new traffic. One that does not may still carry what it has (it drains), but its silence means
    /// nothing.
    pub ready: bool,
    /// The set of proxies that it is one of, as what its listeners carry is kept among the clusters
    pub fleet: Option<Arc<str>>,
}

impl Plan {
    /// All shares of clusters that the Plan speaks of; a cluster may come more than once.
    pub fn shares(&self) -> impl Iterator<Item = &ClusterShare> {
        self.services.values().flatten().chain(self.workloads.values().flat_map(|workload| &workload.traffic))
    }
}
