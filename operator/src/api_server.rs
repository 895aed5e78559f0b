//! An API server in memory for tests: objects by path, with the `resourceVersion` rules of the real one.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::{
    context::Context,
    lease::{Term, term},
    watch::Watches,
    writer::Writer,
};

/// A context for a part of the operator, on a server of its own that nobody watches.
pub(crate) fn context() -> (ApiServer, Term, Context) {
    let (server, (term, leadership)) = (ApiServer::default(), term());
    let watches = Watches::default();
    let writer = Writer::new(server.client(), leadership, watches.resources());
    let context = Context { watches, writer, stop: CancellationToken::new(), instance: "pod".to_owned() };
    (server, term, context)
}

/// The server. Clones are the same server.
#[derive(Clone, Default)]
pub(crate) struct ApiServer(Arc<Mutex<State>>);

/// How the server behaves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Scenario {
    /// Behaves as it should
    #[default]
    IsWell,
    /// Carries nothing out, and answers every request with this
    Answers(StatusCode),
    /// Answers this much later: to the caller it is as if it had been frozen before it saw the answer
    IsLate(Duration),
    /// Carries requests out, and never answers
    IsSilent,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    writes: Vec<String>,
    scenario: Scenario,
}

impl ApiServer {
    /// A client of this server.
    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, kube::Error>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// Plays this scenario from now on.
    pub(crate) fn play(&self, scenario: Scenario) {
        self.state().scenario = scenario;
    }

    /// The object at a path; null when there is none.
    pub(crate) fn object(&self, path: &str) -> Value {
        self.state().objects.get(path).cloned().unwrap_or_default()
    }

    /// Changes an object, as somebody else would.
    pub(crate) fn change(&self, path: &str, change: &Value) {
        self.state().merge(path, change);
    }

    /// All writes that arrived, successful or not, in order: `PATCH /path`.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.state().writes.clone()
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let (status, answer) = self.state().carry_out(&head.method, head.uri.path(), body);
        let scenario = self.state().scenario;
        match scenario {
            Scenario::IsLate(delay) => sleep(delay).await,
            Scenario::IsSilent => pending().await,
            Scenario::IsWell | Scenario::Answers(_) => {}
        }
        Response::builder().status(status).body(Body::from(answer.to_string().into_bytes())).unwrap()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn carry_out(&mut self, method: &Method, path: &str, mut body: Value) -> (StatusCode, Value) {
        if method != Method::GET {
            self.writes.push(format!("{method} {path}"));
        }
        if let Scenario::Answers(status) = self.scenario {
            return failure(status);
        }
        match *method {
            Method::GET => self.objects.get(path).map_or_else(|| failure(StatusCode::NOT_FOUND), found),
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if self.objects.contains_key(&path) {
                    return failure(StatusCode::CONFLICT);
                }
                found(self.merge(&path, &body))
            }
            Method::PATCH => {
                let expected = body["metadata"].as_object_mut().and_then(|metadata| metadata.remove("resourceVersion"));
                let current = self.objects.get(path).map(|object| &object["metadata"]["resourceVersion"]);
                if expected.is_some_and(|expected| current != Some(&expected)) {
                    return failure(StatusCode::CONFLICT);
                }
                found(self.merge(path, &body))
            }
            _ => failure(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    fn merge(&mut self, path: &str, change: &Value) -> &Value {
        self.version += 1;
        let object = self.objects.entry(path.to_owned()).or_default();
        merge(object, change);
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        object
    }
}

/// JSON merge patch (RFC 7386).
fn merge(object: &mut Value, change: &Value) {
    let Value::Object(fields) = change else {
        *object = change.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (name, field) in fields {
        if field.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut object[name], field);
        }
    }
}

fn found(object: &Value) -> (StatusCode, Value) {
    (StatusCode::OK, object.clone())
}

fn failure(code: StatusCode) -> (StatusCode, Value) {
    let reason = if code == StatusCode::NOT_FOUND { "NotFound" } else { "" };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": code.to_string(), "reason": reason,
        "code": code.as_u16(),
    });
    (code, status)
}
