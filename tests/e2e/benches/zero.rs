//! The first request to a workload at zero: how soon replicas are asked for, and when it is answered, and how many of 200 at once.
//!
//! `make bench-zero`, on the real stack with the HPA's stock timing. In each namespace one Deployment goes to zero and is woken again
//! and again, by one request or by many at once. KEDA's own prometheus trigger has nothing to see at zero, since Envoy has no
//! cluster then: what its clients get is counted beside it.
#![allow(missing_docs, reason = "a benchmark")]

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::Value;
use tidegate_e2e::{
    cluster::Cluster,
    scenario::{Scenario, gateway, http, http_route, http_stack, task_api, until},
};
use tidegate_sim::load::{Counts, Load, LoadLimits, LoadSpec, Profile};
use tokio::time::{Instant, sleep};

const NAMESPACES: u32 = 4;
const WAKES: usize = 10;
const AT_ONCE: f64 = 200.0;
const PATIENCE: Duration = Duration::from_secs(60);
const OURS: &str = "endpointslice.kubernetes.io/managed-by=tidegate.dev";
const OF_KUBERNETES: &str = "endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io";

/// One wake, in seconds since the first request was sent.
#[derive(Debug, Clone, Copy)]
struct Wake {
    replicas: f64,
    ready: f64,
    answered: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let _cluster = Cluster::as_shipped().await?;
    let (mut wakes, mut lost) = (Vec::new(), Vec::new());
    for (woken, counts) in try_join_all((0..NAMESPACES).map(run)).await? {
        wakes.extend(woken);
        lost.push(counts);
    }
    println!(
        "{} first requests, each to a workload at zero:\n\n| | median | p90 | slowest |\n|---|---|---|---|",
        wakes.len()
    );
    row("until `spec.replicas` is 1", wakes.iter().map(|wake| wake.replicas));
    row("until the pod is in its EndpointSlice", wakes.iter().map(|wake| wake.ready));
    row("until the answer", wakes.iter().map(|wake| wake.answered));
    row("answer after the pod is there", wakes.iter().map(|wake| wake.answered - wake.ready));
    println!("\n{AT_ONCE} first requests within a second, once in each namespace:");
    for counts in &lost {
        println!("  {counts:?}");
    }
    println!("\nKEDA's prometheus trigger, a request a second for a minute: {:?}", kedas_own().await?);
    Ok(())
}

async fn run(number: u32) -> Result<(Vec<Wake>, Counts)> {
    let scenario = Scenario::new(&format!("bench-zero-{number}")).await?;
    let annotations =
        [("min-replicas", "0"), ("max-replicas", "8"), ("zero-after", "2s"), ("requests-per-second", "50")];
    scenario.apply(&http_stack(&annotations)).await?;
    let to = scenario.gateway("web", 8080).await?;
    let mut wakes = Vec::new();
    for wake in 0..WAKES {
        asleep(&scenario).await?;
        wakes.push(woken(&scenario, to).await?);
        eprintln!("namespace {number}: wake {} of {WAKES}", wake + 1);
    }
    asleep(&scenario).await?;
    let counts = requests(to, AT_ONCE, Duration::from_secs(1)).await?;
    Ok((wakes, counts))
}

async fn requests(to: SocketAddr, per_second: f64, time: Duration) -> Result<Counts> {
    let limits = LoadLimits { timeout: PATIENCE, ..LoadLimits::default() };
    let spec = LoadSpec { limits, ..LoadSpec::new(http()?, Profile::starting_at(per_second).hold(time)) };
    Ok(Load::start(spec, vec![to]).finished().await.counts)
}

/// Waits until no pod is left, and requests are led to the activator.
async fn asleep(scenario: &Scenario) -> Result<()> {
    until("it sleeps", async || {
        ensure!(scenario.replicas("task-api").await? == 0, "it has replicas");
        ensure!(ready(scenario, OURS).await? && !ready(scenario, OF_KUBERNETES).await?, "its pods are there");
        Ok(())
    })
    .await
}

async fn ready(scenario: &Scenario, labels: &str) -> Result<bool> {
    let labels = format!("{labels},kubernetes.io/service-name=task-api");
    let slices = scenario.get(&["endpointslices", "-l", &labels]).await?;
    let endpoints = |slice: &Value| slice["endpoints"].as_array().cloned().unwrap_or_default();
    let all: Vec<_> = slices["items"].as_array().into_iter().flatten().flat_map(endpoints).collect();
    Ok(all.iter().any(|endpoint| endpoint["conditions"]["ready"] == true))
}

async fn woken(scenario: &Scenario, to: SocketAddr) -> Result<Wake> {
    // Envoy has learned of the slice by then.
    sleep(Duration::from_secs(1)).await;
    let sent = Instant::now();
    let answer = tokio::spawn(async move {
        let (status, _) = tidegate_stack::get(&format!("http://{to}/tasks"), PATIENCE).await?;
        ensure!(status == 200, "status {status}");
        Ok(sent.elapsed().as_secs_f64())
    });
    let (mut replicas, mut there) = (None, None);
    while replicas.is_none() || there.is_none() {
        ensure!(sent.elapsed() < PATIENCE, "it was not woken");
        if replicas.is_none() && scenario.replicas("task-api").await? > 0 {
            replicas = Some(sent.elapsed().as_secs_f64());
        }
        if replicas.is_some() && ready(scenario, OF_KUBERNETES).await? {
            there = Some(sent.elapsed().as_secs_f64());
        }
    }
    let answered = answer.await??;
    Ok(Wake { replicas: replicas.context("not woken")?, ready: there.context("never ready")?, answered })
}

async fn kedas_own() -> Result<Counts> {
    let scenario = Scenario::new("bench-zero-keda").await?;
    let cluster = format!("httproute/{}/tasks/rule/0", scenario.namespace);
    let scaled_object = format!(
        "---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: task-api}}
spec:
  scaleTargetRef: {{name: task-api}}
  minReplicaCount: 0
  maxReplicaCount: 8
  cooldownPeriod: 2
  triggers:
    - type: prometheus
      metadata:
        serverAddress: http://prometheus.monitoring.svc:9090
        query: 'sum(rate(envoy_cluster_upstream_rq_total{{envoy_cluster_name=\"{cluster}\"}}[2m]))'
        threshold: \"50\"
"
    );
    let stack =
        gateway(&[("http", "HTTP", 8080)]) + &task_api("task-api", &[]) + &http_route("tasks", &[("task-api", 1)]);
    scenario.apply(&(stack + &scaled_object)).await?;
    let to = scenario.gateway("web", 8080).await?;
    until("it is at zero", async || {
        ensure!(scenario.replicas("task-api").await? == 0 && !ready(&scenario, OF_KUBERNETES).await?, "not yet");
        Ok(())
    })
    .await?;
    requests(to, 1.0, PATIENCE).await
}

fn row(what: &str, seconds: impl Iterator<Item = f64>) {
    let mut seconds: Vec<f64> = seconds.collect();
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (seconds.len().saturating_sub(1) as f64 * share).round() as usize;
        seconds.get(index).map_or_else(|| "-".to_owned(), |seconds| format!("{:.0} ms", seconds * 1000.0))
    };
    println!("| {what} | {} | {} | {} |", at(0.5), at(0.9), at(1.0));
}
