//! The objects that annotations are for.

use std::fmt;

use serde_json::Value;

use super::fields::{Object, text};
use crate::unscaled::{REPLICATION_CONTROLLER, is_gone};

/// The object that annotations are for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) namespace: Option<String>,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) api_version: String,
}

impl Target {
    /// What a `scaleTargetRef` names; a Deployment where it gives no kind.
    pub(super) fn of_reference(object: &Object<'_>, reference: &Value) -> Option<Self> {
        let name = text(reference, "name").filter(|name| !name.is_empty())?.to_owned();
        let kind = text(reference, "kind").filter(|kind| !kind.is_empty()).unwrap_or("Deployment").to_owned();
        let given = text(reference, "apiVersion").filter(|version| !version.is_empty());
        let api_version = given.filter(|version| !is_gone(version)).unwrap_or("apps/v1");
        Some(Self { namespace: object.namespace.map(str::to_owned), kind, name, api_version: api_version.to_owned() })
    }

    /// Another object of the same namespace.
    pub(super) fn beside(object: &Object<'_>, api_version: &str, kind: &str, name: &str) -> Self {
        let namespace = object.namespace.map(str::to_owned);
        Self { namespace, kind: kind.to_owned(), name: name.to_owned(), api_version: api_version.to_owned() }
    }

    /// A Namespace.
    pub(super) fn namespace(name: &str) -> Self {
        Self { namespace: None, kind: "Namespace".to_owned(), name: name.to_owned(), api_version: "v1".to_owned() }
    }

    /// The object itself.
    pub(super) fn itself(object: &Object<'_>) -> Self {
        Self::beside(object, object.api_version, object.kind, object.name)
    }

    /// Whether Tidegate scales objects of this kind without further settings.
    pub(super) fn is_workload(&self) -> bool {
        self.api_version == "apps/v1" && (self.kind == "Deployment" || self.kind == "StatefulSet")
    }

    /// Why Tidegate does not scale it, whatever its settings.
    pub(super) fn never_scaled(&self) -> Option<String> {
        match (self.api_version.contains('/'), &*self.kind) {
            (false, "ReplicationController") => Some(format!("{self} is not scaled. {REPLICATION_CONTROLLER}")),
            (false, _) => Some(format!(
                "{self} is not scaled: no kind of {} but ReplicationController has replicas (a Deployment is of apps/v1)",
                self.api_version
            )),
            (true, _) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named(f, &self.kind, self.namespace.as_deref(), &self.name)
    }
}

/// `Deployment shop/api`
pub(super) fn named(f: &mut impl fmt::Write, kind: &str, namespace: Option<&str>, name: &str) -> fmt::Result {
    match namespace {
        Some(namespace) => write!(f, "{kind} {namespace}/{name}"),
        None => write!(f, "{kind} {name}"),
    }
}
