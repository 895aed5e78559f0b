//! Bodies: those of the activator's own answers, and those that are passed on.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Frame, Incoming, SizeHint};

/// The body of a request to a pod, or of an answer to a client.
#[derive(Debug)]
pub(crate) enum Body<Hold = ()> {
    /// Of the activator's own: one piece and trailers, each sent if it is there
    Own(Option<Bytes>, Option<HeaderMap>),
    /// Passed on as it comes. What it holds is let go when it has been sent, or is dropped.
    PassedOn(Incoming, Hold),
}

impl<Hold> Body<Hold> {
    pub(crate) fn empty() -> Self {
        Self::Own(None, None)
    }

    pub(crate) fn text(text: String) -> Self {
        Self::Own(Some(text.into()), None)
    }
}

impl<Hold: Unpin> hyper::body::Body for Body<Hold> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Own(data, trailers) => {
                let data = data.take().map(Frame::data);
                Poll::Ready(data.or_else(|| trailers.take().map(Frame::trailers)).map(Ok))
            }
            Self::PassedOn(incoming, _) => {
                let frame = ready!(Pin::new(incoming).poll_frame(cx));
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(data, trailers) => data.is_none() && trailers.is_none(),
            Self::PassedOn(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(data, _) => SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64)),
            Self::PassedOn(incoming, _) => incoming.size_hint(),
        }
    }
}
