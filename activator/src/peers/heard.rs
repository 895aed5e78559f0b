//! The reports of the other pods, as long as they are fresh.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use parking_lot::Mutex;
use tidegate_core::{held::Held, refused::Refused, workload::WorkloadId};
use tokio::time::Instant;

use super::Report;

/// Time after which a report that was not renewed is void: three intervals.
const FRESH: Duration = Duration::from_secs(3);
/// Most pods, those included that were replaced within [`FRESH`].
const MOST_PODS: usize = 64;
/// Most workloads of one report.
const MOST_WORKLOADS: usize = 20_000;
/// Highest rate in requests/s that one pod can have seen.
const HIGHEST_RATE: f64 = 1e9;

/// The last report of each pod.
#[derive(Debug, Default)]
pub(super) struct HeardReports(Mutex<HashMap<u64, Heard>>);

#[derive(Debug)]
struct Heard {
    at: Instant,
    sequence: u64,
    held: BTreeMap<WorkloadId, Held>,
    refused: Vec<(WorkloadId, Refused)>,
}

impl HeardReports {
    /// Replaces the last report of its pod. `None` if it is refused, or else whether there is something of a workload of which the
    /// pod had nothing in hand before.
    pub(super) fn take(&self, report: Report) -> Option<bool> {
        let is_possible = |held: &Held| (0.0..=HIGHEST_RATE).contains(&held.arrivals_per_second);
        if report.held.len().max(report.refused.len()) > MOST_WORKLOADS
            || !report.held.iter().all(|(_, held)| is_possible(held))
        {
            return None;
        }
        let now = Instant::now();
        let mut pods = self.0.lock();
        pods.retain(|_, heard| now - heard.at < FRESH);
        let before = pods.get(&report.from);
        if before.is_none() && pods.len() >= MOST_PODS || before.is_some_and(|heard| heard.sequence >= report.sequence)
        {
            return None;
        }
        let is_in_hand = |held: &Held| held.requests > 0 || held.connections > 0;
        let was_in_hand = |workload| before.and_then(|heard| heard.held.get(workload)).is_some_and(is_in_hand);
        let is_news = report.held.iter().any(|(workload, held)| is_in_hand(held) && !was_in_hand(workload));
        let (sequence, held) = (report.sequence, report.held.into_iter().collect());
        let heard = Heard { at: now, sequence, held, refused: report.refused };
        pods.insert(report.from, heard);
        Some(is_news)
    }

    /// The refusals in all fresh reports.
    pub(super) fn refused(&self) -> Vec<(WorkloadId, Refused)> {
        let (pods, now) = (self.0.lock(), Instant::now());
        let fresh = pods.values().filter(|heard| now - heard.at < FRESH);
        fresh.flat_map(|heard| heard.refused.iter().cloned()).collect()
    }

    /// The sum of a workload over all fresh reports.
    pub(super) fn held(&self, workload: &WorkloadId) -> Held {
        let (pods, now) = (self.0.lock(), Instant::now());
        let fresh = pods.values().filter(|heard| now - heard.at < FRESH);
        fresh.filter_map(|heard| heard.held.get(workload)).fold(Held::default(), |sum, held| sum.plus(*held))
    }
}
