//! The admin server: liveness, readiness, metrics, savings, and why a workload has its replicas and a Gateway its proxies, now and before.

mod deadline;
mod live;
mod objects;
mod problems;

pub(crate) use self::{
    live::Streams,
    problems::{KnownProblems, ProblemsAnswer, ToldProblem},
};

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::State,
    http::{Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus_client::{encoding::text, registry::Registry};
use tidegate_core::plan::Plan;
use tidegate_scaler::{demand::Demands, history::History, overview::Overviews, places::Places, savings::Savings};
use tokio::{net::TcpListener, sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use self::deadline::Deadline;
use crate::{dashboard, elders, version::Version};

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
    pub(crate) history: Arc<History>,
    pub(crate) overviews: Overviews,
    pub(crate) streams: Streams,
    pub(crate) problems: Option<KnownProblems>,
}

/// Most connections at one time: enough for a kubelet, a Prometheus and some people.
const MOST: usize = 256;
/// Most connections of one peer, so that there is always room for the kubelet.
const MOST_OF_PEER: usize = 32;
/// Timeout for a request's head, which comes in one packet.
const HEADERS: Duration = Duration::from_secs(5);
/// Timeout for a whole connection, or for each part of a stream. Answers come from memory, so only a slow reader needs it.
const ANSWERED: Duration = Duration::from_secs(30);
/// Delay after an error such as "too many open files", which would only repeat if accepting were retried at once.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled.
pub(crate) async fn serve(address: SocketAddr, admin: Admin, stop: CancellationToken) -> Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("--admin-address {address}"))?;
    answer(listener, router(admin), stop).await;
    Ok(())
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/version", get(|| async { Json(Version::own()) }))
        .route("/metrics", get(metrics))
        .route("/savings", get(savings))
        .route("/explain/{namespace}/{kind}/{name}", get(objects::explain_object))
        .route("/history/{namespace}/{kind}/{name}", get(objects::history))
        .route(elders::PATH, get(objects::histories))
        .route("/fleet", get(objects::fleet))
        .route("/fleet/live", get(live::live))
        .route("/calendars", get(objects::calendars))
        .route("/problems", get(problems::problems))
        .merge(dashboard::routes())
        .with_state(Arc::new(admin))
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
                let (service, deadline) = (service.clone(), Deadline::new(ANSWERED));
                let extended = deadline.clone();
                let service = service_fn(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(extended.clone());
                    service.call(request)
                });
                let serving = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS)
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move {
                    // A peer that disconnects, or takes too long, is no error of ours.
                    deadline.enforce(serving).await;
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

#[cfg(test)]
mod tests;
