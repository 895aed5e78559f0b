//! The task list over HTTP: `/healthz` reports whether this replica is ready, every other path answers with the list.
//!
//! A request that wants an upgrade, as a WebSocket's does, gets it, and then its own bytes back.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full as FullBody, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Body,
    header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, UPGRADE},
    service::Service,
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::{gate::Gate, server::PhaseWatch, tasks::TASKS};

/// The header that names the replica that answered.
pub(crate) const REPLICA: HeaderName = HeaderName::from_static("x-replica");
/// Largest body of a request. It is read and discarded, so that the connection can be used again.
const LONGEST_BODY: usize = 1 << 20;

/// The HTTP service of one replica.
#[derive(Clone)]
pub(crate) struct TasksOverHttp {
    replica: Arc<str>,
    gate: Arc<Gate>,
    phase: PhaseWatch,
}

impl TasksOverHttp {
    pub(crate) fn new(replica: Arc<str>, gate: Arc<Gate>, phase: PhaseWatch) -> Self {
        Self { replica, gate, phase }
    }

    async fn answer<B: Body<Error: std::error::Error + Send + Sync + 'static>>(
        self,
        request: Request<B>,
    ) -> Response<FullBody<Bytes>> {
        if request.uri().path() == "/healthz" {
            return if self.phase.is_serving() {
                self.response(StatusCode::OK, &json!({ "status": "ok" }))
            } else {
                self.response(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "leaving" }))
            };
        }
        if let Some(protocol) = request.headers().get(UPGRADE).cloned() {
            tokio::spawn(echo(hyper::upgrade::on(request), self.phase.clone()));
            return switched_to(protocol);
        }
        if Limited::new(request.into_body(), LONGEST_BODY).collect().await.is_err() {
            return self.response(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "error": "a body of at most 1 MiB" }));
        }
        match self.gate.work().await {
            Ok(()) => self.response(StatusCode::OK, &self.tasks()),
            Err(crate::gate::Full) => {
                self.response(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": "the queue is full" }))
            }
        }
    }

    fn tasks(&self) -> Value {
        let tasks = TASKS.map(|task| json!({ "id": task.id, "title": task.title, "done": task.done }));
        json!({ "replica": &*self.replica, "tasks": tasks })
    }

    fn response(&self, status: StatusCode, body: &Value) -> Response<FullBody<Bytes>> {
        let mut response = Response::new(FullBody::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(replica) = self.replica.parse() {
            headers.insert(REPLICA, replica);
        }
        response
    }
}

fn switched_to(protocol: HeaderValue) -> Response<FullBody<Bytes>> {
    let mut response = Response::new(FullBody::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().extend([(UPGRADE, protocol), (CONNECTION, HeaderValue::from_static("upgrade"))]);
    response
}

/// Echoes until the client leaves or draining begins.
async fn echo(upgrade: OnUpgrade, mut phase: PhaseWatch) {
    // A client that disconnects is no error of ours.
    let Ok(upgraded) = upgrade.await else { return };
    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
    tokio::select! {
        _ = tokio::io::copy(&mut reader, &mut writer) => {}
        () = phase.draining() => {}
    }
}

impl<B> Service<Request<B>> for TasksOverHttp
where
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    type Response = Response<FullBody<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::Empty;

    use super::*;
    use crate::server::{Phase, Phases};

    async fn get(service: &TasksOverHttp, path: &str) -> (StatusCode, Value, Option<String>) {
        let request = Request::get(path).body(Empty::<Bytes>::new()).unwrap();
        let response = service.call(request).await.unwrap();
        let replica = response.headers().get(REPLICA).map(|name| name.to_str().unwrap().to_owned());
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap(), replica)
    }

    fn service(queue: usize, phases: &Phases) -> TasksOverHttp {
        let gate = Arc::new(Gate::new(1, queue, Duration::from_millis(20)));
        TasksOverHttp::new("task-api-1".into(), gate, phases.watch())
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_names_the_replica_in_header_and_body() {
        let (status, body, replica) = get(&service(1, &Phases::new()), "/tasks").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(replica.as_deref(), Some("task-api-1"));
        assert_eq!(body["replica"], "task-api-1");
        assert_eq!(body["tasks"][0]["title"], "Annotate a Deployment");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_finds_the_queue_full_gets_a_503() {
        let service = service(0, &Phases::new());
        let (first, second) = tokio::join!(get(&service, "/"), get(&service, "/"));
        assert_eq!((first.0, second.0), (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_leaves_is_not_ready_but_still_serves() {
        let phases = Phases::new();
        let service = service(1, &phases);
        assert_eq!(get(&service, "/healthz").await.0, StatusCode::OK);
        phases.enter(Phase::Leaving);
        assert_eq!(get(&service, "/healthz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(get(&service, "/tasks").await.0, StatusCode::OK);
    }
}
