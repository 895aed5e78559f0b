//! The routes that name a Service or pool of a workload and do not lead to it.
//!
//! Looking for reasons costs as much as following routes, so it is done only where one is wanted: for workloads of Tidegate's that
//! no route reaches, and for routes that Envoy Gateway itself refuses.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidegate_core::{ids::ServiceId, llm::Destination, plan::ClusterShare, signal::Family};

use super::{KnownWorkload, POOL, Workloads, reached::Reached};
use crate::{
    Objects,
    discovery::{self, BackendKey, InCluster, Wanted},
    views::Route,
};

impl Workloads<'_> {
    /// Adds to each workload what is not followed of the routes that name its Services.
    pub(super) fn add_refusals(
        &mut self,
        generated: &[Route],
        services: &BTreeMap<ServiceId, Reached<'_>>,
        pools: &BTreeMap<ServiceId, Vec<ClusterShare>>,
    ) {
        let unreached =
            self.all.iter().enumerate().filter(|(_, known)| known.wants_traffic() && known.traffic.is_empty());
        let mut namesakes = HashMap::<_, Vec<_>>::new();
        for (i, known) in unreached {
            namesakes.entry((known.namespace, known.name)).or_default().push(i);
        }
        let unreached: HashSet<_> = namesakes.keys().map(|(namespace, _)| *namespace).collect();
        let followed: HashSet<_> = services.keys().chain(pools.keys()).map(|id| (&*id.namespace, &*id.name)).collect();
        // A workload behind a Service that is followed has traffic.
        let wanted =
            |key: &BackendKey<'_>| unreached.contains(key.namespace) && !followed.contains(&(key.namespace, key.name));
        if unreached.is_empty() && !has_refused_routes(self.objects) {
            return;
        }
        let in_cluster = InCluster::of(self.objects);
        for refused in discovery::not_followed(self.objects, generated, Wanted::Behind(&wanted)) {
            let told = refused.told();
            let keys = refused.backends.iter().flat_map(|key| in_cluster.behind(key));
            let behind: HashSet<_> = keys.flat_map(|key| self.concerned(&key, services, &namesakes)).collect();
            for i in behind {
                if let Some(known) = self.all.get_mut(i).filter(|known| known.intent.is_some()) {
                    known.not_followed.push(told.clone());
                }
            }
        }
    }

    /// The workloads behind a Service or pool. Behind a Service that does not exist it is the one of its name: most are called the
    /// same.
    fn concerned(
        &self,
        key: &BackendKey<'_>,
        services: &BTreeMap<ServiceId, Reached<'_>>,
        namesakes: &Namesakes<'_>,
    ) -> Vec<usize> {
        let exists = self.objects.services.get(key.namespace).is_some_and(|names| names.contains_key(key.name));
        if key.kind == "Service" && !exists {
            return namesakes.get(&(key.namespace, key.name)).cloned().unwrap_or_default();
        }
        self.behind(&destination(key), services).iter().map(|behind| behind.workload).collect()
    }
}

/// The workloads without traffic, by namespace and name: one per kind at most.
type Namesakes<'a> = HashMap<(&'a str, &'a str), Vec<usize>>;

impl KnownWorkload<'_> {
    /// Whether it is scaled on traffic, or would be if its annotations were right.
    pub(super) fn wants_traffic(&self) -> bool {
        self.intent.as_ref().is_some_and(|intent| match intent {
            Ok(intent) => intent.targets.iter().any(|target| target.signal.family() == Family::Traffic),
            Err(_) => true,
        })
    }
}

/// Whether Envoy Gateway refuses any route.
fn has_refused_routes(objects: &Objects) -> bool {
    objects.every_route().any(Route::is_refused)
}

fn destination(key: &BackendKey<'_>) -> Destination {
    let id = ServiceId { namespace: key.namespace.to_owned(), name: key.name.to_owned() };
    if key.kind == POOL { Destination::Pool(id) } else { Destination::Service(id) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_core::plan::Plan;

    use crate::fixture::{deployment, gateway, objects, service};

    fn plan(all: &[Value]) -> Plan {
        objects(all.iter().cloned()).plan()
    }

    fn refused(plan: &Plan, name: &str) -> Vec<String> {
        let (_, workload) = plan.workloads.iter().find(|(id, _)| id.name == name).unwrap();
        workload.not_followed.iter().map(ToString::to_string).collect()
    }

    fn workload(name: &str, annotations: &Value) -> [Value; 2] {
        [deployment(name, annotations), service(name)]
    }

    fn scaled(name: &str) -> [Value; 2] {
        workload(name, &json!({"tidegate.dev/requests-per-second": "10"}))
    }

    fn route(name: &str, gateway: &str, backend: &Value, status: &Value) -> Value {
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"parentRefs": [{"name": gateway}], "rules": [{"backendRefs": [backend]}]}, "status": status})
    }

    #[test]
    fn a_workload_that_no_route_reaches_knows_what_is_wrong_with_those_that_name_its_services() {
        let mut objects = vec![gateway()];
        objects.extend([scaled("api"), scaled("web"), scaled("alone")].concat());
        objects.push(route("api", "web", &json!({"name": "api", "port": 8080}), &json!({})));
        objects.push(route("web", "gone", &json!({"name": "web", "port": 80}), &json!({})));
        let plan = plan(&objects);
        assert_eq!(refused(&plan, "api"), ["HTTPRoute shop/api, rule 0: names Service api port 8080; it has 80"]);
        assert_eq!(refused(&plan, "web"), ["HTTPRoute shop/web: Gateway shop/gone does not exist"]);
        assert_eq!(refused(&plan, "alone"), Vec::<String>::new());
    }

    #[test]
    fn a_service_that_a_backend_names_is_among_them() {
        let backend = json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend",
            "metadata": {"name": "api", "namespace": "shop"},
            "spec": {"endpoints": [{"fqdn": {"hostname": "api.shop.svc.cluster.local", "port": 80}}]}});
        let mut objects = vec![backend];
        objects.extend(scaled("api"));
        objects.push(route(
            "api",
            "gone",
            &json!({"name": "api", "kind": "Backend", "group": "gateway.envoyproxy.io"}),
            &json!({}),
        ));
        assert_eq!(refused(&plan(&objects), "api"), ["HTTPRoute shop/api: Gateway shop/gone does not exist"]);
    }

    #[test]
    fn a_backend_whose_host_is_a_service_or_port_that_is_not_there_is_reported_to_the_workload() {
        let to = |host: &str, port: u16| {
            let backend = json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend",
                "metadata": {"name": "front", "namespace": "shop"},
                "spec": {"endpoints": [{"fqdn": {"hostname": host, "port": port}}]}});
            let reference = json!({"name": "front", "kind": "Backend", "group": "gateway.envoyproxy.io"});
            let mut objects = vec![gateway(), backend, route("api", "web", &reference, &json!({}))];
            objects.extend(scaled("api"));
            objects
        };
        assert_eq!(refused(&plan(&to("api.shop.svc", 80)), "api"), Vec::<String>::new());
        assert_eq!(
            refused(&plan(&to("api.shop.svc", 8080)), "api"),
            [
                "HTTPRoute shop/api, rule 0: names Backend front, whose endpoint api.shop.svc:8080 stands for Service api port 8080; it has 80"
            ]
        );
        let mut elsewhere = to("api.shop.svc", 80);
        elsewhere.retain(|object| object["kind"] != "Service");
        let plan = plan(&elsewhere);
        assert_eq!(
            refused(&plan, "api"),
            [
                "HTTPRoute shop/api, rule 0: names Backend front, whose endpoint api.shop.svc:80 stands for Service api, which does not exist"
            ]
        );
        assert!(plan.services.is_empty());
    }

    #[test]
    fn a_backend_whose_endpoints_are_of_two_services_is_reported_to_the_workloads_of_both() {
        let ends = ["api", "web"].map(|name| json!({"fqdn": {"hostname": format!("{name}.shop.svc"), "port": 80}}));
        let backend = json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend",
            "metadata": {"name": "front", "namespace": "shop"}, "spec": {"endpoints": ends}});
        let reference = json!({"name": "front", "kind": "Backend", "group": "gateway.envoyproxy.io"});
        let mut objects = vec![gateway(), backend, route("r", "web", &reference, &json!({}))];
        objects.extend([scaled("api"), scaled("web")].concat());
        let plan = plan(&objects);
        for name in ["api", "web"] {
            assert_eq!(
                refused(&plan, name),
                [
                    "HTTPRoute shop/r, rule 0: names Backend front, whose endpoints are not all of one Service (api.shop.svc:80, \
                     web.shop.svc:80), so which Service its requests reach is not known: give each Service a backendRef of its own"
                ]
            );
        }
        assert!(plan.services.is_empty());
    }

    #[test]
    fn a_service_that_does_not_exist_is_reported_to_the_workload_of_its_name() {
        let mut objects = vec![gateway(), route("r", "web", &json!({"name": "api", "port": 80}), &json!({}))];
        objects.extend([scaled("api"), scaled("web")].concat());
        objects.retain(|object| object["kind"] != "Service" || object["metadata"]["name"] != "api");
        let plan = plan(&objects);
        assert_eq!(
            refused(&plan, "api"),
            ["HTTPRoute shop/r, rule 0: names Service api, which does not exist; namespace shop has web"]
        );
        assert_eq!(refused(&plan, "web"), Vec::<String>::new());
    }

    #[test]
    fn a_workload_with_traffic_is_told_only_what_envoy_gateway_refuses() {
        let status = json!({"parents": [{"controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
            "parentRef": {"name": "web"}, "conditions": [{"type": "Accepted", "status": "False", "reason": "NoReadyListeners",
            "message": "There are no ready listeners for this parent ref"}]}]});
        let of = |status: &Value| {
            let mut objects = vec![gateway()];
            objects.extend(scaled("api"));
            objects.push(route("api", "web", &json!({"name": "api", "port": 80}), status));
            objects.push(route("wrong", "web", &json!({"name": "api", "port": 8080}), &json!({})));
            let plan = plan(&objects);
            assert_eq!(plan.workloads.values().next().unwrap().traffic.len(), 1);
            refused(&plan, "api")
        };
        assert_eq!(of(&json!({})), Vec::<String>::new());
        assert_eq!(
            of(&status),
            [
                "HTTPRoute shop/api: Envoy Gateway does not follow it, or not all of it (but Envoy Gateway reports Accepted=False \
              (NoReadyListeners): There are no ready listeners for this parent ref)"
            ]
        );
    }

    #[test]
    fn reasons_are_looked_for_only_where_traffic_is_wanted() {
        let mut objects = vec![gateway()];
        objects.extend(workload("lag", &json!({"tidegate.dev/kafka-lag": "50", "tidegate.dev/kafka-group": "tasks"})));
        objects.extend(workload("other", &json!({})));
        objects.push(route("lag", "gone", &json!({"name": "lag", "port": 80}), &json!({})));
        assert_eq!(refused(&plan(&objects), "lag"), Vec::<String>::new());
    }
}
