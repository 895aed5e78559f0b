//! Global rate limits: the Redis in which Envoy's rate limit service counts, and the objects without which Envoy Gateway does
//! not deploy that service.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::Result;
use kube::Client;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};

use crate::plane::apply;

use super::Plane;

const NAMESPACE: &str = "redis-system";
/// An address of the fake pods' range, which any process may bind.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 255, 251);
const PORT: u16 = 6379;

/// Starts Redis, in memory alone.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    let (address, port) = (ADDRESS.to_string(), PORT.to_string());
    let arguments = ["--bind", &address, "--port", &port, "--save", "", "--appendonly", "no", "--protected-mode", "no"];
    plane.start("redis", &arguments.map(str::to_owned), &[])?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    apply::one(client, namespace).await?;
    let ports = json!([{ "name": "redis", "port": PORT, "protocol": "TCP" }]);
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "redis", "namespace": NAMESPACE },
        "spec": { "ports": ports },
    });
    apply::one(client, service).await?;
    apply::endpoints(client, NAMESPACE, "redis", ADDRESS, &ports).await?;
    plane
        .ready("redis", async || {
            timeout(Duration::from_secs(1), TcpStream::connect((ADDRESS, PORT))).await??;
            Ok(Some(()))
        })
        .await
}

/// `rateLimit` of Envoy Gateway's configuration. It takes a host name only: an address is no URL to it. Proxies wait 20 ms for the
/// service by default, and then let the request pass: on a busy machine no limit would be exact.
pub(super) fn settings() -> Value {
    let url = format!("redis.{NAMESPACE}.svc.cluster.local:{PORT}");
    json!({ "backend": { "type": "Redis", "redis": { "url": url } }, "timeout": "10s" })
}

/// Applies the objects that Envoy Gateway's chart would have made and that own the rate limit service. Envoy Gateway looks for them
/// once, at its start; without them there is no service, and every request passes.
pub(super) async fn own(client: &Client, namespace: &str) -> Result<()> {
    let metadata = json!({ "name": "envoy-gateway", "namespace": namespace });
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata });
    let labels = json!({ "control-plane": "envoy-gateway" });
    // Envoy Gateway itself is a process of the stack, and no pod.
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "envoy-gateway", "image": "envoyproxy/gateway" }] },
            },
        },
    });
    apply::one(client, account).await?;
    apply::one(client, deployment).await
}
