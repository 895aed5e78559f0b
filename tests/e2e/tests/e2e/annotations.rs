//! Annotations that users get wrong, change, and take away.

use std::time::Duration;

use anyhow::{Result, ensure};

use tidegate_e2e::{
    cluster::Cluster,
    scenario::{Scenario, gateway, http, http_stack, task_api, until},
};

/// A Deployment with a route, annotated and with its ScaledObject in place.
async fn scaled(name: &str) -> Result<Scenario> {
    let scenario = Scenario::new(name).await?;
    let manifests = http_stack(&[("requests-per-second", "20"), ("max-replicas", "8")]);
    scenario.apply(&manifests).await?;
    until("the HPA is there", async || scenario.get(&["hpa", "keda-hpa-task-api"]).await.map(drop)).await?;
    Ok(scenario)
}

#[tokio::test]
async fn a_bad_annotation_gets_one_event_and_changes_nothing() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = scaled("bad").await?;
    let before = scenario.get(&["scaledobject", "task-api"]).await?["spec"].clone();
    scenario.kubectl(&["annotate", "deployment", "task-api", "--overwrite", "tidegate.dev/max-replicas=many"]).await?;
    let message = scenario.event("Deployment", "task-api", "InvalidAnnotations").await?;
    ensure!(
        message
            .contains("tidegate.dev/max-replicas: got \"many\", wants a whole number of replicas from 1 to 2147483647"),
        "{message}"
    );
    // Another change of the object passes through the loop again: it must not produce a second event of the same kind.
    scenario.kubectl(&["label", "deployment", "task-api", "touched=yes"]).await?;
    scenario.kubectl(&["annotate", "deployment", "task-api", "tidegate.dev/min-replica=2"]).await?;
    until("the new problem is told too", async || {
        let events = scenario.events("Deployment", "task-api").await?;
        ensure!(events.iter().any(|(_, m)| m.contains("did you mean tidegate.dev/min-replicas?")), "{events:?}");
        Ok(())
    })
    .await?;
    let events = scenario.events("Deployment", "task-api").await?;
    ensure!(events.iter().filter(|(_, m)| *m == message).count() == 1, "{events:?}");
    ensure!(scenario.get(&["scaledobject", "task-api"]).await?["spec"] == before, "the ScaledObject changed");
    Ok(())
}

#[tokio::test]
async fn drift_of_a_scaled_object_is_corrected_and_other_fields_are_left_alone() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = scaled("drift").await?;
    let patch = r#"{"spec":{"maxReplicaCount":99},"metadata":{"labels":{"team":"shop"}}}"#;
    scenario.kubectl(&["patch", "scaledobject", "task-api", "--type=merge", "-p", patch]).await?;
    until("the maximum is 8 again", async || {
        let scaled_object = scenario.get(&["scaledobject", "task-api"]).await?;
        ensure!(scaled_object["spec"]["maxReplicaCount"] == 8, "it is {}", scaled_object["spec"]["maxReplicaCount"]);
        ensure!(scaled_object["metadata"]["labels"]["team"] == "shop", "somebody else's label is gone");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_annotations_the_scaled_object_goes_and_the_replicas_stay() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = scaled("removed").await?;
    scenario.kubectl(&["annotate", "deployment", "task-api", "--overwrite", "tidegate.dev/min-replicas=3"]).await?;
    scenario.wait_for_replicas("task-api", 3).await?;
    let keys = ["requests-per-second", "max-replicas", "min-replicas"].map(|key| format!("tidegate.dev/{key}-"));
    scenario.kubectl(&["annotate", "deployment", "task-api", &keys[0], &keys[1], &keys[2]]).await?;
    until("the ScaledObject and its HPA are gone", async || {
        let left = scenario.get(&["scaledobject,hpa"]).await?;
        ensure!(left["items"].as_array().is_some_and(Vec::is_empty), "{left}");
        Ok(())
    })
    .await?;
    ensure!(scenario.replicas("task-api").await? == 3);
    Ok(())
}

/// An HPA of somebody else's, with 4 replicas at most.
fn hpa_by_hand(min_replicas: u32) -> String {
    format!(
        "---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: by-hand}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: task-api}}
  minReplicas: {min_replicas}
  maxReplicas: 4
  metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 60}}}}}}]
"
    )
}

#[tokio::test]
async fn somebody_elses_hpa_is_never_touched() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("foreign").await?;
    // First the HPA, so that it is there when the annotations are seen.
    scenario.apply(&hpa_by_hand(2)).await?;
    let manifests = http_stack(&[("requests-per-second", "20")]);
    scenario.apply(&manifests).await?;
    let message = scenario.event("Deployment", "task-api", "ScaledBySomethingElse").await?;
    ensure!(message.contains("by-hand"), "{message}");
    let found = scenario.get(&["scaledobjects"]).await?;
    ensure!(found["items"].as_array().is_some_and(Vec::is_empty), "{found}");
    Ok(())
}

#[tokio::test]
async fn an_hpa_is_taken_over_in_place_under_load_and_the_replicas_stay() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("taken-over").await?;
    scenario.apply(&hpa_by_hand(3)).await?;
    scenario.apply(&http_stack(&[("requests-per-second", "20")])).await?;
    scenario.event("Deployment", "task-api", "ScaledBySomethingElse").await?;
    scenario.wait_for_replicas("task-api", 3).await?;
    // Three replicas at 20 requests/s each.
    let load = scenario.load(scenario.gateway("web", 8080).await?, http()?, 55.0).await?;
    let before = scenario.get(&["hpa", "by-hand"]).await?;
    scenario.kubectl(&["annotate", "deployment", "task-api", "tidegate.dev/adopt=hpa/by-hand"]).await?;
    scenario.event("Deployment", "task-api", "TookOver").await?;
    until("KEDA has the HPA", async || {
        let hpa = scenario.get(&["hpa", "by-hand"]).await?;
        ensure!(hpa["metadata"]["ownerReferences"][0]["name"] == "task-api", "{hpa}");
        ensure!(hpa["spec"]["metrics"][0]["type"] == "External", "{hpa}");
        ensure!(hpa["metadata"]["uid"] == before["metadata"]["uid"], "it was recreated: {hpa}");
        Ok(())
    })
    .await?;
    scenario.stays("task-api", Duration::from_secs(30), |replicas| replicas == 3).await?;
    scenario.kubectl(&["annotate", "deployment", "task-api", "tidegate.dev/adopt-"]).await?;
    scenario.stays("task-api", Duration::from_secs(10), |replicas| replicas == 3).await?;
    ensure!(scenario.get(&["hpa", "by-hand"]).await?["metadata"]["uid"] == before["metadata"]["uid"]);
    let counts = load.snapshot().counts;
    ensure!(counts.ok_share() > 0.99, "the takeover cost requests: {counts:?}");
    Ok(())
}

#[tokio::test]
async fn a_workload_that_no_route_reaches_gets_an_event_that_says_so() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("unreached").await?;
    scenario.apply(&task_api("task-api", &[("requests-per-second", "20")])).await?;
    let message = scenario.event("Deployment", "task-api", "NoRoute").await?;
    ensure!(message.contains("route"), "{message}");
    Ok(())
}

#[tokio::test]
async fn where_a_backend_is_of_two_services_the_events_of_both_workloads_say_why_it_scales_neither() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("two-services").await?;
    let annotated = [("requests-per-second", "20")];
    let workloads = task_api("one", &annotated) + &task_api("other", &annotated);
    let host = |service: &str| format!("{{fqdn: {{hostname: {service}.{}.svc, port: 8000}}}}", scenario.namespace);
    let backend = format!(
        "---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: both}}
spec: {{endpoints: [{}, {}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: tasks}}
spec:
  parentRefs: [{{name: web}}]
  rules: [{{backendRefs: [{{group: gateway.envoyproxy.io, kind: Backend, name: both}}]}}]
",
        host("one"),
        host("other")
    );
    scenario.apply(&(gateway(&[("http", "HTTP", 8080)]) + &workloads + &backend)).await?;
    for workload in ["one", "other"] {
        until("the event names the Backend", async || {
            let message = scenario.event("Deployment", workload, "NoRoute").await?;
            ensure!(message.contains("names Backend both, whose endpoints are not all of one Service"), "{message}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn tokens_of_a_workload_to_which_no_model_is_routed_are_reported_as_unknown() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = scaled("no-model").await?;
    let tokens = "tidegate.dev/output-tokens-per-second=4000";
    scenario.kubectl(&["annotate", "deployment", "task-api", tokens]).await?;
    let message = scenario.event("Deployment", "task-api", "NoModel").await?;
    ensure!(message.contains("tidegate.dev/model"), "{message}");
    Ok(())
}
