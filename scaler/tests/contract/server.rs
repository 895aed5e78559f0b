//! Everything around the scaler on its port: health, reflection, limits, shutdown.

use std::time::Duration;

use tidegate_core::plan::Plan;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::support::{Server, cluster, in_time, later, metric, object, of_deployment, plan};

#[tokio::test]
async fn health_is_reported_for_the_server_and_the_service_until_it_drains() {
    let server = Server::start(Plan::default()).await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watches = Vec::new();
    for service in ["", "externalscaler.ExternalScaler"] {
        let request = HealthCheckRequest { service: service.into() };
        let answer = in_time(health.check(request.clone())).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
        let mut watch = in_time(health.watch(request)).await.unwrap().into_inner();
        assert_eq!(in_time(watch.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);
        watches.push(watch);
    }
    server.stop.cancel();
    for watch in &mut watches {
        assert_eq!(in_time(watch.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    }
}

#[tokio::test]
async fn an_open_health_watch_does_not_hold_up_the_end() {
    let server = Server::start(Plan::default()).await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = in_time(health.watch(HealthCheckRequest::default())).await.unwrap().into_inner();
    in_time(watch.message()).await.unwrap();
    server.stop.cancel();
    in_time(watch.message()).await.unwrap();
    assert!(!server.task.is_finished(), "calls get their time");
    later(Duration::from_secs(5)).await;
    in_time(server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_without_calls_ends_at_once() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    in_time(client.get_metric_spec(of_deployment("api"))).await.unwrap();
    server.stop.cancel();
    let start = tokio::time::Instant::now();
    in_time(server.task).await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(4), "before the drain's own end: {:?}", start.elapsed());
}

/// The names of the services that a version of the reflection API lists.
macro_rules! services_by {
    ($version:ident, $server:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let list = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new($server.channel().await);
        let answers = in_time(client.server_reflection_info(tokio_stream::once(list))).await.unwrap();
        let answer = in_time(answers.into_inner().next()).await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else {
            panic!("{answer:?}")
        };
        services.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
    }};
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_of_its_versions() {
    let server = Server::start(Plan::default()).await;
    for services in [services_by!(v1, server), services_by!(v1alpha, server)] {
        assert!(services.contains(&"externalscaler.ExternalScaler".to_owned()), "{services:?}");
    }
}

#[tokio::test]
async fn a_message_beyond_any_objects_size_is_refused_and_the_connection_goes_on() {
    let server = Server::start(plan(&["api"])).await;
    let mut client = server.client().await;
    server.measure(&[(&cluster("api"), [1.0, 0.0, 0.0])]);
    let large = object(&[("prometheusQuery", &"x".repeat(300 << 10))]);
    let refused = in_time(client.get_metric_spec(large)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    assert_eq!(metric(&mut client, &of_deployment("api"), "requests-per-second").await.unwrap(), 1.0);
}

#[tokio::test]
async fn clients_that_speak_no_http2_are_let_go_and_hold_up_nobody() {
    let server = Server::start(plan(&["api"])).await;
    server.measure(&[(&cluster("api"), [1.0, 0.0, 0.0])]);
    let mut rude = Vec::new();
    for _ in 0..20 {
        let mut stream = in_time(TcpStream::connect(server.address)).await.unwrap();
        in_time(stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).await.unwrap();
        rude.push(stream);
    }
    assert_eq!(metric(&mut server.client().await, &of_deployment("api"), "requests-per-second").await.unwrap(), 1.0);
    for stream in &mut rude {
        // The end of the stream, perhaps after a GOAWAY.
        let mut rest = Vec::new();
        let _ = in_time(stream.read_to_end(&mut rest)).await;
    }
}

#[tokio::test]
async fn there_is_an_end_to_the_connections_of_one_peer_and_those_that_are_open_go_on() {
    const MOST_OF_PEER: usize = 100;
    let server = Server::start(plan(&["api"])).await;
    server.measure(&[(&cluster("api"), [1.0, 0.0, 0.0])]);
    let mut first = server.client().await;
    metric(&mut first, &of_deployment("api"), "requests-per-second").await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..MOST_OF_PEER {
        idle.push(in_time(TcpStream::connect(server.address)).await.unwrap());
    }
    // One too many is closed at once.
    let mut rest = Vec::new();
    let _ = in_time(idle.pop().unwrap().read_to_end(&mut rest)).await;
    for _ in 0..100 {
        metric(&mut first, &of_deployment("api"), "requests-per-second").await.unwrap();
    }
    drop(idle);
    let again = async || {
        let mut client = crate::support::Client::connect(format!("http://{}", server.address)).await.ok()?;
        metric(&mut client, &of_deployment("api"), "requests-per-second").await.ok()
    };
    let answer = in_time(async {
        loop {
            if let Some(answer) = again().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(answer.await, 1.0);
}
