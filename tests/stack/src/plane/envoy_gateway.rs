//! Envoy Gateway with its Kubernetes provider: it creates the proxies' Deployments, whose pods the pod runner runs as Envoys.

use std::{fs, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::json;
use tokio::process::Command;

use crate::{
    http,
    network::ENVOY_GATEWAY,
    plane::apply,
    sandbox::{Bind, Sandbox},
    settings::Component,
    wait::eventually,
};

use super::{Plane, ai_gateway, ratelimit};

const NAMESPACE: &str = "envoy-gateway-system";
const CONTROLLER: &str = "gateway.envoyproxy.io/gatewayclass-controller";

/// Starts Envoy Gateway and applies the GatewayClass `eg`.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    let definitions = async {
        // Envoy Gateway checks only at its start which kinds of routes exist.
        apply::path(client, &plane.settings.peer("gateway-api-crds")?.join("crds")).await?;
        apply::path(client, &plane.settings.peer("envoy-gateway-crds")?.join("crds")).await?;
        // The kinds of Envoy AI Gateway, for Tidegate to read also where the AI gateway itself does not run.
        apply::path(client, &plane.settings.peer("ai-gateway-crds")?.join("crds")).await?;
        apply::path(client, &plane.settings.peer("inference-crds")?.join("crds")).await?;
        apply::established(client, "gateway.networking.k8s.io").await?;
        apply::established(client, "gateway.envoyproxy.io").await
    };
    let certificates = async {
        apply::one(client, namespace).await?;
        certificates(plane, client).await
    };
    let ((), certificates) = tokio::try_join!(definitions, certificates)?;

    let config = plane.state.join("envoy-gateway.yaml");
    // With leader election it would stop working, but not end, when it loses its lease.
    let kubernetes = json!({ "leaderElection": { "disable": true } });
    let mut settings = json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyGateway",
        "gateway": { "controllerName": CONTROLLER },
        "provider": { "type": "Kubernetes", "kubernetes": kubernetes },
        "extensionApis": { "enableBackend": true, "enableEnvoyPatchPolicy": true },
    });
    if plane.settings.has(Component::Ratelimit) {
        settings["rateLimit"] = ratelimit::settings();
        ratelimit::own(client, NAMESPACE).await?;
    }
    if plane.settings.has(Component::AiGateway) {
        settings["extensionManager"] = ai_gateway::extension_manager(&plane.settings)?;
    }
    fs::write(&config, settings.to_string())?;
    // As Envoy Gateway's chart installs it, for those who read it.
    let config_map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "envoy-gateway-config", "namespace": NAMESPACE },
        "data": { "envoy-gateway.yaml": settings.to_string() },
    });
    apply::one(client, config_map).await?;
    // It reads its certificates from /certs and nowhere else, and listens on all addresses: so it gets a sandbox like a
    // pod's.
    let sandbox = Sandbox {
        root: plane.state.join("envoy-gateway-root"),
        binds: vec![
            Bind::new(certificates, "/certs"),
            Bind::new(plane.settings.peer("envoy-gateway")?, "/program/envoy-gateway"),
            Bind::new(&config, "/config/envoy-gateway.yaml"),
            Bind::new(plane.kubeconfig(), "/config/kubeconfig"),
            Bind::new(plane.pki.folder(), plane.pki.folder().to_string_lossy()),
        ],
    };
    let sandbox = sandbox.open(0, ENVOY_GATEWAY).await?;
    let command = ["/program/envoy-gateway", "server", "--config-path", "/config/envoy-gateway.yaml"];
    let command = [sandbox.enter(), command.map(str::to_owned).to_vec()].concat();
    let env = [("KUBECONFIG", "/config/kubeconfig"), ("ENVOY_GATEWAY_NAMESPACE", NAMESPACE)];
    // Its rate limit service is owned by the Service, so this has to be there when it starts.
    expose(client).await?;
    plane.start_as("envoy-gateway", command, &env)?;
    plane.keep(sandbox);
    let health = format!("http://{ENVOY_GATEWAY}:8081/readyz");
    plane
        .ready("envoy-gateway", async || {
            let (status, _) = http::get(&health, Duration::from_secs(1)).await?;
            Ok((status == 200).then_some(()))
        })
        .await?;
    accepted(client).await
}

/// Lets Envoy Gateway create its own certificates and the proxies' in the cluster; returns the folder of its own.
async fn certificates(plane: &Plane, client: &Client) -> Result<std::path::PathBuf> {
    let output = Command::new(plane.settings.peer("envoy-gateway")?)
        .args(["certgen", "--disable-topology-injector"])
        .env("KUBECONFIG", plane.kubeconfig())
        .env("ENVOY_GATEWAY_NAMESPACE", NAMESPACE)
        .stdin(Stdio::null())
        .output()
        .await?;
    if !output.status.success() {
        bail!("envoy-gateway certgen failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let data = secrets.get("envoy-gateway").await?.data.context("certgen made an empty Secret")?;
    let folder = plane.state.join("envoy-gateway-certificates");
    fs::create_dir_all(&folder)?;
    for (name, bytes) in data {
        fs::write(folder.join(name), bytes.0)?;
    }
    Ok(folder)
}

/// Waits until the GatewayClass is accepted: from then on Envoy Gateway handles Gateways.
async fn accepted(client: &Client) -> Result<()> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "GatewayClass"));
    let classes: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    eventually(Duration::from_secs(60), "the GatewayClass eg is accepted", async || {
        let class = classes.get("eg").await?;
        let conditions = class.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        Ok(conditions.iter().any(|c| c["type"] == "Accepted" && c["status"] == "True").then_some(()))
    })
    .await
}

/// Applies the Service by whose name proxies find Envoy Gateway, and the GatewayClass.
async fn expose(client: &Client) -> Result<()> {
    let ports = json!([
        { "name": "grpc", "port": 18000, "protocol": "TCP" },
        { "name": "ratelimit", "port": 18001, "protocol": "TCP" },
        { "name": "wasm", "port": 18002, "protocol": "TCP" },
    ]);
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "envoy-gateway", "namespace": NAMESPACE },
        "spec": { "clusterIP": "None", "ports": ports },
    });
    apply::one(client, service).await?;
    apply::endpoints(client, NAMESPACE, "envoy-gateway", ENVOY_GATEWAY, &ports).await?;
    let mut class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": { "name": "eg" },
        "spec": { "controllerName": CONTROLLER },
    });
    // As if it came from `kubectl apply`, which the examples are applied with.
    let applied = class.to_string();
    class["metadata"]["annotations"] = json!({ "kubectl.kubernetes.io/last-applied-configuration": applied });
    apply::one(client, class).await
}
