//! Values and targets become replicas.
//!
//! The arithmetic is the HPA's for an external metric with an `AverageValue` target, less its tolerance
//! (`GetExternalPerPodMetricReplicas` in Kubernetes' `pkg/controller/podautoscaler/replica_calculator.go`): Tidegate never sets
//! replicas with it, but reports in `explain` and in metrics the number that the HPA will arrive at.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    intent::Bounds,
    signal::{PerReplica, Signal},
    workload::WorkloadId,
};

/// The current demand of one signal, and its target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Need {
    /// The signal that is measured
    pub signal: Signal,
    /// The whole workload's demand, in the signal's unit
    pub value: f64,
    /// The target: the demand that one replica carries
    pub per_replica: PerReplica,
}

impl Need {
    /// `ceil(value / per_replica)`: the number of replicas that carry the value.
    ///
    /// The HPA divides in thousandths, so a value that exceeds a whole number of replicas by less than that adds no replica.
    pub fn replicas(&self) -> u32 {
        let milli = |x: f64| (x * 1000.0).round();
        let (value, target) = (milli(self.value.max(0.0)), milli(self.per_replica.get()));
        (value / target).ceil().min(f64::from(i32::MAX)) as u32
    }
}

/// More replicas than a workload has are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burst {
    /// The workload
    pub id: WorkloadId,
    /// Its replicas now
    pub has: u32,
    /// The replicas that the HPA will arrive at
    pub needs: u32,
}

/// Demand for which replicas are added at once, as the leader reports it to the other pods of Tidegate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// The workload
    pub workload: WorkloadId,
    /// The signal that was measured
    pub signal: Signal,
    /// The whole workload's demand, in the signal's unit
    pub value: f64,
    /// The time since it was measured
    pub age: Duration,
}

/// The number of replicas that is needed, and the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    /// Replicas within the bounds
    pub replicas: u32,
    /// Replicas that the largest need asks for, before bounds
    pub unbounded: u32,
    /// The signal with the largest need; `None` when nothing is needed
    pub decided_by: Option<Signal>,
    /// The bound that changed the answer, if one did
    pub limit: Option<Limit>,
}

/// A bound that changed the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Demand asks for fewer than `min-replicas`
    MinReplicas,
    /// Demand asks for more than `max-replicas`
    MaxReplicas,
}

/// Returns the replicas of the largest need, within the bounds.
///
/// ```
/// use tidegate_core::{demand::{desired, Need}, intent::Bounds, signal::{PerReplica, Signal}};
///
/// let need = Need { signal: Signal::RequestsPerSecond, value: 420.0, per_replica: PerReplica::new(100.0).unwrap() };
/// assert_eq!(desired(&[need], Bounds { min: 1, max: 20 }).replicas, 5);
/// ```
pub fn desired(needs: &[Need], bounds: Bounds) -> Desired {
    // `rev`: of equal needs the first is named, and `max_by_key` keeps the last.
    let largest = needs.iter().rev().map(|need| (need.replicas(), need.signal)).max_by_key(|(replicas, _)| *replicas);
    let unbounded = largest.map_or(0, |(replicas, _)| replicas);
    let replicas = unbounded.clamp(bounds.min.min(bounds.max), bounds.max);
    Desired {
        replicas,
        unbounded,
        decided_by: largest.filter(|(replicas, _)| *replicas > 0).map(|(_, signal)| signal),
        limit: match replicas.cmp(&unbounded) {
            std::cmp::Ordering::Greater => Some(Limit::MinReplicas),
            std::cmp::Ordering::Less => Some(Limit::MaxReplicas),
            std::cmp::Ordering::Equal => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn need(signal: Signal, value: f64, per_replica: f64) -> Need {
        Need { signal, value, per_replica: PerReplica::new(per_replica).unwrap() }
    }

    #[test]
    fn the_largest_need_decides() {
        let needs = [need(Signal::RequestsPerSecond, 250.0, 100.0), need(Signal::Concurrency, 40.0, 8.0)];
        let desired = desired(&needs, Bounds { min: 1, max: 10 });
        assert_eq!((desired.replicas, desired.decided_by, desired.limit), (5, Some(Signal::Concurrency), None));
    }

    #[test]
    fn the_bounds_hold_and_say_that_they_did() {
        let needs = [need(Signal::RequestsPerSecond, 1000.0, 10.0)];
        let above = desired(&needs, Bounds { min: 1, max: 10 });
        assert_eq!((above.replicas, above.unbounded, above.limit), (10, 100, Some(Limit::MaxReplicas)));
        let below = desired(&[], Bounds { min: 2, max: 10 });
        assert_eq!((below.replicas, below.decided_by, below.limit), (2, None, Some(Limit::MinReplicas)));
    }

    #[test]
    fn a_thousandth_of_rounding_noise_adds_no_replica() {
        assert_eq!(need(Signal::RequestsPerSecond, 300.000_000_1, 100.0).replicas(), 3);
        assert_eq!(need(Signal::RequestsPerSecond, 300.001, 100.0).replicas(), 4);
    }

    proptest! {
        #[test]
        fn the_answer_is_always_within_bounds(value in -1e15f64..1e15, target in 0.001f64..1e12, min in 0u32..50, extra in 0u32..50) {
            let bounds = Bounds { min, max: (min + extra).max(1) };
            let answer = desired(&[need(Signal::RequestsPerSecond, value, target)], bounds).replicas;
            prop_assert!((bounds.min..=bounds.max).contains(&answer));
        }

        #[test]
        fn more_demand_never_needs_fewer_replicas(a in 0f64..1e6, b in 0f64..1e6, target in 0.001f64..1e6) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(need(Signal::Concurrency, low, target).replicas() <= need(Signal::Concurrency, high, target).replicas());
        }
    }
}
