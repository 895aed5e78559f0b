use http::StatusCode;
use prometheus_client::registry::Registry;
use serde_json::json;
use tidegate_cluster::{WrongPlace, scaling::ScalerEndpoint};
use tidegate_core::{
    calendar::Calendars,
    plan::{PlannedWorkload, Replicas},
    workload::WorkloadKind,
};
use tokio::time::advance;

use super::*;
use crate::{
    fixture::{ApiServer, Scenario, context},
    lease::{LeaseSettings, Term},
};

fn reconciler() -> (ApiServer, Reconciler, Term) {
    let (server, term, context) = context();
    let lease = LeaseSettings { namespace: "system".into(), name: "tidegate".into(), holder: "pod".into() };
    let metrics = OperatorMetrics::register(&mut Registry::default());
    let settings = Settings { scaler: ScalerEndpoint::default(), release: String::new(), tolerance: false };
    (server, Reconciler::new(&context, settings, Ledger::of(&lease), metrics), term)
}

fn applies(number: usize) -> Vec<Step> {
    let apply = |n| {
        let id = WorkloadId { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: format!("api-{n}") };
        Step::Apply(
            id,
            json!({ "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": { "name": format!("api-{n}") } }).into(),
        )
    };
    (0..number).map(apply).collect()
}

#[tokio::test(start_paused = true)]
async fn leadership_that_ends_in_the_middle_of_a_round_ends_its_writes() {
    let (server, mut reconciler, term) = reconciler();
    term.begin();
    server.play(Scenario::IsLate(Duration::from_secs(6)));
    reconciler.carry_out(applies(3 * AT_ONCE)).await;
    assert_eq!(server.writes().len(), 2 * AT_ONCE, "those of the first 6 s, and of the second");
    assert!(reconciler.failures.is_empty(), "another replica's work is no failure");
}

#[tokio::test(start_paused = true)]
async fn a_thawed_process_writes_nothing_until_it_has_renewed() {
    let (server, mut reconciler, term) = reconciler();
    reconciler.carry_out(applies(1)).await;
    assert!(server.writes().is_empty(), "it has never led");
    term.begin();
    advance(Duration::from_secs(25)).await;
    reconciler.carry_out(applies(1)).await;
    assert!(server.writes().is_empty());
    term.begin();
    reconciler.carry_out(applies(1)).await;
    assert_eq!(server.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_refused_is_tried_again_later() {
    let (server, mut reconciler, term) = reconciler();
    term.begin();
    server.play(Scenario::Answers(StatusCode::INTERNAL_SERVER_ERROR));
    reconciler.carry_out(applies(1)).await;
    assert_eq!(reconciler.failures.len(), 1);
    server.play(Scenario::IsWell);
    reconciler.carry_out(applies(1)).await;
    assert!(reconciler.failures.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_workload_lacks_because_it_was_applied_first_is_no_news() {
    let (_server, mut reconciler, _term) = reconciler();
    let id = WorkloadId { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "api".into() };
    let mut plan = Plan::default();
    let (intent, calendars) = (Err(Vec::new()), Calendars::new());
    let workload = PlannedWorkload::new(&id, String::new(), intent, Vec::new(), Replicas::default(), 0, &calendars);
    plan.workloads.insert(id.clone(), workload);
    let left_out = |reconciler: &mut Reconciler| {
        let mut notices =
            BTreeMap::from([(id.clone(), vec![WorkloadNotice::NoRoute(String::new()), WorkloadNotice::Paused])]);
        reconciler.see(&plan, Instant::now());
        let again = reconciler.leave_out_early(&mut notices, Instant::now());
        (notices[&id].len(), again)
    };
    assert_eq!(left_out(&mut reconciler), (1, true));
    advance(SETTLED.saturating_sub(Duration::from_millis(1))).await;
    assert_eq!(left_out(&mut reconciler), (1, true));
    advance(Duration::from_millis(1)).await;
    assert_eq!(left_out(&mut reconciler), (2, false));
}

#[test]
fn an_object_gets_its_notices_together_whether_or_not_it_is_scaled() {
    let object = |name: &str| events::reference(Kind::Deployment, "shop", name, Some("u".to_owned()));
    let bearer = |kind, name: &str| Bearer { kind, namespace: "shop".into(), name: name.into(), uid: "u".into() };
    let misplaced = |key: &str| Misplaced { keys: vec![key.to_owned()], place: WrongPlace::PodTemplate };
    let mut all = vec![(object("api"), vec![WorkloadNotice::NoRoute(String::new())])];
    let found = vec![
        (bearer(Kind::Deployment, "api"), misplaced("a")),
        (bearer(Kind::CronJob, "report"), misplaced("b")),
        (bearer(Kind::CronJob, "report"), misplaced("c")),
    ];
    add_misplaced(&mut all, found);
    let counts: Vec<_> = all.iter().map(|(object, notices)| (object.name.as_deref().unwrap(), notices.len())).collect();
    assert_eq!(counts, [("api", 2), ("report", 2)]);
}
