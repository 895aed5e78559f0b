//! Answers of the unary calls.

use tidegate_core::{measured::Measured, metric::Metric, plan::Plan};
use tidegate_proto::{GetMetricsRequest, MetricSpec, MetricValue};
use tonic::Code;

use crate::support::{
    STALE_AFTER, Server, cluster, deployment, in_time, is_active, later, metric, object, of_deployment, plan,
};

const RPS: &str = "requests-per-second";

#[tokio::test]
async fn the_specs_are_made_of_the_metadata_alone_whatever_else_is_broken() {
    // Nothing is known of the cluster, and nothing was ever measured.
    let server = Server::start(Plan::default()).await;
    let mut client = server.client().await;
    let metadata = [
        ("workload", "deployment/nobody-knows-it"),
        ("requestsPerSecond", "100"),
        ("concurrency", "8"),
        ("connections", "0.4"),
        ("prometheusQuery", "sum(up)"),
        ("prometheusTarget", "2.5"),
    ];
    let specs = in_time(client.get_metric_spec(object(&metadata))).await.unwrap().into_inner().metric_specs;
    let spec = |name: &str, integer, float| MetricSpec {
        metric_name: name.into(),
        target_size: integer,
        target_size_float: float,
    };
    let expected = [
        spec(RPS, 100, 100.0),
        spec("concurrency", 8, 8.0),
        // A client that reads only the integer must not get 0. Rounding up asks for too few replicas rather than too many.
        spec("connections", 1, 0.4),
        spec("prometheus-query", 3, 2.5),
    ];
    assert_eq!(specs, expected);
}

#[tokio::test]
async fn a_value_stands_in_both_fields_and_the_integer_is_zero_only_for_zero() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    for (measured, integer) in [(0.0, 0), (0.25, 1), (642.0, 642), (642.5, 643)] {
        server.measure(&[(&cluster("api"), [measured, 0.0, 0.0])]);
        let request = GetMetricsRequest { scaled_object_ref: Some(of_deployment("api")), metric_name: RPS.into() };
        let answer = in_time(client.get_metrics(request)).await.unwrap().into_inner();
        let value = MetricValue { metric_name: RPS.into(), metric_value: integer, metric_value_float: measured };
        assert_eq!(answer.metric_values, [value]);
    }
}

#[tokio::test]
async fn what_is_not_known_does_not_wake_what_has_no_replicas_and_is_an_error_for_all_others() {
    let with = |wanted: u32| {
        let mut plan = plan(&["api"]);
        let workload = plan.workloads.get_mut(&deployment("api")).unwrap();
        (workload.uid, workload.replicas.wanted) = ("uid".to_owned(), wanted);
        plan
    };
    let query = object(&[("workload", "deployment/api"), ("prometheusQuery", "sum(up)"), ("prometheusTarget", "1")]);
    let kafka = object(&[("workload", "deployment/api"), ("kafkaLag", "10"), ("kafkaGroup", "orders")]);
    let hours = object(&[("workload", "deployment/api"), ("schedule", "true")]);
    let server = Server::start(with(0)).await;
    let mut client = server.client().await;
    let all = [(&of_deployment("api"), RPS), (&query, "prometheus-query"), (&kafka, "kafka-lag"), (&hours, "schedule")];
    for (object, name) in all {
        // KEDA's fallback would start it after three errors.
        assert_eq!(metric(&mut client, object, name).await.unwrap(), 0.0, "{name}");
        assert!(!is_active(&mut client, object).await.unwrap(), "{name}");
    }
    server.replace_plan(with(1));
    for (object, name) in all {
        assert_eq!(metric(&mut client, object, name).await.unwrap_err().code(), Code::Unavailable, "{name}");
        assert_eq!(is_active(&mut client, object).await.unwrap_err().code(), Code::Unavailable, "{name}");
    }
}

#[tokio::test]
async fn exactly_the_metric_that_is_asked_for_comes_back_with_or_without_kedas_prefix() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    server.measure(&[(&cluster("api"), [5.0, 6.0, 7.0])]);
    let three = object(&[
        ("workload", "deployment/api"),
        ("requestsPerSecond", "1"),
        ("concurrency", "1"),
        ("connections", "1"),
    ]);
    for (name, value) in [(RPS, 5.0), ("concurrency", 6.0), ("s0-connections", 7.0), ("s12-requests-per-second", 5.0)] {
        assert_eq!(metric(&mut client, &three, name).await.unwrap(), value, "{name}");
    }
}

#[tokio::test]
async fn a_hand_written_object_asks_for_a_service_or_for_clusters_without_any_annotation() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    let service = object(&[("service", "api"), ("requestsPerSecond", "10")]);
    let clusters = object(&[("clusters", "else, other"), ("requestsPerSecond", "10")]);
    // The first question makes the store keep these clusters.
    assert_eq!(metric(&mut client, &clusters, RPS).await.unwrap_err().code(), Code::Unavailable);
    server.measure(&[(&cluster("api"), [5.0, 0.0, 0.0]), ("else", [1.0, 0.0, 0.0]), ("other", [2.5, 0.0, 0.0])]);
    assert_eq!(metric(&mut client, &service, RPS).await.unwrap(), 5.0);
    assert_eq!(metric(&mut client, &clusters, RPS).await.unwrap(), 3.5);
}

#[tokio::test]
async fn a_hand_written_object_with_hours_of_its_own_is_floored_inside_them_and_capped_outside() {
    let server = Server::start(plan(&["api"])).await;
    server.measure(&[(&cluster("api"), [900.0, 0.0, 0.0])]);
    let mut client = server.client().await;
    let with = |hours| {
        object(&[
            ("service", "api"),
            ("requestsPerSecond", "100"),
            ("hours", hours),
            ("timezone", "Europe/Berlin"),
            ("minReplicas", "3"),
            ("offHoursReplicas", "2"),
        ])
    };
    let (open, closed) = (with("24/7"), with("off"));
    let spec = client.get_metric_spec(open.clone()).await.unwrap().into_inner();
    let names: Vec<_> =
        spec.metric_specs.iter().map(|spec| (spec.metric_name.as_str(), spec.target_size_float)).collect();
    assert_eq!(names, [("requests-per-second", 100.0), ("schedule", 1.0)]);
    assert_eq!(metric(&mut client, &open, "schedule").await.unwrap(), 3.0);
    assert_eq!(metric(&mut client, &open, "requests-per-second").await.unwrap(), 900.0);
    assert_eq!(metric(&mut client, &closed, "schedule").await.unwrap(), 0.0);
    assert_eq!(metric(&mut client, &closed, "requests-per-second").await.unwrap(), 200.0);
    let half = object(&[("service", "api"), ("requestsPerSecond", "100"), ("hours", "24/7")]);
    let refused = metric(&mut client, &half, "schedule").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("timezone"), "{}", refused.message());
}

#[tokio::test]
async fn a_key_that_keda_resolved_from_the_environment_counts_with_its_suffix() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    server.measure(&[(&cluster("api"), [5.0, 0.0, 0.0])]);
    let object = object(&[("serviceFromEnv", "api"), ("requestsPerSecondFromEnv", "10")]);
    assert_eq!(metric(&mut client, &object, RPS).await.unwrap(), 5.0);
}

#[tokio::test]
async fn an_answer_that_keda_cannot_count_in_thousandths_is_capped() {
    let server = Server::start(Plan::default()).await;
    let mut client = server.client().await;
    let object = object(&[("prometheusQuery", "huge"), ("prometheusTarget", "1")]);
    assert_eq!(metric(&mut client, &object, "prometheus-query").await.unwrap_err().code(), Code::Unavailable);
    server.signals.commit_query("shop", "huge", Measured::Exact(1e300));
    let value = metric(&mut client, &object, "prometheus-query").await.unwrap();
    assert!((value * 1000.0) < i64::MAX as f64, "{value}");
}

#[tokio::test]
async fn active_is_whatever_has_any_value_above_zero() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    let two = object(&[("workload", "deployment/api"), ("requestsPerSecond", "1000"), ("concurrency", "8")]);
    for (measured, active) in [([0.0, 0.0, 4.0], false), ([0.01, 0.0, 0.0], true), ([0.0, 1.0, 0.0], true)] {
        server.measure(&[(&cluster("api"), measured)]);
        assert_eq!(is_active(&mut client, &two).await.unwrap(), active, "{measured:?}");
    }
}

#[tokio::test]
async fn a_source_that_is_silent_leaves_the_last_value_for_a_while_and_then_an_error_but_never_zero() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    let api = of_deployment("api");
    server.measure(&[(&cluster("api"), [42.0, 0.0, 0.0])]);
    assert_eq!(metric(&mut client, &api, RPS).await.unwrap(), 42.0);
    later(STALE_AFTER * 9 / 10).await;
    server.signals.commit_values("prometheus", Err("connection refused".into()));
    let mut client = server.client().await;
    assert_eq!(metric(&mut client, &api, RPS).await.unwrap(), 42.0);
    later(STALE_AFTER / 9).await;
    let refused = metric(&mut client, &api, RPS).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    for told in ["httproute/shop/api/rule/0", "the last value is 303 s old", "connection refused"] {
        assert!(refused.message().contains(told), "{told}: {}", refused.message());
    }
    assert!(is_active(&mut client, &api).await.unwrap(), "it stays as it was");
}

#[tokio::test]
async fn the_metrics_page_shows_what_each_workload_needs_and_how_calls_went() {
    let server = Server::start(plan(&["api", "web"])).await;
    let mut client = server.client().await;
    assert!(!server.metrics().contains("tidegate_workload_demand{"), "what is not known is not zero");
    server.measure(&[(&cluster("api"), [642.0, 0.0, 0.0])]);
    metric(&mut client, &of_deployment("api"), RPS).await.unwrap();
    metric(&mut client, &of_deployment("api"), "else").await.unwrap_err();
    let page = server.metrics();
    let labels = r#"namespace="shop",kind="Deployment",name="api""#;
    for line in [
        format!("tidegate_workload_demand{{{labels},signal=\"requests-per-second\"}} 642.0\n"),
        format!("tidegate_workload_target{{{labels},signal=\"requests-per-second\"}} 100.0\n"),
        format!("tidegate_workload_desired_replicas{{{labels}}} 7.0\n"),
        format!("tidegate_workload_demand_age_seconds{{{labels},signal=\"requests-per-second\"}} "),
        r#"tidegate_scaler_rpcs_total{method="GetMetrics",code="OK"} 1"#.to_owned(),
        r#"tidegate_scaler_rpcs_total{method="GetMetrics",code="NOT_FOUND"} 1"#.to_owned(),
        r#"tidegate_scaler_rpc_duration_seconds_count{method="GetMetrics"} 2"#.to_owned(),
        r#"tidegate_workload_desired_replicas{namespace="shop",kind="Deployment",name="web"} 1.0"#.to_owned(),
    ] {
        assert!(page.contains(&line), "{line}\n\n{page}");
    }
}

/// The name, labels and help of each sample on the page are those of the table of metrics.
#[tokio::test]
async fn the_page_of_metrics_is_as_the_table_says() {
    let server = Server::start(Plan::default()).await;
    let mut client = server.client().await;
    let _ = in_time(client.is_active(object(&[]))).await;
    let page = server.metrics();
    let (mut helps, mut labelled) = (0, 0);
    for line in page.lines().filter(|line| *line != "# EOF") {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            let named = |metric: &&Metric| metric.name().trim_end_matches("_total") == name;
            let metric = Metric::ALL.iter().find(named).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(help.trim_end_matches('.'), metric.help());
            helps += 1;
        } else if let Some((name, rest)) = line.split_once('{') {
            let labels: Vec<_> =
                rest.split('}').next().unwrap().split(',').map(|label| label.split('=').next().unwrap()).collect();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            let metric = Metric::ALL.iter().find(|metric| metric.name() == base).unwrap_or_else(|| panic!("{line}"));
            let labels: Vec<_> = labels.into_iter().filter(|label| *label != "le").collect();
            assert_eq!(labels, metric.labels(), "{line}");
            labelled += 1;
        }
    }
    assert!(helps >= 8 && labelled >= 2, "{page}");
}
