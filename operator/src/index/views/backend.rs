//! What routes send traffic to, and the EnvoyProxy that says how.

use serde::Deserialize;

use super::{LabelSelector, Labels, Meta};

/// A Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Service {
    pub(in crate::index) metadata: ServiceMeta,
    pub(in crate::index) spec: ServiceSpec,
}

/// There are many Services, so only their labels are kept (for `mergeBackends.selector`), and whether they ask for
/// traffic to stay in its zone.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct ServiceMeta {
    pub(in crate::index) labels: Labels,
    #[serde(deserialize_with = "super::known_annotations")]
    annotations: tidegate_core::intent::Annotations,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct ServiceSpec {
    pub(in crate::index) selector: Labels,
    pub(in crate::index) ports: Vec<ServicePort>,
    r#type: Option<String>,
    traffic_distribution: Option<String>,
}

/// A port of a Service or a ServiceImport.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct ServicePort {
    pub(in crate::index) port: u16,
    protocol: Option<String>,
    pub(in crate::index) app_protocol: Option<String>,
}

impl ServicePort {
    /// `TCP` when the port does not say.
    pub(in crate::index) fn protocol(&self) -> &str {
        super::route::non_empty(self.protocol.as_deref()).unwrap_or("TCP")
    }
}

impl Service {
    /// Envoy Gateway refuses these as backends.
    pub(in crate::index) fn is_external_name(&self) -> bool {
        self.spec.r#type.as_deref() == Some("ExternalName")
    }

    /// Whether Envoy is told to keep traffic in its zone, for which each backend needs a cluster of its own
    /// (`processPreferLocalZone`).
    pub(in crate::index) fn prefers_local_zone(&self) -> bool {
        let mode = self.metadata.annotations.get("service.kubernetes.io/topology-mode").map(String::as_str);
        self.spec.traffic_distribution.is_some() || matches!(mode, Some("Auto" | "auto"))
    }
}

/// `ServiceImport`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct ServiceImport {
    pub(in crate::index) metadata: Meta,
    pub(in crate::index) spec: ServiceImportSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct ServiceImportSpec {
    pub(in crate::index) ports: Vec<ServicePort>,
}

/// `Backend` of Envoy Gateway
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Backend {
    pub(in crate::index) metadata: Meta,
    pub(in crate::index) spec: BackendSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct BackendSpec {
    r#type: Option<String>,
    pub(in crate::index) endpoints: Vec<Endpoint>,
    pub(in crate::index) app_protocols: Vec<String>,
    pub(in crate::index) fallback: bool,
}

/// Where a Backend sends traffic: one of the three.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Endpoint {
    pub(in crate::index) hostname: Option<String>,
    pub(in crate::index) fqdn: Option<Fqdn>,
    pub(in crate::index) ip: Option<IpEndpoint>,
    pub(in crate::index) unix: Option<UnixSocket>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Fqdn {
    pub(in crate::index) hostname: String,
    pub(in crate::index) port: u16,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct IpEndpoint {
    pub(in crate::index) address: String,
    pub(in crate::index) port: u16,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct UnixSocket {}

impl Backend {
    /// Whether Envoy takes the host from the request.
    pub(in crate::index) fn is_dynamic_resolver(&self) -> bool {
        self.spec.r#type.as_deref() == Some("DynamicResolver")
    }
}

/// `EnvoyProxy`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct EnvoyProxy {
    pub(in crate::index) metadata: Meta,
    pub(in crate::index) spec: EnvoyProxySpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct EnvoyProxySpec {
    pub(in crate::index) merge_type: Option<String>,
    pub(in crate::index) merge_gateways: Option<bool>,
    pub(in crate::index) merge_backends: Option<MergeBackends>,
    pub(in crate::index) routing_type: Option<String>,
    pub(in crate::index) provider: Provider,
    pub(in crate::index) shutdown: Shutdown,
    telemetry: Telemetry,
}

/// `provider`: how the proxies run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Provider {
    pub(in crate::index) kubernetes: KubernetesProvider,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct KubernetesProvider {
    pub(in crate::index) envoy_deployment: Option<EnvoyDeployment>,
    pub(in crate::index) envoy_daemon_set: Option<serde::de::IgnoredAny>,
    pub(in crate::index) envoy_hpa: Option<EnvoyHpa>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct EnvoyDeployment {
    pub(in crate::index) replicas: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct EnvoyHpa {
    pub(in crate::index) min_replicas: Option<u32>,
    pub(in crate::index) max_replicas: Option<u32>,
}

/// `shutdown`: how a proxy ends.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct Shutdown {
    drain_timeout: Option<String>,
}

impl Shutdown {
    /// How long a proxy goes on serving what it has. Envoy Gateway waits for a minute where nothing is said.
    pub(in crate::index) fn drain_timeout(&self) -> std::time::Duration {
        let said = self.drain_timeout.as_deref().and_then(|text| humantime::parse_duration(text).ok());
        said.unwrap_or(std::time::Duration::from_secs(60))
    }
}

impl Provider {
    fn over(&self, base: &Self) -> Self {
        let (own, base) = (&self.kubernetes, &base.kubernetes);
        Self {
            kubernetes: KubernetesProvider {
                envoy_deployment: own
                    .envoy_deployment
                    .clone()
                    .filter(|own| own.replicas.is_some())
                    .or_else(|| base.envoy_deployment.clone()),
                envoy_daemon_set: own.envoy_daemon_set.or(base.envoy_daemon_set),
                envoy_hpa: own.envoy_hpa.as_ref().or(base.envoy_hpa.as_ref()).cloned(),
            },
        }
    }
}

/// `mergeBackends`: all that its selector selects, or everything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct MergeBackends {
    pub(in crate::index) selector: Option<LabelSelector>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Telemetry {
    metrics: Metrics,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metrics {
    cluster_stat_name: Option<String>,
    matches: Vec<StatMatch>,
    prometheus: PrometheusPage,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct PrometheusPage {
    disable: bool,
}

/// One of `telemetry.metrics.matches`: statistics that are exported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::index) struct StatMatch {
    r#type: Option<String>,
    pub(in crate::index) value: String,
}

impl StatMatch {
    /// `Exact` when it does not say.
    pub(in crate::index) fn kind(&self) -> &str {
        super::route::non_empty(self.r#type.as_deref()).unwrap_or("Exact")
    }
}

impl Metrics {
    fn over(&self, base: &Self) -> Self {
        Self {
            cluster_stat_name: self.cluster_stat_name.clone().or_else(|| base.cluster_stat_name.clone()),
            matches: if self.matches.is_empty() { &base.matches } else { &self.matches }.clone(),
            prometheus: PrometheusPage { disable: self.prometheus.disable || base.prometheus.disable },
        }
    }
}

impl EnvoyProxySpec {
    /// The only statistics that proxies export; all when empty.
    pub(in crate::index) fn stat_matches(&self) -> &[StatMatch] {
        &self.telemetry.metrics.matches
    }

    /// Whether proxies serve no page of statistics.
    pub(in crate::index) fn serves_no_page(&self) -> bool {
        self.telemetry.metrics.prometheus.disable
    }

    /// The pattern that replaces cluster names in statistics.
    pub(in crate::index) fn cluster_stat_name(&self) -> Option<&str> {
        super::route::non_empty(self.telemetry.metrics.cluster_stat_name.as_deref())
    }

    /// This spec over another: what is set here wins, what is not comes from there.
    pub(in crate::index) fn over(&self, base: &Self) -> Self {
        Self {
            merge_type: self.merge_type.clone().or_else(|| base.merge_type.clone()),
            merge_gateways: self.merge_gateways.or(base.merge_gateways),
            merge_backends: self.merge_backends.clone().or_else(|| base.merge_backends.clone()),
            routing_type: self.routing_type.clone().or_else(|| base.routing_type.clone()),
            provider: self.provider.over(&base.provider),
            shutdown: Shutdown {
                drain_timeout: self.shutdown.drain_timeout.clone().or_else(|| base.shutdown.drain_timeout.clone()),
            },
            telemetry: Telemetry { metrics: self.telemetry.metrics.over(&base.telemetry.metrics) },
        }
    }
}

/// `HTTPRouteFilter`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct HttpRouteFilter {
    pub(in crate::index) metadata: Meta,
    pub(in crate::index) spec: HttpRouteFilterSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct HttpRouteFilterSpec {
    pub(in crate::index) direct_response: Option<serde::de::IgnoredAny>,
    pub(in crate::index) matches: Vec<FilterMatch>,
    pub(in crate::index) url_rewrite: Option<FilterRewrite>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct FilterMatch {
    pub(in crate::index) cookies: Vec<CookieMatch>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct CookieMatch {
    pub(in crate::index) r#type: Option<String>,
    pub(in crate::index) value: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct FilterRewrite {
    pub(in crate::index) hostname: Option<FilterHostname>,
    pub(in crate::index) path: Option<FilterPath>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct FilterHostname {
    pub(in crate::index) r#type: String,
    pub(in crate::index) header: Option<String>,
    pub(in crate::index) path_regex: Option<Substitution>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct FilterPath {
    pub(in crate::index) r#type: String,
    pub(in crate::index) replace_regex_match: Option<Substitution>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Substitution {
    pub(in crate::index) pattern: String,
    pub(in crate::index) substitution: String,
}

impl FilterRewrite {
    /// Whether what it sets is complete, and its regular expressions compile.
    pub(in crate::index) fn is_valid(&self) -> bool {
        let compiles = |regex: Option<&Substitution>| {
            regex.is_some_and(|regex| !regex.pattern.is_empty() && super::RegexPattern(&regex.pattern).compiles())
        };
        let hostname = self.hostname.as_ref().is_none_or(|hostname| match hostname.r#type.as_str() {
            "Header" => hostname.header.is_some(),
            "PathRegex" => {
                let regex = hostname.path_regex.as_ref();
                compiles(regex) && regex.is_some_and(|regex| !regex.substitution.is_empty())
            }
            _ => true,
        });
        let path = self
            .path
            .as_ref()
            .is_none_or(|path| path.r#type != "ReplaceRegexMatch" || compiles(path.replace_regex_match.as_ref()));
        hostname && path
    }

    /// Whether the request's path decides to which host it goes.
    pub(in crate::index) fn takes_host_from_path(&self) -> bool {
        self.hostname.as_ref().is_some_and(|hostname| hostname.r#type == "PathRegex")
    }
}
