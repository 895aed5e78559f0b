//! The pods of workloads that serve a model: the address of their metrics, whether they are starting, and the duration of a start.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use k8s_openapi::{
    api::core::v1::{ContainerPort, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};
use tidegate_core::{llm::ServingPod, workload::WorkloadId};

/// Number of recent starts from which the duration of a start is estimated.
const STARTS: usize = 20;
/// Parts of names by which containers that serve models are recognised.
const SERVERS: [&str; 5] = ["vllm", "sglang", "tgi", "llama", "model"];
/// The port on which vLLM serves.
const USUAL_PORT: u16 = 8000;

#[derive(Debug, Default)]
pub(super) struct ServingPods(BTreeMap<WorkloadId, OfWorkload>);

#[derive(Debug, Default)]
struct OfWorkload {
    pods: BTreeMap<String, ServingPod>,
    /// Recent starts: the pod's UID, and the duration
    starts: VecDeque<(String, Duration)>,
}

impl ServingPods {
    /// Adds or updates a pod, or removes one that has ended. Returns whether that changed anything.
    pub(super) fn apply(&mut self, id: &WorkloadId, pod: &Pod) -> bool {
        let known = self.0.entry(id.clone()).or_default();
        let (name, uid) = (name(pod), pod.metadata.uid.clone().unwrap_or_default());
        if is_over(pod) {
            return known.pods.remove(&name).is_some();
        }
        let mut changed = false;
        if let Some(start) = start(pod)
            && !known.starts.iter().any(|(known, _)| *known == uid)
        {
            known.starts.push_back((uid, start));
            if known.starts.len() > STARTS {
                known.starts.pop_front();
            }
            changed = true;
        }
        let pod = serving(pod);
        changed |= known.pods.get(&name) != Some(&pod);
        known.pods.insert(name, pod);
        changed
    }

    /// Forgets the pods for which `keep` returns false, but not how long they took to start. Returns whether that changed anything.
    pub(super) fn keep(&mut self, id: &WorkloadId, keep: impl Fn(&str) -> bool) -> bool {
        let Some(known) = self.0.get_mut(id) else { return false };
        let before = known.pods.len();
        known.pods.retain(|name, _| keep(name));
        known.pods.len() != before
    }

    /// The pods of a workload, and the median duration of its recent starts.
    pub(super) fn of(&self, id: &WorkloadId) -> (Vec<ServingPod>, Option<Duration>) {
        let Some(known) = self.0.get(id) else { return (Vec::new(), None) };
        let mut starts: Vec<_> = known.starts.iter().map(|(_, start)| *start).collect();
        starts.sort_unstable();
        (known.pods.values().cloned().collect(), starts.get(starts.len() / 2).copied())
    }
}

fn is_over(pod: &Pod) -> bool {
    matches!(phase(pod), Some("Succeeded" | "Failed"))
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// The `Ready` condition of a pod, if it is true.
fn ready(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Time from the pod's creation until it was ready. `None` when it is not ready or has restarted: a restart moves that time.
fn start(pod: &Pod) -> Option<Duration> {
    let containers = pod.status.as_ref()?.container_statuses.iter().flatten();
    if containers.into_iter().any(|status| status.restart_count > 0) {
        return None;
    }
    let ready = ready(pod)?.last_transition_time.as_ref()?;
    (utc(ready)? - created(pod)?).to_std().ok()
}

fn created(pod: &Pod) -> Option<DateTime<Utc>> {
    utc(pod.metadata.creation_timestamp.as_ref()?)
}

fn utc(time: &Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.0.as_second(), 0)
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

fn serving(pod: &Pod) -> ServingPod {
    let annotation = |key: &str| Some(pod.metadata.annotations.as_ref()?.get(key)?.as_str());
    let containers = || pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = || containers().flat_map(|container| container.ports.iter().flatten());
    let number = |port: &ContainerPort| u16::try_from(port.container_port).ok();
    let named = |name: &str| ports().find(|port| port.name.as_deref() == Some(name)).and_then(number);
    let port = annotation("prometheus.io/port").and_then(|port| port.parse().ok());
    let port = port.or_else(|| named("metrics")).or_else(|| named("http"));
    // A side-car may be listed before the server, so its port would be the first.
    let mut servers = containers().filter(|container| SERVERS.iter().any(|server| container.name.contains(server)));
    let of_server = || servers.find_map(|container| container.ports.iter().flatten().next().and_then(number));
    let usual = || ports().filter_map(number).find(|port| *port == USUAL_PORT);
    let port = port.or_else(of_server).or_else(usual).or_else(|| ports().next().and_then(number));
    let port = port.unwrap_or(USUAL_PORT);
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse::<IpAddr>().ok());
    ServingPod {
        name: name(pod),
        metrics: address.filter(|_| phase(pod) == Some("Running")).map(|address| SocketAddr::new(address, port)),
        path: Arc::from(annotation("prometheus.io/path").unwrap_or("/metrics")),
        ready: ready(pod).is_some() && pod.metadata.deletion_timestamp.is_none(),
        created: created(pod),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};
    use serde_json::json;

    use super::*;

    fn id() -> WorkloadId {
        WorkloadId {
            namespace: "llm".into(),
            kind: tidegate_core::workload::WorkloadKind::Deployment,
            name: "qwen".into(),
        }
    }

    fn pod(name: &str, ready_after: Option<u32>) -> Pod {
        let ready = ready_after.map(|seconds| {
            let at = format!("2026-03-02T08:{:02}:{:02}Z", seconds / 60, seconds % 60);
            json!({"type": "Ready", "status": "True", "lastTransitionTime": at})
        });
        let ports = json!([{"containerPort": 9000}, {"name": "http", "containerPort": 8001}]);
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-03-02T08:00:00Z"},
            "spec": {"containers": [{"name": "model", "ports": ports}]},
            "status": {"phase": "Running", "podIP": "10.0.0.7", "conditions": ready.into_iter().collect::<Vec<_>>()},
        }))
        .unwrap()
    }

    fn status(pod: &mut Pod) -> &mut PodStatus {
        pod.status.get_or_insert_default()
    }

    #[test]
    fn a_start_takes_what_the_median_of_the_last_pods_took_also_when_they_are_gone() {
        let mut pods = ServingPods::default();
        for (name, seconds) in [("a", 100), ("b", 300), ("c", 160)] {
            pods.apply(&id(), &pod(name, Some(seconds)));
            pods.apply(&id(), &pod(name, Some(seconds + 60)));
        }
        pods.apply(&id(), &pod("d", None));
        let (known, start) = pods.of(&id());
        assert_eq!((known.len(), start), (4, Some(Duration::from_secs(160))));
        pods.keep(&id(), |_| false);
        assert_eq!(pods.of(&id()), (vec![], Some(Duration::from_secs(160))));
    }

    #[test]
    fn a_pod_that_restarted_says_nothing_about_starts_and_one_that_is_over_is_none() {
        let mut pods = ServingPods::default();
        let mut restarted = pod("a", Some(100));
        status(&mut restarted).container_statuses =
            Some(vec![ContainerStatus { restart_count: 1, ..ContainerStatus::default() }]);
        pods.apply(&id(), &restarted);
        assert_eq!(pods.of(&id()).1, None);
        let mut over = pod("a", None);
        status(&mut over).phase = Some("Failed".into());
        pods.apply(&id(), &over);
        assert_eq!(pods.of(&id()).0, []);
    }

    #[test]
    fn a_side_car_that_stands_before_the_server_is_not_asked() {
        let port = |containers: serde_json::Value| {
            let mut pod = pod("a", None);
            pod.spec.get_or_insert_default().containers = serde_json::from_value(containers).unwrap();
            serving(&pod).metrics.unwrap().port()
        };
        let side_car = json!({"name": "istio-proxy", "ports": [{"containerPort": 15090}]});
        let server = |name: &str, number: u16| json!({"name": name, "ports": [{"containerPort": number}]});
        assert_eq!(port(json!([side_car, server("vllm-openai", 9000)])), 9000);
        assert_eq!(port(json!([side_car, server("main", 8000)])), 8000);
        assert_eq!(port(json!([server("main", 7000), side_car])), 7000);
        assert_eq!(port(json!([{"name": "main"}])), 8000);
    }

    #[test]
    fn metrics_are_where_the_annotations_say_or_the_port_that_is_named_so() {
        let plain = serving(&pod("a", None));
        assert_eq!((plain.metrics, &*plain.path, plain.ready), (Some(([10, 0, 0, 7], 8001).into()), "/metrics", false));
        let mut annotated = pod("a", Some(1));
        let annotations = [("prometheus.io/port", "9100"), ("prometheus.io/path", "/m")];
        annotated
            .metadata
            .annotations
            .get_or_insert_default()
            .extend(annotations.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let annotated = serving(&annotated);
        assert_eq!((annotated.metrics, &*annotated.path), (Some(([10, 0, 0, 7], 9100).into()), "/m"));
        assert!(annotated.ready);
    }
}
