//! Who is behind a Service by its EndpointSlices.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{deployment, parts, plan_of, route, service, to, workload};
use crate::Objects;

const KUBERNETES: &str = "endpointslice-controller.k8s.io";

/// An EndpointSlice with the pods of these names, of which the first `ready` are ready.
fn slice(service: &str, author: &str, ports: &[&str], pods: &[&str], ready: usize) -> Value {
    let endpoint = |(i, pod): (usize, &&str)| {
        json!({"addresses": [format!("10.0.0.{i}")], "conditions": {"ready": i < ready},
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": pod, "uid": pod}})
    };
    let endpoints: Vec<_> = pods.iter().enumerate().map(endpoint).collect();
    let ports: Vec<_> = ports.iter().map(|name| json!({"name": name, "port": 8080, "protocol": "TCP"})).collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-{author}-{}", ports.len()), "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": author}},
        "ports": ports, "endpoints": endpoints})
}

fn of_kubernetes(service: &str, pods: &[&str]) -> Value {
    slice(service, KUBERNETES, &["web", "raw"], pods, pods.len())
}

/// The parts of two Deployments `web` (2 pods) and `worker` (6) behind one Service with these EndpointSlices.
fn shares(slices: &[Value]) -> [Vec<(usize, f64)>; 2] {
    let all = [deployment("web", 2), deployment("worker", 6), service("all", &json!({"app": "shop"}))];
    let plan = plan_of(all.into_iter().chain([route(&[to("all", 80)])]).chain(slices.iter().cloned()));
    [parts(&plan, "web"), parts(&plan, "worker")]
}

#[test]
fn a_workload_whose_ready_pods_are_all_missing_is_not_behind_the_service() {
    let pods = ["web-7d9f8c6b5d-bbbbb", "web-7d9f8c6b5d-ccccc"];
    assert_eq!(shares(&[of_kubernetes("all", &pods)]), [vec![(0, 1.0)], vec![]]);
}

#[test]
fn workloads_share_by_the_pods_that_are_listed_as_ready() {
    let pods = ["web-7d9f8c6b5d-bbbbb", "web-7d9f8c6b5d-ccccc", "worker-5d4f9-bbbbb", "worker-5d4f9-ccccc"];
    let slice = slice("all", KUBERNETES, &["web"], &pods, 3);
    assert_eq!(shares(&[slice]), [vec![(0, 2.0 / 3.0)], vec![(0, 1.0 / 3.0)]]);
}

#[test]
fn without_pods_or_with_a_pod_that_nobody_is_known_to_own_a_slice_takes_nobody_away() {
    let by_rules = [vec![(0, 0.25)], vec![(0, 0.75)]];
    assert_eq!(shares(&[of_kubernetes("all", &[])]), by_rules);
    assert_eq!(shares(&[of_kubernetes("all", &["web-7d9f8c6b5d-bbbbb", "agent-bbbbb"])]), by_rules);
    assert_eq!(shares(&[of_kubernetes("other", &["web-7d9f8c6b5d-bbbbb"])]), by_rules);
}

#[test]
fn a_slice_of_anybody_else_takes_nobody_away_from_a_service_with_a_selector() {
    for author in ["activator.example.com", "endpointslicemirroring-controller.k8s.io", ""] {
        let slice = slice("all", author, &["web"], &["web-7d9f8c6b5d-bbbbb"], 1);
        assert_eq!(shares(&[slice]), [vec![(0, 0.25)], vec![(0, 0.75)]], "{author}");
    }
}

#[test]
fn only_slices_with_the_port_of_the_service_are_asked() {
    let web = slice("all", KUBERNETES, &["web", "raw"], &["web-7d9f8c6b5d-bbbbb"], 1);
    let worker = slice("all", KUBERNETES, &["raw"], &["worker-5d4f9-bbbbb"], 1);
    assert_eq!(shares(&[web, worker]), [vec![(0, 1.0)], vec![]]);
}

#[test]
fn a_port_that_only_running_pods_have_is_known_by_the_slices() {
    let injected = workload("Deployment", "web", 1, &json!({"containers": [{"name": "c"}]}));
    let all = [injected, service("web", &json!({"role": "web"})), route(&[to("web", 80)])];
    assert_eq!(parts(&plan_of(all.clone()), "web"), []);
    let listed = of_kubernetes("web", &["web-7d9f8c6b5d-bbbbb"]);
    assert_eq!(parts(&plan_of(all.into_iter().chain([listed])), "web"), [(0, 1.0)]);
}

#[test]
fn a_label_that_only_running_pods_have_is_known_by_the_slices() {
    let primary = service("primary", &json!({"spilo-role": "master"}));
    let set = workload("StatefulSet", "db", 3, &json!({"containers": [{"name": "c", "ports": [{"name": "http"}]}]}));
    let all = [set, primary, route(&[to("primary", 80)]), of_kubernetes("primary", &["db-1"])];
    assert_eq!(parts(&plan_of(all), "db"), [(0, 1.0)]);
}

#[test]
fn a_workload_at_zero_and_one_of_a_file_stay_behind_whatever_is_listed() {
    let pods = ["web-7d9f8c6b5d-bbbbb"];
    let mut from_file = deployment("worker", 6);
    from_file["metadata"]["uid"] = json!("");
    for worker in [deployment("worker", 0), from_file] {
        let all = [deployment("web", 1), worker, service("all", &json!({"app": "shop"})), route(&[to("all", 80)])];
        let plan = plan_of(all.into_iter().chain([of_kubernetes("all", &pods)]));
        assert_eq!(parts(&plan, "worker").len(), 1);
    }
}

#[test]
fn a_service_without_selector_leads_to_the_pods_that_anybody_lists() {
    let set = workload("StatefulSet", "db", 3, &json!({}));
    for (author, ports, rules) in [("patroni", ["web"], 1), (KUBERNETES, ["web"], 1), ("patroni", ["raw"], 0)] {
        let leader = service("leader", &json!({}));
        let listed = slice("leader", author, &ports, &["db-2"], 1);
        let plan = plan_of([set.clone(), leader, route(&[to("leader", 80)]), listed]);
        assert_eq!(parts(&plan, "db").len(), rules, "{author} {ports:?}");
    }
}

#[test]
fn a_pod_belongs_to_the_workload_of_the_longest_name_that_fits() {
    let all = [
        workload("Deployment", "web-api", 1, &json!({})),
        deployment("web", 2),
        service("all", &json!({"app": "shop"})),
        route(&[to("all", 81)]),
    ];
    // `api` has vowels, so it is no hash of `web`; and a hash without vowels may also be what an adopted ReplicaSet is called.
    for pod in ["web-api-7d9f8c6b5d-bbbbb", "web-api-adopted-bbbbb"] {
        let plan = plan_of(all.clone().into_iter().chain([of_kubernetes("all", &[pod])]));
        assert_eq!((parts(&plan, "web-api"), parts(&plan, "web")), (vec![(0, 1.0)], vec![]), "{pod}");
    }
}

#[test]
fn pods_with_names_too_long_for_a_hash_are_their_deployments() {
    let name = "long".repeat(15);
    let all =
        [deployment(&name, 1), deployment("web", 1), service("all", &json!({"app": "shop"})), route(&[to("all", 80)])];
    let pod = format!("{}x7f9z", &name[..58]);
    let plan = plan_of(all.into_iter().chain([of_kubernetes("all", &[&pod])]));
    assert_eq!((parts(&plan, &name), parts(&plan, "web")), (vec![(0, 1.0)], vec![]));
}

#[test]
fn a_pod_that_takes_anothers_place_makes_no_plan() {
    let mut objects = Objects::default();
    objects.apply(of_kubernetes("all", &["web-7d9f8c6b5d-bbbbb"])).unwrap();
    let before = objects.revision();
    let mut same = of_kubernetes("all", &["web-7d9f8c6b5d-ccccc"]);
    same["metadata"]["generation"] = json!(7);
    same["endpoints"][0]["nodeName"] = json!("node-1");
    objects.apply(same).unwrap();
    assert_eq!(objects.revision(), before);
    objects.apply(of_kubernetes("all", &["worker-5d4f9-bbbbb"])).unwrap();
    assert_ne!(objects.revision(), before);
}

#[test]
fn a_set_of_which_the_pod_may_not_be_ready_stays_behind_the_service_of_single_pods() {
    let set = |name: &str, ready: u32| {
        let mut set =
            workload("StatefulSet", name, 2, &json!({"containers": [{"name": "c", "ports": [{"name": "http"}]}]}));
        set["status"]["readyReplicas"] = json!(ready);
        set
    };
    let firsts = service("firsts", &json!({"apps.kubernetes.io/pod-index": "0"}));
    for (ready, rules) in [(1, 1), (2, 0)] {
        let all = [set("a", 2), set("b", ready), firsts.clone(), route(&[to("firsts", 80)])];
        let plan = plan_of(all.into_iter().chain([of_kubernetes("firsts", &["a-0"])]));
        assert_eq!((parts(&plan, "a").len(), parts(&plan, "b").len()), (1, rules), "{ready} of 2 are ready");
    }
}

proptest! {
    #[test]
    fn whatever_is_listed_the_parts_of_a_service_make_a_whole(
        pods in proptest::collection::vec("(web|worker|agent)-[a-z0-9]{1,4}(-[bcd2]{5})?", 0..6),
        ready in 0usize..6,
    ) {
        let pods: Vec<_> = pods.iter().map(String::as_str).collect();
        let [web, worker] = shares(&[slice("all", KUBERNETES, &["web"], &pods, ready)]);
        let whole: f64 = web.iter().chain(&worker).map(|(_, part)| part).sum();
        prop_assert!((whole - 1.0).abs() < 1e-9, "{web:?} {worker:?}");
    }
}
