//! Lag in every situation that offsets get into, compared with Kafka's own tool and with counts by hand.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use rdkafka::{
    admin::{AdminOptions, NewTopic, TopicReplication},
    producer::Producer,
};
use serde_json::Value;
use tidegate_e2e::{
    cluster::Cluster,
    kafka::{BROKER, Brokers, Kafka, is_unknown},
    scenario::{Scenario, task_api, until},
};
use tokio::{
    task::spawn_blocking,
    time::{Duration, interval, timeout},
};

/// The expected lag of one group.
struct Case {
    group: &'static str,
    /// Keys without the prefix; if they name no topics, all topics of the group are included
    annotations: &'static [(&'static str, &'static str)],
    ours: i64,
    /// Lag that Kafka's own tool reports; `None` where it knows no such group
    theirs: Option<i64>,
}

const CASES: [Case; 18] = [
    Case { group: "middle", annotations: &[], ours: 3, theirs: Some(3) },
    Case { group: "some", annotations: &[("kafka-no-offset", "zero")], ours: 6, theirs: Some(6) },
    Case { group: "some-from-start", annotations: &[("kafka-no-offset", "earliest")], ours: 26, theirs: Some(6) },
    Case { group: "two-topics", annotations: &[], ours: 16, theirs: Some(16) },
    Case { group: "some-partitions", annotations: &[("kafka-partitions", "1-2")], ours: 1, theirs: Some(7) },
    Case { group: "short", annotations: &[], ours: 60, theirs: Some(90) },
    Case { group: "open", annotations: &[], ours: 11, theirs: Some(11) },
    Case { group: "open-committed", annotations: &[("kafka-cluster", "read-committed")], ours: 6, theirs: Some(11) },
    Case {
        group: "ahead",
        annotations: &[("kafka-cluster", "read-committed"), ("kafka-no-offset", "hold")],
        ours: 0,
        theirs: Some(3),
    },
    Case { group: "aborted", annotations: &[], ours: 12, theirs: Some(12) },
    Case {
        group: "aborted-committed",
        annotations: &[("kafka-cluster", "read-committed")],
        ours: 12,
        theirs: Some(12),
    },
    Case { group: "compacted", annotations: &[], ours: 50, theirs: Some(50) },
    Case {
        group: "again",
        annotations: &[("kafka-topics", "again,retries"), ("kafka-no-offset", "zero")],
        ours: 2,
        theirs: Some(2),
    },
    Case { group: "beyond", annotations: &[("kafka-no-offset", "earliest")], ours: 4, theirs: Some(-6) },
    Case { group: "growing", annotations: &[], ours: 1, theirs: Some(0) },
    Case { group: "reset", annotations: &[], ours: 10, theirs: Some(10) },
    Case {
        group: "left",
        annotations: &[("kafka-topics", "left"), ("kafka-no-offset", "earliest")],
        ours: 10,
        theirs: None,
    },
    Case { group: "unread", annotations: &[("kafka-topics", "unread")], ours: 1, theirs: None },
];

/// A Deployment without pods. It is paused, so that nobody scales it, but its lag is still read.
fn deployment(case: &Case) -> String {
    let Case { group, annotations, .. } = case;
    let mut lines = String::new();
    for (key, value) in
        [("kafka-lag", "1000"), ("kafka-group", group), ("kafka-partition-cap", "false"), ("paused", "true")]
            .iter()
            .chain(*annotations)
    {
        let _infallible = writeln!(lines, "    tidegate.dev/{key}: {value:?}");
    }
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {group}
  annotations:
{lines}spec:
  replicas: 0
  selector: {{matchLabels: {{app: {group}}}}}
  template:
    metadata: {{labels: {{app: {group}}}}}
    spec: {{containers: [{{name: nothing, image: nothing}}]}}
"
    )
}

async fn explained(cluster: &Cluster, scenario: &Scenario, name: &str) -> Result<Value> {
    let object = format!("deployment/{name}");
    let page = cluster.explain(&[&object, "-n", &scenario.namespace, "-o", "json"]).await?;
    Ok(serde_json::from_str(&page)?)
}

async fn finds(cluster: &Cluster, scenario: &Scenario, name: &str, wanted: i64) -> Result<()> {
    until(&format!("the lag of {name} is {wanted}"), async || {
        let page = explained(cluster, scenario, name).await?;
        let signal = &page["signals"][0];
        ensure!(signal["problem"].is_null() && signal["value"].as_f64() == Some(wanted as f64), "{signal}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn lag_is_what_kafkas_own_tool_says() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("kafka-lag").await?;
    let kafka = Kafka::at(BROKER);
    let compacted = NewTopic::new("compacted", 1, TopicReplication::Fixed(1));
    let compacted =
        compacted.set("cleanup.policy", "compact").set("segment.ms", "100").set("min.cleanable.dirty.ratio", "0.01");
    kafka.create(&compacted).await?;
    for (topic, partitions) in [
        ("middle", 1),
        ("some", 3),
        ("short", 1),
        ("open", 1),
        ("aborted", 1),
        ("again", 1),
        ("retries", 1),
        ("growing", 1),
        ("left", 1),
        ("unread", 2),
    ] {
        kafka.topic(topic, partitions).await?;
        for partition in 0..partitions {
            kafka.produce(topic, partition, 10).await?;
        }
    }

    // Messages that retention has deleted wait for nobody, but the tool counts them (kedacore/keda#7936).
    kafka.produce("short", 0, 90).await?;
    kafka.commit("short", "short", &[(0, 10)]).await?;
    let args = r#"{"version": 1, "partitions": [{"topic": "short", "partition": 0, "offset": 40}]}"#;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(&file, args)?;
    let file = file.path().display().to_string();
    kafka.tool("DeleteRecordsCommand", &["--offset-json-file", &file], None).await?;

    kafka.commit("middle", "middle", &[(0, 7)]).await?;
    kafka.commit("some", "some", &[(0, 4)]).await?;
    kafka.commit("some-from-start", "some", &[(0, 4)]).await?;
    kafka.commit("two-topics", "middle", &[(0, 1)]).await?;
    kafka.commit("two-topics", "some", &[(0, 4), (1, 10), (2, 9)]).await?;
    kafka.commit("some-partitions", "some", &[(0, 4), (1, 10), (2, 9)]).await?;
    // An open transaction holds back the messages behind it; the tool counts uncommitted messages too.
    let open = kafka.transaction("open", 5).await?;
    kafka.commit("open", "open", &[(0, 4)]).await?;
    kafka.commit("open-committed", "open", &[(0, 4)]).await?;
    // A group that reads uncommitted messages is ahead of the committed ones.
    kafka.commit("ahead", "open", &[(0, 12)]).await?;
    // Aborted messages, and the marker after them, keep their offsets.
    let aborted = kafka.transaction("aborted", 5).await?;
    spawn_blocking(move || aborted.abort_transaction(Duration::from_secs(30))).await??;
    kafka.commit("aborted", "aborted", &[(0, 4)]).await?;
    kafka.commit("aborted-committed", "aborted", &[(0, 4)]).await?;
    // Offsets stay consecutive numbers, although compaction takes most messages away.
    for _ in 0..5 {
        kafka.produce("compacted", 0, 20).await?;
    }
    until("most messages are gone", async || {
        let held = kafka.held("compacted", 0).await?;
        ensure!(held < 50, "{held} of 100 are there");
        Ok(())
    })
    .await?;
    kafka.commit("compacted", "compacted", &[(0, 50)]).await?;
    // The committed offsets of a topic are deleted with it, and the recreated one is another topic.
    kafka.commit("again", "again", &[(0, 10)]).await?;
    kafka.commit("again", "retries", &[(0, 8)]).await?;
    let admin = kafka.admin()?;
    admin.delete_topics(&["again"], &AdminOptions::new()).await?;
    kafka.topic("again", 1).await?;
    kafka.produce("again", 0, 4).await?;
    // A consumer that did not notice the change goes on with its old offset.
    kafka.commit("beyond", "again", &[(0, 10)]).await?;
    // Nothing was committed on the new partitions, which are worth one message while nothing else waits.
    kafka.commit("growing", "growing", &[(0, 10)]).await?;
    kafka.tool("TopicCommand", &["--alter", "--topic", "growing", "--partitions", "3"], None).await?;
    kafka.produce("growing", 2, 7).await?;
    kafka.commit("reset", "middle", &[(0, 10)]).await?;
    let reset = ["--group", "reset", "--topic", "middle", "--reset-offsets", "--to-earliest", "--execute"];
    kafka.tool("consumer.group.ConsumerGroupCommand", &reset, None).await?;
    kafka.commit("left", "left", &[(0, 3)]).await?;
    admin.delete_groups(&["left"], &AdminOptions::new()).await?;

    scenario.apply(&CASES.iter().map(deployment).collect::<String>()).await?;
    let known: Vec<_> = CASES.iter().filter(|case| case.theirs.is_some()).map(|case| case.group).collect();
    let lags = kafka.lags(&known).await?;
    for Case { group, ours, theirs, .. } in &CASES {
        match theirs {
            Some(theirs) => {
                let told = lags[*group];
                ensure!(told == *theirs, "Kafka's tool says {told} of {group}, not {theirs}");
            }
            None => is_unknown(&kafka, group).await?,
        }
        finds(&cluster, &scenario, group, *ours).await?;
    }
    spawn_blocking(move || open.commit_transaction(Duration::from_secs(30))).await??;
    // Includes the marker of the transaction's end.
    finds(&cluster, &scenario, "open-committed", 12).await?;
    let lag = kafka.lags(&["open"]).await?["open"];
    ensure!(lag == 12, "{lag}");
    finds(&cluster, &scenario, "open", 12).await
}

#[tokio::test]
async fn a_share_group_has_no_lag_and_a_new_group_of_any_other_kind_has() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("kafka-kinds").await?;
    let kafka = Kafka::at(BROKER);
    kafka.topic("shared", 1).await?;
    kafka.produce("shared", 0, 10).await?;
    let case = |group| Case { group, annotations: &[("kafka-topics", "shared")], ours: 0, theirs: None };
    // Each group reads a message, or would, and commits nothing.
    let reads = ["--topic", "shared", "--max-messages", "1", "--timeout-ms", "10000"];
    let share = ["--group", "of-shares"];
    kafka.tool("consumer.ConsoleShareConsumer", &[&reads[..], &share].concat(), None).await?;
    let new = ["--from-beginning", "--consumer-property", "enable.auto.commit=false"];
    for (group, protocol) in [("of-consumers", "group.protocol=consumer"), ("classic", "group.protocol=classic")] {
        let named = ["--group", group, "--consumer-property", protocol];
        kafka.tool("consumer.ConsoleConsumer", &[&reads[..], &new, &named].concat(), None).await?;
    }
    let groups = ["of-shares", "of-consumers", "classic", "of-nobody"];
    scenario.apply(&groups.map(|group| deployment(&case(group))).concat()).await?;
    for group in &groups[1..] {
        finds(&cluster, &scenario, group, 1).await?;
    }
    until("the share group is said to be one", async || {
        let page = explained(&cluster, &scenario, "of-shares").await?;
        let signal = &page["signals"][0];
        let problem = signal["problem"].as_str().with_context(|| signal.to_string())?;
        ensure!(problem.contains("group of-shares: it is a share group") && signal["value"].is_null(), "{signal}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn lag_outlives_the_brokers_that_tell_it() -> Result<()> {
    let cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("kafka-brokers").await?;
    let mut brokers = Brokers::start().await?;
    let kafka = brokers.kafka();
    let placed: [&[i32]; 3] = [&[1], &[2], &[1]];
    let copied: [&[i32]; 2] = [&[3, 1, 2], &[1, 2, 3]];
    kafka.create(&NewTopic::new("placed", 3, TopicReplication::Variable(&placed))).await?;
    kafka.create(&NewTopic::new("copied", 2, TopicReplication::Variable(&copied))).await?;
    for (topic, partitions) in [("placed", 3), ("copied", 2)] {
        for partition in 0..partitions {
            kafka.produce(topic, partition, 10).await?;
        }
    }
    kafka.commit("placed", "placed", &[(0, 4), (1, 4), (2, 4)]).await?;
    kafka.commit("copied", "copied", &[(0, 3), (1, 3)]).await?;
    let case = |group| Case { group, annotations: &[("kafka-cluster", "three")], ours: 0, theirs: None };
    scenario.apply(&(deployment(&case("placed")) + &deployment(&case("copied")))).await?;
    finds(&cluster, &scenario, "placed", 18).await?;
    finds(&cluster, &scenario, "copied", 14).await?;
    ensure!(kafka.lags(&["placed", "copied"]).await?.into_values().eq([14, 18]));

    brokers.kill(2).await?;
    until("the partition without a leader is named, and the lag is held", async || {
        let page = explained(&cluster, &scenario, "placed").await?;
        let signal = &page["signals"][0];
        let problem = signal["problem"].as_str().with_context(|| signal.to_string())?;
        ensure!(problem.contains("partition 1 of topic placed") && signal["value"] == 18.0, "{signal}");
        Ok(())
    })
    .await?;
    let told = scenario.event("Deployment", "placed", "SignalMissing").await?;
    ensure!(told.contains("kafka-lag is not known: group placed of Kafka cluster three: "), "{told}");
    // Partitions that have a leader are still measured.
    kafka.produce("copied", 0, 5).await?;
    finds(&cluster, &scenario, "copied", 19).await?;

    brokers.boot(2)?;
    finds(&cluster, &scenario, "placed", 18).await?;
    brokers.kill(3).await?;
    brokers.replace(3).await?;
    kafka.lead_by_first("copied", 0).await?;
    kafka.produce("copied", 0, 1).await?;
    finds(&cluster, &scenario, "copied", 20).await?;
    finds(&cluster, &scenario, "placed", 18).await?;
    until("Kafka's tool says the same", async || {
        let lags = kafka.lags(&["placed", "copied"]).await?;
        ensure!(lags.values().eq(&[20, 18]), "{lags:?}");
        Ok(())
    })
    .await
}

/// Messages/s that each replica reads; the test commits for all of them.
const PACE: i64 = 10;

#[tokio::test]
async fn lag_in_seconds_gives_as_many_replicas_as_read_it_in_time() -> Result<()> {
    let cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("kafka-seconds").await?;
    let kafka = Kafka::at(BROKER);
    kafka.topic("backlog", 1).await?;
    kafka.commit("slow", "backlog", &[(0, 0)]).await?;
    let annotations = [
        ("kafka-lag-seconds", "30"),
        ("kafka-group", "slow"),
        ("kafka-partition-cap", "false"),
        ("scale-down-after", "0s"),
    ];
    scenario.apply(&task_api("slow", &annotations)).await?;
    scenario.wait_for_replicas("slow", 1).await?;
    kafka.produce("backlog", 0, 6_000).await?;
    let (mut read, mut seconds, mut most) = (0, interval(Duration::from_secs(1)), 0);
    let all_is_read = async {
        while read < 6_000 {
            seconds.tick().await;
            let ready = scenario.get(&["deployment/slow"]).await?["status"]["readyReplicas"].as_i64().unwrap_or(0);
            most = most.max(ready);
            read = (read + PACE * ready).min(6_000);
            kafka.commit("slow", "backlog", &[(0, read)]).await?;
        }
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(400), all_is_read).await.context("what waited was not read in time")??;
    // One replica reads 300 messages in 30 s, so 20 would be needed; 10 is the maximum, which the HPA reaches in two steps.
    ensure!((8..=10).contains(&most), "{most} replicas");
    let pace = until("explain tells what a replica reads", async || {
        let told = explained(&cluster, &scenario, "slow").await?;
        told["kafka"]["consumedPerReplica"].as_f64().with_context(|| told.to_string())
    })
    .await?;
    ensure!((PACE as f64 * 0.5..PACE as f64 * 1.5).contains(&pace), "{pace} messages/s");
    scenario.wait_for_replicas("slow", 1).await
}
