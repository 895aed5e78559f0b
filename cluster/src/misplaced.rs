//! Annotations of Tidegate where nothing reads them: on a pod template, on objects that are not scaled, with another prefix.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;
use tidegate_core::{
    intent::{Annotations, Managed},
    key::{Key, PREFIX, Place, has_near_prefix},
    workload::WorkloadKind,
};

use super::{
    Kind, NotScaled, Objects,
    unscaled::is_gone,
    views::{Meta, WorkloadMeta},
};

/// Annotations that nothing reads. `Display` says what to do, without the object's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Misplaced {
    /// The annotations; at least one
    pub keys: Vec<String>,
    /// What is wrong with their place
    pub place: WrongPlace,
}

/// What is wrong with a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WrongPlace {
    /// `spec.template.metadata.annotations`: the annotations of pods
    PodTemplate,
    /// An object of a kind that is not scaled
    NotScaled(NotScaled),
    /// A DaemonSet or CronJob that its Namespace does not have managed; the value of `tidegate.dev/manage` that would
    NotManaged(Kind, &'static str),
    /// The prefix is not `tidegate.dev/`
    Prefix,
    /// `metadata.labels`
    Labels,
}

impl Misplaced {
    /// The first of the annotations.
    pub(crate) fn first_key(&self) -> &str {
        self.keys.first().map_or("", String::as_str)
    }
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.join(", ");
        match &self.place {
            WrongPlace::PodTemplate => {
                write!(
                    f,
                    "{keys} on the pod template is not read: move it to metadata.annotations of the object itself"
                )
            }
            WrongPlace::NotScaled(kind) => write!(f, "{keys}: {kind}"),
            WrongPlace::NotManaged(kind, manage) => write!(
                f,
                "{keys}: a {kind} is not scaled; it only follows hours, where its Namespace says tidegate.dev/manage: {manage}"
            ),
            WrongPlace::Prefix => {
                let name = without_prefix(self.first_key());
                write!(f, "{keys} is not read: the prefix is {PREFIX}. Write {PREFIX}{name}")
            }
            WrongPlace::Labels => write!(f, "{keys} among the labels is not read: move it to metadata.annotations"),
        }
    }
}

/// An object that carries such annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Its kind
    pub kind: Kind,
    /// Its namespace; empty for a Namespace
    pub namespace: String,
    /// Its name
    pub name: String,
    /// Its UID; empty when it comes from a file
    pub uid: String,
}

impl fmt::Display for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, .. } = self;
        write!(f, "{kind} {namespace}{}{name}", if namespace.is_empty() { "" } else { "/" })
    }
}

impl Objects {
    /// All such annotations on workloads, DaemonSets, CronJobs, Gateways and Namespaces.
    pub fn misplaced(&self) -> Vec<(Bearer, Misplaced)> {
        let mut all = Found(Vec::new());
        for (kind, table) in self.workload_tables() {
            let kind = Kind::of_workload(kind);
            for (namespace, name, workload) in each(table) {
                let on_pods = workload.spec.template.metadata.stray.iter();
                all.add(
                    || of_workload(kind, namespace, name, &workload.metadata),
                    on_pods.cloned(),
                    WrongPlace::PodTemplate,
                );
                all.prefixes(|| of_workload(kind, namespace, name, &workload.metadata), &workload.metadata.annotations);
            }
        }
        for (namespace, name, set) in each(&self.daemon_sets) {
            let bearer = || of_workload(Kind::DaemonSet, namespace, name, &set.metadata);
            let managed = Managed::of(self.namespace_defaults(namespace));
            let on_pods = set.spec.template.metadata.stray.iter().cloned();
            all.add(bearer, on_pods, WrongPlace::PodTemplate);
            if !managed.is_some_and(|managed| managed.daemon_sets) {
                all.unmanaged(bearer, &set.metadata.annotations, "all,daemonsets");
            }
            all.prefixes(bearer, &set.metadata.annotations);
        }
        for (namespace, name, job) in each(&self.cron_jobs) {
            let bearer = || of_workload(Kind::CronJob, namespace, name, &job.metadata);
            let managed = Managed::of(self.namespace_defaults(namespace));
            all.add(bearer, job.stray_on_pods().iter().cloned(), WrongPlace::PodTemplate);
            if !managed.is_some_and(|managed| managed.cron_jobs) {
                all.unmanaged(bearer, &job.metadata.annotations, "all,cronjobs");
            }
            all.prefixes(bearer, &job.metadata.annotations);
        }
        for (_, _, gateway) in each(&self.gateways) {
            all.prefixes(|| of_meta(Kind::Gateway, &gateway.metadata), &gateway.metadata.annotations);
        }
        for (_, _, namespace) in each(&self.namespaces) {
            all.prefixes(|| of_meta(Kind::Namespace, &namespace.metadata), &namespace.metadata.annotations);
        }
        all.0
    }
}

/// All objects of a table, with their namespaces and names.
fn each<T>(table: &BTreeMap<String, BTreeMap<String, T>>) -> impl Iterator<Item = (&str, &str, &T)> {
    table.iter().flat_map(|(namespace, names)| names.iter().map(move |(name, view)| (&**namespace, &**name, view)))
}

fn of_workload(kind: Kind, namespace: &str, name: &str, meta: &WorkloadMeta) -> Bearer {
    Bearer { kind, namespace: namespace.to_owned(), name: name.to_owned(), uid: meta.uid.clone() }
}

fn of_meta(kind: Kind, meta: &Meta) -> Bearer {
    Bearer { kind, namespace: meta.namespace.clone(), name: meta.name.clone(), uid: meta.uid.clone() }
}

struct Found(Vec<(Bearer, Misplaced)>);

impl Found {
    fn add(&mut self, bearer: impl Fn() -> Bearer, keys: impl Iterator<Item = Box<str>>, place: WrongPlace) {
        let keys: Vec<_> = keys.map(String::from).collect();
        if !keys.is_empty() {
            self.0.push((bearer(), Misplaced { keys, place }));
        }
    }

    fn unmanaged(&mut self, bearer: impl Fn() -> Bearer, annotations: &Annotations, manage: &'static str) {
        let kind = bearer().kind;
        let own = annotations.keys().filter(|key| key.starts_with(PREFIX));
        self.add(bearer, own.map(Box::from), WrongPlace::NotManaged(kind, manage));
    }

    fn prefixes(&mut self, bearer: impl Fn() -> Bearer, annotations: &Annotations) {
        for key in annotations.keys().filter(|key| has_near_prefix(key)) {
            self.add(&bearer, [key.into()].into_iter(), WrongPlace::Prefix);
        }
    }
}

/// Such annotations on an object in a file, apart from those that [`Objects::misplaced`] finds: on kinds that are not scaled, on
/// versions that are served no more, and among labels.
pub(crate) fn of_file(objects: &Objects, kind: Option<Kind>, object: &Value) -> Vec<Misplaced> {
    if is_made(object) {
        return Vec::new();
    }
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, own) = (text("/apiVersion"), "/metadata/annotations");
    let gone = is_gone(&api_version) && kind.is_some_and(Kind::is_scaled);
    let not_scaled = WrongPlace::NotScaled(NotScaled { api_version, kind: text("/kind") });
    let labels = (keys(object, "/metadata/labels", is_key), WrongPlace::Labels);
    let found = if kind.is_some_and(is_written) {
        vec![(keys(object, own, is_key), not_scaled), labels]
    } else if kind.is_some_and(|kind| is_read_elsewhere(objects, kind)) {
        vec![(if gone { keys(object, own, is_ours) } else { Vec::new() }, not_scaled), labels]
    } else {
        let of_pods = "/spec/template/metadata/annotations";
        vec![
            (keys(object, own, is_ours), not_scaled),
            (keys(object, own, has_near_prefix), WrongPlace::Prefix),
            (keys(object, of_pods, is_ours), WrongPlace::PodTemplate),
            labels,
        ]
    };
    found.into_iter().filter(|(keys, _)| !keys.is_empty()).map(|(keys, place)| Misplaced { keys, place }).collect()
}

/// Kinds on which Tidegate itself writes annotations, with names that are no keys.
fn is_written(kind: Kind) -> bool {
    matches!(kind, Kind::ScaledObject | Kind::EnvoyProxy | Kind::Calendar)
}

/// Kinds that are scaled or managed are read with their views, by `Objects::misplaced`.
fn is_read_elsewhere(objects: &Objects, kind: Kind) -> bool {
    match kind {
        Kind::Scaled(kind) => objects.scales(kind),
        Kind::ReplicaSet => objects.scales(WorkloadKind::ReplicaSet),
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::CronJob | Kind::Gateway | Kind::Namespace => {
            true
        }
        _ => false,
    }
}

/// Whether a controller made the object: it may have copied the annotations, as Deployments do to their ReplicaSets.
fn is_made(object: &Value) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| owner["controller"] == true)
}

/// Whether a label or an annotation is one of the keys that users write. Those that Tidegate writes are not.
fn is_key(name: &str) -> bool {
    Key::ALL.iter().any(|key| key.annotation() == name)
}

/// The name of an annotation whose prefix is wrong, or part of the name: `tidegate.dev.hours`.
fn without_prefix(key: &str) -> &str {
    if let Some((_, name)) = key.rsplit_once('/') {
        return name;
    }
    let seams = ['.', '-', '_'];
    let rest = key.get(PREFIX_NAME.len()..).unwrap_or_default().trim_start_matches(seams);
    let name = rest.strip_prefix("dev").map_or(rest, |rest| rest.trim_start_matches(seams));
    Key::nearest(name, Place::Workload).map_or(name, |nearest| nearest.name())
}

/// The word with which such a key starts.
const PREFIX_NAME: &str = "tidegate";

fn is_ours(key: &str) -> bool {
    key.starts_with(PREFIX)
}

fn keys(object: &Value, pointer: &str, wanted: fn(&str) -> bool) -> Vec<String> {
    let annotations = object.pointer(pointer).and_then(Value::as_object);
    annotations.into_iter().flatten().map(|(key, _)| key.clone()).filter(|key| wanted(key)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(object: Value, namespace: &Value) -> Vec<String> {
        let mut objects = Objects::default();
        objects.set_manageable(Managed { cron_jobs: true, daemon_sets: true });
        objects.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": namespace}})).unwrap();
        objects.apply(object).unwrap();
        objects.misplaced().iter().map(|(bearer, what)| format!("{bearer}: {what}")).collect()
    }

    fn object(api_version: &str, kind: &str, own: &Value, on_pods: &Value) -> Value {
        let template = json!({"metadata": {"annotations": on_pods}});
        let spec = if kind == "CronJob" {
            json!({"jobTemplate": {"spec": {"template": template}}})
        } else {
            json!({"template": template})
        };
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "api", "namespace": "shop", "annotations": own}, "spec": spec})
    }

    const RPS: &str = "tidegate.dev/requests-per-second";

    #[test]
    fn annotations_of_pods_are_not_read_whatever_makes_the_pods() {
        for (api_version, kind) in
            [("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("batch/v1", "CronJob")]
        {
            let near = told(object(api_version, kind, &json!({}), &json!({"tidegate.io/hours": "x"})), &json!({}));
            assert_eq!(near.len(), 1, "{near:?}");
            let told = told(object(api_version, kind, &json!({}), &json!({RPS: "10", "x/y": "z"})), &json!({}));
            assert_eq!(
                told,
                [format!(
                    "{kind} shop/api: {RPS} on the pod template is not read: move it to metadata.annotations of the object itself"
                )]
            );
        }
    }

    #[test]
    fn a_daemon_set_or_cron_job_is_only_managed_by_its_namespace() {
        let hours = json!({"tidegate.dev/hours": "Mo-Fr 08:00-18:00"});
        let set = || object("apps/v1", "DaemonSet", &hours, &json!({}));
        assert!(told(set(), &json!({}))[0].ends_with("where its Namespace says tidegate.dev/manage: all,daemonsets"));
        assert!(told(set(), &json!({"tidegate.dev/manage": "all,cronjobs"})).len() == 1);
        assert_eq!(told(set(), &json!({"tidegate.dev/manage": "all,daemonsets"})), Vec::<String>::new());
        let job = object("batch/v1", "CronJob", &hours, &json!({}));
        assert!(told(job, &json!({}))[0].ends_with("tidegate.dev/manage: all,cronjobs"));
    }

    #[test]
    fn another_prefix_is_reported_with_the_right_one() {
        let told = told(
            object("apps/v1", "Deployment", &json!({"tidegate.io/hours": "x", RPS: "1"}), &json!({})),
            &json!({"tidegate/manage": "all"}),
        );
        assert_eq!(
            told,
            [
                "Deployment shop/api: tidegate.io/hours is not read: the prefix is tidegate.dev/. Write tidegate.dev/hours",
                "Namespace shop: tidegate/manage is not read: the prefix is tidegate.dev/. Write tidegate.dev/manage",
            ]
        );
    }

    fn reported_of(api_version: &str, kind: &str, scaled: &[WorkloadKind]) -> Vec<String> {
        let mut objects = Objects::default();
        objects.set_scaled_kinds(scaled);
        let object = object(api_version, kind, &json!({RPS: "1", "example.com/a": "b"}), &json!({}));
        let found = of_file(&objects, Kind::of(api_version, kind), &object);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_annotated_object_of_a_kind_that_is_not_scaled_is_reported_with_what_to_do() {
        let rollout = |scaled: &[WorkloadKind]| reported_of("argoproj.io/v1alpha1", "Rollout", scaled);
        assert_eq!(
            rollout(&[]),
            [format!(
                "{RPS}: kind Rollout is not scaled: add rollouts.argoproj.io to scaleKinds in the chart's values"
            )]
        );
        assert_eq!(rollout(&[WorkloadKind::Rollout]), Vec::<String>::new());
        let reported = |api_version: &str, kind: &str| reported_of(api_version, kind, &[]).join("\n");
        assert!(reported("serving.kserve.io/v1beta1", "InferenceService").contains("autoscalerClass: external"));
        assert!(reported("v1", "ReplicationController").contains("Make it a Deployment with the same template"));
        assert!(reported("unscaled.test/v1", "Thing").contains("PLURAL.unscaled.test/v1/Thing"));
        assert!(
            reported("extensions/v1beta1", "Deployment")
                .ends_with("since 1.16; write apiVersion: apps/v1 and kind: Deployment")
        );
        for (api_version, kind) in [("v1", "ConfigMap"), ("gateway.networking.k8s.io/v1", "HTTPRoute")] {
            assert!(reported(api_version, kind).ends_with("the Gateway in front of it"), "{kind}");
        }
        assert_eq!(reported("apps/v1", "Deployment"), "");
    }

    #[test]
    fn a_kind_of_kubernetes_with_a_wrong_api_version_is_told_the_right_one() {
        for (api_version, kind, expected) in [
            (
                "apps/v1beta2",
                "Deployment",
                "Kubernetes has not served apps/v1beta2 since 1.16; write apiVersion: apps/v1",
            ),
            ("v1", "StatefulSet", "there is no StatefulSet in v1; write apiVersion: apps/v1 and kind: StatefulSet"),
            ("", "Deployment", "it has no apiVersion; write apiVersion: apps/v1 and kind: Deployment"),
            (
                "apps/v1",
                "deployment",
                "there is no deployment in apps/v1; write apiVersion: apps/v1 and kind: Deployment",
            ),
        ] {
            let told = reported_of(api_version, kind, &[]);
            assert!(told.len() == 1 && told[0].contains(expected), "{told:?}");
        }
        let of_kruise = reported_of("apps.kruise.io/v1beta1", "StatefulSet", &[]);
        assert!(of_kruise[0].contains("add PLURAL.apps.kruise.io/v1beta1/StatefulSet"), "{of_kruise:?}");
    }

    #[test]
    fn keys_on_objects_of_tidegates_own_are_reported_and_its_own_annotations_are_not() {
        for (api_version, kind) in
            [("keda.sh/v1alpha1", "ScaledObject"), ("gateway.envoyproxy.io/v1alpha1", "EnvoyProxy")]
        {
            let own = json!({RPS: "1", "tidegate.dev/applied": "{}", "tidegate.dev/adopted-replicas": "2"});
            let object = object(api_version, kind, &own, &json!({}));
            let found = of_file(&Objects::default(), Kind::of(api_version, kind), &object);
            assert_eq!(found.iter().map(|one| one.keys.join(" ")).collect::<Vec<_>>(), [RPS], "{kind}");
        }
    }

    #[test]
    fn keys_among_the_labels_are_reported_and_labels_of_tidegates_own_are_not() {
        let mut object = object("apps/v1", "Deployment", &json!({}), &json!({}));
        object["metadata"]["labels"] = json!({RPS: "1", "tidegate.dev/asleep": "true", "tidegate.dev/release": "a.b"});
        let told: Vec<_> =
            of_file(&Objects::default(), Some(Kind::Deployment), &object).iter().map(ToString::to_string).collect();
        assert_eq!(told, [format!("{RPS} among the labels is not read: move it to metadata.annotations")]);
    }

    #[test]
    fn a_prefix_without_a_slash_is_reported_with_the_key_that_was_meant() {
        for key in ["tidegate.dev.requests-per-second", "tidegate-requests-per-second", "tidegate_requestsPerSecond"] {
            assert_eq!(
                told(object("apps/v1", "Deployment", &json!({ key: "1" }), &json!({})), &json!({})),
                [format!("Deployment shop/api: {key} is not read: the prefix is tidegate.dev/. Write {RPS}")]
            );
        }
    }

    #[test]
    fn annotations_that_a_controller_may_have_copied_are_not_reported() {
        let mut set = object("apps/v1", "ReplicaSet", &json!({RPS: "1"}), &json!({}));
        let mut objects = Objects::default();
        objects.set_scaled_kinds(&[]);
        let reported = |set: &Value| of_file(&objects, Some(Kind::ReplicaSet), set).len();
        assert_eq!(reported(&set), 1);
        set["metadata"]["ownerReferences"] = json!([{"kind": "Deployment", "name": "api", "controller": true}]);
        assert_eq!(reported(&set), 0);
    }
}
