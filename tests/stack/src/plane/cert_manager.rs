//! cert-manager's controllers, by a program of this repository over their packages (`cert-manager/main.go`), and its CRDs.

use std::time::Duration;

use anyhow::Result;
use kube::Client;
use serde_json::json;

use crate::{http, plane::apply, settings::Component};

use super::Plane;

const NAME: &str = "cert-manager";
const HEALTH: &str = "127.0.0.1:28092";

/// Applies its CRDs and starts it; returns once its controllers run.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    apply::path(client, plane.settings.peer("cert-manager-crds")?).await?;
    apply::established(client, "cert-manager.io").await?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAME } });
    apply::one(client, namespace).await?;
    let gateways = plane.settings.has(Component::EnvoyGateway);
    if gateways {
        apply::established(client, "gateway.networking.k8s.io").await?;
    }
    let arguments = [format!("--listen={HEALTH}"), format!("--gateways={gateways}")];
    plane.start(NAME, &arguments, &[("KUBECONFIG", &plane.kubeconfig().to_string_lossy())])?;
    let health = format!("http://{HEALTH}/");
    plane.ready(NAME, async || Ok((http::get(&health, Duration::from_secs(1)).await?.0 == 200).then_some(()))).await
}
