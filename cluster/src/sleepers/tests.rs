use serde_json::{Value, json};

use super::*;

const HOURS: &str = "Mo-Fr 08:00-18:00";

fn instant(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn by_day() -> DateTime<Utc> {
    instant("2026-03-02T12:00:00Z")
}

fn at_night() -> DateTime<Utc> {
    instant("2026-03-02T22:00:00Z")
}

/// Objects of a Tidegate that may switch off all kinds: a namespace with this `manage` annotation, and the others.
fn objects(manage: &str, others: &[Value]) -> Objects {
    let mut objects = Objects::default();
    objects.set_manageable(Managed { cron_jobs: true, daemon_sets: true });
    let annotations =
        json!({"tidegate.dev/manage": manage, "tidegate.dev/hours": HOURS, "tidegate.dev/timezone": "UTC"});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": annotations}});
    for object in [namespace].iter().chain(others) {
        assert!(objects.apply(object.clone()).unwrap(), "{object}");
    }
    objects
}

fn object(api_version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop", "uid": "u"}, "spec": spec})
}

fn with(mut object: Value, field: &str, value: &Value) -> Value {
    object["metadata"][field] = value.clone();
    object
}

fn cron_job() -> Value {
    object("batch/v1", "CronJob", "report", &json!({"schedule": "* * * * *"}))
}

fn daemon_set() -> Value {
    object("apps/v1", "DaemonSet", "agent", &json!({}))
}

fn deployment() -> Value {
    object("apps/v1", "Deployment", "api", &json!({"replicas": 3}))
}

fn scaled_object() -> Value {
    object("keda.sh/v1alpha1", "ScaledObject", "theirs", &json!({"scaleTargetRef": {"name": "api"}, "triggers": []}))
}

fn marked(object: Value) -> Value {
    with(object, "labels", &json!({ASLEEP: "true"}))
}

fn sleepers_of(objects: &Objects, now: DateTime<Utc>) -> Vec<Sleeper> {
    objects.sleepers(&objects.plan(), "here", now)
}

/// The wanted state of each, by day and at night.
fn wanted(objects: &Objects) -> Vec<(Kind, Wanted, Wanted)> {
    let by_day = sleepers_of(objects, by_day());
    let at_night = sleepers_of(objects, at_night());
    by_day.into_iter().zip(at_night).map(|(day, night)| (day.kind, day.wanted, night.wanted)).collect()
}

#[test]
fn what_the_namespace_names_sleeps_outside_hours_and_is_awake_inside() {
    let all = [cron_job(), daemon_set(), deployment(), scaled_object()];
    let asleep = |kind| (kind, Wanted::Awake, Wanted::Asleep(0));
    assert_eq!(wanted(&objects("all", &all)), [asleep(Kind::ScaledObject)]);
    assert_eq!(wanted(&objects("all,cronjobs", &all)), [asleep(Kind::ScaledObject), asleep(Kind::CronJob)]);
    assert_eq!(
        wanted(&objects("all,cronjobs,daemonsets", &all)),
        [Kind::ScaledObject, Kind::CronJob, Kind::DaemonSet].map(asleep)
    );
}

#[test]
fn what_was_put_to_sleep_wakes_when_nobody_asks_for_hours_any_more() {
    let all = [marked(cron_job()), marked(daemon_set()), deployment(), marked(scaled_object())];
    let mut objects = objects("all,cronjobs,daemonsets", &all);
    objects.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})).unwrap();
    let found = sleepers_of(&objects, at_night());
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|found| found.asleep == Some(0) && found.wanted == Wanted::Awake), "{found:?}");
}

#[test]
fn a_mistake_in_what_the_namespace_has_managed_wakes_nobody() {
    let all = [marked(cron_job()), marked(daemon_set()), deployment(), marked(scaled_object())];
    let found = objects("all,cronjob", &all);
    assert!(sleepers_of(&found, at_night()).iter().all(|found| found.wanted == Wanted::AsItIs));
    assert_eq!(sleepers_of(&found, at_night()).len(), 3);
}

#[test]
fn what_its_owner_has_switched_off_is_left_alone() {
    let stopped = object("batch/v1", "CronJob", "report", &json!({"schedule": "* * * * *", "suspend": true}));
    let paused = |key: &str, value: &str| {
        with(scaled_object(), "annotations", &json!({format!("autoscaling.keda.sh/{key}"): value}))
    };
    for theirs in [paused("paused-replicas", "2"), paused("paused", "true")] {
        let found = objects("all,cronjobs", &[stopped.clone(), deployment(), theirs]);
        assert!(wanted(&found).iter().all(|(_, day, night)| (*day, *night) == (Wanted::AsItIs, Wanted::AsItIs)));
    }
    let ours = object("batch/v1", "CronJob", "report", &json!({"schedule": "* * * * *", "suspend": true}));
    assert_eq!(wanted(&objects("all,cronjobs", &[marked(ours)])), [(Kind::CronJob, Wanted::Awake, Wanted::Asleep(0))]);
}

#[test]
fn annotations_of_its_own_are_its_hours_and_a_mistake_in_them_changes_nothing() {
    let own = |key: &str, value: &str| with(cron_job(), "annotations", &json!({format!("tidegate.dev/{key}"): value}));
    let of = |job| wanted(&objects("all,cronjobs", &[job]))[0];
    assert_eq!(of(own("hours", "Mo-Fr 20:00-23:00")), (Kind::CronJob, Wanted::Asleep(0), Wanted::Awake));
    assert_eq!(of(own("paused", "true")), (Kind::CronJob, Wanted::AsItIs, Wanted::AsItIs));
    assert_eq!(
        of(own("off-hours-replicas", "1")),
        (Kind::CronJob, Wanted::Awake, Wanted::Awake),
        "it runs or it does not"
    );
    assert_eq!(of(own("hours", "Mo-Fr 0800-18:00")), (Kind::CronJob, Wanted::AsItIs, Wanted::AsItIs));
    let problems = sleepers_of(&objects("all,cronjobs", &[own("calendar", "gone")]), by_day()).remove(0).problems;
    assert!(problems[0].to_string().contains("there is no Calendar gone"), "{problems:?}");
}

#[test]
fn an_autoscaler_that_knows_no_pause_is_not_fought_with() {
    let hpa = object(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "theirs",
        &json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}}),
    );
    assert_eq!(wanted(&objects("all", &[deployment(), hpa])), []);
}

#[test]
fn one_that_scales_on_traffic_is_not_put_to_sleep_beside_its_own_autoscaler() {
    let asks = with(deployment(), "annotations", &json!({"tidegate.dev/requests-per-second": "100"}));
    assert_eq!(wanted(&objects("all", &[asks, scaled_object()])), []);
}

#[test]
fn as_many_replicas_as_outside_hours_are_wanted_stay() {
    let cap = with(deployment(), "annotations", &json!({"tidegate.dev/off-hours-replicas": "2"}));
    let found = objects("all", &[cap, scaled_object()]);
    assert_eq!(wanted(&found), [(Kind::ScaledObject, Wanted::Awake, Wanted::Asleep(2))]);
    assert_eq!(sleepers_of(&found, at_night())[0].until, Some(instant("2026-03-03T08:00:00Z")));
}

#[test]
fn proxies_and_what_wakes_others_do_not_sleep() {
    let proxy = json!({"template": {"metadata": {"labels": {
        "app.kubernetes.io/component": "proxy", "app.kubernetes.io/managed-by": "envoy-gateway"}}}});
    let proxies = object("apps/v1", "DaemonSet", "edge", &proxy);
    let keda = json!({"template": {"metadata": {"labels": {"app": "keda-operator"}}}});
    assert_eq!(wanted(&objects("all,daemonsets", &[proxies])), []);
    let beside = object("apps/v1", "Deployment", "keda", &keda);
    assert_eq!(wanted(&objects("all,daemonsets,cronjobs", &[beside, daemon_set(), cron_job()])), []);
}

#[test]
fn kinds_that_may_not_be_patched_are_reported_to_the_namespace() {
    let mut objects = objects("all,cronjobs,daemonsets", &[cron_job()]);
    let told = |objects: &Objects| {
        objects.namespaces().flat_map(|(_, problems)| problems).map(|p| p.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(told(&objects), [""; 0]);
    objects.set_manageable(Managed { cron_jobs: false, daemon_sets: true });
    assert!(told(&objects)[0].contains("--set manage.cronJobs=true"), "{:?}", told(&objects));
    assert_eq!(sleepers_of(&objects, at_night()), []);
}

const OFFICE: [(&str, &str); 2] = [("hours", HOURS), ("timezone", "UTC")];
const RABBIT: (&str, &str) = ("keda-triggers", "[{type: rabbitmq, metadata: {value: 20}}]");

/// A workload with these annotations of its own and Tidegate's ScaledObject for it, in a namespace that says nothing.
fn own(annotations: &[(&str, &str)], release: &str, marked: bool) -> Objects {
    let annotations: serde_json::Map<_, _> =
        annotations.iter().map(|(key, value)| (format!("tidegate.dev/{key}"), Value::from(*value))).collect();
    let mut labels = json!({"app.kubernetes.io/managed-by": "tidegate", "tidegate.dev/release": release});
    let mut scaled =
        object("keda.sh/v1alpha1", "ScaledObject", "api", &json!({"scaleTargetRef": {"name": "api"}, "triggers": []}));
    if marked {
        labels[ASLEEP] = "true".into();
        scaled["metadata"]["annotations"] = json!({PAUSED_REPLICAS: "2"});
    }
    let mut objects = Objects::default();
    objects.apply(with(deployment(), "annotations", &annotations.into())).unwrap();
    objects.apply(with(scaled, "labels", &labels)).unwrap();
    objects
}

#[test]
fn our_own_is_paused_outside_hours_where_a_trigger_of_keda_would_not_let_the_replicas_down() {
    let two = ("off-hours-replicas", "2");
    for (asked, at_night) in [
        (&[RABBIT][..], Some(Wanted::Asleep(0))),
        (&[RABBIT, two], Some(Wanted::Asleep(2))),
        (&[("cpu", "70%"), two], Some(Wanted::Asleep(2))),
        (&[("cpu", "70%")], None),
        (&[("requests-per-second", "5"), two], None),
        (&[], None),
    ] {
        let objects = own(&[&OFFICE[..], asked].concat(), "here", false);
        let expected: Vec<_> = at_night.map(|night| (Kind::ScaledObject, Wanted::Awake, night)).into_iter().collect();
        assert_eq!(wanted(&objects), expected, "{asked:?}");
    }
}

#[test]
fn our_own_wakes_when_nothing_has_to_be_held_by_a_pause_any_more() {
    let at_night =
        |objects: &Objects| sleepers_of(objects, at_night()).first().map(|found| (found.asleep, found.wanted));
    assert_eq!(at_night(&own(&[&OFFICE[..], &[RABBIT]].concat(), "here", true)), Some((Some(2), Wanted::Asleep(0))));
    assert_eq!(at_night(&own(&OFFICE, "here", true)), Some((Some(2), Wanted::Awake)));
    assert_eq!(at_night(&own(&[RABBIT], "here", true)), Some((Some(2), Wanted::Awake)), "no hours");
    assert_eq!(at_night(&own(&[], "here", true)), Some((Some(2), Wanted::Awake)), "not annotated");
}

#[test]
fn our_own_stays_as_it_is_while_its_hours_are_unknown_or_it_is_paused_or_of_another_release() {
    let unknown = [RABBIT, ("calendar", "gone")];
    let stays = Some((Some(2), Wanted::AsItIs));
    let at_night =
        |objects: &Objects| sleepers_of(objects, at_night()).first().map(|found| (found.asleep, found.wanted));
    assert_eq!(at_night(&own(&unknown, "here", true)), stays);
    assert_eq!(at_night(&own(&unknown, "here", false)), None);
    assert_eq!(at_night(&own(&[&OFFICE[..], &[RABBIT, ("paused", "true")]].concat(), "here", true)), stays);
    assert_eq!(at_night(&own(&[&OFFICE[..], &[RABBIT]].concat(), "elsewhere", false)), None);
}
