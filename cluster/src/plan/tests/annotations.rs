//! What the annotations of workloads, Namespaces and Calendars ask for.

use super::*;

#[test]
fn defaults_of_the_namespace_hold_for_what_is_in_it() {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop",
        "annotations": {"tidegate.dev/manage": "all", "tidegate.dev/max-replicas": "7",
            "tidegate.dev/hours": "Mo-Fr 08:00-18:00", "tidegate.dev/timezone": "Europe/Berlin"}}});
    let plan = plan_of([namespace, deployment("api", &json!({}), 1)]);
    let (id, workload) = plan.workloads.iter().next().unwrap();
    assert_eq!(id.to_string(), "deployment/api in namespace shop");
    assert_eq!(workload.intent.as_ref().unwrap().bounds.max, 7);
    assert_eq!((workload.uid.as_str(), workload.replicas), ("uid-api", Replicas { wanted: 1, ready: 1 }));
}

#[test]
fn hours_come_from_the_calendar_that_a_workload_names() {
    let calendar = |hours: &str| {
        json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Calendar", "metadata": {"name": "office"},
        "spec": {"timeZone": "Europe/Berlin", "hours": hours}})
    };
    let api = deployment("api", &json!({"tidegate.dev/calendar": "office"}), 1);
    let planned = |objects: Vec<Value>| plan_of(objects).workloads.into_values().next().unwrap();
    let known = planned(vec![api.clone(), calendar("Mo-Fr 08:00-18:00")]);
    assert_eq!(known.schedule.unwrap().calendar.hours.to_string(), "Mo-Fr 08:00-18:00");
    let problem = |workload: PlannedWorkload| workload.intent.unwrap_err()[0].to_string();
    assert!(problem(planned(vec![api.clone()])).contains("there is no Calendar office"));
    assert!(problem(planned(vec![api, calendar("always")])).contains("Calendar office cannot be used: spec.hours"));
}

#[test]
fn what_opens_after_another_knows_whether_that_is_ready() {
    let api = json!({"tidegate.dev/calendar": "office", "tidegate.dev/after": "deployment/db"});
    let calendar = json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Calendar", "metadata": {"name": "office"},
        "spec": {"timeZone": "Europe/Berlin", "hours": "24/7"}});
    for (db, ready) in
        [(None, None), (Some((2, 1)), Some(false)), (Some((2, 2)), Some(true)), (Some((0, 0)), Some(false))]
    {
        let mut objects = vec![deployment("api", &api, 1), calendar.clone()];
        objects.extend(db.map(|(wanted, ready)| {
            let mut db = deployment("db", &json!({}), ready);
            db["spec"]["replicas"] = json!(wanted);
            db
        }));
        let workload = plan_of(objects).workloads.into_values().next().unwrap();
        assert_eq!(workload.after.map(|after| after.ready), ready, "{db:?}");
    }
}

#[test]
fn wrong_annotations_are_planned_with_what_is_wrong() {
    let plan = plan_of([deployment("api", &json!({"tidegate.dev/max-replicas": "many"}), 1)]);
    assert!(plan.workloads.values().next().unwrap().intent.is_err());
}

/// A workload that was annotated as its ScaledObject records (`before`), and is annotated differently now.
fn annotated_anew(before: &[(&str, &str)], now: &[(&str, &str)]) -> PlannedWorkload {
    let of = |pairs: &[(&str, &str)]| -> Annotations {
        pairs.iter().map(|(key, value)| (format!("tidegate.dev/{key}"), (*value).to_owned())).collect()
    };
    let kept = json!({"tidegate.dev/applied": json!(of(before)).to_string(), ADOPTED_REPLICAS: "3"});
    let scaled_object = json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"name": "api", "namespace": "shop", "labels": {"app.kubernetes.io/managed-by": "tidegate"}, "annotations": kept},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop", "annotations": of(now)}, "spec": {"replicas": 0}});
    let mut plan = plan_of([scaled_object, deployment]);
    plan.workloads.pop_first().map(|(_, workload)| workload).expect("it is planned")
}

#[test]
fn annotations_that_make_no_sense_leave_the_hours_that_there_were_and_say_what_is_wrong() {
    let wrong: [&[(&str, &str)]; 4] = [
        &[("hours", "Mon-Fri 0800"), ("timezone", "UTC")],
        &[OFFICE[0], OFFICE[1], ("max-replica", "4")],
        &[OFFICE[0], OFFICE[1], ("min-replicas", "9"), ("max-replicas", "3")],
        &[("calendar", "gone")],
    ];
    for now in wrong {
        let workload = annotated_anew(&OFFICE, now);
        let schedule = workload.schedule.as_ref().expect("its hours go on");
        assert_eq!((schedule.calendar.hours.to_string().as_str(), schedule.floor), (OFFICE[0].1, 3), "{now:?}");
        assert_eq!((workload.problems.len(), workload.adopted), (1, Some(3)), "{now:?}");
    }
}

#[test]
fn annotations_that_make_sense_apply_at_once() {
    let workload = annotated_anew(&OFFICE, &[("hours", "Mo 10:00-11:00"), ("timezone", "UTC")]);
    assert_eq!(workload.schedule.expect("it has hours").calendar.hours.to_string(), "Mo 10:00-11:00");
    assert_eq!(workload.problems, []);
}

#[test]
fn what_never_made_sense_has_no_intent() {
    let wrong = [("hours", "Mon-Fri 0800"), ("timezone", "UTC")];
    for before in [&[][..], &wrong[..], &[("calendar", "gone")][..]] {
        assert!(annotated_anew(before, &wrong).intent.is_err(), "{before:?}");
    }
}
