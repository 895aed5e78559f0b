//! Scaling between zero and one: `RequestScale` (`pkg/scaling/executor/scale_scaledobjects.go`). The HPA does the rest.

use std::time::Duration;

use super::ScaledObjectSpec;

/// A change that KEDA makes itself, bypassing the HPA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Active at zero (or below the minimum while idle): to the minimum, at least 1
    Activate(u32),
    /// Inactive for the cooldown period: to zero, or the idle replicas
    Deactivate(u32),
    /// Inactive, and fewer replicas than the minimum, set by someone else: to the minimum
    RaiseToMinimum(u32),
}

impl Change {
    /// The replicas to set.
    pub const fn replicas(self) -> u32 {
        match self {
            Self::Activate(replicas) | Self::Deactivate(replicas) | Self::RaiseToMinimum(replicas) => replicas,
        }
    }
}

/// The outcome of a poll of all triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Activity {
    /// At least one is active, or fell back
    pub(super) active: bool,
    /// At least one failed
    pub(super) error: bool,
}

/// KEDA's record of past activity.
#[derive(Debug, Clone)]
pub(super) struct Executor {
    created: Duration,
    last_active: Option<Duration>,
}

impl Executor {
    pub(super) const fn new(created: Duration) -> Self {
        Self { created, last_active: None }
    }

    pub(super) fn request_scale(
        &mut self,
        spec: &ScaledObjectSpec,
        now: Duration,
        current: u32,
        activity: Activity,
    ) -> Option<Change> {
        let min = spec.min_replicas;
        if activity.active {
            if current == 0 || (spec.idle_replicas.is_some() && current < min) {
                self.last_active = Some(now);
                return Some(Change::Activate(min.max(1)));
            }
            if !activity.error {
                self.last_active = Some(now);
            }
            return None;
        }
        if activity.error {
            match spec.fallback {
                None => return None,
                Some(fallback) if fallback.replicas != 0 => return None,
                // A fallback to 0 replicas does not hold the current ones: KEDA continues as if there were no error.
                Some(_) => {}
            }
        }
        match spec.idle_replicas {
            Some(idle) if current > idle => self.cooled_down(spec, now).then_some(Change::Deactivate(idle)),
            None if current > 0 && min == 0 => self.cooled_down(spec, now).then_some(Change::Deactivate(0)),
            None if current < min => Some(Change::RaiseToMinimum(min)),
            _ => None,
        }
    }

    /// Whether the cooldown is over. The API keeps both times in whole seconds, so it is over exactly at the period's end.
    fn cooled_down(&self, spec: &ScaledObjectSpec, now: Duration) -> bool {
        match self.last_active {
            Some(last) => last.saturating_add(spec.cooldown) <= now,
            None => self.created.saturating_add(spec.initial_cooldown) <= now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVE: Activity = Activity { active: true, error: false };
    const INACTIVE: Activity = Activity { active: false, error: false };
    const FAILED: Activity = Activity { active: false, error: true };

    fn spec(fields: &str) -> ScaledObjectSpec {
        serde_saphyr::from_str(&format!("{{ triggers: [{{ type: external }}], cooldownPeriod: 60, {fields} }}"))
            .unwrap()
    }

    /// Runs steps of (seconds, replicas, activity) and returns the changes.
    fn changes(fields: &str, steps: &[(u64, u32, Activity)]) -> Vec<Option<Change>> {
        let (spec, mut executor) = (spec(fields), Executor::new(Duration::ZERO));
        let mut step =
            |(s, replicas, activity)| executor.request_scale(&spec, Duration::from_secs(s), replicas, activity);
        steps.iter().map(|s| step(*s)).collect()
    }

    #[test]
    fn activity_at_zero_wakes_to_the_minimum_and_at_least_one() {
        assert_eq!(changes("minReplicaCount: 0", &[(0, 0, ACTIVE)]), [Some(Change::Activate(1))]);
        assert_eq!(changes("minReplicaCount: 3", &[(0, 0, ACTIVE)]), [Some(Change::Activate(3))]);
        assert_eq!(changes("minReplicaCount: 0", &[(0, 4, ACTIVE)]), [None], "the rest is the HPA's");
    }

    #[test]
    fn zero_comes_a_cooldown_after_the_last_activity() {
        let steps = [(0, 4, ACTIVE), (30, 4, INACTIVE), (59, 4, INACTIVE), (60, 4, INACTIVE)];
        assert_eq!(changes("minReplicaCount: 0", &steps), [None, None, None, Some(Change::Deactivate(0))]);
    }

    #[test]
    fn what_never_was_active_goes_to_zero_after_the_initial_cooldown() {
        assert_eq!(changes("minReplicaCount: 0", &[(0, 4, INACTIVE)]), [Some(Change::Deactivate(0))]);
        let steps = [(99, 4, INACTIVE), (100, 4, INACTIVE)];
        assert_eq!(changes("initialCooldownPeriod: 100", &steps), [None, Some(Change::Deactivate(0))]);
    }

    #[test]
    fn idle_replicas_replace_the_minimum_while_inactive() {
        let idle = "idleReplicaCount: 0, minReplicaCount: 2";
        assert_eq!(changes(idle, &[(0, 2, INACTIVE)]), [Some(Change::Deactivate(0))]);
        assert_eq!(changes(idle, &[(0, 1, ACTIVE)]), [Some(Change::Activate(2))]);
    }

    #[test]
    fn with_a_minimum_an_inactive_workload_is_only_brought_back_to_it() {
        assert_eq!(changes("minReplicaCount: 2", &[(0, 1, INACTIVE)]), [Some(Change::RaiseToMinimum(2))]);
        assert_eq!(changes("minReplicaCount: 2", &[(0, 0, INACTIVE)]), [Some(Change::RaiseToMinimum(2))]);
        assert_eq!(changes("minReplicaCount: 2", &[(999, 9, INACTIVE)]), [None]);
    }

    #[test]
    fn an_error_holds_unless_there_is_a_fallback_to_zero() {
        let late = [(999, 4, FAILED)];
        assert_eq!(changes("minReplicaCount: 0", &late), [None]);
        let fallback = |replicas| format!("fallback: {{ failureThreshold: 3, replicas: {replicas} }}");
        assert_eq!(changes(&fallback(1), &late), [None]);
        assert_eq!(changes(&fallback(0), &late), [Some(Change::Deactivate(0))], "as KEDA 2.21 does");
    }

    #[test]
    fn activity_with_an_error_beside_it_does_not_put_off_the_cooldown() {
        let partly = Activity { active: true, error: true };
        let steps = [(0, 4, ACTIVE), (30, 4, partly), (60, 4, INACTIVE)];
        assert_eq!(changes("minReplicaCount: 0", &steps), [None, None, Some(Change::Deactivate(0))]);
    }
}
