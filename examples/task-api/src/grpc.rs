//! The task list over gRPC: `tasks.v1.Tasks/List` and the standard health check, framed by hand (no protoc, no codegen).
//!
//! A gRPC answer is an HTTP/2 one whose body is a 5-byte prefix and a protobuf message, and whose status comes in the
//! trailers (github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full as FullBody, Limited, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::Body,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
    service::Service,
};

use crate::{gate::Gate, http::REPLICA, server::PhaseWatch, tasks::TASKS};

const LONGEST_BODY: usize = 1 << 20;

/// The gRPC codes that this server answers with (github.com/grpc/grpc/blob/master/doc/statuscodes.md).
#[derive(Debug, Clone, Copy)]
enum Code {
    Ok = 0,
    ResourceExhausted = 8,
    Unimplemented = 12,
}

/// The gRPC service of one replica.
#[derive(Clone)]
pub(crate) struct TasksOverGrpc {
    replica: Arc<str>,
    gate: Arc<Gate>,
    phase: PhaseWatch,
}

impl TasksOverGrpc {
    pub(crate) fn new(replica: Arc<str>, gate: Arc<Gate>, phase: PhaseWatch) -> Self {
        Self { replica, gate, phase }
    }

    async fn answer<B: Body<Error: std::error::Error + Send + Sync + 'static>>(
        self,
        request: Request<B>,
    ) -> Response<BoxBody<Bytes, Infallible>> {
        let method = request.uri().path().to_owned();
        if Limited::new(request.into_body(), LONGEST_BODY).collect().await.is_err() {
            return self.refusal(Code::ResourceExhausted, "a message of at most 1 MiB");
        }
        match method.as_str() {
            "/tasks.v1.Tasks/List" => match self.gate.work().await {
                Ok(()) => self.message(&list_tasks_response(&self.replica)),
                Err(crate::gate::Full) => self.refusal(Code::ResourceExhausted, "the queue is full"),
            },
            "/grpc.health.v1.Health/Check" => {
                // HealthCheckResponse { status = 1 }: SERVING is 1, NOT_SERVING is 2.
                let mut response = BytesMut::new();
                put_varint_field(&mut response, 1, if self.phase.is_serving() { 1 } else { 2 });
                self.message(&response)
            }
            _ => self.refusal(Code::Unimplemented, "this server has tasks.v1.Tasks/List and the health check"),
        }
    }

    fn message(&self, message: &[u8]) -> Response<BoxBody<Bytes, Infallible>> {
        let mut framed = BytesMut::with_capacity(5 + message.len());
        framed.put_u8(0);
        framed.put_u32(message.len() as u32);
        framed.put_slice(message);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", (Code::Ok as u16).into());
        let body = FullBody::new(framed.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
        self.response(BodyExt::boxed(body))
    }

    /// A "trailers-only" answer: the status is in the headers, because there is no message.
    fn refusal(&self, code: Code, message: &'static str) -> Response<BoxBody<Bytes, Infallible>> {
        let mut response = self.response(BodyExt::boxed(FullBody::default()));
        response.headers_mut().insert("grpc-status", (code as u16).into());
        response.headers_mut().insert("grpc-message", HeaderValue::from_static(message));
        response
    }

    fn response(&self, body: BoxBody<Bytes, Infallible>) -> Response<BoxBody<Bytes, Infallible>> {
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if let Ok(replica) = self.replica.parse() {
            response.headers_mut().insert(REPLICA, replica);
        }
        response
    }
}

impl<B> Service<Request<B>> for TasksOverGrpc
where
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    type Response = Response<BoxBody<Bytes, Infallible>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

/// `tasks.v1.ListTasksResponse` of `proto/tasks.proto`.
fn list_tasks_response(replica: &str) -> BytesMut {
    let mut response = BytesMut::new();
    put_bytes_field(&mut response, 1, replica.as_bytes());
    for task in &TASKS {
        let mut message = BytesMut::new();
        put_varint_field(&mut message, 1, task.id);
        put_bytes_field(&mut message, 2, task.title.as_bytes());
        if task.done {
            put_varint_field(&mut message, 3, 1);
        }
        put_bytes_field(&mut response, 2, &message);
    }
    response
}

fn put_varint_field(out: &mut BytesMut, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

fn put_bytes_field(out: &mut BytesMut, field: u64, value: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, value.len() as u64);
    out.put_slice(value);
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::Empty;

    use super::*;
    use crate::server::Phases;

    async fn call(service: &TasksOverGrpc, method: &str) -> (String, Bytes) {
        let request = Request::post(method).body(Empty::<Bytes>::new()).unwrap();
        let response = service.call(request).await.unwrap();
        let in_headers = response.headers().get("grpc-status").cloned();
        let body = response.into_body().collect().await.unwrap();
        let in_trailers = body.trailers().and_then(|trailers| trailers.get("grpc-status").cloned());
        let status = in_headers.or(in_trailers).unwrap();
        (status.to_str().unwrap().to_owned(), body.to_bytes())
    }

    fn service(queue: usize) -> TasksOverGrpc {
        let gate = Arc::new(Gate::new(1, queue, Duration::from_millis(20)));
        TasksOverGrpc::new("a".into(), gate, Phases::new().watch())
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_answers_one_framed_message_and_ok_in_the_trailers() {
        let (status, body) = call(&service(1), "/tasks.v1.Tasks/List").await;
        assert_eq!(status, "0");
        let (prefix, message) = body.split_at(5);
        assert_eq!(prefix, [0, 0, 0, 0, message.len() as u8]);
        let first_task = b"\x0a\x01a\x12\x1b\x08\x01\x12\x15Annotate a Deployment\x18\x01";
        assert_eq!(&message[..first_task.len()], first_task);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_finds_the_queue_full_gets_resource_exhausted() {
        let service = service(0);
        let (first, second) =
            tokio::join!(call(&service, "/tasks.v1.Tasks/List"), call(&service, "/tasks.v1.Tasks/List"));
        assert_eq!((first.0.as_str(), second.0.as_str()), ("0", "8"));
    }

    #[tokio::test]
    async fn an_unknown_method_is_unimplemented() {
        assert_eq!(call(&service(1), "/tasks.v1.Tasks/Delete").await.0, "12");
    }

    #[tokio::test]
    async fn the_health_check_says_serving() {
        assert_eq!(
            call(&service(1), "/grpc.health.v1.Health/Check").await,
            ("0".into(), b"\0\0\0\0\x02\x08\x01"[..].into())
        );
    }

    #[test]
    fn lengths_above_127_take_two_bytes() {
        let mut out = BytesMut::new();
        put_varint(&mut out, 300);
        assert_eq!(&out[..], [0xac, 0x02]);
    }
}
