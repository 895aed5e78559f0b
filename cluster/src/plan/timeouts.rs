//! The time-outs of the rules that lead to workloads without replicas: they go on while a request is held.

use std::{collections::HashMap, sync::Arc};

use tidegate_core::{ids::ServiceId, plan::Role, request_timeout::RequestTimeout};

use super::{Workloads, service_id};
use crate::{Objects, discovery::Part};

impl Workloads<'_> {
    /// Adds to each workload with gates the time-out of the rule that gives up first.
    pub(super) fn add_timeouts(&mut self, parts: &[Part<'_>]) {
        let mut of_service = HashMap::<ServiceId, Vec<usize>>::new();
        for (i, known) in self.all.iter().enumerate() {
            for gate in known.gates.iter().flat_map(|gates| gates.iter()) {
                of_service.entry(gate.service.clone()).or_default().push(i);
            }
        }
        if of_service.is_empty() {
            return;
        }
        for part in parts.iter().filter(|part| part.role == Role::Backend) {
            let Some(timeout) = timeout(self.objects, part) else { continue };
            let service = service_id(part).and_then(|id| of_service.get(&id));
            for i in service.into_iter().flatten() {
                let Some(known) = self.all.get_mut(*i) else { continue };
                if known.request_timeout.as_ref().is_none_or(|shortest| timeout.within < shortest.within) {
                    known.request_timeout = Some(Arc::new(timeout.clone()));
                }
            }
        }
    }
}

fn timeout(objects: &Objects, part: &Part<'_>) -> Option<RequestTimeout> {
    let (within, origin) = part.timeout.clone()?;
    let mut route = part.route.clone();
    let ai_routes = objects.ai_gateway_routes.get(&route.namespace);
    if ai_routes.is_some_and(|names| names.contains_key(&route.name)) {
        // The HTTPRoute is generated from it, and a change of that would not last.
        "AIGatewayRoute".clone_into(&mut route.kind);
    }
    Some(RequestTimeout { route, within, origin })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_core::request_timeout::TimeoutOrigin;

    use crate::fixture::{deployment, gateway, objects, route, service};

    const DEFAULT: (u64, TimeoutOrigin) = (15, TimeoutOrigin::Default);

    /// The time-out in s, and its origin, of a Deployment that sleeps behind these objects.
    fn of(more: &[Value]) -> Option<(u64, TimeoutOrigin)> {
        let annotations = json!({"tidegate.dev/requests-per-second": "10", "tidegate.dev/min-replicas": "0"});
        let base = [deployment("api", &annotations), service("api"), gateway()];
        let plan = objects(base.into_iter().chain(more.iter().cloned())).plan();
        let timeout = plan.workloads.values().next().unwrap().request_timeout.clone()?;
        assert_eq!(timeout.within.subsec_nanos(), 0);
        Some((timeout.within.as_secs(), timeout.origin.clone()))
    }

    fn policy(target: &Value, spec: &Value) -> Value {
        let mut policy = json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "BackendTrafficPolicy",
            "metadata": {"name": target["kind"], "namespace": "shop"}, "spec": spec});
        policy["spec"]["targetRefs"] = json!([target]);
        policy
    }

    fn limit(time: &str) -> Value {
        json!({"timeout": {"http": {"requestTimeout": time}}})
    }

    #[test]
    fn a_rule_that_sets_no_time_has_that_of_envoy() {
        assert_eq!(of(&[route("HTTPRoute", &[json!({})])]), Some(DEFAULT));
        assert_eq!(of(&[route("GRPCRoute", &[json!({})])]), Some(DEFAULT));
        assert_eq!(of(&[]), None, "callers within the cluster have their own");
    }

    #[test]
    fn the_time_for_the_backend_is_that_of_the_rule_unless_it_is_that_of_each_try() {
        let times = json!({"request": "40s", "backendRequest": "30s"});
        let rule = |rule: Value| of(&[route("HTTPRoute", &[rule])]);
        let backend = TimeoutOrigin::Rule("timeouts.backendRequest");
        let request = TimeoutOrigin::Rule("timeouts.request");
        assert_eq!(rule(json!({"timeouts": times})), Some((30, backend)));
        assert_eq!(rule(json!({"timeouts": times, "retry": {"attempts": 2}})), Some((40, request.clone())));
        assert_eq!(rule(json!({"timeouts": {"request": "0s"}})), None, "0 is for ever");
        assert_eq!(rule(json!({"timeouts": {"request": "soon"}})), Some((15, request)));
    }

    #[test]
    fn the_shortest_of_several_rules_decides() {
        let rules = [json!({"timeouts": {"request": "40s"}}), json!({"timeouts": {"request": "20s"}})];
        assert_eq!(of(&[route("HTTPRoute", &rules)]), Some((20, TimeoutOrigin::Rule("timeouts.request"))));
    }

    #[test]
    fn a_policy_decides_where_the_rule_does_not_and_that_of_the_route_before_that_of_the_gateway() {
        let (gateway, http) = (json!({"kind": "Gateway", "name": "web"}), json!({"kind": "HTTPRoute", "name": "web"}));
        let of_gateway = policy(&gateway, &limit("60s"));
        let origin = |name: &str| TimeoutOrigin::Policy("shop".into(), name.into());
        let plain = route("HTTPRoute", &[json!({})]);
        assert_eq!(of(&[plain.clone(), of_gateway.clone()]), Some((60, origin("Gateway"))));
        let of_route = policy(&http, &limit("90s"));
        assert_eq!(of(&[plain.clone(), of_gateway.clone(), of_route.clone()]), Some((90, origin("HTTPRoute"))));
        let replaces = policy(&http, &json!({"retry": {}}));
        assert_eq!(of(&[plain.clone(), of_gateway.clone(), replaces]), Some(DEFAULT), "the whole policy is replaced");
        let merges = policy(&http, &json!({"mergeType": "StrategicMerge", "retry": {}}));
        assert_eq!(of(&[plain, of_gateway, merges]), Some((60, origin("Gateway"))));
        let own = route("HTTPRoute", &[json!({"timeouts": {"request": "20s"}})]);
        assert_eq!(of(&[own, of_route]), Some((20, TimeoutOrigin::Rule("timeouts.request"))));
    }

    #[test]
    fn of_a_generated_route_the_one_is_named_that_can_be_changed() {
        let backend = json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend", "metadata": {"name": "api", "namespace": "shop"},
            "spec": {"endpoints": [{"fqdn": {"hostname": "api.shop.svc.cluster.local", "port": 80}}]}});
        let service = json!({"apiVersion": "aigateway.envoyproxy.io/v1alpha1", "kind": "AIServiceBackend",
            "metadata": {"name": "api", "namespace": "shop"},
            "spec": {"schema": {"name": "OpenAI"}, "backendRef": {"kind": "Backend", "group": "gateway.envoyproxy.io", "name": "api"}}});
        let ai = json!({"apiVersion": "aigateway.envoyproxy.io/v1alpha1", "kind": "AIGatewayRoute",
            "metadata": {"name": "llm", "namespace": "shop"},
            "spec": {"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": [{"name": "api"}]}]}});
        assert_eq!(of(&[backend, service, ai]), Some((60, TimeoutOrigin::Rule("timeouts.request"))));
    }
}
