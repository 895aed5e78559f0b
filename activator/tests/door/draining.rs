//! The end of an activator: what it holds is finished, and new requests are served until then.

use std::sync::Arc;

use http::Response;
use http_body_util::Empty;
use tidegate_activator::DRAIN;
use tokio::{
    io::AsyncReadExt,
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::{
    clients::{asked, call, http2, read_all, sent},
    site::{DEADLINE, Pod, Site, text, until},
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn with_nothing_in_hand_it_ends_at_once() {
    let site = Site::open().await;
    let _idle = sent(&site, "").await;
    site.stop.cancel();
    timeout(DEADLINE, site.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_held_is_finished_first_and_the_door_stays_open_until_then() {
    let site = Site::open().await;
    let mut held = sent(&site, GET).await;
    site.until_requests(1).await;
    site.stop.cancel();
    let mut late = sent(&site, GET).await;
    site.until_requests(2).await;
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let pod = Pod::start(move |_| {
        let gate = Arc::clone(&opened);
        async move {
            gate.acquire().await.unwrap().forget();
            Response::new(text("hello"))
        }
    });
    let pod = pod.await;
    site.ready(&[pod.address]);
    until("both are at the pod", || pod.seen() == 2).await;
    assert!(!site.running.is_finished());
    gate.add_permits(2);
    for client in [&mut held, &mut late] {
        let answer = read_all(client).await;
        assert!(answer.to_lowercase().contains("connection: close") && answer.ends_with("hello"), "{answer}");
    }
    timeout(DEADLINE, site.running).await.unwrap().unwrap();
    assert!(std::net::TcpStream::connect(site.address).is_err());
}

#[tokio::test]
async fn an_answer_of_its_own_asks_the_client_to_go_elsewhere_too() {
    let site = Site::open().await;
    let _held = sent(&site, GET).await;
    site.until_requests(1).await;
    let mut http2 = http2::<Empty<bytes::Bytes>>(&site).await;
    http2.send_request(call("/grpc.health.v1.Health/Check", "Envoy/HC")).await.unwrap();
    site.stop.cancel();
    until("the connection is closed", || http2.is_closed()).await;
    let answer = asked(&site, "GET / HTTP/1.1\r\nuser-agent: Envoy/HC").await;
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
}

/// The clock stands still unless everything waits, so that 25 s take no time.
#[tokio::test(start_paused = true)]
async fn what_still_waits_at_the_end_of_the_drain_is_told_to_come_again() {
    let site = Site::with_rules(|rules| rules.hold_timeout = 2 * DRAIN).await;
    let mut held = sent(&site, GET).await;
    site.until_requests(1).await;
    let start = Instant::now();
    site.stop.cancel();
    let mut answer = String::new();
    held.read_to_string(&mut answer).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), DRAIN.as_secs());
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1\r\n"), "{answer}");
    site.running.await.unwrap();
}
