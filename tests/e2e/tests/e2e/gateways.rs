//! Proxies that follow traffic and hours, with the real Envoy Gateway, which Tidegate must not fight.

use std::{collections::BTreeSet, time::Duration};

use crate::standalone::{Beside, beside};
use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::Value;
use tidegate_e2e::{
    cluster::Cluster,
    kubectl::{apply, get},
    scenario::{Scenario, http, http_route, task_api, until},
};

/// A Gateway with one HTTP listener.
fn gateway(name: &str, class: &str, port: u16, annotations: &[(&str, &str)], envoy_proxy: Option<&str>) -> String {
    let annotations: Vec<_> = annotations.iter().map(|(key, value)| format!("tidegate.dev/{key}: {value:?}")).collect();
    let link = envoy_proxy.map(|name| {
        format!(
            "  infrastructure: {{parametersRef: {{group: gateway.envoyproxy.io, kind: EnvoyProxy, name: {name}}}}}\n"
        )
    });
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}, annotations: {{{}}}}}
spec:
  gatewayClassName: {class}
{}  listeners: [{{name: http, protocol: HTTP, port: {port}}}]
",
        annotations.join(", "),
        link.unwrap_or_default()
    )
}

fn envoy_proxy(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

async fn class(name: &str, namespace: &str, envoy_proxy: &str) -> Result<()> {
    apply(&format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: {name}}}
spec:
  controllerName: gateway.envoyproxy.io/gatewayclass-controller
  parametersRef: {{group: gateway.envoyproxy.io, kind: EnvoyProxy, name: {envoy_proxy}, namespace: {namespace}}}
"
    ))
    .await
}

pub(crate) fn of_gateway(scenario: &Scenario, name: &str) -> String {
    format!(
        "gateway.envoyproxy.io/owning-gateway-name={name},gateway.envoyproxy.io/owning-gateway-namespace={}",
        scenario.namespace
    )
}

/// The only object of a kind that Envoy Gateway created for these proxies.
async fn made(kind: &str, labels: &str) -> Result<Value> {
    let found = get(&[kind, "-A", "-l", labels]).await?;
    found["items"].get(0).cloned().with_context(|| format!("there is no {kind} with {labels}"))
}

pub(crate) async fn wait_for_proxies(labels: &str, wanted: u64) -> Result<()> {
    until(&format!("{wanted} proxies with {labels}"), async || {
        let deployment = made("deployments", labels).await?;
        let (spec, ready) = (&deployment["spec"]["replicas"], &deployment["status"]["readyReplicas"]);
        ensure!(spec == wanted && ready.as_u64().unwrap_or(0) == wanted, "spec {spec}, ready {ready}");
        Ok(())
    })
    .await
}

/// The managers that have written an object's spec, each with the time of its last write. kube-controller-manager is left
/// out: it notes a Deployment's revision, and the HPA in it sets the replicas that are left to it.
fn writes(object: &Value) -> BTreeSet<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let of_spec = entries
        .iter()
        .filter(|entry| entry["subresource"] != "status" && entry["manager"] != "kube-controller-manager");
    of_spec.map(|entry| format!("{} {}", entry["manager"], entry["time"])).collect()
}

/// Looks at a Deployment and its EnvoyProxy 30 times in half a minute, in which nobody may write either of them. Tidegate
/// reconciles Gateways once a second, and Envoy Gateway at each write that it sees, so a disagreement shows within seconds.
async fn nobody_writes(scenario: &Scenario, labels: &str, envoy_proxy: &str) -> Result<()> {
    let look = async || {
        let deployment = get(&["deployments", "-A", "-l", labels, "--show-managed-fields"]).await?["items"][0].clone();
        let proxy = scenario.get(&["envoyproxy", envoy_proxy, "--show-managed-fields"]).await?;
        anyhow::Ok([writes(&deployment), writes(&proxy)])
    };
    let before = look().await?;
    ensure!(
        before.iter().all(|writes| !writes.is_empty()),
        "nobody wrote the Deployment or the EnvoyProxy: {before:?}"
    );
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..30 {
        looks.tick().await;
        let now = look().await?;
        ensure!(now == before, "the Deployment or the EnvoyProxy was written: {before:?}, then {now:?}");
    }
    Ok(())
}

async fn status(scenario: &Scenario, name: &str) -> Result<Value> {
    until(&format!("Gateway {name} is told its status"), async || {
        let gateway = scenario.get(&["gateway", name]).await?;
        let status = gateway["metadata"]["annotations"]["tidegate.dev/status"].as_str().context("it has none")?;
        Ok(serde_json::from_str(status)?)
    })
    .await
}

#[tokio::test]
async fn a_gateway_is_given_an_envoy_proxy_and_its_proxies_follow_the_requests() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("proxies").await?;
    let annotations = [
        ("requests-per-second", "20"),
        ("max-replicas", "5"),
        ("scale-down-after", "5s"),
        ("create-envoyproxy", "true"),
    ];
    scenario
        .apply(
            &(gateway("web", "eg", 8080, &annotations, None)
                + &task_api("task-api", &[])
                + &http_route("tasks", &[("task-api", 1)])),
        )
        .await?;
    let labels = of_gateway(&scenario, "web");
    let entrance = scenario.gateway("web", 8080).await?;
    let load = scenario.load(entrance, http()?, 50.0).await?;
    wait_for_proxies(&labels, 3).await?;
    let event = scenario.event("Gateway", "web", "ScaledProxies").await?;
    ensure!(event.contains("requests/s at 20 per proxy"), "{event}");
    let told = status(&scenario, "web").await?;
    ensure!(told["desired"] == 3, "{told}");
    let told = scenario.event("Gateway", "web", "GaveEnvoyProxy").await?;
    ensure!(told.contains("linked it in spec.infrastructure.parametersRef"), "{told}");
    let made = scenario.get(&["envoyproxy", "web"]).await?;
    ensure!(made["spec"]["mergeType"] == "StrategicMerge", "{made:#}");
    nobody_writes(&scenario, &labels, "web").await?;
    ensure!(load.snapshot().counts.ok_share() > 0.99, "{:?}", load.snapshot().counts);
    drop(load);

    // Proxies are removed one by one as each has drained, which takes a minute by default.
    wait_for_proxies(&labels, 2).await?;
    let all = ["requests-per-second", "max-replicas", "scale-down-after", "create-envoyproxy"];
    let removals: Vec<_> = all.iter().map(|key| format!("tidegate.dev/{key}-")).collect();
    let mut args = vec!["annotate", "gateway", "web"];
    args.extend(removals.iter().map(String::as_str));
    scenario.kubectl(&args).await?;
    until("the number is nobody's and stays", async || {
        let object = scenario.get(&["envoyproxy", "web", "--show-managed-fields"]).await?;
        let managers: Vec<_> = object["metadata"]["managedFields"].as_array().into_iter().flatten().collect();
        ensure!(managers.iter().all(|entry| entry["manager"] != "tidegate"), "{managers:?}");
        ensure!(object["spec"]["provider"]["kubernetes"]["envoyDeployment"]["replicas"] == 2, "{:#}", object["spec"]);
        let gateway = scenario.get(&["gateway", "web"]).await?;
        ensure!(gateway["metadata"]["annotations"]["tidegate.dev/status"].is_null(), "the status is still there");
        ensure!(gateway["spec"]["infrastructure"]["parametersRef"]["name"] == "web", "the link is gone");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn fifty_leaders_that_start_write_nothing_that_is_right_already() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("proxies-starts").await?;
    let closed = [("hours", "off"), ("timezone", "UTC"), ("off-hours-replicas", "1"), ("scale-down-after", "5s")];
    let spec = "{provider: {type: Kubernetes, kubernetes: {envoyDeployment: {replicas: 2}}}}";
    let manifests = envoy_proxy("edge", spec)
        + &gateway("web", "eg", 8080, &closed, Some("edge"))
        + &task_api("task-api", &[("requests-per-second", "20")])
        + &http_route("tasks", &[("task-api", 1)]);
    scenario.apply(&manifests).await?;
    wait_for_proxies(&of_gateway(&scenario, "web"), 1).await?;
    let look = async || {
        let (proxy, gateway) = (scenario.get(&["envoyproxy", "edge"]).await?, scenario.get(&["gateway", "web"]).await?);
        let scaled = scenario.get(&["scaledobject", "task-api"]).await?;
        let adopted = &proxy["metadata"]["annotations"]["tidegate.dev/adopted-replicas"];
        ensure!(adopted == "2", "adopted is {adopted}");
        let status = &gateway["metadata"]["annotations"]["tidegate.dev/status"];
        ensure!(status.is_string(), "it has no status");
        let versions = [&proxy["metadata"]["resourceVersion"], status, &scaled["metadata"]["generation"]];
        Ok(versions.map(Value::to_string))
    };
    let before = until("all is as it should be", look).await?;
    for round in 0..10 {
        let _leaders = try_join_all((0..5).map(|start| leader(&scenario, round * 5 + start))).await?;
        // Gateways are reconciled once a second.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let now = look().await?;
        ensure!(now == before, "round {round}: {before:?} became {now:?}");
    }
    Ok(())
}

/// An operator with a Lease of its own, which leads and has made a whole pass.
async fn leader(scenario: &Scenario, start: u32) -> Result<Beside> {
    // It is another release, and must not take workloads of other tests.
    let namespace = format!("--namespace={}", scenario.namespace);
    let lease = [format!("--lease-name=start-{start}"), format!("--lease-namespace={}", scenario.namespace)];
    let operator = beside("operator", &[&[namespace][..], &lease].concat()).await?;
    until("it leads, and has made a whole pass", async || {
        let (_, metrics) = tidegate_stack::get(&format!("http://{}/metrics", operator.admin), crate::SECOND).await?;
        let leads = |line: &str| line.starts_with("tidegate_operator_workloads ") && !line.ends_with(" 0");
        ensure!(metrics.lines().any(leads), "{metrics}");
        Ok(())
    })
    .await?;
    Ok(operator)
}

#[tokio::test]
async fn the_bounds_of_an_hpa_follow_the_hours_and_the_replicas_are_left_to_it() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("proxies-hpa").await?;
    let closed = [("hours", "off"), ("timezone", "UTC"), ("off-hours-replicas", "2")];
    let spec = "{provider: {type: Kubernetes, kubernetes: {envoyHpa: {minReplicas: 2, maxReplicas: 6}}}}";
    scenario.apply(&(envoy_proxy("bounds", spec) + &gateway("web", "eg", 8080, &closed, Some("bounds")))).await?;
    let labels = of_gateway(&scenario, "web");
    let bounds = async |min: u32, max: u32| {
        until(&format!("the HPA's bounds are {min} and {max}"), async || {
            let hpa = made("hpa", &labels).await?;
            ensure!(hpa["spec"]["minReplicas"] == min && hpa["spec"]["maxReplicas"] == max, "{}", hpa["spec"]);
            Ok(())
        })
        .await
    };
    bounds(1, 2).await?;
    nobody_writes(&scenario, &labels, "bounds").await?;
    scenario.kubectl(&["annotate", "gateway", "web", "--overwrite", "tidegate.dev/hours=24/7"]).await?;
    bounds(2, 6).await
}

#[tokio::test]
async fn the_envoy_proxy_of_a_class_is_written_and_one_of_merged_gateways_too() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("proxies-class").await?;
    scenario
        .apply(
            &(envoy_proxy("of-class", "{shutdown: {drainTimeout: 5s}}")
                + &envoy_proxy("merged", "{mergeGateways: true, shutdown: {drainTimeout: 5s}}")),
        )
        .await?;
    class("e2e-class", &scenario.namespace, "of-class").await?;
    class("e2e-merged", &scenario.namespace, "merged").await?;
    let capped = [("hours", "off"), ("timezone", "UTC"), ("off-hours-replicas", "1"), ("scale-down-after", "5s")];
    scenario
        .apply(
            &(gateway("web", "e2e-class", 8080, &[("min-replicas", "2")], None)
                + &gateway("one", "e2e-merged", 8081, &[("min-replicas", "3"), ("scale-down-after", "5s")], None)
                + &gateway("two", "e2e-merged", 8082, &capped, None)),
        )
        .await?;
    let (single, merged) = (of_gateway(&scenario, "web"), "gateway.envoyproxy.io/owning-gatewayclass=e2e-merged");
    wait_for_proxies(&single, 2).await?;
    wait_for_proxies(merged, 3).await?;
    let message = scenario.event("Gateway", "two", "Contradiction").await?;
    ensure!(message.contains("open while any of them is"), "{message}");
    tokio::try_join!(nobody_writes(&scenario, &single, "of-class"), nobody_writes(&scenario, merged, "merged"))?;

    let hours = ["tidegate.dev/hours=off", "tidegate.dev/timezone=UTC"];
    scenario.kubectl(&["annotate", "gateway", "one", hours[0], hours[1]]).await?;
    wait_for_proxies(merged, 1).await
}

#[tokio::test]
async fn a_gateway_without_an_envoy_proxy_gets_an_event_that_says_what_to_apply() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("proxies-none").await?;
    scenario.apply(&gateway("web", "eg", 8080, &[("min-replicas", "2")], None)).await?;
    let message = scenario.event("Gateway", "web", "NoEnvoyProxy").await?;
    ensure!(message.contains("tidegate.dev/create-envoyproxy") && message.contains("mergeType"), "{message}");

    scenario
        .apply(
            &(envoy_proxy("per-node", "{provider: {type: Kubernetes, kubernetes: {envoyDaemonSet: {}}}}")
                + &gateway("per-node", "eg", 8081, &[("min-replicas", "2")], Some("per-node"))),
        )
        .await?;
    let message = scenario.event("Gateway", "per-node", "DaemonSet").await?;
    ensure!(message.contains("one proxy per node"), "{message}");
    Ok(())
}
