//! The admin server: liveness, readiness, metrics, savings, and why a workload has its replicas and a Gateway its proxies.

use std::{fmt::Display, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus_client::{encoding::text, registry::Registry};
use serde::{Deserialize, Serialize};
use tidegate_core::{fleet::GatewayId, plan::Plan, workload::WorkloadId};
use tidegate_scaler::{
    demand::{Demands, NoDemand},
    explain,
    places::Places,
    savings::Savings,
};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::version::Version;

/// One condition that readiness depends on, or that is shown for information.
pub(crate) struct Check {
    /// Name of the check
    pub(crate) name: String,
    /// Why the check fails, if it does
    pub(crate) missing: Option<String>,
    /// Whether the process is not ready while the check fails
    pub(crate) required: bool,
}

/// The data that the admin server shows.
pub(crate) struct Admin {
    pub(crate) registry: Registry,
    pub(crate) savings: Savings,
    pub(crate) checks: Box<dyn Fn() -> Vec<Check> + Send + Sync>,
    pub(crate) plan: watch::Receiver<Option<Arc<Plan>>>,
    pub(crate) demands: Arc<Demands>,
}

/// Most connections at one time: enough for a kubelet, a Prometheus and some people.
const MOST: usize = 256;
/// Most connections of one peer, so that there is always room for the kubelet.
const MOST_OF_PEER: usize = 32;
/// Timeout for a request's head, which comes in one packet.
const HEADERS: Duration = Duration::from_secs(5);
/// Timeout for a whole connection. Answers come from memory, so only a slow reader needs it.
const ANSWERED: Duration = Duration::from_secs(30);
/// Delay after an error such as "too many open files", which would only repeat if accepting were retried at once.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled.
pub(crate) async fn serve(address: SocketAddr, admin: Admin, stop: CancellationToken) -> Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("--admin-address {address}"))?;
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/version", get(|| async { Json(Version::own()) }))
        .route("/metrics", get(metrics))
        .route("/savings", get(savings))
        .route("/explain/{namespace}/{kind}/{name}", get(explain_object))
        .with_state(Arc::new(admin));
    answer(listener, router, stop).await;
    Ok(())
}

/// Serves one request per connection, if it is sent in time.
async fn answer(listener: TcpListener, router: Router, stop: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let places = Places::new(MOST, MOST_OF_PEER);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = places.take(peer.ip()) else { continue };
                let serving = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS)
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service.clone());
                tokio::spawn(async move {
                    // A peer that disconnects, or takes too long, is no error of ours.
                    let _ = timeout(ANSWERED, serving).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin server cannot accept a connection");
                sleep(AFTER_ERROR).await;
            }
        }
    }
}

/// In the format of the Kubernetes components: a line per check, `[+]` fine, `[-]` failed, `[ ]` failed but not required.
async fn readyz(State(admin): State<Arc<Admin>>) -> Response {
    let checks = (admin.checks)();
    let line = |check: &Check| match &check.missing {
        None => format!("[+]{} ok\n", check.name),
        Some(missing) if check.required => format!("[-]{}: {missing}\n", check.name),
        Some(missing) => format!("[ ]{}: {missing}\n", check.name),
    };
    let ready = checks.iter().all(|check| check.missing.is_none() || !check.required);
    let body: String =
        checks.iter().map(line).chain([format!("{}\n", if ready { "ready" } else { "not ready" })]).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, body).into_response()
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let mut body = String::new();
    match text::encode(&mut body, &admin.registry) {
        Ok(()) => {
            let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, openmetrics)], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn savings(State(admin): State<Arc<Admin>>) -> Response {
    Json(admin.savings.per_namespace()).into_response()
}

#[derive(Deserialize)]
struct ExplainQuery {
    #[serde(default)]
    format: Format,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Page,
}

async fn explain_object(
    State(admin): State<Arc<Admin>>,
    Path((namespace, kind, name)): Path<(String, String, String)>,
    Query(query): Query<ExplainQuery>,
) -> Response {
    let (plan, demands) = (admin.plan.borrow().clone(), &admin.demands);
    let Some(plan) = plan else {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", NoDemand::NothingKnown)).into_response();
    };
    if kind == "gateway" {
        let id = GatewayId { namespace, name };
        return explained(explain::explain_gateway(&plan, demands, &id), &query.format);
    }
    match kind.parse() {
        Ok(kind) => explained(explain::explain(&plan, demands, &WorkloadId { namespace, kind, name }), &query.format),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

fn explained(explanation: Result<impl Display + Serialize, impl Display>, format: &Format) -> Response {
    match (explanation, format) {
        (Ok(explanation), Format::Page) => explanation.to_string().into_response(),
        (Ok(explanation), Format::Json) => Json(explanation).into_response(),
        (Err(unknown), _) => (StatusCode::NOT_FOUND, format!("{unknown}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpSocket, TcpStream},
    };

    use super::*;

    async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    #[tokio::test]
    async fn half_requests_are_closed_in_seconds_and_livez_answers_meanwhile() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/livez", get(|| async { "ok\n" }));
        tokio::spawn(answer(listener, router, stop.clone()));
        let mut halves = Vec::new();
        for _ in 0..300 {
            let mut stream = connect([127, 0, 0, 2], address).await;
            // A connection beyond the peer's limit is closed already.
            let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: ").await;
            halves.push(stream);
        }
        let mut probe = connect([127, 0, 0, 3], address).await;
        probe.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        probe.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let asked = Instant::now();
        for mut half in halves {
            let mut rest = Vec::new();
            // An error means that the connection is closed, too.
            let _ = timeout(2 * HEADERS, half.read_to_end(&mut rest)).await.unwrap();
        }
        assert!(asked.elapsed() < 2 * HEADERS);
    }
}
