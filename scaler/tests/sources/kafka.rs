//! Kafka on a bad day: librdkafka's own mock of a cluster gives errors and delays that a real broker gives only by bad luck. The
//! answers of a real broker are tested end to end.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    ClientConfig,
    mocking::{MockCluster, MockCoordinator},
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer},
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use tidegate_core::kafka::{KafkaLag, NoOffset, Partitions};
use tidegate_scaler::{
    sources::kafka::{self, KafkaSettings},
    store::SignalStore,
};
use tokio::{
    task::{AbortHandle, spawn_blocking},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

const STALE_AFTER: Duration = Duration::from_secs(300);
const TOPIC: &str = "orders";
const PARTITIONS: i32 = 3;

/// A cluster of two brokers, and Tidegate that sweeps it each second. The mock does not report all offsets that a group has
/// committed, so groups begin at the start.
struct Mock {
    cluster: MockCluster<'static, DefaultProducerContext>,
    signals: Arc<SignalStore>,
    _stop: DropGuard,
    sweeping: AbortHandle,
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.sweeping.abort();
    }
}

impl Mock {
    fn new() -> Self {
        let cluster = MockCluster::new(2).unwrap();
        cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
        for partition in 0..PARTITIONS {
            cluster.partition_leader(TOPIC, partition, Some(1 + partition % 2)).unwrap();
        }
        let brokers: Vec<_> = cluster.bootstrap_servers().split(',').map(str::to_owned).collect();
        let settings = serde_json::json!({
            "clusters": { "default": { "brokers": brokers, "timeoutSeconds": 2 } },
            "intervalSeconds": 1,
        });
        let settings: KafkaSettings = serde_json::from_value(settings).unwrap();
        let signals = Arc::new(SignalStore::new(STALE_AFTER));
        let stop = CancellationToken::new();
        let sweeping = tokio::spawn(kafka::run(settings, Arc::clone(&signals), stop.clone())).abort_handle();
        Self { cluster, signals, _stop: stop.drop_guard(), sweeping }
    }

    /// Produces this many messages on each partition.
    async fn produce(&self, messages: u32) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", self.cluster.bootstrap_servers()).create().unwrap();
        spawn_blocking(move || {
            for partition in (0..PARTITIONS).cycle().take((messages * PARTITIONS.cast_unsigned()) as usize) {
                producer.send(BaseRecord::<(), str>::to(TOPIC).payload("x").partition(partition)).unwrap();
            }
            producer.flush(Duration::from_secs(10)).unwrap();
        })
        .await
        .unwrap();
    }

    /// Waits until a sweep has found this lag of a group, or an error that contains this text.
    async fn finds(&self, group: &str, wanted: Result<u64, &str>) {
        let lag = lag(group);
        let mut rounds = self.signals.rounds();
        let mut last = None;
        let found = async {
            loop {
                self.signals.keep_lag(&lag);
                let answer = self.signals.lag(&lag);
                let errors = self.signals.lag_error(&lag);
                let is_it = match (wanted, &answer) {
                    (Ok(messages), Ok((lag, _))) => lag.messages == messages && errors.is_none(),
                    (Err(text), _) => errors.as_ref().is_some_and(|error| error.contains(text)),
                    _ => false,
                };
                if is_it {
                    return;
                }
                last = Some((answer, errors));
                rounds.changed().await.unwrap();
            }
        };
        let in_time = timeout(Duration::from_secs(30), found).await;
        assert!(in_time.is_ok(), "{wanted:?} was not found, but {last:?}");
    }

    fn last(&self, group: &str) -> u64 {
        self.signals.lag(&lag(group)).unwrap().0.messages
    }
}

fn lag(group: &str) -> KafkaLag {
    KafkaLag {
        cluster: "default".into(),
        group: group.into(),
        topics: vec![TOPIC.into()],
        partitions: Partitions::default(),
        no_offset: NoOffset::Earliest,
        stuck_after: None,
    }
}

#[tokio::test]
async fn an_error_holds_the_last_lag_says_why_and_is_over_when_it_is_over() {
    let mock = Mock::new();
    mock.produce(10).await;
    mock.finds("billing", Ok(30)).await;
    let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 2];
    mock.cluster.request_errors(RDKafkaApiKey::OffsetFetch, &refused);
    mock.produce(1).await;
    let advice = "give Tidegate's user the ACL Describe (kafka-acls --add --operation Describe --group billing)";
    mock.finds("billing", Err(advice)).await;
    assert_eq!(mock.last("billing"), 30, "the last lag counts");
    mock.finds("billing", Ok(33)).await;
}

#[tokio::test]
async fn a_partition_without_a_leader_holds_the_lag_and_is_named() {
    let mock = Mock::new();
    mock.produce(10).await;
    mock.finds("billing", Ok(30)).await;
    mock.cluster.partition_leader(TOPIC, 1, None).unwrap();
    mock.finds("billing", Err("partition 1 of topic orders")).await;
    assert_eq!(mock.last("billing"), 30);
    mock.cluster.partition_leader(TOPIC, 1, Some(1)).unwrap();
    mock.produce(1).await;
    mock.finds("billing", Ok(33)).await;
}

#[tokio::test]
async fn a_broker_that_is_slow_or_away_holds_the_lag_until_it_is_back() {
    let mock = Mock::new();
    mock.cluster.coordinator(MockCoordinator::Group("billing".into()), 1).unwrap();
    mock.produce(10).await;
    mock.finds("billing", Ok(30)).await;
    mock.cluster.broker_round_trip_time(2, Duration::from_secs(4)).unwrap();
    mock.finds("billing", Err("")).await;
    mock.cluster.broker_round_trip_time(2, Duration::ZERO).unwrap();
    mock.finds("billing", Ok(30)).await;
    mock.cluster.broker_down(2).unwrap();
    mock.finds("billing", Err("")).await;
    assert_eq!(mock.last("billing"), 30);
    mock.cluster.broker_up(2).unwrap();
    mock.finds("billing", Ok(30)).await;
}

#[tokio::test]
async fn one_group_that_fails_leaves_the_others_alone() {
    let mock = Mock::new();
    mock.produce(10).await;
    for group in ["billing", "ledger"] {
        mock.signals.keep_lag(&lag(group));
    }
    mock.finds("billing", Ok(30)).await;
    mock.finds("ledger", Ok(30)).await;
    // One of the two groups fails in the next sweep, and either may be it.
    let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED];
    mock.cluster.request_errors(RDKafkaApiKey::OffsetFetch, &refused);
    tokio::select! {
        () = mock.finds("billing", Err("group billing: ")) => assert_eq!(mock.signals.lag_error(&lag("ledger")), None),
        () = mock.finds("ledger", Err("group ledger: ")) => assert_eq!(mock.signals.lag_error(&lag("billing")), None),
    }
}

/// Both have ended the process: librdkafka forgets that such a client has no group of its own (confluentinc/librdkafka#5040), and
/// frees memory that a late answer still needs (confluentinc/librdkafka#4605).
#[tokio::test]
async fn a_coordinator_that_moves_or_is_away_ends_nothing() {
    let mock = Mock::new();
    mock.cluster.coordinator(MockCoordinator::Group("billing".into()), 2).unwrap();
    mock.produce(10).await;
    mock.finds("billing", Ok(30)).await;
    mock.cluster.request_errors(RDKafkaApiKey::OffsetFetch, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR]);
    mock.finds("billing", Err("group billing: ")).await;
    mock.finds("billing", Ok(30)).await;
    mock.cluster.broker_down(2).unwrap();
    mock.finds("billing", Err("group billing: ")).await;
    mock.cluster.broker_up(2).unwrap();
    mock.finds("billing", Ok(30)).await;
}
