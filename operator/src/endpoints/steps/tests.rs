use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_core::{
    calendar::Calendars,
    gate::GatePort,
    intent::{Annotations, Intent},
    plan::{PlannedWorkload, Replicas},
    workload::WorkloadKind,
};

use super::*;

const RELEASE: &str = "tidegate-system.tidegate";

fn service(name: &str) -> ServiceId {
    ServiceId { namespace: "shop".to_owned(), name: name.to_owned() }
}

fn id(name: &str) -> WorkloadId {
    WorkloadId { namespace: "shop".to_owned(), kind: WorkloadKind::Deployment, name: name.to_owned() }
}

/// Workloads that may sleep, each behind a Service of its name with these ports.
fn plan(workloads: &[(&str, &[&str])]) -> Plan {
    let mut plan = Plan::default();
    for (name, ports) in workloads {
        let annotations = Annotations::from([("tidegate.dev/concurrency".to_owned(), "8".to_owned())]);
        let intent = Intent::of_workload(&annotations, "shop", &Annotations::new()).map(Option::unwrap);
        let replicas = Replicas::default();
        let workload =
            PlannedWorkload::new(&id(name), "1".to_owned(), intent, Vec::new(), replicas, 0, &Calendars::new());
        let ports = ports.iter().map(|port| GatePort { name: (*port).to_owned(), raw: false }).collect();
        let gates: Arc<[_]> = [Gate { service: service(name), ports }].into();
        plan.workloads.insert(id(name), PlannedWorkload { gates: Ok(gates), ..workload });
    }
    plan
}

fn settings(ports: &str) -> GateSettings {
    GateSettings {
        release: RELEASE.to_owned(),
        ports: ports.parse().unwrap(),
        service: Some(ServiceId { namespace: "tidegate-system".to_owned(), name: "tidegate".to_owned() }),
        address: None,
    }
}

fn slice(namespace: &str, service: &str, name: &str, addresses: &[&str], port: (&str, u16)) -> Value {
    let endpoints: Vec<_> =
        addresses.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect();
    json!({
        "metadata": {"namespace": namespace, "name": name, "uid": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": port.0, "protocol": "TCP", "port": port.1}],
        "endpoints": endpoints,
    })
}

/// A cluster in which two pods of Tidegate are ready.
fn book() -> EndpointBook {
    let book = EndpointBook::default();
    book.apply(&slice("tidegate-system", "tidegate", "tidegate-x", &["10.0.0.1", "10.0.0.2"], ("grpc", 9090)));
    book
}

fn with_pod(book: &EndpointBook, name: &str) {
    book.apply(&slice("shop", name, &format!("{name}-x"), &["10.0.1.7"], ("http", 8080)));
}

/// What the API server has after these steps.
fn carry_out(book: &EndpointBook, steps: &Steps) {
    for (wanted, _) in &steps.apply {
        let mut object = wanted.object(RELEASE, "uid");
        object["metadata"]["uid"] = "own".into();
        book.apply(&object);
    }
    for (service, name, _) in &steps.delete {
        book.remove(&service.namespace, name);
    }
}

fn look(plan: &Plan, book: &EndpointBook, active: Option<bool>, settled: bool) -> Steps {
    let settings = settings("20000-20999");
    let seen = Seen { settings: &settings, book, active: &|_, _| active, settled: &|_| settled };
    steps(plan, &seen)
}

#[test]
fn a_service_without_a_ready_pod_leads_to_all_ready_pods_of_tidegate_at_once() {
    let (plan, book) = (plan(&[("api", &["http"])]), book());
    let steps = look(&plan, &book, None, false);
    let [(wanted, Change::Create)] = &steps.apply[..] else { panic!("{steps:?}") };
    let object = wanted.object(RELEASE, "42");
    assert_eq!(object["metadata"]["name"], "api-tidegate-ipv4");
    assert_eq!(object["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"], "tidegate.dev");
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "42");
    assert_eq!(object["endpoints"][1]["addresses"], json!(["10.0.0.2"]));
    assert_eq!(object["endpoints"][0]["conditions"]["ready"], true);
    assert_eq!(object["ports"][0]["name"], "http");
    carry_out(&book, &steps);
    assert_eq!(look(&plan, &book, None, true), Steps::default(), "nothing is left to do");
    assert!(book.leads_to_us(&service("api"), RELEASE));
}

#[test]
fn while_pods_answer_a_slice_gets_traffic_only_once_every_replica_of_tidegate_listens() {
    let (plan, book) = (plan(&[("api", &["http"])]), book());
    with_pod(&book, "api");
    assert_eq!(look(&plan, &book, Some(true), false), Steps::default(), "a workload that is asked for has no slice");
    carry_out(&book, &look(&plan, &book, Some(false), false));
    assert!(!book.leads_to_us(&service("api"), RELEASE));
    assert_eq!(look(&plan, &book, Some(false), false), Steps::default());
    let steps = look(&plan, &book, Some(false), true);
    assert!(matches!(steps.apply[..], [(_, Change::Update)]), "{steps:?}");
    carry_out(&book, &steps);
    assert!(book.leads_to_us(&service("api"), RELEASE));
}

#[test]
fn a_slice_goes_once_a_pod_is_ready_and_something_asks_for_it_and_not_while_that_is_unknown() {
    let (plan, book) = (plan(&[("api", &["http"])]), book());
    carry_out(&book, &look(&plan, &book, None, false));
    assert_eq!(look(&plan, &book, Some(true), true), Steps::default(), "no pod is ready");
    with_pod(&book, "api");
    assert_eq!(look(&plan, &book, None, true), Steps::default(), "unknown changes nothing");
    assert_eq!(look(&plan, &book, Some(false), true), Steps::default(), "it may go again any time");
    let steps = look(&plan, &book, Some(true), true);
    assert_eq!(steps.delete, [(service("api"), "api-tidegate-ipv4".to_owned(), "own".to_owned())]);
}

#[test]
fn a_restart_keeps_the_ports_and_no_two_services_share_one() {
    let names: Vec<_> = (0..200).map(|n| format!("api-{n}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), &["http", "grpc"][..])).collect();
    let (plan, book) = (plan(&all), book());
    let first = look(&plan, &book, None, false);
    let mut ports: Vec<_> =
        first.apply.iter().flat_map(|(slice, _)| slice.ports.iter().map(|(_, port)| *port)).collect();
    carry_out(&book, &first);
    assert_eq!(look(&plan, &book, None, true), Steps::default());
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 400);
    assert!(ports.iter().all(|port| (20000..=20999).contains(port)));
}

#[test]
fn when_all_ports_are_in_use_the_workload_is_told() {
    let plan = plan(&[("a", &["http"]), ("b", &["http", "grpc"])]);
    let (settings, book) = (settings("20000-20001"), book());
    let seen = Seen { settings: &settings, book: &book, active: &|_, _| None, settled: &|_| true };
    let steps = steps(&plan, &seen);
    assert_eq!(steps.apply.len(), 1);
    assert_eq!(steps.notices, [(id("b"), GateNotice::NoPortLeft("20000-20001".parse().unwrap()))]);
}

#[test]
fn slices_follow_the_pods_of_tidegate_and_stay_while_none_is_known() {
    let (plan, book) = (plan(&[("api", &["http"])]), book());
    carry_out(&book, &look(&plan, &book, None, false));
    book.apply(&slice("tidegate-system", "tidegate", "tidegate-x", &["10.0.0.3"], ("grpc", 9090)));
    let steps = look(&plan, &book, None, true);
    assert_eq!(steps.apply[0].0.addresses, ["10.0.0.3".parse::<IpAddr>().unwrap()]);
    book.remove("tidegate-system", "tidegate-x");
    assert_eq!(look(&plan, &book, None, true), Steps::default());
}

#[test]
fn what_no_gate_asks_for_is_removed_and_what_is_not_ours_is_never_touched() {
    let book = book();
    carry_out(&book, &look(&plan(&[("api", &["http"])]), &book, None, false));
    assert_eq!(look(&plan(&[]), &book, None, true).delete.len(), 1);
    book.apply(&slice("shop", "other", "web-tidegate-ipv4", &[], ("http", 80)));
    let steps = look(&plan(&[("web", &["http"])]), &book, None, true);
    assert_eq!(steps.apply, []);
    assert_eq!(steps.notices, [(id("web"), GateNotice::SliceTaken("web-tidegate-ipv4".to_owned()))]);
}
