//! The admin server: is it alive, is it ready, what does it measure, and why does a workload have its replicas and a Gateway
//! its proxies.

use std::{fmt::Display, net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text, registry::Registry};
use serde::{Deserialize, Serialize};
use tidegate_core::{fleet::GatewayId, plan::Plan, workload::WorkloadId};
use tidegate_scaler::{
    demand::{Demands, NoDemand},
    explain,
    savings::Savings,
};
use tokio::{net::TcpListener, sync::watch};

/// One thing that readiness depends on, or that is worth knowing.
pub(crate) struct Check {
    /// What is checked
    pub(crate) name: String,
    /// What is missing, if anything is
    pub(crate) missing: Option<String>,
    /// Whether the process is not ready while it is missing
    pub(crate) required: bool,
}

/// What the admin server shows.
pub(crate) struct Admin {
    pub(crate) registry: Registry,
    pub(crate) savings: Savings,
    pub(crate) checks: Box<dyn Fn() -> Vec<Check> + Send + Sync>,
    pub(crate) plan: watch::Receiver<Option<Arc<Plan>>>,
    pub(crate) demands: Arc<Demands>,
}

/// Serves until `shutdown` says so.
pub(crate) async fn serve(address: SocketAddr, admin: Admin, mut shutdown: watch::Receiver<bool>) -> Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("--admin-address {address}"))?;
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/savings", get(savings))
        .route("/explain/{namespace}/{kind}/{name}", get(explain_object))
        .with_state(Arc::new(admin));
    let stop = async move {
        // An error means that the sender is gone, which is a stop too.
        let _ = shutdown.wait_for(|stop| *stop).await;
    };
    axum::serve(listener, router).with_graceful_shutdown(stop).await.context("admin server")
}

/// In the manner of the Kubernetes components: a line per check, `[+]` fine, `[-]` missing, `[ ]` missing but not needed.
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
