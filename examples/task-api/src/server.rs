//! Accepting connections, and shutting down in two steps: still accept while the proxy learns of it, then drain.

use std::{convert::Infallible, future::Future, time::Duration};

use hyper::{Request, Response, body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::tls::Certificate;

/// The phase of a replica's life. It only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Phase {
    /// Ready
    Serving,
    /// Not ready any more; new requests are still served, because proxies learn of it late
    Leaving,
    /// Nothing new is accepted, idle connections are closed, requests end
    Draining,
}

/// The sender of the phase.
pub(crate) struct Phases(watch::Sender<Phase>);

impl Phases {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.0.send_replace(phase);
    }

    pub(crate) fn watch(&self) -> PhaseWatch {
        PhaseWatch(self.0.subscribe())
    }
}

/// A receiver of the phase.
#[derive(Clone)]
pub(crate) struct PhaseWatch(watch::Receiver<Phase>);

impl PhaseWatch {
    pub(crate) fn is_serving(&self) -> bool {
        *self.0.borrow() == Phase::Serving
    }

    /// Waits until draining begins, or until the sender is gone.
    pub(crate) async fn draining(&mut self) {
        let _ = self.0.wait_for(|phase| *phase >= Phase::Draining).await;
    }
}

/// Serves HTTP/1.1 with upgrades, and h2c, until draining, then until the last request has its answer.
pub(crate) async fn serve_http<S, B>(listener: TcpListener, service: S, phase: PhaseWatch)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    accept_each(listener, phase.clone(), move |stream| serve_connection(stream, service.clone(), phase.clone())).await;
}

/// The same over TLS.
pub(crate) async fn serve_https<S, B>(listener: TcpListener, certificate: Certificate, service: S, phase: PhaseWatch)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    accept_each(listener, phase.clone(), move |stream| {
        let (certificate, service, phase) = (certificate.clone(), service.clone(), phase.clone());
        async move {
            if let Some(stream) = certificate.accept(stream).await {
                serve_connection(stream, service, phase).await;
            }
        }
    })
    .await;
}

async fn serve_connection<I, S, B>(stream: I, service: S, mut phase: PhaseWatch)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = phase.draining() => connection.as_mut().graceful_shutdown(),
    }
    // A client that disconnects is no error of ours.
    let _ = connection.await;
}

/// Runs a task per connection until draining, then waits for all of them.
pub(crate) async fn accept_each<F, T>(listener: TcpListener, mut phase: PhaseWatch, handle: F)
where
    F: Fn(TcpStream) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = phase.draining() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Answers are small: batching them (Nagle's algorithm) only adds latency.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(handle(stream));
                }
                // Out of file descriptors, most likely: they become free as connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}
