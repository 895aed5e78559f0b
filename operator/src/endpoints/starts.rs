//! How long workloads take from the first replica that is asked for until a pod is ready, as the watches see it.
//!
//! It is measured on every replica of Tidegate, and not kept: after a restart it is unknown until the next start.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidegate_core::{
    plan::{Plan, PlannedWorkload, Replicas},
    workload::WorkloadId,
};
use tokio::{sync::watch, time::Instant};

/// The last start of each workload that may go to zero. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Starts(Arc<Mutex<HashMap<WorkloadId, Start>>>);

#[derive(Debug)]
struct Start {
    phase: Phase,
    took: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// It has no replicas
    AtZero,
    /// It was given one, and no pod is ready
    Starting(Instant),
    /// A pod is or was ready, or it was found on its way up
    Up,
}

impl Starts {
    /// The time that the last start took; `None` if none was seen yet.
    pub fn last(&self, id: &WorkloadId) -> Option<Duration> {
        self.0.lock().get(id)?.took
    }

    /// Follows the Plans until none can come any more.
    pub async fn follow(self, mut plans: watch::Receiver<Option<Arc<Plan>>>) {
        loop {
            if let Some(plan) = plans.borrow_and_update().clone() {
                self.look(&plan, Instant::now());
            }
            if plans.changed().await.is_err() {
                return;
            }
        }
    }

    fn look(&self, plan: &Plan, now: Instant) {
        let mut starts = self.0.lock();
        let may_sleep = |workload: &PlannedWorkload| workload.gates.as_ref().is_ok_and(|gates| !gates.is_empty());
        starts.retain(|id, _| plan.workloads.get(id).is_some_and(may_sleep));
        for (id, workload) in plan.workloads.iter().filter(|(_, workload)| may_sleep(workload)) {
            let start = starts.entry(id.clone()).or_insert(Start { phase: Phase::Up, took: None });
            start.look(workload.replicas, now);
        }
    }
}

impl Start {
    fn look(&mut self, Replicas { wanted, ready }: Replicas, now: Instant) {
        if wanted == 0 {
            self.phase = Phase::AtZero;
            return;
        }
        match self.phase {
            Phase::Starting(since) if ready > 0 => {
                self.took = Some(now.saturating_duration_since(since));
                self.phase = Phase::Up;
            }
            // A Plan that shows both was late, and says nothing of the time between.
            Phase::AtZero if ready > 0 => self.phase = Phase::Up,
            Phase::AtZero => self.phase = Phase::Starting(now),
            Phase::Starting(_) | Phase::Up => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time measured by looks at these seconds, with the wanted and the ready replicas.
    fn measured(looks: &[(u64, u32, u32)]) -> Option<u64> {
        let (mut start, begin) = (Start { phase: Phase::Up, took: None }, Instant::now());
        for (seconds, wanted, ready) in looks {
            start.look(Replicas { wanted: *wanted, ready: *ready }, begin + Duration::from_secs(*seconds));
        }
        start.took.map(|took| took.as_secs())
    }

    #[test]
    fn a_start_lasts_from_the_first_replica_that_is_asked_for_until_a_pod_is_ready() {
        assert_eq!(measured(&[(0, 0, 0), (10, 1, 0), (15, 3, 0), (32, 3, 1), (40, 3, 3)]), Some(22));
    }

    #[test]
    fn a_start_that_was_not_seen_whole_or_came_to_nothing_is_not_measured() {
        assert_eq!(measured(&[(0, 1, 0), (10, 1, 1)]), None, "it was under way");
        assert_eq!(measured(&[(0, 0, 0), (3_600, 1, 1)]), None, "it began at some time in that hour");
        assert_eq!(measured(&[(0, 0, 0), (10, 1, 0), (100, 0, 0)]), None, "no pod got ready");
        assert_eq!(measured(&[(0, 0, 0), (10, 1, 0), (20, 1, 1), (30, 1, 0), (90, 1, 1)]), Some(10), "a crash is none");
    }

    #[test]
    fn the_last_start_counts() {
        let twice = [(0, 0, 0), (10, 1, 0), (20, 1, 1), (50, 0, 1), (60, 1, 0), (90, 1, 1)];
        assert_eq!(measured(&twice), Some(30));
    }
}
