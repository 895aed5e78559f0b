//! What is not passed on: why, and in which words.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use http_body_util::Empty;
use tidegate_activator::{Closed, DoorRules, HoldLimits};
use tidegate_core::refused::NoPod;

use crate::{
    clients::{asked, call, collected, greeted, http2, is_silent, read_all, sent},
    site::{Pod, Site, until, workload},
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

async fn that_times_out() -> Site {
    Site::with_rules(|rules| {
        rules.hold_timeout = Duration::from_millis(1_100);
        rules.not_ready = Some("its image cannot be pulled".into());
    })
    .await
}

#[tokio::test]
async fn after_the_hold_timeout_the_answer_says_how_long_it_was_held_why_and_what_to_do() {
    let answer = asked(&that_times_out().await, "GET / HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 5\r\n"), "{answer}");
    let text = "deployment/task-api in namespace shop had no pod for this request in 1 s (tidegate.dev/hold-timeout): its image \
                cannot be pulled. Try again in 5 s. `tidegate explain deployment/task-api -n shop` says more.\n";
    assert!(answer.ends_with(text), "{answer}");
}

#[tokio::test]
async fn a_grpc_call_is_refused_as_unavailable_with_the_reason_in_its_message() {
    let site = that_times_out().await;
    let answer = http2(&site).await.send_request(call("/shop.Tasks/List", "grpc-go/1")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/grpc+proto");
    assert_eq!(answer.headers()["grpc-status"], "14");
    assert!(answer.headers()["grpc-message"].to_str().unwrap().contains("its image cannot be pulled"));
    assert!(hyper::body::Body::is_end_stream(answer.body()));
}

#[tokio::test]
async fn the_reason_is_the_one_that_holds_at_the_end() {
    let site = that_times_out().await;
    let mut client = sent(&site, GET).await;
    site.until_requests(1).await;
    site.change_rules(|rules| rules.not_ready = Some("its quota is used up".into()));
    assert!(read_all(&mut client).await.contains(": its quota is used up."));
}

#[tokio::test]
async fn a_ready_pod_that_accepts_no_connection_is_named() {
    let site = that_times_out().await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    site.ready(&[nobody]);
    let answer = asked(&site, "GET / HTTP/1.1").await;
    let cause = format!("its pod at {nobody}, which is ready, does not accept connections");
    assert!(answer.contains(&cause), "{answer}");
    let timed_out = site.activator.refused(&workload()).timed_out.unwrap();
    assert!(matches!(timed_out.cause, NoPod::Unreachable(why) if why.starts_with(&cause)));
}

#[tokio::test]
async fn a_pod_that_accepted_nothing_and_is_not_ready_any_more_is_not_the_reason() {
    let site = that_times_out().await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    site.ready(&[nobody]);
    let mut client = sent(&site, GET).await;
    site.until_requests(1).await;
    site.ready(&[]);
    assert!(read_all(&mut client).await.contains(": its image cannot be pulled."));
    let timed_out = site.activator.refused(&workload()).timed_out.unwrap();
    assert_eq!((timed_out.count, timed_out.cause), (1, NoPod::NotReady("its image cannot be pulled".into())));
}

#[tokio::test]
async fn pods_that_have_all_that_they_may_are_the_reason() {
    let site = that_times_out().await;
    site.change_rules(|rules| rules.per_pod = 1);
    site.ready(&[Pod::start(|_| std::future::pending()).await.address]);
    let _first = sent(&site, GET).await;
    site.until_requests(1).await;
    let answer = asked(&site, "GET / HTTP/1.1").await;
    assert!(answer.contains(": its ready pods were busy with 1 requests each"), "{answer}");
}

#[tokio::test]
async fn a_wake_counts_when_the_door_was_away_meanwhile() {
    let site = Site::with_rules(|rules| rules.limit = Some("1/h".parse().unwrap())).await;
    let client = sent(&site, GET).await;
    site.until_requests(1).await;
    drop(client);
    // The workload was woken, so that its door goes, and comes back when it is idle again.
    until("it is asleep again", || site.activator.own().is_empty()).await;
    let doors = site.doors.send_replace(Arc::default());
    until("the door is closed", || site.activator.listening().is_empty()).await;
    site.doors.send_replace(doors);
    until("the door is open", || !site.activator.listening().is_empty()).await;
    let answer = asked(&site, "GET / HTTP/1.1").await;
    assert!(answer.contains("tidegate.dev/wake-limit"), "{answer}");
}

#[tokio::test]
async fn beyond_the_limits_requests_are_refused_at_once_and_a_place_that_is_given_back_is_used_again() {
    let limits = HoldLimits { per_workload: 2, ..HoldLimits::default() };
    let site = Site::with(limits, |_| {}).await;
    let (first, _second) = (sent(&site, GET).await, sent(&site, GET).await);
    site.until_requests(2).await;
    let answer = asked(&site, "GET / HTTP/1.1").await;
    let wanted = "2 requests wait for a pod of deployment/task-api in namespace shop already";
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains(wanted), "{answer}");
    drop(first);
    site.until_requests(1).await;
    let mut third = sent(&site, GET).await;
    site.until_requests(2).await;
    site.ready(&[Pod::greeting().await.address]);
    assert!(read_all(&mut third).await.ends_with("hello"));
}

#[tokio::test]
async fn the_limit_in_total_holds_for_connections_too() {
    let site = Site::with(HoldLimits { total: 1, ..HoldLimits::default() }, |_| {}).await;
    let _held = sent(&site, b"\x16\x03\x01hello").await;
    site.until_connections(1).await;
    assert!(asked(&site, "GET / HTTP/1.1").await.contains("Tidegate holds 1 requests already"));
    assert_eq!(read_all(&mut sent(&site, b"\x16\x03\x01hello").await).await, "");
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed_at_once() {
    let site = Site::with(HoldLimits { connections: 1, ..HoldLimits::default() }, |_| {}).await;
    let mut first = sent(&site, "GET /").await;
    assert!(is_silent(&mut first).await);
    assert_eq!(read_all(&mut sent(&site, GET).await).await, "");
    drop(first);
    until("the place is free", || site.activator.own().is_empty()).await;
}

#[tokio::test]
async fn outside_hours_nothing_is_held_the_answer_names_the_opening_and_a_pod_that_is_ready_all_the_same_gets_requests()
{
    let opens = Utc::now() + Duration::from_secs(7_200);
    let site = Site::with_rules(|rules| rules.closed = Some(Closed { opens: Some(opens) })).await;
    let answer = asked(&site, "GET / HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 7200\r\n"), "{answer}");
    let opening = opens.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    assert!(answer.contains(&format!("It opens at {opening}.")), "{answer}");
    assert_eq!(read_all(&mut sent(&site, b"\x16\x03\x01hello").await).await, "");
    assert!(site.activator.own().is_empty(), "it wakes nothing");
    site.ready(&[Pod::greeting().await.address]);
    greeted(&site, "GET / HTTP/1.1").await;
}

#[tokio::test]
async fn a_workload_wakes_as_often_as_its_limit_allows_and_no_wake_is_needed_while_something_is_in_hand() {
    let site = Site::with_rules(|rules| rules.limit = Some("1/h".parse().unwrap())).await;
    let (first, second) = (sent(&site, GET).await, sent(&site, GET).await);
    site.until_requests(2).await;
    assert!(site.activator.all_refused().is_empty());
    drop((first, second));
    site.until_requests(0).await;
    let answer = asked(&site, "GET / HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("tidegate.dev/wake-limit"), "{answer}");
    let retry_after = answer.split("retry-after: ").nth(1).unwrap().split('\r').next().unwrap();
    assert!((3_500..=3_600).contains(&retry_after.parse().unwrap()), "{answer}");
    assert_eq!(site.activator.refused(&workload()).limited.map(|limited| limited.count), Some(1));
    site.ready(&[Pod::greeting().await.address]);
    greeted(&site, "GET / HTTP/1.1").await;
}

#[tokio::test]
async fn probes_wake_nothing_and_envoy_is_told_that_the_endpoint_is_healthy() {
    let site = Site::with_rules(|rules| rules.ignore = "path=/metrics,user-agent=MyProbe".parse().unwrap()).await;
    let mut statuses = Vec::new();
    for (path, user_agent) in [
        ("/", "Envoy/HC"),
        ("/healthz", "kube-probe/1.34"),
        ("/metrics", "curl/8"),
        ("/", "myprobe/2"),
        ("/a", "Prometheus/3"),
    ] {
        let answer = asked(&site, &format!("GET {path} HTTP/1.1\r\nuser-agent: {user_agent}")).await;
        statuses.push(answer[9..12].parse::<u16>().unwrap());
    }
    assert_eq!(statuses, [200, 503, 503, 503, 503]);
    let mut grpc = http2::<Empty<bytes::Bytes>>(&site).await;
    let answer = grpc.send_request(call("/grpc.health.v1.Health/Check", "Envoy/HC")).await.unwrap();
    let (message, trailers) = collected(answer).await;
    assert_eq!((&message[..], &trailers["grpc-status"]), (&[0, 0, 0, 0, 2, 8, 1][..], &"0".parse().unwrap()));
    let answer = grpc.send_request(call("/grpc.health.v1.Health/Check", "kube-probe/1.34")).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "14");
    assert!(site.activator.own().is_empty(), "{:?}", site.activator.own());
}

#[tokio::test]
async fn a_probe_reaches_a_pod_that_is_ready_and_is_no_demand() {
    let site = Site::open().await;
    site.ready(&[Pod::greeting().await.address]);
    greeted(&site, "GET / HTTP/1.1\r\nuser-agent: kube-probe/1.34").await;
    assert!(site.activator.own().is_empty(), "{:?}", site.activator.own());
}

#[tokio::test]
async fn rules_of_any_size_are_taken_without_a_panic() {
    let extreme = DoorRules {
        hold_timeout: Duration::MAX,
        per_pod: 0,
        limit: Some(tidegate_core::wake::WakeLimit { count: 0, per: Duration::MAX }),
        closed: None,
        ..DoorRules::default()
    };
    let site = Site::with_rules(|rules| *rules = extreme).await;
    let mut client = sent(&site, GET).await;
    site.ready(&[Pod::greeting().await.address]);
    read_all(&mut client).await;
    assert!(asked(&site, "GET / HTTP/1.1").await.ends_with("hello"));
}
