//! Envoy AI Gateway, from its own chart: its controller is a pod, which puts a side-car into the proxies of AIGatewayRoutes.

use std::fs;

use anyhow::{Context, Result, bail};
use kube::Client;
use serde_json::{Value, json};
use tidegate_core::yaml;
use tokio::process::Command;

use crate::{plane::apply, settings::Settings};

use super::Plane;

const NAMESPACE: &str = "envoy-ai-gateway-system";
const CONTROLLER: &str = "ai-gateway-controller";

/// Applies the chart, and waits until the controller is ready: from then on it changes what Envoy Gateway tells the proxies.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    apply::established(client, "aigateway.envoyproxy.io").await?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    apply::one(client, namespace).await?;
    apply::text(client, &chart(plane).await?).await.context("applying the chart of Envoy AI Gateway")?;
    plane.deployed(client, NAMESPACE, CONTROLLER).await
}

/// Its manifests. There is one replica, which needs no election; and no Helm release, so nothing waits for hooks.
async fn chart(plane: &Plane) -> Result<String> {
    let mut helm = Command::new(plane.settings.peer("helm")?);
    helm.args(["template", "ai-gateway", "--namespace", NAMESPACE, "--set", "controller.leaderElection.enabled=false"]);
    apply::printed(helm.arg(plane.settings.peer("ai-gateway-chart")?.join("chart"))).await
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
