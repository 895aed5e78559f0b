//! `tidegate render`: the ScaledObjects of manifests, without a cluster.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tidegate_core::{plan::Plan, workload::WorkloadId};

use super::{
    no_effect::no_effect,
    notice::WorkloadNotice,
    others::Scalers,
    scaled_object::{ScaledObjectPlan, about_hold, names},
    settings::Settings,
};
use crate::Objects;

/// The ScaledObjects and notices for some manifests.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rendered {
    /// Ordered by namespace and name
    pub scaled_objects: Vec<Value>,
    /// Notices that would be reported to the owners of workloads as events
    pub notices: Vec<(WorkloadId, WorkloadNotice)>,
}

/// The ScaledObjects that the operator would apply for the Plan of these objects, and the notices that it would report at this
/// instant.
pub fn render(objects: &Objects, plan: &Plan, settings: &Settings, now: DateTime<Utc>) -> Rendered {
    let mut rendered = Rendered::default();
    let scalers = Scalers::of(objects);
    for (id, name) in names(plan) {
        let Some(workload) = plan.workloads.get(id) else { continue };
        let place = scalers.place(id, name, workload, settings);
        let ScaledObjectPlan { scaled_object, notices } = place.desired(id, workload, settings);
        // Files do not show how long a start takes, so this is said where the operator would wait for the first one.
        let hold = workload.intent.as_ref().ok().and_then(|intent| about_hold(workload, intent));
        let hold = hold.filter(|hold| scaled_object.is_some() && !notices.contains(hold));
        let took_over = place.takeover.filter(|_| scaled_object.is_some()).and_then(|takeover| takeover.notice());
        rendered.scaled_objects.extend(scaled_object.filter(|_| workload.adopted != Some(0)));
        rendered.notices.extend(notices.into_iter().chain(hold).chain(took_over).map(|notice| (id.clone(), notice)));
    }
    rendered.notices.extend(no_effect(plan, now).into_iter().map(|(id, what)| (id, WorkloadNotice::NoEffect(what))));
    rendered
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        fixture::{deployment, gateway, objects, route, service},
        scaling::ScalerEndpoint,
    };

    fn rendered(other: Option<Value>, annotations: &Value) -> (usize, Vec<String>, bool) {
        let mut objects = Objects::default();
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "api", "namespace": "shop", "annotations": annotations}, "spec": {"replicas": 2}});
        for object in [Some(deployment), other].into_iter().flatten() {
            assert!(objects.apply(object).unwrap());
        }
        let settings = Settings {
            scaler: ScalerEndpoint::default(),
            release: "tidegate-system.tidegate".to_owned(),
            tolerance: true,
        };
        let now = "2026-03-02T12:00:00Z".parse().unwrap();
        let rendered = render(&objects, &objects.plan(), &settings, now);
        let wrong = rendered.notices.iter().any(|(_, notice)| notice.is_error());
        let notices = rendered.notices.iter().map(|(id, notice)| format!("{id}: {notice}")).collect();
        (rendered.scaled_objects.len(), notices, wrong)
    }

    fn scaler(api_version: &str, kind: &str, labels: &Value) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "api", "namespace": "shop", "labels": labels},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}}})
    }

    #[test]
    fn what_something_else_scales_is_refused_as_the_operator_refuses_it() {
        let traffic = json!({"tidegate.dev/prometheus-query": "x", "tidegate.dev/prometheus-target": "1"});
        assert_eq!(rendered(None, &traffic), (1, vec![], false));
        for (api_version, kind) in [("keda.sh/v1alpha1", "ScaledObject"), ("autoscaling/v2", "HorizontalPodAutoscaler")]
        {
            let (objects, notices, wrong) = rendered(Some(scaler(api_version, kind, &json!({}))), &traffic);
            assert_eq!((objects, notices.len(), wrong), (0, 1, true), "{notices:?}");
            assert!(notices[0].contains(&format!("{kind} api scales it already")), "{notices:?}");
        }
    }

    #[test]
    fn a_scaled_object_of_tidegate_is_in_the_way_only_of_another_release() {
        let traffic = json!({"tidegate.dev/prometheus-query": "x", "tidegate.dev/prometheus-target": "1"});
        let labels =
            |release: &str| json!({"app.kubernetes.io/managed-by": "tidegate", "tidegate.dev/release": release});
        let of = |release: &str| rendered(Some(scaler("keda.sh/v1alpha1", "ScaledObject", &labels(release))), &traffic);
        assert_eq!(of("tidegate-system.tidegate"), (1, vec![], false));
        let (objects, notices, wrong) = of("other.tidegate");
        assert_eq!((objects, wrong), (0, true));
        assert!(notices[0].contains("is of another release of Tidegate, other.tidegate"), "{notices:?}");
    }

    #[test]
    fn what_is_taken_over_is_not_in_the_way_and_what_cannot_be_is_refused() {
        let adopting = |scaler: &str| json!({"tidegate.dev/prometheus-query": "x", "tidegate.dev/prometheus-target": "1", "tidegate.dev/adopt": scaler});
        let hpa = || Some(scaler("autoscaling/v2", "HorizontalPodAutoscaler", &json!({})));
        let theirs = || Some(scaler("keda.sh/v1alpha1", "ScaledObject", &json!({})));
        for (other, name) in [(hpa(), "hpa/api"), (theirs(), "scaledobject/api")] {
            let (objects, notices, wrong) = rendered(other, &adopting(name));
            assert_eq!((objects, notices.len(), wrong), (1, 1, false), "{notices:?}");
            assert!(
                notices[0].contains(&format!("{name} is Tidegate's from now on")),
                "the operator's event: {notices:?}"
            );
            assert!(notices[0].contains("If it stands in Git or in a chart, remove it there"), "{notices:?}");
        }
        let mut other = hpa();
        if let Some(other) = &mut other {
            other["spec"]["scaleTargetRef"]["name"] = json!("web");
        }
        let (objects, notices, wrong) = rendered(other, &adopting("hpa/api"));
        assert_eq!((objects, wrong), (0, true));
        assert!(notices[0].contains("hpa/api scales Deployment web"), "{notices:?}");
    }

    #[test]
    fn a_workload_is_paused_beside_whatever_scales_it() {
        let paused = json!({"tidegate.dev/requests-per-second": "1", "tidegate.dev/paused": "true"});
        for other in [
            scaler("keda.sh/v1alpha1", "ScaledObject", &json!({})),
            scaler("autoscaling/v2", "HorizontalPodAutoscaler", &json!({})),
        ] {
            let (objects, notices, wrong) = rendered(Some(other), &paused);
            assert_eq!((objects, notices.len(), wrong), (0, 1, false), "{notices:?}");
            assert!(notices[0].contains("paused is true"), "{notices:?}");
        }
    }

    #[test]
    fn requests_behind_a_tcp_route_alone_are_reported_with_the_key_that_counts_there() {
        const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";
        let object = |api_version: &str, kind: &str, spec: Value| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "db", "namespace": "shop"}, "spec": spec});
        let notices = |key: &str| {
            let pods = json!({"metadata": {"labels": {"app": "db"}}});
            let mut deployment = object("apps/v1", "Deployment", json!({"template": pods}));
            deployment["metadata"]["annotations"] = json!({key: "10"});
            let listener = json!({"name": "tcp", "protocol": "TCP", "port": 5432});
            let rule = json!({"backendRefs": [{"name": "db", "port": 5432}]});
            let mut objects = Objects::default();
            for object in [
                deployment,
                object("v1", "Service", json!({"selector": {"app": "db"}, "ports": [{"port": 5432}]})),
                object(GATEWAY_API, "Gateway", json!({"gatewayClassName": "eg", "listeners": [listener]})),
                object(GATEWAY_API, "TCPRoute", json!({"parentRefs": [{"name": "db"}], "rules": [rule]})),
            ] {
                assert!(objects.apply(object).unwrap());
            }
            let settings = Settings { scaler: ScalerEndpoint::default(), release: "t.t".to_owned(), tolerance: true };
            let rendered = render(&objects, &objects.plan(), &settings, Utc::now());
            rendered.notices.iter().map(|(_, notice)| notice.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(notices("tidegate.dev/connections"), Vec::<String>::new());
        let [notice] = &notices("tidegate.dev/requests-per-second")[..] else { panic!("one notice") };
        assert!(notice.contains("only TCPRoute shop/db leads to it"), "{notice}");
    }

    #[test]
    fn hours_pause_the_scaled_object_that_is_there() {
        let hours = json!({"tidegate.dev/hours": "Mo-Fr 08:00-18:00", "tidegate.dev/timezone": "UTC"});
        let other = scaler("keda.sh/v1alpha1", "ScaledObject", &json!({}));
        assert_eq!(rendered(Some(other), &hours), (0, vec![], false));
    }

    #[test]
    fn from_files_it_is_said_once_that_a_route_gives_up_before_the_hold_is_over() {
        let told = |annotations: &Value, rule: &Value| {
            let mut annotations = annotations.clone();
            annotations["tidegate.dev/concurrency"] = "8".into();
            annotations["tidegate.dev/min-replicas"] = "0".into();
            let rule = std::slice::from_ref(rule);
            let all = [deployment("api", &annotations), service("api"), gateway(), route("HTTPRoute", rule)];
            let objects = objects(all);
            let settings = Settings {
                scaler: ScalerEndpoint::default(),
                release: "tidegate-system.tidegate".to_owned(),
                tolerance: true,
            };
            let rendered = render(&objects, &objects.plan(), &settings, "2026-03-02T12:00:00Z".parse().unwrap());
            assert_eq!(rendered.scaled_objects.len(), 1);
            assert!(rendered.notices.iter().all(|(_, notice)| !notice.is_error()));
            rendered.notices.into_iter().map(|(_, notice)| notice.to_string()).collect::<Vec<_>>()
        };
        for (annotations, hold) in [(json!({}), "60 s"), (json!({"tidegate.dev/hold-timeout": "2m"}), "120 s")] {
            let told = told(&annotations, &json!({}));
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains(&format!("held for {hold}")) && told[0].contains("after 15 s"), "{told:?}");
        }
        assert_eq!(told(&json!({}), &json!({"timeouts": {"request": "60s"}})), [""; 0]);
        assert_eq!(told(&json!({"tidegate.dev/hold-timeout": "15s"}), &json!({})), [""; 0]);
    }
}
