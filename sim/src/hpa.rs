//! The Horizontal Pod Autoscaler's algorithm for External metrics with an `AverageValue` target, as of Kubernetes 1.37.
//!
//! A port, step by step, of `pkg/controller/podautoscaler`: `reconcileAutoscaler` and its callees in `horizontal.go`,
//! `GetExternalPerPodMetricReplicas` in `replica_calculator.go`, and the defaults of `pkg/apis/autoscaling/v2/defaults.go`.
//! Its table tests are ported as well. The caller supplies the time, so a day replays in a millisecond.
//!
//! 1. Proposals: every metric proposes replicas, the largest wins; while a metric fails, replicas never fall.
//! 2. Stabilisation: the proposals of the last minutes hold replicas up (or down).
//! 3. Rates: policies limit the change within a period.
//!
//! Left out because KEDA never creates such an HPA: `minReplicas: 0`, and metrics that are not External.

mod behavior;
mod decision;
#[cfg(test)]
mod kubernetes_tests;
#[cfg(test)]
mod properties;
mod proposal;
mod rate;
mod stabilize;

use std::time::Duration;

pub use self::{
    behavior::{Behavior, Policy, PolicyKind, ScalingRules, SelectPolicy, Tolerance},
    decision::{Decision, HpaLimit, Reason, Stabilized},
    proposal::MetricResult,
};
use self::{
    behavior::{Direction, Rules},
    proposal::{Proposal, Tolerances},
    rate::{Events, RateBounds},
    stabilize::Recommendations,
};

/// The spec of an HPA object, without its metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct HpaSpec {
    /// `minReplicas`; KEDA never writes less than 1, and 0 is taken as 1
    pub min_replicas: u32,
    /// `maxReplicas`
    pub max_replicas: u32,
    /// `behavior`
    pub behavior: Option<Behavior>,
}

/// The flags of kube-controller-manager that affect the HPA.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ControllerFlags {
    /// `--horizontal-pod-autoscaler-tolerance`: how far a metric may be off its target, as a share; default 0.1
    pub tolerance: f64,
    /// `--horizontal-pod-autoscaler-downscale-stabilization`; default 5 minutes
    pub downscale_stabilization: Duration,
    /// `--horizontal-pod-autoscaler-sync-period`: from the end of one sync to the next; default 15 seconds
    pub sync_period: Duration,
}

impl Default for ControllerFlags {
    fn default() -> Self {
        Self { tolerance: 0.1, downscale_stabilization: Duration::from_secs(300), sync_period: Duration::from_secs(15) }
    }
}

/// The target's scale subresource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// `spec.replicas`: the requested replicas
    pub spec: u32,
    /// `status.replicas`: pods that exist, ready or not. Averages and the tolerance are based on it
    pub status: u32,
}

impl From<u32> for Scale {
    fn from(replicas: u32) -> Self {
        Self { spec: replicas, status: replicas }
    }
}

/// One HPA and the state that its controller keeps for it.
///
/// ```
/// use std::time::Duration;
/// use tidegate_sim::{hpa::{ControllerFlags, Hpa, HpaSpec, HpaLimit, MetricResult}, quantity::Milli};
///
/// let spec = HpaSpec { min_replicas: 1, max_replicas: 20, behavior: None };
/// let mut hpa = Hpa::new(spec, ControllerFlags::default());
/// // 830 requests/s in all, 100 for each replica: 9 replicas, but without a behavior 4 at most from 1.
/// let load = MetricResult::new("s0-requests-per-second", Milli::whole(100), Milli::whole(830));
/// let decision = hpa.sync(Duration::ZERO, 1, &[load.clone()]);
/// assert_eq!((decision.desired, decision.limited_by), (4, Some(HpaLimit::ScaleUpLimit)));
/// assert_eq!(hpa.sync(Duration::from_secs(15), 4, &[load.clone()]).desired, 8);
/// assert_eq!(hpa.sync(Duration::from_secs(30), 8, &[load]).desired, 9);
/// ```
#[derive(Debug, Clone)]
pub struct Hpa {
    bounds: RateBounds,
    rules: Option<Rules>,
    tolerances: Tolerances,
    window: Duration,
    recommendations: Recommendations,
    events: Events,
}

impl Hpa {
    /// A new HPA, with the defaults that the API server and the controller fill in.
    pub fn new(spec: HpaSpec, flags: ControllerFlags) -> Self {
        let tolerances = Tolerances::of(spec.behavior.as_ref(), flags.tolerance);
        let rules = spec.behavior.map(|behavior| Rules::with_defaults(behavior, flags.downscale_stabilization));
        Self {
            bounds: RateBounds { min: spec.min_replicas.max(1), max: spec.max_replicas },
            rules,
            tolerances,
            window: flags.downscale_stabilization,
            recommendations: Recommendations::default(),
            events: Events::default(),
        }
    }

    /// Runs one sync whose decision is carried out: [`decide`](Self::decide) and [`rescaled`](Self::rescaled).
    ///
    /// `now` is the time since any fixed instant and must not go backwards.
    pub fn sync(&mut self, now: Duration, scale: impl Into<Scale>, metrics: &[MetricResult]) -> Decision {
        let decision = self.decide(now, scale, metrics);
        self.rescaled(now, &decision);
        decision
    }

    /// Decides on the replicas now (`reconcileAutoscaler`). The caller sets the scale and then calls [`rescaled`](Self::rescaled).
    pub fn decide(&mut self, now: Duration, scale: impl Into<Scale>, metrics: &[MetricResult]) -> Decision {
        let scale = scale.into();
        let current = scale.spec;
        self.recommendations.remember_initial(now, current);
        if current == 0 {
            return Decision::unchanged(0, Reason::ScalingDisabled);
        }
        if current > self.bounds.max {
            return Decision { desired: self.bounds.max, ..Decision::unchanged(current, Reason::AboveMax) };
        }
        if current < self.bounds.min {
            return Decision { desired: self.bounds.min, ..Decision::unchanged(current, Reason::BelowMin) };
        }
        let averages = proposal::averages(scale, metrics);
        match proposal::propose(scale, metrics, self.tolerances) {
            Ok(proposal) => Decision { averages, ..self.normalize(now, current, &proposal) },
            Err(error) => Decision { averages, ..Decision::unchanged(current, Reason::MetricsFailed(error)) },
        }
    }

    /// Whether a sync at this many replicas reads the metrics: not at zero, and not outside the bounds.
    pub const fn looks_at_metrics(&self, replicas: u32) -> bool {
        0 < replicas && self.bounds.min <= replicas && replicas <= self.bounds.max
    }

    /// Records that the scale was set as decided: policies include this change from now on (`storeScaleEvent`).
    pub fn rescaled(&mut self, now: Duration, decision: &Decision) {
        if let Some(rules) = &self.rules {
            self.events.store(now, decision.current, decision.desired, rules);
        }
    }

    /// `normalizeDesiredReplicas` without a behavior, `normalizeDesiredReplicasWithBehaviors` with one.
    fn normalize(&mut self, now: Duration, current: u32, proposal: &Proposal) -> Decision {
        let wanted = proposal.replicas;
        let reason = match wanted.cmp(&current) {
            std::cmp::Ordering::Greater => Reason::AboveTarget(proposal.metric.clone()),
            std::cmp::Ordering::Less => Reason::AllBelowTarget,
            std::cmp::Ordering::Equal => Reason::OnTarget,
        };
        let (stable, (desired, limited_by)) = match &self.rules {
            None => {
                let stable = self.recommendations.stabilize(now, self.window, wanted);
                (stable, rate::limit_without_behavior(current, stable, self.bounds))
            }
            Some(rules) => {
                let window = |direction: Direction| rules.of(direction).window;
                let windows = (window(Direction::Up), window(Direction::Down));
                let stable = self.recommendations.stabilize_with_behavior(now, windows, current, wanted);
                (stable, self.events.limit(now, current, stable, self.bounds, rules))
            }
        };
        let stabilized = (stable != wanted).then_some(match (&self.rules, wanted >= current) {
            (Some(_), true) => Stabilized::Up,
            _ => Stabilized::Down,
        });
        Decision { desired, wanted: Some(wanted), stabilized, limited_by, ..Decision::unchanged(current, reason) }
    }
}
