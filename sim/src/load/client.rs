//! HTTP/1.1 and gRPC clients that connect to the addresses they are given, regardless of the request's host.

use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{self, HeaderValue},
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpStream, sync::watch};
use tower_service::Service;

use super::stats::Outcome;

/// A proxy limits the streams per connection (Envoy Gateway: 100), so gRPC is spread over several connections.
const GRPC_CONNECTIONS: usize = 8;
/// One empty message: not compressed, 0 bytes long.
const EMPTY_MESSAGE: Bytes = Bytes::from_static(&[0; 5]);

const GRPC_STATUS: &str = "grpc-status";

type FixedClient = Client<FixedAddress, Full<Bytes>>;

/// The protocol of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Grpc,
}

/// Clients for every address, each with its own connections.
pub(super) struct Clients {
    protocol: Protocol,
    uri: Uri,
    addresses: watch::Receiver<Vec<SocketAddr>>,
    by_address: HashMap<SocketAddr, Vec<FixedClient>>,
    turn: usize,
}

impl Clients {
    pub(super) fn new(protocol: Protocol, uri: Uri, addresses: watch::Receiver<Vec<SocketAddr>>) -> Self {
        Self { protocol, uri, addresses, by_address: HashMap::new(), turn: 0 }
    }

    /// The next request, to the next address; `None` without addresses.
    pub(super) fn next_request(&mut self) -> Option<impl Future<Output = Outcome> + Send + use<>> {
        let address = {
            let addresses = self.addresses.borrow_and_update();
            if addresses.has_changed() {
                self.by_address.retain(|address, _| addresses.contains(address));
            }
            *addresses.get(self.turn.checked_rem(addresses.len())?)?
        };
        self.turn = self.turn.wrapping_add(1);
        let protocol = self.protocol;
        let clients = self.by_address.entry(address).or_insert_with(|| protocol.clients(address));
        clients.rotate_left(1);
        let client = clients.first()?.clone();
        Some(protocol.send(client, self.uri.clone()))
    }
}

impl Protocol {
    fn clients(self, address: SocketAddr) -> Vec<FixedClient> {
        let mut builder = Client::builder(TokioExecutor::new());
        match self {
            Self::Http1 => vec![builder.build(FixedAddress(address))],
            Self::Grpc => {
                builder.http2_only(true);
                std::iter::repeat_with(|| builder.build(FixedAddress(address))).take(GRPC_CONNECTIONS).collect()
            }
        }
    }

    async fn send(self, client: FixedClient, uri: Uri) -> Outcome {
        let request = match self {
            Self::Http1 => Request::get(uri).body(Full::default()),
            Self::Grpc => Request::post(uri)
                .header(header::CONTENT_TYPE, "application/grpc")
                .header(header::TE, "trailers")
                .body(Full::new(EMPTY_MESSAGE)),
        };
        let Ok(request) = request else { return Outcome::Error };
        match client.request(request).await {
            Ok(response) => self.outcome(response).await.unwrap_or(Outcome::Error),
            Err(_) => Outcome::Error,
        }
    }

    /// Reads the whole answer: only then is its connection free again, and a gRPC status may be in the trailers.
    async fn outcome(self, response: Response<Incoming>) -> Result<Outcome, hyper::Error> {
        let status = response.status();
        let early_code = response.headers().get(GRPC_STATUS).cloned();
        let body = response.into_body().collect().await?;
        let late_code = body.trailers().and_then(|trailers| trailers.get(GRPC_STATUS).cloned());
        Ok(match (self, status) {
            (_, StatusCode::SERVICE_UNAVAILABLE) => Outcome::Unavailable,
            (Self::Http1, StatusCode::OK) => Outcome::Ok,
            (Self::Grpc, StatusCode::OK) => match early_code.or(late_code).as_ref().map(HeaderValue::as_bytes) {
                Some(b"0") => Outcome::Ok,
                // RESOURCE_EXHAUSTED and UNAVAILABLE; Envoy answers the latter when no endpoint is left.
                Some(b"8" | b"14") => Outcome::Unavailable,
                _ => Outcome::Other,
            },
            _ => Outcome::Other,
        })
    }
}

/// Connects to one address, regardless of the URI.
#[derive(Debug, Clone, Copy)]
struct FixedAddress(SocketAddr);

impl Service<Uri> for FixedAddress {
    type Response = TokioIo<TcpStream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let address = self.0;
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}
