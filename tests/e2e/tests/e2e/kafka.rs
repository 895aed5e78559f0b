//! Kafka's lag, on a real broker, beside what Kafka's own tool says.

use anyhow::{Context, Result, ensure};
use tidegate_e2e::{
    cluster::Cluster,
    kubectl::run,
    scenario::{Scenario, task_api, until},
};

const BROKER: &str = "kafka.messaging.svc:9092";

/// Runs a tool of Kafka's.
async fn kafka(class: &str, args: &[&str], stdin: Option<&str>) -> Result<String> {
    let class = format!("org.apache.kafka.tools.{class}");
    run("kafka", &[&[class.as_str(), "--bootstrap-server", BROKER], args].concat(), stdin).await
}

async fn topic(name: &str, partitions: u32) -> Result<()> {
    let partitions = partitions.to_string();
    until("the broker makes a topic", async || {
        kafka("TopicCommand", &["--create", "--if-not-exists", "--topic", name, "--partitions", &partitions], None)
            .await
    })
    .await
    .map(drop)
}

async fn produce(topic: &str, messages: u32) -> Result<()> {
    let lines: String = (0..messages).map(|number| format!("{number}\n")).collect();
    kafka("ConsoleProducer", &["--topic", topic], Some(&lines)).await.map(drop)
}

/// A member of the group reads so many messages, commits, and leaves.
async fn consume(topic: &str, group: &str, messages: u32) -> Result<()> {
    let messages = messages.to_string();
    let args = ["--topic", topic, "--group", group, "--max-messages", &messages, "--timeout-ms", "60000"];
    let from_start = ["--consumer-property", "auto.offset.reset=earliest"];
    kafka("consumer.ConsoleConsumer", &[&args[..], &from_start].concat(), None).await.map(drop)
}

/// The lag of all partitions as Kafka's own tool adds it up.
async fn oracle(group: &str) -> Result<u64> {
    let table = kafka("consumer.group.ConsumerGroupCommand", &["--describe", "--group", group], None).await?;
    let mut lines = table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("Consumer group"));
    let head: Vec<_> = lines.next().context("no table")?.split_whitespace().collect();
    let column = head.iter().position(|name| *name == "LAG").with_context(|| table.clone())?;
    let lags = lines.map(|line| line.split_whitespace().nth(column).unwrap_or("-").to_owned());
    lags.filter(|lag| lag != "-").map(|lag| Ok(lag.parse::<u64>()?)).sum()
}

#[tokio::test]
async fn a_deployment_wakes_by_lag_follows_it_and_sleeps_when_all_is_read() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("kafka").await?;
    topic("orders", 4).await?;
    let annotations = [
        ("kafka-lag", "10"),
        ("kafka-group", "billing"),
        ("kafka-topics", "orders"),
        ("min-replicas", "0"),
        ("scale-down-after", "0s"),
    ];
    // The pods do not read: the test's own member of the group does.
    scenario.apply(&task_api("billing", &annotations)).await?;
    scenario.wait_for_replicas("billing", 0).await?;

    produce("orders", 55).await?;
    // It has committed nothing yet, which is worth one replica and not the maximum.
    scenario.wait_for_replicas("billing", 1).await?;
    consume("orders", "billing", 25).await?;
    let lag = oracle("billing").await?;
    ensure!(lag == 30, "{lag}");
    scenario.wait_for_replicas("billing", 3).await?;
    // Never more than partitions, however much waits.
    produce("orders", 500).await?;
    scenario.wait_for_replicas("billing", 4).await?;
    let explained = cluster.tidegate(&["explain", "deployment/billing", "-n", &scenario.namespace]).await?;
    ensure!(explained.contains("kafka-lag"), "{explained}");
    consume("orders", "billing", 530).await?;
    ensure!(oracle("billing").await? == 0, "all is read");
    scenario.wait_for_replicas("billing", 0).await
}

#[tokio::test]
async fn what_cannot_be_asked_for_says_so_and_changes_nothing() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("kafka-wrong").await?;
    let annotations =
        [("kafka-lag", "10"), ("kafka-group", "nobody"), ("kafka-topics", "no-such-topic"), ("min-replicas", "2")];
    scenario.apply(&task_api("lost", &annotations)).await?;
    scenario.wait_for_replicas("lost", 2).await?;
    until("explain says what is missing", async || {
        let explained = cluster.tidegate(&["explain", "deployment/lost", "-n", &scenario.namespace]).await?;
        let words: Vec<_> = explained.split_whitespace().collect();
        ensure!(words.join(" ").contains("topic no-such-topic does not exist"), "{explained}");
        Ok(())
    })
    .await
}

/// What `explain` says, in one line.
async fn explained(cluster: &Cluster, scenario: &Scenario, name: &str) -> Result<String> {
    let page = cluster.tidegate(&["explain", &format!("deployment/{name}"), "-n", &scenario.namespace]).await?;
    Ok(page.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn a_user_with_a_password_over_tls_reads_lag_as_far_as_acls_allow() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("kafka-secure").await?;
    topic("payments", 2).await?;
    produce("payments", 20).await?;
    consume("payments", "ledger", 5).await?;
    let annotations = |cluster| {
        [("kafka-lag", "5"), ("kafka-group", "ledger"), ("kafka-topics", "payments"), ("kafka-cluster", cluster)]
    };
    let manifests = task_api("ledger", &annotations("secure"))
        + &task_api("locked-out", &annotations("wrong-password"))
        + &task_api("nowhere", &annotations("missing"));
    scenario.apply(&manifests).await?;
    for (name, wanted) in [
        ("ledger", "uthoriz"),
        ("locked-out", "uthentication failed"),
        ("nowhere", "no Kafka cluster is called missing; the configuration has default, secure, wrong-password"),
    ] {
        until(&format!("explain says what is wrong with {name}"), async || {
            let explained = explained(&cluster, &scenario, name).await?;
            ensure!(explained.contains(wanted), "{explained}");
            Ok(())
        })
        .await?;
    }
    for allowed in [["--topic", "payments"], ["--group", "ledger"]] {
        let args = ["--add", "--allow-principal", "User:tidegate", "--operation", "Describe"];
        kafka("AclCommand", &[&args[..], &allowed].concat(), None).await?;
    }
    // 15 wait, at 5 a replica; 2 partitions.
    scenario.wait_for_replicas("ledger", 2).await
}

#[tokio::test]
async fn lag_is_what_kafkas_own_tool_says() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("kafka-lag").await?;
    topic("events", 3).await?;
    topic("retries", 1).await?;
    produce("events", 90).await?;
    produce("retries", 12).await?;
    consume("events", "workers", 40).await?;
    consume("retries", "workers", 2).await?;
    // Both topics of the group, because none is named.
    let annotations = [("kafka-lag", "1000"), ("kafka-group", "workers"), ("kafka-partition-cap", "false")];
    scenario.apply(&task_api("workers", &annotations)).await?;
    let same = async |situation: &str, wanted: u64| {
        let theirs = oracle("workers").await?;
        ensure!(theirs == wanted, "{situation}: Kafka's own tool says {theirs}, not {wanted}");
        until(&format!("{situation}: the lag is {wanted}"), async || {
            let page =
                cluster.tidegate(&["explain", "deployment/workers", "-n", &scenario.namespace, "-o", "json"]).await?;
            let page: serde_json::Value = serde_json::from_str(&page)?;
            let ours = page["signals"][0]["value"].as_f64();
            ensure!(ours == Some(wanted as f64), "{}", page["signals"]);
            Ok(())
        })
        .await
    };
    same("two topics, partly read", 60).await?;
    let reset = ["--group", "workers", "--topic", "events", "--reset-offsets", "--to-earliest", "--execute"];
    kafka("consumer.group.ConsumerGroupCommand", &reset, None).await?;
    same("offsets reset to the start", 100).await?;
    kafka("TopicCommand", &["--alter", "--topic", "retries", "--partitions", "3"], None).await?;
    same("partitions added, where nobody has committed", 100).await?;
    let end = ["--group", "workers", "--all-topics", "--reset-offsets", "--to-latest", "--execute"];
    kafka("consumer.group.ConsumerGroupCommand", &end, None).await?;
    same("all skipped", 0).await
}
