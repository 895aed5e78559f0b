//! Workloads that `manage: all` on a Namespace leaves alone, because they wake others: with them asleep, nothing would ever wake again.

use tidegate_core::{key::Key, problem::Problem};

use super::super::{Objects, views::Workload};

/// Namespaces that are recognised by name, as their projects name them.
const NAMESPACES: [(&str, &str); 5] = [
    ("keda", "KEDA"),
    ("envoy-gateway-system", "Envoy Gateway"),
    ("envoy-ai-gateway-system", "Envoy AI Gateway"),
    ("tidegate-system", "Tidegate"),
    ("gatekeeper-system", "an admission webhook"),
];

/// Pod labels that are recognised in any namespace, as the projects' charts and manifests set them.
const LABELS: [(&str, &str, &str); 10] = [
    ("app.kubernetes.io/name", "keda-operator", "KEDA"),
    ("app", "keda-operator", "KEDA"),
    ("app.kubernetes.io/name", "keda-operator-metrics-apiserver", "KEDA"),
    ("app", "keda-operator-metrics-apiserver", "KEDA"),
    ("app.kubernetes.io/name", "gateway-helm", "Envoy Gateway"),
    ("control-plane", "envoy-gateway", "Envoy Gateway"),
    ("app.kubernetes.io/name", "ai-gateway-helm", "Envoy AI Gateway"),
    ("app.kubernetes.io/name", "tidegate", "Tidegate"),
    ("k8s-app", "kube-dns", "the cluster's DNS"),
    ("app.kubernetes.io/part-of", "kyverno", "an admission webhook"),
];

/// The software in a namespace that must not sleep, if there is any.
pub(crate) fn runs_in(objects: &Objects, namespace: &str) -> Option<&'static str> {
    if namespace.starts_with("kube-") {
        return Some("Kubernetes");
    }
    let by_name = NAMESPACES.iter().find(|(name, _)| *name == namespace).map(|(_, what)| *what);
    by_name.or_else(|| {
        let tables = [&objects.deployments, &objects.stateful_sets];
        let mut workloads =
            tables.into_iter().filter_map(|table| table.get(namespace)).flat_map(|names| names.values());
        workloads.find_map(role)
    })
}

/// Whether this workload is the proxies of a Gateway, which follow the Gateway's annotations instead.
pub(crate) fn is_proxy(workload: &Workload) -> bool {
    workload.pod_labels().are_of_a_proxy()
}

/// Whether this is Tidegate itself.
pub(super) fn is_tidegate(namespace: &str, name: &str, workload: &Workload) -> bool {
    role(workload) == Some("Tidegate") || (namespace, name) == ("tidegate-system", "tidegate")
}

fn role(workload: &Workload) -> Option<&'static str> {
    let known = |(key, value)| LABELS.iter().find(|(k, v, _)| (*v, *k) == (value, key)).map(|(.., what)| *what);
    workload.pod_labels().iter().find_map(known)
}

/// The problem to report to the owner of such a Namespace.
pub(crate) fn problem(objects: &Objects, namespace: &str) -> Option<Problem> {
    let what = runs_in(objects, namespace)?;
    let key = Key::Manage.annotation();
    objects.namespace_defaults(namespace).contains_key(key).then(|| {
        Problem::Contradiction(format!(
            "{key}: all is not followed in namespace {namespace}, because {what} runs there, and without it nothing would wake \
             again: annotate those workloads that may sleep, one by one"
        ))
    })
}

/// The problem to report to the owner of Tidegate.
pub(super) fn itself() -> Problem {
    Problem::Contradiction(
        "this is Tidegate itself, which nobody would wake: take its tidegate.dev/ annotations off".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn managed(namespace: &str) -> Value {
        let hours = json!({"tidegate.dev/manage": "all", "tidegate.dev/hours": "Mo-Fr 08:00-18:00", "tidegate.dev/timezone": "UTC"});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "annotations": hours}})
    }

    fn deployment(namespace: &str, name: &str, labels: &Value, annotations: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
            "spec": {"template": {"metadata": {"labels": labels}}}})
    }

    /// The planned workloads of a managed namespace, and the problems reported to its owner.
    fn planned(namespace: &str, deployments: &[(&str, Value, Value)]) -> (Vec<String>, Vec<String>) {
        let mut objects = Objects::default();
        objects.apply(managed(namespace)).unwrap();
        for (name, labels, annotations) in deployments {
            objects.apply(deployment(namespace, name, labels, annotations)).unwrap();
        }
        let told = objects.namespaces().flat_map(|(_, problems)| problems).map(|problem| problem.to_string());
        (objects.plan().workloads.keys().map(|id| id.name.clone()).collect(), told.collect())
    }

    #[test]
    fn what_wakes_others_does_not_sleep_because_its_namespace_is_managed() {
        let other = ("other", json!({"app": "other"}), json!({}));
        for (namespace, labels) in [
            ("tidegate-system", json!({"app": "t"})),
            ("scaling", json!({"app.kubernetes.io/name": "keda-operator"})),
            ("edge", json!({"control-plane": "envoy-gateway"})),
            ("kube-system", json!({"k8s-app": "kube-dns"})),
            ("kube-public", json!({"app": "x"})),
        ] {
            let (names, told) = planned(namespace, &[("one", labels, json!({})), other.clone()]);
            assert!(names.is_empty(), "{namespace}: {names:?}");
            assert!(told[0].contains("runs there") && told[0].contains("one by one"), "{told:?}");
        }
        assert_eq!(planned("shop", &[other]), (vec!["other".to_owned()], vec![]));
    }

    #[test]
    fn one_that_is_annotated_itself_sleeps_there_all_the_same() {
        let own = ("dashboard", json!({"app": "d"}), json!({"tidegate.dev/max-replicas": "3"}));
        assert_eq!(planned("keda", &[own]).0, ["dashboard"]);
    }

    #[test]
    fn proxies_follow_their_gateway_and_not_the_namespace_that_they_are_in() {
        let labels = json!({"app.kubernetes.io/component": "proxy", "app.kubernetes.io/managed-by": "envoy-gateway"});
        assert!(planned("shop", &[("envoy-shop-web", labels, json!({}))]).0.is_empty());
    }

    #[test]
    fn tidegate_itself_is_never_scaled_whoever_asks_for_it() {
        let mut objects = Objects::default();
        let hours = json!({"tidegate.dev/hours": "Mo-Fr 08:00-18:00", "tidegate.dev/timezone": "UTC"});
        let labels = json!({"app.kubernetes.io/name": "tidegate"});
        objects.apply(deployment("scaling", "tg", &labels, &hours)).unwrap();
        let plan = objects.plan();
        let problems = plan.workloads.values().next().unwrap().intent.clone().unwrap_err();
        assert!(problems[0].to_string().contains("Tidegate itself"), "{problems:?}");
    }
}
