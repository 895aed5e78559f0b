//! The two streams of `external-push`.

use tidegate_core::plan::Plan;
use tidegate_proto::{GetMetricSpecResponse, IsActiveResponse};
use tonic::{Code, Streaming};

use crate::support::{STALE_AFTER, Server, cluster, eventually, in_time, later, metric, of_deployment, plan};

async fn next(stream: &mut Streaming<IsActiveResponse>) -> Option<bool> {
    in_time(stream.message()).await.unwrap().map(|answer| answer.result)
}

#[tokio::test]
async fn the_first_state_is_sent_at_once_and_then_only_changes() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    server.measure(&[]);
    let mut stream = in_time(client.stream_is_active(of_deployment("api"))).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await, Some(false));
    // Many rounds with the same state yield one message: KEDA would patch `lastActiveTime` at every `true`.
    for active in [true, false, true] {
        for rate in 1..=5 {
            let rate = if active { f64::from(rate) } else { 0.0 };
            server.measure(&[(&cluster("api"), [rate, 0.0, 0.0])]);
            tokio::task::yield_now().await;
        }
        assert_eq!(next(&mut stream).await, Some(active));
    }
    server.stop.cancel();
    assert_eq!(next(&mut stream).await, None, "nothing else was told");
}

#[tokio::test]
async fn a_stream_that_opens_before_anything_is_known_gets_the_first_known_state() {
    let server = Server::start(Plan::default()).await;
    let mut client = server.client().await;
    let mut stream = in_time(client.stream_is_active(of_deployment("api"))).await.unwrap().into_inner();
    server.replace_plan(plan(&["api"]));
    server.measure(&[(&cluster("api"), [1.0, 0.0, 0.0])]);
    assert_eq!(next(&mut stream).await, Some(true));
}

#[tokio::test]
async fn nothing_is_sent_while_data_is_missing() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    server.measure(&[(&cluster("api"), [1.0, 0.0, 0.0])]);
    let mut stream = in_time(client.stream_is_active(of_deployment("api"))).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await, Some(true));
    later(STALE_AFTER * 2).await;
    server.signals.commit_values("prometheus", Err("connection refused".into()));
    let mut other = server.client().await;
    let refused = metric(&mut other, &of_deployment("api"), "requests-per-second").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    server.stop.cancel();
    assert_eq!(next(&mut stream).await, None, "no word in between");
}

#[tokio::test]
async fn the_specs_are_sent_at_once_agree_with_the_call_and_are_then_quiet() {
    let server = Server::start(Plan::default()).await;
    let mut client = server.client().await;
    let mut stream = in_time(client.stream_metric_spec(of_deployment("api"))).await.unwrap().into_inner();
    let first: GetMetricSpecResponse = in_time(stream.message()).await.unwrap().unwrap();
    let called = in_time(client.get_metric_spec(of_deployment("api"))).await.unwrap().into_inner();
    assert_eq!(first, called);
    server.replace_plan(plan(&["api"]));
    server.measure(&[(&cluster("api"), [1.0, 0.0, 0.0])]);
    server.stop.cancel();
    // After a clean end (EOF), KEDA reconnects after 2 s instead of a growing delay.
    assert_eq!(in_time(stream.message()).await.unwrap(), None);
}

/// KEDA opens two streams per object on one connection, and resets the streams of a deleted namespace all at once.
#[tokio::test]
async fn thousands_of_streams_share_a_connection_with_calls_and_may_all_go_at_once() {
    const OBJECTS: usize = 3000;
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    server.measure(&[]);
    let mut streams = Vec::new();
    for _ in 0..OBJECTS {
        let activity = in_time(client.stream_is_active(of_deployment("api"))).await.unwrap().into_inner();
        let specs = in_time(client.stream_metric_spec(of_deployment("api"))).await.unwrap().into_inner();
        streams.push((activity, specs));
    }
    let open = |method: &str, count: usize| {
        server.metrics().contains(&format!("tidegate_scaler_open_streams{{method=\"{method}\"}} {count}\n"))
    };
    assert!(open("StreamIsActive", OBJECTS) && open("StreamMetricSpec", OBJECTS), "{}", server.metrics());
    server.measure(&[(&cluster("api"), [1.0, 0.0, 0.0])]);
    for (activity, _) in &mut streams {
        assert_eq!(next(activity).await, Some(false));
        assert_eq!(next(activity).await, Some(true));
    }
    assert_eq!(metric(&mut client, &of_deployment("api"), "requests-per-second").await.unwrap(), 1.0);
    drop(streams);
    eventually("the streams are let go", || open("StreamIsActive", 0) && open("StreamMetricSpec", 0)).await;
    assert_eq!(metric(&mut client, &of_deployment("api"), "requests-per-second").await.unwrap(), 1.0);
}

#[tokio::test]
async fn streams_that_open_while_the_scaler_stops_end_too() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    server.measure(&[]);
    let mut stream = in_time(client.stream_is_active(of_deployment("api"))).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await, Some(false));
    server.stop.cancel();
    // The call arrives before the end, or is refused: both let KEDA go elsewhere.
    if let Ok(stream) = in_time(client.stream_metric_spec(of_deployment("api"))).await {
        let mut stream = stream.into_inner();
        while let Ok(Some(_)) = in_time(stream.message()).await {}
    }
    in_time(server.task).await.unwrap().unwrap();
}
