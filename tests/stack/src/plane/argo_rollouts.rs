//! The controller of Argo Rollouts, with its own RBAC and CRDs.

use std::time::Duration;

use anyhow::Result;
use kube::Client;
use serde_json::json;

use crate::{http, plane::apply};

use super::Plane;

const NAME: &str = "argo-rollouts";
const HEALTH: u16 = 28090;

/// Applies its objects and starts it; returns once it handles Rollouts.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    let manifests = plane.settings.peer("argo-rollouts-manifests")?;
    apply::path(client, &manifests.join("crds")).await?;
    apply::established(client, "argoproj.io").await?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAME } });
    apply::one(client, namespace).await?;
    let account = std::fs::read_to_string(manifests.join("service_account.yaml"))?;
    for mut account in apply::documents(&account)? {
        account["metadata"]["namespace"] = json!(NAME);
        apply::one(client, account).await?;
    }
    for name in ["role", "role_binding"] {
        apply::path(client, &manifests.join(format!("{name}.yaml"))).await?;
    }
    let arguments = [
        format!("--kubeconfig={}", plane.kubeconfig_of(client, NAME, NAME).await?),
        "--leader-elect=false".to_owned(),
        format!("--healthzPort={HEALTH}"),
        "--metricsPort=28091".to_owned(),
    ];
    plane.start(NAME, &arguments, &[("POD_NAMESPACE", NAME)])?;
    let health = format!("http://127.0.0.1:{HEALTH}/healthz");
    plane.ready(NAME, async || Ok((http::get(&health, Duration::from_secs(1)).await?.0 == 200).then_some(()))).await
}
