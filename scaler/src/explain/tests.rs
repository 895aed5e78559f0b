mod at_zero;

use tidegate_core::{
    kafka::{Lag, Rates},
    plan::{ClusterShare, Proxy},
};
use tokio::time::advance;

use super::*;
use crate::fixture::{STALE_AFTER, demands, deployment, measure, plan, share};
use crate::store::{Counters, Sample};

const RULE: &str = "httproute/shop/web/rule/0";
const BOTH: [(&str, &str); 3] = [("requests-per-second", "100"), ("concurrency", "8"), ("max-replicas", "20")];

fn page(plan: &Plan, demands: &Demands) -> String {
    explain(plan, demands, &deployment("api")).unwrap().to_string()
}

fn measured(plan: &Plan, values: &[(&str, [f64; 3])]) -> Demands {
    let demands = demands();
    demands.signals().keep(plan);
    measure(demands.signals(), values);
    demands
}

#[tokio::test(start_paused = true)]
async fn the_answer_stands_first_and_the_way_to_it_follows() {
    let split = format!("{RULE}/backend/1");
    let web = ClusterShare { share: 0.9, split: Some(split.as_str().into()), ..share("web") };
    let admin = ClusterShare { of_backend: 1.0 / 3.0, ..share("admin") };
    let plan = plan("api", &BOTH, vec![web, admin]);
    let demands = measured(&plan, &[(RULE, [700.0, 10.0, 0.0]), ("httproute/shop/admin/rule/0", [36.0, 3.0, 0.0])]);
    advance(Duration::from_secs(2)).await;
    let expected = "\
deployment/api in namespace shop

7 replicas wanted: 642.0 requests/s ÷ 100 per replica, decided by
requests-per-second.
It has 6 replicas, of which 5 ready; it may have 1 to 20. More come when the HPA
looks next, which is four times a minute. If they don't:
  kubectl -n shop describe hpa keda-hpa-api

SIGNAL                      DEMAND  PER REPLICA  REPLICAS  MEASURED
requests-per-second          642.0          100         7  2 s ago
concurrency                   10.0            8         2  2 s ago

TRAFFIC
HTTPRoute shop/web rule 0 -> Service api, 90 % of the rule by weight
  cluster httproute/shop/web/rule/0
    90 % of 700.0 requests/s = 630.0
    90 % of 10.0 requests in flight = 9.0
  cluster httproute/shop/web/rule/0/backend/1
    nothing; used when Envoy Gateway splits the rule
HTTPRoute shop/admin rule 0 -> Service api, 33.3 % of its pods
  cluster httproute/shop/admin/rule/0
    33.3 % of 36.0 requests/s = 12.0
    33.3 % of 3.0 requests in flight = 1.0

Sources: 1 of 1 answers, 2 s ago at most.
";
    assert_eq!(page(&plan, &demands), expected);
}

#[tokio::test(start_paused = true)]
async fn requests_that_a_rate_limit_refused_are_named_and_are_no_demand() {
    let plan = plan("api", &BOTH[..1], vec![share("web")]);
    let demands = demands();
    let signals = demands.signals();
    signals.keep(&plan);
    let proxy = Proxy { name: "eg/proxy".into(), stats: ([10, 0, 0, 1], 19001).into(), ready: true, fleet: None };
    for second in 0..40 {
        let counters = Counters {
            requests: f64::from(second) * 150.0,
            rate_limited: 1.0 + f64::from(second) * 350.0,
            ..Counters::default()
        };
        let sample = Sample::new(&signals.series(), vec![(0, counters)]);
        signals.sampled(&proxy, tokio::time::Instant::now(), Ok(sample));
        signals.commit(std::slice::from_ref(&proxy));
        advance(Duration::from_secs(1)).await;
    }
    let page = page(&plan, &demands);
    assert!(page.contains("2 replicas wanted: 150.0 requests/s"), "{page}");
    assert!(
        page.contains("    150.0 requests/s\n    350.0 requests/s refused by a rate limit: not demand\n"),
        "{page}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_bound_that_was_met_is_named_with_what_would_be_needed() {
    let at = |annotations: &[(&str, &str)], rate: f64| {
        let plan = plan("api", annotations, vec![share("web")]);
        let page = page(&plan, &measured(&plan, &[(RULE, [rate, 0.0, 0.0])]));
        page.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let rps = ("requests-per-second", "100");
    for (text, expected) in [
        (
            at(&[rps, ("max-replicas", "20")], 2500.0),
            "20 replicas wanted, the maximum: 2500.0 requests/s ÷ 100 per replica needs 25, decided by \
             requests-per-second. Raise tidegate.dev/max-replicas to get them.",
        ),
        (
            at(&[rps, ("min-replicas", "3")], 120.0),
            "3 replicas wanted, the minimum: 120.0 requests/s ÷ 100 per replica needs 2, decided by requests-per-second. It \
             has 6 replicas, of which 5 ready; it may have 3 to 10. Fewer come 300 s after the last need for more.",
        ),
        (at(&[rps], 0.0), "1 replica wanted, the minimum: nothing asks for any."),
        (at(&[rps, ("min-replicas", "0")], 0.0), "1 replica wanted, the minimum: nothing asks for any."),
        (at(&[rps, ("paused", "true")], 650.0), "Paused, so nothing is changed. Otherwise: 7 replicas wanted: 650.0"),
        (at(&[("max-replicas", "3")], 0.0), "It has no signal to scale on:"),
    ] {
        assert!(text.contains(expected), "{expected}\n\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_said_with_its_reason_and_never_shown_as_zero() {
    let plan = plan("api", &BOTH, vec![share("web")]);
    let demands = demands();
    demands.signals().keep(&plan);
    let text = page(&plan, &demands);
    assert!(text.contains("No answer now: no signal is known. KEDA and the HPA leave it at 6 replicas."), "{text}");
    assert!(text.contains("requests-per-second        unknown"), "{text}");
    assert!(text.contains("WHAT IS WRONG\n- cluster httproute/shop/web/rule/0: no value yet"), "{text}");
    assert!(text.ends_with("Nothing measures: no proxy and no Prometheus is known.\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_routes_is_said_once() {
    let refused = NotFollowed {
        route: RouteRef { kind: "HTTPRoute".into(), namespace: "shop".into(), name: "api".into(), rule: Some(0) },
        reason: "PortNotFound",
        message: "names Service api port 8080; it has 80".to_owned(),
        envoy_gateway: None,
    };
    for shares in [vec![], vec![share("web")]] {
        let mut plan = plan("api", &BOTH, shares);
        plan.workloads.get_mut(&deployment("api")).unwrap().not_followed = vec![refused.clone()];
        let explanation = explain(&plan, &demands(), &deployment("api")).unwrap();
        assert_eq!(explanation.not_followed, std::slice::from_ref(&refused));
        let said =
            explanation.problems.iter().filter(|problem| problem.contains("names Service api port 8080; it has 80"));
        assert_eq!(said.count(), 1, "{:?}", explanation.problems);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_only_connections_could_bring_are_among_what_is_wrong() {
    let mut tcp = share("web");
    tcp.route = RouteRef { kind: "TCPRoute".into(), rule: None, ..tcp.route };
    let plan = plan("api", &BOTH[..1], vec![tcp]);
    let demands = measured(&plan, &[(RULE, [3.0, 3.0, 3.0])]);
    let explanation = explain(&plan, &demands, &deployment("api")).unwrap();
    let [problem] = &explanation.problems[..] else { panic!("{:?}", explanation.problems) };
    assert!(problem.contains("Write tidegate.dev/connections instead"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn with_one_signal_of_two_unknown_the_answer_is_a_lower_bound() {
    let mut annotations = BOTH.to_vec();
    annotations.extend([("prometheus-query", "sum(jobs)"), ("prometheus-target", "5")]);
    let plan = plan("api", &annotations, vec![share("web")]);
    let demands = measured(&plan, &[(RULE, [250.0, 0.0, 0.0])]);
    let explanation = explain(&plan, &demands, &deployment("api")).unwrap();
    assert!(!explanation.complete);
    let text = explanation.to_string();
    assert!(text.contains("At least 3 replicas wanted: 250.0 requests/s"), "{text}");
    assert!(text.contains("Nothing is taken away while prometheus-query is not known."), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_no_route_reaches_is_reported_once_with_what_to_do() {
    let plan = plan("api", &BOTH, Vec::new());
    let demands = measured(&plan, &[]);
    let explanation = explain(&plan, &demands, &deployment("api")).unwrap();
    assert_eq!(explanation.problems.len(), 1, "{:?}", explanation.problems);
    assert!(explanation.problems[0].contains("wants an HTTPRoute, GRPCRoute, TCPRoute or TLSRoute"));
}

#[tokio::test(start_paused = true)]
async fn a_held_value_is_shown_with_its_age_and_the_reason() {
    let before = plan("api", &BOTH[..1], vec![share("web")]);
    let demands = measured(&before, &[(RULE, [420.0, 0.0, 0.0])]);
    explain(&before, &demands, &deployment("api")).unwrap();
    let after = plan("api", &BOTH[..1], Vec::new());
    advance(Duration::from_secs(40)).await;
    let text = page(&after, &demands);
    assert!(text.contains("5 replicas wanted: 420.0 requests/s"), "{text}");
    assert!(text.contains("- 420.0 requests/s is what is known, 40 s old, while there is no better: no"), "{text}");
    assert!(text.contains("route reaches deployment/api in namespace shop"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn sources_that_do_not_answer_are_shown_with_their_error() {
    let plan = plan("api", &BOTH, vec![share("web")]);
    let demands = measured(&plan, &[(RULE, [420.0, 0.0, 0.0])]);
    advance(Duration::from_secs(12)).await;
    demands.signals().commit_values("test", Err("connection refused".into()));
    let text = page(&plan, &demands);
    let expected =
        "- test has not answered for 12 s, its last values are used: connection refused\n\nSources: 0 of 1 answer.";
    assert!(text.contains(expected), "{text}");
    advance(STALE_AFTER).await;
    let text = page(&plan, &demands);
    assert!(text.contains("No answer now"), "{text}");
    assert!(text.contains("the last value is 312 s old"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn wrong_annotations_are_all_reported() {
    let plan = plan("api", &[("max-replicas", "many"), ("request-per-second", "1")], vec![share("web")]);
    let text = page(&plan, &measured(&plan, &[]));
    assert!(text.contains("Its annotations are wrong, so what was applied before stays as it is."), "{text}");
    assert!(text.contains("got \"many\"") && text.contains("tidegate.dev/requests-per-second?"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_workload_is_answered_with_the_known_ones() {
    let plan = plan("api", &BOTH, Vec::new());
    let unknown = explain(&plan, &demands(), &deployment("aip")).unwrap_err().to_string();
    let expected = "deployment/aip in namespace shop has no annotations of Tidegate, or does not exist; known in its \
                    namespace: deployment/api";
    assert_eq!(unknown, expected);
}

#[tokio::test(start_paused = true)]
async fn the_page_keeps_to_80_columns_and_says_when_there_is_more() {
    let routes: Vec<_> = (0..25).map(|index| share(&format!("route-{index}"))).collect();
    let plan = plan("api", &BOTH, routes);
    let text = page(&plan, &demands());
    assert!(text.contains("… and 5 more; -o json has them all"), "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn programs_get_the_same_in_camel_case() {
    let plan = plan("api", &BOTH, vec![share("web")]);
    let demands = measured(&plan, &[(RULE, [700.0, 10.0, 0.0])]);
    let json = serde_json::to_value(explain(&plan, &demands, &deployment("api")).unwrap()).unwrap();
    let expected = serde_json::json!({
        "workload": { "namespace": "shop", "kind": "Deployment", "name": "api" },
        "intent": { "bounds": { "min": 1, "max": 20 }, "addsAtOnce": false, "scaleDownAfterSeconds": 300, "paused": false },
        "replicas": { "wanted": 6, "ready": 5 },
        "desired": { "replicas": 7, "unbounded": 7, "decidedBy": "requests-per-second", "limit": null },
        "hours": null, "kafka": null, "model": null, "complete": true,
        "signals": [
            {
                "signal": "requests-per-second", "unit": "requests/s", "perReplica": 100.0, "value": 700.0,
                "ageSeconds": 0.0, "replicas": 7, "problem": null
            },
            {
                "signal": "concurrency", "unit": "requests in flight", "perReplica": 8.0, "value": 10.0,
                "ageSeconds": 0.0, "replicas": 2, "problem": null
            },
        ],
        "traffic": [{
            "route": { "kind": "HTTPRoute", "namespace": "shop", "name": "web", "rule": 0 },
            "service": { "namespace": "shop", "name": "api" },
            "share": 1.0,
            "ofBackend": 1.0,
            "clusters": [{
                "name": "httproute/shop/web/rule/0",
                "part": 1.0,
                "rateLimited": null,
                "readings": [
                    { "signal": "requests-per-second", "value": 700.0, "ageSeconds": 0.0, "problem": null },
                    { "signal": "concurrency", "value": 10.0, "ageSeconds": 0.0, "problem": null },
                ],
            }],
        }],
        "notFollowed": [],
        "problems": [],
        "notices": [],
        "sources": [{ "name": "test", "lastSuccessSeconds": 0.0, "error": null }],
        "changes": [],
    });
    assert_eq!(json, expected);
}

#[tokio::test(start_paused = true)]
async fn outside_hours_the_cap_and_the_next_opening_are_shown() {
    let hours = [("requests-per-second", "100"), ("hours", "Mo-Fr 08:00-18:00"), ("timezone", "Europe/Berlin")];
    let at = |cap: &'static str| {
        let plan = plan("api", &[&hours[..], &[("off-hours-replicas", cap)]].concat(), vec![share("web")]);
        let night = chrono::DateTime::parse_from_rfc3339("2026-03-27T22:00:00+01:00").unwrap().to_utc();
        let demands = demands().with_clock(std::sync::Arc::new(move || night));
        demands.signals().keep(&plan);
        measure(demands.signals(), &[(RULE, [700.0, 0.0, 0.0])]);
        page(&plan, &demands)
    };
    let capped = at("2");
    let words: Vec<_> = capped.split_whitespace().collect();
    let answer = "Outside its hours, when at most 2 replicas may run: 2 replicas wanted: 200.0 requests/s";
    assert!(words.join(" ").contains(answer), "{capped}");
    // The clocks go forward on that week-end.
    let sentence = "Hours: closed, at most 2, until 2026-03-30T08:00:00+02:00 (Mo-Fr 08:00-18:00 in Europe/Berlin).";
    assert!(words.join(" ").contains(sentence), "{capped}");
    assert!(at("0").contains("Outside its hours: no replica is wanted, whatever the traffic."), "{}", at("0"));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_is_explained_with_what_all_its_proxies_carry() {
    use tidegate_core::{
        fleet::{EnvoyProxyId, Fleet, GatewayId, PlannedGateway, Scaling, series_of_gateway},
        intent::{Annotations, GatewayIntent},
        workload::Requests,
    };
    let annotations = [("tidegate.dev/requests-per-second", "200"), ("tidegate.dev/max-replicas", "5")];
    let annotations: Annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let intent = GatewayIntent::of_gateway(&annotations, "edge", &Annotations::new()).map(Option::unwrap);
    let id = GatewayId { namespace: "edge".into(), name: "web".into() };
    let gateway = PlannedGateway {
        uid: String::new(),
        intent,
        problems: Vec::new(),
        applied: Annotations::new(),
        schedule: None,
        calendar: None,
        status: None,
    };
    let fleet = Fleet {
        envoy_proxy: Some(EnvoyProxyId { namespace: "edge".into(), name: "own".into() }),
        may_create: false,
        missing: None,
        gateways: [(id.clone(), gateway)].into(),
        bystanders: Vec::new(),
        series: vec![series_of_gateway("edge", "web")],
        scaling: Scaling::Replicas(Some(2)),
        current: 2,
        requests: Requests::default(),
        adopted: None,
        drain: Duration::from_secs(60),
    };
    let plan = Plan { fleets: vec![fleet], ..Plan::default() };
    let demands = measured(&plan, &[("gateway/edge/web", [700.0, 0.0, 0.0])]);
    let expected = "\
gateway/web in namespace edge

4 proxies wanted. It has 2 proxies, as EnvoyProxy edge/own says.

SIGNAL                 ALL PROXIES    PER PROXY   PROXIES
requests-per-second          700.0          200         4
";
    assert_eq!(explain_gateway(&plan, &demands, &id).unwrap().to_string(), expected);
    let unknown = explain_gateway(&plan, &demands, &GatewayId { name: "wep".into(), ..id }).unwrap_err();
    assert!(unknown.to_string().ends_with("known: gateway/web in namespace edge"), "{unknown}");
}

#[tokio::test(start_paused = true)]
async fn a_groups_lag_and_pace_are_shown() {
    let annotations = [("kafka-lag-seconds", "60"), ("kafka-group", "billing"), ("max-replicas", "50")];
    let plan = plan("api", &annotations, Vec::new());
    let demands = demands();
    demands.signals().keep(&plan);
    let wanted = demands.signals().wanted_lags();
    let rates = Rates { arriving: 100.0, consumed: 40.0, least_waiting: 29_000, over: Duration::from_secs(60) };
    let lag =
        Lag { messages: 30_000, topics: 3, partitions: 40, with_lag: 39, stuck: 7, beyond: 1, rates: Some(rates) };
    let sweep = || demands.signals().commit_lags(vec![(wanted[0].clone(), Ok(lag))]);
    sweep();
    assert!(page(&plan, &demands).contains("How much a replica can read was not seen yet"));
    advance(Duration::from_secs(60)).await;
    sweep();
    let page = page(&plan, &demands);
    let expected = "
KAFKA
30000 messages wait on 39 of 40 partitions for group billing of Kafka cluster
default. 7 more are on partitions where nothing moves, and do not count. The
offset on one partition is beyond the end, as after a topic was recreated:
kafka-no-offset says what that counts. 100.0 messages/s arrive, 40.0 are read. A
replica reads 8.0 messages/s.
";
    assert!(page.contains(expected), "{page}");
    assert!(page.contains("\n40 replicas wanted: 2400.0 s of work ÷ 60 per replica, decided by\n"), "{page}");
    assert!(page.contains("- More than 40 replicas would have nothing to read: a partition"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_page_says_how_many_topics_a_pattern_matches_or_why_none_count() {
    let annotations = [("kafka-lag", "10"), ("kafka-group", "billing"), ("kafka-topics", "audit, /orders-.*/")];
    let plan = plan("api", &annotations, Vec::new());
    let demands = demands();
    demands.signals().keep(&plan);
    let wanted = demands.signals().wanted_lags();
    let lag = Lag { messages: 15, topics: 3, partitions: 6, with_lag: 2, ..Lag::default() };
    demands.signals().commit_lags(vec![(wanted[0].clone(), Ok(lag))]);
    let words = |page: String| page.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = words(page(&plan, &demands));
    let expected = "on 2 of 6 partitions for group billing on audit, /orders-.*/ (3 topics) of Kafka cluster default.";
    assert!(told.contains(expected), "{told}");
    let error = "/orders-.*/ matches 240 topics, and at most 100 may be matched";
    demands.signals().commit_lags(vec![(wanted[0].clone(), Err(error.to_owned()))]);
    let told = words(page(&plan, &demands));
    assert!(told.contains(error), "{told}");
    let missing = demands.signals().missing("shop", &plan.workloads[&deployment("api")]);
    assert!(missing.iter().any(|(_, why)| why.contains(error)), "{missing:?}");
}

#[tokio::test(start_paused = true)]
async fn with_bursts_more_replicas_are_asked_for_at_once_and_without_when_the_hpa_looks() {
    let told = |burst: &str, by_default: bool| {
        let annotations: &[_] = if burst.is_empty() { &[] } else { &[("burst", burst)] };
        let mut plan = plan("api", &[&BOTH[..], annotations].concat(), vec![share("web")]);
        plan.workloads.values_mut().for_each(|workload| workload.uid = "1".to_owned());
        let demands = measured(&plan, &[(RULE, [700.0, 0.0, 0.0])]).with_bursts(by_default);
        let page = page(&plan, &demands).split_whitespace().collect::<Vec<_>>().join(" ");
        (page.contains("More are asked for within a second"), page.contains("More come when the HPA looks next"))
    };
    assert_eq!((told("", true), told("", false)), ((true, false), (false, true)));
    assert_eq!((told("true", false), told("false", true)), ((true, false), (false, true)));
}
