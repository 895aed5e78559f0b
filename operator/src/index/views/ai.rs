//! Envoy AI Gateway's routes and backends, and the Inference Extension's pools.

use serde::Deserialize;

use super::{BackendRef, Labels, Meta, ParentRef};

/// `AIGatewayRoute`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct AiGatewayRoute {
    pub(in crate::index) metadata: Meta,
    pub(in crate::index) spec: AiGatewayRouteSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct AiGatewayRouteSpec {
    pub(in crate::index) parent_refs: Vec<ParentRef>,
    pub(in crate::index) hostnames: Vec<String>,
    pub(in crate::index) rules: Vec<AiGatewayRouteRule>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct AiGatewayRouteRule {
    pub(in crate::index) name: Option<String>,
    matches: Vec<AiMatch>,
    pub(in crate::index) backend_refs: Vec<AiBackendRef>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct AiMatch {
    headers: Vec<HeaderMatch>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct HeaderMatch {
    r#type: Option<String>,
    name: String,
    value: String,
}

/// A backend of a rule: an AIServiceBackend where nothing else is said.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct AiBackendRef {
    pub(in crate::index) name: String,
    pub(in crate::index) namespace: Option<String>,
    pub(in crate::index) group: Option<String>,
    pub(in crate::index) kind: Option<String>,
    pub(in crate::index) model_name_override: Option<String>,
    pub(in crate::index) weight: u32,
    pub(in crate::index) priority: u32,
}

impl Default for AiBackendRef {
    fn default() -> Self {
        Self {
            name: String::new(),
            namespace: None,
            group: None,
            kind: None,
            model_name_override: None,
            weight: 1,
            priority: 0,
        }
    }
}

impl AiBackendRef {
    /// Whether it is a pool of pods instead of an AIServiceBackend.
    pub(in crate::index) fn is_pool(&self) -> bool {
        self.kind.as_deref() == Some("InferencePool")
    }

    /// The namespace, the route's own when the reference does not say.
    pub(in crate::index) fn namespace<'a>(&'a self, route: &'a str) -> &'a str {
        super::route::non_empty(self.namespace.as_deref()).unwrap_or(route)
    }
}

/// The header into which the AI gateway writes the model of a request, for routes to match.
const MODEL_HEADER: &str = "x-ai-eg-model";

impl AiGatewayRouteRule {
    /// The models that the rule takes; empty where it takes any, or where that cannot be told.
    pub(in crate::index) fn models(&self) -> Vec<String> {
        let model = |matched: &AiMatch| {
            let header = matched.headers.iter().find(|header| header.name.eq_ignore_ascii_case(MODEL_HEADER))?;
            let exact = header.r#type.as_deref().is_none_or(|kind| kind.is_empty() || kind == "Exact");
            exact.then(|| header.value.clone())
        };
        let mut models: Vec<_> = self.matches.iter().map(model).collect::<Option<_>>().unwrap_or_default();
        models.sort_unstable();
        models.dedup();
        models
    }
}

/// `AIServiceBackend`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct AiServiceBackend {
    pub(in crate::index) metadata: Meta,
    pub(in crate::index) spec: AiServiceBackendSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct AiServiceBackendSpec {
    pub(in crate::index) backend_ref: BackendRef,
}

/// `InferencePool`, of `inference.networking.k8s.io` and of the group before it
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct InferencePool {
    pub(in crate::index) metadata: Meta,
    pub(in crate::index) spec: InferencePoolSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct InferencePoolSpec {
    pub(in crate::index) selector: PoolSelector,
}

/// Labels of pods: as `matchLabels` since v1, and plain before.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(in crate::index) enum PoolSelector {
    #[serde(rename_all = "camelCase")]
    Selector {
        match_labels: Labels,
    },
    Plain(Labels),
}

impl Default for PoolSelector {
    fn default() -> Self {
        Self::Plain(Labels::default())
    }
}

impl InferencePool {
    /// The labels of its pods.
    pub(in crate::index) fn selector(&self) -> &Labels {
        match &self.spec.selector {
            PoolSelector::Selector { match_labels } => match_labels,
            PoolSelector::Plain(labels) => labels,
        }
    }
}
