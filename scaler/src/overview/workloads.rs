//! The row of a workload.

use chrono::{DateTime, SecondsFormat, Utc};
use tidegate_core::{
    intent::Intent,
    plan::{Plan, PlannedWorkload},
    schedule::Schedule,
    workload::WorkloadId,
};

use super::{OverviewHours, OverviewRow, OverviewSignal, State};
use crate::{
    demand::{Demands, Look},
    history::Why,
};

pub(super) fn row(
    id: &WorkloadId,
    workload: &PlannedWorkload,
    plan: &Plan,
    demands: &Demands,
    past: Vec<Option<u32>>,
) -> OverviewRow {
    let hours = workload.schedule.as_ref().map(|schedule| OverviewHours::new(schedule, demands.now()));
    let mut row = OverviewRow {
        namespace: id.namespace.clone(),
        kind: serde_json::to_value(id.kind).ok().and_then(|kind| Some(kind.as_str()?.to_owned())).unwrap_or_default(),
        name: id.name.clone(),
        state: State::Invalid,
        signals: Vec::new(),
        wanted: None,
        replicas: workload.replicas.into(),
        bounds: None,
        limit: None,
        why: "its annotations are invalid, so what was applied before stays as it is".to_owned(),
        hours,
        problems: workload.problems.iter().map(ToString::to_string).collect(),
        past,
    };
    match &workload.intent {
        Ok(intent) => row.looked(&demands.look(id, intent, plan), intent),
        Err(problems) => row.problems.extend(problems.iter().map(ToString::to_string)),
    }
    row
}

impl OverviewRow {
    fn looked(&mut self, look: &Look, intent: &Intent) {
        let why = Why::of(look, intent, self.hours.as_ref().map(|hours| hours.phase));
        self.bounds = Some(look.bounds);
        self.wanted = look.desired.map(|desired| desired.replicas);
        self.limit = why.limit;
        self.state = match self.wanted {
            _ if intent.paused => State::Paused,
            Some(wanted) if look.is_complete() => State::of_numbers(wanted, why.limit, self.replicas),
            // Without a signal of Tidegate's nothing is missing.
            None if look.is_complete() => State::Steady,
            _ => State::Unknown,
        };
        self.why = if intent.paused { format!("paused; otherwise: {why}") } else { why.to_string() };
        for (target, found) in &look.signals {
            let need = found.as_ref().ok().map(|demand| demand.need);
            self.signals.push(OverviewSignal {
                signal: target.signal,
                unit: target.signal.unit().to_owned(),
                demand: need.map(|need| need.value),
                per_replica: target.per_replica.get(),
                replicas: need.map(|need| need.replicas()),
            });
            let caveat = match found {
                Ok(demand) => demand.caveat.as_ref().map(|why| format!("the last known value is used: {why}")),
                Err(why) => Some(why.to_string()),
            };
            self.problems.extend(caveat.map(|why| format!("{}: {why}", target.signal)));
        }
    }
}

impl OverviewHours {
    pub(super) fn new(schedule: &Schedule, now: DateTime<Utc>) -> Self {
        let zone = schedule.calendar.zone;
        let local = |at: DateTime<Utc>| at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, true);
        Self { phase: schedule.phase(now), next_change: schedule.next_change(now).map(local) }
    }
}
