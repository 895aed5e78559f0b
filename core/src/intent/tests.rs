use proptest::prelude::*;

use super::*;
use crate::kafka::PartitionCap;

fn annotations(pairs: &[(&str, &str)]) -> Annotations {
    pairs.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned())).collect()
}

fn parse(pairs: &[(&str, &str)]) -> Result<Option<Intent>, Vec<String>> {
    parse_in(pairs, &[])
}

fn parse_in(own: &[(&str, &str)], namespace: &[(&str, &str)]) -> Result<Option<Intent>, Vec<String>> {
    Intent::of_workload(&annotations(own), "shop", &annotations(namespace))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn every_annotation_of_the_design_parses_into_types() {
    let intent = parse(&[
        ("min-replicas", "1"),
        ("max-replicas", "20"),
        ("requests-per-second", "100"),
        ("concurrency", "8"),
        ("connections", "0.5"),
        ("kafka-lag", "50"),
        ("kafka-group", "task-processors"),
        ("kafka-topics", "task-events, task.retries"),
        ("kafka-cluster", "events"),
        ("kafka-partition-cap", "false"),
        ("input-tokens-per-second", "4000"),
        ("output-tokens-per-second", "900"),
        ("model", "qwen3-8b"),
        ("queue-per-replica", "5"),
        ("kv-cache", "0.8"),
        ("startup-time", "3m"),
        ("prometheus-query", "sum(queue_depth)"),
        ("prometheus-target", "30"),
        ("hours", "Mo-Fr 08:00-18:00; PH off"),
        ("timezone", "Europe/Berlin"),
        ("calendar", "office"),
        ("off-hours-replicas", "0"),
        ("warm-up", "10m"),
        ("after", "statefulset/db"),
        ("wake-on-request", "true"),
        ("keep-awake-until", "2026-03-02T18:00:00+01:00"),
        ("scale-down-after", "2m"),
        ("paused", "false"),
    ])
    .unwrap()
    .unwrap();
    assert_eq!(intent.bounds, Bounds { min: 1, max: 20 });
    assert_eq!(intent.targets.len(), 10);
    let model = intent.model.as_ref().unwrap();
    assert_eq!((model.name.as_deref(), model.startup_time), (Some("qwen3-8b"), Some(Duration::from_secs(180))));
    assert_eq!((intent.floor(), intent.lowest()), (1, 0));
    assert_eq!(intent.scale_down_after, Duration::from_secs(120));
    let kafka = intent.kafka.as_ref().unwrap();
    assert_eq!(
        (kafka.lag.topics.selectors().len(), kafka.lag.cluster.as_str(), kafka.cap),
        (2, "events", PartitionCap::None)
    );
    assert_eq!(intent.schedule.as_ref().unwrap().time_zone, Some(Tz::Europe__Berlin));
    assert_eq!(intent.not_acted_on_yet().iter().map(|key| key.name()).collect::<Vec<_>>(), ["wake-on-request"]);
}

#[test]
fn a_workload_without_a_key_of_ours_is_left_alone_unless_its_namespace_manages_all() {
    let foreign = Annotations::from([("example.com/x".to_owned(), "1".to_owned())]);
    assert_eq!(Intent::of_workload(&foreign, "shop", &annotations(&[("max-replicas", "5")])), Ok(None));
    let all = [("manage", "all"), ("max-replicas", "5"), ("calendar", "office")];
    let managed = Intent::of_workload(&foreign, "shop", &annotations(&all)).unwrap().unwrap();
    assert_eq!((managed.bounds.max, managed.adopts), (5, true));
    assert_eq!(Intent::of_workload(&foreign, "shop", &annotations(&all[..2])), Ok(None), "without hours");
}

#[test]
fn the_namespace_gives_defaults_and_the_workload_overrides_them() {
    let intent = parse_in(&[("requests-per-second", "10")], &[("max-replicas", "5"), ("requests-per-second", "99")]);
    let intent = intent.unwrap().unwrap();
    assert_eq!(intent.bounds.max, 5);
    assert_eq!(intent.target(Signal::RequestsPerSecond).unwrap().get(), 10.0);
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest_known_one() {
    assert_eq!(
        parse(&[("request-per-second", "100")]).unwrap_err(),
        ["tidegate.dev/request-per-second is not a key of Tidegate; did you mean tidegate.dev/requests-per-second?"]
    );
}

#[test]
fn a_malformed_value_says_which_key_what_came_and_what_is_wanted() {
    for (key, got, message) in [
        ("min-replicas", "-1", "wants a whole number of replicas from 0 to 2147483647"),
        ("max-replicas", "0", "wants a whole number of replicas from 1 to 2147483647"),
        ("requests-per-second", "0", "wants a number from 0.001 to 1e12, such as \"100\""),
        ("requests-per-second", "NaN", "wants a number from 0.001 to 1e12, such as \"100\""),
        ("requests-per-second", "100/s", "wants a number from 0.001 to 1e12, such as \"100\""),
        ("scale-down-after", "2h", "wants a time in whole seconds from 0s to 1h, such as \"5m\""),
        ("paused", "yes", "wants \"true\" or \"false\""),
        ("timezone", "Europe/Berlim", "wants an IANA time zone, such as \"Europe/Berlin\""),
        ("keep-awake-until", "tomorrow", "wants a time as RFC 3339 writes it, such as \"2026-03-02T18:00:00+01:00\""),
    ] {
        assert_eq!(
            parse(&[(key, got)]).unwrap_err(),
            [format!("tidegate.dev/{key}: got \"{got}\", {message}")],
            "{key}={got}"
        );
    }
}

#[test]
fn hours_with_english_days_are_answered_with_the_right_spelling() {
    assert_eq!(
        parse(&[("hours", "Mon-Fri 08:00-18:00"), ("timezone", "Europe/Berlin")]).unwrap_err(),
        ["tidegate.dev/hours: got \"Mon-Fri 08:00-18:00\", wants OpenStreetMap opening hours: \
          write \"Mo-Fr 08:00-18:00\""]
    );
}

#[test]
fn a_value_from_the_namespace_says_so() {
    assert_eq!(
        parse_in(&[("min-replicas", "1")], &[("max-replicas", "many")]).unwrap_err(),
        [
            "tidegate.dev/max-replicas: got \"many\", wants a whole number of replicas from 1 to 2147483647 (a default of \
          namespace shop)"
        ]
    );
}

#[test]
fn a_minimum_above_the_maximum_is_refused_and_says_what_is_a_default() {
    assert_eq!(
        parse(&[("min-replicas", "11")]).unwrap_err(),
        ["tidegate.dev/min-replicas is 11, but tidegate.dev/max-replicas is 10 (the default): raise the maximum or \
          lower the minimum"]
    );
}

#[test]
fn halves_of_a_pair_ask_for_the_other_half() {
    for (key, value, other) in [
        ("prometheus-query", "sum(x)", "tidegate.dev/prometheus-target"),
        ("prometheus-target", "1", "tidegate.dev/prometheus-query"),
        ("kafka-lag", "50", "tidegate.dev/kafka-group"),
        ("kafka-lag-seconds", "60", "tidegate.dev/kafka-group"),
        ("kafka-partitions", "0", "tidegate.dev/kafka-lag or tidegate.dev/kafka-lag-seconds"),
        ("hours", "24/7", "tidegate.dev/timezone or tidegate.dev/calendar"),
    ] {
        assert_eq!(parse(&[(key, value)]).unwrap_err(), [format!("tidegate.dev/{key} needs {other} beside it")]);
    }
}

#[test]
fn all_problems_are_told_at_once() {
    assert_eq!(parse(&[("min-replicas", "x"), ("max-replicas", "y"), ("zzz", "")]).unwrap_err().len(), 3);
}

#[test]
fn a_namespace_is_checked_by_itself() {
    let problems = check_namespace(&annotations(&[("manage", "some"), ("max-replicas", "x"), ("hours", "24/7")]));
    assert_eq!(problems.len(), 2, "{problems:?}");
    let [problem] = &check_namespace(&annotations(&[("manage", "all"), ("hours", "24/7")]))[..] else { panic!() };
    assert!(problem.to_string().starts_with("tidegate.dev/manage: all needs hours"), "{problem}");
}

proptest! {
    #[test]
    fn no_input_panics_and_every_problem_fits_an_event(
        pairs in proptest::collection::btree_map("(min-replicas|hours|timezone|warm-up|kafka-topics|kafka-partitions|kafka-stuck-after|[a-z-]{0,20})", ".{0,400}", 0..6)
    ) {
        let own = pairs.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), value)).collect();
        if let Err(problems) = Intent::of_workload(&own, "shop", &Annotations::new()) {
            for problem in problems {
                prop_assert!(problem.to_string().chars().count() < 1024);
            }
        }
        check_namespace(&own);
    }

    #[test]
    fn an_intent_that_parses_keeps_min_at_or_below_max(min in 0u32..100, max in 0u32..100) {
        let own = annotations(&[("min-replicas", &min.to_string()), ("max-replicas", &max.to_string())]);
        match Intent::of_workload(&own, "shop", &Annotations::new()) {
            Ok(Some(intent)) => prop_assert!(intent.bounds.min <= intent.bounds.max && intent.bounds.max >= 1),
            _ => prop_assert!(min > max || max == 0),
        }
    }
}

#[test]
fn what_only_models_have_is_refused_without_a_model_and_beyond_a_full_cache() {
    assert_eq!(
        parse(&[("requests-per-second", "1"), ("startup-time", "3m")]).unwrap_err(),
        [
            "tidegate.dev/startup-time needs tidegate.dev/input-tokens-per-second or tidegate.dev/output-tokens-per-second or \
          tidegate.dev/queue-per-replica or tidegate.dev/kv-cache beside it"
        ]
    );
    assert_eq!(
        parse(&[("kv-cache", "80")]).unwrap_err(),
        ["tidegate.dev/kv-cache: got \"80\", wants a part of the KV cache from 0.001 to 1, such as \"0.8\""]
    );
}

#[test]
fn off_hours_replicas_are_the_number_where_nothing_but_hours_is_asked_for_and_a_cap_where_traffic_is() {
    let hours = [("hours", "off"), ("timezone", "UTC"), ("off-hours-replicas", "2")];
    for (more, floor) in [(None, 2), (Some(("requests-per-second", "100")), 0)] {
        let pairs: Vec<_> = hours.into_iter().chain(more).collect();
        let intent = Intent::of_workload(&annotations(&pairs), "shop", &Annotations::new()).unwrap().unwrap();
        let schedule = intent.schedule("api", &Calendars::new()).unwrap().unwrap();
        let closed = schedule.limits(DateTime::UNIX_EPOCH);
        assert_eq!((closed.floor, closed.cap), (floor, Some(2)), "{pairs:?}");
    }
}
