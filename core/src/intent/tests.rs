use chrono::DateTime;
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;
use crate::{beside::KedaTrigger, kafka::PartitionCap};

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
    assert_eq!(intent.hold.wakes, Some(true));
}

#[test]
fn a_minimum_of_zero_holds_where_requests_are_held_and_they_decide_outside_hours_only_if_that_is_said() {
    let asked = |wakes: &[(&str, &str)]| {
        let hours = [("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC"), ("requests-per-second", "100")];
        let all = [&[("min-replicas", "0")][..], &hours, wakes].concat();
        let intent = parse(&all).unwrap().unwrap();
        let held = Intent { held: true, ..intent.clone() };
        let cap = |intent: &Intent| intent.schedule("shop/api", &Calendars::new()).unwrap().unwrap().closed().cap;
        ((intent.floor(), held.floor()), (cap(&intent), cap(&held)))
    };
    assert_eq!(asked(&[]), ((1, 0), (Some(0), Some(0))));
    assert_eq!(asked(&[("wake-on-request", "true")]), ((1, 0), (Some(0), Some(10))));
    let night = [("wake-on-request", "true"), ("off-hours-replicas", "2")];
    assert_eq!(asked(&night), ((1, 0), (Some(2), Some(2))), "replicas outside hours need no waking");
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
        pairs in proptest::collection::btree_map("(min-replicas|hours|timezone|warm-up|kafka-topics|kafka-partitions|kafka-stuck-after|keda-triggers|cpu|scale-up-rate|tolerance|[a-z-]{0,20})", ".{0,400}", 0..6)
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

/// The metadata of KEDA's triggers, each as `TYPE: KEY=VALUE …`.
fn beside(intent: &Intent) -> Vec<String> {
    let metadata = |trigger: &KedaTrigger| trigger.metadata.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
    let triggers = intent.beside.triggers.iter();
    triggers.map(|trigger| format!("{}: {}", trigger.scaler.as_str(), metadata(trigger).join(" "))).collect()
}

#[test]
fn cpu_and_memory_are_triggers_of_keda_of_one_container_or_of_all() {
    let own = [("cpu", "70%"), ("memory", "512Mi")];
    let intent = parse(&own).unwrap().unwrap();
    assert_eq!(beside(&intent), ["cpu: value=70", "memory: value=512Mi"]);
    assert!(intent.targets.is_empty() && !intent.is_silent());
    let intent = parse(&[&own[..], &[("container", "app"), ("keda-triggers", RABBIT)]].concat()).unwrap().unwrap();
    assert_eq!(
        beside(&intent),
        ["cpu: containerName=app value=70", "memory: containerName=app value=512Mi", "rabbitmq: value=20"]
    );
}

const RABBIT: &str = "[{type: rabbitmq, metadata: {value: 20}}]";
const OFFICE: [(&str, &str); 2] = [("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC")];

#[test]
fn what_keda_measures_wakes_from_zero_unless_the_hpa_measures_it() {
    for (beside, lowest) in [(("cpu", "70%"), 1), (("memory", "512Mi"), 1), (("keda-triggers", RABBIT), 0)] {
        let intent = parse(&[("min-replicas", "0"), beside]).unwrap().unwrap();
        assert_eq!((intent.floor(), intent.lowest()), (lowest, lowest), "{beside:?}");
    }
}

#[test]
fn hours_hold_by_a_pause_where_a_trigger_of_keda_would_not_let_the_replicas_down() {
    for (asked, pause) in [
        (&[("cpu", "70%")][..], false),
        (&[("cpu", "70%"), ("off-hours-replicas", "2")], true),
        (&[("keda-triggers", RABBIT)], true),
        (&[("keda-triggers", RABBIT), ("requests-per-second", "5")], true),
        (&[("requests-per-second", "5"), ("off-hours-replicas", "2")], false),
    ] {
        let intent = parse(&[&OFFICE[..], asked].concat()).unwrap().unwrap();
        assert_eq!(intent.sleeps_by_pause(), pause, "{asked:?}");
        assert!(!intent.is_hours_only() || asked.is_empty());
    }
    assert!(!parse(&[("keda-triggers", RABBIT)]).unwrap().unwrap().sleeps_by_pause(), "there are no hours");
}

#[test]
fn a_workload_with_a_trigger_of_keda_is_not_held_at_the_replicas_that_it_had() {
    let intent = parse(&[&OFFICE[..], &[("cpu", "70%"), ("min-replicas", "3")]].concat()).unwrap().unwrap();
    assert_eq!((intent.adopts, intent.is_hours_only(), intent.floor(), intent.lowest()), (false, false, 3, 0));
    assert!(!parse(&[&OFFICE[..], &[("cpu", "70%")]].concat()).unwrap().unwrap().adopts);
}

#[test]
fn a_container_needs_something_to_measure_of_it() {
    assert_eq!(
        parse(&[("container", "app"), ("requests-per-second", "1")]).unwrap_err(),
        ["tidegate.dev/container needs tidegate.dev/cpu or tidegate.dev/memory beside it"]
    );
}

#[test]
fn a_mistake_in_a_trigger_of_keda_names_it() {
    let [problem] = &parse(&[("keda-triggers", "[{type: rabitmq}]")]).unwrap_err()[..] else { panic!() };
    assert_eq!(
        problem,
        "tidegate.dev/keda-triggers: got \"[{type: rabitmq}]\", wants in trigger 1 a type of KEDA 2.21, not \"rabitmq\"; did you \
         mean \"rabbitmq\"?"
    );
}

#[test]
fn behaviour_has_the_defaults_of_the_hpa_and_a_namespace_may_give_others() {
    let own = [("requests-per-second", "1")];
    let behavior = parse(&own).unwrap().unwrap().behavior;
    assert_eq!((behavior.scale_up_after, behavior.scale_up.len(), behavior.scale_down.len()), (Duration::ZERO, 2, 1));
    assert_eq!(behavior.tolerance, None);
    let namespace = [("scale-up-after", "1m"), ("scale-up-rate", "4/30s"), ("tolerance", "10%"), ("cpu", "70%")];
    let intent = parse_in(&own, &namespace).unwrap().unwrap();
    assert_eq!((intent.behavior.scale_up_after, intent.behavior.scale_up.len()), (Duration::from_mins(1), 1));
    assert_eq!(intent.beside.triggers.len(), 1);
}

#[test]
fn a_formula_reads_metrics_that_there_are() {
    let with = |formula: &str, more: &[(&str, &str)]| {
        let formula = [("requests-per-second", "1"), ("formula", formula), ("formula-target", "5")];
        parse(&[&formula[..], more].concat())
    };
    let jobs = ("keda-triggers", "[{type: nsq, name: jobs, metadata: {topic: a}}]");
    let formula = with("requests_per_second + jobs", &[jobs]).unwrap().unwrap().beside.formula.unwrap();
    assert_eq!((formula.target.get(), formula.activation), (5.0, 0));
    for (formula, more, expected) in [
        ("requests_per_second + jobs", vec![], "jobs is none of its metrics, which are: requests_per_second"),
        ("requests-per-second", vec![], "per is none of its metrics"),
        ("1", vec![("keda-triggers", RABBIT)], "that of rabbitmq has none"),
        ("1", vec![("keda-triggers", "[{type: nsq, name: a-b}]")], "that of nsq has a-b"),
        ("1", vec![("keda-triggers", "[{type: nsq, name: requests_per_second}]")], "none of Tidegate's metrics"),
        ("1", vec![("cpu", "70%"), ("container", "app")], "KEDA leaves cpu of one container out"),
    ] {
        let [problem] = &with(formula, &more).unwrap_err()[..] else { panic!("{formula}") };
        assert!(problem.starts_with("tidegate.dev/formula: ") && problem.contains(expected), "{problem}");
    }
    assert_eq!(
        parse(&[("requests-per-second", "1"), ("formula", "1")]).unwrap_err(),
        ["tidegate.dev/formula needs tidegate.dev/formula-target beside it"]
    );
    let [problem] =
        &parse(&[&OFFICE[..], &[("formula", "schedule"), ("formula-target", "1")]].concat()).unwrap_err()[..]
    else {
        panic!()
    };
    assert!(problem.contains("there is nothing to compute with"), "{problem}");
    let [problem] = &with("1", &[&OFFICE[..], &[("formula-activation", "2")]].concat()).unwrap_err()[..] else {
        panic!()
    };
    assert!(problem.contains("tidegate.dev/formula-activation cannot stand beside hours"), "{problem}");
    let hours = with("requests_per_second", &OFFICE).unwrap().unwrap();
    assert!(hours.sleeps_by_pause(), "what a formula makes of a clamped signal is not clamped");
}
