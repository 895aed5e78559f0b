//! Time from the opening minute until workloads have their first replica, compared with KEDA's own cron trigger.
//!
//! `make bench-opening`, on the real stack at stock timing. Deployments of both kinds sleep at zero: half of them are
//! annotated with hours, the other half have a ScaledObject with KEDA's cron trigger at its defaults. All open at the same
//! minute of the real clock. kwok fakes their pods.
#![allow(missing_docs, reason = "a benchmark")]

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use anyhow::{Context, Result, ensure};
use tidegate_e2e::{
    cluster::Cluster,
    kubectl::run,
    scenario::{Scenario, until},
};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Workloads of each kind: few, and many.
const COUNTS: [usize; 2] = [15, 150];
/// Seconds until everything is set up and asleep.
const SETTLE: u64 = 150;
const WATCHED: Duration = Duration::from_secs(180);

#[tokio::main]
async fn main() -> Result<()> {
    let _cluster = Cluster::as_shipped().await?;
    println!(
        "| workloads of each kind; seconds after the minute | first | median | last | opened |\n|---|---|---|---|---|"
    );
    for count in COUNTS {
        opening(count).await?;
    }
    Ok(())
}

async fn opening(count: usize) -> Result<()> {
    let scenario = Scenario::new(&format!("opening-{count}")).await?;
    let now: u64 = run("date", &["+%s"], None).await?.trim().parse()?;
    // The first whole minute after everything is asleep.
    let opens = (now + SETTLE).div_ceil(60) * 60;
    let clock = run("date", &["-u", "-d", &format!("@{opens}"), "+%H:%M"], None).await?;
    let (hour, minute) = clock.trim().split_once(':').context("date")?;
    let (started, in_seconds) = (Instant::now(), opens - now);
    scenario.apply(&manifests(count, hour, minute)).await?;
    eprintln!("{count} workloads of each kind; they open at {hour}:{minute} UTC, in {in_seconds} s");
    until("all are asleep", async || {
        let awake = replicas(&scenario).await?.values().filter(|replicas| **replicas > 0).count();
        ensure!(awake == 0, "{awake} are awake");
        ensure!(started.elapsed().as_secs() < in_seconds, "they were not asleep in time");
        Ok(())
    })
    .await?;
    let seen = watch(&scenario, count, opens).await?;
    report(count, &seen);
    Ok(())
}

fn manifests(count: usize, hour: &str, minute: &str) -> String {
    let mut yaml = String::new();
    for index in 0..count {
        let hours = format!(
            "tidegate.dev/hours: \"{hour}:{minute}-23:59\", tidegate.dev/timezone: UTC, tidegate.dev/min-replicas: \"1\", \
             tidegate.dev/scale-down-after: 0s"
        );
        for (name, annotations) in [("tidegate", hours.as_str()), ("keda", "")] {
            let _ = write!(
                yaml,
                "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}-{index}, annotations: {{{annotations}}}}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: {name}-{index}}}}}
  template:
    metadata: {{labels: {{app: {name}-{index}}}}}
    spec: {{containers: [{{name: pause, image: pause}}]}}
"
            );
        }
        let _ = write!(
            yaml,
            "---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: keda-{index}}}
spec:
  scaleTargetRef: {{name: keda-{index}}}
  minReplicaCount: 0
  triggers:
    - type: cron
      metadata: {{timezone: UTC, start: \"{minute} {hour} * * *\", end: \"59 23 * * *\", desiredReplicas: \"1\"}}
"
        );
    }
    yaml
}

async fn replicas(scenario: &Scenario) -> Result<BTreeMap<String, u64>> {
    let deployments = scenario.get(&["deployments"]).await?;
    let items = deployments["items"].as_array().context("no list")?.iter();
    let replicas = items.map(|item| {
        let name = item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        (name, item["spec"]["replicas"].as_u64().unwrap_or(0))
    });
    Ok(replicas.collect())
}

/// Seconds from the opening to the first replica, by name.
async fn watch(scenario: &Scenario, count: usize, opens: u64) -> Result<BTreeMap<String, f64>> {
    let mut seen = BTreeMap::new();
    let mut looks = interval(Duration::from_millis(250));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let now: f64 = run("date", &["+%s.%N"], None).await?.trim().parse()?;
        let late = now - opens as f64;
        if late < -1.0 {
            continue;
        }
        for (name, replicas) in replicas(scenario).await? {
            if replicas > 0 {
                seen.entry(name).or_insert(late);
            }
        }
        if seen.len() == 2 * count || late > WATCHED.as_secs_f64() {
            return Ok(seen);
        }
    }
}

fn report(count: usize, seen: &BTreeMap<String, f64>) {
    for (prefix, what) in [("tidegate-", "Tidegate"), ("keda-", "KEDA's cron trigger")] {
        let mut late: Vec<f64> =
            seen.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, late)| *late).collect();
        late.sort_by(f64::total_cmp);
        let at = |index: usize| late.get(index).map_or_else(|| "-".to_owned(), |late| format!("{late:.1}"));
        println!(
            "| {count}: {what} | {} | {} | {} | {} |",
            at(0),
            at(late.len() / 2),
            at(late.len().saturating_sub(1)),
            late.len()
        );
    }
}
