//! KEDA: its objects from its own manifests, and its three programs as processes on loopback.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use hyper::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::{http, plane::apply};

use super::{Plane, lease};

/// Ports of KEDA on loopback; Envoy Gateway has 8081, 9443 and 18000 to 19001.
const OPERATOR_HEALTH: u16 = 28081;
const WEBHOOKS_HEALTH: u16 = 28084;
const WEBHOOKS: u16 = 29443;
const ADAPTER: u16 = 26444;
const METRICS_SERVICE: &str = "127.0.0.1:29666";

const LOGS: [&str; 3] = ["--zap-log-level=info", "--zap-encoder=console", "--zap-time-encoding=rfc3339nano"];

/// Applies KEDA's objects and starts it; returns once the HPA controller could ask for a metric.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    let manifests = plane.settings.peer("keda-manifests")?;
    apply::path(client, &manifests.join("namespace.yaml")).await?;
    for name in ["service_account", "role", "role_binding", "metrics-role", "metrics-role_binding"] {
        apply::path(client, &manifests.join(format!("{name}.yaml"))).await?;
    }
    apply::path(client, &manifests.join("crds")).await?;
    apply::established(client, "keda.sh").await?;

    let certificates = certificates(plane)?;
    let kubeconfig = plane.kubeconfig_of(client, "keda", "keda-operator").await?;
    start(plane, &certificates, &kubeconfig)?;
    register(plane, client, manifests).await?;

    for (name, port) in [("keda-operator", OPERATOR_HEALTH), ("keda-webhooks", WEBHOOKS_HEALTH)] {
        let url = format!("http://127.0.0.1:{port}/readyz");
        plane.ready(name, async || Ok((http::get(&url, Duration::from_secs(1)).await?.0 == 200).then_some(()))).await?;
    }
    plane
        .ready("keda-adapter", async || {
            let request = Request::get("/apis/external.metrics.k8s.io/v1beta1").body(Vec::new())?;
            client.request_text(request).await?;
            Ok(Some(()))
        })
        .await
}

/// Copies one certificate and key for all three programs, under the names that KEDA expects.
fn certificates(plane: &Plane) -> Result<String> {
    let folder = plane.state.join("keda-certificates");
    fs::create_dir_all(&folder)?;
    for (from, to) in [("keda-ca.crt", "ca.crt"), ("keda.crt", "tls.crt"), ("keda.key", "tls.key")] {
        fs::copy(plane.pki.path(from), folder.join(to))?;
    }
    Ok(folder.to_string_lossy().into_owned())
}

fn start(plane: &Plane, certificates: &str, kubeconfig: &str) -> Result<()> {
    let env = [
        ("KUBECONFIG", kubeconfig),
        ("WATCH_NAMESPACE", ""),
        ("POD_NAMESPACE", "keda"),
        ("KEDA_CLUSTER_OBJECT_NAMESPACE", "keda"),
        ("KEDA_OPERATOR_LEADER_ELECTION_LEASE_DURATION", lease::DURATION),
        ("KEDA_OPERATOR_LEADER_ELECTION_RENEW_DEADLINE", lease::RENEW_WITHIN),
        ("KEDA_OPERATOR_LEADER_ELECTION_RETRY_PERIOD", lease::RETRY),
    ];
    let operator = [
        "--leader-elect=true".to_owned(),
        "--enable-cert-rotation=false".to_owned(),
        format!("--cert-dir={certificates}"),
        "--metrics-bind-address=127.0.0.1:28080".to_owned(),
        format!("--health-probe-bind-address=127.0.0.1:{OPERATOR_HEALTH}"),
        format!("--metrics-service-bind-address={METRICS_SERVICE}"),
    ];
    plane.start("keda-operator", &with_logs(&operator), &env)?;
    let adapter = [
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={ADAPTER}"),
        "--port=28082".to_owned(),
        format!("--metrics-service-address={METRICS_SERVICE}"),
        format!("--cert-dir={certificates}"),
        format!("--tls-cert-file={certificates}/tls.crt"),
        format!("--tls-private-key-file={certificates}/tls.key"),
        plane.pki.flag("client-ca-file", "cluster-ca.crt"),
        format!("--lister-kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
    ];
    plane.start("keda-adapter", &with_logs(&adapter), &env)?;
    let webhooks = [
        format!("--port={WEBHOOKS}"),
        format!("--cert-dir={certificates}"),
        "--metrics-bind-address=127.0.0.1:28083".to_owned(),
        format!("--health-probe-bind-address=127.0.0.1:{WEBHOOKS_HEALTH}"),
    ];
    plane.start("keda-webhooks", &with_logs(&webhooks), &env)
}

fn with_logs(arguments: &[String]) -> Vec<String> {
    arguments.iter().cloned().chain(LOGS.map(str::to_owned)).collect()
}

/// Registers the adapter and the webhooks with the API server. Endpoints refuse loopback addresses, but the aggregator
/// resolves a Service of type ExternalName to `<externalName>:<port of the APIService>`, and webhooks may name a URL.
async fn register(plane: &Plane, client: &Client, manifests: &Path) -> Result<()> {
    let bundle = base64(&fs::read(plane.pki.path("keda-ca.crt"))?);
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "keda-metrics-apiserver", "namespace": "keda" },
        "spec": { "type": "ExternalName", "externalName": "localhost" },
    });
    apply::one(client, service).await?;
    let metrics = json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": { "name": "v1beta1.external.metrics.k8s.io" },
        "spec": {
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": bundle,
            "service": { "name": "keda-metrics-apiserver", "namespace": "keda", "port": ADAPTER },
        },
    });
    apply::one(client, metrics).await?;
    for mut hooks in apply::documents(&fs::read_to_string(manifests.join("validation_webhooks.yaml"))?)? {
        for hook in hooks["webhooks"].as_array_mut().context("no webhooks")? {
            let path = hook["clientConfig"]["service"]["path"].as_str().context("a webhook without a path")?.to_owned();
            let url = format!("https://127.0.0.1:{WEBHOOKS}{path}");
            hook["clientConfig"] = json!({ "url": url, "caBundle": bundle });
        }
        apply::one(client, hooks).await?;
    }
    Ok(())
}

fn base64(bytes: &[u8]) -> Value {
    serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).unwrap_or_default()
}
