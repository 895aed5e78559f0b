//! Workloads, the pods of proxies, and Namespaces.

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::{Deserialize, de::IgnoredAny};
use tidegate_core::{
    beside::{self, Has},
    intent::Annotations,
    plan::Replicas,
    quantity,
    workload::Requests,
};

use super::{ASLEEP, Labels, Meta, port::PortNames};

/// A Deployment, a StatefulSet, or another workload in [its shape](crate::shape).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Workload {
    pub(crate) metadata: WorkloadMeta,
    pub(crate) spec: WorkloadSpec,
    pub(crate) status: WorkloadStatus,
}

/// Metadata of a workload. There are many, so of their own labels only the one that is read is kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct WorkloadMeta {
    pub(crate) uid: String,
    #[serde(deserialize_with = "super::known_annotations")]
    pub(crate) annotations: Annotations,
    /// The field manager that wrote `spec.replicas` last: the `manager` of that entry in `metadata.managedFields`
    #[serde(rename = "managedFields", deserialize_with = "manager_of_replicas")]
    pub(crate) replicas_by: Option<Box<str>>,
    /// Whether it carries the label [`ASLEEP`]
    #[serde(rename = "labels", deserialize_with = "is_asleep")]
    pub(crate) asleep: bool,
}

fn is_asleep<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Labels::deserialize(deserializer)?.get(ASLEEP).is_some())
}

/// The last manager of `spec.replicas`. Entries of other fields are skipped.
fn manager_of_replicas<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Entry {
        manager: Box<str>,
        time: String,
        fields_v1: Fields,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Fields {
        #[serde(rename = "f:spec")]
        spec: OfSpec,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct OfSpec {
        #[serde(rename = "f:replicas")]
        replicas: Option<IgnoredAny>,
    }
    let entries = Vec::<Entry>::deserialize(deserializer)?;
    let of_replicas = entries.into_iter().filter(|entry| entry.fields_v1.spec.replicas.is_some());
    Ok(of_replicas.max_by(|a, b| a.time.cmp(&b.time)).map(|entry| entry.manager))
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct WorkloadSpec {
    pub(crate) replicas: u32,
    pub(crate) selector: Selector,
    pub(crate) template: Template,
    /// The pods of an Argo Rollout; none for other kinds
    #[serde(rename = "rolloutPods")]
    pub(crate) rollout: Option<Box<RolloutPods>>,
    ordinals: Ordinals,
}

impl Default for WorkloadSpec {
    fn default() -> Self {
        let (selector, template) = (Selector::default(), Template::default());
        Self { replicas: 1, selector, template, rollout: None, ordinals: Ordinals::default() }
    }
}

/// What an Argo Rollout says of its pods beyond a template of its own.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RolloutPods {
    /// The Deployment that has the template (`spec.workloadRef`)
    pub(crate) deployment: Option<Box<str>>,
    /// The values of [`ROLLOUT_HASH`] of its stable and its canary pods; empty when not known
    pub(crate) hashes: Vec<Box<str>>,
}

/// The label that Argo Rollouts puts on the pods of each ReplicaSet, and into the selectors of the Services that a Rollout names.
pub(crate) const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";

/// `ordinals` of a StatefulSet: the index of its first pod, 0 unless set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Ordinals {
    start: u32,
}

/// A selector of pods, reduced to its plain labels.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Selector {
    pub(crate) match_labels: Labels,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Template {
    pub(crate) metadata: TemplateMeta,
    spec: PodSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    resources: PodResources,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    name: Box<str>,
    resources: Resources,
    ports: PortNames,
    /// `Always` makes a side-car of an init container
    restart_policy: RestartPolicy,
    readiness_probe: Option<IgnoredAny>,
    startup_probe: Option<IgnoredAny>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
enum RestartPolicy {
    Always,
    #[default]
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Resources {
    requests: ResourceList,
    #[serde(deserialize_with = "given")]
    limits: Has,
}

impl Resources {
    /// Which requests there are; a limit is one too.
    fn has(&self) -> Has {
        Has {
            cpu: self.limits.cpu || self.requests.cpu > 0.0,
            memory: self.limits.memory || self.requests.memory > 0.0,
        }
    }
}

/// The requests of a pod as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
struct PodResources {
    #[serde(deserialize_with = "given")]
    requests: Has,
    #[serde(deserialize_with = "given")]
    limits: Has,
}

/// Of these, it matters only whether they are there: that keeps the views of ten thousand workloads small.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Has, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Given {
        cpu: serde_json::Value,
        memory: serde_json::Value,
    }
    let is_some = |quantity: &serde_json::Value| match quantity {
        serde_json::Value::String(text) => quantity::parse(text).is_some_and(|n| n > 0.0),
        serde_json::Value::Number(number) => number.as_f64().is_some_and(|n| n > 0.0),
        _ => false,
    };
    let Given { cpu, memory } = Given::deserialize(deserializer)?;
    Ok(Has { cpu: is_some(&cpu), memory: is_some(&memory) })
}

/// Requests in cores and bytes. A quantity that cannot be read counts as 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
struct ResourceList {
    #[serde(deserialize_with = "amount")]
    cpu: f64,
    #[serde(deserialize_with = "amount")]
    memory: f64,
}

fn amount<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(quantity::parse(&Quantity::deserialize(deserializer)?.0).unwrap_or(0.0))
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct TemplateMeta {
    pub(crate) labels: Labels,
    /// Annotations of Tidegate, which are not read here
    #[serde(rename = "annotations", deserialize_with = "super::stray")]
    pub(crate) stray: Box<[Box<str>]>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct WorkloadStatus {
    /// Pods that exist, ready or not
    pub(crate) replicas: u32,
    pub(crate) ready_replicas: u32,
}

impl PodSpec {
    /// The containers that run as long as the pod: its own, and side-cars.
    fn running(&self) -> impl Iterator<Item = &Container> {
        let is_side_car = |container: &&Container| container.restart_policy == RestartPolicy::Always;
        self.containers.iter().chain(self.init_containers.iter().filter(is_side_car))
    }
}

impl Workload {
    /// The resource requests of one of its pods.
    pub(crate) fn requests(&self) -> Requests {
        let containers = || self.spec.template.spec.containers.iter().map(|container| &container.resources.requests);
        Requests {
            cpu_cores: containers().map(|requests| requests.cpu).sum(),
            memory_bytes: containers().map(|requests| requests.memory).sum(),
        }
    }

    /// What its pods say of CPU and memory.
    pub(crate) fn pod(&self) -> beside::Pod {
        let spec = &self.spec.template.spec;
        let PodResources { requests, limits } = spec.resources;
        let whole = Has { cpu: requests.cpu || limits.cpu, memory: requests.memory || limits.memory };
        let of =
            |container: &Container| beside::Container { name: container.name.clone(), has: container.resources.has() };
        beside::Pod { containers: spec.running().map(of).collect(), whole }
    }

    /// The wanted and the ready replicas.
    pub(crate) fn replicas(&self) -> Replicas {
        Replicas { wanted: self.spec.replicas, ready: self.status.ready_replicas }
    }

    /// The Deployment from whose template an Argo Rollout makes its pods.
    pub(crate) fn referenced_deployment(&self) -> Option<&str> {
        self.spec.rollout.as_ref()?.deployment.as_deref()
    }

    /// Whether pods of this Argo Rollout may have this value of [`ROLLOUT_HASH`]. Before it has a status, any is assumed to be its.
    pub(crate) fn may_have_hash(&self, hash: &str) -> bool {
        let rollout = self.spec.rollout.as_ref();
        rollout.is_some_and(|pods| pods.hashes.is_empty() || pods.hashes.iter().any(|known| **known == *hash))
    }

    /// The labels of its pods.
    pub(crate) fn pod_labels(&self) -> &Labels {
        &self.spec.template.metadata.labels
    }

    /// Whether a container of its pods has a TCP port of this name (`FindPort` in Kubernetes' `pkg/api/v1/pod/util.go`).
    pub(crate) fn has_port(&self, name: &str) -> bool {
        self.spec.template.spec.running().any(|container| container.ports.contains(name))
    }

    /// Whether a container of its pods has a readiness or startup probe; `None` where its containers are not known.
    pub(crate) fn has_probe(&self) -> Option<bool> {
        let mut containers = self.spec.template.spec.running();
        let is_probed = |container: &Container| container.readiness_probe.or(container.startup_probe).is_some();
        self.has_containers().then(|| containers.any(is_probed))
    }

    /// Whether the containers of its pods are known.
    pub(crate) fn has_containers(&self) -> bool {
        !self.spec.template.spec.containers.is_empty()
    }

    /// The index of the first pod of a StatefulSet.
    pub(crate) fn first_ordinal(&self) -> u32 {
        self.spec.ordinals.start
    }
}

/// A CronJob.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct CronJob {
    pub(crate) metadata: WorkloadMeta,
    pub(crate) spec: CronJobSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct CronJobSpec {
    pub(crate) suspend: bool,
    job_template: JobTemplate,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct JobTemplate {
    spec: JobSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct JobSpec {
    template: Template,
}

impl CronJob {
    /// Annotations of Tidegate on its pods, where they are not read.
    pub(crate) fn stray_on_pods(&self) -> &[Box<str>] {
        &self.spec.job_template.spec.template.metadata.stray
    }
}

/// A ReplicaSet, kept only when its pods are labelled as Envoy Gateway's proxies.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ReplicaSet {
    pub(crate) metadata: Meta,
}

/// A Namespace.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Namespace {
    pub(crate) metadata: Meta,
}

/// A pod, kept only when it is one of Envoy Gateway's proxies.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Pod {
    pub(crate) metadata: Meta,
    spec: ProxySpec,
    status: PodStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ProxySpec {
    containers: Vec<Named>,
    init_containers: Vec<Named>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
}

impl Pod {
    /// Whether it has a container of this name. A side-car may be an init container that keeps running.
    pub(crate) fn has_container(&self, name: &str) -> bool {
        let mut all = self.spec.containers.iter().chain(&self.spec.init_containers);
        all.any(|container| container.name == name)
    }

    /// The pod's address while its containers run. A pod without one cannot be scraped.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        if self.status.phase == "Running" { self.status.pod_ip.parse().ok() } else { None }
    }

    /// Whether the pod gets new traffic. A terminating pod may still be ready, but only drains.
    pub(crate) fn is_ready(&self) -> bool {
        let ready = |condition: &Condition| condition.r#type == "Ready" && condition.status == "True";
        self.metadata.deleted.is_none() && self.status.conditions.iter().any(ready)
    }
}
