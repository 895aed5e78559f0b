mod hours;

use proptest::prelude::*;
use tidegate_core::{
    ids::{RouteRef, ServiceId},
    not_followed::NotFollowed,
    plan::ClusterShare,
    signal::PerReplica,
};
use tokio::time::advance;

use super::*;
use crate::{
    fixture::{STALE_AFTER, demands, deployment, measure, plan, share},
    store::ClusterValues,
};

const RULE: &str = "httproute/shop/web/rule/0";

fn target(signal: Signal) -> Target {
    Target { signal, per_replica: PerReplica::new(100.0).unwrap() }
}

fn of(traffic: Traffic) -> Trigger {
    Trigger {
        namespace: "shop".into(),
        targets: vec![target(Signal::RequestsPerSecond)],
        traffic: Some(traffic),
        query: None,
        kafka: None,
        model: None,
        schedule: None,
    }
}

fn api() -> Trigger {
    of(Traffic::Workload(deployment("api")))
}

fn annotated(traffic: Vec<ClusterShare>) -> Plan {
    plan("api", &[("requests-per-second", "100")], traffic)
}

fn value(demands: &Demands, trigger: &Trigger, plan: &Plan) -> Result<f64, String> {
    let demand = demands.demand(trigger, trigger.targets[0], plan);
    demand.map(|demand| demand.need.value).map_err(|none| none.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_rule_shared_90_10_gives_a_tenth_of_its_rate_to_the_canary() {
    let demands = demands();
    let canary = ClusterShare { share: 0.1, ..share("web") };
    let plan = annotated(vec![canary]);
    demands.signals().keep(&plan);
    measure(demands.signals(), &[(RULE, [420.0, 0.0, 0.0])]);
    assert_eq!(value(&demands, &api(), &plan), Ok(42.0));
}

#[tokio::test(start_paused = true)]
async fn both_forms_of_a_clusters_name_count_and_the_split_one_is_all_the_backends() {
    let demands = demands();
    let split = format!("{RULE}/backend/1");
    let half = ClusterShare { share: 0.25, of_backend: 0.5, split: Some(split.as_str().into()), ..share("web") };
    let plan = annotated(vec![half]);
    demands.signals().keep(&plan);
    measure(demands.signals(), &[(RULE, [80.0, 0.0, 0.0]), (&split, [6.0, 0.0, 0.0])]);
    assert_eq!(value(&demands, &api(), &plan), Ok(80.0 * 0.25 * 0.5 + 6.0 * 0.5));
}

#[tokio::test(start_paused = true)]
async fn rules_add_up_and_may_name_the_same_cluster_twice() {
    let demands = demands();
    let twice = ClusterShare { share: 0.5, ..share("web") };
    let plan = annotated(vec![twice.clone(), twice, share("admin")]);
    demands.signals().keep(&plan);
    measure(demands.signals(), &[(RULE, [30.0, 0.0, 0.0]), ("httproute/shop/admin/rule/0", [7.0, 0.0, 0.0])]);
    assert_eq!(value(&demands, &api(), &plan), Ok(37.0));
}

#[tokio::test(start_paused = true)]
async fn a_service_and_clusters_can_be_asked_for_by_name() {
    let demands = demands();
    let plan = annotated(vec![share("web")]);
    demands.signals().keep(&plan);
    let service = of(Traffic::Service(ServiceId { namespace: "shop".into(), name: "api".into() }));
    let clusters = of(Traffic::Clusters(vec!["else".into(), RULE.into()]));
    demands.signals().keep_named(&["else".into()]);
    measure(demands.signals(), &[(RULE, [5.0, 0.0, 0.0]), ("else", [3.0, 0.0, 0.0])]);
    assert_eq!(value(&demands, &service, &plan), Ok(5.0));
    assert_eq!(value(&demands, &clusters, &plan), Ok(8.0));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_new_in_the_plan_leaves_the_last_sum_until_it_is_measured() {
    let demands = demands();
    let before = annotated(vec![share("web")]);
    demands.signals().keep(&before);
    measure(demands.signals(), &[(RULE, [50.0, 0.0, 0.0])]);
    assert_eq!(value(&demands, &api(), &before), Ok(50.0));
    let after = annotated(vec![share("web"), share("new")]);
    demands.signals().keep(&after);
    advance(Duration::from_secs(2)).await;
    let held = demands.demand(&api(), target(Signal::RequestsPerSecond), &after).unwrap();
    assert_eq!((held.need.value, held.age), (50.0, Duration::from_secs(2)));
    assert!(matches!(held.caveat, Some(NoDemand::NoReading { .. })), "{held:?}");
    measure(demands.signals(), &[(RULE, [50.0, 0.0, 0.0]), ("httproute/shop/new/rule/0", [20.0, 0.0, 0.0])]);
    assert_eq!(value(&demands, &api(), &after), Ok(70.0));
}

#[tokio::test(start_paused = true)]
async fn a_lower_bound_gives_more_replicas_and_never_fewer() {
    let demands = demands();
    // It has 6 replicas, of 100 requests/s each.
    let plan = annotated(vec![share("web"), share("admin")]);
    let part = |rate: f64| {
        let values = [(RULE, Some([rate, 0.0, 0.0])), ("httproute/shop/admin/rule/0", None)];
        let values = values.map(|(name, values)| (name.to_owned(), values)).into();
        demands.signals().commit_clusters("test", Ok(ClusterValues { values, missing: None }));
    };
    demands.signals().keep(&plan);
    for (rate, told) in [(0.0, None), (500.0, None), (601.0, Some(601.0)), (30.0, None)] {
        part(rate);
        assert_eq!(value(&demands, &api(), &plan).ok(), told, "{rate}");
        assert_eq!(demands.is_active(&api(), &plan).ok(), (rate > 0.0).then_some(true), "{rate}");
    }
    measure(demands.signals(), &[(RULE, [200.0, 0.0, 0.0]), ("httproute/shop/admin/rule/0", [50.0, 0.0, 0.0])]);
    assert_eq!(value(&demands, &api(), &plan), Ok(250.0));
    // A third route comes, and with it a new unknown: the last sum is held unless the parts exceed it.
    let plan = annotated(vec![share("web"), share("admin"), share("new")]);
    demands.signals().keep(&plan);
    demands.signals().series();
    assert_eq!(value(&demands, &api(), &plan), Ok(250.0));
    let values = [(RULE, Some([300.0, 0.0, 0.0])), ("httproute/shop/new/rule/0", None)];
    let values = values.map(|(name, values)| (name.to_owned(), values)).into();
    demands.signals().commit_clusters("test", Ok(ClusterValues { values, missing: None }));
    assert_eq!(value(&demands, &api(), &plan), Ok(300.0));
}

#[tokio::test(start_paused = true)]
async fn a_route_that_is_gone_holds_the_last_sum_and_is_then_an_error_but_never_zero() {
    let demands = demands();
    let (before, after) = (annotated(vec![share("web")]), annotated(Vec::new()));
    demands.signals().keep(&before);
    measure(demands.signals(), &[(RULE, [50.0, 0.0, 0.0])]);
    assert_eq!(value(&demands, &api(), &before), Ok(50.0));
    demands.signals().keep(&after);
    advance(STALE_AFTER).await;
    assert_eq!(value(&demands, &api(), &after), Ok(50.0));
    advance(Duration::from_secs(1)).await;
    let error = value(&demands, &api(), &after).unwrap_err();
    assert!(error.starts_with("no route reaches deployment/api in namespace shop: wants an HTTPRoute"), "{error}");
    assert_eq!(demands.is_active(&api(), &after), Ok(true), "activity stays as it was");
}

#[test]
fn a_workload_that_no_route_reaches_says_what_is_wrong_with_those_that_name_it() {
    let mut plan = annotated(Vec::new());
    let route = RouteRef { kind: "HTTPRoute".into(), namespace: "shop".into(), name: "api".into(), rule: Some(0) };
    let message = "names Service api port 8080; it has 80".to_owned();
    plan.workloads.get_mut(&deployment("api")).unwrap().not_followed =
        vec![NotFollowed { route, reason: "PortNotFound", message, envoy_gateway: None }];
    assert_eq!(
        value(&demands(), &api(), &plan).unwrap_err(),
        "no route reaches deployment/api in namespace shop: HTTPRoute shop/api, rule 0: names Service api port 8080; it has 80"
    );
}

/// A Plan from a cluster, with this many of six pods ready.
fn with_ready(ready: u32) -> Plan {
    let mut plan = annotated(vec![share("web")]);
    let workload = plan.workloads.get_mut(&deployment("api")).unwrap();
    workload.uid = "42".to_owned();
    workload.replicas.ready = ready;
    plan
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_breaks_down_under_its_load_does_not_look_idle() {
    let demands = demands();
    demands.signals().keep(&with_ready(6));
    measure(demands.signals(), &[(RULE, [550.0, 0.0, 0.0])]);
    assert_eq!(value(&demands, &api(), &with_ready(6)), Ok(550.0));
    // No endpoint, no cluster.
    measure(demands.signals(), &[]);
    for plan in [with_ready(6), with_ready(0)] {
        let held = demands.demand(&api(), target(Signal::RequestsPerSecond), &plan).unwrap();
        assert_eq!(held.need.value, 550.0);
        assert!(matches!(held.caveat, Some(NoDemand::NoReading { .. })), "{held:?}");
    }
    let reason = demands.not_measured(&deployment("api"), &with_ready(6)).unwrap();
    assert!(reason.contains("no proxy has the cluster httproute/shop/web/rule/0"), "{reason}");
    advance(STALE_AFTER + Duration::from_secs(1)).await;
    measure(demands.signals(), &[]);
    assert!(value(&demands, &api(), &with_ready(6)).unwrap_err().contains("no proxy has the cluster"));
    measure(demands.signals(), &[(RULE, [180.0, 0.0, 0.0])]);
    assert_eq!(value(&demands, &api(), &with_ready(6)), Ok(180.0));
    assert_eq!(demands.not_measured(&deployment("api"), &with_ready(6)), None);
}

#[tokio::test(start_paused = true)]
async fn a_workload_of_which_no_pod_was_ever_ready_is_not_lowered() {
    let demands = demands();
    demands.signals().keep(&with_ready(0));
    measure(demands.signals(), &[(RULE, [0.0; 3])]);
    let error = value(&demands, &api(), &with_ready(0)).unwrap_err();
    assert!(error.starts_with("no pod of deployment/api in namespace shop is ready"), "{error}");
    let mut starting = with_ready(0);
    starting.workloads.get_mut(&deployment("api")).unwrap().replicas.wanted = 1;
    assert_eq!(value(&demands, &api(), &starting), Ok(0.0), "one replica that starts is the least there is");
}

#[tokio::test(start_paused = true)]
async fn a_workload_at_zero_whose_cluster_no_proxy_has_sleeps_on() {
    let demands = demands();
    let mut plan = with_ready(0);
    plan.workloads.get_mut(&deployment("api")).unwrap().replicas.wanted = 0;
    demands.signals().keep(&plan);
    measure(demands.signals(), &[]);
    assert_eq!(demands.is_active(&api(), &plan), Ok(false), "unknown never wakes");
    assert!(demands.is_active(&api(), &with_ready(0)).is_err(), "nor does it send anybody to sleep");
}

#[tokio::test(start_paused = true)]
async fn a_canary_at_rest_is_known_to_get_nothing() {
    let demands = demands();
    let plan = annotated(vec![ClusterShare { share: 0.0, ..share("web") }]);
    demands.signals().keep(&plan);
    assert_eq!(value(&demands, &api(), &plan), Ok(0.0), "and nobody needs to measure that");
    assert_eq!(demands.is_active(&api(), &plan), Ok(false));
    let half = annotated(vec![ClusterShare { share: 0.0, ..share("web") }, share("admin")]);
    demands.signals().keep(&half);
    measure(demands.signals(), &[("httproute/shop/admin/rule/0", [7.0, 0.0, 0.0])]);
    assert_eq!(value(&demands, &api(), &half), Ok(7.0));
}

#[tokio::test(start_paused = true)]
async fn a_route_that_envoy_gateway_has_not_taken_in_yet_holds_and_lends_its_names_to_nobody() {
    let demands = demands();
    let before = annotated(vec![ClusterShare { meaning: 1, ..share("web") }]);
    demands.signals().keep(&before);
    measure(demands.signals(), &[(RULE, [50.0, 0.0, 0.0])]);
    assert_eq!(value(&demands, &api(), &before), Ok(50.0));
    // A rule was inserted before it: on the proxies the name now belongs to another workload's cluster.
    let after = annotated(vec![ClusterShare { meaning: 2, pending: true, ..share("web") }]);
    demands.signals().keep(&after);
    for foreign in [0.0, 9000.0] {
        measure(demands.signals(), &[(RULE, [foreign, 0.0, 0.0])]);
        assert_eq!(value(&demands, &api(), &after), Ok(50.0));
    }
    assert!(
        demands.not_measured(&deployment("api"), &after).is_some_and(|why| why.contains("HTTPRoute shop/web rule 0"))
    );
    advance(STALE_AFTER + Duration::from_secs(1)).await;
    measure(demands.signals(), &[(RULE, [9000.0, 0.0, 0.0])]);
    assert!(value(&demands, &api(), &after).unwrap_err().contains("Envoy Gateway has not taken that in yet"));
    assert_eq!(demands.is_active(&api(), &after), Ok(true), "activity stays as it was");
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_is_no_longer_annotated_is_unknown_at_once() {
    let demands = demands();
    let before = annotated(vec![share("web")]);
    demands.signals().keep(&before);
    measure(demands.signals(), &[(RULE, [50.0, 0.0, 0.0])]);
    assert_eq!(value(&demands, &api(), &before), Ok(50.0));
    let after = plan("other", &[("requests-per-second", "1")], Vec::new());
    let unknown = "deployment/api in namespace shop has no annotations of Tidegate, or does not exist; known in its \
                   namespace: deployment/other";
    assert_eq!(value(&demands, &api(), &after), Err(unknown.to_owned()));
    assert!(demands.is_active(&api(), &after).is_err());
}

#[tokio::test(start_paused = true)]
async fn activity_needs_one_value_above_zero_and_stays_as_it_was_without_data() {
    let demands = demands();
    let plan = annotated(vec![share("web")]);
    demands.signals().keep(&plan);
    assert!(demands.is_active(&api(), &plan).is_err(), "it was never known");
    let mut both = api();
    both.targets.push(target(Signal::Concurrency));
    for (values, active) in [([0.0, 0.0, 9.0], false), ([0.0, 1.0, 0.0], true), ([0.1, 0.0, 0.0], true)] {
        measure(demands.signals(), &[(RULE, values)]);
        assert_eq!(demands.is_active(&both, &plan), Ok(active), "{values:?}");
    }
    advance(STALE_AFTER * 3).await;
    assert!(value(&demands, &both, &plan).is_err());
    assert_eq!(demands.is_active(&both, &plan), Ok(true));
    measure(demands.signals(), &[(RULE, [0.0; 3])]);
    assert_eq!(demands.is_active(&both, &plan), Ok(false));
    advance(STALE_AFTER * 3).await;
    assert_eq!(demands.is_active(&both, &plan), Ok(false));
}

/// A hand-written trigger with a query.
fn asking(query: &str) -> Trigger {
    Trigger {
        namespace: "shop".into(),
        targets: vec![target(Signal::PrometheusQuery)],
        traffic: None,
        query: Some(query.into()),
        kafka: None,
        model: None,
        schedule: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_is_held_beyond_its_own_failure_only_as_activity() {
    let (demands, trigger, nothing) = (demands(), asking("sum(up)"), Plan::default());
    let error = value(&demands, &trigger, &nothing).unwrap_err();
    assert!(error.starts_with("query sum(up): no value yet"), "{error}");
    demands.signals().commit_query("shop", "sum(up)", Measured::Exact(3.0));
    assert_eq!(value(&demands, &trigger, &nothing), Ok(3.0));
    advance(STALE_AFTER * 2).await;
    assert!(value(&demands, &trigger, &nothing).is_err());
    assert_eq!(demands.is_active(&trigger, &nothing), Ok(true));
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_part_raises_what_a_query_gave_and_never_lowers_it() {
    let (demands, trigger, nothing) = (demands(), asking("sum(up)"), Plan::default());
    let answered = |answer| demands.signals().commit_query("shop", "sum(up)", answer);
    let in_part = |value| Measured::AtLeast(value, "answered in part: a store is away".to_owned());
    let now = || demands.demand(&trigger, trigger.targets[0], &nothing).unwrap();
    assert!(value(&demands, &trigger, &nothing).is_err(), "it is asked for");
    answered(Measured::Exact(5.0));
    assert_eq!((now().need.value, now().caveat), (5.0, None));
    answered(in_part(3.0));
    assert_eq!(now().need.value, 5.0);
    assert_eq!(now().caveat.unwrap().to_string(), "query sum(up): answered in part: a store is away");
    answered(in_part(8.0));
    assert_eq!(now().need.value, 8.0);
    answered(Measured::Unknown("no answer".to_owned()));
    assert_eq!(now().need.value, 8.0, "it was at least that");
    answered(Measured::Exact(2.0));
    assert_eq!(now().need.value, 2.0);
    answered(in_part(0.0));
    advance(STALE_AFTER * 2).await;
    assert!(value(&demands, &trigger, &nothing).is_err(), "what is left says nothing");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asks_for_is_forgotten() {
    let demands = demands();
    let plan = annotated(vec![share("web")]);
    let named = |name: &str| of(Traffic::Clusters(vec![name.to_owned()]));
    demands.signals().keep(&plan);
    for index in 0..50 {
        let name = format!("c{index}");
        demands.signals().keep_named(std::slice::from_ref(&name));
        measure(demands.signals(), &[(&name, [0.0; 3])]);
        assert_eq!(value(&demands, &named(&name), &plan), Ok(0.0));
    }
    assert_eq!(demands.last.lock().count(), 50);
    advance(Duration::from_secs(601)).await;
    measure(demands.signals(), &[(RULE, [0.0; 3])]);
    assert_eq!(value(&demands, &api(), &plan), Ok(0.0));
    assert_eq!(demands.last.lock().count(), 1);
}

/// A change to a workload between two calls.
#[derive(Debug, Clone)]
enum Event {
    Measured(f64),
    Silence(u64),
    RouteGone,
    RouteBack,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0.0f64..1e6).prop_map(Event::Measured),
        (0u64..400).prop_map(Event::Silence),
        Just(Event::RouteGone),
        Just(Event::RouteBack),
    ]
}

proptest! {
    #[test]
    fn no_value_is_ever_made_of_missing_data(events in proptest::collection::vec(event(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (with, without) = (annotated(vec![share("web")]), annotated(Vec::new()));
            let demands = demands();
            let (mut plan, mut known, mut kept) = (&with, Vec::new(), true);
            demands.signals().keep(plan);
            for event in events {
                match event {
                    Event::Measured(value) => {
                        measure(demands.signals(), &[(RULE, [value, 0.0, 0.0])]);
                        if kept {
                            known.push(value);
                        }
                    }
                    Event::Silence(seconds) => advance(Duration::from_secs(seconds)).await,
                    Event::RouteGone => (plan, kept) = (&without, false),
                    Event::RouteBack => (plan, kept) = (&with, true),
                }
                demands.signals().keep(plan);
                // The test asks every time, as KEDA does: so the answer is the newest known value, or none.
                if let Ok(demand) = demands.demand(&api(), target(Signal::RequestsPerSecond), plan) {
                    assert_eq!(Some(&demand.need.value), known.last());
                    assert!(demand.age <= STALE_AFTER);
                }
            }
        });
    }
}
