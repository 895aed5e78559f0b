//! Kafka's lag, on a real broker, compared with Kafka's own tool.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use serde_json::json;
use tidegate_e2e::{
    cluster::{Cluster, SCALER_ADDRESS, kafka_ca},
    examples::example,
    kafka::{BROKER, Kafka},
    kubectl::kubectl,
    scenario::{Scenario, task_api, until},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::AbortHandle,
};

async fn kafka(class: &str, args: &[&str], stdin: Option<&str>) -> Result<String> {
    Kafka::at(BROKER).tool(class, args, stdin).await
}

async fn topic(name: &str, partitions: i32) -> Result<()> {
    Kafka::at(BROKER).topic(name, partitions).await
}

async fn produce(topic: &str, messages: u32) -> Result<()> {
    let lines: String = (0..messages).map(|number| format!("{number}\n")).collect();
    kafka("ConsoleProducer", &["--topic", topic], Some(&lines)).await.map(drop)
}

/// Runs a member of the group that reads this many messages, commits, and leaves.
async fn consume(topic: &str, group: &str, messages: u32) -> Result<()> {
    let messages = messages.to_string();
    let args = ["--topic", topic, "--group", group, "--max-messages", &messages, "--timeout-ms", "60000"];
    let from_start = ["--consumer-property", "auto.offset.reset=earliest"];
    kafka("consumer.ConsoleConsumer", &[&args[..], &from_start].concat(), None).await.map(drop)
}

/// The lag of all partitions as Kafka's own tool adds it up.
async fn oracle(group: &str) -> Result<i64> {
    Ok(Kafka::at(BROKER).lags(&[group]).await?[group])
}

#[tokio::test]
async fn a_deployment_wakes_by_lag_follows_it_and_sleeps_when_all_is_read() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("kafka").await?;
    topic("orders", 4).await?;
    // The pods do not read: the test's own member of the group does.
    let changes = [("kafka-lag: \"50\"", "kafka-lag: \"10\""), ("scale-down-after: 5m", "scale-down-after: 0s")];
    scenario.apply(&example("kafka/consumer.yaml", &changes)?).await?;
    scenario.wait_for_replicas("billing", 0).await?;

    produce("orders", 55).await?;
    // The group has committed nothing yet, which is worth one replica and not the maximum.
    scenario.wait_for_replicas("billing", 1).await?;
    consume("orders", "billing", 25).await?;
    let lag = oracle("billing").await?;
    ensure!(lag == 30, "{lag}");
    scenario.wait_for_replicas("billing", 3).await?;
    // Never more replicas than partitions, however many messages wait.
    produce("orders", 500).await?;
    scenario.wait_for_replicas("billing", 4).await?;
    let explained = explained(&cluster, &scenario, "billing").await?;
    ensure!(explained.contains(" of 4 partitions for group billing on orders of Kafka cluster default"), "{explained}");
    let metrics =
        kubectl(&["get", "--raw", "/api/v1/namespaces/tidegate-system/services/tidegate:admin/proxy/metrics"]).await?;
    for series in ["tidegate_source_kafka_sweep_duration_seconds_count", "tidegate_source_kafka_lags"] {
        ensure!(
            metrics.contains(&format!("{series}{{cluster=\"default\"")),
            "{series} is not among the metrics: {metrics}"
        );
    }
    consume("orders", "billing", 530).await?;
    ensure!(oracle("billing").await? == 0, "all is read");
    scenario.wait_for_replicas("billing", 0).await
}

#[tokio::test]
async fn topics_that_match_a_pattern_count_as_soon_as_they_are_made() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("kafka-pattern").await?;
    let kafka = Kafka::at(BROKER);
    kafka.topic("parcels-eu", 2).await?;
    kafka.topic("returned-parcels-eu", 1).await?;
    kafka.produce("returned-parcels-eu", 0, 90).await?;
    kafka.commit("courier", "parcels-eu", &[(0, 0), (1, 0)]).await?;
    let annotations = [
        ("kafka-lag", "10"),
        ("kafka-group", "courier"),
        ("kafka-topics", "/parcels-.*/"),
        ("kafka-no-offset", "earliest"),
        ("min-replicas", "0"),
        ("scale-down-after", "0s"),
    ];
    scenario.apply(&task_api("courier", &annotations)).await?;
    scenario.wait_for_replicas("courier", 0).await?;
    // The group has committed nothing on the new topic: all of it waits.
    kafka.topic("parcels-us", 3).await?;
    kafka.produce("parcels-us", 0, 25).await?;
    scenario.wait_for_replicas("courier", 3).await?;
    // The partitions of both topics are the most replicas.
    kafka.produce("parcels-us", 0, 500).await?;
    scenario.wait_for_replicas("courier", 5).await?;
    let explained = explained(&cluster, &scenario, "courier").await?;
    let wanted = " of 5 partitions for group courier on /parcels-.*/ (2 topics) of Kafka cluster default";
    ensure!(explained.contains(wanted), "{explained}");

    let config = tempfile::NamedTempFile::new()?;
    std::fs::write(&config, json!({ "clusters": { "default": { "brokers": [BROKER] } } }).to_string())?;
    let config = config.path().display().to_string();
    let check = ["kafka", "check", "--kafka-config", &config, "--topic", "/parcels-.*/"];
    let checked = cluster.tidegate(&check).await?;
    ensure!(
        checked.contains("2 topics match, with 5 partitions and 525 messages: parcels-eu, parcels-us"),
        "{checked}"
    );
    kafka.commit("courier", "parcels-us", &[(0, 525)]).await?;
    scenario.wait_for_replicas("courier", 0).await
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
        let explained = cluster.explain(&["deployment/lost", "-n", &scenario.namespace]).await?;
        let words: Vec<_> = explained.split_whitespace().collect();
        ensure!(words.join(" ").contains("topic no-such-topic: does not exist"), "{explained}");
        Ok(())
    })
    .await?;
    let annotations =
        [("kafka-lag", "10"), ("kafka-group", "nobody"), ("kafka-topics", "/no-such-.*/"), ("min-replicas", "2")];
    scenario.apply(&task_api("lost-pattern", &annotations)).await?;
    let told = scenario.event("Deployment", "lost-pattern", "SignalMissing").await?;
    ensure!(told.contains("/no-such-.*/ matches no topic that exists"), "{told}");
    scenario.wait_for_replicas("lost-pattern", 2).await
}

/// Output of `explain`, in one line.
async fn explained(cluster: &Cluster, scenario: &Scenario, name: &str) -> Result<String> {
    let page = cluster.explain(&[&format!("deployment/{name}"), "-n", &scenario.namespace]).await?;
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
        ("nowhere", "no Kafka cluster is called missing; the configuration has default, oauth, "),
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
    // 15 messages wait, at 5 a replica; there are 2 partitions.
    scenario.wait_for_replicas("ledger", 2).await
}

#[tokio::test]
async fn a_hand_written_scaled_object_follows_lag() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("kafka-by-hand").await?;
    let kafka = Kafka::at(BROKER);
    kafka.topic("letters", 4).await?;
    kafka.produce("letters", 0, 25).await?;
    kafka.commit("postman", "letters", &[(0, 0), (1, 0), (2, 0), (3, 0)]).await?;
    let scaled_object = format!(
        "---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: postman}}
spec:
  scaleTargetRef: {{name: postman}}
  minReplicaCount: 0
  pollingInterval: 2
  cooldownPeriod: 1
  triggers:
    - type: external-push
      metadata:
        scalerAddress: {SCALER_ADDRESS}
        kafkaLag: \"10\"
        kafkaGroup: postman
        kafkaTopics: letters
        kafkaEvenDistribution: \"true\"
"
    );
    scenario.apply(&(task_api("postman", &[]) + &scaled_object)).await?;
    // 3 replicas are needed, rounded up to 4, which share the 4 partitions evenly.
    scenario.wait_for_replicas("postman", 4).await?;
    kafka.commit("postman", "letters", &[(0, 25)]).await?;
    scenario.wait_for_replicas("postman", 0).await
}

/// A token endpoint as in RFC 6749, for unsigned tokens: header `{"alg":"none"}`, the client as `sub`.
async fn issue_tokens() -> Result<AbortOnDrop> {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let listener = TcpListener::bind("10.244.255.239:8080").await?;
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_err() {
                continue;
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let claims = format!(r#"{{"sub":"token-reader","iat":{now},"exp":{}}}"#, now + 60);
            let encoded = [r#"{"alg":"none"}"#, &claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
            let body = format!(r#"{{"access_token":"{}.{}.","expires_in":60}}"#, encoded[0], encoded[1]);
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            drop(stream.write_all((head + &body).as_bytes()).await);
        }
    });
    Ok(AbortOnDrop(serving.abort_handle()))
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn a_client_with_tokens_reads_lag_and_the_check_says_what_is_missing() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("kafka-oauth").await?;
    let kafka = Kafka::at(BROKER);
    kafka.topic("invoices", 1).await?;
    kafka.produce("invoices", 0, 9).await?;
    kafka.commit("archive", "invoices", &[(0, 2)]).await?;
    let annotations =
        [("kafka-lag", "1"), ("kafka-group", "archive"), ("kafka-topics", "invoices"), ("kafka-cluster", "oauth")];
    scenario.apply(&task_api("archive", &annotations)).await?;
    until("explain says that nobody gives tokens", async || {
        let explained = explained(&cluster, &scenario, "archive").await?;
        ensure!(
            explained.contains("sasl.tokenEndpoint http://10.244.255.239:8080/token: error sending"),
            "{explained}"
        );
        Ok(())
    })
    .await?;
    let _tokens = issue_tokens().await?;
    let folder = tempfile::tempdir()?;
    let ca = kafka_ca()?;
    let (secret, config) = (folder.path().join("secret"), folder.path().join("kafka.yaml"));
    std::fs::write(&secret, "lag-reader")?;
    let sasl = json!({
        "mechanism": "OAUTHBEARER", "tokenEndpoint": "http://10.244.255.239:8080/token", "clientId": "lag-reader",
        "clientSecretFile": secret,
    });
    let clusters =
        json!({ "oauth": { "brokers": ["kafka.messaging.svc:9094"], "tls": { "caFile": ca }, "sasl": sasl } });
    std::fs::write(&config, json!({ "clusters": clusters }).to_string())?;
    let config = config.display().to_string();
    let check = [
        "kafka",
        "check",
        "oauth",
        "--kafka-config",
        &config,
        "--topic",
        "invoices",
        "--group",
        "archive",
        "-o",
        "json",
    ];
    let refused = cluster.tidegate(&check).await;
    ensure!(refused.as_ref().is_err_and(|error| error.to_string().contains("2 steps failed")), "{refused:?}");
    for allowed in [["--topic", "invoices"], ["--group", "archive"]] {
        let args = ["--add", "--allow-principal", "User:token-reader", "--operation", "Describe"];
        kafka.tool("AclCommand", &[&args[..], &allowed].concat(), None).await?;
    }
    let steps = until("the check is content", async || cluster.tidegate(&check).await).await?;
    let steps: serde_json::Value = serde_json::from_str(&steps)?;
    let details: Vec<_> = steps.as_array().into_iter().flatten().filter_map(|step| step["detail"].as_str()).collect();
    ensure!(
        details.ends_with(&["1 partitions with 9 messages", "has committed offsets on 1 partitions"]),
        "{details:?}"
    );
    until("explain tells the lag", async || {
        let explained = explained(&cluster, &scenario, "archive").await?;
        ensure!(
            explained.contains("7 messages wait on 1 of 1 partitions for group archive on invoices"),
            "{explained}"
        );
        Ok(())
    })
    .await
}
