//! The state of every object that matters, in small views.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tidegate_core::{
    fleet::{EnvoyProxyId, GatewayId},
    intent::{Annotations, Managed, is_annotated},
    key::STATUS,
    plan::{ADOPTED_REPLICAS, Replicas},
    workload::{WorkloadId, WorkloadKind},
};

use super::{
    kind::Kind,
    serving::ServingPods,
    views::{self, CalendarObject, ScaledObject, Workload},
};

/// By namespace (empty for objects of the cluster), then by name.
pub(super) type Table<T> = BTreeMap<String, BTreeMap<String, T>>;

/// All objects that are known now, from a cluster or from files.
///
/// ```
/// use serde_json::json;
/// use tidegate_cluster::{Kind, Objects};
///
/// let mut objects = Objects::default();
/// let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}, "spec": {}});
/// assert!(objects.apply(service)?);
/// objects.remove(Kind::Service, "default", "api");
/// assert!(objects.plan().workloads.is_empty());
/// # Ok::<(), tidegate_cluster::ObjectError>(())
/// ```
#[derive(Debug, Default)]
pub struct Objects {
    pub(super) deployments: Table<Workload>,
    pub(super) stateful_sets: Table<Workload>,
    pub(super) daemon_sets: Table<Workload>,
    pub(super) cron_jobs: Table<views::CronJob>,
    pub(super) replica_sets: Table<views::ReplicaSet>,
    pub(super) services: Table<views::Service>,
    pub(super) namespaces: Table<views::Namespace>,
    pub(super) pods: Table<views::Pod>,
    pub(super) gateway_classes: Table<views::GatewayClass>,
    pub(super) gateways: Table<views::Gateway>,
    pub(super) listener_sets: Table<views::ListenerSet>,
    pub(super) http_routes: Table<views::Route>,
    pub(super) grpc_routes: Table<views::Route>,
    pub(super) tcp_routes: Table<views::Route>,
    pub(super) tls_routes: Table<views::Route>,
    pub(super) udp_routes: Table<views::Route>,
    pub(super) reference_grants: Table<views::ReferenceGrant>,
    pub(super) service_imports: Table<views::ServiceImport>,
    pub(super) envoy_proxies: Table<views::EnvoyProxy>,
    pub(super) backends: Table<views::Backend>,
    pub(super) http_route_filters: Table<views::HttpRouteFilter>,
    pub(super) backend_traffic_policies: Table<views::BackendTrafficPolicy>,
    pub(super) client_traffic_policies: Table<views::ClientTrafficPolicy>,
    pub(super) security_policies: Table<views::ExtServicePolicy>,
    pub(super) envoy_extension_policies: Table<views::ExtServicePolicy>,
    pub(super) ai_gateway_routes: Table<views::AiGatewayRoute>,
    pub(super) ai_service_backends: Table<views::AiServiceBackend>,
    pub(super) inference_pools: Table<views::InferencePool>,
    pub(super) x_inference_pools: Table<views::InferencePool>,
    pub(super) serving: ServingPods,
    calendars: Table<CalendarObject>,
    pub(super) scaled: Table<ScaledObject>,
    pub(super) autoscalers: Table<views::HorizontalPodAutoscaler>,
    pub(super) envoy_gateway: views::EnvoyGateway,
    pub(super) proxy_namespaces: ProxyNamespaces,
    pub(super) manageable: Managed,
    revision: u64,
}

/// The namespaces in which Envoy Gateway runs the proxies of any Gateway.
#[derive(Debug)]
pub(super) struct ProxyNamespaces(pub(super) Vec<String>);

impl Default for ProxyNamespaces {
    fn default() -> Self {
        Self(vec!["envoy-gateway-system".to_owned()])
    }
}

/// An object that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Not a Kubernetes object at all.
    #[error("not a Kubernetes object: {0}")]
    NotAnObject(&'static str),
    /// A field has the wrong type. What was known of the object before is kept.
    #[error("{kind} {}{name}: {reason}", Namespaced(namespace))]
    Malformed {
        /// The object's kind
        kind: Kind,
        /// Its namespace; empty for objects of the cluster
        namespace: String,
        /// Its name
        name: String,
        /// Which field, what it is and what it should be
        reason: String,
    },
}

struct Namespaced<'a>(&'a str);

impl std::fmt::Display for Namespaced<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}/", self.0) }
    }
}

/// Evaluates an expression with the table of a kind, which has another type for each.
macro_rules! with_table {
    (&mut $objects:ident, $kind:expr, $table:ident => $body:expr) => {
        with_table!(@ [&mut $objects] $kind, $table => $body)
    };
    (&$objects:ident, $kind:expr, $table:ident => $body:expr) => {
        with_table!(@ [&$objects] $kind, $table => $body)
    };
    (@ [$($objects:tt)+] $kind:expr, $table:ident => $body:expr) => {
        match $kind {
            Kind::Deployment => {
                let $table = $($objects)+.deployments;
                $body
            }
            Kind::StatefulSet => {
                let $table = $($objects)+.stateful_sets;
                $body
            }
            Kind::DaemonSet => {
                let $table = $($objects)+.daemon_sets;
                $body
            }
            Kind::CronJob => {
                let $table = $($objects)+.cron_jobs;
                $body
            }
            Kind::ReplicaSet => {
                let $table = $($objects)+.replica_sets;
                $body
            }
            Kind::Service => {
                let $table = $($objects)+.services;
                $body
            }
            Kind::Namespace => {
                let $table = $($objects)+.namespaces;
                $body
            }
            Kind::Pod => {
                let $table = $($objects)+.pods;
                $body
            }
            Kind::GatewayClass => {
                let $table = $($objects)+.gateway_classes;
                $body
            }
            Kind::Gateway => {
                let $table = $($objects)+.gateways;
                $body
            }
            Kind::ListenerSet => {
                let $table = $($objects)+.listener_sets;
                $body
            }
            Kind::HttpRoute => {
                let $table = $($objects)+.http_routes;
                $body
            }
            Kind::GrpcRoute => {
                let $table = $($objects)+.grpc_routes;
                $body
            }
            Kind::TcpRoute => {
                let $table = $($objects)+.tcp_routes;
                $body
            }
            Kind::TlsRoute => {
                let $table = $($objects)+.tls_routes;
                $body
            }
            Kind::UdpRoute => {
                let $table = $($objects)+.udp_routes;
                $body
            }
            Kind::ReferenceGrant => {
                let $table = $($objects)+.reference_grants;
                $body
            }
            Kind::ServiceImport => {
                let $table = $($objects)+.service_imports;
                $body
            }
            Kind::EnvoyProxy => {
                let $table = $($objects)+.envoy_proxies;
                $body
            }
            Kind::Backend => {
                let $table = $($objects)+.backends;
                $body
            }
            Kind::HttpRouteFilter => {
                let $table = $($objects)+.http_route_filters;
                $body
            }
            Kind::BackendTrafficPolicy => {
                let $table = $($objects)+.backend_traffic_policies;
                $body
            }
            Kind::ClientTrafficPolicy => {
                let $table = $($objects)+.client_traffic_policies;
                $body
            }
            Kind::SecurityPolicy => {
                let $table = $($objects)+.security_policies;
                $body
            }
            Kind::EnvoyExtensionPolicy => {
                let $table = $($objects)+.envoy_extension_policies;
                $body
            }
            Kind::AiGatewayRoute => {
                let $table = $($objects)+.ai_gateway_routes;
                $body
            }
            Kind::AiServiceBackend => {
                let $table = $($objects)+.ai_service_backends;
                $body
            }
            Kind::InferencePool => {
                let $table = $($objects)+.inference_pools;
                $body
            }
            Kind::XInferencePool => {
                let $table = $($objects)+.x_inference_pools;
                $body
            }
            Kind::Calendar => {
                let $table = $($objects)+.calendars;
                $body
            }
            Kind::ScaledObject => {
                let $table = $($objects)+.scaled;
                $body
            }
            Kind::HorizontalPodAutoscaler => {
                let $table = $($objects)+.autoscalers;
                $body
            }
        }
    };
}

impl Objects {
    /// Adds or replaces one object, of any version of its kind. `Ok(false)`, and nothing kept, when the kind means
    /// nothing here. A namespaced object without a namespace is in `default`, as `kubectl apply` would have it.
    pub fn apply(&mut self, object: Value) -> Result<bool, ObjectError> {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if kind.is_empty() {
            return Err(ObjectError::NotAnObject("it has no kind"));
        }
        if api_version.starts_with("gateway.envoyproxy.io/") && kind == "EnvoyGateway" {
            return self.apply_envoy_gateway(object);
        }
        match Kind::of(api_version, kind) {
            Some(kind) => self.apply_as(kind, object).map(|()| true),
            None => Ok(false),
        }
    }

    /// Sets the namespaces in which Envoy Gateway runs the proxies of any Gateway; `envoy-gateway-system` when not called. In
    /// any other namespace a pod can be a proxy only of a Gateway of that namespace.
    pub fn set_proxy_namespaces(&mut self, namespaces: Vec<String>) {
        self.proxy_namespaces = ProxyNamespaces(namespaces);
        self.revision += 1;
    }

    /// The kinds besides Deployments and StatefulSets that may be managed.
    pub fn manageable(&self) -> Managed {
        self.manageable
    }

    /// Sets which kinds besides Deployments and StatefulSets may be managed; none when not called.
    pub fn set_manageable(&mut self, manageable: Managed) {
        self.manageable = manageable;
        self.revision += 1;
    }

    /// Grows with every change of what is read here of any object. A status that nothing here reads changes nothing.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Forgets one object. `namespace` is ignored for kinds that have none.
    pub fn remove(&mut self, kind: Kind, namespace: &str, name: &str) {
        let namespace = if kind.namespaced() { namespace } else { "" };
        let removed = with_table!(&mut self, kind, table => {
            let names = table.get_mut(namespace);
            let removed = names.is_some_and(|names| names.remove(name).is_some());
            if table.get(namespace).is_some_and(BTreeMap::is_empty) {
                table.remove(namespace);
            }
            removed
        });
        self.revision += u64::from(removed);
    }

    /// Replaces all objects of a kind: a re-list after a gap in a watch. What cannot be read is reported, and kept as
    /// it was known before, if it was.
    pub fn replace(&mut self, kind: Kind, objects: Vec<Value>) -> Vec<ObjectError> {
        self.revision += 1;
        with_table!(&mut self, kind, table => {
            let mut before = std::mem::take(table);
            let errors: Vec<_> =
                objects.into_iter().filter_map(|object| insert(table, kind, object).err()).collect();
            for error in &errors {
                if let ObjectError::Malformed { namespace, name, .. } = error
                    && let Some(known) = before.get_mut(namespace).and_then(|names| names.remove(name))
                {
                    table.entry(namespace.clone()).or_default().insert(name.clone(), known);
                }
            }
            self.drop_strangers(kind);
            errors
        })
    }

    /// Takes in a pod of a workload that serves a model.
    pub fn apply_serving_pod(&mut self, id: &WorkloadId, pod: &Pod) {
        self.revision += u64::from(self.serving.apply(id, pod));
    }

    /// Keeps just these pods of it.
    pub fn keep_serving_pods(&mut self, id: &WorkloadId, keep: impl Fn(&str) -> bool) {
        self.revision += u64::from(self.serving.keep(id, keep));
    }

    /// All Calendars by name.
    pub fn calendars(&self) -> impl Iterator<Item = &CalendarObject> {
        self.calendars.values().flat_map(BTreeMap::values)
    }

    /// The EnvoyProxies whose number of proxies is Tidegate's.
    pub fn adopted_envoy_proxies(&self) -> impl Iterator<Item = EnvoyProxyId> {
        let all = self.envoy_proxies.values().flat_map(BTreeMap::values).map(|object| &object.metadata);
        let adopted = all.filter(|meta| meta.annotations.contains_key(ADOPTED_REPLICAS));
        adopted.map(|meta| EnvoyProxyId { namespace: meta.namespace.clone(), name: meta.name.clone() })
    }

    /// The Gateways that were told a status and ask for nothing any more.
    pub fn released_gateways(&self) -> impl Iterator<Item = GatewayId> {
        let all = self.gateways.values().flat_map(BTreeMap::values).map(|gateway| &gateway.metadata);
        let told = all.filter(|meta| meta.annotations.contains_key(STATUS) && !is_annotated(&meta.annotations));
        told.map(|meta| GatewayId { namespace: meta.namespace.clone(), name: meta.name.clone() })
    }

    /// All ScaledObjects, whoever made them, by namespace and name.
    pub fn scaled_objects(&self) -> impl Iterator<Item = &ScaledObject> {
        self.scaled.values().flat_map(BTreeMap::values)
    }

    /// One ScaledObject.
    pub fn scaled_object(&self, namespace: &str, name: &str) -> Option<&ScaledObject> {
        self.scaled.get(namespace)?.get(name)
    }

    /// What a Namespace says, which are defaults for what is in it; nothing where it is not known.
    pub(super) fn namespace_defaults(&self, namespace: &str) -> &Annotations {
        static NONE: Annotations = Annotations::new();
        let known = self.namespaces.get("").and_then(|names| names.get(namespace));
        known.map_or(&NONE, |namespace| &namespace.metadata.annotations)
    }

    /// Whether there may be a Namespace of this name: where none is known, nothing is known of them.
    pub fn may_have_namespace(&self, name: &str) -> bool {
        self.namespaces.get("").is_none_or(|names| names.contains_key(name))
    }

    /// What a workload's own object says, whether or not Tidegate manages it.
    pub fn workload(&self, id: &WorkloadId) -> Option<WorkloadState<'_>> {
        let table = self.workloads(id.kind);
        let workload = table.get(&id.namespace)?.get(&id.name)?;
        Some(WorkloadState {
            uid: &workload.metadata.uid,
            annotations: &workload.metadata.annotations,
            replicas: workload.replicas(),
            replicas_by: workload.metadata.replicas_by.as_deref(),
        })
    }

    /// For every workload that something other than Tidegate scales: what that is. HPAs that KEDA made for a
    /// ScaledObject are not listed, their ScaledObject is.
    pub fn foreign_scalers(&self) -> BTreeMap<WorkloadId, Vec<ForeignScaler>> {
        let mut foreign = BTreeMap::<_, Vec<_>>::new();
        let mut add = |namespace: &str, target: &views::ScaleTarget, scaler: ForeignScaler| {
            if let Some(id) = target.workload(namespace) {
                foreign.entry(id).or_default().push(scaler);
            }
        };
        for object in self.scaled_objects().filter(|object| !object.is_tidegates()) {
            let meta = &object.metadata;
            add(&meta.namespace, &object.target, ForeignScaler { kind: Kind::ScaledObject, name: meta.name.clone() });
        }
        for hpa in self.autoscalers.values().flat_map(BTreeMap::values) {
            if hpa.owning_scaled_object().is_none() {
                let scaler = ForeignScaler { kind: Kind::HorizontalPodAutoscaler, name: hpa.metadata.name.clone() };
                add(&hpa.metadata.namespace, &hpa.spec.scale_target_ref, scaler);
            }
        }
        foreign
    }

    /// How many objects of a kind are known.
    pub fn count(&self, kind: Kind) -> usize {
        with_table!(&self, kind, table => table.values().map(BTreeMap::len).sum())
    }

    pub(super) fn workloads(&self, kind: WorkloadKind) -> &Table<Workload> {
        match kind {
            WorkloadKind::Deployment => &self.deployments,
            WorkloadKind::StatefulSet => &self.stateful_sets,
        }
    }

    fn apply_as(&mut self, kind: Kind, object: Value) -> Result<(), ObjectError> {
        let changed = with_table!(&mut self, kind, table => insert(table, kind, object))?;
        self.revision += u64::from(changed);
        self.drop_strangers(kind);
        Ok(())
    }

    fn apply_envoy_gateway(&mut self, mut object: Value) -> Result<bool, ObjectError> {
        strip_nulls(&mut object);
        self.revision += 1;
        self.envoy_gateway = serde_json::from_value(object)
            .map_err(|_| ObjectError::NotAnObject("the EnvoyGateway configuration has a field of the wrong type"))?;
        Ok(true)
    }

    /// Of all pods, and of what owns pods, only proxies and their owners mean anything here.
    fn drop_strangers(&mut self, kind: Kind) {
        match kind {
            Kind::Pod => retain(&mut self.pods, |pod| pod.metadata.labels.are_of_a_proxy()),
            Kind::ReplicaSet => retain(&mut self.replica_sets, |set| set.metadata.labels.are_of_a_proxy()),
            Kind::DaemonSet if !self.manageable.daemon_sets => {
                retain(&mut self.daemon_sets, |set| set.pod_labels().are_of_a_proxy());
            }
            _ => {}
        }
    }
}

/// What a workload's own object says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorkloadState<'a> {
    /// `metadata.uid`; empty when it comes from a file
    pub uid: &'a str,
    /// Its annotations of Tidegate and KEDA
    pub annotations: &'a Annotations,
    /// `spec.replicas` and `status.readyReplicas`
    pub replicas: Replicas,
    /// The field manager that wrote `spec.replicas` last
    pub replicas_by: Option<&'a str>,
}

/// A ScaledObject or HPA that is not Tidegate's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignScaler {
    /// `ScaledObject` or `HorizontalPodAutoscaler`
    pub kind: Kind,
    /// Its name, in the workload's namespace
    pub name: String,
}

fn retain<T>(table: &mut Table<T>, keep: impl Fn(&T) -> bool) {
    table.retain(|_, names| {
        names.retain(|_, object| keep(object));
        !names.is_empty()
    });
}

/// Adds or replaces one object. Returns whether that changed anything.
fn insert<T: serde::de::DeserializeOwned + PartialEq>(
    table: &mut Table<T>,
    kind: Kind,
    mut object: Value,
) -> Result<bool, ObjectError> {
    strip_nulls(&mut object);
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
        return Err(ObjectError::NotAnObject("it has no metadata"));
    };
    let Some(name) = metadata.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
        return Err(ObjectError::NotAnObject("it has no metadata.name"));
    };
    let name = name.to_owned();
    let namespace = if kind.namespaced() {
        let given = metadata.get("namespace").and_then(Value::as_str);
        given.filter(|namespace| !namespace.is_empty()).unwrap_or("default").to_owned()
    } else {
        String::new()
    };
    metadata.insert("namespace".to_owned(), Value::String(namespace.clone()));
    match serde_json::from_value(object) {
        Ok(view) => {
            let names = table.entry(namespace).or_default();
            let changed = names.get(&name) != Some(&view);
            names.insert(name, view);
            Ok(changed)
        }
        Err(error) => Err(ObjectError::Malformed { kind, namespace, name, reason: error.to_string() }),
    }
}

/// In Kubernetes a null is an absent field.
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
