//! The fallback for a metric that fails: `GetMetricsWithFallback` and `doFallback` (`pkg/fallback/fallback.go`).

use std::collections::HashMap;

use super::{Answer, Fallback, FallbackBehavior, MetricSpec};
use crate::quantity::Milli;

/// A metric's values and activity after the fallback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Observation {
    /// The values, or those of the fallback if it was used
    pub(super) values: Result<Vec<Milli>, String>,
    /// The activity that the scaler reported; false when it reported none
    pub(super) active: bool,
    /// Whether the fallback was used
    pub(super) fell_back: bool,
}

/// Consecutive failures of each metric. The scale loop and the HPA share the count, so a threshold of 3 is exceeded after
/// two polls and two syncs.
#[derive(Debug, Clone, Default)]
pub(super) struct Health(HashMap<String, u32>);

impl Health {
    pub(super) fn observe(
        &mut self,
        fallback: Option<&Fallback>,
        spec: &MetricSpec,
        answer: Answer,
        replicas: u32,
    ) -> Observation {
        let error = match answer {
            Ok(reading) => {
                self.0.remove(&spec.name);
                return Observation { values: Ok(reading.values), active: reading.active, fell_back: false };
            }
            Err(error) => error,
        };
        let Some(fallback) = fallback else {
            return Observation { values: Err(error), active: false, fell_back: false };
        };
        let failures = self.0.entry(spec.name.clone()).or_insert(0);
        *failures += 1;
        if *failures <= fallback.failure_threshold {
            return Observation { values: Err(error), active: false, fell_back: false };
        }
        Observation { values: Ok(vec![stand_in(fallback, spec.target, replicas)]), active: false, fell_back: true }
    }
}

/// Returns the target times the replicas that the fallback wants.
fn stand_in(fallback: &Fallback, target: Milli, current: u32) -> Milli {
    let replicas = match fallback.behavior {
        FallbackBehavior::Static => fallback.replicas,
        FallbackBehavior::CurrentReplicas => current,
        FallbackBehavior::CurrentReplicasIfHigher => current.max(fallback.replicas),
        FallbackBehavior::CurrentReplicasIfLower => current.min(fallback.replicas),
    };
    Milli(target.0.saturating_mul(replicas.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keda::Reading;

    const fn fallback(behavior: FallbackBehavior) -> Fallback {
        Fallback { failure_threshold: 2, replicas: 6, behavior }
    }

    fn spec() -> MetricSpec {
        MetricSpec { name: "s0-rps".into(), target: Milli::whole(100) }
    }

    fn after_failures(fallback: Option<&Fallback>, failures: usize, replicas: u32) -> Observation {
        let mut health = Health::default();
        let mut failure = || health.observe(fallback, &spec(), Err("gone".into()), replicas);
        (1..failures).for_each(|_| drop(failure()));
        failure()
    }

    #[test]
    fn failures_up_to_the_threshold_are_errors_and_the_next_falls_back() {
        let fallback = fallback(FallbackBehavior::Static);
        assert_eq!(after_failures(Some(&fallback), 2, 9).values, Err("gone".into()));
        let observation = after_failures(Some(&fallback), 3, 9);
        assert_eq!((observation.values, observation.fell_back), (Ok(vec![Milli::whole(600)]), true));
    }

    #[test]
    fn each_behavior_combines_its_replicas_with_those_that_there_are() {
        for (behavior, few, many) in [
            (FallbackBehavior::Static, 6, 6),
            (FallbackBehavior::CurrentReplicas, 2, 9),
            (FallbackBehavior::CurrentReplicasIfHigher, 6, 9),
            (FallbackBehavior::CurrentReplicasIfLower, 2, 6),
        ] {
            for (current, expected) in [(2, few), (9, many)] {
                let observation = after_failures(Some(&fallback(behavior)), 3, current);
                assert_eq!(observation.values, Ok(vec![Milli::whole(expected * 100)]), "{behavior:?} at {current}");
            }
        }
    }

    #[test]
    fn one_success_starts_the_count_again() {
        let (mut health, fallback) = (Health::default(), fallback(FallbackBehavior::Static));
        for answer in [Err("gone".to_owned()), Err("gone".to_owned()), Ok(Reading::default()), Err("gone".to_owned())] {
            let observation = health.observe(Some(&fallback), &spec(), answer, 1);
            assert!(!observation.fell_back);
        }
    }

    #[test]
    fn without_a_fallback_every_failure_is_an_error() {
        assert!(after_failures(None, 100, 1).values.is_err());
    }
}
