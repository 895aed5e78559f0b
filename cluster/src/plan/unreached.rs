//! Why no route reaches a workload, where nothing is wrong with the routes: no Service selects its pods, no route names the Services
//! that do, or a Service that is followed leaves its pods out.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidegate_core::{
    ids::{RouteRef, ServiceId},
    key::Key,
    not_followed::{NoEntrance, NotFollowed},
};

use super::{POOL, Workloads, reached::Reached, selection::LeftOut};

const SERVICE: &str = "Service";

/// What selects pods: a Service, or a pool where that is said.
struct Selecting {
    kind: &'static str,
    id: ServiceId,
}

impl Workloads<'_> {
    /// Adds the reason to each workload that wants traffic and has none, unless a refused route is one already. `unmeasured` are
    /// routes to Services of which nothing is measured.
    pub(super) fn explain_unreached(
        &mut self,
        services: &BTreeMap<ServiceId, Reached<'_>>,
        unmeasured: &BTreeMap<ServiceId, &RouteRef>,
    ) {
        let unreached = self.all.iter().enumerate().filter(|(_, known)| {
            known.wants_traffic() && known.traffic.is_empty() && known.not_followed.is_empty() && known.pods.is_some()
        });
        let unreached: HashSet<_> = unreached.map(|(i, _)| i).collect();
        let selecting = self.selecting(&unreached);
        for i in unreached {
            let own = selecting.get(&i).map_or(&[][..], Vec::as_slice);
            let of_services = || own.iter().filter(|of| of.kind == SERVICE).map(|of| &of.id);
            let left_out = of_services().filter_map(|id| services.get(id));
            let left_out = left_out.flat_map(|reached| self.left_out(reached, i));
            let by_udp = of_services().filter_map(|id| Some(not_measured(unmeasured.get(id)?, id)));
            let not_followed: Vec<_> = left_out.chain(by_udp).collect();
            let Some(known) = self.all.get_mut(i) else { continue };
            if not_followed.is_empty() {
                let names = || own.iter().map(|of| format!("{} {}", of.kind, of.id.name)).collect();
                let deployment = known.workload.referenced_deployment();
                let missing = deployment.filter(|_| known.pods.is_some_and(|pods| std::ptr::eq(pods, known.workload)));
                known.no_entrance = Some(match missing {
                    Some(deployment) => NoEntrance::NoTemplate(deployment.to_owned()),
                    None if own.is_empty() => NoEntrance::NoService,
                    None => NoEntrance::NotNamed(names()),
                });
            }
            known.not_followed = not_followed;
        }
    }

    /// The Services and pools that select pods, by the workload: those in the namespaces of these.
    fn selecting(&self, workloads: &HashSet<usize>) -> HashMap<usize, Vec<Selecting>> {
        let services = self.services_beside(workloads).map(|(id, service)| (SERVICE, id, &service.spec.selector));
        let pools = [&self.objects.inference_pools, &self.objects.x_inference_pools];
        let pools = pools.into_iter().flat_map(|table| self.beside(workloads, table));
        let pools = pools.map(|(id, pool)| (POOL, id, pool.selector()));
        let mut selecting = HashMap::<_, Vec<_>>::new();
        for (kind, id, selector) in services.chain(pools) {
            for behind in self.selection.selected(&id.namespace, selector) {
                selecting.entry(behind.workload).or_default().push(Selecting { kind, id: id.clone() });
            }
        }
        selecting
    }

    /// Why each route to a Service does not lead to the workload.
    fn left_out(&self, reached: &Reached<'_>, workload: usize) -> Vec<NotFollowed> {
        let mut seen = HashSet::new();
        let by_entrance = reached.by_entrance().flat_map(|(at, shares)| {
            let why = self.selection.left_out(at, workload).map(|why| why.told(at.name));
            shares.iter().filter_map(move |share| why.clone().map(|(reason, message)| (&share.route, reason, message)))
        });
        let told = by_entrance.map(|(route, reason, message)| NotFollowed {
            route: route.clone(),
            reason,
            message,
            envoy_gateway: None,
        });
        told.filter(|one| seen.insert(one.clone())).collect()
    }
}

fn not_measured(route: &RouteRef, service: &ServiceId) -> NotFollowed {
    NotFollowed {
        route: route.clone(),
        reason: "NotMeasured",
        message: format!(
            "leads to Service {} by UDP, of which Envoy counts neither requests nor connections: scale it on {} or a {}",
            service.name,
            Key::Cpu.annotation(),
            Key::PrometheusQuery.annotation()
        ),
        envoy_gateway: None,
    }
}

impl LeftOut<'_> {
    /// The reason in one word, and the text, which goes on after the name of the route.
    fn told(self, service: &str) -> (&'static str, String) {
        match self {
            Self::NoPort(port) => (
                "PodPortNotFound",
                format!("Service {service} leaves it out because its pods have no TCP port named {port}"),
            ),
            Self::OtherPods => ("OtherPods", format!("names pods of Service {service} that are not its own")),
            Self::NotListed => (
                "NotListed",
                format!("Service {service} leaves it out: none of its EndpointSlices has one of its pods"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::Objects;

    /// The reason that is reported for the workload `api`.
    fn why(objects: &[Value]) -> String {
        let mut all = Objects::default();
        for object in objects {
            assert!(all.apply(object.clone()).unwrap());
        }
        let plan = all.plan();
        let planned = plan.workloads.iter().find(|(id, _)| id.name == "api").map(|(_, planned)| planned).unwrap();
        assert!(planned.traffic.is_empty());
        planned.why_unreached()
    }

    fn object(api_version: &str, kind: &str, name: &str, spec: &Value) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
    }

    fn api(kind: &str, spec: &Value) -> Value {
        let group = if kind == "Rollout" { "argoproj.io/v1alpha1" } else { "apps/v1" };
        let mut workload = object(group, kind, "api", spec);
        workload["metadata"]["annotations"] = json!({"tidegate.dev/requests-per-second": "10"});
        workload
    }

    fn deployment() -> Value {
        let pods =
            json!({"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"ports": [{"name": "metrics"}]}]}});
        api("Deployment", &json!({"template": pods}))
    }

    fn service(app: &str, port: &Value) -> Value {
        object("v1", "Service", "api", &json!({"selector": {"app": app}, "ports": [port]}))
    }

    fn routed(kind: &str, protocol: &str) -> [Value; 2] {
        const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";
        let listener = json!({"name": "all", "protocol": protocol, "port": 80});
        let spec = json!({"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": [{"name": "api", "port": 80}]}]});
        [
            object(GATEWAY_API, "Gateway", "web", &json!({"gatewayClassName": "eg", "listeners": [listener]})),
            object(GATEWAY_API, kind, "r", &spec),
        ]
    }

    fn with_route(more: impl IntoIterator<Item = Value>) -> String {
        why(&routed("HTTPRoute", "HTTP").into_iter().chain(more).collect::<Vec<_>>())
    }

    #[test]
    fn pods_without_the_port_that_a_service_names_are_left_out_for_that_reason() {
        assert_eq!(
            with_route([deployment(), service("api", &json!({"port": 80, "targetPort": "http"}))]),
            "HTTPRoute shop/r, rule 0: Service api leaves it out because its pods have no TCP port named http"
        );
    }

    #[test]
    fn a_workload_that_no_service_selects_is_told_so() {
        assert_eq!(with_route([deployment(), service("other", &json!({"port": 80}))]), "no Service selects its pods");
        assert_eq!(why(&[deployment()]), "no Service selects its pods");
    }

    #[test]
    fn the_services_that_select_it_are_named_where_no_route_names_them() {
        assert_eq!(
            why(&[deployment(), service("api", &json!({"port": 80}))]),
            "no route names Service api, which selects its pods"
        );
    }

    #[test]
    fn a_rollout_without_its_deployment_has_no_pods_that_are_known() {
        let rollout = api("Rollout", &json!({"workloadRef": {"kind": "Deployment", "name": "gone"}}));
        assert_eq!(
            with_route([rollout, service("api", &json!({"port": 80}))]),
            "its pods are those of Deployment gone (spec.workloadRef), which does not exist"
        );
    }

    #[test]
    fn what_comes_by_udp_is_not_measured_and_the_route_is_named() {
        let udp = service("api", &json!({"port": 80, "protocol": "UDP"}));
        let objects: Vec<_> = routed("UDPRoute", "UDP").into_iter().chain([deployment(), udp]).collect();
        assert_eq!(
            why(&objects),
            "UDPRoute shop/r: leads to Service api by UDP, of which Envoy counts neither requests nor connections: scale it on \
             tidegate.dev/cpu or a tidegate.dev/prometheus-query"
        );
    }

    #[test]
    fn endpoint_slices_without_its_ready_pods_leave_it_out() {
        let mut own = deployment();
        own["metadata"]["uid"] = json!("u");
        own["status"] = json!({"replicas": 1, "readyReplicas": 1});
        let mut web = deployment();
        web["metadata"] = json!({"name": "web", "namespace": "shop", "uid": "w"});
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "api-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "api",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "name": "web-7d9f8c6b5-x2x2x"}}]});
        assert_eq!(
            with_route([own, web, service("api", &json!({"port": 80})), slice]),
            "HTTPRoute shop/r, rule 0: Service api leaves it out: none of its EndpointSlices has one of its pods"
        );
    }
}
