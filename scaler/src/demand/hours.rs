//! The current limits from the business hours of workloads.

use std::{collections::HashMap, ops::Range, sync::Arc};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tidegate_core::{
    plan::{Plan, PlannedWorkload},
    schedule::{LATEST, Limits, Schedule},
    trigger::{Traffic, Trigger, TriggerSchedule},
    workload::WorkloadId,
};

use super::{NoDemand, unknown_workload};

/// Source of the current time: the system's clock, or that of a test.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Cache of the limits of schedules, each computed once for as long as it holds.
pub(super) struct HoursNow {
    clock: Clock,
    known: Mutex<HashMap<WorkloadId, CachedLimits>>,
}

struct CachedLimits {
    schedule: Arc<Schedule>,
    limits: Limits,
    holds: Range<DateTime<Utc>>,
    /// Latest time until which the opening may wait for another workload
    waits_until: Option<DateTime<Utc>>,
}

impl HoursNow {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, known: Mutex::default() }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// `None` where there is no schedule.
    pub(super) fn limits(&self, trigger: &Trigger, plan: &Plan) -> Option<Limits> {
        let now = self.now();
        match (trigger.schedule.as_ref()?, &trigger.traffic) {
            (TriggerSchedule::Own(schedule), _) => Some(schedule.limits(now)),
            (TriggerSchedule::OfWorkload, Some(Traffic::Workload(id))) => {
                let workload = plan.workloads.get(id)?;
                let schedule = workload.schedule.as_ref()?;
                let (limits, waits_until) = self.of_workload(id, schedule, now, plan.workloads.len());
                let waits = waits_until.is_some_and(|end| now < end) && must_wait(workload, schedule);
                Some(if waits { schedule.closed() } else { limits })
            }
            (TriggerSchedule::OfWorkload, _) => None,
        }
    }

    fn of_workload(
        &self,
        id: &WorkloadId,
        schedule: &Arc<Schedule>,
        now: DateTime<Utc>,
        workloads: usize,
    ) -> (Limits, Option<DateTime<Utc>>) {
        // A panic elsewhere leaves consistent entries.
        let mut known = self.known.lock();
        // An entry does not apply once a clock that was set back is outside its range, or an override has changed the schedule.
        let same = |known: &&CachedLimits| known.holds.contains(&now) && *known.schedule == **schedule;
        if let Some(known) = known.get(id).filter(same) {
            return (known.limits, known.waits_until);
        }
        let (limits, until) = schedule.limits_until(now);
        if known.len() > 2 * workloads {
            // Drops the entries of workloads that are gone; the others are computed again.
            known.clear();
        }
        let waits_until = schedule.after.as_ref().and_then(|_| Some(schedule.floor_since(now)? + LATEST));
        known.insert(
            id.clone(),
            CachedLimits { schedule: Arc::clone(schedule), limits, holds: now..until, waits_until },
        );
        (limits, waits_until)
    }
}

/// A workload with more replicas than outside hours has opened, and does not close again because the other one is restarted.
fn must_wait(workload: &PlannedWorkload, schedule: &Schedule) -> bool {
    let opened = workload.replicas.wanted > schedule.off_hours_replicas;
    !opened && workload.after.as_ref().is_some_and(|after| !after.ready)
}

/// The error for a trigger that uses its workload's business hours where there are none.
pub(super) fn no_hours(trigger: &Trigger, plan: &Plan) -> NoDemand {
    match &trigger.traffic {
        Some(Traffic::Workload(id)) if plan.workloads.contains_key(id) => NoDemand::NoHours { id: id.clone() },
        Some(Traffic::Workload(id)) => unknown_workload(id, plan),
        _ => NoDemand::NoTraffic,
    }
}

impl std::fmt::Debug for HoursNow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HoursNow")
    }
}
