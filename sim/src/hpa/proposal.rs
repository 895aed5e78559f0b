//! From metrics to a proposal: `computeReplicasForMetrics` (`horizontal.go`) and `GetExternalPerPodMetricReplicas`
//! (`replica_calculator.go`).

use super::{Behavior, Scale, Tolerance};
use crate::quantity::Milli;

/// One External metric of the HPA, and the metrics API's answer for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricResult {
    /// Its name in the HPA, such as `s0-requests-per-second`
    pub name: String,
    /// The `averageValue` that one replica should see; above zero
    pub target: Milli,
    /// All values of that name, which the HPA sums, or why there are none
    pub values: Result<Vec<Milli>, String>,
}

impl MetricResult {
    /// A metric that was answered with one value.
    pub fn new(name: impl Into<String>, target: Milli, value: Milli) -> Self {
        Self { name: name.into(), target, values: Ok(vec![value]) }
    }

    /// A metric that could not be read.
    pub fn failed(name: impl Into<String>, target: Milli, error: impl Into<String>) -> Self {
        Self { name: name.into(), target, values: Err(error.into()) }
    }

    /// The sum of all values, saturating.
    pub fn usage(&self) -> Result<Milli, String> {
        match &self.values {
            Ok(values) if values.is_empty() => Err("no metrics returned from external metrics API".to_owned()),
            Ok(values) => Ok(Milli(values.iter().fold(0, |sum: i64, value| sum.saturating_add(value.0)))),
            Err(error) => Err(error.clone()),
        }
    }
}

/// How far a metric may be off its target before replicas change, as shares of the target (`tolerancesForHpa`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tolerances {
    pub(super) up: f64,
    pub(super) down: f64,
}

impl Tolerances {
    pub(super) fn of(behavior: Option<&Behavior>, default: f64) -> Self {
        let of = |rules: Option<&super::ScalingRules>| rules?.tolerance.map(Tolerance::get);
        let up = behavior.and_then(|behavior| of(behavior.scale_up.as_ref()));
        let down = behavior.and_then(|behavior| of(behavior.scale_down.as_ref()));
        Self { up: up.unwrap_or(default), down: down.unwrap_or(default) }
    }

    fn allow(self, usage_ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&usage_ratio)
    }
}

/// The largest number of replicas that a metric proposes, and that metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) replicas: u32,
    pub(super) metric: String,
}

/// Returns the largest proposal. An error when no metric could be read, or when one could not and the others would scale down.
pub(super) fn propose(scale: Scale, metrics: &[MetricResult], tolerances: Tolerances) -> Result<Proposal, String> {
    let mut largest: Option<Proposal> = None;
    let mut first_error = None;
    for metric in metrics {
        match metric.usage() {
            Ok(usage) => {
                let replicas = replicas_for(scale.status, usage, metric.target, tolerances);
                // In Go zero stands for "none yet", so among several zeros the last metric's name is kept.
                if largest.as_ref().is_none_or(|l| l.replicas == 0 || replicas > l.replicas) {
                    largest = Some(Proposal { replicas, metric: metric.name.clone() });
                }
            }
            Err(error) if first_error.is_none() => first_error = Some(format!("{}: {error}", metric.name)),
            Err(_) => {}
        }
    }
    match (largest, first_error) {
        (Some(proposal), None) => Ok(proposal),
        (Some(proposal), Some(_)) if proposal.replicas >= scale.spec => Ok(proposal),
        (_, Some(error)) => Err(error),
        (None, None) => Err("the HPA has no metrics".to_owned()),
    }
}

/// `GetExternalPerPodMetricReplicas`. With zero pods the ratio is infinite or not a number, both outside any tolerance.
pub(super) fn replicas_for(pods: u32, usage: Milli, target: Milli, tolerances: Tolerances) -> u32 {
    let (usage, target) = (usage.0 as f64, target.0 as f64);
    if tolerances.allow(usage / (target * f64::from(pods))) {
        return pods;
    }
    // Kubernetes stores replicas as a signed 32-bit integer.
    (usage / target).ceil().clamp(0.0, f64::from(i32::MAX)) as u32
}

/// The value per pod that the HPA's status shows, for each metric.
pub(super) fn averages(scale: Scale, metrics: &[MetricResult]) -> Vec<Option<Milli>> {
    metrics.iter().map(|metric| Some(average(scale.status, metric.usage().ok()?))).collect()
}

/// Rounded up to the next thousandth, as in `GetExternalPerPodMetricReplicas`.
pub(super) fn average(pods: u32, usage: Milli) -> Milli {
    Milli((usage.0 as f64 / f64::from(pods)).ceil() as i64)
}
