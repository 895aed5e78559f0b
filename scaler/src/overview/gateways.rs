//! The rows of Gateways.

use tidegate_core::{fleet::GatewayId, intent::Bounds, plan::Plan};

use super::{OverviewHours, OverviewReplicas, OverviewRow, OverviewSignal, State};
use crate::{
    demand::Demands,
    explain::{GatewayExplanation, explain_gateway},
    history::Limit,
};

pub(super) fn rows(plan: &Plan, demands: &Demands) -> Vec<OverviewRow> {
    let all = plan.fleets.iter().flat_map(|fleet| fleet.gateways.iter().map(move |(id, gateway)| (fleet, id, gateway)));
    let mut rows: Vec<_> = all
        .filter_map(|(fleet, id, gateway)| {
            let explained = explain_gateway(plan, demands, id).ok()?;
            let hours = gateway.schedule.as_ref().map(|schedule| OverviewHours::new(schedule, demands.now()));
            let policy = fleet.policy(demands.now());
            let paused = gateway.intent.as_ref().is_ok_and(|intent| intent.paused);
            let bounds = policy.map(|policy| Bounds { min: policy.limits.floor, max: policy.max });
            Some(row(id, explained, hours, bounds, if paused { State::Paused } else { State::Invalid }))
        })
        .collect();
    rows.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    rows
}

/// `without` is the state where no policy applies.
fn row(
    id: &GatewayId,
    explained: GatewayExplanation,
    hours: Option<OverviewHours>,
    bounds: Option<Bounds>,
    without: State,
) -> OverviewRow {
    let why = explained.why();
    let GatewayExplanation { current, wanted, hours: limits, signals, problems, .. } = explained;
    let replicas = OverviewReplicas { current, ready: None };
    let most = signals.iter().filter_map(|signal| signal.replicas).max();
    let is_capped = limits.is_some_and(|hours| hours.limits.cap.is_some());
    let limit = match (bounds, most) {
        _ if is_capped => Some(Limit::OffHours),
        (Some(bounds), Some(most)) if most > bounds.max => Some(Limit::MaxReplicas),
        (Some(bounds), Some(most)) if most < bounds.min => Some(Limit::MinReplicas),
        _ => None,
    };
    let state = match (bounds, wanted) {
        (None, _) => without,
        (Some(_), Some(wanted)) => State::of_numbers(wanted, limit, replicas),
        (Some(_), None) if signals.iter().all(|signal| signal.problem.is_none()) => State::Steady,
        (Some(_), None) => State::Unknown,
    };
    let signals = signals.into_iter().map(|signal| OverviewSignal {
        signal: signal.signal,
        unit: signal.signal.unit().to_owned(),
        demand: signal.value,
        per_replica: signal.per_replica.get(),
        replicas: signal.replicas,
    });
    OverviewRow {
        namespace: id.namespace.clone(),
        kind: "Gateway".to_owned(),
        name: id.name.clone(),
        state,
        signals: signals.collect(),
        wanted,
        replicas,
        bounds,
        limit,
        why,
        hours,
        problems,
        past: Vec::new(),
    }
}
