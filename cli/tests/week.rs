//! A week of a namespace with hours: from manifests through the Plan, the ScaledObjects and the scaler's answers, to the
//! replicas that KEDA and the HPA set. The test controls the clock.
//!
//! It is the week in which Berlin's clocks go back, with a holiday, a maintenance window, an evening kept awake, and two restarts.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Europe::Berlin;
use serde_json::{Value, json};
use tidegate_cluster::{
    Objects,
    scaling::{ScalerEndpoint, Settings, desired, name},
};
use tidegate_core::{plan::Plan, trigger::Trigger, workload::WorkloadId};
use tidegate_scaler::{demand::Demands, store::SignalStore};
use tidegate_sim::{
    hpa::ControllerFlags,
    keda::{Sample, ScaledObject, Simulation},
};

/// Replicas at half past each hour of local time; the Sunday has 25. Written by hand:
/// - open Monday to Friday from 8 to 18 and on Sunday from 1 to 4, which is four hours when the clocks go back
/// - Wednesday is a holiday; on Friday an override closes from 12 to 14; on Thursday it is awake from 20 to 22
const EXPECTED: [(&str, [&str; 7]); 3] = [
    // At least 2 inside hours, 5 under the day's load, none outside.
    (
        "api",
        [
            "000000002255555522000000",
            "000000002255555522000000",
            "000000000000000000000000",
            "000000002255555522002200",
            "000000002255005522000000",
            "000000000000000000000000",
            "0222200000000000000000000",
        ],
    ),
    // Its traffic needs 3 replicas at all times; outside hours 1 of them is left.
    (
        "capped",
        [
            "111111113333333333111111",
            "111111113333333333111111",
            "111111111111111111111111",
            "111111113333333333113311",
            "111111113333113333111111",
            "111111111111111111111111",
            "1333311111111111111111111",
        ],
    ),
    // No annotation of its own: the replicas it had when Tidegate came, or none.
    (
        "worker",
        [
            "000000003333333333000000",
            "000000003333333333000000",
            "000000000000000000000000",
            "000000003333333333003300",
            "000000003333003333000000",
            "000000000000000000000000",
            "0333300000000000000000000",
        ],
    ),
];

fn local(day: u32, hour: u32, minute: u32) -> DateTime<Utc> {
    Berlin.with_ymd_and_hms(2026, 10, day, hour, minute, 0).earliest().unwrap().to_utc()
}

fn calendar() -> Value {
    json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Calendar", "metadata": {"name": "office"}, "spec": {
        "timeZone": "Europe/Berlin",
        "hours": "Mo-Fr 08:00-18:00; Su 01:00-04:00; PH off",
        "holidays": {"dates": [{"date": "2026-10-21", "name": "Founders' day"}]},
        "overrides": [{"from": "2026-10-23T12:00:00+02:00", "until": "2026-10-23T14:00:00+02:00", "state": "Closed",
            "reason": "maintenance"}],
    }})
}

fn namespace(awake_until: Option<&str>) -> Value {
    let mut annotations = json!({"tidegate.dev/manage": "all", "tidegate.dev/calendar": "office"});
    if let Some(until) = awake_until {
        annotations["tidegate.dev/keep-awake-until"] = until.into();
    }
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": annotations}})
}

fn deployment(name: &str, annotations: &Value, replicas: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "annotations": annotations},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": name}}}},
        "status": {"replicas": replicas, "readyReplicas": replicas}})
}

fn deployments(replicas: [u32; 3]) -> [Value; 3] {
    let api = json!({"tidegate.dev/requests-per-second": "100", "tidegate.dev/min-replicas": "2"});
    let capped = json!({"tidegate.dev/requests-per-second": "100", "tidegate.dev/off-hours-replicas": "1"});
    [
        deployment("api", &api, replicas[0]),
        deployment("capped", &capped, replicas[1]),
        deployment("worker", &json!({}), replicas[2]),
    ]
}

fn routing(name: &str) -> [Value; 2] {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]}});
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": [{"name": name, "port": 80}]}]}});
    [service, route]
}

fn gateway() -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]}})
}

/// The state of a process that has just started.
struct Process {
    objects: Objects,
    demands: Demands,
}

impl Process {
    fn begin(objects: impl IntoIterator<Item = Value>, time: &Arc<Mutex<DateTime<Utc>>>) -> Self {
        let mut all = Objects::default();
        for object in objects {
            all.apply(object).unwrap();
        }
        let stale_after = Duration::from_secs(300);
        let (signals, clock) = (Arc::new(SignalStore::new(stale_after)), Arc::clone(time));
        let demands = Demands::new(signals, stale_after).with_clock(Arc::new(move || *clock.lock().unwrap()));
        demands.signals().keep(&all.plan());
        Self { objects: all, demands }
    }
}

fn settings() -> Settings {
    let address = "tidegate:9090".to_owned();
    let scaler = ScalerEndpoint { address, ..ScalerEndpoint::default() };
    Settings { scaler, release: "tidegate-system.tidegate".to_owned(), tolerance: true }
}

fn scaled_objects(plan: &Plan) -> Vec<(WorkloadId, Value)> {
    let workloads = plan.workloads.iter();
    let made = workloads.map(|(id, workload)| (id, desired(id, &name(id, false), workload, &settings())));
    made.map(|(id, desired)| (id.clone(), desired.scaled_object.unwrap())).collect()
}

fn trigger(scaled_object: &Value) -> Trigger {
    let metadata = scaled_object["spec"]["triggers"][0]["metadata"].as_object().unwrap();
    let metadata: HashMap<_, _> =
        metadata.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect();
    Trigger::parse("shop", &metadata).unwrap()
}

/// Requests/s of the routes: some all the time, and more during the day.
fn load(at: DateTime<Utc>) -> HashMap<String, [f64; 3]> {
    let day = (10..16).contains(&at.with_timezone(&Berlin).hour());
    let of = |name: &str, rate: f64| (format!("httproute/shop/{name}/rule/0"), [rate, 0.0, 0.0]);
    HashMap::from([of("api", if day { 450.0 } else { 50.0 }), of("capped", 250.0)])
}

#[tokio::test(start_paused = true)]
async fn a_week_of_hours_is_as_the_table_says() {
    let start = local(19, 0, 0);
    let time = Arc::new(Mutex::new(start));
    let rest = || [calendar(), gateway()].into_iter().chain(routing("api")).chain(routing("capped"));
    // All run as if nobody had ever scaled them; it is Monday, midnight.
    let mut process = Process::begin(rest().chain([namespace(None)]).chain(deployments([2, 2, 3])), &time);
    let objects = scaled_objects(&process.objects.plan());
    // From now on the ScaledObjects are in the cluster, and keep the adopted replicas.
    let in_cluster = || objects.iter().map(|(_, object)| object.clone());
    in_cluster().for_each(|object| assert!(process.objects.apply(object).unwrap()));
    let triggers: Vec<_> = objects.iter().map(|(_, object)| trigger(object)).collect();
    let mut samples = vec![Vec::new(); triggers.len()];
    let mut plan = process.objects.plan();
    let minutes = (local(25, 23, 59) - start).num_minutes();
    for minute in 0..=minutes {
        let now = start + TimeDelta::minutes(minute);
        *time.lock().unwrap() = now;
        tokio::time::advance(Duration::from_secs(60)).await;
        // At a restart at night all workloads are down, and only the objects in the cluster are known.
        let restart = |awake| {
            let asleep = rest().chain([namespace(awake)]).chain(deployments([0, 1, 0])).chain(in_cluster());
            Process::begin(asleep, &time)
        };
        let awake = Some("2026-10-22T22:00:00+02:00");
        if now == local(20, 22, 0) {
            process = restart(None);
            plan = process.objects.plan();
        } else if now == local(22, 20, 0) {
            process.objects.apply(namespace(awake)).unwrap();
            plan = process.objects.plan();
        } else if now == local(22, 21, 0) {
            process = restart(awake);
            plan = process.objects.plan();
        }
        process.demands.signals().commit_values("test", Ok(load(now)));
        for (trigger, samples) in triggers.iter().zip(&mut samples) {
            let value = |target| process.demands.demand(trigger, target, &plan).ok().map(|demand| demand.need.value);
            samples.push(Sample {
                at: (now - start).to_std().unwrap(),
                values: trigger.targets.iter().copied().map(value).collect(),
                active: process.demands.is_active(trigger, &plan).unwrap_or(false),
            });
        }
        // Byte for byte: no transition, override or restart writes a ScaledObject.
        assert_eq!(scaled_objects(&plan), objects, "at {now}");
    }
    let mut wrong = String::new();
    for (((id, object), trigger), samples) in objects.iter().zip(&triggers).zip(&samples) {
        let (_, expected) = EXPECTED.iter().find(|(name, _)| *name == id.name).unwrap();
        let parsed: ScaledObject = serde_json::from_value(object.clone()).unwrap();
        let metrics: Vec<_> =
            trigger.targets.iter().map(|target| (target.signal.metric_name(), target.per_replica.get())).collect();
        let simulation = Simulation::new(parsed.spec, &metrics, ControllerFlags::default());
        let before = if id.name == "worker" { 3 } else { 2 };
        let run = simulation.run(before, samples, Duration::from_secs(60 * minutes.unsigned_abs()));
        let mut hour = start;
        for (day, expected) in (19..).zip(expected) {
            let mut shown = String::new();
            for _ in expected.chars() {
                let at = (hour + TimeDelta::minutes(30) - start).to_std().unwrap();
                hour += TimeDelta::hours(1);
                write!(shown, "{}", run.replicas_at(at)).unwrap();
            }
            if shown != *expected {
                writeln!(wrong, "{} on {day} October:\n  {shown}, wants\n  {expected}", id.name).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
