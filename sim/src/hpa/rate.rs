//! Limits on a single change: `convertDesiredReplicasWithRules`, `convertDesiredReplicasWithBehaviorRate` and their
//! callees, and `storeScaleEvent` (`horizontal.go`).

use std::time::Duration;

use super::{
    HpaLimit, PolicyKind, SelectPolicy,
    behavior::{Direction, DirectionRules, Rules},
};

/// `minReplicas` and `maxReplicas`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RateBounds {
    pub(super) min: u32,
    pub(super) max: u32,
}

/// Without a behavior: at most double, or 4, per sync, regardless of the sync period. Only the minimum limits scaling down.
pub(super) fn limit_without_behavior(current: u32, desired: u32, bounds: RateBounds) -> (u32, Option<HpaLimit>) {
    let fastest = current.saturating_mul(2).max(4);
    let (highest, limit) =
        if bounds.max > fastest { (fastest, HpaLimit::ScaleUpLimit) } else { (bounds.max, HpaLimit::TooManyReplicas) };
    if desired < bounds.min {
        (bounds.min, Some(HpaLimit::TooFewReplicas))
    } else if desired > highest {
        (highest, Some(limit))
    } else {
        (desired, None)
    }
}

/// Changes that policies still take into account.
#[derive(Debug, Clone, Default)]
pub(super) struct Events {
    up: Vec<Event>,
    down: Vec<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Event {
    change: u32,
    at: Duration,
    outdated: bool,
}

impl Events {
    /// Keeps a change for as long as the longest policy *of its own direction* needs it. A longer policy of the other
    /// direction can miss it, in Kubernetes as here.
    pub(super) fn store(&mut self, now: Duration, before: u32, after: u32, rules: &Rules) {
        let (events, rules) = match after.cmp(&before) {
            std::cmp::Ordering::Greater => (&mut self.up, rules.of(Direction::Up)),
            std::cmp::Ordering::Less => (&mut self.down, rules.of(Direction::Down)),
            std::cmp::Ordering::Equal => return,
        };
        let longest = rules.longest_period();
        for event in events.iter_mut().filter(|event| event.at.saturating_add(longest) < now) {
            event.outdated = true;
        }
        let event = Event { change: before.abs_diff(after), at: now, outdated: false };
        match events.iter_mut().rfind(|event| event.outdated) {
            Some(old) => *old = event,
            None => events.push(event),
        }
    }

    /// With a behavior: the policies, then the bounds.
    pub(super) fn limit(
        &self,
        now: Duration,
        current: u32,
        desired: u32,
        bounds: RateBounds,
        rules: &Rules,
    ) -> (u32, Option<HpaLimit>) {
        match desired.cmp(&current) {
            std::cmp::Ordering::Greater => {
                // After many changes the limit can be below the current replicas: wait until those changes have left the period.
                let fastest = self.highest(now, current, rules.of(Direction::Up)).max(current);
                let (highest, limit) = if bounds.max > fastest {
                    (fastest, HpaLimit::ScaleUpLimit)
                } else {
                    (bounds.max, HpaLimit::TooManyReplicas)
                };
                if desired > highest { (highest, Some(limit)) } else { (desired, None) }
            }
            std::cmp::Ordering::Less => {
                let fastest = self.lowest(now, current, rules.of(Direction::Down)).min(current);
                let (lowest, limit) = if bounds.min < fastest {
                    (fastest, HpaLimit::ScaleDownLimit)
                } else {
                    (bounds.min, HpaLimit::TooFewReplicas)
                };
                if desired < lowest { (lowest, Some(limit)) } else { (desired, None) }
            }
            std::cmp::Ordering::Equal => (desired, None),
        }
    }

    /// `calculateScaleUpLimitWithScalingRules`
    pub(super) fn highest(&self, now: Duration, current: u32, rules: &DirectionRules) -> u32 {
        let allowed = rules.policies.iter().map(|policy| {
            let start = self.replicas_before(now, current, policy.period_seconds);
            match policy.kind {
                PolicyKind::Pods => start + i64::from(policy.value),
                PolicyKind::Percent => (start as f64 * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i64,
            }
        });
        match rules.select {
            SelectPolicy::Disabled => current,
            SelectPolicy::Min => replicas(allowed.min().unwrap_or(i64::MAX)),
            SelectPolicy::Max => replicas(allowed.max().unwrap_or(0)),
        }
    }

    /// `calculateScaleDownLimitWithBehaviors`
    pub(super) fn lowest(&self, now: Duration, current: u32, rules: &DirectionRules) -> u32 {
        let allowed = rules.policies.iter().map(|policy| {
            let start = self.replicas_before(now, current, policy.period_seconds);
            match policy.kind {
                PolicyKind::Pods => start - i64::from(policy.value),
                PolicyKind::Percent => (start as f64 * (1.0 - f64::from(policy.value) / 100.0)) as i64,
            }
        });
        match rules.select {
            SelectPolicy::Disabled => current,
            SelectPolicy::Min => replicas(allowed.max().unwrap_or(0)),
            SelectPolicy::Max => replicas(allowed.min().unwrap_or(i64::MAX)),
        }
    }

    /// Returns the replicas at the start of the period, derived from the changes since.
    fn replicas_before(&self, now: Duration, current: u32, period_seconds: u32) -> i64 {
        let period = Duration::from_secs(period_seconds.into());
        i64::from(current) - changes(&self.up, now, period) + changes(&self.down, now, period)
    }

    #[cfg(test)]
    pub(super) fn from_parts(up: Vec<(u32, Duration)>, down: Vec<(u32, Duration)>) -> Self {
        let events = |parts: Vec<(u32, Duration)>| {
            parts.into_iter().map(|(change, at)| Event { change, at, outdated: false }).collect()
        };
        Self { up: events(up), down: events(down) }
    }

    #[cfg(test)]
    pub(super) fn parts(&self, direction: Direction) -> Vec<(u32, bool)> {
        let events = if direction == Direction::Up { &self.up } else { &self.down };
        events.iter().map(|event| (event.change, event.outdated)).collect()
    }
}

/// `getReplicasChangePerPeriod`: a change exactly at the edge of the period is no longer included.
fn changes(events: &[Event], now: Duration, period: Duration) -> i64 {
    events.iter().filter(|event| event.at.saturating_add(period) > now).map(|event| i64::from(event.change)).sum()
}

fn replicas(count: i64) -> u32 {
    count.clamp(0, i64::from(i32::MAX)) as u32
}
