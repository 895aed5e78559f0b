//! Connections as they come in: in plain text or over TLS, and not without end.

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
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::tls::Certificates;

/// KEDA makes one connection per TLS setting of its users. More than this is no KEDA; they wait until others go.
const MOST: usize = 1000;
/// A client that connects and says nothing is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections that wait to be taken by the server.
const BACKLOG: usize = 64;
/// After an error such as "too many open files" it is no use to try again at once.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Accepts for as long as the stream is kept. Handshakes run side by side: a slow one holds up no other.
pub(super) fn accept(
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
) -> impl Stream<Item = io::Result<Connection>> {
    let (done, connections) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(MOST));
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                next = next => next,
                () = done.closed() => return,
            };
            match (place, accepted) {
                (Ok(place), Ok((stream, peer))) => {
                    let handshake = shake_hands(stream, peer, certificates.clone(), place);
                    let done = done.clone();
                    tokio::spawn(async move {
                        if let Some(connection) = handshake.await {
                            // An error means that the server is gone, and the connection goes with it.
                            let _ = done.send(Ok(connection)).await;
                        }
                    });
                }
                (_, Err(error)) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(AFTER_ERROR).await;
                }
                (Err(_closed), _) => return,
            }
        }
    });
    ReceiverStream::new(connections)
}

async fn shake_hands(
    stream: TcpStream,
    peer: SocketAddr,
    certificates: Option<Arc<Certificates>>,
    place: OwnedSemaphorePermit,
) -> Option<Connection> {
    // Answers are small and each is waited for: the kernel must not collect them. An error means that the peer is gone,
    // which the first read tells.
    let _ = stream.set_nodelay(true);
    let Some(certificates) = certificates else {
        return Some(Connection { io: Io::Plain(stream), _place: place });
    };
    let acceptor = TlsAcceptor::from(certificates.current());
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return Some(Connection { io: Io::Tls(Box::new(stream)), _place: place }),
        Ok(Err(error)) => tracing::info!(%peer, %error, "TLS handshake failed"),
        Err(_) => tracing::info!(%peer, "no TLS handshake within {HANDSHAKE:?}"),
    }
    None
}

/// One connection; it keeps its place until it is dropped.
pub(super) struct Connection {
    io: Io,
    _place: OwnedSemaphorePermit,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
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
