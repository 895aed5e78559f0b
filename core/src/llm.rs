//! Models behind an AI gateway: its rules for them, its counts of their tokens, and the share of these that belongs to a workload.
//!
//! Envoy AI Gateway counts tokens by the names of the model: the one that the client asked for, and the one that the backend was
//! asked for (`internal/metrics/metrics_impl.go`; no release names the backend itself). Tokens that these do not tell apart are
//! shared by weight.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    ids::{RouteRef, ServiceId},
    key::Key,
    signal::{Family, Signal, Target},
    value::{self, ReadKeys},
};

/// The intent for a workload that serves a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelIntent {
    /// The model's name in requests; taken from routes where it is `None`
    pub name: Option<String>,
    /// Time until a replica is ready; measured where it is `None`
    pub startup_time: Option<Duration>,
}

impl ModelIntent {
    /// `None` when no target is about a model.
    pub(crate) fn read(keys: &mut impl ReadKeys, targets: &[Target]) -> Option<Self> {
        let name = keys.read(Key::Model, value::text);
        let startup_time = keys.read(Key::StartupTime, value::startup_time);
        let serves = targets.iter().any(|target| is_of_models(target.signal));
        serves.then_some(Self { name, startup_time })
    }
}

fn is_of_models(signal: Signal) -> bool {
    matches!(signal.family(), Family::Tokens | Family::ModelServers)
}

/// A rule of an AIGatewayRoute.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AiRule {
    /// The rule; its kind is `AIGatewayRoute`
    pub route: RouteRef,
    /// The models in requests that the rule matches; empty where it matches any
    pub models: Vec<String>,
    /// The backends that get the requests
    pub backends: Vec<AiBackend>,
    /// The proxy sets that its requests come through, named as in [`crate::fleet`]; empty where these are unknown
    pub fleets: Vec<Arc<str>>,
}

/// A backend of a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AiBackend {
    /// Namespace and name of the AIServiceBackend or the InferencePool: `llm/qwen`
    pub name: String,
    /// `modelNameOverride`: the model that it is asked for instead
    pub model: Option<String>,
    /// Its weight among the backends of its priority
    pub weight: u32,
    /// Its priority: backends of a higher number stand in when all of a lower one fail
    pub priority: u32,
    /// The servers that answer its requests
    pub destination: Destination,
}

/// The servers that answer the requests of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Destination {
    /// The pods of a Service
    Service(ServiceId),
    /// The pods of an InferencePool
    Pool(ServiceId),
    /// A server outside the cluster, by host name
    External(String),
    /// None: the reference leads to nothing that is known
    Nobody,
}

/// The names under which an AI gateway counts tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenNames {
    /// `gen_ai.original.model`: the model that the client asked for; empty where it is not reported
    pub original: Arc<str>,
    /// `gen_ai.request.model`: the model that the backend was asked for
    pub request: Arc<str>,
    /// `gen_ai.provider.name`: the schema that the backend speaks
    pub provider: Arc<str>,
    /// The proxy set that counted the tokens, named as in [`crate::fleet`]; empty where it is unknown
    pub fleet: Arc<str>,
}

impl AiRule {
    /// The share, from 0 to 1, of the tokens counted under these names that the backend of this index served.
    pub fn part(&self, backend: usize, names: &TokenNames) -> f64 {
        let Some(own) = self.backends.get(backend).filter(|_| self.takes(names)) else { return 0.0 };
        if !self.asks(own, names) {
            return 0.0;
        }
        // Of the backends that are asked for the same model, those that only stand in have no share, as far as these names show.
        let alike = || self.backends.iter().filter(|other| other.weight > 0 && self.asks(other, names));
        let first = alike().map(|other| other.priority).min();
        if first != Some(own.priority) {
            return 0.0;
        }
        let all: u64 =
            alike().filter(|other| other.priority == own.priority).map(|other| u64::from(other.weight)).sum();
        if all == 0 { 0.0 } else { f64::from(own.weight) / all as f64 }
    }

    /// The share of the rule's requests that a backend gets while all backends are healthy, from 0 to 1.
    pub fn nominal(&self, backend: usize) -> f64 {
        let first = self.backends.iter().filter(|other| other.weight > 0).map(|other| other.priority).min();
        let foremost = self.backends.iter().filter(|other| Some(other.priority) == first);
        let all: u64 = foremost.map(|other| u64::from(other.weight)).sum();
        match self.backends.get(backend) {
            Some(own) if Some(own.priority) == first && all > 0 => f64::from(own.weight) / all as f64,
            _ => 0.0,
        }
    }

    /// The models that a backend is asked for; empty where it may be any.
    pub fn asked_for(&self, backend: usize) -> &[String] {
        match self.backends.get(backend).map(|backend| &backend.model) {
            Some(Some(model)) => std::slice::from_ref(model),
            Some(None) => &self.models,
            None => &[],
        }
    }

    fn takes(&self, names: &TokenNames) -> bool {
        (names.original.is_empty() || self.has(&names.original)) && self.sees(&names.fleet)
    }

    /// Whether the rule is on this proxy set: models have the same names in many namespaces, and behind many Gateways.
    fn sees(&self, fleet: &Arc<str>) -> bool {
        fleet.is_empty() || self.fleets.is_empty() || self.fleets.contains(fleet)
    }

    /// Without an override, a backend is asked for the model that the client asked for.
    fn asks(&self, backend: &AiBackend, names: &TokenNames) -> bool {
        match &backend.model {
            Some(model) => **model == *names.request,
            None if names.original.is_empty() => self.has(&names.request),
            None => names.original == names.request,
        }
    }

    fn has(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|known| known == model)
    }
}

/// The share of a model's tokens that belongs to one workload.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelShare {
    /// All tokens that are counted under this name, from the annotation `tidegate.dev/model`
    Named(String),
    /// The tokens of one backend of a rule
    Routed {
        /// The rule
        rule: Arc<AiRule>,
        /// The index of the backend in the rule
        backend: usize,
        /// This workload's share of the backend, from 0 to 1
        of_backend: f64,
    },
}

impl ModelShare {
    /// The share, from 0 to 1, of the tokens counted under these names.
    pub fn part(&self, names: &TokenNames) -> f64 {
        match self {
            Self::Named(model) => f64::from(u8::from(**model == *names.request)),
            Self::Routed { rule, backend, of_backend } => rule.part(*backend, names) * of_backend,
        }
    }

    /// The models that the backend is asked for; empty where it may be any.
    pub fn asked_for(&self) -> &[String] {
        match self {
            Self::Named(model) => std::slice::from_ref(model),
            Self::Routed { rule, backend, .. } => rule.asked_for(*backend),
        }
    }
}

/// A workload's share of the tokens counted under these names. Two rules that lead the same model to it are not added up: the
/// larger share applies.
pub fn part_of(shares: &[ModelShare], names: &TokenNames) -> f64 {
    shares.iter().map(|share| share.part(names)).fold(0.0, f64::max)
}

/// The part of a proxy that counts tokens: the AI gateway's external processor in the same pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AiGateway {
    /// Namespace and name of the pod, or how it was named on the command line
    pub name: String,
    /// The address at which it serves `/metrics`
    pub metrics: SocketAddr,
    /// Whether it gets new traffic
    pub ready: bool,
    /// Its proxy set, named as in [`crate::fleet`]
    pub fleet: Option<Arc<str>>,
}

/// A pod of a workload that serves a model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServingPod {
    /// `metadata.name`
    pub name: String,
    /// The address at which it serves its metrics, once it has one
    pub metrics: Option<SocketAddr>,
    /// The path of its metrics, such as `/metrics`
    pub path: Arc<str>,
    /// Whether it takes requests
    pub ready: bool,
    /// When it was created
    pub created: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_startup_time_needs_one_of_the_signals_of_models() {
        let signals = Signal::ALL.into_iter().filter(|signal| is_of_models(*signal));
        assert_eq!(Key::StartupTime.needs(), signals.filter_map(Signal::target_key).collect::<Vec<_>>());
    }

    fn backend(name: &str, model: Option<&str>, weight: u32, priority: u32) -> AiBackend {
        let destination = Destination::External("api.openai.com".into());
        AiBackend { name: name.into(), model: model.map(ToOwned::to_owned), weight, priority, destination }
    }

    fn rule(models: &[&str], backends: Vec<AiBackend>) -> AiRule {
        let route =
            RouteRef { kind: "AIGatewayRoute".into(), namespace: "llm".into(), name: "chat".into(), rule: Some(0) };
        AiRule { route, models: models.iter().map(|model| (*model).to_owned()).collect(), backends, fleets: Vec::new() }
    }

    fn counted(original: &str, request: &str) -> TokenNames {
        TokenNames {
            original: original.into(),
            request: request.into(),
            provider: "openai".into(),
            ..TokenNames::default()
        }
    }

    #[test]
    fn a_fallback_is_told_apart_by_the_name_that_it_is_asked_for() {
        let rule =
            rule(&["gpt-4o"], vec![backend("llm/openai", None, 1, 0), backend("llm/qwen", Some("qwen3-8b"), 1, 1)]);
        let parts = |names: &TokenNames| (rule.part(0, names), rule.part(1, names));
        assert_eq!(parts(&counted("gpt-4o", "gpt-4o")), (1.0, 0.0));
        assert_eq!(parts(&counted("gpt-4o", "qwen3-8b")), (0.0, 1.0));
        assert_eq!(parts(&counted("other", "qwen3-8b")), (0.0, 0.0), "another rule's");
        assert_eq!(parts(&counted("", "qwen3-8b")).1, 1.0, "gateways before 0.4 do not tell what was asked for");
        assert_eq!((rule.nominal(0), rule.nominal(1)), (1.0, 0.0));
    }

    #[test]
    fn what_cannot_be_told_apart_is_shared_by_weight_among_the_foremost() {
        let backends =
            vec![backend("llm/a", None, 90, 0), backend("llm/b", None, 10, 0), backend("llm/c", None, 50, 1)];
        let rule = rule(&["m"], backends);
        let names = counted("m", "m");
        assert_eq!([0, 1, 2].map(|index| rule.part(index, &names)), [0.9, 0.1, 0.0]);
        assert_eq!(rule.part(3, &names), 0.0);
    }

    #[test]
    fn two_routes_to_one_model_count_its_tokens_once() {
        let (a, b) =
            (rule(&["m"], vec![backend("llm/a", None, 1, 0)]), rule(&["m"], vec![backend("llm/a", None, 1, 0)]));
        let routed = |rule: AiRule| ModelShare::Routed { rule: Arc::new(rule), backend: 0, of_backend: 1.0 };
        assert_eq!(part_of(&[routed(a), routed(b)], &counted("m", "m")), 1.0);
    }

    #[test]
    fn a_model_of_the_same_name_behind_another_gateway_is_another() {
        let own = AiRule { fleets: vec!["gateway/a/ai".into()], ..rule(&["m"], vec![backend("a/m", None, 1, 0)]) };
        let by = |fleet: &str| TokenNames { fleet: fleet.into(), ..counted("m", "m") };
        let parts = ["gateway/a/ai", "gateway/b/ai", ""].map(|fleet| own.part(0, &by(fleet)));
        assert_eq!(parts, [1.0, 0.0, 1.0], "who does not say where it counts may count anywhere");
    }

    #[test]
    fn a_named_model_is_whole_whatever_the_routes() {
        let named = ModelShare::Named("qwen3-8b".into());
        assert_eq!(part_of(std::slice::from_ref(&named), &counted("gpt-4o", "qwen3-8b")), 1.0);
        assert_eq!(part_of(&[named], &counted("qwen3-8b", "gpt-4o")), 0.0);
    }
}
