//! All that is wrong, for as long as it is.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
};
use serde::{Deserialize, Serialize};
use tidegate_core::event::Reason;
use tidegate_operator::{
    lease::Leadership,
    problems::{ProblemBook, StandingProblem},
};
use tidegate_scaler::overview::{OverviewRow, State as RowState};

use super::{Admin, objects::Refusal};

/// The problems that this process knows if it leads.
pub(crate) struct KnownProblems {
    pub(crate) book: ProblemBook,
    pub(crate) leadership: Leadership,
}

/// All that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProblemsAnswer {
    /// Whether these are all: a process that does not write to the cluster knows only what its own signals show
    pub(crate) complete: bool,
    /// Each problem, by namespace, kind and name
    pub(crate) problems: Vec<ToldProblem>,
}

/// A problem, and what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToldProblem {
    #[serde(flatten)]
    pub(crate) problem: StandingProblem,
    /// What to do, as Markdown; empty where the message says it
    pub(crate) remedy: String,
}

#[derive(Deserialize)]
pub(super) struct ProblemsQuery {
    namespace: Option<String>,
}

pub(super) async fn problems(
    State(admin): State<Arc<Admin>>,
    Query(query): Query<ProblemsQuery>,
) -> Result<Json<ProblemsAnswer>, Refusal> {
    let led = admin.problems.as_ref().filter(|known| known.leadership.may_write()).map(|known| known.book.all());
    let complete = led.is_some();
    let mut problems = match led {
        Some(problems) => problems,
        None => admin.seen_problems()?,
    };
    problems.retain(|problem| query.namespace.as_ref().is_none_or(|namespace| problem.namespace == *namespace));
    let problems = problems.into_iter().map(ToldProblem::from).collect();
    Ok(Json(ProblemsAnswer { complete, problems }))
}

impl Admin {
    /// What the signals and annotations show, without the cluster's answers to what was written.
    fn seen_problems(&self) -> Result<Vec<StandingProblem>, Refusal> {
        let plan = self.plan()?;
        let overview = self.overviews.get(&plan, &self.demands, &self.history);
        let of_row = |row: &OverviewRow| {
            let reason =
                if row.state == RowState::Invalid { Reason::InvalidAnnotations } else { Reason::SignalMissing };
            let OverviewRow { namespace, kind, name, .. } = row.clone();
            let problem = move |message: &String| StandingProblem {
                namespace: namespace.clone(),
                kind: kind.clone(),
                name: name.clone(),
                reason: reason.as_str().to_owned(),
                message: message.clone(),
                since: None,
            };
            row.problems.iter().map(problem).collect::<Vec<_>>()
        };
        Ok(overview.rows().flat_map(of_row).collect())
    }
}

impl From<StandingProblem> for ToldProblem {
    fn from(problem: StandingProblem) -> Self {
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == problem.reason);
        Self { remedy: reason.map(|reason| reason.remedy().to_owned()).unwrap_or_default(), problem }
    }
}
