//! Peers go away under load, and replicas never fall because of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidegate_sim::load::Load;
use tidegate_stack::{Stack, scrape};
use tokio::time::timeout;

use tidegate_e2e::{
    cluster::Cluster,
    kubectl::get,
    scenario::{Scenario, http, http_stack, until},
};

/// Time for which replicas are looked at after an outage. What is missing from the measured window of 30 s, and was read as zero,
/// shows within 11 s: after the scale-down windows of 5 s that Tidegate and the HPA keep, and the second between two looks of the HPA.
const SETTLED: Duration = Duration::from_secs(20);

/// A Deployment at 5 replicas. Its load needs nearly all of them, so that a busy machine which sends a little less changes
/// nothing; its scale-down window is short, so that one missed sample read as zero would show.
async fn at_five_replicas(name: &str) -> Result<(Scenario, Load)> {
    let scenario = Scenario::new(name).await?;
    let annotations = [("requests-per-second", "20"), ("scale-down-after", "5s")];
    let manifests = http_stack(&annotations);
    scenario.apply(&manifests).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let load = scenario.load(entrance, http()?, 98.0).await?;
    scenario.wait_for_replicas("task-api", 5).await?;
    Ok((scenario, load))
}

/// The same, and from then on no other test uses the peers, until this one's namespace is being deleted.
async fn alone_at_five_replicas(name: &str) -> Result<(Cluster, Scenario, Load)> {
    let cluster = Cluster::at_the_end().await?;
    let (scenario, load) = at_five_replicas(name).await?;
    Ok((cluster.alone().await, scenario, load))
}

/// Replicas hold while something happens, and for a while after it.
async fn never_below_five<T>(scenario: &Scenario, happens: impl Future<Output = Result<T>>) -> Result<T> {
    scenario.stays_through("task-api", happens, SETTLED, |replicas| replicas >= 5).await
}

/// Whether the HPA gets its metric.
async fn is_measured(scenario: &Scenario) -> Result<bool> {
    let hpa = scenario.get(&["hpa", "keda-hpa-task-api"]).await?;
    let conditions = hpa["status"]["conditions"].as_array().into_iter().flatten();
    Ok(conditions.into_iter().any(|condition| condition["type"] == "ScalingActive" && condition["status"] == "True"))
}

/// Waits until the HPA gets its metric again, which it may go on to get for some seconds.
async fn comes_back(scenario: &Scenario) -> Result<()> {
    let lost = until("the HPA loses its metric", async || {
        ensure!(!is_measured(scenario).await?);
        Ok(())
    });
    let _not_at_all = timeout(Duration::from_secs(5), lost).await;
    until("the HPA gets its metric", async || {
        ensure!(is_measured(scenario).await?, "it does not");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn replicas_hold_while_keda_restarts() -> Result<()> {
    let (_cluster, scenario, _load) = alone_at_five_replicas("keda-restart").await?;
    let stack = Stack::attach()?;
    let restarts = async {
        stack.restart("keda-operator").await?;
        stack.restart("keda-adapter").await?;
        comes_back(&scenario).await
    };
    never_below_five(&scenario, restarts).await
}

#[tokio::test]
async fn replicas_hold_while_the_scaler_is_killed_and_comes_back() -> Result<()> {
    let (cluster, scenario, _load) = alone_at_five_replicas("scaler-killed").await?;
    let stack = Stack::attach()?;
    let killed = async {
        for pod in cluster.pods().await? {
            stack.kill(&format!("pod/tidegate-system/{pod}")).await?;
        }
        comes_back(&scenario).await
    };
    never_below_five(&scenario, killed).await
}

#[tokio::test]
async fn replicas_hold_while_the_api_server_is_away_for_20_s() -> Result<()> {
    let (_cluster, scenario, _load) = alone_at_five_replicas("api-away").await?;
    let stack = Stack::attach()?;
    let away = async {
        stack.stop("kube-apiserver").await?;
        tokio::time::sleep(Duration::from_secs(20)).await;
        stack.start("kube-apiserver").await?;
        until("the API server answers", async || scenario.replicas("task-api").await.map(drop)).await?;
        // Without leader election they go on, and try each watch again within half a minute. With it they would have ended.
        for peer in ["kube-controller-manager", "kube-scheduler"] {
            stack.restart(peer).await?;
        }
        Ok(())
    };
    never_below_five(&scenario, away).await?;
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
    let _cluster = Cluster::shared().await?;
    let (scenario, _load) = at_five_replicas("envoy-killed").await?;
    let owner = format!("gateway.envoyproxy.io/owning-gateway-namespace={}", scenario.namespace);
    let killed = async {
        let pods = get(&["pods", "-A", "-l", &owner]).await?;
        let pod = &pods["items"][0]["metadata"];
        let name = format!("pod/{}/{}", pod["namespace"].as_str().unwrap_or(""), pod["name"].as_str().unwrap_or(""));
        Stack::attach()?.kill(&name).await?;
        scenario.gateway("web", 8080).await
    };
    never_below_five(&scenario, killed).await.map(drop)
}

#[tokio::test]
async fn replicas_hold_while_no_pod_of_the_workload_can_start() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let (scenario, _load) = at_five_replicas("no-pods").await?;
    // A rollout goes wrong: the old pods are gone, and the new ones find no node. A rule without any endpoint answers 503,
    // and Envoy Gateway removes its cluster, and with it all its counters.
    let patch = r#"{"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null},
                    "template": {"spec": {"nodeSelector": {"there": "is-none"}}}}}"#;
    let none_is_ready = async || {
        let ready = scenario.get(&["deployment", "task-api"]).await?["status"]["readyReplicas"].clone();
        ensure!(ready.is_null(), "{ready} pods are ready");
        Ok(())
    };
    let patched = async {
        scenario.kubectl(&["patch", "deployment", "task-api", "-p", patch]).await?;
        until("no pod is ready", none_is_ready).await
    };
    never_below_five(&scenario, patched).await?;
    none_is_ready().await
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
    let unmeasured = async {
        scenario.kubectl(&["patch", "httproute", "tasks", "--type=json", "-p", first]).await?;
        scenario.event("Deployment", "task-api", "NotMeasured").await
    };
    let told = never_below_five(&scenario, unmeasured).await;
    stack.start("envoy-gateway").await?;
    let told = told?;
    ensure!(told.contains("HTTPRoute") || told.contains("no proxy has the cluster"), "{told}");
    // Once the proxies have the new names, replicas do not fall either.
    let entrance = scenario.gateway("web", 8080).await?.ip().to_string();
    let renamed = until("Envoy counts requests under the new name", async || {
        let series = scrape(&entrance, "upstream_rq_total").await?;
        let cluster = format!("httproute/{}/tasks/rule/1\"", scenario.namespace);
        ensure!(series.iter().any(|(name, requests)| name.contains(&cluster) && *requests > 0.0), "{series:?}");
        Ok(())
    });
    never_below_five(&scenario, renamed).await
}

#[tokio::test]
async fn replicas_hold_over_ten_restarts_of_both_pods_under_load() -> Result<()> {
    let (cluster, scenario, _load) = alone_at_five_replicas("ten-restarts").await?;
    let stack = Stack::attach()?;
    let restarts = async {
        for _ in 0..5 {
            for pod in cluster.pods().await? {
                stack.kill(&format!("pod/tidegate-system/{pod}")).await?;
                tokio::time::sleep(Duration::from_secs(4)).await;
            }
        }
        comes_back(&scenario).await
    };
    never_below_five(&scenario, restarts).await
}
