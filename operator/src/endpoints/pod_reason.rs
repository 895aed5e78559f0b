//! Why no pod of a workload gets ready, from the status of its pods and of the workload itself.
//!
//! The clauses name no pod: all pods of a workload have the same trouble, and the next one has another name.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::{
    core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod},
    events::v1::Event,
};
use serde_json::Value;

/// Longest message of Kubernetes that is repeated, in bytes.
const LONGEST: usize = 300;
/// Events of an earlier start say nothing about this one.
const RECENT: TimeDelta = TimeDelta::minutes(2);

/// How much of a reason something is: the greatest of all containers and pods is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// It may just need more time
    Slow,
    /// It runs, and does not get ready
    NotReady,
    /// It cannot be placed
    NoPlace,
    /// It is not started
    NotStarted,
    /// It ends again and again
    Crash,
}

type Reason = (Weight, String);

/// The gravest reason of these pods, those that end left out.
pub(super) fn of_pods(pods: &[Pod]) -> Option<String> {
    let live = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    live.filter_map(of_pod).max_by_key(|(weight, _)| *weight).map(|(_, text)| text)
}

/// Why a Deployment or ReplicaSet creates no pods, such as a quota that is used up: its condition `ReplicaFailure`.
pub(super) fn of_workload(object: &Value) -> Option<String> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let failure = conditions.iter().find(|of| of["type"] == "ReplicaFailure" && of["status"] == "True")?;
    Some(not_created(failure["message"].as_str()?))
}

/// The same of a StatefulSet and other kinds, which report it by an event `FailedCreate` alone.
pub(super) fn of_events(events: &[Event], now: DateTime<Utc>) -> Option<String> {
    let failures = events.iter().filter_map(|event| Some((last_seen(event)?, event.note.as_deref()?)));
    let (_, message) = failures.filter(|(at, _)| now - at < RECENT).max_by_key(|(at, _)| *at)?;
    Some(not_created(message))
}

fn not_created(message: &str) -> String {
    format!("no pod of it can be created: {}", short(message))
}

/// Controllers write the times of either API.
fn last_seen(event: &Event) -> Option<DateTime<Utc>> {
    let of_series = event.series.as_ref().map(|series| series.last_observed_time.0.as_second());
    let of_core = || event.deprecated_last_timestamp.as_ref().map(|time| time.0.as_second());
    let of_event = || event.event_time.as_ref().map(|time| time.0.as_second());
    DateTime::from_timestamp(of_series.or_else(of_core).or_else(of_event)?, 0)
}

fn of_pod(pod: &Pod) -> Option<Reason> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Failed") {
        let message = status.message.as_deref().or(status.reason.as_deref()).unwrap_or("its containers ended");
        return Some((Weight::NotStarted, format!("its pod failed: {}", short(message))));
    }
    let scheduled = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    if let Some(condition) = scheduled.filter(|condition| condition.status == "False") {
        let message = condition.message.as_deref().or(condition.reason.as_deref()).unwrap_or("no reason is given");
        return Some((Weight::NoPlace, format!("its pod cannot be scheduled: {}", short(message))));
    }
    let init =
        status.init_container_statuses.iter().flatten().filter_map(|status| of_container("init container", status));
    let others = status.container_statuses.iter().flatten().filter_map(|status| of_container("container", status));
    init.chain(others).max_by_key(|(weight, _)| *weight)
}

fn of_container(what: &str, status: &ContainerStatus) -> Option<Reason> {
    let ContainerStatus { name, ready, state, last_state, .. } = status;
    let ContainerState { waiting, terminated, .. } = state.clone().unwrap_or_default();
    let ended = terminated.or_else(|| last_state.as_ref()?.terminated.clone());
    if *ready || ended.as_ref().is_some_and(|ended| ended.exit_code == 0 && what.starts_with("init")) {
        return None;
    }
    if let Some(waiting) = waiting {
        let reason = waiting.reason.unwrap_or_default();
        let message = waiting.message.map(|message| format!(": {}", short(&message))).unwrap_or_default();
        return Some(match &*reason {
            "ContainerCreating" | "PodInitializing" | "" => (
                Weight::Slow,
                format!(
                    "{what} {name} is being created: its image is pulled, or a volume or an earlier container is waited for"
                ),
            ),
            "CrashLoopBackOff" => (
                Weight::Crash,
                ended.map_or_else(
                    || format!("{what} {name} crashes (CrashLoopBackOff){message}"),
                    |ended| format!("{what} {name} crashes (CrashLoopBackOff): {}", how(&ended)),
                ),
            ),
            reason => (Weight::NotStarted, format!("{what} {name} is not started ({reason}){message}")),
        });
    }
    Some(match ended {
        Some(ended) => (Weight::Crash, format!("{what} {name} crashes: {}", how(&ended))),
        None if status.started == Some(false) => {
            (Weight::NotReady, format!("{what} {name} runs, and its startup probe has not succeeded yet"))
        }
        None => (Weight::NotReady, format!("{what} {name} runs, and its readiness probe does not succeed")),
    })
}

/// `it ended with exit code 137 (OOMKilled)`
fn how(ended: &ContainerStateTerminated) -> String {
    let reason = ended.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("it ended with exit code {}{reason}", ended.exit_code)
}

/// On one line, without a full stop, and not endless.
fn short(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = line.floor_char_boundary(LONGEST);
    let (kept, rest) = line.split_at(cut);
    if rest.is_empty() { kept.trim_end_matches('.').to_owned() } else { format!("{kept}…") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "api-1"}, "status": status})).unwrap()
    }

    #[test]
    fn the_newest_failure_to_create_a_pod_is_repeated_unless_it_is_of_an_earlier_start() {
        let now: DateTime<Utc> = "2026-03-02T12:00:00Z".parse().unwrap();
        let event = |more: Value| -> Event {
            let mut event = json!({"metadata": {"name": "e"}, "eventTime": null, "note": "exceeded quota: small"});
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(event).unwrap()
        };
        let quota = "no pod of it can be created: exceeded quota: small";
        let series = json!({"series": {"count": 2, "lastObservedTime": "2026-03-02T11:59:00.000000Z"}});
        let of_core = json!({"deprecatedLastTimestamp": "2026-03-02T11:59:30Z", "note": "a webhook said no"});
        let old = json!({"deprecatedLastTimestamp": "2026-03-02T11:57:59Z"});
        assert_eq!(of_events(&[event(series.clone())], now).as_deref(), Some(quota));
        let newest = of_events(&[event(of_core), event(series), event(old.clone())], now);
        assert_eq!(newest.as_deref(), Some("no pod of it can be created: a webhook said no"));
        assert_eq!(of_events(&[event(old), event(json!({}))], now), None);
    }

    fn container(state: &Value, last_state: &Value) -> Pod {
        let status = json!({"name": "api", "image": "a", "imageID": "", "ready": false, "restartCount": 0, "state": state,
            "lastState": last_state});
        pod(&json!({"phase": "Pending", "containerStatuses": [status]}))
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"waiting": {"reason": reason, "message": message}})
    }

    #[test]
    fn each_trouble_of_a_pod_is_told_in_its_own_words() {
        let exit = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let unschedulable = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient cpu."}]});
        let troubles = vec![
            (
                container(&waiting("ImagePullBackOff", "Back-off pulling image \"shop/api:9\""), &json!({})),
                "container api is not started (ImagePullBackOff): Back-off pulling image \"shop/api:9\"",
            ),
            (
                container(&waiting("CrashLoopBackOff", "back-off 10s"), &exit),
                "container api crashes (CrashLoopBackOff): it ended with exit code 137 (OOMKilled)",
            ),
            (
                container(&waiting("CrashLoopBackOff", "it ended: exit status: 2"), &json!({})),
                "container api crashes (CrashLoopBackOff): it ended: exit status: 2",
            ),
            (container(&exit, &json!({})), "container api crashes: it ended with exit code 137 (OOMKilled)"),
            (
                container(&json!({"running": {}}), &exit),
                "container api crashes: it ended with exit code 137 (OOMKilled)",
            ),
            (
                container(&json!({"running": {}}), &json!({})),
                "container api runs, and its readiness probe does not succeed",
            ),
            (pod(&unschedulable), "its pod cannot be scheduled: 0/3 nodes are available: 3 Insufficient cpu"),
            (
                pod(&json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."})),
                "its pod failed: The node was low on memory",
            ),
        ];
        for (pod, told) in troubles {
            assert_eq!(of_pods(&[pod]).as_deref(), Some(told));
        }
    }

    #[test]
    fn the_gravest_trouble_is_told_and_pods_that_end_and_init_containers_that_are_done_are_none() {
        let creating = container(&waiting("ContainerCreating", ""), &json!({}));
        let crashing = container(&waiting("CrashLoopBackOff", "x"), &json!({}));
        assert!(of_pods(&[creating.clone(), crashing.clone()]).unwrap().contains("crashes"));
        let mut ending = crashing;
        ending.metadata.deletion_timestamp = serde_json::from_value(json!("2026-03-02T08:00:00Z")).unwrap();
        assert!(of_pods(&[ending, creating]).unwrap().contains("is being created"));
        let done = json!({"name": "migrate", "image": "a", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0}}});
        let failed = json!({"name": "migrate", "image": "a", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 1}}});
        assert_eq!(of_pods(&[pod(&json!({"initContainerStatuses": [done]}))]), None);
        let told = of_pods(&[pod(&json!({"initContainerStatuses": [failed]}))]);
        assert_eq!(told.as_deref(), Some("init container migrate crashes: it ended with exit code 1"));
    }

    #[test]
    fn a_quota_that_is_used_up_is_told_by_the_workload_itself() {
        let message =
            "pods \"api-5d\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0";
        let failing = |status: &str| {
            json!({"status": {"conditions": [
            {"type": "Available", "status": "True"}, {"type": "ReplicaFailure", "status": status, "message": message}]}})
        };
        assert_eq!(of_workload(&failing("True")), Some(format!("no pod of it can be created: {message}")));
        assert_eq!(of_workload(&failing("False")), None);
        assert_eq!(of_workload(&json!({})), None);
    }

    proptest! {
        #[test]
        fn a_message_of_any_length_is_one_short_line(message in "(\\PC|\n|\t){0,800}") {
            let told = short(&message);
            prop_assert!(told.len() <= LONGEST + '…'.len_utf8() && !told.contains(['\n', '\t']));
        }
    }
}
