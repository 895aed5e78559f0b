//! The table tests of Kubernetes 1.37.2 itself (`horizontal_test.go`, `replica_calculator_test.go`), row by row.

use std::time::Duration;

use super::{
    behavior::{Direction, Rules},
    proposal::{Tolerances, average, replicas_for},
    rate::{Events, RateBounds, limit_without_behavior},
    stabilize::Recommendations,
    *,
};
use crate::quantity::Milli;
use HpaLimit::{ScaleDownLimit, ScaleUpLimit, TooFewReplicas, TooManyReplicas};

/// An instant far from zero, so that events can lie before it.
const NOW: Duration = Duration::from_secs(100_000);

fn seconds_ago(seconds: u64) -> Duration {
    NOW.saturating_sub(Duration::from_secs(seconds))
}

/// `generateScalingRules`
fn rules(pods: u32, pods_period: u32, percent: u32, percent_period: u32, window: u32) -> ScalingRules {
    let policy = |kind, value, period_seconds| (value != 0).then_some(Policy { kind, value, period_seconds });
    let policies = [policy(PolicyKind::Pods, pods, pods_period), policy(PolicyKind::Percent, percent, percent_period)];
    ScalingRules {
        stabilization_window_seconds: Some(window),
        select_policy: Some(SelectPolicy::Max),
        policies: Some(policies.into_iter().flatten().collect()),
        tolerance: None,
    }
}

fn filled(scale_up: Option<ScalingRules>, scale_down: Option<ScalingRules>) -> Rules {
    Rules::with_defaults(Behavior { scale_up, scale_down }, Duration::from_secs(300))
}

/// `generateEventsUniformDistribution` over the last 120 seconds, each in the middle of its share, in whole seconds.
fn spread(changes: &[u32]) -> Vec<(u32, Duration)> {
    let share = 120.0 / changes.len() as f64;
    let ago = |index: usize| (120.0 - share * (index + 1) as f64 + share / 2.0) as u64;
    changes.iter().enumerate().map(|(index, change)| (*change, seconds_ago(ago(index)))).collect()
}

#[test]
fn test_replica_calc_external_per_pod_metric() {
    let default = Tolerances { up: 0.1, down: 0.1 };
    // current, usage, target, tolerances, expected replicas, expected usage per pod
    let table = [
        (1, i64::MAX, 1, default, i32::MAX as u32, i64::MAX),
        (1, i64::MAX, i64::MAX, default, 1, i64::MAX),
        (3, 8600, 2150, default, 4, 2867),
        (5, 8600, 2867, default, 3, 1720),
        (3, 8600, 2900, default, 3, 2867),
        (3, 8600, 2800, Tolerances { up: 0.01, down: 0.1 }, 4, 2867),
    ];
    for (current, usage, target, tolerances, replicas, per_pod) in table {
        assert_eq!(replicas_for(current, Milli(usage), Milli(target), tolerances), replicas, "{usage} / {target}");
        assert_eq!(average(current, Milli(usage)), Milli(per_pod), "{usage} / {current}");
    }
}

#[test]
fn test_convert_desired_replicas_with_rules() {
    let table = [
        (5, 7, (3, 8), (7, None)),
        (3, 1, (2, 8), (2, Some(TooFewReplicas))),
        (1, 0, (0, 10), (0, None)),
        (20, 1000, (1, 10), (10, Some(TooManyReplicas))),
        (3, 1000, (1, 2000), (6, Some(ScaleUpLimit))),
    ];
    for (current, desired, (min, max), expected) in table {
        assert_eq!(
            limit_without_behavior(current, desired, RateBounds { min, max }),
            expected,
            "{current} → {desired}"
        );
    }
}

#[test]
fn test_calculate_limits_with_the_smallest_policy() {
    let rules = ScalingRules { select_policy: Some(SelectPolicy::Min), ..rules(2, 60, 50, 60, 300) };
    let rules = filled(Some(rules.clone()), Some(rules));
    assert_eq!(Events::default().highest(NOW, 1, rules.of(Direction::Up)), 2);
    assert_eq!(Events::default().lowest(NOW, 5, rules.of(Direction::Down)), 3);
}

#[test]
fn test_normalize_desired_replicas() {
    // recommendations (replicas, minutes ago), desired, expected, length of the log after
    type Row = (&'static [(u32, u64)], u32, u32, usize);
    let table: [Row; 5] = [
        (&[], 5, 5, 1),
        (&[(4, 2), (5, 1)], 3, 5, 3),
        (&[(1, 2), (2, 1)], 3, 3, 3),
        (&[(10, 10), (9, 9)], 3, 3, 2),
        (&[(10, 10), (4, 1), (5, 2), (9, 9)], 3, 5, 4),
    ];
    for (before, desired, expected, length) in table {
        let parts = before.iter().map(|(replicas, minutes)| (*replicas, seconds_ago(minutes * 60)));
        let mut recommendations = Recommendations::from_parts(parts);
        assert_eq!(recommendations.stabilize(NOW, Duration::from_secs(300), desired), expected, "{before:?}");
        assert_eq!(recommendations.replicas().len(), length, "{before:?}");
    }
}

#[test]
fn test_normalize_desired_replicas_with_behavior() {
    // recommendations (replicas, minutes ago), current, desired, (up, down) windows in seconds, expected, the log after
    type Row = (&'static [(u32, u64)], u32, u32, (u64, u64), u32, &'static [u32]);
    let table: [Row; 11] = [
        (&[], 100, 5, (0, 0), 5, &[5]),
        (&[(4, 2), (5, 1)], 100, 3, (0, 180), 5, &[4, 5, 3]),
        (&[(4, 2), (5, 1)], 1, 7, (300, 0), 4, &[4, 5, 7]),
        (&[(1, 2), (2, 1)], 100, 3, (300, 0), 3, &[1, 2, 3]),
        (&[(4, 2), (5, 1)], 1, 3, (0, 300), 3, &[4, 5, 3]),
        (&[(10, 10), (9, 9)], 100, 3, (0, 0), 3, &[10, 3]),
        (&[(10, 10), (9, 9)], 1, 100, (0, 0), 100, &[10, 100]),
        (&[(10, 10), (4, 1), (5, 2), (9, 9)], 100, 3, (0, 180), 5, &[10, 4, 5, 3]),
        (&[(10, 100), (6, 1), (5, 2), (9, 3)], 1, 100, (300, 0), 5, &[100, 6, 5, 9]),
        (&[(2, 100), (3, 3)], 2, 1, (300, 300), 2, &[1, 3]),
        (&[(2, 100), (1, 3)], 2, 3, (300, 300), 2, &[3, 1]),
    ];
    for (before, current, desired, (up, down), expected, after) in table {
        let parts = before.iter().map(|(replicas, minutes)| (*replicas, seconds_ago(minutes * 60)));
        let mut recommendations = Recommendations::from_parts(parts);
        let windows = (Duration::from_secs(up), Duration::from_secs(down));
        let stable = recommendations.stabilize_with_behavior(NOW, windows, current, desired);
        assert_eq!(stable, expected, "{before:?} {current} → {desired}");
        assert_eq!(recommendations.replicas(), after, "{before:?} {current} → {desired}");
    }
}

#[test]
fn test_scaling_with_rules() {
    // name, changes up, changes down, (min, max), rules up, rules down, (current, desired), expected
    type Changes = Vec<(u32, Duration)>;
    type Row = (
        &'static str,
        Changes,
        Changes,
        (u32, u32),
        Option<ScalingRules>,
        Option<ScalingRules>,
        (u32, u32),
        (u32, Option<HpaLimit>),
    );
    #[rustfmt::skip]
    let table: Vec<Row> = vec![
        ("prenormalized desired replicas within range", vec![], vec![], (3, 8), None, None, (5, 7), (7, None)),
        ("prenormalized desired replicas < minReplicas", vec![], vec![], (2, 8), None, None, (3, 1), (2, Some(TooFewReplicas))),
        ("prenormalized desired replicas within range when minReplicas is 0", vec![], vec![], (0, 10), None, None, (1, 0), (0, None)),
        ("maxReplicas is the limit because maxReplicas < scaleUpLimit", vec![], vec![], (1, 10), None, None, (20, 1000), (10, Some(TooManyReplicas))),
        ("desired replica count is more than the maximum replica count", vec![], vec![], (100, 150), None, None, (100, 1000), (150, Some(TooManyReplicas))),
        ("scaleUpLimit is the limit because scaleUpLimit < maxReplicas with user policies", vec![], vec![], (1, 2000), Some(rules(0, 0, 1, 60, 0)), None, (3, 1000), (4, Some(ScaleUpLimit))),
        ("scaleUp with default behavior", vec![], vec![], (1, 1000), None, None, (10, 50), (20, Some(ScaleUpLimit))),
        ("scaleUp with pods policy larger than percent policy", vec![], vec![], (1, 1000), Some(rules(100, 60, 100, 60, 0)), None, (10, 500), (110, Some(ScaleUpLimit))),
        ("scaleUp with percent policy larger than pods policy", vec![], vec![], (1, 1000), Some(rules(2, 60, 100, 60, 0)), None, (10, 500), (20, Some(ScaleUpLimit))),
        ("scaleUp with spec MaxReplicas limitation with large pod policy", vec![], vec![], (1, 1000), Some(rules(100, 60, 0, 0, 0)), None, (10, 50), (50, None)),
        ("scaleUp with spec MaxReplicas limitation with large percent policy", vec![], vec![], (1, 1000), Some(rules(10000, 60, 0, 0, 0)), None, (10, 50), (50, None)),
        ("scaleUp with pod policy limitation", vec![], vec![], (1, 1000), Some(rules(30, 60, 0, 0, 0)), None, (10, 50), (40, Some(ScaleUpLimit))),
        ("scaleUp with percent policy limitation", vec![], vec![], (1, 1000), Some(rules(0, 0, 200, 60, 0)), None, (10, 50), (30, Some(ScaleUpLimit))),
        ("scaleDown with percent policy larger than pod policy", vec![], vec![], (1, 1000), None, Some(rules(20, 60, 1, 60, 300)), (100, 2), (80, Some(ScaleDownLimit))),
        ("scaleDown with pod policy larger than percent policy", vec![], vec![], (1, 1000), None, Some(rules(2, 60, 1, 60, 300)), (100, 2), (98, Some(ScaleDownLimit))),
        ("scaleDown with spec MinReplicas limitation with large pod policy", vec![], vec![], (1, 1000), None, Some(rules(100, 60, 0, 0, 300)), (10, 0), (1, Some(TooFewReplicas))),
        ("scaleDown with spec MinReplicas limitation with large percent policy", vec![], vec![], (5, 1000), None, Some(rules(0, 0, 100, 60, 300)), (10, 2), (5, Some(TooFewReplicas))),
        ("scaleDown with pod policy limitation", vec![], vec![], (1, 1000), None, Some(rules(5, 60, 0, 0, 300)), (10, 2), (5, Some(ScaleDownLimit))),
        ("scaleDown with percent policy limitation", vec![], vec![], (1, 1000), None, Some(rules(0, 0, 50, 60, 300)), (10, 5), (5, None)),
        ("scaleUp with spec MaxReplicas limitation with large pod policy and events", spread(&[1, 5, 9]), vec![], (1, 200), Some(rules(300, 60, 0, 0, 0)), None, (100, 500), (200, Some(TooManyReplicas))),
        ("scaleUp with spec MaxReplicas limitation with large percent policy and events", spread(&[1, 5, 9]), vec![], (1, 200), Some(rules(0, 0, 10000, 60, 0)), None, (100, 500), (200, Some(TooManyReplicas))),
        ("scaleUp with currentReplicas limitation with rate.PeriodSeconds with a lot of recent scale up events", spread(&[1, 5, 9]), vec![], (1, 1000), Some(rules(5, 120, 0, 0, 0)), None, (100, 500), (100, Some(ScaleUpLimit))),
        ("scaleUp with pod policy and previous scale up events", spread(&[1, 5, 9]), vec![], (1, 1000), Some(rules(150, 120, 0, 0, 0)), None, (100, 500), (235, Some(ScaleUpLimit))),
        ("scaleUp with percent policy and previous scale up events", spread(&[1, 5, 9]), vec![], (1, 1000), Some(rules(0, 0, 200, 120, 0)), None, (100, 500), (255, Some(ScaleUpLimit))),
        ("scaleUp with percent policy and previous scale up and down events", spread(&[4]), spread(&[2]), (1, 1000), Some(rules(0, 0, 300, 300, 0)), None, (6, 24), (16, Some(ScaleUpLimit))),
        ("scaleDown with default policy and previous events", vec![], spread(&[1, 5, 9]), (1, 1000), None, None, (10, 5), (5, None)),
        ("scaleDown with spec MinReplicas=nil limitation with large pod policy and previous events", vec![], spread(&[1, 5, 9]), (1, 1000), None, Some(rules(115, 120, 0, 0, 300)), (100, 0), (1, Some(TooFewReplicas))),
        ("scaleDown with spec MinReplicas limitation with large pod policy and previous events", vec![], spread(&[1, 5, 9]), (5, 1000), None, Some(rules(130, 120, 0, 0, 300)), (100, 0), (5, Some(TooFewReplicas))),
        ("scaleDown with spec MinReplicas limitation with large percent policy and previous events", vec![], spread(&[1, 5, 9]), (5, 1000), None, Some(rules(0, 0, 100, 120, 300)), (100, 2), (5, Some(TooFewReplicas))),
        ("scaleDown with pod policy limitation and previous events", vec![], spread(&[1, 5, 9]), (1, 1000), None, Some(rules(5, 120, 0, 0, 300)), (100, 2), (100, Some(ScaleDownLimit))),
        ("scaleDown with percent policy limitation and previous events", vec![], spread(&[2, 4, 6]), (1, 1000), None, Some(rules(0, 0, 50, 120, 300)), (100, 0), (56, Some(ScaleDownLimit))),
        ("scaleDown with percent policy and previous scale up and down events", spread(&[2]), spread(&[4]), (1, 1000), None, Some(rules(0, 0, 50, 180, 0)), (10, 1), (6, Some(ScaleDownLimit))),
        ("scaleDown with previous events preventing further scale down", vec![], spread(&[10, 10, 10]), (1, 1000), None, Some(rules(0, 0, 10, 120, 300)), (100, 0), (100, Some(ScaleDownLimit))),
        ("scaleDown with with previous events still allowing more scale down", vec![], spread(&[10, 10, 10]), (1, 1000), None, Some(rules(0, 0, 1000, 120, 300)), (10, 5), (5, None)),
        ("check 'outdated' flag for events for one behavior for up", spread(&[8, 12, 9, 11]), vec![], (1, 1000), Some(rules(1000, 60, 0, 0, 0)), None, (100, 200), (200, None)),
        ("check that events were not marked 'outdated' for two different policies in the behavior for up", spread(&[8, 12, 9, 11]), vec![], (1, 1000), Some(rules(1000, 120, 100, 60, 0)), None, (100, 200), (200, None)),
        ("check that events were marked 'outdated' for two different policies in the behavior for up", spread(&[8, 12, 9, 11]), vec![], (1, 1000), Some(rules(1000, 30, 100, 60, 0)), None, (100, 200), (200, None)),
        ("check 'outdated' flag for events for one behavior for down", vec![], spread(&[8, 12, 9, 11]), (1, 1000), None, Some(rules(1000, 60, 0, 0, 300)), (100, 5), (5, None)),
        ("check that events were not marked 'outdated' for two different policies in the behavior for down", vec![], spread(&[8, 12, 9, 11]), (1, 1000), None, Some(rules(1000, 120, 100, 60, 300)), (100, 5), (5, None)),
        ("check that events were marked 'outdated' for two different policies in the behavior for down", vec![], spread(&[8, 12, 9, 11]), (1, 1000), None, Some(rules(1000, 30, 100, 60, 300)), (100, 5), (5, None)),
    ];
    for (name, up, down, (min, max), rules_up, rules_down, (current, desired), expected) in table {
        let rules = filled(rules_up, rules_down);
        let limited = Events::from_parts(up, down).limit(NOW, current, desired, RateBounds { min, max }, &rules);
        assert_eq!(limited, expected, "{name}");
    }
}

#[test]
fn test_store_scale_events() {
    // changes before (replicas, seconds ago), policy, changes after (replicas, outdated)
    type Row = (&'static [(u32, u64)], ScalingRules, &'static [(u32, bool)]);
    let table: [Row; 6] = [
        (&[], rules(10, 60, 100, 60, 0), &[(5, false)]),
        (&[(7, 61)], rules(10, 60, 100, 60, 0), &[(5, false)]),
        (&[(7, 58)], rules(10, 60, 100, 60, 0), &[(7, false), (5, false)]),
        (&[(7, 61), (6, 59)], rules(10, 60, 0, 0, 0), &[(5, false), (6, false)]),
        (
            &[(8, 29), (6, 59), (7, 61), (9, 61)],
            rules(10, 60, 100, 30, 0),
            &[(8, false), (6, false), (7, true), (5, false)],
        ),
        (&[(7, 58), (6, 59)], rules(10, 120, 100, 30, 0), &[(7, false), (6, false), (5, false)]),
    ];
    for (before, rules, after) in table {
        let changes: Vec<_> = before.iter().map(|(change, ago)| (*change, seconds_ago(*ago))).collect();
        let rules = filled(Some(rules.clone()), Some(rules));
        let mut events = Events::from_parts(changes.clone(), changes);
        events.store(NOW, 10, 15, &rules);
        assert_eq!(events.parts(Direction::Up), after, "up: {before:?}");
        events.store(NOW, 10, 5, &rules);
        assert_eq!(events.parts(Direction::Down), after, "down: {before:?}");
    }
}
