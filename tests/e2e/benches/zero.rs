//! The first request to a workload at zero: how soon replicas are asked for, and when it is answered, and how many of 200 at once.
//!
//! `make bench-zero`, on the real stack with the HPA's stock timing. In each namespace one Deployment goes to zero and is woken again
//! and again, by one request or by many at once: first Tidegate's, side by side, and then one of KEDA's HTTP add-on alone. KEDA's
//! own prometheus trigger has nothing to see at zero, since Envoy has no cluster then: what its clients get is counted beside it.
#![allow(missing_docs, reason = "a benchmark")]

use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::Value;
use tidegate_e2e::{
    cluster::Cluster,
    kubectl::get,
    requests::Entrance,
    scenario::{Scenario, gateway, http_route, http_stack, task_api, until},
};
use tidegate_sim::load::{Counts, Load, LoadLimits, LoadSpec, Profile, Traffic};
use tokio::time::{Instant, sleep};

const NAMESPACES: u32 = 4;
const WAKES: usize = 25;
/// KEDA takes a Deployment to zero at its next poll, every 15 s.
const WAKES_OF_ADD_ON: usize = 10;
const AT_ONCE: f64 = 200.0;
const PATIENCE: Duration = Duration::from_secs(60);
const HOST: &str = "tasks.example.com";
const OURS: &str = "endpointslice.kubernetes.io/managed-by=tidegate.dev";
const OF_KUBERNETES: &str = "endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io";

/// One wake, in seconds since the first request was sent.
#[derive(Debug, Clone, Copy)]
struct Wake {
    replicas: f64,
    ready: f64,
    answered: f64,
}

/// The wakes of one Deployment, and the answers to many first requests at once.
type Measured = (Vec<Wake>, Counts);

#[tokio::main]
async fn main() -> Result<()> {
    let _cluster = Cluster::as_shipped().await?;
    let ours = async |number| Sleeper::of_tidegate(number).await?.measured(WAKES).await;
    report("Tidegate", &try_join_all((0..NAMESPACES).map(ours)).await?);
    let add_on = Sleeper::of_add_on().await?.measured(WAKES_OF_ADD_ON).await?;
    report("KEDA's HTTP add-on", &[add_on]);
    println!("\nKEDA's prometheus trigger, a request a second for a minute: {:?}", kedas_own().await?);
    Ok(())
}

/// A Deployment `task-api` that goes to zero, and is woken by requests.
struct Sleeper {
    scenario: Scenario,
    to: SocketAddr,
    /// Whether requests are led to Tidegate's activator at zero, by an EndpointSlice
    has_activator: bool,
}

impl Sleeper {
    /// It is woken by requests through a Gateway.
    async fn of_tidegate(number: u32) -> Result<Self> {
        let scenario = Scenario::new(&format!("bench-zero-{number}")).await?;
        let annotations =
            [("min-replicas", "0"), ("max-replicas", "8"), ("zero-after", "2s"), ("requests-per-second", "50")];
        scenario.apply(&http_stack(&annotations)).await?;
        let to = scenario.gateway("web", 8080).await?;
        Ok(Self { scenario, to, has_activator: true })
    }

    /// It is woken by requests through the interceptor of KEDA's HTTP add-on.
    async fn of_add_on() -> Result<Self> {
        let scenario = Scenario::new("bench-zero-add-on").await?;
        let scaled_object = format!(
            "---
apiVersion: http.keda.sh/v1alpha1
kind: HTTPScaledObject
metadata: {{name: task-api}}
spec:
  hosts: [{HOST}]
  scaleTargetRef: {{name: task-api, kind: Deployment, apiVersion: apps/v1, service: task-api, port: 8000}}
  replicas: {{min: 0, max: 8}}
  scaledownPeriod: 2
"
        );
        scenario.apply(&(task_api("task-api", &[]) + &scaled_object)).await?;
        let interceptor = get(&["service", "-n", "keda", "keda-add-ons-http-interceptor-proxy"]).await?;
        let ip = interceptor["spec"]["clusterIP"].as_str().context("the interceptor has no address")?;
        Ok(Self { scenario, to: SocketAddr::new(ip.parse()?, 8080), has_activator: false })
    }

    async fn measured(&self, wakes: usize) -> Result<Measured> {
        let mut woken = Vec::new();
        for wake in 0..wakes {
            self.falls_asleep().await?;
            woken.push(self.woken().await?);
            eprintln!("{}: wake {} of {wakes}", self.scenario.namespace, wake + 1);
        }
        self.falls_asleep().await?;
        Ok((woken, requests(self.to, AT_ONCE, Duration::from_secs(1)).await?))
    }

    /// Waits until it has been asleep for a second, in which proxies learn of it, and for a random part of another: no request is in
    /// step with a timer.
    async fn falls_asleep(&self) -> Result<()> {
        until("it sleeps", async || {
            self.is_asleep().await?;
            sleep(Duration::from_millis(1000 + RandomState::new().hash_one(()) % 1000)).await;
            self.is_asleep().await
        })
        .await
    }

    async fn is_asleep(&self) -> Result<()> {
        ensure!(self.scenario.replicas("task-api").await? == 0, "it has replicas");
        ensure!(!ready(&self.scenario, OF_KUBERNETES).await?, "its pods are there");
        ensure!(!self.has_activator || ready(&self.scenario, OURS).await?, "no activator takes its requests");
        Ok(())
    }

    async fn woken(&self) -> Result<Wake> {
        let entrance = Entrance::http(HOST, self.to)?;
        let sent = Instant::now();
        let answer = tokio::spawn(async move {
            let status = entrance.get("/tasks", &[]).await?.status;
            ensure!(status == 200, "status {status}");
            Ok(sent.elapsed().as_secs_f64())
        });
        let (mut replicas, mut there) = (None, None);
        while replicas.is_none() || there.is_none() {
            ensure!(sent.elapsed() < PATIENCE, "it was not woken");
            if replicas.is_none() && self.scenario.replicas("task-api").await? > 0 {
                replicas = Some(sent.elapsed().as_secs_f64());
            }
            if replicas.is_some() && ready(&self.scenario, OF_KUBERNETES).await? {
                there = Some(sent.elapsed().as_secs_f64());
            }
        }
        let answered = answer.await??;
        Ok(Wake { replicas: replicas.context("not woken")?, ready: there.context("never ready")?, answered })
    }
}

async fn requests(to: SocketAddr, per_second: f64, time: Duration) -> Result<Counts> {
    let limits = LoadLimits { timeout: PATIENCE, ..LoadLimits::default() };
    let profile = Profile::starting_at(per_second).hold(time);
    let spec = LoadSpec { limits, ..LoadSpec::new(Traffic::http(HOST, "/tasks")?, profile) };
    Ok(Load::start(spec, vec![to]).finished().await.counts)
}

async fn ready(scenario: &Scenario, labels: &str) -> Result<bool> {
    let labels = format!("{labels},kubernetes.io/service-name=task-api");
    let slices = scenario.get(&["endpointslices", "-l", &labels]).await?;
    let endpoints = |slice: &Value| slice["endpoints"].as_array().cloned().unwrap_or_default();
    let all: Vec<_> = slices["items"].as_array().into_iter().flatten().flat_map(endpoints).collect();
    Ok(all.iter().any(|endpoint| endpoint["conditions"]["ready"] == true))
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

fn report(of: &str, measured: &[Measured]) {
    let wakes: Vec<&Wake> = measured.iter().flat_map(|(wakes, _)| wakes).collect();
    println!(
        "\n{of}, {} first requests, each to a workload at zero:\n\n| | median | p90 | p99 | slowest |\n|---|---|---|---|---|",
        wakes.len()
    );
    row("until `spec.replicas` is 1", wakes.iter().map(|wake| wake.replicas));
    row("until the pod is in its EndpointSlice", wakes.iter().map(|wake| wake.ready));
    row("until the answer", wakes.iter().map(|wake| wake.answered));
    row("answer after the pod is there", wakes.iter().map(|wake| wake.answered - wake.ready));
    println!("\n{AT_ONCE} first requests within a second, once in each namespace:");
    for (_, counts) in measured {
        println!("  {counts:?}");
    }
}

fn row(what: &str, seconds: impl Iterator<Item = f64>) {
    let mut seconds: Vec<f64> = seconds.collect();
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (seconds.len().saturating_sub(1) as f64 * share).round() as usize;
        seconds.get(index).map_or_else(|| "-".to_owned(), |seconds| format!("{:.0} ms", seconds * 1000.0))
    };
    println!("| {what} | {} | {} | {} | {} |", at(0.5), at(0.9), at(0.99), at(1.0));
}
