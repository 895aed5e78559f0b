//! The ScaledObject that a workload gets: a pure function of its Plan.

use std::collections::HashMap;

use serde_json::{Value, json};
use tidegate_core::{
    hash::fnv1a_32,
    intent::{APPLIED, Intent},
    key::Key,
    only_connections::OnlyConnections,
    plan::{ADOPTED_REPLICAS, Plan, PlannedWorkload, RELEASE},
    request_timeout::HoldTooShort,
    signal::Family,
    workload::{WorkloadId, WorkloadKind},
};

use super::{
    behavior::behavior,
    beside::about_beside,
    notice::WorkloadNotice,
    settings::Settings,
    triggers::{asks_tidegate, scaling_modifiers, triggers},
};

/// The label of Tidegate's own objects.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "tidegate");
/// The label for the workload's kind. The workload's name is the ScaledObject's own, or else found in `spec.scaleTargetRef`.
const KIND_LABEL: &str = "tidegate.dev/workload-kind";
/// KEDA names the HPA `keda-hpa-NAME`, which may have 63 characters.
const LONGEST_NAME: usize = 54;

/// The desired ScaledObject of a workload, and the notices to its owner.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaledObjectPlan {
    /// The ScaledObject; `None` when an existing one must stay as it is
    pub scaled_object: Option<Value>,
    /// Notices to the owner
    pub notices: Vec<WorkloadNotice>,
}

/// The ScaledObject of a workload, and the notices about it.
pub fn desired(id: &WorkloadId, name: &str, workload: &PlannedWorkload, settings: &Settings) -> ScaledObjectPlan {
    let intent = match &workload.intent {
        Ok(intent) => intent,
        Err(problems) => {
            let notices = problems.iter().cloned().map(WorkloadNotice::InvalidAnnotations).collect();
            return ScaledObjectPlan { scaled_object: None, notices };
        }
    };
    if !workload.problems.is_empty() {
        let notices = workload.problems.iter().cloned().map(WorkloadNotice::InvalidAnnotations).collect();
        return ScaledObjectPlan { scaled_object: None, notices };
    }
    let mut notices = Vec::new();
    if intent.paused {
        notices.push(WorkloadNotice::Paused);
        return ScaledObjectPlan { scaled_object: None, notices };
    }
    if let Some(problem) = asks_tidegate(intent, &settings.scaler) {
        notices.push(WorkloadNotice::InvalidAnnotations(problem));
        return ScaledObjectPlan { scaled_object: None, notices };
    }
    if intent.is_silent() {
        notices.push(WorkloadNotice::NoSignal);
        return ScaledObjectPlan { scaled_object: None, notices };
    }
    let has = |family| intent.targets.iter().any(|target| target.signal.family() == family);
    if workload.traffic.is_empty() && has(Family::Traffic) {
        notices.push(WorkloadNotice::NoRoute(workload.why_unreached()));
    }
    notices.extend(OnlyConnections::of(workload).map(WorkloadNotice::OnlyConnections));
    if workload.models.is_empty() && has(Family::Tokens) {
        notices.push(WorkloadNotice::NoModel);
    }
    notices.extend(about_hours(workload));
    notices.extend(about_beside(intent, &workload.pod, settings.tolerance));
    if workload.adopted == Some(0) {
        notices.push(WorkloadNotice::Stopped);
    }
    let min = intent.lowest().min(workload.adopted.unwrap_or(u32::MAX));
    if let Err(reason) = &workload.gates
        && min > intent.bounds.min
    {
        notices.push(WorkloadNotice::ZeroNeedsWakeSignal(reason.clone()));
    }
    if intent.held && workload.has_probe == Some(false) {
        notices.push(WorkloadNotice::NoReadinessProbe);
    }
    let says_how_long = workload.applied.contains_key(Key::HoldTimeout.annotation());
    notices.extend(about_hold(workload, intent).filter(|_| says_how_long));
    ScaledObjectPlan { scaled_object: Some(build(id, name, workload, intent, min, settings)), notices }
}

/// Whether a route gives up on requests that are still held. It does no harm as long as pods start in time.
pub(super) fn about_hold(workload: &PlannedWorkload, intent: &Intent) -> Option<WorkloadNotice> {
    HoldTooShort::for_hold(intent.hold.timeout, workload.request_timeout.as_deref())
        .map(|short| WorkloadNotice::HoldMayTimeOut(Box::new(short)))
}

fn about_hours(workload: &PlannedWorkload) -> impl Iterator<Item = WorkloadNotice> {
    let schedule = workload.schedule.as_ref();
    // Missing holidays of a Calendar are reported on the Calendar.
    let holidays = schedule.is_some_and(|schedule| schedule.calendar.hours.mention_holidays());
    let holidays = (holidays && workload.calendar.is_none()).then_some(WorkloadNotice::NoHolidays);
    let after = schedule.and_then(|schedule| schedule.after.clone()).filter(|_| workload.after.is_none());
    holidays.into_iter().chain(after.map(WorkloadNotice::NothingToWaitFor))
}

/// The name of a workload's ScaledObject: the workload's own, and with its kind where that is taken. A name that is too long for KEDA
/// is cut and made unique by a hash.
pub fn name(id: &WorkloadId, taken: bool) -> String {
    let name = if taken { format!("{}-{}", id.name, id.kind.kubectl_name()) } else { id.name.clone() };
    if name.len() <= LONGEST_NAME {
        return name;
    }
    let kept = name[..LONGEST_NAME - 9].trim_end_matches(['-', '.']);
    format!("{kept}-{:08x}", fnv1a_32(&name))
}

/// Every workload with the name of its ScaledObject. Where workloads of several kinds have one name, the first kind keeps it; but a
/// Deployment yields to a Rollout, which most often replaces it.
pub fn names(plan: &Plan) -> impl Iterator<Item = (&WorkloadId, String)> {
    let mut keeps = HashMap::new();
    // Workloads of a namespace are ordered by kind.
    for WorkloadId { namespace, kind, name } in plan.workloads.keys() {
        let keeper = keeps.entry((namespace, name)).or_insert(*kind);
        if *kind == WorkloadKind::Rollout {
            *keeper = *kind;
        }
    }
    plan.workloads.keys().map(move |id| (id, name(id, keeps.get(&(&id.namespace, &id.name)) != Some(&id.kind))))
}

fn build(
    id: &WorkloadId,
    name: &str,
    workload: &PlannedWorkload,
    intent: &Intent,
    min: u32,
    settings: &Settings,
) -> Value {
    let mut object = json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {
            "name": name,
            "namespace": id.namespace,
            "labels": { MANAGED_BY.0: MANAGED_BY.1, KIND_LABEL: id.kind.as_str(), RELEASE: settings.release },
        },
        "spec": {
            "scaleTargetRef": { "apiVersion": id.kind.api_version(), "kind": id.kind.as_str(), "name": id.name },
            "minReplicaCount": min,
            "maxReplicaCount": intent.bounds.max.max(workload.adopted.unwrap_or(0)),
            // No `fallback`: it would start one replica of every sleeping workload as soon as the scaler does not answer. Without
            // one an error changes nothing, at zero or above (`isError` in RequestScale of KEDA's scale_scaledobjects.go).
            "advanced": { "horizontalPodAutoscalerConfig": { "behavior": behavior(intent, settings.tolerance) } },
            "triggers": triggers(id, intent, &settings.scaler),
        },
    });
    if let Some(modifiers) = scaling_modifiers(intent) {
        object["spec"]["advanced"]["scalingModifiers"] = modifiers;
    }
    // Above zero KEDA leaves everything to the HPA, and warns of intervals that have no effect.
    if min == 0 {
        object["spec"]["pollingInterval"] = json!(settings.scaler.polling_interval.as_secs());
        object["spec"]["cooldownPeriod"] = json!(intent.zero_after().as_secs());
        // Until the trigger was active once, KEDA applies no cool-down: a workload under load whose signal happens to be 0 would be
        // at zero within seconds (`scaleToZeroOrIdle` in its scale_scaledobjects.go).
        // Not for hours alone: closed hours are not a signal that is about to rise again.
        if !intent.is_hours_only() {
            object["spec"]["initialCooldownPeriod"] = object["spec"]["cooldownPeriod"].clone();
        }
    }
    object["metadata"]["annotations"] = json!({ APPLIED: json!(workload.applied).to_string() });
    if let Some(adopted) = workload.adopted {
        object["metadata"]["annotations"][ADOPTED_REPLICAS] = adopted.to_string().into();
    }
    if !workload.uid.is_empty() {
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": id.kind.api_version(),
            "kind": id.kind.as_str(),
            "name": id.name,
            "uid": workload.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        }]);
    }
    object
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tidegate_core::{calendar::Calendars, gate::NotHeld, intent::Annotations, plan::Replicas};

    use super::*;
    use crate::{Objects, scaling::ScalerEndpoint};

    fn settings(tolerance: bool) -> Settings {
        let address = "tidegate.tidegate-system.svc:9090".to_owned();
        let scaler = ScalerEndpoint { address, ..ScalerEndpoint::default() };
        Settings { scaler, release: "tidegate-system.tidegate".to_owned(), tolerance }
    }

    fn deployment(name: &str) -> WorkloadId {
        WorkloadId { namespace: "shop".to_owned(), kind: WorkloadKind::Deployment, name: name.to_owned() }
    }

    fn desired_for(annotations: &[(&str, &str)]) -> ScaledObjectPlan {
        desired_with(annotations, &settings(true))
    }

    fn desired_with(annotations: &[(&str, &str)], settings: &Settings) -> ScaledObjectPlan {
        let annotations: Annotations =
            annotations.iter().map(|(key, value)| (format!("tidegate.dev/{key}"), (*value).to_owned())).collect();
        let intent = Intent::of_workload(&annotations, "shop", &Annotations::new()).map(Option::unwrap);
        let replicas = Replicas { wanted: 1, ready: 1 };
        let id = deployment("api");
        let none = Calendars::new();
        let workload = PlannedWorkload::new(&id, "42".to_owned(), intent, Vec::new(), replicas, replicas.wanted, &none);
        let workload = PlannedWorkload { gates: Err(NotHeld::Disabled), ..workload };
        desired(&id, "api", &workload, settings)
    }

    fn spec(annotations: &[(&str, &str)]) -> Value {
        desired_for(annotations).scaled_object.unwrap()["spec"].clone()
    }

    #[test]
    fn everything_that_decides_the_hpa_stands_in_the_object() {
        let spec = spec(&[
            ("requests-per-second", "100"),
            ("concurrency", "8"),
            ("min-replicas", "2"),
            ("max-replicas", "30"),
            ("scale-down-after", "2m"),
        ]);
        assert_eq!((&spec["minReplicaCount"], &spec["maxReplicaCount"]), (&json!(2), &json!(30)));
        let behavior = &spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
        assert_eq!(behavior["scaleDown"]["stabilizationWindowSeconds"], 120);
        assert_eq!(behavior["scaleUp"]["tolerance"], "0");
        let trigger = json!([{"type": "external-push", "name": "tidegate", "metricType": "AverageValue", "metadata": {
            "scalerAddress": "tidegate.tidegate-system.svc:9090", "workload": "deployment/api",
            "requestsPerSecond": "100", "concurrency": "8"}}]);
        assert_eq!(spec["triggers"], trigger);
    }

    #[test]
    fn nothing_is_at_zero_before_it_was_watched_for_as_long_as_it_is_to_be_held() {
        let query = [("prometheus-query", "x"), ("prometheus-target", "1"), ("scale-down-after", "10m")];
        let asleep = spec(&[&query[..], &[("min-replicas", "0")]].concat());
        assert_eq!((&asleep["initialCooldownPeriod"], &asleep["cooldownPeriod"]), (&json!(600), &json!(600)));
        assert_eq!(spec(&query)["initialCooldownPeriod"], Value::Null, "KEDA warns of what means nothing");
        let hours = [("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC")];
        assert_eq!(spec(&hours)["initialCooldownPeriod"], Value::Null, "closed is closed");
    }

    #[test]
    fn off_hours_replicas_are_the_number_where_nothing_but_hours_decides_and_the_cap_where_traffic_does() {
        let hours =
            [("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC"), ("off-hours-replicas", "2"), ("min-replicas", "5")];
        assert_eq!(spec(&hours)["minReplicaCount"], 2);
        assert_eq!(spec(&[&hours[..], &[("requests-per-second", "100")]].concat())["minReplicaCount"], 1);
    }

    #[test]
    fn an_error_starts_nothing_that_sleeps() {
        let spec = spec(&[("prometheus-query", "x"), ("prometheus-target", "1"), ("min-replicas", "0")]);
        assert_eq!(spec["fallback"], Value::Null);
    }

    #[test]
    fn zero_is_kept_where_a_query_can_wake_it_and_one_where_nothing_can() {
        let sleeps = spec(&[("prometheus-query", "x"), ("prometheus-target", "1"), ("min-replicas", "0")]);
        assert_eq!((&sleeps["minReplicaCount"], &sleeps["cooldownPeriod"]), (&json!(0), &json!(300)));
        let stays = desired_for(&[("requests-per-second", "100"), ("min-replicas", "0")]);
        assert_eq!(stays.scaled_object.unwrap()["spec"]["minReplicaCount"], 1);
        assert!(stays.notices.contains(&WorkloadNotice::ZeroNeedsWakeSignal(NotHeld::Disabled)));
    }

    #[test]
    fn pods_that_requests_wake_are_reported_where_nothing_says_when_they_can_serve() {
        let told = |minimum: &str, containers: &Value| {
            let annotations = json!({"tidegate.dev/requests-per-second": "100", "tidegate.dev/min-replicas": minimum});
            let mut objects = Objects::default();
            objects.set_activates(true);
            for object in [
                json!({"apiVersion": "apps/v1", "kind": "Deployment",
                    "metadata": {"name": "api", "namespace": "shop", "annotations": annotations},
                    "spec": {"template": {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": containers}}}}),
                json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "shop"},
                    "spec": {"selector": {"app": "api"}, "ports": [{"port": 80}]}}),
            ] {
                objects.apply(object).unwrap();
            }
            let (plan, id) = (objects.plan(), deployment("api"));
            let notices = desired(&id, "api", &plan.workloads[&id], &settings(true)).notices;
            notices.contains(&WorkloadNotice::NoReadinessProbe)
        };
        let probe = json!({"httpGet": {"path": "/", "port": 8080}});
        assert!(told("0", &json!([{"name": "api"}])));
        assert!(told("0", &json!([{"name": "api", "livenessProbe": probe, "readinessProbe": null}])));
        assert!(!told("0", &json!([{"name": "api", "readinessProbe": probe}, {"name": "log"}])));
        assert!(!told("0", &json!([{"name": "api", "startupProbe": probe}])));
        assert!(!told("1", &json!([{"name": "api"}])), "nothing is held for it");
        assert!(!told("0", &json!([])), "its containers are not known");
    }

    #[test]
    fn keda_is_told_of_tls_and_where_its_certificates_are() {
        let address = "tidegate:9090".to_owned();
        let scaler = ScalerEndpoint {
            address,
            tls: true,
            authentication: Some("tidegate".to_owned()),
            ..ScalerEndpoint::default()
        };
        let desired = desired_with(&[("requests-per-second", "100")], &Settings { scaler, ..settings(true) });
        let trigger = desired.scaled_object.unwrap()["spec"]["triggers"][0].clone();
        assert_eq!(trigger["metadata"]["enableTLS"], "true");
        assert_eq!(trigger["authenticationRef"], json!({"name": "tidegate", "kind": "ClusterTriggerAuthentication"}));
    }

    #[test]
    fn cpu_beside_hours_lets_the_workload_sleep_and_cpu_alone_keeps_one() {
        let hours = [("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC"), ("cpu", "70%")];
        assert_eq!(spec(&hours)["minReplicaCount"], 0);
        assert_eq!(spec(&[("cpu", "70%")])["minReplicaCount"], 1);
        let asked = desired_for(&[("cpu", "70%"), ("min-replicas", "0")]);
        assert_eq!(
            asked.scaled_object.unwrap()["spec"]["minReplicaCount"],
            1,
            "KEDA refuses 0 beside CPU and memory alone"
        );
        assert!(asked.notices.contains(&WorkloadNotice::ZeroNeedsWakeSignal(NotHeld::Disabled)));
    }

    #[test]
    fn the_owner_is_told_that_kedas_triggers_are_held_by_a_pause() {
        let hours = [("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC"), ("cpu", "70%"), ("off-hours-replicas", "2")];
        assert_eq!(desired_for(&hours).notices, [WorkloadNotice::PausedByHours(2, "cpu".to_owned())]);
        assert_eq!(desired_for(&hours[..3]).notices, [], "at zero CPU keeps nothing up");
    }

    #[test]
    fn a_tolerance_that_hpas_do_not_take_is_told() {
        let asked = [("cpu", "70%"), ("tolerance", "5%")];
        assert_eq!(desired_with(&asked, &settings(false)).notices, [WorkloadNotice::NoTolerance]);
        assert_eq!(desired_for(&asked).notices, []);
        let as_without = [("cpu", "70%"), ("tolerance", "10%")];
        assert_eq!(desired_with(&as_without, &settings(false)).notices, [], "every HPA has that one");
    }

    #[test]
    fn a_trigger_that_asks_tidegate_itself_leaves_the_scaled_object_as_it_is() {
        let text = "[{type: external-push, name: x, metadata: {scalerAddress: 'tidegate.tidegate-system:9090'}}]";
        let ScaledObjectPlan { scaled_object, notices } = desired_for(&[("keda-triggers", text)]);
        assert_eq!(scaled_object, None);
        assert!(notices[0].to_string().contains("the trigger x asks Tidegate itself"), "{notices:?}");
    }

    #[test]
    fn a_long_name_is_cut_the_same_in_every_version() {
        let long = "a-deployment-whose-name-is-so-long-that-kedas-hpa-would-not-fit";
        assert_eq!(name(&deployment(long), false), "a-deployment-whose-name-is-so-long-that-kedas-28b9e053");
    }

    proptest! {
        #[test]
        fn names_fit_keda_and_stay_apart(one in "[a-z]([a-z0-9.-]{0,80}[a-z0-9])?", other in "[a-z]([a-z0-9.-]{0,80}[a-z0-9])?") {
            let (short, same) = (name(&deployment(&one), false), name(&deployment(&one), false));
            prop_assert!(short.len() <= LONGEST_NAME && short == same, "{short}");
            prop_assert!(one == other || short != name(&deployment(&other), false));
            prop_assert!(one.len() > LONGEST_NAME || short == one);
        }
    }
    #[test]
    fn only_what_may_be_at_zero_is_polled_and_as_often_as_was_set() {
        let polled = |settings: &Settings, min| {
            let annotations = [("kafka-lag", "10"), ("kafka-group", "billing"), ("min-replicas", min)];
            desired_with(&annotations, settings).scaled_object.unwrap()["spec"]["pollingInterval"].clone()
        };
        let scaler = ScalerEndpoint { polling_interval: Duration::from_secs(2), ..ScalerEndpoint::default() };
        let often = Settings { scaler, ..settings(true) };
        assert_eq!([polled(&settings(true), "0"), polled(&often, "0")], [json!(15), json!(2)]);
        assert_eq!(polled(&often, "1"), Value::Null);
    }
}
