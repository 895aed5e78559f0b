//! Load through a real Envoy, which the real Envoy Gateway configures, decides replicas through the real KEDA.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_e2e::{
    cluster::Cluster,
    scenario::{Scenario, gateway, http, http_route, http_stack, stateful, task_api, until},
};

#[tokio::test]
async fn http_load_raises_a_deployment_to_what_it_needs_and_lets_it_fall_again() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("http").await?;
    let annotations = [("requests-per-second", "20"), ("scale-down-after", "5s"), ("max-replicas", "8")];
    let manifests = http_stack(&annotations);
    scenario.apply(&manifests).await?;
    let entrance = scenario.gateway("web", 8080).await?;

    let load = scenario.load(entrance, http()?, 90.0).await?;
    scenario.wait_for_replicas("task-api", 5).await?;

    // What a user sees: the ScaledObject is there, ready and active, and the HPA shows the signal in its own unit.
    until("kubectl shows the ScaledObject ready and active", async || {
        let scaled_object = scenario.kubectl(&["get", "scaledobject", "task-api"]).await?;
        let (head, row) = (scaled_object.lines().next().unwrap_or(""), scaled_object.lines().nth(1).unwrap_or(""));
        ensure!(head.contains("SCALETARGETNAME") && row.contains("external-push"), "{scaled_object}");
        let words: Vec<_> = row.split_whitespace().collect();
        let active = words.iter().filter(|word| **word == "True").count() >= 2;
        ensure!(words.contains(&"task-api") && active, "{scaled_object}");
        Ok(())
    })
    .await?;
    let hpa = scenario.kubectl(&["get", "hpa", "keda-hpa-task-api"]).await?;
    ensure!(hpa.contains("/20 (avg)"), "the HPA does not show the target of one replica: {hpa}");

    let counts = load.snapshot().counts;
    ensure!(counts.ok_share() > 0.99, "scaling up cost requests: {counts:?}");
    drop(load);
    scenario.wait_for_replicas("task-api", 1).await
}

#[tokio::test]
async fn demand_that_stays_above_the_maximum_is_reported_after_the_time_that_was_set() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("above").await?;
    scenario.apply(&http_stack(&[("requests-per-second", "2"), ("max-replicas", "2")])).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(entrance, http()?, 9.0).await?;
    scenario.wait_for_replicas("task-api", 2).await?;
    let message = scenario.event("Deployment", "task-api", "AboveMaximum").await?;
    ensure!(message.contains("more than 2 replicas for 20 s, now for 5"), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_service_that_authorises_and_one_that_gets_copies_scale_on_the_requests_that_reach_them() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("asked").await?;
    let policy = "---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: login}\nspec:\n  \
        targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: web}]\n  \
        extAuth: {http: {backendRefs: [{name: auth, port: 8000}]}}\n";
    let mirror = "      filters: [{type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 8000}}}]\n";
    let manifests = gateway(&[("http", "HTTP", 8080)])
        + &task_api("task-api", &[("requests-per-second", "50")])
        + &task_api("auth", &[("requests-per-second", "20")])
        + &task_api("shadow", &[("requests-per-second", "15")])
        + &http_route("tasks", &[("task-api", 1)])
        + mirror
        + policy;
    scenario.apply(&manifests).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(entrance, http()?, 55.0).await?;
    scenario.wait_for_replicas("task-api", 2).await?;
    scenario.wait_for_replicas("auth", 3).await?;
    scenario.wait_for_replicas("shadow", 4).await
}

#[tokio::test]
async fn a_stateful_set_scales_as_a_deployment_does() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("stateful").await?;
    scenario.apply(&stateful(&http_stack(&[("requests-per-second", "10")]))).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(entrance, http()?, 25.0).await?;
    scenario.wait_for_replicas("statefulset/task-api", 3).await
}

#[tokio::test]
async fn explain_says_route_cluster_rate_target_and_replicas() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("explain").await?;
    let manifests = http_stack(&[("requests-per-second", "10")]);
    scenario.apply(&manifests).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(entrance, http()?, 25.0).await?;
    scenario.wait_for_replicas("task-api", 3).await?;
    let understood = scenario.event("Deployment", "task-api", "Understood").await?;
    let wanted = "it scales on requests/s of HTTPRoute e2e-explain/tasks, 10 per replica, 1 to 10 replicas";
    ensure!(understood == wanted, "{understood}");
    // On a machine where everything runs at once the load may falter at first.
    until("explain says all of it", async || {
        let explain = ["deployment/task-api", "-n", &scenario.namespace];
        let page = cluster.explain(&explain).await?;
        for part in ["httproute/e2e-explain/tasks/rule/0", "requests-per-second", "3 replicas wanted"] {
            ensure!(page.contains(part), "{part:?} is not in:\n{page}");
        }
        let json = cluster.explain(&[&explain[..], &["-o", "json"]].concat()).await?;
        let json: serde_json::Value = serde_json::from_str(&json)?;
        ensure!(json["desired"]["replicas"] == 3, "{json:#}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn routes_from_the_cluster_name_the_clusters_that_envoy_has() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("routes").await?;
    let manifests = http_stack(&[("requests-per-second", "10")]);
    scenario.apply(&manifests).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(entrance, http()?, 5.0).await?;
    let routes: serde_json::Value = serde_json::from_str(&cluster.tidegate(&["routes", "-o", "json"]).await?)?;
    let ours = routes.as_array().context("routes is no list")?.iter();
    let ours = ours.filter(|entry| entry["backend"]["namespace"] == scenario.namespace).collect::<Vec<_>>();
    let name = ours.first().and_then(|entry| entry["clusters"][0]["name"].as_str()).context("no cluster")?.to_owned();
    ensure!(name == "httproute/e2e-routes/tasks/rule/0", "{ours:?}");
    until("Envoy counts requests under that name", async || {
        let url = format!("http://{}:19001/stats/prometheus?usedonly", entrance.ip());
        let (_, stats) = tidegate_stack::get(&url, Duration::from_secs(2)).await?;
        ensure!(
            stats.contains(&format!("envoy_cluster_upstream_rq_total{{envoy_cluster_name=\"{name}\"}}")),
            "it does not"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn requests_for_which_no_host_is_healthy_raise_the_workload_and_do_not_send_it_to_sleep() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("ejected").await?;
    let annotations = [("requests-per-second", "20"), ("scale-down-after", "5s"), ("max-replicas", "8")];
    scenario.apply(&http_stack(&annotations)).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let load = scenario.load(entrance, http()?, 90.0).await?;
    scenario.wait_for_replicas("task-api", 5).await?;
    // The pods are ready for Kubernetes, but fail the health check of Envoy: each request is answered with 503.
    let policy = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: BackendTrafficPolicy\nmetadata: {name: ejects}\nspec:\n  \
        targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: tasks}]\n  healthCheck:\n    panicThreshold: 0\n    \
        active: {type: HTTP, interval: 1s, timeout: 1s, unhealthyThreshold: 1, http: {path: /no-such-page, expectedStatuses: [299]}}\n";
    let refused = async {
        scenario.apply(policy).await?;
        until("users get 503", async || {
            let before = load.snapshot().counts;
            tokio::time::sleep(crate::SECOND).await;
            let counts = load.snapshot().counts.since(&before);
            ensure!(counts.ok == 0 && counts.unavailable > 0, "in a second: {counts:?}");
            Ok(())
        })
        .await
    };
    scenario.stays_through("task-api", refused, Duration::from_secs(35), |replicas| replicas >= 5).await
}

#[tokio::test]
async fn statistics_that_an_envoy_proxy_leaves_out_hold_replicas_and_are_reported() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("matches").await?;
    let matches = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nmetadata: {name: few}\nspec:\n  \
        telemetry: {metrics: {matches: [{type: Prefix, value: http.}]}}\n---\n";
    let link =
        "spec:\n  infrastructure:\n    parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: few}\n";
    let annotations = [("requests-per-second", "20"), ("scale-down-after", "5s"), ("max-replicas", "8")];
    let stack = http_stack(&annotations).replacen("spec:\n", link, 1);
    scenario.apply(&(matches.to_owned() + &stack)).await?;
    scenario.kubectl(&["scale", "deployment", "task-api", "--replicas=4"]).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(entrance, http()?, 70.0).await?;
    let told = scenario.event("EnvoyProxy", "few", "StatisticsLeftOut").await?;
    ensure!(told.contains("upstream_rq_total"), "{told}");
    let told = scenario.event("Deployment", "task-api", "NotMeasured").await?;
    ensure!(told.contains("telemetry.metrics.matches"), "{told}");
    let replicas = scenario.replicas("task-api").await?;
    ensure!(replicas == 4, "{replicas} replicas");
    Ok(())
}
