//! Cost of sweeps of a Kafka cluster, compared with KEDA's own kafka trigger: requests and connections at the broker, time, memory.
//!
//! `make bench-kafka`, on the real stack. Groups have committed offsets on a topic of 10 partitions. Tidegate's scaler runs on
//! its own, from files; KEDA has a ScaledObject for each group.
#![allow(missing_docs, reason = "a benchmark")]

use std::{collections::BTreeMap, fmt::Write, fs, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tidegate_e2e::{
    kafka::{BROKER, Kafka},
    kubectl::{apply, run},
    scenario::{Scenario, until},
};
use tidegate_stack::Stack;
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::sleep,
};

const PARTITIONS: i32 = 10;
const OURS: [usize; 3] = [1, 100, 3_000];
const THEIRS: [usize; 2] = [1, 100];
const MEASURED: Duration = Duration::from_secs(60);
/// Time until the first sweeps, connections and look-ups are over.
const SETTLE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let kafka = Kafka::at(BROKER);
    kafka.topic("load", PARTITIONS).await?;
    for partition in 0..PARTITIONS {
        kafka.produce("load", partition, 100).await?;
    }
    eprintln!("{} groups commit", OURS[2]);
    commit(&kafka, OURS[2]).await?;
    println!(
        "| | groups | connections | requests/min | of which OffsetFetch, ListOffsets, Metadata | MiB | s for a sweep |"
    );
    println!("|---|---|---|---|---|---|---|");
    for groups in OURS {
        ours(groups).await?;
    }
    for groups in THEIRS {
        theirs(groups).await?;
    }
    Ok(())
}

async fn commit(kafka: &Kafka, groups: usize) -> Result<()> {
    let offsets: Vec<_> = (0..PARTITIONS).map(|partition| (partition, 50)).collect();
    let mut running = JoinSet::new();
    for group in 0..groups {
        if running.len() >= 16 {
            running.join_next().await.context("none runs")???;
        }
        let (kafka, offsets) = (kafka.clone(), offsets.clone());
        running.spawn(async move { kafka.commit(&format!("group-{group}"), "load", &offsets).await });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(())
}

/// Measures Tidegate's scaler with manifests of this many workloads.
async fn ours(groups: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let scaler = scaler(&folder, groups)?;
    let pid = scaler.id().context("it has ended")?;
    until("the sweeps have begun", async || {
        ensure!(sweeps().await?.0 >= 1.0, "none is over");
        Ok(())
    })
    .await?;
    sleep(SETTLE).await;
    let (before, (count, seconds)) = (asked().await?, sweeps().await?);
    sleep(MEASURED).await;
    let (after, (count_after, seconds_after)) = (asked().await?, sweeps().await?);
    let known = metric("tidegate_source_kafka_lags{cluster=\"default\",state=\"known\"}").await?;
    ensure!(known as usize == groups, "{known} lags are known, of {groups}");
    let sweep = (seconds_after - seconds) / (count_after - count);
    row("Tidegate, every 5 s", groups, pid, &before, &after, &format!("{sweep:.3}"))
}

fn scaler(folder: &TempDir, groups: usize) -> Result<Child> {
    let mut yaml = String::new();
    for group in 0..groups {
        write!(
            yaml,
            "---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: reader-{group}
  annotations: {{tidegate.dev/kafka-lag: \"100\", tidegate.dev/kafka-group: group-{group}, tidegate.dev/kafka-topics: load}}
spec: {{replicas: 1}}
"
        )?;
    }
    let (manifests, config) = (folder.path().join("manifests.yaml"), folder.path().join("kafka.yaml"));
    fs::write(&manifests, yaml)?;
    fs::write(&config, format!("clusters: {{default: {{brokers: [\"{BROKER}\"]}}}}\n"))?;
    let program = std::env::var("TIDEGATE_RELEASE").context("run it with `make bench-kafka`")?;
    let scaler = Command::new(program)
        .args(["scaler", "--grpc-address", "127.0.0.1:19090", "--admin-address", "127.0.0.1:18080", "-f"])
        .arg(&manifests)
        .arg("--kafka-config")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.path().join("log"))?)
        .kill_on_drop(true)
        .spawn()?;
    Ok(scaler)
}

async fn metrics() -> Result<String> {
    run("curl", &["-sf", "http://127.0.0.1:18080/metrics"], None).await
}

async fn metric(series: &str) -> Result<f64> {
    let text = metrics().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(series)).with_context(|| format!("no {series}"))?;
    Ok(line.trim().parse()?)
}

/// Number of sweeps, and the seconds that they took together.
async fn sweeps() -> Result<(f64, f64)> {
    let of = "tidegate_source_kafka_sweep_duration_seconds";
    let count = metric(&format!("{of}_count{{cluster=\"default\"}}")).await?;
    Ok((count, metric(&format!("{of}_sum{{cluster=\"default\"}}")).await?))
}

/// Measures KEDA's own trigger with this many Deployments, each with its own group.
async fn theirs(groups: usize) -> Result<()> {
    let scenario = Scenario::new(&format!("kafka-{groups}")).await?;
    let mut yaml = String::new();
    for group in 0..groups {
        write!(
            yaml,
            "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: reader-{group}, namespace: {namespace}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: reader-{group}}}}}
  template:
    metadata: {{labels: {{app: reader-{group}}}}}
    spec: {{containers: [{{name: pause, image: pause}}]}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: reader-{group}, namespace: {namespace}}}
spec:
  scaleTargetRef: {{name: reader-{group}}}
  maxReplicaCount: 1
  triggers:
    - type: kafka
      metadata: {{bootstrapServers: \"{BROKER}\", consumerGroup: group-{group}, topic: load, lagThreshold: \"100\"}}
",
            namespace = scenario.namespace
        )?;
    }
    let keda = Stack::attach()?.status("keda-operator").await?;
    let pid = keda.values().find_map(|status| status.pid).context("KEDA does not run")?.cast_unsigned();
    let idle = memory(pid)?;
    apply(&yaml).await?;
    until("all ScaledObjects are ready", async || {
        let objects = scenario.get(&["scaledobjects"]).await?;
        let items = objects["items"].as_array().context("no list")?;
        let ready = |object: &&serde_json::Value| {
            let conditions = object["status"]["conditions"].as_array();
            conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
        };
        let ready = items.iter().filter(ready).count();
        ensure!(ready == groups, "{ready} of {groups}");
        Ok(())
    })
    .await?;
    sleep(SETTLE).await;
    let before = asked().await?;
    sleep(MEASURED).await;
    let after = asked().await?;
    row(
        &format!("KEDA's kafka trigger, every 30 s, and the HPA (without any: {idle:.0} MiB)"),
        groups,
        pid,
        &before,
        &after,
        "-",
    )
}

/// Requests that the broker has received so far, by type.
async fn asked() -> Result<BTreeMap<String, f64>> {
    let url = "service:jmx:rmi:///jndi/rmi://10.244.255.252:9999/jmxrmi";
    let requests = "kafka.network:type=RequestMetrics,name=RequestsPerSec,request=*,*";
    let args = ["org.apache.kafka.tools.JmxTool", "--jmx-url", url, "--object-name", requests, "--attributes", "Count"];
    let table = run("kafka", &[&args[..], &["--one-time", "--report-format", "properties"]].concat(), None).await?;
    let mut asked = BTreeMap::new();
    for line in table.lines() {
        let Some((name, count)) = line.rsplit_once('=') else { continue };
        let request = name.split([',', ':']).find_map(|part| part.strip_prefix("request="));
        if let (Some(request), Ok(count)) = (request, count.parse::<f64>()) {
            *asked.entry(request.to_owned()).or_default() += count;
        }
    }
    ensure!(!asked.is_empty(), "the broker tells nothing: {table}");
    Ok(asked)
}

fn row(
    who: &str,
    groups: usize,
    pid: u32,
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
    sweep: &str,
) -> Result<()> {
    // Requests between the broker and its controller are left out.
    let theirs = ["BrokerHeartbeat", "FetchSnapshot", "Fetch", "AlterPartition", "DescribeQuorum"];
    let grown = |request: &str| {
        let grown = after.get(request).unwrap_or(&0.0) - before.get(request).unwrap_or(&0.0);
        grown * 60.0 / MEASURED.as_secs_f64()
    };
    let all: f64 =
        after.keys().filter(|request| !theirs.contains(&request.as_str())).map(|request| grown(request)).sum();
    println!(
        "| {who} | {groups} | {} | {all:.0} | {:.0}, {:.0}, {:.0} | {:.0} | {sweep} |",
        connections(pid)?,
        grown("OffsetFetch"),
        grown("ListOffsets"),
        grown("Metadata"),
        memory(pid)?,
    );
    Ok(())
}

/// Resident memory of a process, in MiB.
fn memory(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kib / 1024.0)
}

/// Connections of a process to the broker: its own sockets whose other end is port 9092.
fn connections(pid: u32) -> Result<usize> {
    let inode = |link: &Path| {
        let target = fs::read_link(link).ok()?.to_string_lossy().into_owned();
        Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    let sockets: Vec<_> =
        fs::read_dir(format!("/proc/{pid}/fd"))?.filter_map(|entry| inode(&entry.ok()?.path())).collect();
    let port = format!(":{:04X}", 9092);
    let tables =
        ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
    let open = tables.iter().flat_map(|table| table.lines()).filter(|line| {
        let cells: Vec<_> = line.split_whitespace().collect();
        matches!(cells[..], [_, _, other, "01", .., ] if other.ends_with(&port))
            && cells.get(9).is_some_and(|inode| sockets.iter().any(|own| own == inode))
    });
    Ok(open.count())
}
