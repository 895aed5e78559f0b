//! What one sync decided, and why.

use std::fmt;

use crate::quantity::Milli;

/// What one sync decided. `desired == current` means that nothing is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The replicas that were asked for before
    pub current: u32,
    /// The replicas that are asked for now
    pub desired: u32,
    /// What the metrics alone propose; `None` when they were not looked at, or failed
    pub wanted: Option<u32>,
    /// What moves it
    pub reason: Reason,
    /// Whether earlier recommendations hold it (condition AbleToScale)
    pub stabilized: Option<Stabilized>,
    /// What cut it off (condition ScalingLimited)
    pub limited_by: Option<HpaLimit>,
    /// For each metric the value per pod that `kubectl get hpa` shows; `None` for one that failed
    pub averages: Vec<Option<Milli>>,
}

/// Why replicas change, or do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The metric that asks for the most asks for more than there are
    AboveTarget(String),
    /// "All metrics below target"
    AllBelowTarget,
    /// The metrics ask for what there is, or are within the tolerance
    OnTarget,
    /// "Current number of replicas above Spec.MaxReplicas"
    AboveMax,
    /// "Current number of replicas below Spec.MinReplicas"
    BelowMin,
    /// At zero the HPA stands still; waking is KEDA's
    ScalingDisabled,
    /// All metrics failed, or some did and the others would scale down
    MetricsFailed(String),
}

/// Earlier recommendations that are still in the window hold the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stabilized {
    /// `ScaleUpStabilized`: a lower one keeps them down
    Up,
    /// `ScaleDownStabilized`: a higher one keeps them up
    Down,
}

/// What cut a change off: the reason of the condition ScalingLimited.
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
    /// Why, without the numbers before and after.
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
