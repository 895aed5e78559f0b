//! All workloads and Gateways as the installed Tidegate shows them, for `get` and `top`.

mod labelled;

use std::cmp::Reverse;

use tidegate_scaler::overview::{Overview, OverviewRow, OverviewSignal, State};

use crate::{
    args::{ScopeArgs, SortBy},
    exit::{Exit, Failure},
    object::{ObjectKind, ObjectRef},
    paint::Colour,
    table::Cell,
    tidegate::Tidegate,
};

/// The namespace that is looked at; `None` for all.
pub(crate) fn namespace(scope: &ScopeArgs, tidegate: &Tidegate) -> Option<String> {
    let own = || scope.within.namespace.clone().unwrap_or_else(|| tidegate.namespace().to_owned());
    (!scope.all_namespaces).then(own)
}

/// Asks for the rows of a namespace, or of all, with labels if the selector says which.
pub(crate) async fn ask(
    tidegate: &Tidegate,
    namespace: Option<&str>,
    selector: Option<&str>,
) -> Result<Overview, Failure> {
    let query = namespace.map(|namespace| format!("?namespace={namespace}")).unwrap_or_default();
    let mut overview = tidegate.json(&format!("/fleet{query}")).await?;
    if let Some(selector) = selector {
        let cluster = tidegate.cluster().ok_or_else(|| {
            Exit::Usage.with("--selector asks the Kubernetes API, which --admin leaves out: use one of them")
        })?;
        labelled::retain(&mut overview, selector, cluster, namespace).await?;
    }
    Ok(overview)
}

/// How `kubectl` names the object of a row.
pub(crate) fn object(row: &OverviewRow) -> String {
    format!("{}/{}", row.kind.to_ascii_lowercase(), row.name)
}

/// Whether a row is of this kind.
pub(crate) fn is_of(row: &OverviewRow, kind: &ObjectKind) -> bool {
    // A custom kind may be named by its plural, which only the service knows.
    row.kind.parse::<ObjectKind>().is_ok_and(|of| of == *kind)
}

pub(crate) fn is_named(row: &OverviewRow, object: &ObjectRef) -> bool {
    row.name == object.name && is_of(row, &object.kind)
}

/// The signal that asks for most.
pub(crate) fn decisive(row: &OverviewRow) -> Option<&OverviewSignal> {
    row.signals.iter().rev().max_by_key(|signal| (signal.replicas, signal.demand.is_some()))
}

/// `642.0 requests/s`, or a dash.
pub(crate) fn demand(row: &OverviewRow) -> String {
    match decisive(row) {
        Some(OverviewSignal { demand: Some(demand), unit, .. }) => format!("{demand:.1} {unit}"),
        Some(_) => "?".to_owned(),
        None => "-".to_owned(),
    }
}

pub(crate) fn target(row: &OverviewRow) -> String {
    decisive(row).map_or_else(|| "-".to_owned(), |signal| signal.per_replica.to_string())
}

pub(crate) fn wanted(row: &OverviewRow) -> String {
    row.wanted.map_or_else(|| "?".to_owned(), |wanted| wanted.to_string())
}

/// `5/6`, or the number alone where it is not known how many are ready.
pub(crate) fn ready(row: &OverviewRow) -> String {
    let current = row.replicas.current;
    row.replicas.ready.map_or_else(|| current.to_string(), |ready| format!("{ready}/{current}"))
}

pub(crate) fn limit(row: &OverviewRow) -> &'static str {
    row.limit.map_or("-", tidegate_scaler::history::Limit::as_str)
}

pub(crate) fn next_change(row: &OverviewRow) -> &str {
    row.hours.as_ref().and_then(|hours| hours.next_change.as_deref()).unwrap_or("-")
}

pub(crate) fn colour(state: State) -> Option<Colour> {
    match state {
        State::Invalid | State::Unknown => Some(Colour::Red),
        State::AtMaximum | State::Paused => Some(Colour::Yellow),
        State::ScalingUp | State::ScalingDown => Some(Colour::Bold),
        State::Closed | State::Asleep => Some(Colour::Dim),
        State::Steady => None,
    }
}

/// The columns that `get` and `top` begin with: NAMESPACE where all are shown, NAME, STATE, DEMAND, TARGET, WANTED, READY.
pub(crate) fn cells(row: &OverviewRow, all_namespaces: bool) -> Vec<Cell> {
    let state = Cell::from(row.state.as_str());
    let mut cells = Vec::from_iter(all_namespaces.then(|| row.namespace.as_str().into()));
    cells.extend([
        object(row).into(),
        colour(row.state).map_or(state.clone(), |colour| state.painted_in(colour)),
        Cell::number(demand(row)),
        Cell::number(target(row)),
        Cell::number(wanted(row)),
        Cell::number(ready(row)),
    ]);
    cells
}

/// Sorts rows; equal ones by namespace and name.
pub(crate) fn sort(rows: &mut [OverviewRow], by: SortBy) {
    rows.sort_by(|a, b| (&a.namespace, &a.name, &a.kind).cmp(&(&b.namespace, &b.name, &b.kind)));
    let missing = |row: &OverviewRow| {
        let ready = row.replicas.ready.unwrap_or(row.replicas.current);
        row.wanted.unwrap_or(row.replicas.current).saturating_sub(ready)
    };
    // RFC 3339 in different zones does not sort as text.
    let next = |row: &OverviewRow| {
        let next = row.hours.as_ref().and_then(|hours| hours.next_change.as_ref());
        let next = next.and_then(|next| chrono::DateTime::parse_from_rfc3339(next).ok());
        (next.is_none(), next)
    };
    match by {
        SortBy::Name => {}
        SortBy::State => rows.sort_by_key(|row| row.state),
        SortBy::Wanted => rows.sort_by_key(|row| Reverse(row.wanted)),
        SortBy::Missing => rows.sort_by_key(|row| Reverse(missing(row))),
        SortBy::NextChange => rows.sort_by_key(next),
    }
}

#[cfg(test)]
pub(crate) mod fixture {
    use serde_json::{Value, json};

    use super::*;

    /// Two workloads and a Gateway.
    pub(crate) fn overview() -> Overview {
        let row = |kind: &str, name: &str, state: &str, wanted: Option<u32>, more: &Value| {
            let mut row = json!({"namespace": "shop", "kind": kind, "name": name, "state": state, "signals": [], "wanted": wanted,
                "replicas": {"current": 6, "ready": 5}, "bounds": {"min": 1, "max": 20}, "limit": null, "why": "nothing asks for any",
                "hours": null, "problems": [], "past": [null, 1, 2, 4, 8]});
            for (key, value) in more.as_object().unwrap() {
                row[key] = value.clone();
            }
            row
        };
        let signals = json!([{"signal": "requests-per-second", "unit": "requests/s", "demand": 642.0, "perReplica": 100.0, "replicas": 7},
            {"signal": "concurrency", "unit": "requests in flight", "demand": 10.0, "perReplica": 8.0, "replicas": 2}]);
        let api = json!({"signals": signals, "why": "642.0 requests/s ÷ 100 per replica"});
        let night = json!({"phase": "closed", "nextChange": "2026-03-03T08:00:00+01:00"});
        let job = json!({"limit": "off-hours", "hours": night, "why": "outside its hours", "replicas": {"current": 0, "ready": 0}});
        let web = json!({"replicas": {"current": 2, "ready": null}, "past": []});
        serde_json::from_value(json!({"at": "2026-03-02T22:00:00Z",
            "workloads": [row("Deployment", "api", "scaling-up", Some(7), &api), row("StatefulSet", "job", "closed", Some(0), &job)],
            "gateways": [row("Gateway", "web", "unknown", None, &web)]}))
        .unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(by: SortBy) -> Vec<String> {
        let overview = fixture::overview();
        let mut rows: Vec<_> = overview.workloads.into_iter().chain(overview.gateways).collect();
        sort(&mut rows, by);
        rows.into_iter().map(|row| row.name).collect()
    }

    #[test]
    fn what_is_asked_for_stands_first() {
        assert_eq!(sorted(SortBy::Name), ["api", "job", "web"]);
        assert_eq!(sorted(SortBy::State), ["web", "job", "api"]);
        assert_eq!(sorted(SortBy::Wanted), ["api", "job", "web"]);
        assert_eq!(sorted(SortBy::Missing), ["api", "job", "web"]);
        assert_eq!(sorted(SortBy::NextChange), ["job", "api", "web"]);
    }

    #[test]
    fn the_signal_that_asks_for_most_is_the_one_that_is_shown() {
        let api = &fixture::overview().workloads[0];
        assert_eq!(
            (demand(api), target(api), wanted(api), ready(api)),
            ("642.0 requests/s".into(), "100".into(), "7".into(), "5/6".into())
        );
    }
}
