//! `tidegate scaler` without an operator, for hand-written ScaledObjects: with a real Prometheus, and with TLS.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::{
    process::{Child, Command},
    time::Instant,
};

use tidegate_e2e::{
    cluster::Cluster,
    pki::{Issued, Pki},
    scenario::{Scenario, gateway, http, http_route, http_stack, task_api, until},
};

const PROMETHEUS: &str = "http://prometheus.monitoring.svc:9090";

/// `tidegate scaler` beside the one that is installed. Ends when dropped.
pub(crate) async fn scaler(args: &[String]) -> Result<(Child, SocketAddr)> {
    let Beside { child, grpc, .. } = beside("scaler", args).await?;
    Ok((child, grpc))
}

/// A Tidegate beside the one that is installed. Ends when dropped.
pub(crate) struct Beside {
    child: Child,
    grpc: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Beside {
    /// Gives it the CPU for 5 of every 100 ms from here on, as the chart's request of 50m does on a busy node.
    async fn starve(&self) -> Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).context("it has ended")?;
        loop {
            kill_process(pid, Signal::STOP)?;
            tokio::time::sleep(Duration::from_millis(95)).await;
            kill_process(pid, Signal::CONT)?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Starts a Tidegate beside the one that is installed; returns once it is ready.
pub(crate) async fn beside(command: &str, args: &[String]) -> Result<Beside> {
    let (grpc, admin) = (own_address(), own_address());
    let mut child = Command::new("tidegate")
        .args([command, "--log=error"])
        .args(args)
        .arg(format!("--grpc-address={grpc}"))
        .arg(format!("--admin-address={admin}"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    until(&format!("the {command} is ready"), async || {
        ensure!(child.try_wait()?.is_none(), "it has ended");
        let (status, body) = tidegate_stack::get(&format!("http://{admin}/readyz"), crate::SECOND).await?;
        ensure!(status == 200, "{body}");
        Ok(())
    })
    .await?;
    Ok(Beside { child, grpc, admin })
}

/// An address that nobody else in the stack uses: below the ports that clients get, and given away once.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    (Ipv4Addr::LOCALHOST, NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

/// A ScaledObject with one trigger. `metadata` has the lines of the trigger's metadata; more of the trigger may follow with less
/// indentation.
pub(crate) fn scaled_object(target: &str, scaler: SocketAddr, metadata: &str) -> String {
    format!(
        "---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: {target}}}
spec:
  scaleTargetRef: {{name: {target}}}
  minReplicaCount: 1
  maxReplicaCount: 10
  triggers:
    - type: external-push
      metadata:
        scalerAddress: {scaler}
        {metadata}
"
    )
}

#[tokio::test]
async fn counts_are_conserved_while_tidegate_has_a_twentieth_of_a_core() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("starved").await?;
    scenario.apply(&http_stack(&[("requests-per-second", "100")])).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let load = scenario.load(entrance, http()?, 200.0).await?;
    let scaler = beside("scaler", &[]).await?;
    // `None` while the demand is not known, which may last for a while with so little CPU.
    let told = async || {
        let (_, metrics) = tidegate_stack::get(&format!("http://{}/metrics", scaler.admin), 20 * crate::SECOND).await?;
        let of = format!("tidegate_workload_demand{{namespace=\"{}\"", scenario.namespace);
        let line = metrics.lines().find(|line| line.starts_with(&of));
        anyhow::Ok(line.and_then(|line| line.rsplit(' ').next()).map(str::parse::<f64>).transpose()?)
    };
    let watch = async {
        until("demand is told", async || told().await?.context("it tells no demand").map(drop)).await?;
        let window = Duration::from_secs(30);
        let (started, mut all, mut before) = (Instant::now(), Vec::new(), None);
        while started.elapsed() < 4 * window || all.len() < 60 {
            ensure!(started.elapsed() < 20 * window, "demand was told {} times in {:?}", all.len(), started.elapsed());
            let now = told().await?;
            if started.elapsed() > window {
                before.get_or_insert_with(|| (load.snapshot().counts.ok, Instant::now()));
                all.extend(now);
            }
            tokio::time::sleep(crate::SECOND).await;
        }
        let (before, from) = before.context("nothing was told")?;
        let sent = (load.snapshot().counts.ok - before) as f64 / from.elapsed().as_secs_f64();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        ensure!((mean / sent - 1.0).abs() < 0.05, "{sent:.0} requests/s were answered, and {mean:.0} told: {all:.0?}");
        Ok(())
    };
    tokio::select! {
        watched = watch => watched,
        starved = scaler.starve() => starved,
    }
}

#[tokio::test]
async fn a_prometheus_that_scrapes_the_proxies_gives_the_same_replicas_and_answers_queries() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let args = ["--source=prometheus".to_owned(), format!("--prometheus-url={PROMETHEUS}")];
    let (_scaler, address) = scaler(&args).await?;
    let scenario = Scenario::new("prometheus").await?;
    let query =
        "sum(rate(envoy_cluster_upstream_rq_total{envoy_cluster_name=\"httproute/e2e-prometheus/tasks/rule/0\"}[30s]))";
    let manifests = gateway(&[("http", "HTTP", 8080)])
        + &task_api("task-api", &[])
        + &task_api("asker", &[])
        + &http_route("tasks", &[("task-api", 1)])
        + &scaled_object("task-api", address, "service: task-api\n        requestsPerSecond: \"10\"")
        + &scaled_object("asker", address, &format!("prometheusQuery: '{query}'\n        prometheusTarget: \"5\""));
    scenario.apply(&manifests).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(entrance, http()?, 23.0).await?;
    // 23 requests/s: at 10 and at 5 a replica.
    scenario.wait_for_replicas("task-api", 3).await?;
    scenario.wait_for_replicas("asker", 5).await
}

/// Address to which the second scaler is pushed, from the range that the stack leaves to tests.
const PUSHED_TO: &str = "10.244.255.238:4317";

#[tokio::test]
async fn what_a_real_envoy_pushes_over_otlp_gives_the_same_replicas() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("otlp").await?;
    // A proxy of another test would never push, and while one proxy is missing, its traffic is unknown: so it sees only its own Gateways.
    let args = ["--source=otlp", "--token-source=otlp"];
    let own =
        [format!("--otlp-address={PUSHED_TO}"), format!("--namespace={},envoy-gateway-system", scenario.namespace)];
    let (_scaler, address) = scaler(&[&args.map(str::to_owned)[..], &own].concat()).await?;
    let (host, port) = PUSHED_TO.split_once(':').unwrap_or_default();
    let envoy_proxy = |name: &str, options: &str| {
        format!(
            "---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {{name: {name}}}
spec:
  telemetry:
    metrics:
      sinks: [{{type: OpenTelemetry, openTelemetry: {{host: {host}, port: {port}{options}}}}}]
"
        )
    };
    let proxied = |name: &str| {
        let parameters = format!("{{group: gateway.envoyproxy.io, kind: EnvoyProxy, name: {name}}}");
        let spec = format!("gatewayClassName: eg\n  infrastructure: {{parametersRef: {parameters}}}");
        let named = gateway(&[("http", "HTTP", 8080)]).replace("{name: web}", &format!("{{name: {name}}}"));
        "---\n".to_owned() + &named.replace("gatewayClassName: eg", &spec)
    };
    // One proxy whose counters are sums since its start, as is usual, and one that reports the increase since the last push.
    for (name, options) in [("cumulative", ""), ("delta", ", reportCountersAsDeltas: true")] {
        let trigger = format!("service: {name}\n        requestsPerSecond: \"10\"");
        let route = http_route(name, &[(name, 1)]).replace("{name: web", &format!("{{name: {name}"));
        let manifests = envoy_proxy(name, options)
            + &proxied(name)
            + &task_api(name, &[])
            + &route
            + &scaled_object(name, address, &trigger);
        scenario.apply(&manifests).await?;
    }
    let mut loads = Vec::new();
    for name in ["cumulative", "delta"] {
        let entrance = scenario.gateway(name, 8080).await?;
        loads.push(scenario.load(entrance, http()?, 33.0).await?);
    }
    scenario.wait_for_replicas("cumulative", 4).await?;
    scenario.wait_for_replicas("delta", 4).await
}

#[tokio::test]
async fn keda_and_the_scaler_know_each_other_by_their_certificates() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let pki = Pki::new()?;
    fs::write(file("ca.crt"), pki.ca())?;
    let Issued { certificate, key } = pki.issue(&["127.0.0.1"])?;
    fs::write(file("tls.crt"), certificate)?;
    fs::write(file("tls.key"), key)?;
    let args = [("cert", "tls.crt"), ("key", "tls.key"), ("client-ca", "ca.crt")];
    let args = args.map(|(flag, name)| format!("--tls-{flag}-file={}", file(name).display()));
    let (_scaler, address) = scaler(&args).await?;

    let Issued { certificate, key } = pki.issue(&["keda"])?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keda-side"},
        "stringData": {"ca": pki.ca(), "certificate": certificate, "key": key}});
    let parameter = |parameter: &str, key: &str| json!({"parameter": parameter, "name": "keda-side", "key": key});
    let authentication = json!({"apiVersion": "keda.sh/v1alpha1", "kind": "TriggerAuthentication",
        "metadata": {"name": "keda-side"}, "spec": {"secretTargetRef": [
            parameter("caCert", "ca"), parameter("tlsClientCert", "certificate"), parameter("tlsClientKey", "key")]}});
    let scenario = Scenario::new("tls").await?;
    let manifests = http_stack(&[])
        + &format!("---\n{secret}\n---\n{authentication}\n")
        + &scaled_object(
            "task-api",
            address,
            "service: task-api\n        requestsPerSecond: \"10\"\n        enableTLS: \"true\"\n      \
             authenticationRef: {name: keda-side}",
        );
    scenario.apply(&manifests).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(entrance, http()?, 25.0).await?;
    scenario.wait_for_replicas("task-api", 3).await
}
