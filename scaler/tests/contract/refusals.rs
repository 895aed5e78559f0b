//! Calls without an answer, and the messages that they get instead.

use tidegate_core::plan::Plan;
use tidegate_proto::{GetMetricsRequest, ScaledObjectRef};
use tonic::{Code, Status};

use crate::support::{
    Client, STALE_AFTER, Server, cluster, in_time, is_active, later, metric, object, of_deployment, plan,
};

const RPS: &str = "requests-per-second";

/// Asserts that each of the five calls gets the same refusal, and returns it.
async fn refused_by_all(client: &mut Client, object: &ScaledObjectRef) -> Status {
    let request = GetMetricsRequest { scaled_object_ref: Some(object.clone()), metric_name: RPS.into() };
    let refusals = [
        in_time(client.is_active(object.clone())).await.unwrap_err(),
        in_time(client.get_metric_spec(object.clone())).await.unwrap_err(),
        in_time(client.get_metrics(request)).await.unwrap_err(),
        in_time(client.stream_is_active(object.clone())).await.unwrap_err(),
        in_time(client.stream_metric_spec(object.clone())).await.unwrap_err(),
    ];
    for refusal in &refusals {
        assert_eq!((refusal.code(), refusal.message()), (refusals[0].code(), refusals[0].message()));
    }
    refusals[0].clone()
}

#[tokio::test]
async fn bad_metadata_is_refused_with_all_that_is_wrong_in_one_message() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    let bad = object(&[("workload", "pod/api"), ("requestsPerSecond", "-1"), ("concurency", "8")]);
    let refused = refused_by_all(&mut client, &bad).await;
    assert_eq!(refused.code(), Code::InvalidArgument);
    let expected = "ScaledObject api in namespace shop: requestsPerSecond: got \"-1\", wants a number from 0.001 to 1e12, \
                    such as \"100\"; workload: got \"pod/api\", wants a workload of this namespace, such as \
                    \"deployment/task-api\"; trigger metadata has no key concurency; did you mean concurrency?";
    assert_eq!(refused.message(), expected);
}

#[tokio::test]
async fn a_thousand_mistakes_fit_into_one_message() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    let keys: Vec<String> = (0..1000).map(|index| format!("mistake-{index:04}")).collect();
    let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "1")).collect();
    let refused = refused_by_all(&mut client, &object(&pairs)).await;
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().len() < 4096, "{}", refused.message().len());
    assert!(refused.message().contains("mistake-0000") && refused.message().ends_with(" more"), "{refused}");
}

#[tokio::test]
async fn a_call_without_an_object_is_refused() {
    let server = Server::start(plan(&["api"])).await;
    let request = GetMetricsRequest { scaled_object_ref: None, metric_name: RPS.into() };
    let refused = in_time(server.client().await.get_metrics(request)).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "GetMetrics needs a scaledObjectRef"));
}

#[tokio::test]
async fn an_unknown_metric_is_not_found_and_those_of_the_trigger_are_named() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    let object = object(&[("service", "api"), ("requestsPerSecond", "10"), ("concurrency", "8")]);
    // `connections` is a metric, but not one of this trigger; the others are not metrics at all.
    for name in ["connections", "requests", "s0-", "s-requests-per-second", "sx-concurrency", "", "s0-s0-concurrency"] {
        let refused = metric(&mut client, &object, name).await.unwrap_err();
        let expected = format!("this trigger has no metric \"{name}\"; it has requests-per-second, concurrency");
        assert_eq!((refused.code(), refused.message()), (Code::NotFound, expected.as_str()));
    }
}

#[tokio::test]
async fn an_unknown_workload_is_not_found_and_its_neighbours_are_named() {
    let server = Server::start(plan(&["api", "web"])).await;
    let mut client = server.client().await;
    let refused = metric(&mut client, &of_deployment("aip"), RPS).await.unwrap_err();
    let expected = "deployment/aip in namespace shop has no annotations of Tidegate, or does not exist; known in its \
                    namespace: deployment/api, deployment/web";
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, expected));
    assert_eq!(is_active(&mut client, &of_deployment("aip")).await.unwrap_err().code(), Code::NotFound);

    let mut elsewhere = of_deployment("api");
    elsewhere.namespace = "other".into();
    let refused = metric(&mut client, &elsewhere, RPS).await.unwrap_err();
    let expected = "deployment/api in namespace other has no annotations of Tidegate, or does not exist; none is known in \
                    its namespace (2 in others): annotate it, for example with tidegate.dev/requests-per-second=100";
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, expected));
}

#[tokio::test]
async fn a_service_that_no_route_reaches_is_not_found_and_those_that_are_reached_are_named() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    let object = object(&[("service", "aip"), ("requestsPerSecond", "10")]);
    let refused = metric(&mut client, &object, RPS).await.unwrap_err();
    let expected =
        "no route reaches Service aip in namespace shop, or it does not exist; reached in its namespace: api";
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, expected));
}

#[tokio::test]
async fn a_workload_whose_last_route_is_gone_keeps_its_value_and_then_fails_but_is_never_zero() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    server.measure(&[(&cluster("api"), [42.0, 0.0, 0.0])]);
    assert_eq!(metric(&mut client, &of_deployment("api"), RPS).await.unwrap(), 42.0);
    let mut without = plan(&["api"]);
    without.services.clear();
    without.workloads.values_mut().for_each(|workload| workload.traffic.clear());
    server.replace_plan(without);
    server.measure(&[]);
    assert_eq!(metric(&mut client, &of_deployment("api"), RPS).await.unwrap(), 42.0);
    later(STALE_AFTER * 2).await;
    server.measure(&[]);
    let mut client = server.client().await;
    let refused = metric(&mut client, &of_deployment("api"), RPS).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().starts_with("no route reaches deployment/api in namespace shop: wants"), "{refused}");
    assert!(is_active(&mut client, &of_deployment("api")).await.unwrap(), "it stays as it was");
}

#[tokio::test]
async fn before_anything_is_known_calls_are_unavailable_and_say_what_is_waited_for() {
    let server = Server::start(Plan::default()).await;
    server.plan.send_replace(None);
    let mut client = server.client().await;
    let refused = metric(&mut client, &of_deployment("api"), RPS).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().starts_with("the cluster is not known yet"), "{refused}");
    server.replace_plan(plan(&["api"]));
    for refused in [
        metric(&mut client, &of_deployment("api"), RPS).await.unwrap_err(),
        is_active(&mut client, &of_deployment("api")).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.message().starts_with("cluster httproute/shop/api/rule/0: no value yet"), "{refused}");
    }
}
