//! The activator's own answers, in HTTP and in gRPC.

use std::fmt::Write;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use tidegate_core::wake::{ProbeAnswer, is_health_check};

use crate::{
    body::Body,
    door::Door,
    refusal::{Refusal, whole_seconds},
};

/// gRPC's `UNAVAILABLE`: the call may be made again.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");
/// A message `HealthCheckResponse { status: SERVING }`: no compression, two bytes, field 1 of value 1.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

/// How a request wants to be refused.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    /// The content type of a gRPC call; `None` for plain HTTP
    grpc: Option<HeaderValue>,
    is_health_check: bool,
}

impl Form {
    /// The form that the client of this request understands.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let content_type = request.headers().get(CONTENT_TYPE);
        let grpc = content_type.filter(|kind| kind.as_bytes().starts_with(b"application/grpc")).cloned();
        Self { grpc, is_health_check: is_health_check(request.uri().path()) }
    }

    /// The answer that refuses a request, or satisfies a probe.
    pub(crate) fn answer<Hold>(self, refusal: &Refusal, door: &Door) -> Response<Body<Hold>> {
        let Some(content_type) = self.grpc else { return plain(refusal, door) };
        if self.is_health_check && *refusal == Refusal::Probe(ProbeAnswer::Healthy) {
            return serving(content_type);
        }
        let mut answer = Response::new(Body::empty());
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert("grpc-status", UNAVAILABLE);
        if let Ok(message) = percent_encoded(&refusal.text(door)).parse() {
            headers.insert("grpc-message", message);
        }
        answer
    }
}

fn plain<Hold>(refusal: &Refusal, door: &Door) -> Response<Body<Hold>> {
    let mut answer = Response::new(Body::text(refusal.text(door) + "\n"));
    *answer.status_mut() = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Some(retry_after) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, whole_seconds(retry_after).max(1).into());
    }
    answer
}

fn serving<Hold>(content_type: HeaderValue) -> Response<Body<Hold>> {
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let mut answer = Response::new(Body::Own(Some(Bytes::from_static(SERVING)), Some(trailers)));
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// A text as `grpc-message` has it (grpc/grpc doc/PROTOCOL-HTTP2.md): bytes other than printable ASCII, and `%`, are escaped.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'%' | ..b' ' | b'~'.. => _ = write!(encoded, "%{byte:02X}"),
            _ => encoded.push(byte.into()),
        }
        encoded
    })
}
