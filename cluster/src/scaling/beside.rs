//! Notices about KEDA's own triggers and the behaviour of the HPA.

use tidegate_core::{
    behavior::Tolerance,
    beside::{KedaTrigger, Pod},
    intent::Intent,
};

use super::notice::WorkloadNotice;

/// What the owner of a workload should know of them.
pub(super) fn about_beside<'a>(
    intent: &'a Intent,
    pod: &'a Pod,
    takes_tolerance: bool,
) -> impl Iterator<Item = WorkloadNotice> + use<'a> {
    let unmeasurable = intent.beside.unmeasurable(pod).into_iter().map(WorkloadNotice::NotMeasurable);
    let tolerance = intent.behavior.tolerance.filter(|asked| !takes_tolerance && *asked != Tolerance::OF_HPA);
    let tolerance = tolerance.map(|_| WorkloadNotice::NoTolerance);
    unmeasurable.chain(tolerance).chain(pause(intent))
}

fn pause(intent: &Intent) -> Option<WorkloadNotice> {
    let schedule = intent.schedule.as_ref().filter(|_| intent.sleeps_by_pause())?;
    let formula = intent.beside.formula.iter().map(|_| "a formula");
    let names: Vec<_> = intent.beside.triggers.iter().map(KedaTrigger::label).chain(formula).collect();
    Some(WorkloadNotice::PausedByHours(schedule.off_hours_replicas.unwrap_or(0), names.join(", ")))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};
    use tidegate_core::event::Notice;

    use crate::{
        Objects,
        scaling::{ScalerEndpoint, Settings, render},
    };

    /// The reasons of the notices to the owner of a Deployment with this pod, scaled on CPU and on memory.
    fn reasons(annotations: &Value, pod: &Value) -> Vec<&'static str> {
        let mut objects = Objects::default();
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "api", "annotations": annotations},
            "spec": {"template": {"metadata": {"labels": {"app": "api"}}, "spec": pod}}});
        assert!(objects.apply(deployment).unwrap());
        let settings = Settings { scaler: ScalerEndpoint::default(), release: "here".to_owned(), tolerance: true };
        let rendered = render(&objects, &objects.plan(), &settings, DateTime::UNIX_EPOCH);
        assert_eq!(rendered.scaled_objects.len(), 1, "what Tidegate cannot know is left to KEDA");
        rendered.notices.iter().map(|(_, notice)| notice.reason().as_str()).collect()
    }

    #[test]
    fn requests_are_looked_for_wherever_kubernetes_takes_them_from() {
        let cpu = |kind: &str, cpu: Value| json!({"name": "app", "resources": {kind: {"cpu": cpu}}});
        let asked = json!({"tidegate.dev/cpu": "70%"});
        for (pod, told) in [
            (json!({"containers": [cpu("requests", "500m".into())]}), &[][..]),
            (json!({"containers": [cpu("limits", "1".into())]}), &[]),
            (json!({"containers": [cpu("limits", 1.into())]}), &[]),
            (json!({"containers": [{"name": "app"}], "resources": {"requests": {"cpu": "1"}}}), &[]),
            (json!({"containers": [cpu("requests", "500m".into())], "initContainers": [{"name": "migrate"}]}), &[]),
            (json!({"containers": [{"name": "app"}]}), &["NotMeasurable"]),
            (json!({"containers": [cpu("requests", "0".into())]}), &["NotMeasurable"]),
            (json!({"containers": [cpu("requests", "1".into()), {"name": "proxy"}]}), &["NotMeasurable"]),
            (
                json!({"containers": [cpu("requests", "1".into())], "initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}),
                &["NotMeasurable"],
            ),
        ] {
            assert_eq!(reasons(&asked, &pod), told, "{pod}");
        }
    }

    #[test]
    fn one_container_may_be_named_and_must_be_there() {
        let pod =
            json!({"containers": [{"name": "app", "resources": {"requests": {"memory": "1Gi"}}}, {"name": "proxy"}]});
        let asked = |container: &str| json!({"tidegate.dev/memory": "80%", "tidegate.dev/container": container});
        assert!(reasons(&asked("app"), &pod).is_empty());
        assert_eq!(reasons(&asked("proxy"), &pod), ["NotMeasurable"]);
        assert_eq!(reasons(&asked("ap"), &pod), ["NotMeasurable"]);
    }
}
