//! Time from a step of the load until KEDA can see it, and until replicas follow, compared with KEDA's own prometheus trigger.
//!
//! `make bench-step`, on the real stack with the HPA's stock timing (a sync every 15 s). In each namespace two Deployments
//! stand behind two routes of one Gateway and get the same load: one is annotated, the other has a hand-written ScaledObject
//! with KEDA's prometheus trigger at its defaults and the usual `rate(…[2m])`. Its Prometheus scrapes every second, which is
//! more often than most do, and so an advantage for it. The namespaces step one after another, at different offsets within
//! the HPA's 15 s.
#![allow(missing_docs, reason = "a benchmark")]

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context, Result};
use tidegate_e2e::{
    cluster::{Cluster, SCALER_ADDRESS},
    kubectl::get,
    scenario::{Scenario, gateway, http_route, task_api},
};
use tidegate_proto::{GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient};
use tidegate_sim::load::{Load, LoadSpec, Profile, Traffic};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tonic::transport::Channel;

const NAMESPACES: u32 = 6;
/// Requests/s before and after the step. At 10 a replica these are 1 replica and 8.
const BEFORE: f64 = 8.0;
const AFTER: f64 = 80.0;
const NEEDED: f64 = 8.0;
/// Time until the window of the query is full.
const SETTLE: Duration = Duration::from_secs(150);
/// Time between the steps of two namespaces.
const APART: Duration = Duration::from_millis(2500);
const WATCHED: Duration = Duration::from_secs(240);

/// Events of one namespace, in seconds since the step.
#[derive(Debug, Default)]
struct Seen {
    metric_moves: Option<f64>,
    metric_asks_for_all: Option<f64>,
    /// First time with more replicas, and with all that are needed, by name of the Deployment
    replicas: BTreeMap<&'static str, (Option<f64>, Option<f64>)>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let _cluster = Cluster::as_shipped().await?;
    let mut runs = Vec::new();
    for number in 0..NAMESPACES {
        runs.push(Run::start(number).await?);
        eprintln!("namespace {} of {NAMESPACES} is set up", number + 1);
    }
    eprintln!("the steps come in {} s; then it takes {} s", SETTLE.as_secs(), WATCHED.as_secs());
    let metrics = tokio::spawn(watch_metrics(runs.iter().map(Run::step).collect()));
    let replicas = watch_replicas(&runs).await;
    let metrics = metrics.await??;
    let seen: Vec<Seen> = metrics.into_iter().zip(replicas).map(|(seen, replicas)| Seen { replicas, ..seen }).collect();
    report(&seen);
    Ok(())
}

/// One namespace under load.
struct Run {
    scenario: Scenario,
    step: Instant,
    _loads: [Load; 2],
}

impl Run {
    async fn start(number: u32) -> Result<Self> {
        let scenario = Scenario::new(&format!("step-{number}")).await?;
        let route = |name: &str| {
            let rules = format!("  hostnames: [{name}.example.com]\n  rules:");
            http_route(name, &[(name, 1)]).replace("  rules:", &rules)
        };
        let manifests = gateway(&[("http", "HTTP", 8080)])
            + &task_api("tidegate", &[("requests-per-second", "10"), ("max-replicas", "20")])
            + &task_api("keda", &[])
            + &route("tidegate")
            + &route("keda")
            + &kedas_own(&scenario.namespace);
        scenario.apply(&manifests).await?;
        let entrance = scenario.gateway("web", 8080).await?;
        let step = Instant::now() + SETTLE + APART * number;
        let loads = ["tidegate", "keda"].map(|name| load(name, entrance, step));
        let [ours, theirs] = loads;
        Ok(Self { scenario, step, _loads: [ours?, theirs?] })
    }

    fn step(&self) -> (String, Instant) {
        (self.scenario.namespace.clone(), self.step)
    }
}

fn load(name: &str, entrance: SocketAddr, step: Instant) -> Result<Load> {
    let profile = Profile::starting_at(BEFORE).hold(step - Instant::now()).step_to(AFTER).hold(WATCHED * 2);
    let traffic = Traffic::http(&format!("{name}.example.com"), "/tasks")?;
    Ok(Load::start(LoadSpec::new(traffic, profile), vec![entrance]))
}

fn kedas_own(namespace: &str) -> String {
    let cluster = format!("httproute/{namespace}/keda/rule/0");
    format!(
        "---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: keda}}
spec:
  scaleTargetRef: {{name: keda}}
  minReplicaCount: 1
  maxReplicaCount: 20
  triggers:
    - type: prometheus
      metadata:
        serverAddress: http://prometheus.monitoring.svc:9090
        query: 'sum(rate(envoy_cluster_upstream_rq_total{{envoy_cluster_name=\"{cluster}\"}}[2m]))'
        threshold: \"10\"
"
    )
}

/// Asks the scaler as KEDA does, 20 times a second.
async fn watch_metrics(steps: Vec<(String, Instant)>) -> Result<Vec<Seen>> {
    let mut client = ExternalScalerClient::connect(format!("http://{SCALER_ADDRESS}")).await?;
    let mut seen: Vec<Seen> = steps.iter().map(|_| Seen::default()).collect();
    let first = steps.first().context("no namespaces")?.1;
    let mut looks = interval_at(first, Duration::from_millis(50));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while seen.iter().any(|seen| seen.metric_asks_for_all.is_none()) && first.elapsed() < WATCHED {
        looks.tick().await;
        for ((namespace, step), seen) in steps.iter().zip(&mut seen) {
            let since = step.elapsed().as_secs_f64();
            if since == 0.0 || seen.metric_asks_for_all.is_some() {
                continue;
            }
            let replicas = (metric(&mut client, namespace).await? / 10.0).ceil();
            if replicas > 1.0 {
                seen.metric_moves.get_or_insert(since);
            }
            if replicas >= NEEDED {
                seen.metric_asks_for_all = Some(since);
            }
        }
    }
    Ok(seen)
}

async fn metric(client: &mut ExternalScalerClient<Channel>, namespace: &str) -> Result<f64> {
    let metadata = [("workload", "deployment/tidegate"), ("requestsPerSecond", "10")];
    let scaler_metadata: HashMap<_, _> = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let object = ScaledObjectRef { name: "tidegate".to_owned(), namespace: namespace.to_owned(), scaler_metadata };
    let request = GetMetricsRequest { scaled_object_ref: Some(object), metric_name: "requests-per-second".to_owned() };
    let answer = client.get_metrics(request).await?.into_inner();
    Ok(answer.metric_values.first().context("no value")?.metric_value_float)
}

type Replicas = BTreeMap<&'static str, (Option<f64>, Option<f64>)>;

async fn watch_replicas(runs: &[Run]) -> Vec<Replicas> {
    let mut seen: Vec<Replicas> =
        runs.iter().map(|_| Replicas::from([("keda", (None, None)), ("tidegate", (None, None))])).collect();
    let Some(first) = runs.first().map(|run| run.step) else { return seen };
    let mut looks = interval_at(first, Duration::from_millis(250));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let all_there = |seen: &[Replicas]| seen.iter().flat_map(BTreeMap::values).all(|(_, all)| all.is_some());
    while !all_there(&seen) && first.elapsed() < WATCHED {
        looks.tick().await;
        // A read that fails is left out; the next one follows.
        let Ok(deployments) = get(&["deployments", "-A"]).await else { continue };
        for deployment in deployments["items"].as_array().into_iter().flatten() {
            let (namespace, name) = (&deployment["metadata"]["namespace"], &deployment["metadata"]["name"]);
            let Some(index) = runs.iter().position(|run| *namespace == run.scenario.namespace.as_str()) else {
                continue;
            };
            let since = runs[index].step.elapsed().as_secs_f64();
            let replicas = deployment["spec"]["replicas"].as_f64().unwrap_or_default();
            for (of, (more, all)) in &mut seen[index] {
                if name == of && since > 0.0 && replicas > 1.0 {
                    more.get_or_insert(since);
                }
                if name == of && since > 0.0 && replicas >= NEEDED {
                    all.get_or_insert(since);
                }
            }
        }
    }
    seen
}

fn report(seen: &[Seen]) {
    println!("Seconds after the load went from {BEFORE} to {AFTER} requests/s, {NAMESPACES} times:\n");
    println!("| | fastest | median | slowest |\n|---|---|---|---|");
    row("Tidegate's metric asks for a second replica", seen.iter().map(|seen| seen.metric_moves));
    row("Tidegate's metric asks for all 8", seen.iter().map(|seen| seen.metric_asks_for_all));
    for (name, what) in [("tidegate", "Tidegate"), ("keda", "KEDA's prometheus trigger")] {
        let of = |seen: &Seen| seen.replicas.get(name).copied().unwrap_or_default();
        row(&format!("{what}: more replicas"), seen.iter().map(|seen| of(seen).0));
        row(&format!("{what}: all 8 replicas"), seen.iter().map(|seen| of(seen).1));
    }
}

fn row(what: &str, seconds: impl Iterator<Item = Option<f64>>) {
    let mut seconds: Vec<f64> = seconds.map(|seconds| seconds.unwrap_or(f64::INFINITY)).collect();
    seconds.sort_by(f64::total_cmp);
    let shown =
        |seconds: f64| if seconds.is_finite() { format!("{seconds:.1}") } else { format!("> {}", WATCHED.as_secs()) };
    let at = |index: usize| seconds.get(index).copied().map_or_else(|| "-".to_owned(), shown);
    println!("| {what} | {} | {} | {} |", at(0), at(seconds.len() / 2), at(seconds.len().saturating_sub(1)));
}
