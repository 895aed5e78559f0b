//! The state: all relevant objects, as small views.

use std::collections::{BTreeMap, BTreeSet};

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
    envoy_gateways::{self, EnvoyGateways},
    kind::{Kind, for_all_kinds},
    lenient::Misread,
    serving::ServingPods,
    table::{AnyTable, ObjectError, Reading, Table},
    views::{self, CalendarObject, ScaledObject, Workload},
};

macro_rules! objects {
    ($($variant:ident $name:literal $plural:literal $group:literal [$($version:literal),+] $namespaced:literal $table:ident $view:ident;)*) => {
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
            $(pub(super) $table: Table<views::$view>,)*
            pub(super) serving: ServingPods,
            pub(super) envoy_gateways: EnvoyGateways,
            pub(super) proxy_namespaces: ProxyNamespaces,
            pub(super) manageable: Managed,
            activates: bool,
            /// Workloads that are neither Deployments nor StatefulSets
            other_workloads: BTreeMap<WorkloadKind, Table<Workload>>,
            scaled_kinds: ScaledKinds,
            revision: u64,
        }

        impl Objects {
            fn table(&self, kind: Kind) -> &dyn AnyTable {
                match kind { $(Kind::$variant => &self.$table,)* Kind::Scaled(kind) => self.workloads(kind) }
            }

            fn table_mut(&mut self, kind: Kind) -> &mut dyn AnyTable {
                match kind {
                    $(Kind::$variant => &mut self.$table,)*
                    Kind::Scaled(kind) => self.other_workloads.entry(kind).or_default(),
                }
            }
        }
    };
}

for_all_kinds!(objects);

/// The namespaces in which Envoy Gateway runs the proxies of any Gateway.
#[derive(Debug)]
pub(super) struct ProxyNamespaces(pub(super) Vec<String>);

impl Default for ProxyNamespaces {
    fn default() -> Self {
        Self(vec!["envoy-gateway-system".to_owned()])
    }
}

/// The kinds of workload that are scaled. By default all that are known: files do not show which of them a release may read.
#[derive(Debug)]
struct ScaledKinds(BTreeSet<WorkloadKind>);

impl Default for ScaledKinds {
    fn default() -> Self {
        Self(WorkloadKind::all().collect())
    }
}

impl Objects {
    /// Adds or replaces one object, of any version of its kind. Returns `Ok(false)`, and keeps nothing, for a kind that is not
    /// read. A namespaced object without a namespace goes to `default`, as with `kubectl apply`.
    pub fn apply(&mut self, object: Value) -> Result<bool, ObjectError> {
        self.take(object, Reading::Strict).map(|misread| misread.is_some())
    }

    /// As [`Self::apply`], but a field of the wrong type does not refuse the object: it is read without the field. Returns all such
    /// fields, or `None` for a kind that is not read.
    pub fn apply_leniently(&mut self, object: Value) -> Result<Option<Vec<Misread>>, ObjectError> {
        self.take(object, Reading::Lenient)
    }

    fn take(&mut self, object: Value, reading: Reading) -> Result<Option<Vec<Misread>>, ObjectError> {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if kind.is_empty() {
            return Err(ObjectError::NotAnObject("it has no kind"));
        }
        if envoy_gateways::is_configuration(&object) {
            let inserted = self.envoy_gateways.apply(object)?;
            self.revision += u64::from(inserted.changed);
            return Ok(Some(inserted.misread));
        }
        match Kind::of(api_version, kind) {
            Some(Kind::Scaled(kind)) if !self.scales(kind) => Ok(None),
            Some(Kind::ReplicaSet) if self.scales(WorkloadKind::ReplicaSet) => {
                let misread = self.insert(Kind::Scaled(WorkloadKind::ReplicaSet), object.clone(), reading)?;
                self.insert(Kind::ReplicaSet, object, reading)?;
                Ok(Some(misread))
            }
            Some(kind) => self.insert(kind, object, reading).map(Some),
            None => Ok(None),
        }
    }

    /// Sets which kinds of workload are scaled, besides Deployments and StatefulSets; all that are known when not called.
    pub fn set_scaled_kinds(&mut self, kinds: &[WorkloadKind]) {
        self.scaled_kinds = ScaledKinds(WorkloadKind::ALWAYS.iter().chain(kinds).copied().collect());
        self.revision += 1;
    }

    /// Adds a kind of workload to those that are scaled: all of its objects were seen.
    pub fn add_scaled_kind(&mut self, kind: WorkloadKind) {
        self.revision += u64::from(self.scaled_kinds.0.insert(kind));
    }

    /// Whether workloads of this kind are scaled, so that one which is not known here does not exist.
    pub fn scales(&self, kind: WorkloadKind) -> bool {
        self.scaled_kinds.0.contains(&kind)
    }

    /// Sets the namespaces in which Envoy Gateway runs the proxies of any Gateway; `envoy-gateway-system` when not called. In
    /// any other namespace a pod can be a proxy only of a Gateway of that namespace.
    pub fn set_proxy_namespaces(&mut self, namespaces: Vec<String>) {
        self.proxy_namespaces = ProxyNamespaces(namespaces);
        self.revision += 1;
    }

    /// Names controllers of Envoy Gateways whose configuration is not known, besides those that are.
    pub fn set_controller_names(&mut self, names: Vec<String>) {
        self.envoy_gateways.set_controller_names(names);
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

    /// Whether requests to workloads without replicas are held.
    pub fn activates(&self) -> bool {
        self.activates
    }

    /// Sets whether requests to workloads without replicas are held; they are not when not called.
    pub fn set_activates(&mut self, activates: bool) {
        self.activates = activates;
        self.revision += 1;
    }

    /// Grows with every change of a field that is read here, in any object. A change of a status that is not read does not affect it.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Forgets one object. `namespace` is ignored for kinds that have none.
    pub fn remove(&mut self, kind: Kind, namespace: &str, name: &str) {
        let namespace = if kind.namespaced() { namespace } else { "" };
        let removed = self.table_mut(kind).remove_object(namespace, name);
        self.revision += u64::from(removed);
    }

    /// Forgets the objects of a kind that are not in a list of this namespace, or of all namespaces: they were deleted in a gap of the
    /// watch.
    pub fn keep_listed(&mut self, kind: Kind, namespace: Option<&str>, is_listed: impl Fn(&str, &str) -> bool) {
        let removed = self.table_mut(kind).keep_listed(namespace, &is_listed);
        self.revision += u64::from(removed);
    }

    /// Adds or updates a pod of a workload that serves a model.
    pub fn apply_serving_pod(&mut self, id: &WorkloadId, pod: &Pod) {
        self.revision += u64::from(self.serving.apply(id, pod));
    }

    /// Forgets those of its pods for which `keep` returns false.
    pub fn keep_serving_pods(&mut self, id: &WorkloadId, keep: impl Fn(&str) -> bool) {
        self.revision += u64::from(self.serving.keep(id, keep));
    }

    /// All Calendars by name.
    pub fn calendars(&self) -> impl Iterator<Item = &CalendarObject> {
        self.calendars.values().flat_map(BTreeMap::values)
    }

    /// The EnvoyProxies whose number of proxies Tidegate manages.
    pub fn adopted_envoy_proxies(&self) -> impl Iterator<Item = EnvoyProxyId> {
        let all = self.envoy_proxies.values().flat_map(BTreeMap::values).map(|object| &object.metadata);
        let adopted = all.filter(|meta| meta.annotations.contains_key(ADOPTED_REPLICAS));
        adopted.map(|meta| EnvoyProxyId { namespace: meta.namespace.clone(), name: meta.name.clone() })
    }

    /// The Gateways that carry a status from Tidegate and ask for nothing any more.
    pub fn released_gateways(&self) -> impl Iterator<Item = GatewayId> {
        let all = self.gateways.values().flat_map(BTreeMap::values).map(|gateway| &gateway.metadata);
        let told = all.filter(|meta| meta.annotations.contains_key(STATUS) && !is_annotated(&meta.annotations));
        told.map(|meta| GatewayId { namespace: meta.namespace.clone(), name: meta.name.clone() })
    }

    /// All ScaledObjects, Tidegate's and others', by namespace and name.
    pub fn scaled_objects(&self) -> impl Iterator<Item = &ScaledObject> {
        self.scaled.values().flat_map(BTreeMap::values)
    }

    /// One ScaledObject.
    pub fn scaled_object(&self, namespace: &str, name: &str) -> Option<&ScaledObject> {
        self.scaled.get(namespace)?.get(name)
    }

    /// The annotations of a Namespace, which are defaults for the objects in it; none for an unknown Namespace.
    pub(super) fn namespace_defaults(&self, namespace: &str) -> &Annotations {
        static NONE: Annotations = Annotations::new();
        let known = self.namespaces.get("").and_then(|names| names.get(namespace));
        known.map_or(&NONE, |namespace| &namespace.metadata.annotations)
    }

    /// Whether there may be a Namespace of this name: always, when no Namespaces are known at all.
    pub fn may_have_namespace(&self, name: &str) -> bool {
        self.namespaces.get("").is_none_or(|names| names.contains_key(name))
    }

    /// The state of a workload's own object, whether or not Tidegate manages it.
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

    /// The scalers besides Tidegate, by the workload that they scale. An HPA that KEDA created for a ScaledObject is not listed;
    /// its ScaledObject is.
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

    /// The number of known objects of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.table(kind).count()
    }

    pub(super) fn workloads(&self, kind: WorkloadKind) -> &Table<Workload> {
        static NONE: Table<Workload> = Table::new();
        match kind {
            WorkloadKind::Deployment => &self.deployments,
            WorkloadKind::StatefulSet => &self.stateful_sets,
            other => self.other_workloads.get(&other).unwrap_or(&NONE),
        }
    }

    /// The workloads of each kind, in the order of the kinds.
    pub(super) fn workload_tables(&self) -> impl Iterator<Item = (WorkloadKind, &Table<Workload>)> {
        let others = self.other_workloads.iter().map(|(kind, table)| (*kind, table));
        WorkloadKind::ALWAYS.into_iter().map(|kind| (kind, self.workloads(kind))).chain(others)
    }

    /// The workload that has the pod template of this one: itself, or the Deployment that an Argo Rollout refers to.
    pub(super) fn with_template_of<'a>(&'a self, namespace: &str, workload: &'a Workload) -> &'a Workload {
        let referenced = workload.referenced_deployment();
        referenced.and_then(|name| self.deployments.get(namespace)?.get(name)).unwrap_or(workload)
    }

    /// Adds or replaces one object of this kind, as a watch of the kind sees it.
    pub fn apply_as(&mut self, kind: Kind, object: Value) -> Result<(), ObjectError> {
        self.insert(kind, object, Reading::Strict).map(|_| ())
    }

    fn insert(&mut self, kind: Kind, object: Value, reading: Reading) -> Result<Vec<Misread>, ObjectError> {
        if is_anothers(kind, &object) {
            let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("default");
            self.remove(kind, text("/metadata/namespace"), text("/metadata/name"));
            return Ok(Vec::new());
        }
        let inserted = self.table_mut(kind).insert_object(kind, object, reading)?;
        self.revision += u64::from(inserted.changed);
        self.drop_strangers(kind);
        Ok(inserted.misread)
    }

    /// Drops all pods, and owners of pods, except proxies and their owners.
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

/// The state of a workload's own object.
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

/// Whether this is a ReplicaSet that is no workload of its own, because a Deployment or Rollout controls it.
fn is_anothers(kind: Kind, object: &Value) -> bool {
    let owners = || object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    kind == Kind::Scaled(WorkloadKind::ReplicaSet) && owners().any(|owner| owner["controller"] == true)
}

fn retain<T>(table: &mut Table<T>, keep: impl Fn(&T) -> bool) {
    table.retain(|_, names| {
        names.retain(|_, object| keep(object));
        !names.is_empty()
    });
}

#[cfg(test)]
mod tests;
