//! From one look at a workload to the next: what has changed, and what it began with.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use tidegate_core::{
    intent::{Annotations, Intent},
    key::PREFIX,
    plan::{ClusterShare, Plan, PlannedWorkload, Replicas},
    schedule::{Limits, Schedule},
    workload::WorkloadId,
};

use super::{Cause, Change, History, Why, seconds, window::Window};
use crate::demand::Demands;

/// Time for which a workload without a number is not reported after it was first seen: sources need some seconds to begin.
const SETTLES: TimeDelta = TimeDelta::seconds(60);
/// Most annotations and routes that are named.
const NAMED: usize = 5;

/// Compares each look at a workload with the one before.
#[derive(Debug, Default)]
pub struct Recorder(HashMap<WorkloadId, Seen>);

/// What was seen of a workload. Everything large is shared with the Plan.
#[derive(Debug)]
struct Seen {
    first: DateTime<Utc>,
    /// Whether it is in the history
    begun: bool,
    wanted: Option<u32>,
    complete: bool,
    window: Window,
    annotations: Annotations,
    schedule: Option<Arc<Schedule>>,
    limits: Option<Limits>,
    routes: u64,
    pods: Pods,
    /// What has changed since the number last did, where `scale-down-after` keeps the number up meanwhile
    pending: Option<Cause>,
}

/// The replicas, less the steps between two numbers of ready ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pods {
    wanted: u32,
    all_are_ready: bool,
    none_is_ready: bool,
}

/// The number that is wanted now, and why.
struct Verdict {
    wanted: Option<u32>,
    complete: bool,
    limits: Option<Limits>,
    why: Why,
}

impl Recorder {
    /// Looks at a workload of the Plan, and adds what has changed to the history. Returns the change.
    pub fn look(
        &mut self,
        history: &History,
        id: &WorkloadId,
        plan: &Plan,
        demands: &Demands,
        now: DateTime<Utc>,
    ) -> Option<Change> {
        let workload = plan.workloads.get(id)?;
        let seen = match self.0.get_mut(id) {
            Some(seen) => seen,
            None => self.0.entry(id.clone()).or_insert_with(|| Seen::new(workload, now)),
        };
        let verdict = seen.verdict(id, workload, plan, demands, now);
        let change = if seen.begun { seen.changed(workload, &verdict) } else { seen.begins(&verdict, now) };
        let from = seen.wanted;
        seen.update(workload, &verdict);
        let (cause, detail) = change?;
        let from = if std::mem::replace(&mut seen.begun, true) {
            from
        } else {
            let last = history.last(id, 1).pop();
            if last.as_ref().is_some_and(|last| last.to == verdict.wanted) {
                // Another process has seen it before.
                return None;
            }
            last.and_then(|last| last.to)
        };
        let phase = workload.schedule.as_ref().map(|schedule| schedule.phase(demands.now()));
        let why = Why { phase, ..verdict.why };
        let change = Change { at: now, from, to: verdict.wanted, cause, detail, why, replicas: workload.replicas };
        history.add(id, &change);
        Some(change)
    }

    /// Forgets workloads that are not in the Plan. Their past stays in the history.
    pub fn keep(&mut self, plan: &Plan) {
        self.0.retain(|id, _| plan.workloads.contains_key(id));
    }
}

impl Seen {
    fn new(workload: &PlannedWorkload, now: DateTime<Utc>) -> Self {
        Self {
            first: now,
            begun: false,
            wanted: None,
            complete: false,
            window: Window::default(),
            annotations: workload.applied.clone(),
            schedule: workload.schedule.clone(),
            limits: None,
            routes: routes_hash(&workload.traffic),
            pods: workload.replicas.into(),
            pending: None,
        }
    }

    fn update(&mut self, workload: &PlannedWorkload, verdict: &Verdict) {
        self.wanted = verdict.wanted;
        self.complete = verdict.complete;
        self.limits = verdict.limits;
        self.annotations.clone_from(&workload.applied);
        self.schedule.clone_from(&workload.schedule);
        self.routes = routes_hash(&workload.traffic);
        self.pods = workload.replicas.into();
    }

    fn verdict(
        &mut self,
        id: &WorkloadId,
        workload: &PlannedWorkload,
        plan: &Plan,
        demands: &Demands,
        now: DateTime<Utc>,
    ) -> Verdict {
        let nothing = |why: String| Verdict { wanted: None, complete: false, limits: None, why: Why::nothing(why) };
        let intent = match &workload.intent {
            Ok(intent) if intent.paused => return nothing(format!("{PREFIX}paused is true")),
            Ok(intent) => intent,
            Err(problems) => {
                return nothing(
                    problems.first().map_or_else(|| "its annotations are invalid".to_owned(), ToString::to_string),
                );
            }
        };
        let look = demands.look(id, intent, plan);
        let mut why = Why::of(&look, intent, None);
        let wanted = look.desired.map(|desired| {
            let held = self.held(desired.replicas, intent, look.is_complete(), now);
            why.held = look.is_complete() && held > desired.replicas;
            held
        });
        Verdict { wanted, complete: look.is_complete(), limits: look.limits, why }
    }

    /// The number as the HPA arrives at it: not fewer than within the window, nor than before while a signal is unknown.
    fn held(&mut self, desired: u32, intent: &Intent, complete: bool, now: DateTime<Utc>) -> u32 {
        self.window.clamp(intent.bounds.max);
        let length = if desired == 0 { intent.zero_after() } else { intent.scale_down_after };
        let largest = self.window.largest(seconds(now), desired, length);
        let before = if complete { 0 } else { self.wanted.unwrap_or(0) };
        largest.max(before).min(intent.bounds.max)
    }

    /// Whether the workload is worth a first entry by now.
    fn begins(&self, verdict: &Verdict, now: DateTime<Utc>) -> Option<(Cause, Option<String>)> {
        let is_due = verdict.wanted.is_some() && verdict.complete || now >= self.first + SETTLES;
        is_due.then_some((Cause::Start, None))
    }

    /// What has changed since the last look, if anything has.
    fn changed(&mut self, workload: &PlannedWorkload, verdict: &Verdict) -> Option<(Cause, Option<String>)> {
        let edit = self.edited(workload, verdict);
        let (falls, is_held) = (verdict.wanted < self.wanted, verdict.why.held);
        self.pending = match &edit {
            Some((cause, _)) => Some(*cause).filter(|_| is_held),
            None => self.pending.filter(|_| verdict.wanted <= self.wanted),
        };
        if edit.is_none() && verdict.wanted != self.wanted {
            let is_known = verdict.wanted.is_some() && self.wanted.is_some() && verdict.complete == self.complete;
            let of_demand = self.pending.filter(|_| falls).unwrap_or(Cause::Demand);
            self.pending = self.pending.filter(|_| is_held);
            return Some((if is_known { of_demand } else { Cause::Signals }, None));
        }
        let signals = (verdict.complete != self.complete).then_some((Cause::Signals, None));
        let pods = (Pods::from(workload.replicas) != self.pods).then_some((Cause::Pods, None));
        edit.or(signals).or(pods)
    }

    /// What somebody, or the clock, has changed of it.
    fn edited(&self, workload: &PlannedWorkload, verdict: &Verdict) -> Option<(Cause, Option<String>)> {
        if workload.applied != self.annotations {
            return Some((Cause::Annotations, Some(differences(&self.annotations, &workload.applied))));
        }
        let calendar = |schedule: &Option<Arc<Schedule>>| schedule.as_ref().map(|schedule| schedule.calendar.clone());
        let is_same = match (&self.schedule, &workload.schedule) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now) || before == now,
            (None, None) => true,
            _ => false,
        };
        if !is_same && calendar(&self.schedule) != calendar(&workload.schedule) {
            return Some((Cause::Calendar, workload.calendar.clone()));
        }
        if routes_hash(&workload.traffic) != self.routes {
            return Some((Cause::Routes, Some(routes(&workload.traffic))));
        }
        (verdict.limits != self.limits && self.limits.is_some() && verdict.limits.is_some())
            .then_some((Cause::Hours, None))
    }
}

impl From<Replicas> for Pods {
    fn from(Replicas { wanted, ready }: Replicas) -> Self {
        Self { wanted, all_are_ready: ready >= wanted, none_is_ready: ready == 0 }
    }
}

/// The annotations that differ, less their prefix: `max-replicas 10 → 20`.
fn differences(before: &Annotations, after: &Annotations) -> String {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).filter(|key| key.starts_with(PREFIX)).collect();
    let differ: Vec<_> = keys.into_iter().filter(|key| before.get(key) != after.get(key)).collect();
    let difference = |key: &&str| {
        let name = key.strip_prefix(PREFIX).unwrap_or(key);
        match (before.get(key), after.get(key)) {
            (Some(before), Some(after)) => format!("{name} {before} → {after}"),
            (None, Some(after)) => format!("{name} {after} is new"),
            (_, None) => format!("{name} is gone"),
        }
    };
    named(&differ, difference)
}

/// The rules of routes that lead to the workload, with its parts of them.
fn routes(shares: &[ClusterShare]) -> String {
    if shares.is_empty() {
        return "none leads to it".to_owned();
    }
    named(&shares.iter().collect::<Vec<_>>(), |share| {
        let mut text = share.route.to_string();
        if share.share < 1.0 {
            let _infallible = write!(text, " ({:.0} %)", share.share * 100.0);
        }
        text
    })
}

fn named<T>(all: &[T], name: impl Fn(&T) -> String) -> String {
    let names: Vec<_> = all.iter().take(NAMED).map(name).collect();
    let more = all.len().saturating_sub(NAMED);
    if more > 0 { format!("{} and {more} more", names.join(", ")) } else { names.join(", ") }
}

/// A hash of the routes that lead to a workload, and of its parts of them. Not of its part of the Service, which follows its pods.
fn routes_hash(shares: &[ClusterShare]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for ClusterShare { route, service, share, .. } in shares {
        (route, service, share.to_bits()).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
