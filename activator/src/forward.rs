//! One request to a pod, over a connection of its own.
//!
//! Not over one that is kept alive: a pod may close that at any time, and a request that is on its way then is lost.

use http::{Request, Response, Uri, Version, header::HOST, uri::Parts};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use crate::body::Body;

/// The connection of an answer that is under way. It ends when it is dropped.
pub(crate) type Connection = AbortOnDropHandle<()>;

/// A request that has no answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    /// The request, if nothing of it was sent
    pub(crate) request: Option<Request<Body>>,
    /// The cause
    pub(crate) error: hyper::Error,
}

/// Sends a request, in the version of HTTP in which it came.
pub(crate) async fn send(
    stream: TcpStream,
    mut request: Request<Body>,
) -> Result<(Response<Incoming>, Connection), Box<Unanswered>> {
    let stream = TokioIo::new(stream);
    if request.version() == Version::HTTP_2 {
        complete_uri(&mut request);
        let (mut sender, connection) = match http2::handshake(TokioExecutor::new(), stream).await {
            Ok(made) => made,
            Err(error) => return Err(Box::new(Unanswered { request: Some(request), error })),
        };
        let connection = spawn(connection);
        let answer = sender.try_send_request(request).await;
        return answered(answer, connection);
    }
    *request.version_mut() = Version::HTTP_11;
    let handshake = http1::Builder::new().preserve_header_case(true).handshake(stream).await;
    let (mut sender, connection) = match handshake {
        Ok(made) => made,
        Err(error) => return Err(Box::new(Unanswered { request: Some(request), error })),
    };
    let connection = spawn(connection.with_upgrades());
    let answer = sender.try_send_request(request).await;
    answered(answer, connection)
}

fn spawn(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Connection {
    // Its error is also that of the request, or of the body that is being read.
    AbortOnDropHandle::new(tokio::spawn(async { drop(connection.await) }))
}

fn answered(
    answer: Result<Response<Incoming>, TrySendError<Request<Body>>>,
    connection: Connection,
) -> Result<(Response<Incoming>, Connection), Box<Unanswered>> {
    match answer {
        Ok(answer) => Ok((answer, connection)),
        Err(mut unsent) => Err(Box::new(Unanswered { request: unsent.take_message(), error: unsent.into_error() })),
    }
}

/// HTTP/2 needs a scheme and an authority; a client may have sent the latter as `host`.
fn complete_uri(request: &mut Request<Body>) {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse().ok());
    let mut parts: Parts = std::mem::take(request.uri_mut()).into_parts();
    parts.authority = parts.authority.or(host);
    parts.scheme = parts.scheme.or(Some(http::uri::Scheme::HTTP));
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}
