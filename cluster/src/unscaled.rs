//! Objects with annotations of Tidegate whose kind is not scaled.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;
use tidegate_core::{key::PREFIX, workload::WorkloadKind};

/// Most objects that are noted.
const MOST: usize = 1000;

/// The objects that were noted, with their `apiVersion`, by kind, namespace and name.
#[derive(Debug, Default)]
pub(crate) struct Unscaled(BTreeMap<(String, String, String), String>);

impl Unscaled {
    /// Notes an object of a kind that is not scaled, if it asks for something all the same.
    pub(crate) fn note(&mut self, object: &Value) {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
        let asks = annotations.is_some_and(|all| all.keys().any(|key| key.starts_with(PREFIX)));
        if asks && self.0.len() < MOST {
            self.0.insert((text("/kind"), text("/metadata/namespace"), text("/metadata/name")), text("/apiVersion"));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = NotScaled> {
        self.0.iter().map(|((kind, namespace, name), api_version)| {
            let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
            NotScaled {
                object: format!("{kind} {namespace}{name}"),
                api_version: api_version.clone(),
                kind: kind.clone(),
            }
        })
    }
}

/// An object that is annotated, but of a kind that is not scaled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotScaled {
    /// `Rollout shop/api`
    pub object: String,
    /// Its `apiVersion`
    pub api_version: String,
    /// Its kind
    pub kind: String,
}

impl fmt::Display for NotScaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, api_version, kind } = self;
        write!(f, "{object} is annotated, but kind {kind} is not scaled: ")?;
        if let Some(known) = WorkloadKind::of(api_version, kind) {
            return write!(f, "add {} to scaleKinds in the chart's values", known.resource());
        }
        if api_version.starts_with("serving.kserve.io/") {
            return f.write_str(
                "it has no scale subresource. KServe copies its annotations to the Deployments that it makes in Standard \
                 (RawDeployment) mode, and those are scaled; serving.kserve.io/autoscalerClass: external keeps KServe's own HPA away",
            );
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if group == "extensions" {
            return write!(f, "Kubernetes has not served {api_version} since 1.16; write apps/v1");
        }
        f.write_str("annotate the Deployment, StatefulSet or other workload whose replicas serve")?;
        if group.is_empty() {
            return Ok(());
        }
        write!(
            f,
            "; or, where {kind} itself has the scale subresource, add PLURAL.{group}/{version}/{kind} to scaleKinds in the chart's values"
        )
    }
}
