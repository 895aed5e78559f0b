//! Incoming connections: in plain text or over TLS, and limited in number.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::stream::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::tls::Certificates;
use crate::places::{Place, Places};

/// Most connections in total. KEDA makes one per TLS setting of its users, so it cannot be KEDA that makes more than this.
const MOST: usize = 1000;
/// Most connections of one peer, by the same reasoning.
const MOST_OF_PEER: usize = 100;
/// Time for the TLS handshake, and again for the start of HTTP/2: a client that connects and sends nothing is disconnected.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes of HTTP/2's preface and of the header of the SETTINGS frame that follows it (RFC 9113, 3.4): before these, nothing else
/// limits how long a client may take.
const PREFACE: usize = 24 + 9;
/// Connections that may wait for the server to take them.
const BACKLOG: usize = 64;
/// Pause after a failed accept: with an error such as "too many open files", an immediate retry is useless.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Accepts connections in plain text, for servers other than KEDA's external scaler.
pub(crate) fn accept_plain(listener: TcpListener) -> impl Stream<Item = io::Result<Connection>> {
    accept(listener, None)
}

/// Accepts connections until the stream is dropped. Handshakes run concurrently: a slow one does not delay others.
pub(super) fn accept(
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
) -> impl Stream<Item = io::Result<Connection>> {
    let (done, connections) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        let places = Places::new(MOST, MOST_OF_PEER);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = done.closed() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Without a place it is closed at once: in a queue, it would depend on the others' goodwill.
                    let Some(place) = places.take(peer.ip()) else { continue };
                    let handshake = shake_hands(stream, peer, certificates.clone(), place);
                    let done = done.clone();
                    tokio::spawn(async move {
                        if let Some(connection) = handshake.await {
                            // An error means that the server is gone, and the connection goes with it.
                            let _ = done.send(Ok(connection)).await;
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(AFTER_ERROR).await;
                }
            }
        }
    });
    ReceiverStream::new(connections)
}

async fn shake_hands(
    stream: TcpStream,
    peer: SocketAddr,
    certificates: Option<Arc<Certificates>>,
    place: Place,
) -> Option<Connection> {
    // Answers are small and the client waits for each: the kernel must not hold them back to send several at once. An error
    // means that the peer is gone, which the first read reports.
    let _ = stream.set_nodelay(true);
    let Some(certificates) = certificates else {
        return Some(Connection::new(Io::Plain(stream), peer, place));
    };
    let acceptor = TlsAcceptor::from(certificates.current());
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return Some(Connection::new(Io::Tls(Box::new(stream)), peer, place)),
        Ok(Err(error)) => tracing::info!(%peer, %error, "TLS handshake failed"),
        Err(_) => tracing::info!(%peer, "no TLS handshake within {HANDSHAKE:?}"),
    }
    None
}

/// One connection; it keeps its place until it is dropped.
pub(crate) struct Connection {
    io: Io,
    peer: SocketAddr,
    /// Deadline for the preface; `None` once it has arrived
    begins_by: Option<Pin<Box<Sleep>>>,
    read: usize,
    _place: Place,
}

impl Connection {
    fn new(io: Io, peer: SocketAddr, place: Place) -> Self {
        Self { io, peer, begins_by: Some(Box::pin(sleep(HANDSHAKE))), read: 0, _place: place }
    }

    /// Whether the peer has missed the deadline for the preface, from which on the server can limit it.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        if self.read >= PREFACE {
            self.begins_by = None;
        }
        self.begins_by.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready())
    }
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        let local = match &self.io {
            Io::Plain(stream) => stream.local_addr(),
            Io::Tls(stream) => stream.get_ref().0.local_addr(),
        };
        TcpConnectInfo { local_addr: local.ok(), remote_addr: Some(self.peer) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_overdue(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        self.read = self.read.saturating_add(buf.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
