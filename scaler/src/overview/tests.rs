use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tidegate_core::{
    fleet::{Fleet, GatewayId, PlannedGateway, Scaling},
    intent::{Annotations, GatewayIntent},
    workload::Requests,
};

use super::*;
use crate::{
    fixture::{demands, deployment, measure, plan, share},
    history::{Cause, Change, Why},
};

const RULE: &str = "httproute/shop/web/rule/0";
const NOON: &str = "2026-03-02T12:00:00Z";
const NIGHT: &str = "2026-03-02T22:00:00Z";

/// A Deployment with six replicas, five of them ready, at a rate.
fn row(annotations: &[(&str, &str)], rate: Option<f64>, at: &str) -> OverviewRow {
    let plan = plan("api", annotations, vec![share("web")]);
    let now: DateTime<Utc> = at.parse().unwrap();
    let demands = demands().with_clock(Arc::new(move || now));
    demands.signals().keep(&plan);
    if let Some(rate) = rate {
        measure(demands.signals(), &[(RULE, [rate, 0.0, 0.0])]);
    }
    overview(&plan, &demands, &History::default()).workloads.remove(0)
}

const RPS: (&str, &str) = ("requests-per-second", "100");
const OFFICE: [(&str, &str); 3] = [RPS, ("hours", "Mo-Fr 08:00-18:00"), ("timezone", "Europe/Berlin")];

#[tokio::test(start_paused = true)]
async fn each_workload_has_a_state_a_number_and_a_reason() {
    let capped = [RPS, ("max-replicas", "6")];
    let paused = [RPS, ("paused", "true")];
    for (annotations, rate, at, state, wanted, why) in [
        (&[RPS][..], Some(720.0), NOON, State::ScalingUp, Some(8), "720.0 requests/s ÷ 100 per replica"),
        (&[RPS], Some(120.0), NOON, State::ScalingDown, Some(2), "120.0 requests/s ÷ 100 per replica"),
        (
            &capped,
            Some(720.0),
            NOON,
            State::AtMaximum,
            Some(6),
            "720.0 requests/s ÷ 100 per replica needs 8, max-replicas decides",
        ),
        (&paused, Some(720.0), NOON, State::Paused, Some(8), "paused; otherwise: 720.0 requests/s ÷ 100 per replica"),
        (&OFFICE, Some(720.0), NIGHT, State::Closed, Some(0), "outside its hours"),
    ] {
        let row = row(annotations, rate, at);
        assert_eq!((row.state, row.wanted, row.why.as_str()), (state, wanted, why), "{annotations:?}");
        assert_eq!(row.problems, [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_a_problem_and_not_a_zero() {
    let unmeasured = row(&[RPS], None, NOON);
    assert_eq!((unmeasured.state, unmeasured.wanted), (State::Unknown, None));
    assert!(unmeasured.why.starts_with("not known: "), "{}", unmeasured.why);
    assert!(unmeasured.problems[0].starts_with("requests-per-second: "), "{:?}", unmeasured.problems);
    let invalid = row(&[("requests-per-second", "many")], Some(5.0), NOON);
    assert_eq!((invalid.state, invalid.bounds, invalid.problems.len()), (State::Invalid, None, 1));
}

#[tokio::test(start_paused = true)]
async fn hours_come_with_their_next_change_in_their_own_zone() {
    let hours = row(&OFFICE, Some(1.0), NIGHT).hours.unwrap();
    assert_eq!(hours.phase, Phase::Closed);
    assert_eq!(hours.next_change.as_deref(), Some("2026-03-03T08:00:00+01:00"));
}

#[tokio::test(start_paused = true)]
async fn the_last_hour_comes_from_the_history() {
    let plan = plan("api", &[RPS], vec![share("web")]);
    let (history, now) = (History::default(), NOON.parse::<DateTime<Utc>>().unwrap());
    let change = |minutes: i64, from, to| Change {
        at: now - TimeDelta::minutes(minutes),
        from,
        to,
        cause: Cause::Demand,
        detail: None,
        why: Why::default(),
        replicas: Replicas::default(),
    };
    history.add(&deployment("api"), &change(50, None, Some(2)));
    history.add(&deployment("api"), &change(10, Some(2), Some(7)));
    let past = overview(&plan, &demands().with_clock(Arc::new(move || now)), &history).workloads.remove(0).past;
    assert_eq!(past.len(), 30);
    assert_eq!((past[0], past[10], past[24], past[29]), (None, Some(2), Some(7), Some(7)));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_has_its_own_rows_alone() {
    let plan = plan("api", &[RPS], vec![share("web")]);
    let all = overview(&plan, &demands(), &History::default());
    assert_eq!(all.within("shop").workloads, all.workloads);
    assert_eq!(all.within("edge").workloads, []);
}

fn fleet(pairs: &[(&str, &str)]) -> Fleet {
    let own: Annotations =
        pairs.iter().map(|(key, value)| (format!("tidegate.dev/{key}"), (*value).to_owned())).collect();
    let intent = GatewayIntent::of_gateway(&own, "edge", &Annotations::new()).map(Option::unwrap);
    let gateway = PlannedGateway {
        uid: String::new(),
        intent,
        problems: Vec::new(),
        applied: own,
        schedule: None,
        calendar: None,
        status: None,
    };
    let id = GatewayId { namespace: "edge".into(), name: "web".into() };
    Fleet {
        envoy_proxy: None,
        may_create: false,
        missing: None,
        gateways: BTreeMap::from([(id, gateway)]),
        bystanders: Vec::new(),
        series: vec!["gateway/edge/web".into()],
        scaling: Scaling::Replicas(Some(2)),
        current: 2,
        requests: Requests::default(),
        adopted: None,
        drain: Duration::from_secs(60),
    }
}

#[tokio::test(start_paused = true)]
async fn gateways_are_rows_too() {
    let row_of = |pairs: &[(&str, &str)]| {
        let mut plan = plan("api", &[RPS], vec![share("web")]);
        plan.fleets.push(fleet(pairs));
        let demands = demands();
        demands.signals().keep(&plan);
        measure(demands.signals(), &[("gateway/edge/web", [2500.0, 0.0, 0.0])]);
        overview(&plan, &demands, &History::default()).gateways.remove(0)
    };
    let row = row_of(&[("requests-per-second", "1000")]);
    assert_eq!((row.kind.as_str(), row.state, row.wanted), ("Gateway", State::ScalingUp, Some(3)));
    assert_eq!(row.why, "2500.0 requests/s ÷ 1000 per proxy");
    assert_eq!(row_of(&[("requests-per-second", "1000"), ("max-replicas", "2")]).state, State::AtMaximum);
    assert_eq!(row_of(&[("requests-per-second", "1000"), ("paused", "true")]).state, State::Paused);
    assert_eq!(row_of(&[("requests-per-second", "no")]).state, State::Invalid);
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_within_a_second_get_one_overview() {
    let plan = plan("api", &[RPS], vec![share("web")]);
    let (overviews, demands, history) = (Overviews::default(), demands(), History::default());
    let first = overviews.get(&plan, &demands, &history);
    assert!(Arc::ptr_eq(&first, &overviews.get(&plan, &demands, &history)));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!Arc::ptr_eq(&first, &overviews.get(&plan, &demands, &history)));
}
