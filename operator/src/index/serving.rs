//! The pods of workloads that serve a model: where their metrics are, which are starting, and how long that takes.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use tidegate_core::{
    intent::Intent,
    model::ServingPod,
    workload::{WorkloadId, WorkloadKind},
};

use super::{Objects, kind::Kind, objects::ObjectError, plan::namespace_defaults};

/// How many of the last pods say how long a start takes.
const STARTS: usize = 20;
/// Where vLLM serves.
const USUAL_PORT: u16 = 8000;

#[derive(Debug, Default)]
pub(super) struct ServingPods(BTreeMap<WorkloadId, OfWorkload>);

#[derive(Debug, Default)]
struct OfWorkload {
    pods: BTreeMap<String, ServingPod>,
    /// The last starts: the pod's UID, and what it took
    starts: VecDeque<(String, Duration)>,
}

/// The workloads whose own pods matter, with the labels that select these, as `kubectl -l` takes them.
pub(super) fn workloads(objects: &Objects) -> BTreeMap<WorkloadId, String> {
    let mut found = BTreeMap::new();
    for kind in [WorkloadKind::Deployment, WorkloadKind::StatefulSet] {
        for (namespace, names) in objects.workloads(kind) {
            let defaults = namespace_defaults(objects, namespace);
            for (name, workload) in names {
                let intent = Intent::of_workload(&workload.metadata.annotations, namespace, defaults);
                let serves = matches!(intent, Ok(Some(intent)) if intent.model.is_some());
                let selector = &workload.spec.selector.match_labels;
                let labels: Vec<_> = selector.iter().map(|(label, value)| format!("{label}={value}")).collect();
                if serves && !labels.is_empty() {
                    let id = WorkloadId { namespace: namespace.clone(), kind, name: name.clone() };
                    found.insert(id, labels.join(","));
                }
            }
        }
    }
    found
}

impl ServingPods {
    pub(super) fn apply(&mut self, id: &WorkloadId, object: Value) -> Result<(), ObjectError> {
        let pod: Pod = serde_json::from_value(object).map_err(|error| ObjectError::Malformed {
            kind: Kind::Pod,
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            reason: error.to_string(),
        })?;
        let known = self.0.entry(id.clone()).or_default();
        if pod.is_over() {
            known.pods.remove(&pod.metadata.name);
            return Ok(());
        }
        if let Some(start) = pod.start()
            && !known.starts.iter().any(|(uid, _)| *uid == pod.metadata.uid)
        {
            known.starts.push_back((pod.metadata.uid.clone(), start));
            if known.starts.len() > STARTS {
                known.starts.pop_front();
            }
        }
        known.pods.insert(pod.metadata.name.clone(), pod.serving());
        Ok(())
    }

    /// What starts took is remembered when the pods are gone.
    pub(super) fn keep(&mut self, id: &WorkloadId, keep: impl Fn(&str) -> bool) {
        if let Some(known) = self.0.get_mut(id) {
            known.pods.retain(|name, _| keep(name));
        }
    }

    /// The pods of a workload, and the median of their last starts.
    pub(super) fn of(&self, id: &WorkloadId) -> (Vec<ServingPod>, Option<Duration>) {
        let Some(known) = self.0.get(id) else { return (Vec::new(), None) };
        let mut starts: Vec<_> = known.starts.iter().map(|(_, start)| *start).collect();
        starts.sort_unstable();
        (known.pods.values().cloned().collect(), starts.get(starts.len() / 2).copied())
    }
}

/// A pod, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: PodMeta,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodMeta {
    name: String,
    uid: String,
    annotations: BTreeMap<String, String>,
    creation_timestamp: Option<DateTime<Utc>>,
    deletion_timestamp: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    ports: Vec<ContainerPort>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerPort {
    name: Option<String>,
    container_port: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    conditions: Vec<Condition>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Condition {
    r#type: String,
    status: String,
    last_transition_time: Option<DateTime<Utc>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    restart_count: u32,
}

impl Pod {
    fn is_over(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    fn ready(&self) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.r#type == "Ready" && condition.status == "True")
    }

    /// From its creation until it was ready. `None` when it is not, or when it was before: a restart moves that time.
    fn start(&self) -> Option<Duration> {
        if self.status.container_statuses.iter().any(|status| status.restart_count > 0) {
            return None;
        }
        (self.ready()?.last_transition_time? - self.metadata.creation_timestamp?).to_std().ok()
    }

    fn serving(&self) -> ServingPod {
        let annotation = |key: &str| self.metadata.annotations.get(key).map(String::as_str);
        let ports = || self.spec.containers.iter().flat_map(|container| &container.ports);
        let named =
            |name: &str| ports().find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port);
        let port = annotation("prometheus.io/port").and_then(|port| port.parse().ok());
        let port = port.or_else(|| named("metrics")).or_else(|| named("http"));
        let port = port.or_else(|| ports().next().map(|port| port.container_port)).unwrap_or(USUAL_PORT);
        let address: Option<IpAddr> = self.status.pod_ip.parse().ok().filter(|_| self.status.phase == "Running");
        ServingPod {
            name: self.metadata.name.clone(),
            metrics: address.map(|address| SocketAddr::new(address, port)),
            path: Arc::from(annotation("prometheus.io/path").unwrap_or("/metrics")),
            ready: self.ready().is_some() && self.metadata.deletion_timestamp.is_none(),
            created: self.metadata.creation_timestamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id() -> WorkloadId {
        WorkloadId { namespace: "llm".into(), kind: WorkloadKind::Deployment, name: "qwen".into() }
    }

    fn pod(name: &str, ready_after: Option<u32>) -> Value {
        let ready = ready_after.map(|seconds| {
            let at = format!("2026-03-02T08:{:02}:{:02}Z", seconds / 60, seconds % 60);
            json!({"type": "Ready", "status": "True", "lastTransitionTime": at})
        });
        json!({"metadata": {"name": name, "uid": name, "creationTimestamp": "2026-03-02T08:00:00Z"},
            "spec": {"containers": [{"ports": [{"containerPort": 9000}, {"name": "http", "containerPort": 8001}]}]},
            "status": {"phase": "Running", "podIP": "10.0.0.7", "conditions": ready.into_iter().collect::<Vec<_>>()}})
    }

    #[test]
    fn a_start_takes_what_the_median_of_the_last_pods_took_also_when_they_are_gone() {
        let mut pods = ServingPods::default();
        for (name, seconds) in [("a", 100), ("b", 300), ("c", 160)] {
            pods.apply(&id(), pod(name, Some(seconds))).unwrap();
            pods.apply(&id(), pod(name, Some(seconds + 60))).unwrap();
        }
        pods.apply(&id(), pod("d", None)).unwrap();
        let (known, start) = pods.of(&id());
        assert_eq!((known.len(), start), (4, Some(Duration::from_secs(160))));
        pods.keep(&id(), |_| false);
        assert_eq!(pods.of(&id()), (vec![], Some(Duration::from_secs(160))));
    }

    #[test]
    fn a_pod_that_restarted_says_nothing_about_starts_and_one_that_is_over_is_none() {
        let mut pods = ServingPods::default();
        let mut restarted = pod("a", Some(100));
        restarted["status"]["containerStatuses"] = json!([{"restartCount": 1}]);
        pods.apply(&id(), restarted).unwrap();
        assert_eq!(pods.of(&id()).1, None);
        let mut over = pod("a", None);
        over["status"]["phase"] = json!("Failed");
        pods.apply(&id(), over).unwrap();
        assert_eq!(pods.of(&id()).0, []);
    }

    #[test]
    fn metrics_are_where_the_annotations_say_or_the_port_that_is_named_so() {
        let serving = |pod: Value| serde_json::from_value::<Pod>(pod).unwrap().serving();
        let plain = serving(pod("a", None));
        assert_eq!((plain.metrics, &*plain.path, plain.ready), (Some(([10, 0, 0, 7], 8001).into()), "/metrics", false));
        let mut annotated = pod("a", Some(1));
        annotated["metadata"]["annotations"] = json!({"prometheus.io/port": "9100", "prometheus.io/path": "/m"});
        let annotated = serving(annotated);
        assert_eq!((annotated.metrics, &*annotated.path), (Some(([10, 0, 0, 7], 9100).into()), "/m"));
        assert!(annotated.ready);
    }
}
