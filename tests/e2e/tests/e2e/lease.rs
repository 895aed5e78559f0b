//! Two replicas of Tidegate, of which one writes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use tidegate_e2e::{
    cluster::Cluster,
    kubectl::{get, kubectl},
    scenario::{Scenario, task_api, until},
};

async fn holder() -> Result<String> {
    let lease = get(&["lease", "tidegate", "-n", "tidegate-system"]).await?;
    let holder = lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty());
    holder.map(str::to_owned).context("nobody holds the Lease")
}

#[tokio::test]
async fn a_replica_that_is_stopped_hands_the_lease_over_and_the_other_goes_on() -> Result<()> {
    let _cluster = Cluster::at_the_end().await?.alone().await;
    let first = until("somebody holds the Lease", holder).await?;
    kubectl(&["delete", "pod", "-n", "tidegate-system", &first, "--wait=false"]).await?;
    let asked = Instant::now();
    until("another holds the Lease", async || {
        let now = holder().await?;
        ensure!(now != first, "{now} still does");
        Ok(())
    })
    .await?;
    // A Lease that was not handed over ends 15 s after it was last renewed.
    ensure!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());

    let scenario = Scenario::new("lease").await?;
    scenario.apply(&task_api("task-api", &[("requests-per-second", "20")])).await?;
    until("the other makes ScaledObjects", async || scenario.get(&["scaledobject", "task-api"]).await.map(drop)).await
}
