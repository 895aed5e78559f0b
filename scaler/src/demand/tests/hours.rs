//! Business hours: the floor, the cap, and activity by the clock.

use chrono::DateTime;
use tidegate_core::{plan::Prerequisite, schedule::Schedule};

use super::*;

/// Open on working days from 08:00 to 18:00 UTC with at least 2 replicas, by a clock that the test sets.
fn at_hours(off_hours_replicas: &str) -> (Demands, Arc<Mutex<DateTime<Utc>>>, Plan, Trigger) {
    let time = Arc::new(Mutex::new(at("2026-03-02T12:00:00Z")));
    let clock = Arc::clone(&time);
    let demands = demands().with_clock(Arc::new(move || *clock.lock()));
    let annotations = [
        ("requests-per-second", "100"),
        ("min-replicas", "2"),
        ("hours", "Mo-Fr 08:00-18:00"),
        ("timezone", "UTC"),
        ("off-hours-replicas", off_hours_replicas),
    ];
    let plan = plan("api", &annotations, vec![share("web")]);
    let intent = plan.workloads[&deployment("api")].intent.clone().unwrap();
    let trigger = Trigger::of_workload(&deployment("api"), &intent);
    demands.signals().keep(&plan);
    (demands, time, plan, trigger)
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

/// Requests/s, the schedule's replicas, and whether it is active.
fn told(demands: &Demands, trigger: &Trigger, plan: &Plan) -> (f64, f64, bool) {
    let value = |index: usize| demands.demand(trigger, trigger.targets[index], plan).unwrap().need.value;
    (value(0), value(1), demands.is_active(trigger, plan).unwrap())
}

#[tokio::test(start_paused = true)]
async fn inside_hours_there_is_a_floor_and_outside_the_cap_holds_demand_down() {
    let (demands, time, plan, trigger) = at_hours("2");
    measure(demands.signals(), &[(RULE, [900.0, 0.0, 0.0])]);
    assert_eq!(told(&demands, &trigger, &plan), (900.0, 2.0, true));
    *time.lock() = at("2026-03-02T18:00:00Z");
    assert_eq!(told(&demands, &trigger, &plan), (200.0, 0.0, true), "2 replicas of 100 requests/s");
    measure(demands.signals(), &[(RULE, [30.0, 0.0, 0.0])]);
    assert_eq!(told(&demands, &trigger, &plan), (30.0, 0.0, true), "a cap is not a floor");
    *time.lock() = at("2026-03-03T08:00:00Z");
    assert_eq!(told(&demands, &trigger, &plan), (30.0, 2.0, true));
}

#[tokio::test(start_paused = true)]
async fn closed_at_zero_is_inactive_whatever_is_measured_or_not() {
    let (demands, time, plan, trigger) = at_hours("0");
    *time.lock() = at("2026-03-07T12:00:00Z");
    assert_eq!(told(&demands, &trigger, &plan), (0.0, 0.0, false), "nothing was measured yet");
    measure(demands.signals(), &[(RULE, [900.0, 0.0, 0.0])]);
    assert_eq!(told(&demands, &trigger, &plan), (0.0, 0.0, false));
}

#[tokio::test(start_paused = true)]
async fn the_state_now_decides_also_when_the_clock_is_set_back() {
    let (demands, time, plan, trigger) = at_hours("0");
    measure(demands.signals(), &[(RULE, [100.0, 0.0, 0.0])]);
    for (now, open) in [
        ("2026-03-02T17:59:59Z", true),
        ("2026-03-02T18:00:00Z", false),
        ("2026-03-02T17:59:00Z", true),
        ("2026-03-06T12:00:00Z", true),
        ("2026-03-08T12:00:00Z", false),
        ("2026-02-28T12:00:00Z", false),
    ] {
        *time.lock() = at(now);
        assert_eq!(told(&demands, &trigger, &plan).2, open, "{now}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_opening_the_floor_needs_no_measurement() {
    let (demands, time, plan, trigger) = at_hours("0");
    *time.lock() = at("2026-03-03T08:00:00Z");
    assert_eq!(demands.is_active(&trigger, &plan), Ok(true));
    let floor = demands.demand(&trigger, trigger.targets[1], &plan).unwrap();
    assert_eq!((floor.need.value, floor.need.replicas()), (2.0, 2));
}

#[tokio::test(start_paused = true)]
async fn an_override_in_the_plan_counts_at_once() {
    let (demands, time, mut plan, trigger) = at_hours("0");
    *time.lock() = at("2026-03-07T12:00:00Z");
    assert_eq!(demands.is_active(&trigger, &plan), Ok(false));
    let workload = plan.workloads.get_mut(&deployment("api")).unwrap();
    let schedule = Schedule::clone(workload.schedule.as_ref().unwrap());
    workload.schedule = Some(Arc::new(Schedule { keep_awake_until: Some(at("2026-03-07T14:00:00Z")), ..schedule }));
    assert_eq!(demands.is_active(&trigger, &plan), Ok(true));
    *time.lock() = at("2026-03-07T14:00:00Z");
    assert_eq!(demands.is_active(&trigger, &plan), Ok(false));
}

#[tokio::test(start_paused = true)]
async fn what_opens_after_another_waits_for_it_but_for_ten_minutes_at_most() {
    let (demands, time, mut plan, trigger) = at_hours("0");
    let workload = plan.workloads.get_mut(&deployment("api")).unwrap();
    let schedule = Schedule::clone(workload.schedule.as_ref().unwrap());
    workload.schedule = Some(Arc::new(Schedule { after: Some("statefulset/db".parse().unwrap()), ..schedule }));
    workload.after = Some(Prerequisite { id: deployment("db"), ready: false });
    workload.replicas.wanted = 0;
    *time.lock() = at("2026-03-03T08:00:00Z");
    assert_eq!(demands.is_active(&trigger, &plan), Ok(false));
    *time.lock() = at("2026-03-03T08:09:59Z");
    assert_eq!(demands.is_active(&trigger, &plan), Ok(false));
    *time.lock() = at("2026-03-03T08:10:00Z");
    assert_eq!(demands.is_active(&trigger, &plan), Ok(true), "ten minutes late");
    *time.lock() = at("2026-03-04T08:00:01Z");
    assert_eq!(demands.is_active(&trigger, &plan), Ok(false));
    plan.workloads.get_mut(&deployment("api")).unwrap().after =
        Some(Prerequisite { id: deployment("db"), ready: true });
    assert_eq!(demands.is_active(&trigger, &plan), Ok(true));
    let opened = plan.workloads.get_mut(&deployment("api")).unwrap();
    (opened.replicas.wanted, opened.after.as_mut().unwrap().ready) = (2, false);
    assert_eq!(demands.is_active(&trigger, &plan), Ok(true), "what has opened does not close when the other restarts");
}
