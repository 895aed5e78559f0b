//! Workloads, the pods of proxies, and Namespaces.

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube_quantity::ParsedQuantity;
use serde::Deserialize;
use tidegate_core::{intent::Annotations, plan::Replicas, workload::Requests};

use super::{ASLEEP, Labels, Meta};

/// A Deployment or StatefulSet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Workload {
    pub(in crate::index) metadata: WorkloadMeta,
    pub(in crate::index) spec: WorkloadSpec,
    pub(in crate::index) status: WorkloadStatus,
}

/// There are many workloads, so of their own labels only what is read is kept.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct WorkloadMeta {
    pub(in crate::index) uid: String,
    #[serde(deserialize_with = "super::known_annotations")]
    pub(in crate::index) annotations: Annotations,
    /// Who wrote `spec.replicas` last: the `manager` of that entry in `metadata.managedFields`
    #[serde(rename = "managedFields", deserialize_with = "manager_of_replicas")]
    pub(in crate::index) replicas_by: Option<Box<str>>,
    /// Whether it carries the label [`ASLEEP`]
    #[serde(rename = "labels", deserialize_with = "is_asleep")]
    pub(in crate::index) asleep: bool,
}

fn is_asleep<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Labels::deserialize(deserializer)?.get(ASLEEP).is_some())
}

/// All other fields, and whoever manages them, are read over.
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
        replicas: Option<serde::de::IgnoredAny>,
    }
    let entries = Vec::<Entry>::deserialize(deserializer)?;
    let of_replicas = entries.into_iter().filter(|entry| entry.fields_v1.spec.replicas.is_some());
    Ok(of_replicas.max_by(|a, b| a.time.cmp(&b.time)).map(|entry| entry.manager))
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(in crate::index) struct WorkloadSpec {
    pub(in crate::index) replicas: u32,
    pub(in crate::index) selector: Selector,
    pub(in crate::index) template: Template,
}

impl Default for WorkloadSpec {
    fn default() -> Self {
        Self { replicas: 1, selector: Selector::default(), template: Template::default() }
    }
}

/// Of a selector of pods only the plain labels are read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct Selector {
    pub(in crate::index) match_labels: Labels,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Template {
    pub(in crate::index) metadata: TemplateMeta,
    spec: PodSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Container {
    resources: Resources,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Resources {
    requests: ResourceList,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ResourceList {
    cpu: Option<Quantity>,
    memory: Option<Quantity>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct TemplateMeta {
    pub(in crate::index) labels: Labels,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct WorkloadStatus {
    /// Pods that exist, ready or not
    pub(in crate::index) replicas: u32,
    pub(in crate::index) ready_replicas: u32,
}

impl Workload {
    /// What one of its pods requests. A quantity that cannot be read counts nothing.
    pub(in crate::index) fn requests(&self) -> Requests {
        let value = |quantity: &Option<Quantity>| {
            let parsed = ParsedQuantity::try_from(quantity.as_ref()?).ok();
            parsed?.to_bytes_f64().filter(|value| value.is_finite() && *value >= 0.0)
        };
        let containers = || self.spec.template.spec.containers.iter().map(|container| &container.resources.requests);
        Requests {
            cpu_cores: containers().filter_map(|requests| value(&requests.cpu)).sum(),
            memory_bytes: containers().filter_map(|requests| value(&requests.memory)).sum(),
        }
    }

    /// How many it wants, and how many are ready.
    pub(in crate::index) fn replicas(&self) -> Replicas {
        Replicas { wanted: self.spec.replicas, ready: self.status.ready_replicas }
    }

    /// The labels of its pods.
    pub(in crate::index) fn pod_labels(&self) -> &Labels {
        &self.spec.template.metadata.labels
    }
}

/// A CronJob.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct CronJob {
    pub(in crate::index) metadata: WorkloadMeta,
    pub(in crate::index) spec: CronJobSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct CronJobSpec {
    pub(in crate::index) suspend: bool,
}

/// A ReplicaSet, kept only when its pods are labelled as Envoy Gateway's proxies.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct ReplicaSet {
    pub(in crate::index) metadata: Meta,
}

/// A Namespace.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Namespace {
    pub(in crate::index) metadata: Meta,
}

/// A pod, kept only when it is one of Envoy Gateway's proxies.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Pod {
    pub(in crate::index) metadata: Meta,
    spec: ProxySpec,
    status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ProxySpec {
    containers: Vec<Named>,
    init_containers: Vec<Named>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
}

impl Pod {
    /// Whether it has a container of this name. A side-car may be an init container that goes on.
    pub(in crate::index) fn has_container(&self, name: &str) -> bool {
        let mut all = self.spec.containers.iter().chain(&self.spec.init_containers);
        all.any(|container| container.name == name)
    }

    /// The pod's address while its containers run. A pod without one answers nothing.
    pub(in crate::index) fn address(&self) -> Option<IpAddr> {
        if self.status.phase == "Running" { self.status.pod_ip.parse().ok() } else { None }
    }

    /// Whether the pod gets new traffic. One that terminates may still be ready, but only drains.
    pub(in crate::index) fn is_ready(&self) -> bool {
        let ready = |condition: &Condition| condition.r#type == "Ready" && condition.status == "True";
        self.metadata.deleted.is_none() && self.status.conditions.iter().any(ready)
    }
}
