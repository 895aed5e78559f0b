//! The connection of a client: its bytes, and a view of it that notices when the client goes away while nothing is read.

use std::{
    io,
    net::Shutdown,
    os::fd::AsFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

/// Time after which a client that sends nothing, or does not finish the head of its request, is disconnected: Envoy's own default
/// for idle connections. A shorter one would meet the next request of a client that keeps its connection.
pub(crate) const IDLE: Duration = Duration::from_secs(3600);

/// A client's connection. The bytes that were read to recognise its protocol are read again.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Arc<TcpStream>,
    /// Bytes that were read already
    first: Bytes,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream: Arc::new(stream), first: Bytes::new() }
    }

    /// Reads more of the first bytes, up to `enough` in total. `false` if there are no more.
    pub(crate) async fn read_first(&mut self, first: &mut Vec<u8>, enough: usize) -> io::Result<bool> {
        let mut more = [0; 64];
        let wanted = enough.saturating_sub(first.len()).min(more.len());
        let read = loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut more[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => break read?,
            }
        };
        first.extend_from_slice(&more[..read]);
        Ok(read > 0)
    }

    /// Has these bytes read again, before all others.
    pub(crate) fn read_again(&mut self, first: &[u8]) {
        self.first = Bytes::copy_from_slice(first);
    }

    /// A view that notices when the client goes away.
    pub(crate) fn presence(&self) -> Presence {
        Presence(Arc::clone(&self.stream))
    }
}

impl AsyncRead for Client {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let fits = buf.remaining().min(self.first.len());
            buf.put_slice(&self.first.split_to(fits));
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read_buf(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The stream is shared, and tokio shuts down only one that is not. It is the socket that is shut down, by any descriptor.
        let socket = self.stream.as_fd().try_clone_to_owned()?;
        Poll::Ready(std::net::TcpStream::from(socket).shutdown(Shutdown::Write))
    }
}

/// A view of a client's connection that reads nothing of it.
#[derive(Debug, Clone)]
pub(crate) struct Presence(Arc<TcpStream>);

impl Presence {
    /// Returns when the client has closed the connection, or its half of it, whatever it sent before.
    ///
    /// The usual sign, a read of nothing, comes only after all that was sent has been read. But a request's body is not read
    /// while it waits. The kernel reports the closing apart (`EPOLLRDHUP`), and tokio passes that on to those that ask for
    /// urgent data, which the socket is not registered for.
    pub(crate) async fn gone(&self) {
        let _ = self.0.ready(Interest::PRIORITY).await;
    }

    /// Returns when the client has closed the connection and sent nothing that is yet to be delivered, or has reset it. A client
    /// that sent something may have closed just its half, and wait for an answer.
    pub(crate) async fn given_up(&self, has_sent: bool) {
        self.gone().await;
        if has_sent || self.0.peek(&mut [0]).await.is_ok_and(|unread| unread > 0) {
            let _ = self.0.ready(Interest::ERROR).await;
        }
    }
}
