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
    sources::kafka::{self, ClusterSettings, KafkaSettings},
    store::SignalStore,
};
use tokio::{
    task::{AbortHandle, spawn_blocking},
    time::{Instant, timeout},
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
        self.produce_to(TOPIC, messages).await;
    }

    async fn produce_to(&self, topic: &'static str, messages: u32) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", self.cluster.bootstrap_servers()).create().unwrap();
        spawn_blocking(move || {
            for partition in (0..PARTITIONS).cycle().take((messages * PARTITIONS.cast_unsigned()) as usize) {
                producer.send(BaseRecord::<(), str>::to(topic).payload("x").partition(partition)).unwrap();
            }
            producer.flush(Duration::from_secs(10)).unwrap();
        })
        .await
        .unwrap();
    }

    /// Waits until a sweep has found this lag of a group, or an error that contains this text.
    async fn finds(&self, group: &str, wanted: Result<u64, &str>) {
        self.finds_of(lag(group), wanted).await;
    }

    async fn finds_of(&self, lag: KafkaLag, wanted: Result<u64, &str>) {
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
        topics: TOPIC.parse().unwrap(),
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

#[tokio::test]
async fn topics_that_match_a_pattern_are_found_with_the_next_sweep_and_too_many_hold_the_lag() {
    let mock = Mock::new();
    let of = |topics: &str| KafkaLag { topics: topics.parse().unwrap(), ..lag("billing") };
    let pattern = of("/orders.*/, audit");
    for topic in ["audit", "reorders"] {
        mock.cluster.create_topic(topic, PARTITIONS, 1).unwrap();
    }
    mock.produce(10).await;
    mock.produce_to("reorders", 7).await;
    mock.produce_to("audit", 1).await;
    mock.finds_of(pattern.clone(), Ok(33)).await;
    mock.cluster.create_topic("orders-eu", PARTITIONS, 1).unwrap();
    mock.produce_to("orders-eu", 2).await;
    let made = Instant::now();
    mock.finds_of(pattern.clone(), Ok(39)).await;
    assert!(
        made.elapsed() < Duration::from_secs(15),
        "partitions of topics are remembered for 30 s, but not for patterns"
    );
    let (found, _) = mock.signals.lag(&pattern).unwrap();
    assert_eq!((found.topics, found.partitions), (3, 9), "all of their partitions count for the cap");
    for topic in 0..99 {
        mock.cluster.create_topic(&format!("orders-{topic}"), 1, 1).unwrap();
    }
    mock.finds_of(pattern.clone(), Err("/orders.*/ matches 101 topics, and at most 100 may be matched")).await;
    assert_eq!(mock.signals.lag(&pattern).unwrap().0.messages, 39, "the last lag counts, and nothing is cut");
    mock.finds_of(of("/nothing.*/"), Err("/nothing.*/ matches no topic")).await;
    mock.finds_of(lag("billing"), Ok(30)).await;
}

#[tokio::test]
async fn the_check_lists_what_a_pattern_matches() {
    let mock = Mock::new();
    mock.cluster.create_topic("orders-eu", PARTITIONS, 1).unwrap();
    mock.produce(10).await;
    let brokers: Vec<_> = mock.cluster.bootstrap_servers().split(',').map(str::to_owned).collect();
    let settings: ClusterSettings = serde_json::from_value(serde_json::json!({ "brokers": brokers })).unwrap();
    let topics = ["/orders.*/, orders", "/bill.*/", "/orders(/"].map(str::to_owned);
    let steps = spawn_blocking(move || kafka::check(&settings, &topics, &[])).await.unwrap();
    let steps: Vec<_> = steps.iter().rev().take(4).rev().map(|s| (s.step.as_str(), s.ok, s.detail.as_str())).collect();
    let matched = "2 topics match, with 6 partitions and 30 messages: orders, orders-eu";
    let none = "/bill.*/ matches no topic that exists and that Tidegate's user may describe";
    assert_eq!(steps[0], ("topic orders", true, "3 partitions with 30 messages"));
    assert_eq!(steps[1], ("topics /orders.*/, orders", true, matched));
    assert_eq!(steps[2], ("topics /bill.*/", false, none));
    assert_eq!((steps[3].0, steps[3].1), ("topic /orders(/", false));
    assert!(steps[3].2.ends_with("/orders(/ is none: unclosed group"), "{}", steps[3].2);
}
