//! Envoy AI Gateway's routes and backends, and the Inference Extension's pools.

use std::time::Duration;

use serde::Deserialize;

use super::{BackendRef, Labels, Meta, ParentRef, Timeouts};

/// `AIGatewayRoute`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct AiGatewayRoute {
    pub(crate) metadata: Meta,
    pub(crate) spec: AiGatewayRouteSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AiGatewayRouteSpec {
    pub(crate) parent_refs: Vec<ParentRef>,
    pub(crate) hostnames: Vec<String>,
    pub(crate) rules: Vec<AiGatewayRouteRule>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AiGatewayRouteRule {
    pub(crate) name: Option<String>,
    matches: Vec<AiMatch>,
    pub(crate) backend_refs: Vec<AiBackendRef>,
    timeouts: Option<Timeouts>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct AiMatch {
    headers: Vec<HeaderMatch>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct HeaderMatch {
    r#type: Option<String>,
    name: String,
    value: String,
}

/// A backend of a rule: an AIServiceBackend by default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AiBackendRef {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) model_name_override: Option<String>,
    pub(crate) weight: u32,
    pub(crate) priority: u32,
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
    pub(crate) fn is_pool(&self) -> bool {
        self.kind.as_deref() == Some("InferencePool")
    }

    /// The namespace; by default the route's own.
    pub(crate) fn namespace<'a>(&'a self, route: &'a str) -> &'a str {
        super::route::non_empty(self.namespace.as_deref()).unwrap_or(route)
    }
}

/// The header into which the AI gateway writes the model of a request, for routes to match.
const MODEL_HEADER: &str = "x-ai-eg-model";

impl AiGatewayRouteRule {
    /// The models that the rule matches; empty when it matches any, or when this cannot be determined.
    pub(crate) fn models(&self) -> Vec<String> {
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

    /// The time-outs of the generated rule: 60 s where none is set (`GetTimeoutsOrDefault`).
    pub(crate) fn timeouts(&self) -> Timeouts {
        let given = self.timeouts.unwrap_or_default();
        Timeouts { request: given.request.or(Some(Duration::from_secs(60))), ..given }
    }
}

/// `AIServiceBackend`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct AiServiceBackend {
    pub(crate) metadata: Meta,
    pub(crate) spec: AiServiceBackendSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AiServiceBackendSpec {
    pub(crate) backend_ref: BackendRef,
}

/// `InferencePool`, of `inference.networking.k8s.io` and of the group before it
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct InferencePool {
    pub(crate) metadata: Meta,
    pub(crate) spec: InferencePoolSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct InferencePoolSpec {
    pub(crate) selector: PoolSelector,
}

/// Selector of pods by label: under `matchLabels` since v1, plain labels before.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum PoolSelector {
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
    pub(crate) fn selector(&self) -> &Labels {
        match &self.spec.selector {
            PoolSelector::Selector { match_labels } => match_labels,
            PoolSelector::Plain(labels) => labels,
        }
    }
}
