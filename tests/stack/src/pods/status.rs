//! The status of a pod.

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use serde_json::{Value, json};

use crate::process::Status;

/// The address of the node, where nobody listens.
pub(super) const HOST_IP: &str = "192.0.2.10";

/// A container as its pod's status shows it.
pub(super) struct ContainerState {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) is_sidecar: bool,
    pub(super) process: Status,
    pub(super) started_at: Timestamp,
    pub(super) ready: bool,
}

/// The status of a pod that could not be started yet.
pub(super) fn waiting(pod: &Pod, why: &str) -> Value {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| {
        json!({
            "name": container.name,
            "image": container.image,
            "imageID": "",
            "ready": false,
            "restartCount": 0,
            "state": { "waiting": { "reason": "CreateContainerConfigError", "message": why } },
        })
    });
    json!({ "status": { "phase": "Pending", "containerStatuses": containers.collect::<Vec<_>>() } })
}

/// The status of a running pod. `ready_since` is the time when it last became ready or stopped being so.
pub(super) fn running(ip: &str, since: Timestamp, ready_since: Timestamp, containers: &[ContainerState]) -> Value {
    let ready = is_ready(containers);
    let condition = |kind: &str, status: bool, at: Timestamp| {
        let status = if status { "True" } else { "False" };
        json!({ "type": kind, "status": status, "lastTransitionTime": seconds(at) })
    };
    let statuses = |sidecars: bool| {
        let those = containers.iter().filter(|state| state.is_sidecar == sidecars);
        those.map(container).collect::<Vec<_>>()
    };
    json!({ "status": {
        "phase": "Running",
        "hostIP": HOST_IP,
        "hostIPs": [{ "ip": HOST_IP }],
        "podIP": ip,
        "podIPs": [{ "ip": ip }],
        "startTime": seconds(since),
        "conditions": [
            condition("PodScheduled", true, since),
            condition("Initialized", true, since),
            condition("ContainersReady", ready, ready_since),
            condition("Ready", ready, ready_since),
        ],
        "initContainerStatuses": statuses(true),
        "containerStatuses": statuses(false),
    }})
}

pub(super) fn is_ready(containers: &[ContainerState]) -> bool {
    containers.iter().all(|container| container.ready)
}

fn container(state: &ContainerState) -> Value {
    let running = state.process.pid.is_some();
    let now = match (running, &state.process.last_exit) {
        (true, _) => json!({ "running": { "startedAt": seconds(state.started_at) } }),
        (false, how) => {
            let how = how.as_deref().unwrap_or("not started");
            json!({ "waiting": { "reason": "CrashLoopBackOff", "message": format!("it ended: {how}") } })
        }
    };
    json!({
        "name": state.name,
        "image": state.image,
        "imageID": state.image,
        "started": running,
        "ready": state.ready,
        "restartCount": state.process.restarts,
        "state": now,
    })
}

/// A time as Kubernetes writes it, without fractions of a second.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_ready_when_all_its_containers_are() {
        let container = |ready| ContainerState {
            name: "c".to_owned(),
            image: "task-api".to_owned(),
            is_sidecar: false,
            process: Status { pid: Some(7), ..Status::default() },
            started_at: Timestamp::UNIX_EPOCH,
            ready,
        };
        let ready = |containers: &[ContainerState]| {
            let status = running("10.245.0.10", Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, containers);
            status["status"]["conditions"][3]["status"].as_str().unwrap().to_owned()
        };
        assert_eq!(ready(&[container(true), container(true)]), "True");
        assert_eq!(ready(&[container(true), container(false)]), "False");
    }

    #[test]
    fn times_are_written_as_kubernetes_reads_them() {
        assert_eq!(seconds(Timestamp::UNIX_EPOCH), "1970-01-01T00:00:00Z");
    }
}
