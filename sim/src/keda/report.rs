//! Reports of decisions, for a live view or a record.

use std::time::Duration;

use super::{Answers, Change, Poll, answers::without_index};
use crate::{
    hpa::{Decision, MetricResult},
    quantity::Milli,
};

/// One decision of KEDA or of the HPA, whether or not it changes the replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Since the start
    pub at: Duration,
    /// The loop that decided
    pub source: Source,
    /// The metrics as they were seen
    pub metrics: Vec<MetricReport>,
    /// The replicas before
    pub replicas: u32,
    /// The replicas that were set; equal to `replicas` if none were
    pub desired: u32,
    /// The reason, as a sentence
    pub why: String,
}

/// The loop that makes a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The HPA's sync
    Hpa,
    /// KEDA's scale loop
    Poll,
    /// A push stream
    Push,
}

/// One metric as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricReport {
    /// Its name in the HPA: `s0-requests-per-second`
    pub name: String,
    /// The target value per replica
    pub target: Milli,
    /// The sum over all replicas, or why there is none
    pub value: Result<Milli, String>,
}

impl Report {
    pub(super) fn of_sync(at: Duration, decision: &Decision, metrics: &[MetricResult]) -> Self {
        let metric = |m: &MetricResult| MetricReport { name: m.name.clone(), target: m.target, value: m.usage() };
        Self {
            at,
            source: Source::Hpa,
            metrics: metrics.iter().map(metric).collect(),
            replicas: decision.current,
            desired: decision.desired,
            why: plainly(decision, metrics),
        }
    }

    pub(super) fn of_poll(at: Duration, replicas: u32, poll: Poll, answers: &Answers) -> Self {
        let state = match (poll.active, poll.error) {
            (true, false) => "active",
            (true, true) => "active, but a trigger failed",
            (false, false) => "not active",
            (false, true) => "a trigger failed",
        };
        let readings = answers.triggers.iter().flat_map(|trigger| {
            trigger.specs.iter().flatten().filter_map(|spec| Some((spec, trigger.metrics.get(&spec.name)?)))
        });
        let metrics = readings.map(|(spec, answer)| {
            let value = answer.as_ref().map(|reading| sum(&reading.values)).map_err(Clone::clone);
            MetricReport { name: spec.name.clone(), target: spec.target, value }
        });
        Self { metrics: metrics.collect(), ..Self::of_change(at, Source::Poll, replicas, poll.change, state) }
    }

    pub(super) fn of_push(at: Duration, replicas: u32, change: Option<Change>) -> Self {
        Self::of_change(at, Source::Push, replicas, change, "active")
    }

    fn of_change(at: Duration, source: Source, replicas: u32, change: Option<Change>, state: &str) -> Self {
        let why = match change {
            None => state.to_owned(),
            Some(Change::Activate(_)) => format!("{state}: woken"),
            Some(Change::Deactivate(_)) => format!("{state} for the cooldown period"),
            Some(Change::RaiseToMinimum(_)) => format!("{state}, but fewer than the minimum"),
        };
        let desired = change.map_or(replicas, Change::replicas);
        Self { at, source, metrics: Vec::new(), replicas, desired, why }
    }

    pub(super) fn failed_to_scale(self, error: &str) -> Self {
        Self { desired: self.replicas, why: format!("{}, but it could not be set: {error}", self.why), ..self }
    }
}

/// The reason, with the names of metrics as the scaler has them: KEDA's prefix means nothing to a reader.
fn plainly(decision: &Decision, metrics: &[MetricResult]) -> String {
    metrics.iter().fold(decision.why().to_string(), |why, m| why.replace(&m.name, without_index(&m.name)))
}

fn sum(values: &[Milli]) -> Milli {
    Milli(values.iter().fold(0, |sum: i64, value| sum.saturating_add(value.0)))
}
