//! Envoy AI Gateway, from its own chart: its controller is a pod, which puts a side-car into the proxies of AIGatewayRoutes.

use std::{fs, process::Stdio};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};
use serde_json::{Value, json};
use tidegate_core::yaml;
use tokio::process::Command;

use crate::{plane::apply, settings::Settings, wait::eventually};

use super::{Plane, READY};

const NAMESPACE: &str = "envoy-ai-gateway-system";
const CONTROLLER: &str = "ai-gateway-controller";

/// Applies the chart, and waits until the controller is ready: from then on it changes what Envoy Gateway tells the proxies.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    apply::established(client, "aigateway.envoyproxy.io").await?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    apply::one(client, namespace).await?;
    apply::text(client, &chart(plane).await?).await.context("applying the chart of Envoy AI Gateway")?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let log = plane.logs.display();
    eventually(READY, &format!("{CONTROLLER} is ready (its log is in {log})"), async || {
        let status = deployments.get(CONTROLLER).await?.status.unwrap_or_default();
        Ok((status.ready_replicas >= Some(1)).then_some(()))
    })
    .await
}

/// Its manifests. There is one replica, which needs no election; and no Helm release, so nothing waits for hooks.
async fn chart(plane: &Plane) -> Result<String> {
    let output = Command::new(plane.settings.peer("helm")?)
        .args(["template", "ai-gateway", "--namespace", NAMESPACE, "--set", "controller.leaderElection.enabled=false"])
        .arg(plane.settings.peer("ai-gateway-chart")?.join("chart"))
        .stdin(Stdio::null())
        .output()
        .await?;
    if !output.status.success() {
        bail!("helm template failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What Envoy Gateway has to be told: to ask the controller before it tells the proxies anything.
pub(super) fn extension_manager(settings: &Settings) -> Result<Value> {
    let path = settings.peer("ai-gateway-chart")?.join("envoy-gateway-values.yaml");
    let values: Value = yaml::read(&fs::read_to_string(&path)?)?;
    let manager = &values["config"]["envoyGateway"]["extensionManager"];
    if manager.is_null() {
        bail!("{} has no extensionManager", path.display());
    }
    Ok(manager.clone())
}
