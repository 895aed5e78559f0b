use proptest::prelude::*;

use super::*;

fn one(text: &str) -> KedaTrigger {
    let mut all = KedaTrigger::parse_all(text).unwrap_or_else(|wanted| panic!("{text} wants {wanted}"));
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn wanted(text: &str) -> String {
    KedaTrigger::parse_all(text).expect_err(text)
}

#[test]
fn a_trigger_is_written_as_in_a_scaled_object() {
    let trigger = one(
        "- type: rabbitmq\n  name: mail\n  metadata:\n    queueName: mail\n    value: \"20\"\n  metricType: Value\n  \
                       useCachedMetrics: true\n  authenticationRef:\n    name: rabbit\n    kind: ClusterTriggerAuthentication\n",
    );
    assert_eq!(
        serde_json::to_value(&trigger).unwrap(),
        serde_json::json!({
            "type": "rabbitmq", "name": "mail", "metadata": {"queueName": "mail", "value": "20"}, "metricType": "Value",
            "useCachedMetrics": true, "authenticationRef": {"name": "rabbit", "kind": "ClusterTriggerAuthentication"},
        })
    );
}

#[test]
fn json_is_taken_as_well_tabs_included() {
    let trigger =
        one("[\n\t{\"type\": \"cron\",\n\t \"metadata\": {\"timezone\": \"UTC\", \"desiredReplicas\": 5}}\n]");
    assert_eq!(trigger.metadata["desiredReplicas"], "5");
}

#[test]
fn numbers_and_booleans_become_the_text_that_stands_there() {
    let metadata = one(
        "[{type: kafka, metadata: {version: 1.10, lagThreshold: 007, big: 1e3, allowIdleConsumers: false, tls: off, a: ''}}]",
    )
    .metadata;
    let texts: Vec<_> = metadata.values().map(String::as_str).collect();
    assert_eq!(texts, ["", "false", "1e3", "007", "off", "1.10"]);
}

#[test]
fn a_mistake_names_the_trigger_what_it_has_and_what_is_wanted() {
    let rabbit = "{type: rabbitmq, metadata: {value: 1}}";
    for (text, expected) in [
        (
            format!("[{rabbit}, {{type: rabitmq, metadata: {{}}}}]"),
            "in trigger 2 a type of KEDA 2.21, not \"rabitmq\"; did you mean \"rabbitmq\"?",
        ),
        ("[{type: external-mock}]".into(), "in trigger 1 a type of KEDA 2.21, not \"external-mock\""),
        ("[]".into(), "1 to 20 triggers, not 0"),
        (format!("[{}]", [rabbit; 21].join(",")), "1 to 20 triggers, not 21"),
        (
            "[{type: cron, metricType: Utilization}]".into(),
            "in trigger 1 the metricType AverageValue or Value, not \"Utilization\"",
        ),
        (
            "[{type: cpu, metricType: Value, metadata: {value: 7}}]".into(),
            "in trigger 1 the metricType AverageValue or Utilization, not \"Value\"",
        ),
        ("[{type: cpu, metadata: {value: 70}}]".into(), "in trigger 1 the metricType Utilization or AverageValue"),
        (
            "[{type: cpu, metricType: AverageValue, metadata: {value: 70%}}]".into(),
            "in trigger 1 as its value cores such as \"500m\"",
        ),
        (
            "[{type: memory, metricType: Utilization, metadata: {type: Utilization, value: 70}}]".into(),
            "metadata of value and containerName alone, not type",
        ),
        (
            "[{type: cron, useCachedMetrics: true}]".into(),
            "in trigger 1 no useCachedMetrics, which KEDA does not take for cron",
        ),
        ("[{type: nsq, name: tidegate}]".into(), "in trigger 1 another name than tidegate"),
        ("[{type: nsq, name: a b}]".into(), "in trigger 1 a name of at most 63"),
        ("[{type: nsq, name: a}, {type: nsq, name: a}]".into(), "in trigger 2 a name that no other has"),
        (
            "[{type: nsq, authenticationRef: {name: A_B}}]".into(),
            "as authenticationRef.name a name of lower-case letters",
        ),
        ("[{type: nsq, authenticationRef: {name: a, kind: Secret}}]".into(), "unknown variant `Secret`"),
        ("[{type: nsq, metadata: {a: {b: c}}}]".into(), "expected string scalar at line 1 column 28"),
        ("[{type: nsq, metadata: {a: }}]".into(), "a has no value"),
        ("[{type: nsq, metadata: {a: 1, a: 2}}]".into(), "duplicate mapping key `a`"),
        ("[{type: nsq, metdata: {a: 1}}]".into(), "unknown field `metdata`"),
        ("{type: nsq}".into(), "a list of KEDA's triggers as YAML or JSON"),
        ("not: [yaml".into(), "a list of KEDA's triggers as YAML or JSON"),
    ] {
        let told = wanted(&text);
        assert!(told.contains(expected), "{text}: {told}");
    }
}

#[test]
fn references_within_yaml_cannot_make_a_short_text_a_huge_list() {
    let mut text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (this, before) in ('b'..='z').zip('a'..) {
        let ten = vec![format!("*{before}"); 10].join(",");
        text.extend([format!("{this}: &{this} [{ten}]\n")]);
    }
    assert!(KedaTrigger::parse_all(&text).is_err());
    let list = "- &t {type: nsq, metadata: {a: b}}\n".to_owned() + &"- *t\n".repeat(2000);
    assert!(wanted(&list).contains("1 to 20 triggers"), "{}", wanted(&list));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = KedaTrigger::parse_all(&text);
    }

    #[test]
    fn every_text_of_metadata_arrives_as_it_was_written(value in "[ -~]{0,40}", key in "[a-zA-Z]{1,20}") {
        let written = serde_json::json!([{"type": "nsq", "metadata": {(key.clone()): value.clone()}}]).to_string();
        prop_assert_eq!(&one(&written).metadata[&key], &value);
    }

    #[test]
    fn a_trigger_is_read_back_from_what_the_scaled_object_gets(
        metadata in proptest::collection::btree_map("[a-zA-Z]{1,9}", "[ -~]{0,20}", 0..5), name in proptest::option::of("[a-z]{1,5}x"),
    ) {
        let trigger = KedaTrigger {
            scaler: ScalerType::find("redis").unwrap(), name, metadata, metric_type: Some(MetricType::Value),
            authentication_ref: None, use_cached_metrics: Some(false),
        };
        let written = serde_json::to_string(&[&trigger]).unwrap();
        prop_assert_eq!(KedaTrigger::parse_all(&written), Ok(vec![trigger]));
    }
}
