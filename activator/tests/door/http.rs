//! Holding HTTP requests: when they count, when they are let go, and what happens when their client leaves.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tidegate_activator::Door;
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::Semaphore, time::timeout};

use crate::{
    clients::{asked, call, collected, http2, is_silent, read_all, read_until, sent},
    site::{DEADLINE, Pod, Site, free_port, text, until, workload},
};

const GET: &str = "GET /a?b=c HTTP/1.1\r\nhost: shop.example\r\n\r\n";

#[tokio::test]
async fn a_request_waits_for_a_pod_and_gets_its_answer() {
    let site = Site::open().await;
    let mut client = sent(&site, GET).await;
    site.until_requests(1).await;
    assert!(site.held().awake && site.held().arrivals_per_second > 0.0);
    assert!(is_silent(&mut client).await);
    site.ready(&[Pod::greeting().await.address]);
    let answer = read_all(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"), "{answer}");
    site.until_requests(0).await;
}

#[tokio::test]
async fn a_pod_that_is_ready_gets_a_request_at_once() {
    let site = Site::open().await;
    site.ready(&[Pod::greeting().await.address]);
    assert!(asked(&site, "GET / HTTP/1.1").await.ends_with("hello"));
}

#[tokio::test]
async fn a_connection_without_a_request_is_no_demand_and_the_first_request_on_it_is_news() {
    let site = Site::open().await;
    let mut news = site.activator.news();
    let mut client = sent(&site, "GET /a HTTP/1.1\r\nhost: a").await;
    assert!(is_silent(&mut client).await);
    assert!(site.activator.own().is_empty() && !news.has_changed().unwrap());
    client.write_all(b"\r\n\r\n").await.unwrap();
    timeout(DEADLINE, news.changed()).await.unwrap().unwrap();
    assert_eq!(site.activator.own()[&workload()].requests, 1);
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back_whether_it_sent_a_body_or_not() {
    let site = Site::open().await;
    // More than a socket buffers, so that it cannot all have been read.
    let body = "x".repeat(100_000);
    for request in [GET.to_owned(), format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n{body}")] {
        let client = sent(&site, request).await;
        site.until_requests(1).await;
        drop(client);
        site.until_requests(0).await;
        assert!(site.held().awake, "it was awake a moment ago");
    }
}

#[tokio::test]
async fn an_http_2_stream_that_is_reset_gives_its_place_back_and_the_others_stay() {
    let site = Site::open().await;
    let mut client = http2(&site).await;
    let stays = tokio::spawn(client.send_request(call("/a", "")));
    let leaves = tokio::spawn(client.send_request(call("/b", "")));
    site.until_requests(2).await;
    leaves.abort();
    site.until_requests(1).await;
    site.ready(&[Pod::greeting().await.address]);
    assert_eq!(stays.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_stays_with_the_client_until_there_is_a_pod() {
    const SIZE: usize = 32 << 20;
    let site = Site::open().await;
    let mut client = sent(&site, format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {SIZE}\r\n\r\n")).await;
    site.until_requests(1).await;
    let (mut read, mut write) = client.split();
    let body = vec![b'x'; SIZE];
    let mut writing = Box::pin(write.write_all(&body));
    assert!(timeout(Duration::from_millis(200), &mut writing).await.is_err(), "32 MiB were taken in");
    let counts = Pod::start(|request| async {
        let length = request.into_body().collect().await.unwrap().to_bytes().len();
        Response::new(text(length.to_string()))
    });
    site.ready(&[counts.await.address]);
    timeout(DEADLINE, writing).await.unwrap().unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, tokio::io::AsyncReadExt::read_to_string(&mut read, &mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with(&SIZE.to_string()), "{answer}");
}

#[tokio::test]
async fn a_client_that_asks_to_continue_is_told_so_when_there_is_a_pod() {
    let site = Site::open().await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    let mut client = sent(&site, head).await;
    site.until_requests(1).await;
    assert!(is_silent(&mut client).await);
    let echo = Pod::start(|request| async {
        assert!(!request.headers().contains_key("expect"));
        Response::new(request.into_body().boxed())
    });
    site.ready(&[echo.await.address]);
    read_until(&mut client, "HTTP/1.1 100 Continue\r\n\r\n").await;
    client.write_all(b"ok").await.unwrap();
    assert!(read_all(&mut client).await.ends_with("ok"));
}

#[tokio::test]
async fn requests_are_let_go_in_order_and_no_pod_gets_more_than_its_share() {
    let site = Site::with_rules(|rules| rules.per_pod = 2).await;
    let (order, gate) = (Arc::new(parking_lot::Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
    let mut clients = Vec::new();
    for number in 0..6 {
        clients.push(sent(&site, format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n")).await);
        site.until_requests(number + 1).await;
    }
    let (seen, open) = (Arc::clone(&order), Arc::clone(&gate));
    let pod = Pod::start(move |request| {
        let (seen, open) = (Arc::clone(&seen), Arc::clone(&open));
        async move {
            seen.lock().push(request.uri().path().to_owned());
            open.acquire().await.unwrap().forget();
            Response::new(text("done"))
        }
    });
    let pod = pod.await;
    site.ready(&[pod.address]);
    for round in 1..=3 {
        until("two requests are at the pod", || order.lock().len() == 2 * round).await;
        gate.add_permits(2);
    }
    for client in &mut clients {
        assert!(read_all(client).await.ends_with("done"));
    }
    assert_eq!(pod.most_at_a_time(), 2);
    let mut order = order.lock().clone();
    // The two of a round start together.
    order.chunks_mut(2).for_each(<[String]>::sort);
    assert_eq!(order, ["/0", "/1", "/2", "/3", "/4", "/5"]);
}

#[tokio::test]
async fn a_pod_that_is_ready_too_early_is_tried_again_until_it_accepts_connections() {
    let site = Site::open().await;
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    site.ready(&[address]);
    let mut client = sent(&site, GET).await;
    site.until_requests(1).await;
    assert!(is_silent(&mut client).await);
    let _pod = Pod::serve(TcpListener::bind(address).await.unwrap(), |_| async { Response::new(text("hello")) });
    assert!(read_all(&mut client).await.ends_with("hello"));
}

#[tokio::test]
async fn a_pod_that_refuses_connections_does_not_keep_requests_from_another_that_takes_them() {
    let site = Site::open().await;
    let refuses = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    site.ready(&[refuses, Pod::greeting().await.address]);
    for _ in 0..5 {
        assert!(asked(&site, "GET / HTTP/1.1").await.ends_with("hello"));
    }
}

#[tokio::test]
async fn a_request_without_a_body_is_repeated_when_the_pod_closes_the_connection_and_a_post_is_answered_502() {
    let site = Site::open().await;
    let breaks = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = breaks.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = breaks.accept().await {
            read_until(&mut stream, "\r\n\r\n").await;
        }
    });
    let pod = Pod::greeting().await;
    site.ready(&[address, pod.address]);
    assert!(asked(&site, "GET / HTTP/1.1").await.ends_with("hello"));
    site.ready(&[address]);
    let refused = asked(&site, "POST / HTTP/1.1\r\ncontent-length: 0").await;
    assert!(refused.starts_with("HTTP/1.1 502"), "{refused}");
    let mut grpc = http2(&site).await;
    let answer = grpc.send_request(call("/a", "")).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &"14".parse().unwrap()));
}

#[tokio::test]
async fn a_door_that_goes_takes_no_more_and_the_requests_it_holds_go_to_the_pods_of_its_successor() {
    let site = Site::open().await;
    let mut client = sent(&site, GET).await;
    let mut idle = sent(&site, "").await;
    site.until_requests(1).await;
    let door = site.doors.borrow().values().next().cloned().unwrap();
    site.doors.send_replace(Arc::default());
    until("the door is closed", || site.activator.listening().is_empty()).await;
    assert_eq!(read_all(&mut idle).await, "");
    until("nobody listens", || std::net::TcpStream::connect(site.address).is_err()).await;
    assert_eq!(site.held().requests, 1);
    // It comes back, at another port.
    let pod = Pod::greeting().await;
    let door = Door { backends: Arc::new([pod.address]), ..door };
    site.doors.send_replace(Arc::new([(free_port().await, door)].into()));
    assert!(read_all(&mut client).await.ends_with("hello"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_opened_once_it_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let site = Site::open().await;
    let door = site.doors.borrow().values().next().cloned().unwrap();
    site.doors.send_modify(|doors| _ = Arc::make_mut(doors).insert(port, door));
    until("the port fails", || site.activator.failing().len() == 1).await;
    let (failing, error) = site.activator.failing().remove(0);
    assert_eq!(failing, port);
    assert!(error.contains("Service shop/task-api") && error.contains("in use"), "{error}");
    drop(taken);
    until("the port is open", || site.activator.listening().contains(&port)).await;
    assert!(site.activator.failing().is_empty());
}

#[tokio::test]
async fn headers_that_are_too_large_are_answered_431() {
    let site = Site::open().await;
    let large = "x".repeat(70_000);
    let answer = asked(&site, &format!("GET / HTTP/1.1\r\nx-large: {large}")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut client = http2::<Full<Bytes>>(&site).await;
    let mut request = Request::new(Full::default());
    *request.uri_mut() = "http://a/".parse().unwrap();
    request.headers_mut().insert("x-large", large.parse().unwrap());
    assert_eq!(client.send_request(request).await.unwrap().status(), 431);
    assert_eq!(site.held().requests, 0);
}

#[tokio::test]
async fn a_client_is_asked_to_come_by_a_new_connection_once_there_is_a_pod() {
    let site = Site::open().await;
    site.ready(&[Pod::greeting().await.address]);
    let mut kept = sent(&site, GET).await;
    assert!(read_all(&mut kept).await.to_lowercase().contains("connection: close"));
    let mut http2 = http2::<Empty<Bytes>>(&site).await;
    let answer = http2.send_request(call("/a", "")).await.unwrap();
    assert_eq!(collected(answer).await.0, "hello");
    until("the connection is closed", || http2.is_closed()).await;
}
