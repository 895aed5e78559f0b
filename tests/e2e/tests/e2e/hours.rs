//! Business hours, on a cluster whose clock is the real one: hours that are never, and overrides that end in a minute.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidegate_e2e::{
    cluster::Cluster,
    kubectl::run,
    scenario::{Scenario, http, http_stack, until},
};
use tokio::time::Instant;

#[tokio::test]
async fn outside_hours_a_cap_holds_replicas_down_while_the_traffic_goes_on() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("capped").await?;
    let annotations = [
        ("requests-per-second", "20"),
        ("scale-down-after", "5s"),
        ("hours", "off"),
        ("timezone", "Europe/Berlin"),
        ("off-hours-replicas", "2"),
    ];
    scenario.apply(&http_stack(&annotations)).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    // Enough for 5 replicas.
    let _load = scenario.load(entrance, http()?, 90.0).await?;
    scenario.wait_for_replicas("task-api", 2).await?;
    let end = Instant::now() + Duration::from_secs(15);
    let mut looks = tokio::time::interval(Duration::from_millis(500));
    while Instant::now() < end {
        looks.tick().await;
        let replicas = scenario.replicas("task-api").await?;
        ensure!(replicas == 2, "{replicas} replicas");
    }
    Ok(())
}

#[tokio::test]
async fn a_workload_that_sleeps_at_zero_wakes_by_an_override_and_its_scaled_object_never_changes() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("asleep").await?;
    let annotations = [
        ("requests-per-second", "20"),
        ("min-replicas", "2"),
        ("scale-down-after", "5s"),
        ("hours", "off"),
        ("timezone", "UTC"),
    ];
    scenario.apply(&http_stack(&annotations)).await?;
    scenario.wait_for_replicas("task-api", 0).await?;
    let before = scenario.get(&["scaledobject", "task-api"]).await?;

    let end = run("date", &["-u", "-d", "+40 seconds", "+%Y-%m-%dT%H:%M:%SZ"], None).await?;
    let awake = format!("tidegate.dev/keep-awake-until={}", end.trim());
    scenario.kubectl(&["annotate", "deployment", "task-api", &awake]).await?;
    scenario.wait_for_replicas("task-api", 2).await?;
    until("the override ends, and it sleeps again", async || {
        let replicas = scenario.replicas("task-api").await?;
        ensure!(replicas == 0, "{replicas} replicas");
        Ok(())
    })
    .await?;
    let after = scenario.get(&["scaledobject", "task-api"]).await?;
    ensure!(before["spec"] == after["spec"], "{before:#}\n{after:#}");
    ensure!(before["metadata"]["generation"] == after["metadata"]["generation"], "it was written");
    Ok(())
}
