//! Where requests are held for workloads that may have no replicas: at the Services that lead to them alone.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use tidegate_core::{
    gate::{Gate, GatePort, NotHeld},
    ids::ServiceId,
    intent::Intent,
    plan::ClusterShare,
    workload::WorkloadRef,
};

use super::{KnownWorkload, Workloads, reached::Reached};
use crate::{
    discovery::{Pods, ServiceAt},
    views::Service,
};

impl Workloads<'_> {
    /// Adds the gates of each workload that may have no replicas. A Service with several workloads behind it leads to the first
    /// of them, if all may sleep; while any other has replicas, nothing needs to be held.
    pub(super) fn add_gates(
        &mut self,
        services: &BTreeMap<ServiceId, Reached<'_>>,
        pools: &BTreeMap<ServiceId, Vec<ClusterShare>>,
    ) {
        let sleepers: HashSet<_> = self.sleepers().collect();
        if sleepers.is_empty() {
            return;
        }
        let mut gates = HashMap::<usize, Vec<Gate>>::new();
        let mut reasons = HashMap::<usize, NotHeld>::new();
        for (id, service) in self.services_beside(&sleepers) {
            let at = ServiceAt { namespace: &id.namespace, name: &id.name, port: None, pods: Pods::All };
            let behind: Vec<_> = self.selection.behind(&at).iter().map(|behind| behind.workload).collect();
            let Some(first) = behind.iter().copied().find(|i| sleepers.contains(i)) else { continue };
            if behind.iter().any(|i| !sleepers.contains(i)) {
                let shared = behind.iter().filter(|i| sleepers.contains(i));
                reasons.extend(shared.map(|i| (*i, NotHeld::Shared(id.clone()))));
                continue;
            }
            let woken = self.all.get(first).map(|known| WorkloadRef { kind: known.kind, name: known.name.to_owned() });
            for (other, woken) in behind.iter().filter(|i| **i != first).filter_map(|i| Some((*i, woken.clone()?))) {
                reasons.insert(other, NotHeld::WakesAnother(id.clone(), woken));
            }
            match gate(id, service, services) {
                Ok(gate) => gates.entry(first).or_default().push(gate),
                Err(reason) => _ = reasons.insert(first, reason),
            }
        }
        for pool in pools.keys() {
            for behind in self.behind_pool(pool).iter().filter(|behind| sleepers.contains(&behind.workload)) {
                // Requests that the pool's endpoint picker refuses would be lost, whatever other Services hold.
                gates.remove(&behind.workload);
                reasons.insert(behind.workload, NotHeld::Pool(pool.clone()));
            }
        }
        for i in sleepers {
            let Some(known) = self.all.get_mut(i) else { continue };
            known.gates = match (gates.remove(&i), reasons.remove(&i)) {
                (Some(gates), _) => Ok(gates.into()),
                (None, reason) => Err(reason.unwrap_or(NotHeld::NoService)),
            };
        }
    }

    /// The workloads that may have no replicas once requests are held. For the others of those that want it, the reason is noted.
    fn sleepers(&mut self) -> impl Iterator<Item = usize> {
        let activates = self.objects.activates();
        self.all.iter_mut().enumerate().filter_map(move |(i, known)| {
            let Some(Ok(intent)) = &known.intent else { return None };
            known.gates = match intent.hold.wakes {
                _ if !intent.may_sleep() => Ok(Arc::default()),
                Some(false) => Err(NotHeld::NotWanted),
                _ if !activates => Err(NotHeld::Disabled),
                _ => return Some(i),
            };
            None
        })
    }
}

impl KnownWorkload<'_> {
    /// The intent, once it is known whether requests are held.
    pub(super) fn held(&self, intent: Intent) -> Intent {
        let held = self.gates.as_ref().is_ok_and(|gates| !gates.is_empty());
        Intent { held, ..intent }
    }
}

fn gate(id: ServiceId, service: &Service, services: &BTreeMap<ServiceId, Reached<'_>>) -> Result<Gate, NotHeld> {
    let reached = services.get(&id);
    // Through a gateway a headless Service is as good as any: it leads to the addresses and ports of EndpointSlices.
    if service.is_headless() && reached.is_none() {
        return Err(NotHeld::Headless(id));
    }
    let raw: HashSet<_> = reached.into_iter().flat_map(Reached::by_entrance).filter_map(raw_port).collect();
    let tcp = service.spec.ports.iter().filter(|port| port.protocol() == "TCP");
    let ports: Vec<_> =
        tcp.map(|port| GatePort { name: port.name.to_string(), raw: raw.contains(&port.port) }).collect();
    if ports.is_empty() { Err(NotHeld::NoTcpPort(id)) } else { Ok(Gate { service: id, ports }) }
}

fn raw_port((at, shares): (&ServiceAt<'_>, &[ClusterShare])) -> Option<u16> {
    at.port.filter(|_| shares.iter().any(|share| share.route.carries_connections()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_core::plan::Plan;

    use super::*;
    use crate::Objects;

    fn deployment(name: &str, annotations: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop", "annotations": annotations},
            "spec": {"template": {"metadata": {"labels": {"app": name, "tier": "web"}}}}})
    }

    fn sleeper(name: &str) -> Value {
        deployment(name, &json!({"tidegate.dev/requests-per-second": "10", "tidegate.dev/min-replicas": "0"}))
    }

    fn service(name: &str, spec: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
    }

    fn gateway() -> Value {
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"gatewayClassName": "eg", "listeners": [{"name": "tcp", "protocol": "TCP", "port": 9000}]}})
    }

    fn plan(activates: bool, objects: &[Value]) -> Plan {
        let mut all = Objects::default();
        all.set_activates(activates);
        for object in objects {
            all.apply(object.clone()).unwrap();
        }
        all.plan()
    }

    /// Each Service, with the names of its ports and whether they are raw.
    type Gates = Vec<(String, Vec<(String, bool)>)>;

    fn gates(plan: &Plan, name: &str) -> Result<Gates, NotHeld> {
        let (_, workload) = plan.workloads.iter().find(|(id, _)| id.name == name).unwrap();
        let held = workload.intent.as_ref().unwrap().held;
        assert_eq!(held, workload.gates.as_ref().is_ok_and(|gates| !gates.is_empty()));
        let gate = |gate: &Gate| {
            let ports = gate.ports.iter().map(|port| (port.name.clone(), port.raw)).collect();
            (gate.service.name.clone(), ports)
        };
        workload.gates.clone().map(|gates| gates.iter().map(gate).collect())
    }

    fn id(name: &str) -> ServiceId {
        ServiceId { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn requests_are_held_at_every_tcp_port_of_every_service_that_leads_to_the_workload_alone() {
        let ports = json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "db", "port": 5432}]);
        let tcp = json!({"apiVersion": "gateway.networking.k8s.io/v1alpha2", "kind": "TCPRoute",
            "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": [{"name": "api", "port": 5432}]}]}});
        let all = [
            sleeper("api"),
            gateway(),
            tcp,
            service("api", &json!({"selector": {"app": "api"}, "ports": ports})),
            service("again", &json!({"selector": {"app": "api"}, "ports": [{"port": 80}]})),
        ];
        let http = ("http".to_owned(), false);
        let expected = [
            ("again".to_owned(), vec![(String::new(), false)]),
            ("api".to_owned(), vec![http, ("db".to_owned(), true)]),
        ];
        assert_eq!(gates(&plan(true, &all), "api"), Ok(expected.to_vec()));
        assert_eq!(gates(&plan(false, &all), "api"), Err(NotHeld::Disabled));
    }

    #[test]
    fn where_requests_cannot_be_held_the_reason_is_known() {
        let headless = json!({"clusterIP": "None", "selector": {"app": "api"}, "ports": [{"port": 80}]});
        let both = json!({"selector": {"tier": "web"}, "ports": [{"port": 80}]});
        let udp = json!({"selector": {"app": "api"}, "ports": [{"port": 53, "protocol": "UDP"}]});
        let awake = deployment("web", &json!({"tidegate.dev/requests-per-second": "10"}));
        for (objects, expected) in [
            (vec![sleeper("api")], NotHeld::NoService),
            (vec![sleeper("api"), service("api", &headless)], NotHeld::Headless(id("api"))),
            (vec![sleeper("api"), awake, service("all", &both)], NotHeld::Shared(id("all"))),
            (vec![sleeper("api"), service("api", &udp)], NotHeld::NoTcpPort(id("api"))),
        ] {
            assert_eq!(gates(&plan(true, &objects), "api"), Err(expected));
        }
        let mut unwanted = sleeper("api");
        unwanted["metadata"]["annotations"]["tidegate.dev/wake-on-request"] = "false".into();
        assert_eq!(gates(&plan(true, &[unwanted]), "api"), Err(NotHeld::NotWanted));
    }

    #[test]
    fn of_several_workloads_behind_one_service_that_may_all_sleep_the_first_is_woken() {
        let both = json!({"selector": {"tier": "web"}, "ports": [{"port": 80}]});
        let plan = plan(true, &[sleeper("a"), sleeper("b"), service("all", &both)]);
        assert_eq!(gates(&plan, "a").unwrap().len(), 1);
        let woken = "deployment/a".parse().unwrap();
        let reason = gates(&plan, "b").unwrap_err();
        assert_eq!(reason, NotHeld::WakesAnother(id("all"), woken));
        assert_eq!(
            reason.to_string(),
            "Service shop/all leads to deployment/a, too, and a request there wakes only that one; give it a Service of its own"
        );
    }

    #[test]
    fn beside_one_that_never_sleeps_nobody_is_woken_by_their_service() {
        let both = json!({"selector": {"tier": "web"}, "ports": [{"port": 80}]});
        let awake = deployment("web", &json!({"tidegate.dev/requests-per-second": "10"}));
        let plan = plan(true, &[sleeper("a"), sleeper("b"), awake, service("all", &both)]);
        for name in ["a", "b"] {
            assert_eq!(gates(&plan, name), Err(NotHeld::Shared(id("all"))));
        }
    }

    #[test]
    fn a_service_of_its_own_wakes_a_workload_that_shares_another() {
        let both = json!({"selector": {"tier": "web"}, "ports": [{"port": 80}]});
        let own = json!({"selector": {"app": "b"}, "ports": [{"port": 80}]});
        let plan = plan(true, &[sleeper("a"), sleeper("b"), service("all", &both), service("b", &own)]);
        let names = |of: &str| gates(&plan, of).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!((names("a"), names("b")), (vec!["all".to_owned()], vec!["b".to_owned()]));
    }

    #[test]
    fn a_workload_that_never_sleeps_needs_no_gate() {
        let awake = deployment("web", &json!({"tidegate.dev/requests-per-second": "10"}));
        assert_eq!(gates(&plan(true, &[awake]), "web"), Ok(Vec::new()));
    }
}
