//! All workloads and Gateways at a glance: one row each, with the number that is wanted and why.

mod gateways;
mod weeks;
mod workloads;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    intent::Bounds,
    plan::{Plan, PlannedWorkload, Replicas},
    schedule::Phase,
    signal::Signal,
    workload::WorkloadId,
};
use tokio::time::{Duration, Instant};

pub use self::weeks::{Day, Part, Week, weeks};
use crate::{
    demand::Demands,
    history::{History, Limit},
};

/// Time for which an overview is given to all who ask: it takes some µs per workload to make.
const FRESH: Duration = Duration::from_secs(1);
/// The time that the numbers of the past go back.
const PAST: TimeDelta = TimeDelta::hours(1);
/// How many of these there are.
const PAST_NUMBERS: i32 = 30;

/// All that Tidegate scales.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// When it was made
    pub at: DateTime<Utc>,
    /// The workloads, by namespace, kind and name
    pub workloads: Vec<OverviewRow>,
    /// The Gateways, by namespace and name
    pub gateways: Vec<OverviewRow>,
}

/// A workload or a Gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverviewRow {
    /// Its namespace
    pub namespace: String,
    /// `Deployment`, another kind that is scaled, with its group for a custom one, or `Gateway`
    pub kind: String,
    /// Its name
    pub name: String,
    /// Its state in one word
    pub state: State,
    /// Each signal
    pub signals: Vec<OverviewSignal>,
    /// Replicas, or proxies, that are wanted now, before `scale-down-after`; `None` if that is not known
    pub wanted: Option<u32>,
    /// What it has: `spec.replicas`, and the ready ones where these are known
    pub replicas: OverviewReplicas,
    /// The fewest and the most at any hour; `None` while the annotations are invalid
    pub bounds: Option<Bounds>,
    /// The bound that changed the number
    pub limit: Option<Limit>,
    /// The reason for the number, in one short sentence
    pub why: String,
    /// Its business hours, if it has any
    pub hours: Option<OverviewHours>,
    /// What is wrong with it
    pub problems: Vec<String>,
    /// The numbers that were wanted within the last hour, the oldest first
    pub past: Vec<Option<u32>>,
}

/// The state of a workload or a Gateway: of several that are true, the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its annotations are invalid
    Invalid,
    /// `paused` is `true`
    Paused,
    /// Not all of its signals are known: nothing is taken away
    Unknown,
    /// It needs more than it may have
    AtMaximum,
    /// It is outside its hours
    Closed,
    /// More are on their way
    ScalingUp,
    /// Fewer are needed than it has
    ScalingDown,
    /// Nothing is needed, and it has no replicas
    Asleep,
    /// It has what it needs
    Steady,
}

impl State {
    /// The state as a word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Paused => "paused",
            Self::Unknown => "unknown",
            Self::AtMaximum => "at-maximum",
            Self::Closed => "closed",
            Self::ScalingUp => "scaling-up",
            Self::ScalingDown => "scaling-down",
            Self::Asleep => "asleep",
            Self::Steady => "steady",
        }
    }

    /// The state that follows from the numbers.
    fn of_numbers(wanted: u32, limit: Option<Limit>, replicas: OverviewReplicas) -> Self {
        let OverviewReplicas { current, ready } = replicas;
        match limit {
            Some(Limit::MaxReplicas) => Self::AtMaximum,
            Some(Limit::OffHours) => Self::Closed,
            _ if wanted > current || ready.is_some_and(|ready| ready < current.min(wanted)) => Self::ScalingUp,
            _ if wanted < current => Self::ScalingDown,
            _ if wanted == 0 => Self::Asleep,
            _ => Self::Steady,
        }
    }
}

/// What a workload or a Gateway has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverviewReplicas {
    /// The number that is asked for: `spec.replicas`, or that of the EnvoyProxy
    pub current: u32,
    /// Those that are ready; `None` where that is not known
    pub ready: Option<u32>,
}

impl From<Replicas> for OverviewReplicas {
    fn from(Replicas { wanted, ready }: Replicas) -> Self {
        Self { current: wanted, ready: Some(ready) }
    }
}

/// One signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverviewSignal {
    /// The signal
    pub signal: Signal,
    /// Unit of its numbers
    pub unit: String,
    /// The demand; `None` if it is not known
    pub demand: Option<f64>,
    /// What one replica carries
    pub per_replica: f64,
    /// Replicas that carry the demand
    pub replicas: Option<u32>,
}

/// Business hours now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverviewHours {
    /// `open`, `awake`, `warm-up` or `closed`
    pub phase: Phase,
    /// The next change, in the zone of the hours; `None` when nothing changes for years
    pub next_change: Option<String>,
}

/// Makes overviews, at most one a second however many ask.
#[derive(Debug, Default)]
pub struct Overviews(Mutex<Option<(Instant, Arc<Overview>)>>);

impl Overviews {
    /// The overview of now.
    pub fn get(&self, plan: &Plan, demands: &Demands, history: &History) -> Arc<Overview> {
        let mut last = self.0.lock();
        if let Some((_, overview)) = last.as_ref().filter(|(made, _)| made.elapsed() < FRESH) {
            return Arc::clone(overview);
        }
        let overview = Arc::new(overview(plan, demands, history));
        *last = Some((Instant::now(), Arc::clone(&overview)));
        overview
    }
}

/// One row for each workload and Gateway of the Plan.
pub fn overview(plan: &Plan, demands: &Demands, history: &History) -> Overview {
    let at = demands.now();
    let past: Vec<_> = (1..=PAST_NUMBERS).map(|number| at - PAST + PAST * number / PAST_NUMBERS).collect();
    let row = |(id, workload): (&WorkloadId, &PlannedWorkload)| {
        workloads::row(id, workload, plan, demands, history.wanted(id, &past))
    };
    let workloads = plan.workloads.iter().map(row).collect();
    Overview { at, workloads, gateways: gateways::rows(plan, demands) }
}

impl Overview {
    /// All rows: workloads, then Gateways.
    pub fn rows(&self) -> impl Iterator<Item = &OverviewRow> {
        self.workloads.iter().chain(&self.gateways)
    }

    /// The rows of one namespace.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        let here = |rows: &[OverviewRow]| rows.iter().filter(|row| row.namespace == namespace).cloned().collect();
        Self { at: self.at, workloads: here(&self.workloads), gateways: here(&self.gateways) }
    }
}

#[cfg(test)]
mod tests;
