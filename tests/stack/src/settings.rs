//! Settings of a stack. The owner writes them to a file; the process inside the namespaces reads it.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::peers::{Cache, Peer};

/// A part of the stack that can be left out or added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Component {
    /// KEDA: operator, metrics adapter and admission webhooks.
    Keda,
    /// KEDA's HTTP add-on beside KEDA: its operator, its external scaler, and its interceptor at
    /// keda-add-ons-http-interceptor-proxy.keda.svc:8080.
    HttpAddOn,
    /// Envoy Gateway, the GatewayClass `eg`, and proxy pods that are real Envoys.
    EnvoyGateway,
    /// The command `helm`.
    Helm,
    /// A Prometheus at prometheus.monitoring.svc:9090 that scrapes the proxy pods and Tidegate every second.
    Prometheus,
    /// A Kafka broker at kafka.messaging.svc:9092, and the command `kafka CLASS ARGUMENTS…`.
    Kafka,
    /// metrics-server, which serves the CPU and memory of pods: those that their annotations `kwok.x-k8s.io/usage-cpu` and
    /// `kwok.x-k8s.io/usage-memory` name.
    MetricsServer,
    /// The controller of Argo Rollouts, and its CRDs.
    ArgoRollouts,
    /// Envoy's rate limit service, which Envoy Gateway deploys, and the Redis at redis.redis-system.svc:6379 that it counts in:
    /// without them every request passes a global limit.
    Ratelimit,
    /// cert-manager's controllers with self-signed and CA issuers, without ACME and without its webhook.
    CertManager,
    /// Envoy AI Gateway beside Envoy Gateway: its controller, and its side-car in the proxies of AIGatewayRoutes.
    AiGateway,
    /// llama.cpp's server, with random weights, in pods with the image `ghcr.io/ggml-org/llama.cpp`.
    LlamaCpp,
    /// The CRDs of what `examples/` names and no other part has: Argo CD, Flux, the Prometheus operator.
    ExampleCrds,
}

/// The peers of [`Component::ExampleCrds`].
pub(crate) const EXAMPLE_CRDS: &[&str] =
    &["argo-cd-crds", "flux-kustomize-crds", "flux-source-crds", "prometheus-operator-crds"];

/// Speed of the HPA controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Profile {
    /// For tests: the HPA syncs every second, and scales down after one second.
    #[default]
    Fast,
    /// The defaults of Kubernetes: the HPA syncs every 15 seconds, and scales down after five minutes.
    Stock,
}

impl Profile {
    /// `--horizontal-pod-autoscaler-sync-period` and `…-downscale-stabilization`.
    pub(crate) fn hpa(self) -> (&'static str, &'static str) {
        match self {
            Self::Fast => ("1s", "1s"),
            Self::Stock => ("15s", "300s"),
        }
    }
}

/// A stack to boot.
#[derive(Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The optional parts.
    pub components: Vec<Component>,
    /// The speed of the HPA.
    pub profile: Profile,
    /// The command to run inside.
    pub command: Vec<String>,
    /// Folder of `tidegate`, `task-api` and `model-server`.
    pub programs: PathBuf,
    /// Program or folder of each peer that is needed.
    pub peers: BTreeMap<String, PathBuf>,
}

impl Settings {
    /// The peers that `components` need.
    pub fn needed(components: &[Component]) -> Vec<&'static str> {
        let mut names = vec!["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"];
        names.extend(["kwok", "kwok-stages"]);
        for component in components {
            names.extend_from_slice(match component {
                Component::Keda => &["keda-operator", "keda-adapter", "keda-webhooks", "keda-manifests"],
                Component::HttpAddOn => {
                    &["http-add-on-operator", "http-add-on-interceptor", "http-add-on-scaler", "http-add-on-manifests"]
                }
                Component::EnvoyGateway => &[
                    "envoy",
                    "envoy-gateway",
                    "envoy-gateway-crds",
                    "gateway-api-crds",
                    "ai-gateway-crds",
                    "inference-crds",
                ],
                Component::Helm => &["helm"],
                Component::Prometheus => &["prometheus"],
                Component::Kafka => &["kafka"],
                Component::MetricsServer => &["metrics-server", "metrics-server-manifests", "kwok-metrics"],
                Component::ArgoRollouts => &["argo-rollouts", "argo-rollouts-manifests"],
                Component::Ratelimit => &["ratelimit", "redis"],
                Component::CertManager => &["cert-manager", "cert-manager-crds"],
                Component::AiGateway => &["helm", "ai-gateway-chart", "ai-gateway-controller", "ai-gateway-extproc"],
                Component::LlamaCpp => &["llama-server"],
                Component::ExampleCrds => EXAMPLE_CRDS,
            });
        }
        names
    }

    /// Returns the paths of the peers that `components` need; missing ones are built first.
    pub fn peers(components: &[Component]) -> Result<BTreeMap<String, PathBuf>> {
        let cache = Cache::from_env()?;
        let path = |name: &str| Ok((name.to_owned(), Peer::named(name)?.path(&cache)?));
        Self::needed(components).into_iter().map(path).collect()
    }

    pub(crate) fn has(&self, component: Component) -> bool {
        self.components.contains(&component)
    }

    /// The program or folder of a peer.
    pub(crate) fn peer(&self, name: &str) -> Result<&PathBuf> {
        self.peers.get(name).with_context(|| format!("{name} is not part of this stack"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_that_a_component_needs_is_in_the_table() {
        for component in Component::value_variants() {
            for name in Settings::needed(&[*component]) {
                assert!(Peer::named(name).is_ok(), "{name}");
            }
        }
    }
}
