//! What the HPA measures itself beside Tidegate's signals, with the real metrics-server. The stack's kwok reports to it the CPU that an
//! annotation of each pod names: what a process uses on a busy machine is no number to test with.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_e2e::{
    cluster::Cluster,
    scenario::{Scenario, http, http_stack, until},
};

/// The CPU of the pods of a scenario's task API.
struct Cpu<'a>(&'a Scenario);

impl Cpu<'_> {
    /// Has every pod that exists now use this much; those that follow use next to nothing.
    async fn is(&self, usage: &str) -> Result<()> {
        let usage = format!("kwok.x-k8s.io/usage-cpu={usage}");
        // A pod may go between kubectl's list and its writes.
        until("every pod is told its usage", async || {
            self.0.kubectl(&["annotate", "pods", "-l", "app=task-api", "--overwrite", &usage]).await.map(drop)
        })
        .await
    }
}

#[tokio::test]
async fn cpu_beside_requests_raises_replicas_where_it_needs_more_and_requests_where_they_do() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("cpu").await?;
    let annotations =
        [("requests-per-second", "20"), ("cpu", "70%"), ("scale-down-after", "5s"), ("max-replicas", "9")];
    let requests = "image: task-api\n          resources: {requests: {cpu: 500m}}\n";
    scenario.apply(&http_stack(&annotations).replace("image: task-api\n", requests)).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let load = scenario.load(entrance, http()?, 55.0).await?;
    // 55 requests/s at 20.
    scenario.wait_for_replicas("task-api", 3).await?;
    until("the HPA reads the CPU of the pods", async || {
        let hpa = scenario.get(&["hpa", "keda-hpa-task-api"]).await?;
        let metrics = hpa["status"]["currentMetrics"].as_array().context("the HPA has no metrics")?;
        let cpu = metrics.iter().find(|metric| metric["resource"]["name"] == "cpu");
        let used = cpu.and_then(|cpu| cpu["resource"]["current"]["averageUtilization"].as_u64());
        ensure!(used.is_some_and(|percent| percent < 10), "{metrics:?}");
        Ok(())
    })
    .await?;
    scenario.stays("task-api", Duration::from_secs(10), |replicas| replicas == 3).await?;

    // 3 × 650m are 1950m, at 350m (70 % of 500m) for each replica.
    let cpu = Cpu(&scenario);
    cpu.is("650m").await?;
    scenario.wait_for_replicas("task-api", 6).await?;
    scenario.stays("task-api", Duration::from_secs(15), |replicas| replicas == 6).await?;
    cpu.is("1m").await?;
    scenario.wait_for_replicas("task-api", 3).await?;

    // 155 requests/s at 20, while the CPU asks for no more than 2.
    cpu.is("200m").await?;
    let more = scenario.load(entrance, http()?, 100.0).await?;
    scenario.wait_for_replicas("task-api", 8).await?;
    scenario.stays("task-api", Duration::from_secs(15), |replicas| replicas == 8).await?;
    drop(more);
    scenario.wait_for_replicas("task-api", 3).await?;
    let counts = load.snapshot().counts;
    ensure!(counts.ok_share() > 0.99, "scaling cost requests: {counts:?}");
    Ok(())
}
