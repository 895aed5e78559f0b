//! The body of an OTLP call, against the real server: it answers each call, whatever was in it.
#![no_main]

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use libfuzzer_sys::fuzz_target;
use tidegate_core::plan::Plan;
use tidegate_scaler::{
    sources::otlp::{OtlpSettings, serve},
    store::SignalStore,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
};
use tokio_util::sync::CancellationToken;

static SERVER: LazyLock<(Runtime, Mutex<SendRequest<Full<Bytes>>>)> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let sender = runtime.block_on(start()).expect("a server on loopback");
    (runtime, Mutex::new(sender))
});

async fn start() -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let (_keep, plan) = watch::channel(Some(Arc::new(Plan::default())));
        let settings = OtlpSettings { clusters: true, tokens: true, peers: None };
        let signals = Arc::new(SignalStore::new(Duration::from_secs(300)));
        serve(listener, settings, signals, plan, CancellationToken::new()).await
    });
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(TcpStream::connect(address).await?)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fuzz_target!(|message: &[u8]| {
    let (runtime, sender) = &*SERVER;
    let mut sender = sender.lock().expect("one call at a time");
    // A message of gRPC: not compressed, and its length.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let body = Full::new(Bytes::from([&[0], &length[..], message].concat()));
    let uri = "http://otlp/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    let request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers").body(body);
    let answer = runtime.block_on(async {
        sender.ready().await.expect("the connection stays");
        let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
        let head = answer.headers().get("grpc-status").cloned();
        let trailers = answer.into_body().collect().await.expect("a whole answer").trailers().cloned();
        trailers.and_then(|trailers| trailers.get("grpc-status").cloned()).or(head)
    });
    assert!(answer.is_some(), "an answer without a status");
});
