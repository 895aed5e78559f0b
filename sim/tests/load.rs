//! The load generator against real sockets.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tidegate_sim::load::{Load, LoadLimits, LoadSpec, Profile, Traffic};
use tokio::net::TcpListener;

/// Serves each request with `answer`, which is given the request and its number.
async fn serve<A>(answer: A) -> SocketAddr
where
    A: Fn(&Request<Incoming>, usize) -> Response<Full<Bytes>> + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::new((answer, AtomicUsize::new(0)));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let shared = Arc::clone(&shared);
            let service = service_fn(move |request| {
                let response = (shared.0)(&request, shared.1.fetch_add(1, Ordering::SeqCst));
                async move { Ok::<_, Infallible>(response) }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { builder.serve_connection(TokioIo::new(stream), service).await.map_err(drop) });
        }
    });
    address
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// 100 requests within half a second.
fn hundred() -> Profile {
    Profile::starting_at(200.0).hold(Duration::from_millis(500))
}

fn http() -> Traffic {
    Traffic::http("tasks.example.com", "/tasks?done=false").unwrap()
}

#[tokio::test]
async fn requests_are_paced_and_counted_by_outcome() {
    let address = serve(|_, number| match number % 10 {
        0 => status(StatusCode::SERVICE_UNAVAILABLE),
        1 => status(StatusCode::NOT_FOUND),
        _ => status(StatusCode::OK),
    })
    .await;
    let start = Instant::now();
    let result = Load::start(LoadSpec::new(http(), hundred()), vec![address]).finished().await;
    assert!(start.elapsed() >= Duration::from_millis(490), "the last request is not due before");
    let counts = result.counts;
    assert_eq!((counts.ok, counts.unavailable, counts.other, counts.errors, counts.skipped), (80, 10, 10, 0, 0));
    assert_eq!(result.latencies.count(), 100);
    assert_eq!(result.in_flight, 0);
}

#[tokio::test]
async fn requests_carry_the_host_and_path_they_were_given() {
    let address = serve(|request, _| {
        let host = request.headers().get("host").map(hyper::header::HeaderValue::as_bytes);
        let as_given = host == Some(b"tasks.example.com") && request.uri() == "/tasks?done=false";
        status(if as_given { StatusCode::OK } else { StatusCode::NOT_FOUND })
    })
    .await;
    let result = Load::start(LoadSpec::new(http(), hundred()), vec![address]).finished().await;
    assert_eq!(result.counts.ok, 100);
}

#[tokio::test]
async fn a_grpc_status_counts_wherever_it_stands() {
    let address = serve(|request, number| {
        let mut response = status(StatusCode::OK);
        let as_given = request.uri() == "http://tasks.example.com/tasks.v1.Tasks/List";
        let code = if as_given { ["0", "8", "14", "12"][number % 4] } else { "3" };
        response.headers_mut().insert("grpc-status", code.parse().unwrap());
        response
    })
    .await;
    let traffic = Traffic::grpc("tasks.example.com", "/tasks.v1.Tasks/List").unwrap();
    let counts = Load::start(LoadSpec::new(traffic, hundred()), vec![address]).finished().await.counts;
    assert_eq!((counts.ok, counts.unavailable, counts.other), (25, 50, 25));
}

#[tokio::test]
async fn requests_go_to_all_addresses_in_turn() {
    let first = serve(|_, _| status(StatusCode::OK)).await;
    let second = serve(|_, _| status(StatusCode::SERVICE_UNAVAILABLE)).await;
    let counts = Load::start(LoadSpec::new(http(), hundred()), vec![first, second]).finished().await.counts;
    assert_eq!((counts.ok, counts.unavailable), (50, 50));
}

/// A server that accepts and never answers.
async fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn no_more_than_the_limit_is_in_flight_and_the_rest_is_skipped() {
    let (_listener, address) = silent().await;
    let limits = LoadLimits { max_in_flight: 10, timeout: Duration::from_secs(5) };
    let load = Load::start(LoadSpec { limits, ..LoadSpec::new(http(), hundred()) }, vec![address]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while load.snapshot().counts.skipped < 90 {
        assert!(Instant::now() < deadline, "{:?}", load.snapshot().counts);
        tokio::task::yield_now().await;
    }
    assert_eq!(load.snapshot().in_flight, 10);
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_an_error() {
    let (_listener, address) = silent().await;
    let limits = LoadLimits { timeout: Duration::from_millis(50), ..LoadLimits::default() };
    let spec = LoadSpec { limits, ..LoadSpec::new(http(), hundred()) };
    let result = Load::start(spec, vec![address]).finished().await;
    assert_eq!(result.counts.errors, 100);
    assert_eq!(result.latencies.count(), 0, "what was not answered has no latency");
}

#[tokio::test]
async fn a_load_that_is_stopped_ends_after_its_last_answer() {
    let address = serve(|_, _| status(StatusCode::OK)).await;
    let endless = Profile::starting_at(100.0).hold(Duration::from_secs(3600));
    let load = Load::start(LoadSpec::new(http(), endless), vec![address]);
    while load.snapshot().counts.ok == 0 {
        tokio::task::yield_now().await;
    }
    load.stop();
    let result = load.finished().await;
    assert_eq!(result.counts.ok, result.counts.total());
}

#[tokio::test]
async fn a_load_without_addresses_fails_until_it_gets_some() {
    let address = serve(|_, _| status(StatusCode::OK)).await;
    let load = Load::start(LoadSpec::new(http(), hundred()), vec![]);
    while load.snapshot().counts.errors < 10 {
        tokio::task::yield_now().await;
    }
    load.send_to(vec![address]);
    let counts = load.finished().await.counts;
    assert_eq!(counts.ok + counts.errors, 100);
    assert!(counts.ok > 50, "{counts:?}");
}

#[tokio::test]
async fn as_many_connections_are_open_as_the_profile_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await.map_err(drop)
            });
        }
    });
    let hour = Duration::from_secs(3600);
    let profile = Profile::starting_at(20.0).hold(Duration::from_millis(400)).step_to(5.0).hold(hour);
    let load = Load::start(LoadSpec::new(Traffic::tcp(), profile), vec![address]);
    for wanted in [20, 5] {
        let deadline = Instant::now() + Duration::from_secs(10);
        while load.snapshot().in_flight != wanted {
            assert!(Instant::now() < deadline, "{wanted} wanted, {} open", load.snapshot().in_flight);
            tokio::task::yield_now().await;
        }
    }
    load.stop();
    let result = load.finished().await;
    assert_eq!((result.counts.ok, result.counts.errors, result.in_flight), (20, 0, 0));
}

#[test]
fn a_path_that_is_no_path_is_refused() {
    let error = Traffic::http("tasks.example.com", "a path").unwrap_err();
    assert!(error.to_string().contains("wants a host such as"), "{error}");
}
