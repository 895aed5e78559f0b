//! KEDA's HTTP add-on, from its own manifests: its operator, its interceptor and its external scaler are pods.

use anyhow::{Context, Result};
use kube::Client;
use tokio::{process::Command, try_join};

use crate::plane::apply;

use super::Plane;

/// Namespace of its manifests, which is KEDA's own.
const NAMESPACE: &str = "keda";
const SCALER: &str = "keda-add-ons-http-external-scaler";

/// Applies its manifests, and returns once all three are ready: an HTTPScaledObject is handled from then on.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    let config = plane.settings.peer("http-add-on-manifests")?.join("config");
    apply::path(client, &config.join("crd/bases")).await?;
    apply::established(client, "http.keda.sh").await?;
    let mut kustomize = Command::new(plane.settings.peer("kubectl")?);
    let manifests = apply::printed(kustomize.arg("kustomize").arg(config.join("default"))).await?;
    apply::text(client, &for_keda(&manifests)).await.context("applying the manifests of KEDA's HTTP add-on")?;
    let ready = async |part: &str| plane.deployed(client, NAMESPACE, &format!("keda-add-ons-http-{part}")).await;
    try_join!(ready("operator"), ready("interceptor"), ready("scaler"))?;
    Ok(())
}

/// The interceptor's own ScaledObject names the scaler without a namespace. KEDA is a process of the stack, and no pod that would
/// look in its own.
fn for_keda(manifests: &str) -> String {
    manifests.replace(&format!("scalerAddress: {SCALER}:"), &format!("scalerAddress: {SCALER}.{NAMESPACE}:"))
}
