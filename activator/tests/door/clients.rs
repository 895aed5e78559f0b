//! Clients: raw HTTP/1, and HTTP/2 by hyper.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::site::{DEADLINE, Site};

/// Sends bytes on a new connection, which stays open.
pub(crate) async fn sent(site: &Site, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = site.connect().await;
    stream.write_all(bytes.as_ref()).await.unwrap();
    stream
}

/// Reads until this text has arrived.
pub(crate) async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&read).contains(wanted) {
            let mut more = [0; 4096];
            match stream.read(&mut more).await {
                Ok(0) | Err(_) => break,
                Ok(length) => read.extend_from_slice(&more[..length]),
            }
        }
    };
    let _ = timeout(DEADLINE, reading).await;
    let read = String::from_utf8_lossy(&read).into_owned();
    assert!(read.contains(wanted), "{wanted:?} is not in {read:?}");
    read
}

/// Reads until the other side closes the connection.
pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    // A reset ends a connection, too.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut read)).await.expect("the connection is not closed");
    String::from_utf8_lossy(&read).into_owned()
}

/// The whole answer to a request that asks for the connection to be closed.
pub(crate) async fn asked(site: &Site, head: &str) -> String {
    let mut stream = sent(site, format!("{head}\r\nhost: shop.example\r\nconnection: close\r\n\r\n")).await;
    read_all(&mut stream).await
}

/// Asks until a pod greets: a change of the doors is seen a moment after it was made.
pub(crate) async fn greeted(site: &Site, head: &str) {
    let start = Instant::now();
    while !asked(site, head).await.ends_with("hello") {
        assert!(start.elapsed() < DEADLINE, "no pod answers");
    }
}

/// Whether nothing arrives for a moment.
pub(crate) async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(Duration::from_millis(50), stream.read(&mut [0; 1])).await.is_err()
}

/// An HTTP/2 client.
pub(crate) async fn http2<B>(site: &Site) -> SendRequest<B>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(site.connect().await)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A gRPC call without a message.
pub(crate) fn call(path: &str, user_agent: &str) -> Request<Empty<Bytes>> {
    Request::post(format!("http://shop.example{path}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .header("user-agent", user_agent)
        .body(Empty::new())
        .unwrap()
}

/// The body and trailers of an answer.
pub(crate) async fn collected(answer: Response<Incoming>) -> (Bytes, http::HeaderMap) {
    let body = timeout(DEADLINE, answer.into_body().collect()).await.unwrap().unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    (body.to_bytes(), trailers)
}
