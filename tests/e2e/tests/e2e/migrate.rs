//! `tidegate migrate` over the manifests of other autoscalers, whose replays are in `cli/tests/migrate`: here the real API server takes
//! its patches, and Tidegate takes over what they name.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_e2e::{
    cluster::Cluster,
    kubectl::run,
    scenario::{Scenario, until},
};

/// Kinds whose CRDs are not in the stack: only their patches are applied.
const UNKNOWN: [&str; 2] = ["HTTPScaledObject", "SleepInfo"];

/// All manifests, in this namespace.
fn manifests(namespace: &str) -> Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cli/tests/migrate/manifests");
    let mut paths: Vec<_> = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()
        .context("the folder of manifests")?;
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(text.replace("namespace: shop", &format!("namespace: {namespace}")))
    };
    paths.iter().map(read).collect()
}

/// What `tidegate migrate` prints. Its exit code is 1, because some fields have no equivalent.
async fn migrated(manifests: &str, output: &str) -> Result<String> {
    run("sh", &["-c", &format!("tidegate migrate -f - -o {output} || test $? = 1")], Some(manifests)).await
}

/// A workload of the kind and name that a patch has, with requests: KEDA refuses to scale on CPU without.
fn workload(patch: &Value) -> Value {
    let labels = serde_json::json!({"app": patch["metadata"]["name"]});
    let container = serde_json::json!({"name": "app", "image": "app", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}});
    let mut workload = serde_json::json!({"apiVersion": patch["apiVersion"], "kind": patch["kind"], "metadata": {"name": patch["metadata"]["name"]},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}});
    if patch["kind"] == "StatefulSet" {
        workload["spec"]["serviceName"] = patch["metadata"]["name"].clone();
    }
    workload
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[tokio::test]
async fn what_migrate_writes_is_accepted_by_the_api_server_and_what_it_adopts_is_taken_over() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("migrate").await?;
    let manifests = manifests(&scenario.namespace)?;
    let all = manifests.join("---\n");
    let list: Value = serde_json::from_str(&migrated(&all, "json").await?)?;
    let patches = list["items"].as_array().context("a List")?;
    ensure!(patches.len() > manifests.len(), "a patch for each, and two of the SleepInfo: {patches:?}");

    let workloads: Vec<_> = patches.iter().filter(|patch| patch["kind"] != "Namespace").collect();
    for patch in &workloads {
        scenario.apply(&workload(patch).to_string()).await?;
    }
    let known = manifests.iter().filter(|text| !UNKNOWN.iter().any(|kind| text.contains(&format!("kind: {kind}"))));
    for manifest in known {
        scenario.apply(manifest).await?;
    }
    let hpa = async || Ok(text(&scenario.get(&["hpa", "keda-hpa-checkout-scaler"]).await?, "/metadata/uid").to_owned());
    let before = until("KEDA makes an HPA for the ScaledObject that was there", hpa).await?;

    // Dry, since hours on the Namespace would decide by the time of day.
    let dry = ["apply", "--server-side", "--field-manager=tidegate-migrate", "--dry-run=server", "-f", "-"];
    let accepted = run("kubectl", &dry, Some(&migrated(&all, "yaml").await?)).await?;
    ensure!(accepted.lines().count() == patches.len(), "{accepted}");
    let commands = migrated(&all, "kubectl").await?;
    let (of_namespace, commands): (Vec<_>, Vec<_>) =
        commands.lines().partition(|command| command.starts_with("kubectl patch namespace "));
    ensure!(of_namespace.len() == 1 && commands.len() == workloads.len(), "{commands:?}");
    run("sh", &["-e"], Some(&commands.join("\n"))).await?;

    for patch in &workloads {
        let (kind, name) = (text(patch, "/kind"), text(patch, "/metadata/name"));
        let annotations = patch["metadata"]["annotations"].as_object().context("a patch has annotations")?;
        if annotations.contains_key("tidegate.dev/adopt") {
            scenario.event(kind, name, "TookOver").await?;
        }
        let reasons: BTreeSet<_> = scenario.events(kind, name).await?.into_iter().map(|(reason, _)| reason).collect();
        ensure!(!reasons.contains("InvalidAnnotations"), "{kind} {name}: {reasons:?}");
    }
    let taken_over = scenario.get(&["scaledobject", "checkout-scaler"]).await?;
    ensure!(taken_over["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "tidegate", "{taken_over}");
    ensure!(hpa().await? == before, "the HPA goes on");
    scenario.wait_for_replicas("checkout", 2).await
}
