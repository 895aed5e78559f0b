//! metrics-server: CPU and memory of pods at `metrics.k8s.io`, scraped from kwok, which answers as the node's kubelet.
//!
//! What a process of a pod uses on a busy machine is no figure to test with, so kwok tells what annotations of the pods name.

use anyhow::Result;
use hyper::Request;
use kube::Client;
use serde_json::json;

use crate::plane::apply;

use super::Plane;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "metrics-server";
const PORT: u16 = 24443;

/// Starts metrics-server; returns once its API is served.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    apply::path(client, &plane.settings.peer("metrics-server-manifests")?.join("rbac.yaml")).await?;
    let kubeconfig = plane.kubeconfig_of(client, NAMESPACE, NAME).await?;
    let arguments = [
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={PORT}"),
        format!("--cert-dir={}", plane.state.join("metrics-server-certificates").display()),
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        // kwok has no certificate.
        "--deprecated-kubelet-completely-insecure".to_owned(),
        "--kubelet-use-node-status-port".to_owned(),
        // The shortest that it takes.
        "--metric-resolution=10s".to_owned(),
        "--kubelet-request-timeout=5s".to_owned(),
    ];
    plane.start(NAME, &arguments, &[])?;
    // The aggregator resolves such a Service to a port of loopback, which endpoints must not name.
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": NAME, "namespace": NAMESPACE },
        "spec": { "type": "ExternalName", "externalName": "localhost" },
    });
    apply::one(client, service).await?;
    // As in its own manifests, which do not check its certificate either.
    let metrics = json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": { "name": "v1beta1.metrics.k8s.io" },
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": true,
            "service": { "name": NAME, "namespace": NAMESPACE, "port": PORT },
        },
    });
    apply::one(client, metrics).await?;
    plane
        .ready(NAME, async || {
            client.request_text(Request::get("/apis/metrics.k8s.io/v1beta1").body(Vec::new())?).await?;
            Ok(Some(()))
        })
        .await
}
