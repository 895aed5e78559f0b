//! The decision of one sync, and its reason.

use std::fmt;

use crate::quantity::Milli;

/// The decision of one sync. `desired == current` means that nothing is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The requested replicas before the sync
    pub current: u32,
    /// The requested replicas after the sync
    pub desired: u32,
    /// The replicas that the metrics alone propose; `None` when they were not read, or failed
    pub wanted: Option<u32>,
    /// Why replicas change, or do not
    pub reason: Reason,
    /// Whether earlier recommendations hold the replicas (condition AbleToScale)
    pub stabilized: Option<Stabilized>,
    /// The limit that cut off the change (condition ScalingLimited)
    pub limited_by: Option<HpaLimit>,
    /// For each metric the value per pod that `kubectl get hpa` shows; `None` for one that failed
    pub averages: Vec<Option<Milli>>,
}

/// Why replicas change, or do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The largest proposal, of this metric, is above the current replicas
    AboveTarget(String),
    /// "All metrics below target"
    AllBelowTarget,
    /// The metrics propose the current replicas, or are within the tolerance
    OnTarget,
    /// "Current number of replicas above Spec.MaxReplicas"
    AboveMax,
    /// "Current number of replicas below Spec.MinReplicas"
    BelowMin,
    /// At zero replicas the HPA does nothing; KEDA wakes the workload
    ScalingDisabled,
    /// All metrics failed, or some did and the others would scale down
    MetricsFailed(String),
}

/// How earlier recommendations that are still in the window hold the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stabilized {
    /// `ScaleUpStabilized`: a lower one keeps them down
    Up,
    /// `ScaleDownStabilized`: a higher one keeps them up
    Down,
}

/// The limit that cut off a change: the reason of the condition ScalingLimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HpaLimit {
    /// Policies allow no faster growth
    ScaleUpLimit,
    /// Policies allow no faster shrinking
    ScaleDownLimit,
    /// `maxReplicas`
    TooManyReplicas,
    /// `minReplicas`
    TooFewReplicas,
}

impl Decision {
    /// Describes the reason, without the numbers before and after.
    pub fn why(&self) -> impl fmt::Display {
        Why(self)
    }

    pub(super) fn unchanged(current: u32, reason: Reason) -> Self {
        Self {
            current,
            desired: current,
            wanted: None,
            reason,
            stabilized: None,
            limited_by: None,
            averages: Vec::new(),
        }
    }
}

/// A sentence for people: `1 → 4: s0-requests-per-second above target, which takes 9, the scale-up policies allow no more now`.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.desired == self.current {
            write!(f, "{} stay: {}", self.current, self.why())
        } else {
            write!(f, "{} → {}: {}", self.current, self.desired, self.why())
        }
    }
}

struct Why<'a>(&'a Decision);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decision { desired, wanted, reason, stabilized, limited_by, .. } = self.0;
        write!(f, "{reason}")?;
        if let Some(wanted) = wanted.filter(|wanted| wanted != desired) {
            write!(f, ", which takes {wanted}")?;
        }
        if let Some(stabilized) = stabilized {
            write!(f, ", {stabilized}")?;
        }
        if let Some(limit) = limited_by {
            write!(f, ", {limit}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AboveTarget(metric) => write!(f, "{metric} above target"),
            Self::AllBelowTarget => f.write_str("all metrics below target"),
            Self::OnTarget => f.write_str("on target"),
            Self::AboveMax => f.write_str("more replicas than the maximum"),
            Self::BelowMin => f.write_str("fewer replicas than the minimum"),
            Self::ScalingDisabled => f.write_str("the HPA stands still at zero"),
            Self::MetricsFailed(error) => write!(f, "metrics failed ({error})"),
        }
    }
}

impl fmt::Display for Stabilized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "held down by a recent lower recommendation",
            Self::Down => "held up by a recent higher recommendation",
        })
    }
}

impl fmt::Display for HpaLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ScaleUpLimit => "the scale-up policies allow no more now",
            Self::ScaleDownLimit => "the scale-down policies allow no less now",
            Self::TooManyReplicas => "the maximum",
            Self::TooFewReplicas => "the minimum",
        })
    }
}
