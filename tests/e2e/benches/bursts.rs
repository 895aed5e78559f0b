//! An hour of random bursts: the leader raises replicas itself, and the real HPA at its stock timing must not take one of them back
//! before its scale-down window (five minutes) is over.
//!
//! `make bench-bursts`. [`WORKLOADS`] get [`EACH`] of steps at random times to random rates; every change of their replicas is watched.
#![allow(missing_docs, reason = "a benchmark")]

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use tidegate_e2e::{
    cluster::Cluster,
    scenario::{Scenario, http, http_stack},
};
use tidegate_sim::load::{Load, LoadSpec, Profile};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::{Instant, timeout_at},
};

const WORKLOADS: usize = 4;
const EACH: Duration = Duration::from_secs(15 * 60);
/// Requests/s that one replica carries, and the most replicas.
const PER_REPLICA: f64 = 5.0;
const MOST: u32 = 20;
/// `--horizontal-pod-autoscaler-downscale-stabilization`
const WINDOW: Duration = Duration::from_secs(300);

/// One change of `spec.replicas`.
#[derive(Debug, Clone, Copy)]
struct Change {
    at: Duration,
    from: u32,
    to: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let _cluster = Cluster::as_shipped().await?;
    let all = try_join_all((0..WORKLOADS).map(run)).await?;
    let (mut ups, mut downs, mut flaps) = (0, 0, Vec::new());
    for changes in &all {
        ups += changes.iter().filter(|change| change.to > change.from).count();
        downs += changes.iter().filter(|change| change.to < change.from).count();
        flaps.extend(taken_back(changes));
    }
    println!(
        "{WORKLOADS} workloads, {} min each: {ups} times more replicas, {downs} times fewer, {} of these within {} s of a rise",
        EACH.as_secs() / 60,
        flaps.len(),
        WINDOW.as_secs()
    );
    ensure!(flaps.is_empty(), "{flaps:?}");
    Ok(())
}

/// Falls to fewer replicas than some rise within the window before had reached.
fn taken_back(changes: &[Change]) -> Vec<Change> {
    let is_early = |fall: &Change| {
        changes
            .iter()
            .any(|rise| rise.to > rise.from && rise.to > fall.to && rise.at < fall.at && fall.at < rise.at + WINDOW)
    };
    changes.iter().filter(|change| change.to < change.from && is_early(change)).copied().collect()
}

async fn run(number: usize) -> Result<Vec<Change>> {
    let scenario = Scenario::new(&format!("bursts-{number}")).await?;
    let (per_replica, most) = (PER_REPLICA.to_string(), MOST.to_string());
    let annotations = [("requests-per-second", per_replica.as_str()), ("max-replicas", &most), ("burst", "true")];
    scenario.apply(&http_stack(&annotations)).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let load = Load::start(LoadSpec::new(http()?, bursts(number)), vec![entrance]);
    let changes = watch(&scenario).await?;
    drop(load);
    Ok(changes)
}

/// Steps after 10 to 60 s each, between almost nothing and what the most replicas carry.
fn bursts(seed: usize) -> Profile {
    let mut random = 0.37 + 0.11 * seed as f64;
    let mut next = || {
        // Multiples of the golden ratio, less their whole part, cover an interval evenly.
        random = (random + 0.618_033_988_749_895).fract();
        random
    };
    let mut profile = Profile::starting_at(PER_REPLICA);
    while profile.duration() < EACH {
        let (pause, share) = (next(), next());
        // Most steps are small, some are large.
        profile = profile.hold(Duration::from_secs_f64(10.0 + 50.0 * pause));
        profile = profile.step_to(PER_REPLICA * f64::from(MOST) * 0.95 * share * share);
    }
    profile
}

/// All changes of the replicas during [`EACH`].
async fn watch(scenario: &Scenario) -> Result<Vec<Change>> {
    let mut kubectl = Command::new("kubectl")
        .args(["-n", &scenario.namespace, "get", "deployment", "task-api", "--watch"])
        .args(["-o", r#"jsonpath={.spec.replicas}{"\n"}"#])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(kubectl.stdout.take().context("kubectl has no output")?).lines();
    let (start, mut current, mut changes) = (Instant::now(), None, Vec::new());
    while let Ok(line) = timeout_at(start + EACH, lines.next_line()).await {
        let to: u32 = line?.context("the watch has ended")?.trim().parse()?;
        if let Some(from) = current.replace(to).filter(|from| *from != to) {
            changes.push(Change { at: start.elapsed(), from, to });
        }
    }
    Ok(changes)
}
