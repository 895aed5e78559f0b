//! Peers go away under load, and replicas never fall because of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidegate_sim::load::Load;
use tidegate_stack::Stack;

use tidegate_e2e::{
    cluster::Cluster,
    kubectl::get,
    scenario::{Scenario, http, http_stack, until},
};

/// A Deployment at 5 replicas. Its load needs nearly all of them, so that a busy machine which sends a little less changes
/// nothing; its scale-down window is short, so that one missed sample read as zero would show.
async fn at_five_replicas(name: &str) -> Result<(Cluster, Scenario, Load)> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new(name).await?;
    let annotations = [("requests-per-second", "20"), ("scale-down-after", "5s")];
    let manifests = http_stack(&annotations);
    scenario.apply(&manifests).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let load = scenario.load(entrance, http()?, 98.0).await?;
    scenario.wait_for_replicas("task-api", 5).await?;
    Ok((cluster, scenario, load))
}

/// The same, and from then on no other test uses the peers, until this one's namespace is being deleted.
async fn alone_at_five_replicas(name: &str) -> Result<(Cluster, Scenario, Load)> {
    let (cluster, scenario, load) = at_five_replicas(name).await?;
    Ok((cluster.alone().await, scenario, load))
}

async fn never_below_five(scenario: &Scenario, period: Duration) -> Result<()> {
    scenario.stays("task-api", period, |replicas| replicas >= 5).await
}

#[tokio::test]
async fn replicas_hold_while_keda_restarts() -> Result<()> {
    let (_cluster, scenario, _load) = alone_at_five_replicas("keda-restart").await?;
    let stack = Stack::attach()?;
    stack.restart("keda-operator").await?;
    stack.restart("keda-adapter").await?;
    never_below_five(&scenario, Duration::from_secs(30)).await
}

#[tokio::test]
async fn replicas_hold_while_the_scaler_is_killed_and_comes_back() -> Result<()> {
    let (cluster, scenario, _load) = alone_at_five_replicas("scaler-killed").await?;
    let stack = Stack::attach()?;
    for pod in cluster.pods().await? {
        stack.kill(&format!("pod/tidegate-system/{pod}")).await?;
    }
    never_below_five(&scenario, Duration::from_secs(30)).await?;
    until("the scaler answers again", async || {
        let hpa = scenario.get(&["hpa", "keda-hpa-task-api"]).await?;
        let active = hpa["status"]["conditions"].as_array().into_iter().flatten();
        let active = active.into_iter().any(|c| c["type"] == "ScalingActive" && c["status"] == "True");
        ensure!(active, "{}", hpa["status"]["conditions"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn replicas_hold_while_the_api_server_is_away_for_20_s() -> Result<()> {
    let (_cluster, scenario, _load) = alone_at_five_replicas("api-away").await?;
    let stack = Stack::attach()?;
    stack.stop("kube-apiserver").await?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    stack.start("kube-apiserver").await?;
    never_below_five(&scenario, Duration::from_secs(30)).await?;
    // And the loop works again: a change of the annotations arrives.
    scenario.kubectl(&["annotate", "deployment", "task-api", "--overwrite", "tidegate.dev/min-replicas=6"]).await?;
    scenario.wait_for_replicas("task-api", 6).await?;
    // The other peers back off for a minute or more, each watch on its own. The tests that follow want them now.
    for peer in ["envoy-gateway", "keda-operator", "keda-adapter", "kwok"] {
        stack.restart(peer).await?;
    }
    Ok(())
}

#[tokio::test]
async fn replicas_hold_while_envoy_is_killed_under_load() -> Result<()> {
    let (_cluster, scenario, _load) = alone_at_five_replicas("envoy-killed").await?;
    let owner = format!("gateway.envoyproxy.io/owning-gateway-namespace={}", scenario.namespace);
    let pods = get(&["pods", "-A", "-l", &owner]).await?;
    let pod = &pods["items"][0]["metadata"];
    let name = format!("pod/{}/{}", pod["namespace"].as_str().unwrap_or(""), pod["name"].as_str().unwrap_or(""));
    Stack::attach()?.kill(&name).await?;
    never_below_five(&scenario, Duration::from_secs(45)).await
}

#[tokio::test]
async fn replicas_hold_while_no_pod_of_the_workload_can_start() -> Result<()> {
    let (_cluster, scenario, _load) = at_five_replicas("no-pods").await?;
    // A rollout goes wrong: the old pods are gone, and the new ones find no node. A rule without any endpoint answers 503,
    // and Envoy Gateway removes its cluster, and with it all its counters.
    let patch = r#"{"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null},
                    "template": {"spec": {"nodeSelector": {"there": "is-none"}}}}}"#;
    scenario.kubectl(&["patch", "deployment", "task-api", "-p", patch]).await?;
    never_below_five(&scenario, Duration::from_secs(60)).await?;
    let ready = scenario.get(&["deployment", "task-api"]).await?["status"]["readyReplicas"].clone();
    ensure!(ready.is_null(), "{ready} pods were ready: this test has tested nothing");
    Ok(())
}

#[tokio::test]
async fn replicas_hold_while_a_rule_is_inserted_and_envoy_gateway_is_away() -> Result<()> {
    let (_cluster, scenario, _load) = alone_at_five_replicas("rule-inserted").await?;
    let stack = Stack::attach()?;
    stack.stop("envoy-gateway").await?;
    // The proxies keep their configuration, but the workload's rule has a new index, and so another name from now on.
    let first = r#"[{"op": "add", "path": "/spec/rules/0", "value": {
        "matches": [{"path": {"type": "PathPrefix", "value": "/first"}}],
        "backendRefs": [{"name": "task-api", "port": 9000}]}}]"#;
    let patched = scenario.kubectl(&["patch", "httproute", "tasks", "--type=json", "-p", first]).await;
    let held = async {
        patched?;
        never_below_five(&scenario, Duration::from_secs(45)).await?;
        scenario.event("Deployment", "task-api", "NotMeasured").await
    };
    let told = held.await;
    stack.start("envoy-gateway").await?;
    let told = told?;
    ensure!(told.contains("HTTPRoute") || told.contains("no proxy has the cluster"), "{told}");
    // Once the proxies have the new names, replicas do not fall either.
    never_below_five(&scenario, Duration::from_secs(45)).await
}

#[tokio::test]
async fn replicas_hold_over_ten_restarts_of_both_pods_under_load() -> Result<()> {
    let (cluster, scenario, _load) = alone_at_five_replicas("ten-restarts").await?;
    let stack = Stack::attach()?;
    for _ in 0..5 {
        for pod in cluster.pods().await? {
            stack.kill(&format!("pod/tidegate-system/{pod}")).await?;
            never_below_five(&scenario, Duration::from_secs(4)).await?;
        }
    }
    never_below_five(&scenario, Duration::from_secs(40)).await
}
