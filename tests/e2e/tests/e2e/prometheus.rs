//! With a real Prometheus, for those who already have one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
};

use anyhow::{Result, ensure};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
};

use tidegate_e2e::{
    cluster::Cluster,
    scenario::{Scenario, gateway, http, http_route, task_api, until},
};

const PROMETHEUS: &str = "http://prometheus.monitoring.svc:9090";

/// `tidegate scaler` beside the one that is installed, with Prometheus as its source. Ends when dropped.
async fn scaler() -> Result<(Child, SocketAddr)> {
    let (grpc, admin) = (free_address().await?, free_address().await?);
    let child = Command::new("tidegate")
        .args(["scaler", "--source=prometheus", "--prometheus-interval=2s", "--log=warn"])
        .arg(format!("--prometheus-url={PROMETHEUS}"))
        .arg(format!("--grpc-address={grpc}"))
        .arg(format!("--admin-address={admin}"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    until("the scaler is ready", async || {
        let (status, body) = tidegate_stack::get(&format!("http://{admin}/readyz"), crate::SECOND).await?;
        ensure!(status == 200, "{body}");
        Ok(())
    })
    .await?;
    Ok((child, grpc))
}

async fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?)
}

fn scaled_object(target: &str, scaler: SocketAddr, metadata: &str) -> String {
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
async fn a_prometheus_that_scrapes_the_proxies_gives_the_same_replicas_and_answers_queries() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let (_scaler, address) = scaler().await?;
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
