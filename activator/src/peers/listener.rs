//! The side that takes in the reports of other pods.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{HELD, HeardPeaks, PEAKS, Peers};

/// Largest report in bytes: that of 20,000 workloads.
const LARGEST: usize = 8 << 20;
/// Timeout for reading a report.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// Time after which a connection without a report is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Most connections.
const MOST_CONNECTIONS: usize = 128;
/// Pause after a failed accept: with an error such as "too many open files", an immediate retry is useless.
const AFTER_ERROR: Duration = Duration::from_millis(100);

impl Peers {
    /// Takes in reports forever, of the other pods only: they are known by their addresses.
    pub(super) async fn listen(
        self: &Arc<Self>,
        listener: TcpListener,
        peers: watch::Receiver<Arc<[SocketAddr]>>,
        heard_peaks: HeardPeaks,
    ) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, caller)) => {
                    let caller = caller.ip().to_canonical();
                    let is_peer = peers.borrow().iter().any(|peer| peer.ip().to_canonical() == caller);
                    if is_peer && connections.len() < MOST_CONNECTIONS {
                        connections.spawn(Arc::clone(self).serve(stream, Arc::clone(&heard_peaks)));
                    } else {
                        self.shared.metrics.peer_report("refused");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of another pod");
                    sleep(AFTER_ERROR).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, heard_peaks: HeardPeaks) {
        let service = service_fn(|request| self.answer(request, &heard_peaks));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), service);
        // An error is the caller's, who makes a new connection for the next report.
        let _ = connection.await;
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        heard_peaks: &HeardPeaks,
    ) -> Result<Response<Empty<Bytes>>, Infallible> {
        let accepted = match (request.method(), request.uri().path()) {
            (&Method::POST, HELD) => Some(read(request).await.is_some_and(|report| self.hear(report))),
            (&Method::POST, PEAKS) => Some(read(request).await.map(|peaks| heard_peaks(peaks)).is_some()),
            _ => None,
        };
        let mut answer = Response::new(Empty::new());
        *answer.status_mut() = match accepted {
            Some(true) => StatusCode::NO_CONTENT,
            Some(false) => StatusCode::BAD_REQUEST,
            None => StatusCode::NOT_FOUND,
        };
        Ok(answer)
    }
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Option<T> {
    let body = timeout(READ_WITHIN, Limited::new(request.into_body(), LARGEST).collect()).await.ok()?.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}
