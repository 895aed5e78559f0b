//! What the admin server says of workloads and Gateways: why they have their replicas, now and before, and all of them at a glance.

use std::{fmt::Display, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use tidegate_core::{fleet::GatewayId, plan::Plan, workload::WorkloadId};
use tidegate_scaler::{demand::NoDemand, explain, history::HistoryAnswer, overview::weeks};
use tokio::task::spawn_blocking;

use super::Admin;
use crate::elders;

/// Changes that `explain` shows.
const LAST_CHANGES: usize = 10;

#[derive(Deserialize)]
pub(super) struct ExplainQuery {
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

type Object = Path<(String, String, String)>;

/// Why there is no answer, in one sentence.
pub(super) struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }
}

pub(super) async fn explain_object(
    State(admin): State<Arc<Admin>>,
    Path((namespace, kind, name)): Object,
    Query(query): Query<ExplainQuery>,
) -> Result<Response, Refusal> {
    let (plan, demands) = (admin.plan()?, &admin.demands);
    if kind == "gateway" {
        let id = GatewayId { namespace, name };
        return explained(explain::explain_gateway(&plan, demands, &id), &query.format);
    }
    let id = workload(namespace, &kind, name)?;
    let explanation = explain::explain(&plan, demands, &id);
    let explanation = explanation.map(|explanation| explanation.with_changes(admin.history.last(&id, LAST_CHANGES)));
    explained(explanation, &query.format)
}

fn explained(
    explanation: Result<impl Display + Serialize, impl Display>,
    format: &Format,
) -> Result<Response, Refusal> {
    match (explanation, format) {
        (Ok(explanation), Format::Page) => Ok(explanation.to_string().into_response()),
        (Ok(explanation), Format::Json) => Ok(Json(explanation).into_response()),
        (Err(unknown), _) => Err(Refusal(StatusCode::NOT_FOUND, unknown.to_string())),
    }
}

#[derive(Deserialize)]
pub(super) struct HistoryQuery {
    #[serde(default = "day")]
    since: String,
}

fn day() -> String {
    "24h".to_owned()
}

/// The changes of one workload, which need not exist any more.
pub(super) async fn history(
    State(admin): State<Arc<Admin>>,
    Path((namespace, kind, name)): Object,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<HistoryAnswer>, Refusal> {
    let since = humantime::parse_duration(&query.since).ok().and_then(|since| TimeDelta::from_std(since).ok());
    let since = since.and_then(|since| admin.demands.now().checked_sub_signed(since));
    let wanted = || Refusal(StatusCode::BAD_REQUEST, format!("since={}: wants a time such as 24h or 7d", query.since));
    let since = since.ok_or_else(wanted)?;
    let id = workload(namespace, &kind, name)?;
    let answer = HistoryAnswer::of(&admin.history, &id, since);
    if answer.remembered_since.is_none() {
        let plan = admin.plan()?;
        if !plan.workloads.contains_key(&id) {
            return Err(Refusal(StatusCode::NOT_FOUND, explain::unknown(&id, &plan).to_string()));
        }
    }
    Ok(Json(answer))
}

/// The changes of all workloads, for another process that has just started.
pub(super) async fn histories(State(admin): State<Arc<Admin>>) -> Response {
    let bytes = [(header::CONTENT_TYPE, "application/octet-stream")];
    (bytes, elders::records(Arc::clone(&admin.history))).into_response()
}

#[derive(Deserialize)]
pub(super) struct FleetQuery {
    namespace: Option<String>,
}

/// All workloads and Gateways.
pub(super) async fn fleet(
    State(admin): State<Arc<Admin>>,
    Query(query): Query<FleetQuery>,
) -> Result<Response, Refusal> {
    let plan = admin.plan()?;
    // Ten thousand rows take a while: calls do not wait for them.
    let made = spawn_blocking(move || {
        let all = admin.overviews.get(&plan, &admin.demands, &admin.history);
        match query.namespace {
            Some(namespace) => serde_json::to_vec(&all.within(&namespace)),
            None => serde_json::to_vec(&*all),
        }
    });
    let failed = |error: &dyn Display| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let json = made.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// The week of each Calendar and of all other hours that are in use.
pub(super) async fn calendars(State(admin): State<Arc<Admin>>) -> Result<Response, Refusal> {
    let (plan, now) = (admin.plan()?, admin.demands.now());
    let made = spawn_blocking(move || weeks(&plan, now)).await;
    made.map(|weeks| Json(weeks).into_response())
        .map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

impl Admin {
    pub(super) fn plan(&self) -> Result<Arc<Plan>, Refusal> {
        let unknown = || Refusal(StatusCode::SERVICE_UNAVAILABLE, NoDemand::NothingKnown.to_string());
        self.plan.borrow().clone().ok_or_else(unknown)
    }
}

fn workload(namespace: String, kind: &str, name: String) -> Result<WorkloadId, Refusal> {
    match kind.parse() {
        Ok(kind) => Ok(WorkloadId { namespace, kind, name }),
        Err(error) => Err(Refusal(StatusCode::BAD_REQUEST, format!("{error}"))),
    }
}
