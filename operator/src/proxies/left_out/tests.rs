use super::*;
use crate::fixture::context;

fn statistics(of_listeners: Vec<&'static str>, unreadable: Vec<String>) -> Missing {
    Missing::Statistics(LeftOutStatistics {
        of_clusters: vec!["upstream_rq_total", "membership_total"],
        of_listeners,
        example: "cluster.httproute/shop/api/rule/0.upstream_rq_total".to_owned(),
        unreadable,
    })
}

#[test]
fn the_event_names_what_is_missing_and_what_to_paste() {
    assert_eq!(
        StatisticsLeftOut(statistics(vec![], vec!["cluster(".to_owned()])).to_string(),
        "telemetry.metrics.matches leaves out what Tidegate reads: upstream_rq_total, membership_total. It is not known then, so \
         replicas are held. Add to matches: - {type: RegularExpression, value: \
         'cluster[.].+[.](membership_total|upstream_(cx_(active|none_healthy)|\
         rq_(total|retry|active|active_overflow|pending_(active|overflow|failure_eject))))'} (1 of its regular expressions cannot be read, such \
         as cluster(). Left out is, for example, cluster.httproute/shop/api/rule/0.upstream_rq_total"
    );
}

#[test]
fn what_to_paste_is_yaml_with_the_expression_itself() {
    let text = StatisticsLeftOut(statistics(vec!["downstream_rq_total"], vec![])).to_string();
    let pasted = text.split(" - ").skip(1).map(|part| part.split_inclusive('}').next().unwrap());
    let values = pasted.map(|yaml| tidegate_core::yaml::read::<serde_json::Value>(yaml).unwrap()["value"].clone());
    assert_eq!(values.collect::<Vec<_>>(), [MATCH_CLUSTERS, MATCH_LISTENERS]);
    assert!(![MATCH_CLUSTERS, MATCH_LISTENERS].concat().contains(['\\', '\'', '}']));
}

#[tokio::test]
async fn the_event_is_the_envoy_proxys_and_written_once() {
    let (server, term, context) = context();
    term.begin();
    let mut events = context.events();
    let left_out = || LeftOut {
        envoy_proxy: EnvoyProxyId { namespace: "edge".to_owned(), name: "metrics".to_owned() },
        uid: "uid-1".to_owned(),
        missing: Missing::Page,
    };
    for _ in 0..3 {
        report(&mut events, vec![left_out()]).await;
    }
    let [write] = &server.writes()[..] else { panic!("{:?}", server.writes()) };
    assert_eq!(write, "POST /apis/events.k8s.io/v1/namespaces/edge/events");
    assert_eq!(reference(&left_out()).kind.as_deref(), Some("EnvoyProxy"));
}
