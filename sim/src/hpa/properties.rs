//! Properties of every HPA, and the guarantees that people rely on.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::quantity::Milli;

const TARGET: Milli = Milli::whole(100);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rps(value: i64) -> MetricResult {
    MetricResult::new("rps", TARGET, Milli::whole(value))
}

fn hpa(max_replicas: u32, behavior: Option<Behavior>) -> Hpa {
    Hpa::new(HpaSpec { min_replicas: 1, max_replicas, behavior }, ControllerFlags::default())
}

/// The behavior that Tidegate's operator writes: no tolerance, immediately up, and down to the maximum of the window.
fn eager() -> Behavior {
    let policy = |value| vec![Policy { kind: PolicyKind::Percent, value, period_seconds: 1 }];
    let rules = |window, value| ScalingRules {
        stabilization_window_seconds: Some(window),
        policies: Some(policy(value)),
        tolerance: Some(Tolerance::ZERO),
        ..ScalingRules::default()
    };
    Behavior { scale_up: Some(rules(0, 100_000)), scale_down: Some(rules(300, 100)) }
}

#[test]
fn without_a_behavior_replicas_double_at_every_sync_however_often_that_is() {
    let mut hpa = hpa(100, None);
    let mut replicas = 1;
    let mut path = Vec::new();
    for second in 0..5 {
        replicas = hpa.sync(seconds(second), replicas, &[rps(9_000)]).desired;
        path.push(replicas);
    }
    assert_eq!(path, [4, 8, 16, 32, 64]);
}

#[test]
fn a_behavior_without_policies_grows_by_4_or_double_per_15_seconds() {
    let bare = Behavior { scale_up: Some(ScalingRules::default()), ..Behavior::default() };
    let mut hpa = hpa(20, Some(bare));
    let mut replicas = 1;
    let mut changes = Vec::new();
    for second in 0..40 {
        let desired = hpa.sync(seconds(second), replicas, &[rps(2_000)]).desired;
        if desired != replicas {
            changes.push((second, desired));
        }
        replicas = desired;
    }
    assert_eq!(changes, [(0, 5), (15, 10), (30, 20)]);
}

#[test]
fn at_the_default_tolerance_19_replicas_ignore_a_need_of_20() {
    assert_eq!(hpa(50, None).sync(seconds(0), 19, &[rps(2_000)]).desired, 19);
    assert_eq!(hpa(50, Some(eager())).sync(seconds(0), 19, &[rps(2_000)]).desired, 20);
}

#[test]
fn the_highest_recommendation_of_five_minutes_holds_replicas_up() {
    let mut hpa = hpa(20, None);
    assert_eq!(hpa.sync(seconds(0), 8, &[rps(800)]).desired, 8);
    let held = hpa.sync(seconds(300), 8, &[rps(100)]);
    assert_eq!((held.desired, held.stabilized), (8, Some(Stabilized::Down)));
    assert_eq!(
        held.to_string(),
        "8 stay: all metrics below target, which takes 1, held up by a recent higher recommendation"
    );
    assert_eq!(hpa.sync(seconds(301), 8, &[rps(100)]).desired, 1);
}

#[test]
fn with_a_behavior_the_window_is_over_at_its_very_end() {
    let mut hpa = hpa(20, Some(eager()));
    assert_eq!(hpa.sync(seconds(0), 8, &[rps(800)]).desired, 8);
    assert_eq!(hpa.sync(seconds(299), 8, &[rps(100)]).desired, 8);
    assert_eq!(hpa.sync(seconds(300), 8, &[rps(100)]).desired, 1);
}

#[test]
fn the_metric_that_asks_for_the_most_decides() {
    let metrics = [rps(300), MetricResult::new("lag", Milli::whole(50), Milli::whole(380))];
    let decision = hpa(20, Some(eager())).sync(seconds(0), 5, &metrics);
    assert_eq!((decision.desired, decision.reason), (8, Reason::AboveTarget("lag".into())));
    assert_eq!(decision.averages, [Some(Milli::whole(60)), Some(Milli::whole(76))]);
}

#[test]
fn a_metric_that_fails_holds_replicas_but_lets_another_raise_them() {
    let failed = MetricResult::failed("lag", Milli::whole(50), "unavailable");
    let mut hpa = hpa(20, Some(eager()));
    let held = hpa.sync(seconds(0), 5, &[rps(100), failed.clone()]);
    assert_eq!((held.desired, &held.reason), (5, &Reason::MetricsFailed("lag: unavailable".into())));
    assert_eq!(hpa.sync(seconds(15), 5, &[rps(900), failed]).desired, 9);
}

#[test]
fn a_metric_with_several_values_counts_their_sum() {
    let metric = MetricResult { name: "rps".into(), target: TARGET, values: Ok(vec![Milli::whole(400); 2]) };
    assert_eq!(hpa(20, Some(eager())).sync(seconds(0), 1, &[metric]).desired, 8);
}

#[test]
fn at_zero_replicas_the_hpa_stands_still() {
    let decision = hpa(20, None).sync(seconds(0), 0, &[rps(900)]);
    assert_eq!((decision.desired, decision.reason), (0, Reason::ScalingDisabled));
}

#[test]
fn replicas_outside_the_bounds_are_brought_back_without_a_look_at_the_metrics() {
    let broken = [MetricResult::failed("rps", TARGET, "gone")];
    let decision = hpa(10, None).sync(seconds(0), 25, &broken);
    assert_eq!((decision.desired, decision.reason), (10, Reason::AboveMax));
    let spec = HpaSpec { min_replicas: 3, max_replicas: 10, behavior: None };
    let decision = Hpa::new(spec, ControllerFlags::default()).sync(seconds(0), 1, &broken);
    assert_eq!((decision.desired, decision.reason), (3, Reason::BelowMin));
}

#[test]
fn pods_that_do_not_exist_yet_are_not_counted_as_carrying_load() {
    let starting = Scale { spec: 8, status: 4 };
    // 4 pods with 105 each are on target, so it proposes those 4; the window holds the 8.
    let decision = hpa(20, None).sync(seconds(0), starting, &[rps(420)]);
    assert_eq!((decision.wanted, decision.desired), (Some(4), 8));
}

#[test]
fn a_change_that_was_not_carried_out_does_not_use_up_a_policy() {
    let policy = Policy { kind: PolicyKind::Pods, value: 2, period_seconds: 60 };
    let slow = ScalingRules { policies: Some(vec![policy]), ..ScalingRules::default() };
    let mut hpa = hpa(20, Some(Behavior { scale_up: Some(slow), ..Behavior::default() }));
    assert_eq!(hpa.decide(seconds(0), 1, &[rps(900)]).desired, 3, "the write fails");
    assert_eq!(hpa.sync(seconds(1), 1, &[rps(900)]).desired, 3, "the write succeeds");
    assert_eq!(hpa.sync(seconds(2), 3, &[rps(900)]).limited_by, Some(HpaLimit::ScaleUpLimit));
}

fn scaling_rules() -> impl Strategy<Value = ScalingRules> {
    let kind = prop_oneof![Just(PolicyKind::Pods), Just(PolicyKind::Percent)];
    let policy = (kind, 1u32..300, 1u32..200);
    let policy = policy.prop_map(|(kind, value, period_seconds)| Policy { kind, value, period_seconds });
    let select = prop_oneof![Just(SelectPolicy::Max), Just(SelectPolicy::Min), Just(SelectPolicy::Disabled)];
    (
        proptest::option::of(0u32..400),
        proptest::option::of(select),
        proptest::option::of(proptest::collection::vec(policy, 1..3)),
        proptest::option::of((0u32..500).prop_map(|m| format!("{m}m").parse().unwrap())),
    )
        .prop_map(|(window, select_policy, policies, tolerance)| ScalingRules {
            stabilization_window_seconds: window,
            select_policy,
            policies,
            tolerance,
        })
}

fn behaviors() -> impl Strategy<Value = Option<Behavior>> {
    let rules = || proptest::option::of(scaling_rules());
    proptest::option::of((rules(), rules()).prop_map(|(scale_up, scale_down)| Behavior { scale_up, scale_down }))
}

/// A sequence of syncs: seconds since the last one, and the value of a metric or its failure.
fn syncs() -> impl Strategy<Value = Vec<(u64, Option<i64>)>> {
    proptest::collection::vec((0u64..120, proptest::option::weighted(0.9, 0i64..5_000)), 1..60)
}

fn metric(value: Option<i64>) -> MetricResult {
    value.map_or_else(|| MetricResult::failed("rps", TARGET, "gone"), rps)
}

proptest! {
    #[test]
    fn replicas_never_leave_their_bounds(
        (min, max) in (1u32..10, 0u32..40).prop_map(|(min, more)| (min, min + more)),
        behavior in behaviors(), start in 1u32..60, syncs in syncs(),
    ) {
        let mut hpa = Hpa::new(HpaSpec { min_replicas: min, max_replicas: max, behavior }, ControllerFlags::default());
        let (mut now, mut replicas) = (0, start);
        for (later, value) in syncs {
            now += later;
            replicas = hpa.sync(seconds(now), replicas, &[metric(value)]).desired;
            prop_assert!((min..=max).contains(&replicas), "{replicas} at {now}");
        }
    }

    #[test]
    fn a_failing_metric_never_scales_down(
        behavior in behaviors(), syncs in syncs(), other in 0i64..5_000, start in 1u32..40,
    ) {
        let mut hpa = hpa(40, behavior);
        let (mut now, mut replicas) = (0, start);
        for (later, value) in syncs {
            now += later;
            let decision = hpa.sync(seconds(now), replicas, &[metric(value), metric(Some(other))]);
            prop_assert!(value.is_some() || decision.desired >= replicas, "{decision}");
            replicas = decision.desired;
        }
    }

    #[test]
    fn a_disabled_direction_never_moves(syncs in syncs(), start in 1u32..40) {
        let disabled = ScalingRules { select_policy: Some(SelectPolicy::Disabled), ..ScalingRules::default() };
        let mut up = hpa(40, Some(Behavior { scale_up: Some(disabled.clone()), ..Behavior::default() }));
        let mut down = hpa(40, Some(Behavior { scale_down: Some(disabled), ..Behavior::default() }));
        let mut now = 0;
        for (later, value) in syncs {
            now += later;
            prop_assert!(up.sync(seconds(now), start, &[metric(value)]).desired <= start);
            prop_assert!(down.sync(seconds(now), start, &[metric(value)]).desired >= start);
        }
    }

    #[test]
    fn more_load_never_asks_for_fewer_replicas(load in 0i64..10_000, more in 0i64..10_000, pods in 1u32..50) {
        let wanted = |load| hpa(1000, Some(eager())).decide(seconds(0), pods, &[rps(load)]).wanted;
        prop_assert!(wanted(load + more) >= wanted(load));
    }

    #[test]
    fn without_tolerance_it_asks_for_the_load_over_the_target(load in 1i64..100_000, pods in 1u32..50) {
        let decision = hpa(2000, Some(eager())).decide(seconds(0), pods, &[rps(load)]);
        prop_assert_eq!(decision.wanted, Some(load.div_euclid(100) as u32 + u32::from(load % 100 != 0)));
    }
}
