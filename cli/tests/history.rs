//! A day of the loop, and the history of it beside what the loop did.
#![allow(missing_docs, reason = "tests say what they do in their names")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use serde_json::{Value, json};
use tidegate_cluster::{
    Objects,
    scaling::{ScalerEndpoint, Settings, desired, name},
};
use tidegate_core::{
    plan::Plan,
    signal::Target,
    trigger::Trigger,
    workload::{WorkloadId, WorkloadKind},
};
use tidegate_scaler::{
    demand::Demands,
    history::{Cause, Change, History, Recorder},
    store::SignalStore,
};
use tidegate_sim::{
    hpa::{ControllerFlags, Hpa, HpaSpec, MetricResult},
    quantity::Milli,
};
use tokio::time::advance;

/// The HPA looks as often as the history does.
const STEP: Duration = Duration::from_secs(15);

fn at(time: &str) -> DateTime<Utc> {
    format!("2026-03-02T{time}:00Z").parse().unwrap()
}

/// A Deployment that carries 100 requests/s per replica, open from 7 to 18. At ten somebody finds that it carries 120, at eleven a
/// canary gets a tenth of its route.
fn objects(now: DateTime<Utc>) -> Vec<Value> {
    let carries = if now < at("10:00") { "100" } else { "120" };
    let annotations = json!({"tidegate.dev/requests-per-second": carries, "tidegate.dev/max-replicas": "12",
        "tidegate.dev/min-replicas": "2", "tidegate.dev/hours": "07:00-18:00", "tidegate.dev/timezone": "UTC",
        "tidegate.dev/off-hours-replicas": "1"});
    let canary = i32::from(now >= at("11:00"));
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]}})
    };
    vec![
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "api", "namespace": "shop", "uid": "1", "annotations": annotations},
            "spec": {"replicas": 1, "template": {"metadata": {"labels": {"app": "api"}}}},
            "status": {"replicas": 1, "readyReplicas": 1}}),
        service("api"),
        service("canary"),
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "api", "namespace": "shop"},
            "spec": {"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": [
                {"name": "api", "port": 80, "weight": 9}, {"name": "canary", "port": 80, "weight": canary}]}]}}),
    ]
}

fn plan(now: DateTime<Utc>) -> Plan {
    let mut all = Objects::default();
    for object in objects(now) {
        all.apply(object).unwrap();
    }
    all.plan()
}

/// Requests/s: a morning that rises, a lunch, and an evening that nobody serves. Nothing is measured from 15:00 to 15:20.
fn load(now: DateTime<Utc>) -> Option<f64> {
    let hour = f64::from(now.num_seconds_from_midnight()) / 3600.0;
    let wave = |middle: f64, width: f64| (-((hour - middle) / width).powi(2)).exp();
    let rate = 40.0 + 1500.0 * wave(10.5, 1.5) + 1100.0 * wave(14.0, 1.5) + 300.0 * wave(20.0, 1.0);
    (now < at("15:00") || now >= at("15:20")).then_some(rate.round())
}

/// The HPA of the ScaledObject that the operator would apply, but without a tolerance, by which it follows a tenth late.
fn hpa(id: &WorkloadId, plan: &Plan) -> Hpa {
    let settings = Settings { scaler: ScalerEndpoint::default(), release: "tidegate".to_owned(), tolerance: true };
    let object = desired(id, &name(id, false), &plan.workloads[id], &settings).scaled_object.unwrap();
    let behavior = &object["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
    let behavior = serde_json::from_value(behavior.clone()).unwrap();
    let flags = ControllerFlags { tolerance: 0.0, ..ControllerFlags::default() };
    Hpa::new(HpaSpec { min_replicas: 1, max_replicas: 12, behavior }, flags)
}

/// What the loop did: its replicas after each of the HPA's looks.
struct Day {
    history: History,
    replicas: Vec<(DateTime<Utc>, u32)>,
}

async fn day(id: &WorkloadId) -> Day {
    let time = Arc::new(Mutex::new(at("00:00")));
    let (clock, stale_after) = (Arc::clone(&time), Duration::from_secs(300));
    let demands = Demands::new(Arc::new(SignalStore::new(stale_after)), stale_after)
        .with_clock(Arc::new(move || *clock.lock().unwrap()));
    let (history, mut recorder, mut replicas) = (History::default(), Recorder::default(), Vec::new());
    let mut planned = plan(at("00:00"));
    let mut hpa = hpa(id, &planned);
    let (mut current, mut elapsed) = (1, Duration::ZERO);
    let mut now = at("00:00");
    while now < at("23:59") {
        *time.lock().unwrap() = now;
        if [at("10:00"), at("11:00")].contains(&now) {
            planned = plan(now);
        }
        demands.signals().keep(&planned);
        if let Some(rate) = load(now) {
            let shown = HashMap::from([("httproute/shop/api/rule/0".to_owned(), [rate, 0.0, 0.0])]);
            demands.signals().commit_values("test", Ok(shown));
        } else {
            demands.signals().commit_values("test", Err("no proxy answers".to_owned()));
        }
        let workload = planned.workloads.get_mut(id).unwrap();
        (workload.replicas.wanted, workload.replicas.ready) = (current, current);
        recorder.look(&history, id, &planned, &demands, now);
        let trigger = Trigger::of_workload(id, planned.workloads[id].intent.as_ref().unwrap());
        let metric = |target: &Target| {
            let (name, per_replica) = (target.signal.metric_name(), Milli::from_f64(target.per_replica.get()));
            match demands.demand(&trigger, *target, &planned) {
                Ok(demand) => MetricResult::new(name, per_replica, Milli::from_f64(demand.need.value)),
                Err(why) => MetricResult::failed(name, per_replica, why.to_string()),
            }
        };
        let metrics: Vec<_> = trigger.targets.iter().map(metric).collect();
        current = hpa.sync(elapsed, current, &metrics).desired;
        replicas.push((now, current));
        advance(STEP).await;
        (now, elapsed) = (now + TimeDelta::seconds(15), elapsed + STEP);
    }
    Day { history, replicas }
}

/// The lines of the history, with the loop's replicas a look later beside them.
fn beside(day: &Day, changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        let after = day.replicas.iter().find(|(at, _)| *at >= change.at).map(|(_, replicas)| *replicas);
        let Change { at, from, to, why, .. } = change;
        let line = format!("{} {from:?} -> {to:?} ({}) loop {after:?}: {why}", at.format("%H:%M:%S"), change.who());
        writeln!(text, "{line}").unwrap();
    }
    text
}

#[tokio::test(start_paused = true)]
async fn the_history_of_a_day_is_what_the_loop_did_with_its_reasons() {
    let id = WorkloadId { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "api".into() };
    let day = day(&id).await;
    let changes = day.history.changes(&id, at("00:00"));
    let told = beside(&day, &changes);
    println!("{told}");
    // While a number is known, the loop has it, from the first look to the last.
    let instants: Vec<_> = day.replicas.iter().map(|(at, _)| *at).collect();
    let wanted = day.history.wanted(&id, &instants);
    for ((at, replicas), wanted) in day.replicas.iter().zip(wanted) {
        let wanted = wanted.unwrap_or(*replicas);
        assert_eq!(wanted, *replicas, "at {at}\n{told}");
    }
    // And what the loop set is in the history itself, one look later.
    let set: Vec<_> = day.replicas.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| pair[1].1).collect();
    let mut seen: Vec<_> = changes.iter().map(|change| change.replicas.wanted).collect();
    seen.dedup();
    assert_eq!(seen, [&[1][..], &set].concat(), "{told}");
    let of = |cause: Cause| {
        let of_cause = changes.iter().filter(|change| change.cause == cause);
        of_cause.map(|change| change.at.format("%H:%M").to_string()).collect::<Vec<_>>()
    };
    assert_eq!(of(Cause::Annotations)[0], "10:00", "{told}");
    assert_eq!(of(Cause::Routes)[0], "11:00", "{told}");
    // Closing keeps the replicas for as long as scale-down-after says, and is the reason for what follows.
    assert_eq!(of(Cause::Hours), ["07:00", "18:00", "18:04"], "{told}");
    // The last value is used for five minutes; then nothing is taken away until it is known again.
    assert_eq!(of(Cause::Signals), ["15:05", "15:20"], "{told}");
    let causes: BTreeSet<_> = changes.iter().map(|change| change.cause.as_str()).collect();
    assert_eq!(causes.len(), 7, "{causes:?}\n{told}");
}
