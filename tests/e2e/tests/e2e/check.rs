//! `tidegate check` on the real stack: as it is installed, and with faults planted.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_e2e::{
    cluster::Cluster,
    kubectl::run_to,
    scenario::{Scenario, task_api, until},
};

/// The lines of `tidegate check -o json`, whatever its exit code.
async fn check(args: &[&str]) -> Result<Vec<Value>> {
    let page = run_to(&[0, 1], "tidegate", &[&["check", "-o", "json"], args].concat(), None).await?;
    Ok(serde_json::from_str(&page)?)
}

/// What a check says in a way that is not ok.
fn wrong<'a>(lines: &'a [Value], name: &str) -> Vec<&'a str> {
    let lines = lines.iter().filter(|line| line["name"] == name && line["level"] != "ok");
    lines.filter_map(|line| line["detail"].as_str()).collect()
}

#[tokio::test]
async fn check_finds_an_installation_well_and_planted_faults_by_name() -> Result<()> {
    let cluster = Cluster::at_the_end().await?;
    let scenario = Scenario::new("check").await?;
    // Other tests have workloads with problems, and hold up KEDA.
    let _cluster = cluster.alone().await;
    until("all that the installation decides is well", async || {
        let lines = check(&[]).await?;
        for name in [
            "the API server answers",
            "the clocks agree",
            "the Gateway API is installed",
            "Envoy Gateway is installed",
            "KEDA is installed",
            "Tidegate's own kinds are installed",
            "there is one release of Tidegate",
            "Tidegate is ready",
            "the versions agree",
            "you may do what the commands need",
            "Tidegate may do what it needs",
            "every EndpointSlice has its Tidegate",
            "every Lease is held",
        ] {
            ensure!(lines.iter().any(|line| line["name"] == name), "{name} is missing");
            ensure!(wrong(&lines, name).is_empty(), "{name}: {:?}", wrong(&lines, name));
        }
        Ok(())
    })
    .await?;
    let before = check(&["--pre"]).await?;
    ensure!(before.iter().all(|line| line["category"] != "permissions"), "--pre asks for more: {before:#?}");

    let namespace = &scenario.namespace;
    let left_over = "---\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: left-over, labels: {tidegate.dev/release: gone.gone}}\n\
                     spec:\n  scaleTargetRef: {name: left-over}\n  triggers: [{type: cron, metadata: {timezone: UTC, start: 0 8 * * *, \
                     end: 0 9 * * *, desiredReplicas: \"1\"}}]\n---\n";
    let second = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: second, labels: {app.kubernetes.io/name: tidegate}}\n\
                  spec:\n  replicas: 0\n  selector: {matchLabels: {app: second}}\n  template:\n    metadata: {labels: {app: second}}\n    \
                  spec: {containers: [{name: tidegate, image: tidegate}]}\n";
    scenario.apply(&(task_api("typo", &[("max-replicsa", "5")]) + left_over + second)).await?;
    until("all three are found", async || {
        let lines = check(&[]).await?;
        for (name, part) in [
            ("every ScaledObject has its workload", format!("ScaledObject left-over in namespace {namespace}")),
            ("there is one release of Tidegate", format!("{namespace}/second")),
            ("no workload has a problem", format!("deployment/typo in namespace {namespace}: InvalidAnnotations")),
        ] {
            let found = wrong(&lines, name);
            ensure!(found.iter().any(|detail| detail.contains(&part)), "{name}: {found:?}");
        }
        Ok(())
    })
    .await
    .context("tidegate check")
}
