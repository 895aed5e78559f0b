//! A hand-written ScaledJob on the real KEDA, by the lag of a real broker.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_e2e::{
    cluster::{Cluster, SCALER_ADDRESS},
    examples::example,
    kafka::{BROKER, Kafka},
    scenario::{Scenario, until},
};
use tokio::time::sleep;

const NAME: &str = "report-builder";

/// The example at all hours, polled each second. Its Jobs find no node, so that they do not end.
fn scaled_job() -> Result<String> {
    let changes = [
        ("pollingInterval: 10", "pollingInterval: 1"),
        ("tidegate.tidegate-system.svc:9090", SCALER_ADDRESS),
        ("Mo-Fr 08:00-18:00", "24/7"),
        ("restartPolicy: Never\n", "restartPolicy: Never\n        nodeSelector: {nowhere: \"true\"}\n"),
    ];
    example("kafka/scaledjob.yaml", &changes)
}

async fn jobs(scenario: &Scenario) -> Result<usize> {
    let jobs = scenario.get(&["jobs", "-l", &format!("scaledjob.keda.sh/name={NAME}")]).await?;
    Ok(jobs["items"].as_array().context("no list of Jobs")?.len())
}

async fn wait_for_jobs(scenario: &Scenario, wanted: usize) -> Result<()> {
    until(&format!("{wanted} Jobs are made"), async || {
        let jobs = jobs(scenario).await?;
        ensure!(jobs == wanted, "there are {jobs}");
        Ok(())
    })
    .await?;
    // Further polls find the same lag, and the Jobs at work.
    sleep(Duration::from_secs(5)).await;
    let jobs = jobs(scenario).await?;
    ensure!(jobs == wanted, "{jobs} Jobs a few polls later, {wanted} before");
    Ok(())
}

#[tokio::test]
async fn a_hand_written_scaled_job_gets_jobs_by_lag_and_none_while_it_is_not_known() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("scaled-job").await?;
    let kafka = Kafka::at(BROKER);
    scenario.apply(&scaled_job()?).await?;
    until("KEDA gets the error that no topic matches", async || {
        let object = scenario.get(&[&format!("scaledjob/{NAME}")]).await?;
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let failed = |condition: &Value| condition["type"] == "Ready" && condition["reason"] == "TriggerError";
        ensure!(conditions.iter().any(failed), "{conditions:?}");
        Ok(())
    })
    .await?;
    wait_for_jobs(&scenario, 0).await?;

    kafka.topic("reports-eu", 4).await?;
    kafka.produce("reports-eu", 0, 120).await?;
    wait_for_jobs(&scenario, 3).await?;
    // Never more Jobs than partitions, whether they are at work or new.
    kafka.produce("reports-eu", 1, 500).await?;
    wait_for_jobs(&scenario, 4).await?;
    kafka.topic("reports-us", 1).await?;
    wait_for_jobs(&scenario, 5).await?;
    // All is read, so Jobs that end are not replaced.
    kafka.commit(NAME, "reports-eu", &[(0, 120), (1, 500)]).await?;
    sleep(Duration::from_secs(5)).await;
    scenario.kubectl(&["delete", "jobs", "--all", "--wait=true"]).await?;
    wait_for_jobs(&scenario, 0).await
}
