//! An API server for tests: answers by path, over a real connection.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::to_bytes,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};

use crate::cluster::Cluster;

/// The time that commands wait in tests.
pub(crate) const SOON: Duration = Duration::from_millis(500);

/// The server. Clones are the same server.
#[derive(Clone)]
pub(crate) struct Fixture {
    url: String,
    state: Arc<Mutex<State>>,
}

/// Answers a review of access: whether the resource, the verb and the user are allowed.
type Review = Box<dyn Fn(&Value) -> bool + Send>;

#[derive(Default)]
struct State {
    review: Option<Review>,
    answers: BTreeMap<String, (StatusCode, String)>,
    asked: Vec<String>,
    date: Option<String>,
    silent: bool,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fixture = Self { url, state: Arc::default() };
        let of_router = fixture.clone();
        let router = Router::new().fallback(async move |request: Request| of_router.answer(request).await);
        tokio::spawn(async move {
            let service = TowerToHyperService::new(router);
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone()));
            }
        });
        fixture
    }

    /// Answers this path with an object, whatever its query; a path with a query answers those that begin so.
    pub(crate) fn has(&self, path: &str, object: &Value) -> &Self {
        self.answers(path, StatusCode::OK, &object.to_string())
    }

    pub(crate) fn answers(&self, path: &str, status: StatusCode, body: &str) -> &Self {
        self.state.lock().unwrap().answers.insert(path.to_owned(), (status, body.to_owned()));
        self
    }

    /// Answers this path with an error, as the API server writes errors.
    pub(crate) fn fails(&self, path: &str, status: StatusCode, message: &str) -> &Self {
        self.answers(path, status, &failure(status, message))
    }

    /// Answers reviews of access by this function of their spec.
    pub(crate) fn allows(&self, allowed: impl Fn(&Value) -> bool + Send + 'static) {
        self.state.lock().unwrap().review = Some(Box::new(allowed));
    }

    /// From now on nothing is answered.
    pub(crate) fn falls_silent(&self) {
        self.state.lock().unwrap().silent = true;
    }

    /// The clock of the server, as HTTP writes it.
    pub(crate) fn is_at(&self, date: &str) {
        self.state.lock().unwrap().date = Some(date.to_owned());
    }

    /// The paths that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::at(&self.url, SOON).unwrap()
    }

    async fn answer(&self, request: Request) -> Response {
        let (path, whole) = (request.uri().path().to_owned(), request.uri().to_string());
        let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
        let review: Value = serde_json::from_slice(&body).unwrap_or_default();
        if review["kind"].as_str().is_some_and(|kind| kind.ends_with("AccessReview")) {
            let allowed = self.state.lock().unwrap().review.as_ref().is_none_or(|allows| allows(&review["spec"]));
            return (StatusCode::CREATED, json!({"status": {"allowed": allowed}}).to_string()).into_response();
        }
        let (found, date, silent) = {
            let mut state = self.state.lock().unwrap();
            state.asked.push(path.clone());
            let narrower = state.answers.iter().find(|(known, _)| known.contains('?') && whole.starts_with(*known));
            let found = narrower.map(|(_, answer)| answer).or_else(|| state.answers.get(&path)).cloned();
            (found, state.date.clone(), state.silent)
        };
        if silent {
            sleep(SOON * 100).await;
        }
        let missing = || (StatusCode::NOT_FOUND, failure(StatusCode::NOT_FOUND, &format!("there is no {path}")));
        let (status, body) = found.unwrap_or_else(missing);
        let mut headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static("1"))]);
        headers.extend(date.map(|date| (header::DATE, HeaderValue::from_str(&date).unwrap())));
        (status, headers, body).into_response()
    }
}

fn failure(status: StatusCode, message: &str) -> String {
    // An API server's reasons are the names of its codes without the spaces: NotFound, Forbidden.
    let reason = status.canonical_reason().unwrap_or_default().replace(' ', "");
    let code = status.as_u16();
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code})
        .to_string()
}
