//! kwok simulates the only node, and the pods that have nothing real to run.

use std::fs;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use serde_json::{Value, json};
use tidegate_core::yaml;

use crate::{
    network::{self, FAKE_PODS},
    plane::apply,
    pods::REAL_IMAGES,
    settings::Component,
};

use super::Plane;

/// Port at which kwok answers as the kubelet of the node.
const KUBELET: u16 = 10247;
/// The node of all pods.
const NODE: &str = "fake-0";

/// Starts kwok; returns once the node is ready.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    let config = plane.state.join("kwok.yaml");
    let folder = plane.settings.peer("kwok-stages")?;
    let mut text = String::new();
    for entry in fs::read_dir(folder)? {
        for mut stage in apply::documents(&fs::read_to_string(entry?.path())?)? {
            leave_real_pods_alone(&mut stage)?;
            text.push_str("---\n");
            text.push_str(&yaml::write(&stage)?);
        }
    }
    if plane.settings.has(Component::MetricsServer) {
        for entry in fs::read_dir(plane.settings.peer("kwok-metrics")?)? {
            text.push_str("---\n");
            text.push_str(&fs::read_to_string(entry?.path())?);
        }
    }
    fs::write(&config, text)?;
    let arguments = [
        format!("--kubeconfig={}", plane.kubeconfig().display()),
        format!("--config={}", config.display()),
        "--manage-all-nodes=true".to_owned(),
        format!("--cidr={FAKE_PODS}"),
        format!("--node-ip={}", network::NODE),
        "--node-lease-duration-seconds=40".to_owned(),
        format!("--server-address={}:{KUBELET}", network::NODE),
        format!("--node-port={KUBELET}"),
    ];
    plane.start("kwok", &arguments, &[])?;
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NODE,
            "annotations": {
                "node.alpha.kubernetes.io/ttl": "0",
                "kwok.x-k8s.io/node": "fake",
                "metrics.k8s.io/resource-metrics-path": format!("/metrics/nodes/{NODE}/metrics/resource"),
            },
            "labels": { "kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "type": "kwok" },
        },
    });
    apply::one(client, node).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    plane
        .ready("kwok", async || {
            let conditions = nodes.get(NODE).await?.status.and_then(|status| status.conditions).unwrap_or_default();
            Ok(conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True").then_some(()))
        })
        .await
}

/// Excludes from a stage the pods whose images all stand for a program: the pod runner runs them, and reports itself when they
/// are ready or gone.
fn leave_real_pods_alone(stage: &mut Value) -> Result<()> {
    if stage["spec"]["resourceRef"]["kind"] != "Pod" {
        return Ok(());
    }
    let images = REAL_IMAGES.join("|");
    let all_real =
        format!("[.spec.containers[].image | test(\"(^|/)({images})(@|:[^/]*$|$)\")] | all | select(.) | tostring");
    let selector =
        stage["spec"]["selector"]["matchExpressions"].as_array_mut().context("a stage without a selector")?;
    selector.push(json!({ "key": all_real, "operator": "DoesNotExist" }));
    Ok(())
}
