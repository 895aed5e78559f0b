//! The commands for people, about a workload that follows its load.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_e2e::{
    cluster::Cluster,
    scenario::{Scenario, http, http_stack, until},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

const WORKLOAD: &str = "deployment/task-api";

#[tokio::test]
async fn get_top_history_and_the_page_agree_about_a_workload() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("commands").await?;
    scenario.apply(&http_stack(&[("requests-per-second", "10"), ("max-replicas", "8")])).await?;
    scenario.kubectl(&["label", "deployment", "task-api", "team=payments"]).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(entrance, http()?, 45.0).await?;
    scenario.wait_for_replicas("task-api", 5).await?;

    let namespace = ["-n", &scenario.namespace];
    let of_namespace = async |args: &[&str]| cluster.tidegate(&[args, &namespace].concat()).await;
    until("get shows what is wanted", async || {
        let rows: Value = serde_json::from_str(&of_namespace(&["get", "-l", "team=payments", "-o", "json"]).await?)?;
        ensure!(rows["workloads"][0]["wanted"] == 5, "{rows}");
        Ok(())
    })
    .await?;
    let others = of_namespace(&["get", "-l", "team=others", "-o", "name"]).await?;
    ensure!(others.is_empty(), "{others}");
    let top = of_namespace(&["top"]).await?;
    ensure!(top.contains(WORKLOAD) && top.contains("requests/s ÷ 10 per replica"), "{top}");

    until("history says what led to five replicas", async || {
        let remembered = of_namespace(&["history", WORKLOAD]).await?;
        ensure!(remembered.contains("→ 5") && remembered.contains("requests/s ÷ 10 per replica"), "{remembered}");
        Ok(())
    })
    .await?;
    // Prometheus has a number for each of its own looks.
    until("a Prometheus gives the same history", async || {
        let url = "--prometheus-url=http://prometheus.monitoring.svc:9090";
        let kept = of_namespace(&["history", WORKLOAD, "--since=1h", url]).await?;
        ensure!(kept.contains('5') && kept.contains("requests/s ÷ 10 per replica"), "{kept}");
        Ok(())
    })
    .await?;
    completion(&scenario).await?;
    page(&scenario).await
}

/// What a TAB gives in bash, by the script that `tidegate completion` prints.
async fn completion(scenario: &Scenario) -> Result<()> {
    let completed = async |words: &[&str]| -> Result<String> {
        let script = "source <(tidegate completion bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                      _clap_complete_tidegate tidegate \"${COMP_WORDS[-1]}\"; echo \"${COMPREPLY[*]}\"";
        let output = Command::new("bash").args(["-c", script, "bash", "tidegate"]).args(words).output().await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let namespace = scenario.namespace.as_str();
    let object = completed(&["explain", "-n", namespace, "dep"]).await?;
    ensure!(object == WORKLOAD, "{object:?}");
    let name = completed(&["get", "-n", namespace, "deployments", "ta"]).await?;
    ensure!(name == "task-api", "{name:?}");
    let found = completed(&["history", "-n", "e2e-comm"]).await?;
    ensure!(found == namespace, "{found:?}");
    Ok(())
}

/// `tidegate dashboard`, which asks Tidegate through the API server.
async fn page(scenario: &Scenario) -> Result<()> {
    let mut dashboard =
        Command::new("tidegate").args(["dashboard", "--no-open"]).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(dashboard.stdout.take().context("no output")?).lines();
    let said = timeout(Duration::from_secs(30), lines.next_line()).await??.context("it ended")?;
    let url = said.split_whitespace().next().unwrap_or_default();
    let (status, page) = tidegate_stack::get(url, 10 * crate::SECOND).await?;
    ensure!(status == 200 && page.contains("<title>Tidegate"), "{status}: {page}");
    let (status, fleet) =
        tidegate_stack::get(&format!("{url}fleet?namespace={}", scenario.namespace), 10 * crate::SECOND).await?;
    ensure!(status == 200 && fleet.contains("task-api"), "{status}: {fleet}");
    Ok(())
}
