//! Callers that must neither be trusted nor hold up others.

use std::{convert::Infallible, net::IpAddr};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{task::JoinHandle, time::Instant};
use tonic::{Code, Request};

use super::*;

/// A report of a thousand requests/s, as if another pod of Tidegate had passed it on.
async fn forge(served: &Served) -> Result<ExportMetricsServiceResponse, Status> {
    let mut client = MetricsServiceClient::connect(format!("http://{}", served.address)).await.unwrap();
    let mut request = Request::new(message(Vec::new(), vec![requests(1_000_000)]));
    request.metadata_mut().insert("tidegate-forwarded-by", "stranger".parse().unwrap());
    request.metadata_mut().insert("tidegate-sender", "127.0.0.1".parse().unwrap());
    client.export(request).await.map(Response::into_inner)
}

#[tokio::test]
async fn nobody_but_a_pod_of_tidegate_speaks_for_a_proxy() {
    let alone = Served::new(None).await;
    assert_eq!(forge(&alone).await.unwrap_err().code(), Code::PermissionDenied, "there are no other pods");
    let of_two = Served::new(Some("127.0.0.2:9".to_owned())).await;
    assert_eq!(forge(&of_two).await.unwrap_err().code(), Code::PermissionDenied, "the other pod is at 127.0.0.2");
    let beside = Served::new(Some("127.0.0.1:9".to_owned())).await;
    assert_eq!(forge(&beside).await.unwrap(), ExportMetricsServiceResponse::default());
}

#[tokio::test]
async fn whatever_says_whose_a_message_is_but_not_in_whole_is_refused() {
    let served = Served::new(Some("127.0.0.1:9".to_owned())).await;
    let mut client = MetricsServiceClient::connect(format!("http://{}", served.address)).await.unwrap();
    for (key, value) in [("tidegate-forwarded-by", "pod"), ("tidegate-sender", "no address")] {
        let mut request = Request::new(message(Vec::new(), vec![requests(1)]));
        request.metadata_mut().insert(key, value.parse().unwrap());
        assert_eq!(client.export(request).await.unwrap_err().code(), Code::InvalidArgument, "{key}");
    }
}

/// A call from this address whose message comes a byte at a time: one at each change of `bytes`.
fn call_slowly(served: &Served, from: IpAddr, bytes: watch::Receiver<()>) -> JoinHandle<Option<String>> {
    let mut connector = HttpConnector::new();
    connector.set_local_address(Some(from));
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build(connector);
    let trickle = stream::unfold(bytes, |mut bytes| async {
        bytes.changed().await.ok()?;
        Some((0, bytes))
    });
    let frame = |byte: u8| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(&[byte])));
    let message = stream::iter([0, 0, 16, 0, 0]).chain(trickle).map(frame);
    let path = "opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    let request = http::Request::post(format!("http://{}/{path}", served.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(StreamBody::new(Box::pin(message)))
        .unwrap();
    tokio::spawn(async move {
        let answer = client.request(request).await.ok()?;
        Some(answer.headers().get("grpc-status")?.to_str().ok()?.to_owned())
    })
}

#[tokio::test]
async fn messages_that_come_a_byte_at_a_time_hold_up_nobody_and_are_cut_off() {
    let served = Served::new(None).await;
    let bytes = watch::Sender::new(());
    let slow = |from: [u8; 4]| (0..8).map(move |_| from);
    let slow: Vec<_> = slow([127, 0, 0, 66]).chain(slow([127, 0, 0, 1])).collect();
    let slow: Vec<_> = slow.into_iter().map(|from| call_slowly(&served, from.into(), bytes.subscribe())).collect();
    let (begun, mut total) = (Instant::now(), 0);
    while !slow.iter().all(JoinHandle::is_finished) {
        assert!(begun.elapsed() < Duration::from_secs(15), "they are not cut off");
        total += 10;
        timeout(Duration::from_secs(1), served.push(vec![requests(total)])).await.expect("held up").unwrap();
        bytes.send_replace(());
        later(Duration::from_millis(500)).await;
    }
    for call in slow {
        assert_eq!(call.await.unwrap().as_deref(), Some("4"), "DEADLINE_EXCEEDED");
    }
}

#[tokio::test]
async fn so_many_messages_of_one_caller_are_read_and_no_more() {
    let served = Served::new(None).await;
    let bytes = watch::Sender::new(());
    let slow: Vec<_> = (0..40).map(|_| call_slowly(&served, [127, 0, 0, 66].into(), bytes.subscribe())).collect();
    let refused = || Some(slow.iter().filter(|call| call.is_finished()).count()).filter(|refused| *refused == 8);
    until("eight are refused", refused).await;
    assert_eq!(served.push(vec![requests(1)]).await.unwrap().partial_success, None);
    slow.iter().for_each(JoinHandle::abort);
}

/// A receiver of this Plan.
fn receiver(plan: &Plan) -> Receiver {
    let signals = Arc::new(SignalStore::new(Duration::from_secs(300)));
    signals.keep(plan);
    let settings = OtlpSettings { clusters: true, tokens: true, peers: None };
    Receiver::new(settings, signals, watch::channel(Some(Arc::new(plan.clone()))).1, None)
}

#[test]
fn what_a_stranger_says_of_clusters_is_refused_point_by_point_and_nothing_is_kept() {
    let (plan, stranger) = (plan(), IpAddr::from([10, 0, 0, 66]));
    let receiver = receiver(&plan);
    for sender in 0..8000 {
        let attributes = vec![attribute("service.instance.id", &sender.to_string())];
        let refused =
            receiver.take_in(&plan, stranger, &message(attributes, vec![requests(5), requests(6)])).rejected();
        let refused = refused.unwrap();
        assert_eq!(refused.rejected_data_points, 2);
        assert!(refused.error_message.contains("no proxy and no AI gateway"), "{refused:?}");
    }
    assert_eq!(receiver.kept(), (0, 0));
}

#[test]
fn eight_thousand_spoofed_senders_leave_room_for_those_that_the_plan_knows() {
    let (plan, stranger) = (plan(), IpAddr::from([10, 0, 0, 66]));
    let receiver = receiver(&plan);
    let push = |address: IpAddr, instance: &str, pod: Option<&str>| {
        let mut attributes = vec![attribute("service.instance.id", instance)];
        attributes.extend(pod.map(|pod| attribute("k8s.pod.name", pod)));
        attributes.extend(pod.map(|_| attribute("k8s.namespace.name", "eg")));
        let message = message(attributes, vec![usage(CUMULATIVE, &[("input", 5.0), ("output", 5.0)])]);
        receiver.take_in(&plan, address, &message).rejected().map(|refused| refused.rejected_data_points)
    };
    for pod in [None, Some("ai"), Some("nobody")] {
        (0..8000).for_each(|sender| _ = push(stranger, &format!("{sender} of {pod:?}"), pod));
    }
    let (senders, proxies) = receiver.kept();
    assert!(senders <= 100 && proxies == 0, "{senders} senders and {proxies} proxies");
    assert_eq!(push(stranger, "one more", None), Some(2), "told in the answer");
    assert_eq!(push([127, 0, 0, 1].into(), "good", None), None);
    assert_eq!(push([10, 0, 0, 9].into(), "behind a collector", Some("ai")), None);
    assert_eq!(push([10, 0, 0, 9].into(), "behind another", None), None);
}
