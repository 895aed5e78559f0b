use std::{fs, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidegate_core::{
    calendar::Calendars,
    ids::{RouteRef, ServiceId},
    intent::{Annotations, Intent},
    plan::{ClusterShare, Plan, PlannedWorkload, Replicas},
    signal::Signal,
    workload::{WorkloadId, WorkloadKind},
};
use tidegate_scaler::{
    sources::{
        self, SourceSettings, TrafficSource,
        prometheus::{Credentials, PrometheusSettings},
    },
    store::{NoReading, SignalStore},
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::server::{
    Behaviour::{Answer, Silence, SilenceTo},
    Server, answer,
};

const RULE: &str = "httproute/shop/web/rule/0";
const QUERY: &str = "sum(jobs)";

fn settings(server: &Server) -> PrometheusSettings {
    PrometheusSettings {
        url: format!("http://{}", server.address),
        credentials: Credentials::None,
        ca_file: None,
        client_cert: None,
        headers: Vec::new(),
        timeout: Duration::from_millis(500),
        interval: Duration::from_millis(20),
    }
}

/// A Plan of one Deployment behind one rule, which also has a query.
fn plan() -> Plan {
    let annotations = [("requests-per-second", "10"), ("prometheus-query", QUERY), ("prometheus-target", "5")];
    let annotations: Annotations =
        annotations.map(|(key, value)| (format!("tidegate.dev/{key}"), value.to_owned())).into();
    let share = ClusterShare {
        cluster: RULE.into(),
        split: None,
        share: 1.0,
        of_backend: 1.0,
        route: RouteRef { kind: "HTTPRoute".into(), namespace: "shop".into(), name: "web".into(), rule: Some(0) },
        service: ServiceId { namespace: "shop".into(), name: "web".into() },
        fleets: [].into(),
        meaning: 0,
        pending: false,
    };
    let id = WorkloadId { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "web".into() };
    let intent = Intent::of_workload(&annotations, "shop", &Annotations::new()).map(Option::unwrap);
    let replicas = Replicas { wanted: 1, ready: 1 };
    let workload = PlannedWorkload::new(&id, String::new(), intent, vec![share], replicas, 1, &Calendars::default());
    Plan { workloads: [(id, workload)].into(), ..Plan::default() }
}

/// Asks until both the clusters and the query were answered, or refused.
async fn ask(settings: PrometheusSettings) -> Arc<SignalStore> {
    ask_until(settings, &[], |signals| {
        let is_answered = signals.query("shop", QUERY).is_ok() || signals.query_error("shop", QUERY).is_some();
        is_answered && !signals.sources().is_empty()
    })
    .await
}

/// Asks these queries until `wanted` holds.
async fn ask_until(
    settings: PrometheusSettings,
    queries: &[(&str, String)],
    wanted: impl Fn(&SignalStore) -> bool,
) -> Arc<SignalStore> {
    let signals = Arc::new(SignalStore::new(Duration::from_secs(300)));
    for (namespace, query) in queries {
        signals.keep_query(namespace, query);
    }
    let (_plan, planned) = watch::channel(Some(Arc::new(plan())));
    let stop = CancellationToken::new();
    let source = SourceSettings { prometheus: Some(settings), ..SourceSettings::of(TrafficSource::Prometheus) };
    let running = tokio::spawn(sources::run(source, Arc::clone(&signals), planned, stop.clone()));
    let mut rounds = signals.rounds();
    let waiting = async {
        while !wanted(&signals) {
            rounds.changed().await.unwrap();
        }
    };
    timeout(Duration::from_secs(20), waiting).await.expect("it becomes so");
    running.abort();
    signals
}

async fn answered(data: &Value) -> (Server, Arc<SignalStore>) {
    answered_with(data, &json!({})).await
}

/// Like `answered`, with these fields beside the data.
async fn answered_with(data: &Value, more: &Value) -> (Server, Arc<SignalStore>) {
    let mut body = json!({"status": "success", "data": data});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = body.to_string();
    let server = Server::that(Answer(answer("200 OK", &body))).await;
    let signals = ask(settings(&server)).await;
    (server, signals)
}

fn vector(rows: &[Value]) -> Value {
    json!({"resultType": "vector", "result": rows})
}

fn bad(signals: &SignalStore) -> String {
    match signals.query("shop", QUERY) {
        Err(NoReading::BadAnswer { reason } | NoReading::NotYet { waiting_for: reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_row_is_the_answer_of_a_query() {
    let (_server, signals) = answered(&vector(&[json!({"metric": {}, "value": [1.0, "12.5"]})])).await;
    assert_eq!(signals.query("shop", QUERY).map(|reading| reading.value), Ok(12.5));
}

#[tokio::test]
async fn no_row_several_rows_and_nan_are_errors_that_say_so() {
    let row = |value: &str, job: &str| json!({"metric": {"job": job}, "value": [1.0, value]});
    let (_server, none) = answered(&vector(&[])).await;
    assert!(bad(&none).contains("found no series"), "{}", bad(&none));
    let (_server, two) = answered(&vector(&[row("1", "a"), row("2", "b")])).await;
    assert!(bad(&two).contains("2 series"), "{}", bad(&two));
    let (_server, nan) = answered(&vector(&[row("NaN", "a")])).await;
    assert!(bad(&nan).contains("NaN"), "{}", bad(&nan));
}

/// Warnings in Thanos' answer while one of its stores is away.
fn in_part() -> Value {
    json!({"warnings": ["PromQL info: metric might not be a counter", "No StoreAPIs matched for this query"]})
}

#[tokio::test]
async fn a_partial_answer_is_a_lower_bound_and_its_warning_is_shown() {
    let one = vector(&[json!({"metric": {}, "value": [1.0, "12.5"]})]);
    let (_server, signals) = answered_with(&one, &in_part()).await;
    let found = signals.answer("shop", QUERY);
    assert_eq!(found.clone().at_least().map(|reading| reading.value), Some(12.5));
    let why = "answered in part: No StoreAPIs matched for this query";
    assert_eq!(found.exact().unwrap_err().to_string(), why);
    assert_eq!(signals.query_error("shop", QUERY).as_deref(), Some(why));

    let (_server, signals) = answered_with(&vector(&[]), &in_part()).await;
    assert!(bad(&signals).ends_with(&format!(" ({why})")), "{}", bad(&signals));
}

#[tokio::test]
async fn an_answer_in_part_is_a_lower_bound_of_clusters_and_none_is_said_not_to_be_there() {
    let row = |labels: Value, value: &str| json!({"metric": labels, "value": [1.0, value]});
    let of = |part: &str, value: &str| row(json!({"envoy_cluster_name": RULE, "part": part}), value);
    let heard = [row(json!({"pod": "a", "part": "proxy"}), "1"), row(json!({"pod": "a", "part": "rated"}), "1")];
    let carries = [of("rq_total:30s", "7"), of("counters", "1"), of("rates", "1")];
    let all = vector(&[&heard[..], &carries].concat());
    let (_server, signals) = answered(&all).await;
    assert_eq!(signals.cluster(RULE, Signal::RequestsPerSecond).map(|reading| reading.value), Ok(7.0));

    let (_server, signals) = answered_with(&all, &in_part()).await;
    assert_eq!(signals.at_least(RULE, Signal::RequestsPerSecond).map(|reading| reading.value), Some(7.0));
    let why = "no value yet: answered in part: No StoreAPIs matched for this query";
    assert_eq!(signals.cluster(RULE, Signal::RequestsPerSecond).unwrap_err().to_string(), why);

    let (_server, signals) = answered_with(&vector(&heard), &in_part()).await;
    assert_eq!(signals.cluster(RULE, Signal::RequestsPerSecond).unwrap_err().to_string(), why);
}

#[tokio::test]
async fn what_promql_remarks_on_the_query_makes_no_answer_less() {
    let more = json!({
        "infos": ["PromQL info: input to histogram_quantile needed to be fixed for monotonicity"],
        "warnings": ["PromQL warning: bucket label \"le\" is missing or has a malformed value"],
    });
    let (_server, signals) = answered_with(&vector(&[json!({"metric": {}, "value": [1.0, "12.5"]})]), &more).await;
    assert_eq!(signals.query("shop", QUERY).map(|reading| reading.value), Ok(12.5));
}

#[tokio::test]
async fn a_prometheus_that_does_not_hear_of_the_proxies_says_nothing_about_traffic() {
    let (_server, signals) = answered(&vector(&[])).await;
    let reading = signals.cluster(RULE, Signal::RequestsPerSecond);
    assert!(reading.is_err(), "{reading:?}");
}

#[tokio::test]
async fn an_error_of_prometheus_is_shown_in_its_words() {
    let body = json!({"status": "error", "errorType": "bad_data", "error": "1:5: parse error: unexpected end"});
    let server = Server::that(Answer(answer("400 Bad Request", &body.to_string()))).await;
    let signals = ask(settings(&server)).await;
    assert!(bad(&signals).contains("parse error: unexpected end"), "{}", bad(&signals));
}

#[tokio::test]
async fn a_page_of_html_with_a_status_is_reported_by_its_status() {
    let server = Server::that(Answer(answer("502 Bad Gateway", "<html>"))).await;
    let signals = ask(settings(&server)).await;
    assert!(bad(&signals).contains("answered 502 Bad Gateway"), "{}", bad(&signals));
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let server = Server::that(Silence).await;
    let signals = ask(settings(&server)).await;
    assert!(bad(&signals).contains("no answer within 500ms"), "{}", bad(&signals));
}

#[tokio::test]
async fn two_hundred_slow_queries_of_users_do_not_delay_the_query_for_clusters() {
    let body = json!({"status": "success", "data": vector(&[])}).to_string();
    let server = Server::that(SilenceTo("slow", answer("200 OK", &body))).await;
    let signals = Arc::new(SignalStore::new(Duration::from_secs(300)));
    for number in 0..200 {
        signals.keep_query("other", &format!("slow_{number}"));
    }
    let (_plan, planned) = watch::channel(Some(Arc::new(plan())));
    let stop = CancellationToken::new();
    // The slow queries, four at a time, take longer than the test.
    let slow = PrometheusSettings { timeout: Duration::from_secs(60), ..settings(&server) };
    let source = SourceSettings { prometheus: Some(slow), ..SourceSettings::of(TrafficSource::Prometheus) };
    let running = tokio::spawn(sources::run(source, Arc::clone(&signals), planned, stop.clone()));
    let queries_for_clusters =
        || server.requests.lock().unwrap().iter().filter(|request| request.contains("envoy_cluster_name")).count();
    let mut rounds = signals.rounds();
    let waiting = async {
        while queries_for_clusters() < 10 {
            rounds.changed().await.unwrap();
        }
    };
    timeout(Duration::from_secs(20), waiting).await.expect("clusters are asked for at every interval");
    running.abort();
}

const ONE: &str =
    r#"{"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1.0, "1"]}]}}"#;

#[tokio::test]
async fn a_namespace_whose_queries_never_return_does_not_delay_that_of_another() {
    let server = Server::that(SilenceTo("slow", answer("200 OK", ONE))).await;
    // Its name sorts before the other's, and so its turns come first.
    let mut queries: Vec<_> = (0..50).map(|number| ("a-slow", format!("slow_{number}"))).collect();
    queries.push(("b-other", QUERY.to_owned()));
    let slow = PrometheusSettings { timeout: Duration::from_secs(60), ..settings(&server) };
    ask_until(slow, &queries, |signals| signals.query("b-other", QUERY).is_ok()).await;
}

#[tokio::test]
async fn a_namespace_with_a_thousand_queries_learns_that_a_hundred_are_allowed_and_these_are_answered() {
    let server = Server::that(Answer(answer("200 OK", ONE))).await;
    let queries: Vec<_> = (0..1000).map(|number| ("many", format!("q_{number}"))).collect();
    let signals = ask_until(settings(&server), &queries, |signals| {
        queries[..100].iter().all(|(namespace, query)| signals.query(namespace, query).is_ok())
    })
    .await;
    let refused = signals.query("many", "q_100").unwrap_err().to_string();
    let wanted = "namespace many has 100 other queries, and no more are asked for one namespace: use fewer, or raise \
                  --prometheus-queries-per-namespace";
    assert_eq!(refused, wanted);
    assert_eq!(signals.query_error("many", "q_999").as_deref(), Some(wanted));
}

#[tokio::test]
async fn one_slow_query_does_not_mark_the_server_as_failing() {
    let server = Server::that(SilenceTo("slow", answer("200 OK", ONE))).await;
    let queries = [("a-slow", "slow".to_owned())];
    let signals =
        ask_until(settings(&server), &queries, |signals| signals.query_error("a-slow", "slow").is_some()).await;
    let errors: Vec<_> = signals.sources().into_iter().filter_map(|source| source.error).collect();
    assert!(errors.iter().all(|error| !error.contains("no answer within")), "{errors:?}");
}

#[tokio::test]
async fn a_failing_server_keeps_the_last_answer() {
    let signals = Arc::new(SignalStore::new(Duration::from_secs(300)));
    let body = json!({"status": "success", "data": vector(&[json!({"metric": {}, "value": [1.0, "7"]})])});
    let server = Server::that(Answer(answer("200 OK", &body.to_string()))).await;
    let (_plan, planned) = watch::channel(Some(Arc::new(plan())));
    let stop = CancellationToken::new();
    let source =
        SourceSettings { prometheus: Some(settings(&server)), ..SourceSettings::of(TrafficSource::Prometheus) };
    tokio::spawn(sources::run(source, Arc::clone(&signals), planned, stop.clone()));
    let mut rounds = signals.rounds();
    let until = async |wanted: &dyn Fn(&SignalStore) -> bool, rounds: &mut watch::Receiver<u64>| {
        let waiting = async {
            while !wanted(&signals) {
                rounds.changed().await.unwrap();
            }
        };
        timeout(Duration::from_secs(20), waiting).await.expect("it becomes so");
    };
    until(&|signals| signals.query("shop", QUERY).is_ok(), &mut rounds).await;
    server.becomes(Answer(answer("503 Service Unavailable", "")));
    until(&|signals| signals.sources().iter().any(|source| source.error.is_some()), &mut rounds).await;
    assert_eq!(signals.query("shop", QUERY).map(|reading| reading.value), Ok(7.0));
}

#[tokio::test]
async fn credentials_and_headers_go_with_every_query_and_files_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "first\n").unwrap();
    let server = Server::that(Answer(answer("200 OK", "{}"))).await;
    let with_token = PrometheusSettings {
        credentials: Credentials::BearerTokenFile(file.clone()),
        headers: vec![("X-Scope-OrgID".to_owned(), "shop".to_owned())],
        ..settings(&server)
    };
    ask(with_token.clone()).await;
    let request = server.last_request().to_lowercase();
    assert!(
        request.contains("authorization: bearer first\r\n") && request.contains("x-scope-orgid: shop"),
        "{request}"
    );
    fs::write(&file, "second").unwrap();
    ask(with_token).await;
    assert!(server.last_request().to_lowercase().contains("authorization: bearer second\r\n"));

    fs::write(&file, "open sesame\n").unwrap();
    let credentials = Credentials::Basic { username: "ali".to_owned(), password_file: file.clone() };
    ask(PrometheusSettings { credentials, ..settings(&server) }).await;
    // base64 of "ali:open sesame"
    let request = server.last_request();
    assert!(request.to_lowercase().contains("authorization: basic") && request.contains("YWxpOm9wZW4gc2VzYW1l"));
}

#[tokio::test]
async fn a_file_of_credentials_that_is_gone_is_named() {
    let server = Server::that(Answer(answer("200 OK", "{}"))).await;
    let credentials = Credentials::BearerTokenFile("/nowhere/token".into());
    let signals = ask(PrometheusSettings { credentials, ..settings(&server) }).await;
    assert!(bad(&signals).contains("cannot read /nowhere/token"), "{}", bad(&signals));
    assert!(server.requests.lock().unwrap().is_empty(), "nothing is asked without the credentials");
}
