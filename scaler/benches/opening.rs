//! 5,000 workloads that open at the same minute: the delay until KEDA learns of each, and the cost of an evaluation.
//!
//! `cargo bench -p tidegate-scaler --bench opening`. The server is the real one, on loopback; the client holds a
//! StreamIsActive for each workload, as KEDA does.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run fails")]

use std::{
    collections::HashMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::registry::Registry;
use tidegate_core::{
    calendar::Calendars,
    intent::{Annotations, Intent},
    plan::{Plan, PlannedWorkload, Replicas},
    schedule::Schedule,
    workload::{WorkloadId, WorkloadKind},
};
use tidegate_proto::{ScaledObjectRef, external_scaler_client::ExternalScalerClient};
use tidegate_scaler::{
    demand::Demands,
    metrics::ScalerMetrics,
    service::{Scaler, ServiceSettings, serve},
    store::SignalStore,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

const WORKLOADS: usize = 5000;
const RUNS: usize = 5;

#[tokio::main]
async fn main() {
    println!("{WORKLOADS} workloads open at one instant; ms until the client has read `true` of each\n");
    println!("| run | first | median | last |\n|---|---|---|---|");
    for run in 1..=RUNS {
        let mut late = opening().await;
        late.sort_unstable();
        let ms = |index: usize| late[index].as_secs_f64() * 1000.0;
        println!("| {run} | {:.0} | {:.0} | {:.0} |", ms(0), ms(WORKLOADS / 2), ms(WORKLOADS - 1));
    }
    evaluation();
}

fn id(index: usize) -> WorkloadId {
    let namespace = format!("team-{:02}", index % 50);
    WorkloadId { namespace, kind: WorkloadKind::Deployment, name: format!("service-{index}") }
}

fn plan() -> Plan {
    let keys = [("hours", "Mo-Su 08:00-18:00; PH off"), ("timezone", "Europe/Berlin"), ("min-replicas", "2")];
    let annotations: Annotations =
        keys.iter().map(|(key, value)| (format!("tidegate.dev/{key}"), (*value).to_owned())).collect();
    let intent = Intent::of_workload(&annotations, "", &Annotations::new()).unwrap().unwrap();
    let mut plan = Plan::default();
    for index in 0..WORKLOADS {
        let replicas = Replicas { wanted: 0, ready: 0 };
        let planned = PlannedWorkload::new(
            &id(index),
            String::new(),
            Ok(intent.clone()),
            Vec::new(),
            replicas,
            0,
            &Calendars::new(),
        );
        plan.workloads.insert(id(index), planned);
    }
    plan
}

fn object(index: usize) -> ScaledObjectRef {
    let WorkloadId { namespace, name, .. } = id(index);
    let metadata = [("schedule", "true".to_owned()), ("workload", format!("deployment/{name}"))];
    let scaler_metadata: HashMap<_, _> = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    ScaledObjectRef { name, namespace, scaler_metadata }
}

/// Delays of the answers after opening, with the clock set so that the workloads open in a few seconds.
async fn opening() -> Vec<Duration> {
    let opens: DateTime<Utc> = "2026-03-03T07:00:00Z".parse().unwrap();
    let (started, ahead) = (Instant::now(), Duration::from_secs(6));
    let clock = move || opens - TimeDelta::from_std(ahead).unwrap() + TimeDelta::from_std(started.elapsed()).unwrap();
    let signals = Arc::new(SignalStore::new(Duration::from_secs(300)));
    let demands = Arc::new(Demands::new(signals, Duration::from_secs(300)).with_clock(Arc::new(clock)));
    let (_plan, planned) = watch::channel(Some(Arc::new(plan())));
    let stop = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scaler = Scaler::new(demands, planned, ScalerMetrics::register(&mut Registry::default()));
    let server = tokio::spawn(serve(listener, ServiceSettings::default(), scaler, stop.clone()));
    let client = ExternalScalerClient::connect(format!("http://{address}")).await.unwrap();
    let (told, mut times) = mpsc::unbounded_channel();
    for index in 0..WORKLOADS {
        let (mut client, told) = (client.clone(), told.clone());
        let mut stream = client.stream_is_active(object(index)).await.unwrap().into_inner();
        tokio::spawn(async move {
            while let Some(answer) = stream.message().await.unwrap() {
                if answer.result {
                    told.send(started.elapsed()).unwrap();
                    return;
                }
            }
        });
    }
    assert!(started.elapsed() < ahead, "the streams were not open in time");
    let mut late = Vec::new();
    while late.len() < WORKLOADS {
        late.push(times.recv().await.unwrap().checked_sub(ahead).unwrap());
    }
    stop.cancel();
    server.abort();
    late
}

/// Prints the cost of computing the limits of one workload from scratch, which happens when they change, and at most once a day
/// otherwise.
fn evaluation() {
    let schedules: Vec<Arc<Schedule>> =
        plan().workloads.into_values().filter_map(|workload| workload.schedule).collect();
    let at: DateTime<Utc> = "2026-03-03T06:59:59Z".parse().unwrap();
    let started = Instant::now();
    for schedule in &schedules {
        black_box(schedule.limits_until(black_box(at)));
    }
    let each = started.elapsed() / u32::try_from(schedules.len()).unwrap();
    println!("\none workload's limits, and until when they hold: {:.1} µs", each.as_secs_f64() * 1e6);
    let year = at..at + TimeDelta::days(3653);
    let started = Instant::now();
    let intervals = black_box(schedules[0].calendar.intervals(&year));
    println!("the {} intervals of ten years: {:.1} ms", intervals.len(), started.elapsed().as_secs_f64() * 1000.0);
}
