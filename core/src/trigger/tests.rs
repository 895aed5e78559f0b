use proptest::prelude::*;

use super::*;
use crate::{
    intent::Annotations,
    key::{Place, Topic},
    value_kind::ValueKind,
    workload::WorkloadKind,
};

fn metadata(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
    Trigger::parse("shop", &metadata(pairs)).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_hand_written_trigger_names_a_service_or_clusters() {
    let trigger = Trigger::parse(
        "shop",
        &metadata(&[("scalerAddress", "tidegate:9090"), ("service", "task-api"), ("requestsPerSecond", "100")]),
    );
    let service = ServiceId { namespace: "shop".into(), name: "task-api".into() };
    assert_eq!(trigger.unwrap().traffic, Some(Traffic::Service(service)));
    let trigger = Trigger::parse("shop", &metadata(&[("clusters", "a, b"), ("concurrency", "4")])).unwrap();
    assert_eq!(trigger.traffic, Some(Traffic::Clusters(vec!["a".into(), "b".into()])));
}

#[test]
fn a_key_that_keda_resolved_from_the_environment_keeps_its_suffix() {
    let trigger = Trigger::parse("shop", &metadata(&[("serviceFromEnv", "api"), ("requestsPerSecondFromEnv", "7")]));
    assert_eq!(trigger.unwrap().targets[0].per_replica.get(), 7.0);
}

#[test]
fn bad_metadata_names_the_key() {
    assert_eq!(
        problems(&[("service", "api"), ("requestPerSecond", "100")]),
        [
            "trigger metadata has no target: give at least one of requestsPerSecond, concurrency, connections, kafkaLag, \
             kafkaLagSeconds, inputTokensPerSecond, outputTokensPerSecond, queuePerReplica, kvCache, prometheusTarget",
            "trigger metadata has no key requestPerSecond; did you mean requestsPerSecond?"
        ]
    );
    assert_eq!(
        problems(&[("service", "api"), ("requestsPerSecond", "-1")]),
        ["requestsPerSecond: got \"-1\", wants a number from 0.001 to 1e12, such as \"100\""]
    );
    assert_eq!(
        problems(&[("requestsPerSecond", "1")]),
        ["trigger metadata does not say whose traffic counts: give service (a Service of this namespace) or clusters"]
    );
    assert_eq!(
        problems(&[("requestsPerSecond", "1"), ("service", "a"), ("clusters", "b")]),
        ["trigger metadata has more than one of workload, service and clusters: keep one"]
    );
    assert_eq!(
        problems(&[("kafkaLag", "10")]),
        ["trigger metadata needs kafkaLag (or kafkaLagSeconds) and kafkaGroup together"]
    );
    assert_eq!(
        problems(&[("prometheusQuery", "sum(x)")]),
        ["trigger metadata needs prometheusQuery and prometheusTarget together"]
    );
    let endless = problems(&[("prometheusQuery", &"x".repeat(10_001)), ("prometheusTarget", "1")]);
    assert!(endless[0].ends_with("wants a PromQL query of 1 to 10000 bytes"), "{endless:?}");
}

#[test]
fn hours_of_a_trigger_that_are_only_a_cap_are_no_metric_beside_others() {
    let signals = |more: &[(&str, &str)]| {
        let hours = [("hours", "Mo-Fr 08:00-18:00"), ("timezone", "Europe/Berlin")];
        let trigger = Trigger::parse("shop", &metadata(&[&hours, more].concat())).unwrap();
        assert!(matches!(trigger.schedule, Some(TriggerSchedule::Own(_))), "the cap applies");
        trigger.targets.iter().map(|target| target.signal).collect::<Vec<_>>()
    };
    let lag = [("kafkaLag", "50"), ("kafkaGroup", "billing")];
    assert_eq!(signals(&[&lag[..], &[("minReplicas", "0")]].concat()), [Signal::KafkaLag]);
    assert_eq!(signals(&lag), [Signal::KafkaLag, Signal::Schedule], "the floor is 1 where none is given");
    assert_eq!(signals(&[("minReplicas", "0")]), [Signal::Schedule], "a trigger has a metric");
}

#[test]
fn clusters_in_another_order_or_named_twice_are_the_same_traffic() {
    let of =
        |clusters| Trigger::parse("shop", &metadata(&[("clusters", clusters), ("concurrency", "4")])).unwrap().traffic;
    assert_eq!(of("b,a"), of("a, b ,a,b"));
}

#[test]
fn a_text_without_end_costs_nothing_and_its_error_says_how_long_it_may_be() {
    let endless = "x".repeat(200_000);
    for key in ["timezone", "hours", "requestsPerSecond", "prometheusQuery", "clusters", "workload", "kafkaTopics"] {
        let told = problems(&[(key, &endless), ("concurrency", "4")]);
        let length = told.iter().find(|problem| problem.contains("wants at most 10240 bytes, not 200000"));
        assert!(length.is_some(), "{key}: {told:?}");
    }
    assert_eq!(Key::nearest_camel_case(&endless, &[Key::Hours]), None);
}

#[test]
fn of_thousands_of_unknown_keys_a_few_are_told() {
    let keys: Vec<String> = (0..20_000).map(|n| format!("key{n}")).collect();
    let pairs: Vec<_> = keys.iter().map(|key| (key.as_str(), "1")).collect();
    assert!(problems(&pairs).len() < 25);
}

/// Adds the keys that each of these needs.
fn completed(keys: Vec<Key>) -> Vec<Key> {
    let needed = |topic| match topic {
        Topic::Kafka => &[Key::KafkaLag, Key::KafkaGroup][..],
        Topic::Query => &[Key::PrometheusQuery, Key::PrometheusTarget],
        Topic::Models => &[Key::OutputTokensPerSecond],
        Topic::Beside => &[Key::Cpu],
        Topic::Hours => &[Key::Hours, Key::Timezone],
        Topic::Traffic | Topic::Bounds | Topic::Gateway | Topic::Namespace => &[],
    };
    let more: Vec<_> = keys.iter().flat_map(|key| needed(key.topic())).copied().collect();
    keys.into_iter().chain(more).collect()
}

/// Some of these keys: with a number of any size where the key takes one, and with its example elsewhere.
fn some(keys: Vec<Key>) -> impl Strategy<Value = Vec<(Key, String)>> {
    let length = keys.len();
    let numbers = proptest::collection::vec(0.001f64..1e12, 2 * Key::ALL.len());
    (proptest::sample::subsequence(keys, 0..=length), numbers).prop_map(|(keys, numbers)| {
        let value = |(key, number): (Key, f64)| match key.kind() {
            ValueKind::PerReplica => (key, number.to_string()),
            _ => (key, key.example().to_owned()),
        };
        completed(keys).into_iter().zip(numbers).map(value).collect()
    })
}

fn some_metadata() -> impl Strategy<Value = HashMap<String, String>> {
    let whose = [(WORKLOAD, "statefulset/db.v2"), (SERVICE, "task-api"), (CLUSTERS, "a/b,c")];
    (some(keys().collect()), proptest::sample::select(whose.to_vec()), any::<bool>()).prop_map(
        |(keys, whose, hours)| {
            let mut metadata: HashMap<_, _> =
                keys.into_iter().map(|(key, value)| (key.camel_case().to_owned(), value)).collect();
            metadata.insert(whose.0.to_owned(), whose.1.to_owned());
            if hours && whose.0 == WORKLOAD && !metadata.contains_key("hours") {
                metadata.insert(SCHEDULE.to_owned(), "true".to_owned());
            }
            metadata
        },
    )
}

fn some_annotations() -> impl Strategy<Value = Annotations> {
    let all = Key::ALL.iter().copied().filter(|key| key.allowed_on(Place::Workload)).collect();
    some(all).prop_map(|keys| keys.into_iter().map(|(key, value)| (key.annotation().to_owned(), value)).collect())
}

proptest! {
    #[test]
    fn every_trigger_is_read_back_from_its_own_metadata(metadata in some_metadata()) {
        match Trigger::parse("shop", &metadata) {
            Ok(trigger) => {
                let written = trigger.metadata().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
                prop_assert_eq!(Trigger::parse("shop", &written), Ok(trigger));
            }
            Err(problems) => prop_assert!(problems[0].to_string().contains("trigger metadata"), "{:?}", problems),
        }
    }

    #[test]
    fn what_annotations_ask_for_is_read_back_from_the_trigger_that_the_operator_writes(annotations in some_annotations()) {
        let id = WorkloadId { namespace: "shop".into(), kind: WorkloadKind::StatefulSet, name: "task-api".into() };
        let intent = Intent::of_workload(&annotations, "shop", &Annotations::new());
        if let Ok(Some(intent)) = intent && !intent.targets.is_empty() {
            let trigger = Trigger::of_workload(&id, &intent);
            let written = trigger.metadata().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            prop_assert_eq!(Trigger::parse("shop", &written), Ok(trigger.clone()));
            for (signal, one) in trigger.split() {
                prop_assert_eq!(one.targets.iter().map(|target| target.signal).collect::<Vec<_>>(), [signal]);
                let written = one.metadata().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
                prop_assert_eq!(Trigger::parse("shop", &written), Ok(one));
            }
        }
    }

    #[test]
    fn no_metadata_panics(pairs in proptest::collection::hash_map(".{0,30}", ".{0,50}", 0..5)) {
        let _ = Trigger::parse("shop", &pairs);
    }
}
