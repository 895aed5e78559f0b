//! Objects of Envoy Gateway on the way to a Service: Backends, HTTPRouteFilters, and the EnvoyProxy with the settings of the proxies.

use std::fmt;

use serde::Deserialize;

use super::{LabelSelector, Meta};

/// `Backend` of Envoy Gateway
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Backend {
    pub(crate) metadata: Meta,
    pub(crate) spec: BackendSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct BackendSpec {
    r#type: Option<String>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) app_protocols: Vec<String>,
    pub(crate) fallback: bool,
}

/// An endpoint of a Backend: one of the three.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Endpoint {
    pub(crate) hostname: Option<String>,
    pub(crate) fqdn: Option<Fqdn>,
    pub(crate) ip: Option<IpEndpoint>,
    pub(crate) unix: Option<UnixSocket>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Fqdn {
    pub(crate) hostname: String,
    pub(crate) port: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct IpEndpoint {
    pub(crate) address: String,
    pub(crate) port: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct UnixSocket {}

impl Endpoint {
    /// The name or address; none of a Unix socket.
    pub(crate) fn host(&self) -> Option<&str> {
        let name = self.fqdn.as_ref().map(|fqdn| &fqdn.hostname).or(self.hostname.as_ref());
        name.or(self.ip.as_ref().map(|ip| &ip.address)).map(String::as_str)
    }

    fn port(&self) -> Option<u16> {
        self.fqdn.as_ref().map(|fqdn| fqdn.port).or(self.ip.as_ref().map(|ip| ip.port))
    }
}

/// `api.shop.svc.cluster.local:80`
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.host().unwrap_or("of a Unix socket"))?;
        self.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Backend {
    /// Whether Envoy takes the host from the request.
    pub(crate) fn is_dynamic_resolver(&self) -> bool {
        self.spec.r#type.as_deref() == Some("DynamicResolver")
    }
}

/// `EnvoyProxy`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct EnvoyProxy {
    pub(crate) metadata: Meta,
    pub(crate) spec: EnvoyProxySpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct EnvoyProxySpec {
    pub(crate) merge_type: Option<String>,
    pub(crate) merge_gateways: Option<bool>,
    pub(crate) merge_backends: Option<MergeBackends>,
    pub(crate) routing_type: Option<String>,
    pub(crate) provider: Provider,
    pub(crate) shutdown: Shutdown,
    telemetry: Telemetry,
}

/// `provider`: how the proxies run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Provider {
    pub(crate) kubernetes: KubernetesProvider,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct KubernetesProvider {
    pub(crate) envoy_deployment: Option<EnvoyDeployment>,
    pub(crate) envoy_daemon_set: Option<serde::de::IgnoredAny>,
    pub(crate) envoy_hpa: Option<EnvoyHpa>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct EnvoyDeployment {
    pub(crate) replicas: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct EnvoyHpa {
    pub(crate) min_replicas: Option<u32>,
    pub(crate) max_replicas: Option<u32>,
}

/// `shutdown`: how a proxy shuts down.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Shutdown {
    drain_timeout: Option<String>,
}

impl Shutdown {
    /// How long a proxy that shuts down goes on serving its connections. Envoy Gateway's default is a minute.
    pub(crate) fn drain_timeout(&self) -> std::time::Duration {
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

/// `mergeBackends`: the backends that its selector selects, or all of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct MergeBackends {
    pub(crate) selector: Option<LabelSelector>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Telemetry {
    metrics: Metrics,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metrics {
    cluster_stat_name: Option<String>,
    matches: Vec<StatMatch>,
    prometheus: PrometheusPage,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct PrometheusPage {
    disable: bool,
}

/// One of `telemetry.metrics.matches`: statistics that are exported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct StatMatch {
    r#type: Option<String>,
    pub(crate) value: String,
}

impl StatMatch {
    /// The type; `Exact` by default.
    pub(crate) fn kind(&self) -> &str {
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
    pub(crate) fn stat_matches(&self) -> &[StatMatch] {
        &self.telemetry.metrics.matches
    }

    /// Whether proxies serve no page of statistics.
    pub(crate) fn serves_no_page(&self) -> bool {
        self.telemetry.metrics.prometheus.disable
    }

    /// The pattern that replaces cluster names in statistics.
    pub(crate) fn cluster_stat_name(&self) -> Option<&str> {
        super::route::non_empty(self.telemetry.metrics.cluster_stat_name.as_deref())
    }

    /// This spec over another: a field set here wins, any other comes from `base`.
    pub(crate) fn over(&self, base: &Self) -> Self {
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
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct HttpRouteFilter {
    pub(crate) metadata: Meta,
    pub(crate) spec: HttpRouteFilterSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct HttpRouteFilterSpec {
    pub(crate) direct_response: Option<serde::de::IgnoredAny>,
    pub(crate) matches: Vec<FilterMatch>,
    pub(crate) url_rewrite: Option<FilterRewrite>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct FilterMatch {
    pub(crate) cookies: Vec<CookieMatch>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct CookieMatch {
    pub(crate) r#type: Option<String>,
    pub(crate) value: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct FilterRewrite {
    pub(crate) hostname: Option<FilterHostname>,
    pub(crate) path: Option<FilterPath>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FilterHostname {
    pub(crate) r#type: String,
    pub(crate) header: Option<String>,
    pub(crate) path_regex: Option<Substitution>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FilterPath {
    pub(crate) r#type: String,
    pub(crate) replace_regex_match: Option<Substitution>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Substitution {
    pub(crate) pattern: String,
    pub(crate) substitution: String,
}

impl FilterRewrite {
    /// Whether its settings are complete, and its regular expressions compile.
    pub(crate) fn is_valid(&self) -> bool {
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

    /// Whether the request's path determines the host.
    pub(crate) fn takes_host_from_path(&self) -> bool {
        self.hostname.as_ref().is_some_and(|hostname| hostname.r#type == "PathRegex")
    }
}
