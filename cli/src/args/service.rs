//! Flags of what runs: the operator and the scaler.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::ValueEnum;
use tidegate_cluster::scaling::ScalerEndpoint;
use tidegate_core::intent::Managed;
use tidegate_operator::watch::ConfigMapName;

use super::{activator::ActivatorArgs, log::LogArgs, scale_kinds::ScaleKindArgs, sources::SourceArgs};

/// What ScaledObjects say of the scaler.
#[derive(Debug, clap::Args)]
pub(crate) struct ScalerEndpointArgs {
    /// The address that is written into ScaledObjects: how KEDA reaches the scaler
    #[arg(
        long,
        env = "TIDEGATE_SCALER_ADDRESS",
        default_value = "tidegate.tidegate-system.svc:9090",
        value_name = "HOST:PORT"
    )]
    scaler_address: String,
    /// Have KEDA ask the scaler for TLS
    #[arg(long, env = "TIDEGATE_SCALER_TLS")]
    scaler_tls: bool,
    /// The ClusterTriggerAuthentication with KEDA's caCert, tlsClientCert and tlsClientKey for it
    #[arg(long, env = "TIDEGATE_SCALER_AUTHENTICATION", value_name = "NAME", requires = "scaler_tls")]
    scaler_authentication: Option<String>,
    /// How often KEDA polls a workload that may be at zero, in whole seconds
    #[arg(long, env = "TIDEGATE_POLLING_INTERVAL", default_value = "15s", value_name = "TIME", value_parser = whole_seconds)]
    polling_interval: Duration,
}

impl ScalerEndpointArgs {
    pub(crate) fn endpoint(&self) -> ScalerEndpoint {
        ScalerEndpoint {
            address: self.scaler_address.clone(),
            tls: self.scaler_tls,
            authentication: self.scaler_authentication.clone(),
            polling_interval: self.polling_interval,
        }
    }
}

/// Parses a time for a field that Kubernetes counts in whole seconds.
fn whole_seconds(text: &str) -> Result<Duration, String> {
    let wanted = || "wants a time in whole seconds, from 1s, such as 15s".to_owned();
    let time = humantime::parse_duration(text).map_err(|_| wanted())?;
    (time.as_secs() > 0 && time.subsec_nanos() == 0).then_some(time).ok_or_else(wanted)
}

/// Which Envoy Gateways there are.
#[derive(Debug, clap::Args)]
pub(crate) struct ControllerArgs {
    /// A controller of GatewayClasses that is an Envoy Gateway, besides those whose configuration is known; repeat for several
    #[arg(
        long = "controller-name",
        env = "TIDEGATE_CONTROLLER_NAME",
        value_delimiter = ',',
        value_name = "DOMAIN/NAME"
    )]
    pub(crate) names: Vec<String>,
}

/// Where Envoy Gateway's configuration is in the cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigurationArgs {
    /// The ConfigMap with Envoy Gateway's configuration; repeat for several, or leave it empty to assume the defaults
    #[arg(
        long = "envoy-gateway-config",
        env = "TIDEGATE_ENVOY_GATEWAY_CONFIG",
        default_value = "envoy-gateway-system/envoy-gateway-config",
        value_delimiter = ',',
        value_name = "NAMESPACE/NAME"
    )]
    config_maps: Vec<String>,
}

impl ConfigurationArgs {
    /// The ConfigMaps; an empty name stands for none at all.
    pub(crate) fn config_maps(&self) -> anyhow::Result<Vec<ConfigMapName>> {
        let named = self.config_maps.iter().filter(|name| !name.is_empty());
        named
            .map(|name| name.parse().map_err(|wanted| anyhow::anyhow!("--envoy-gateway-config {name}: {wanted}")))
            .collect()
    }
}

/// The service as the chart runs it.
#[derive(Debug, clap::Args)]
pub(crate) struct ServiceArgs {
    #[command(flatten)]
    pub(crate) scaler: ScalerEndpointArgs,
    /// Watch only this namespace; repeat for several [default: all]
    #[arg(long = "namespace", short, env = "TIDEGATE_NAMESPACE", value_delimiter = ',', value_name = "NAMESPACE")]
    pub(crate) namespaces: Vec<String>,
    /// Kinds that the annotation tidegate.dev/manage of a Namespace may name: they are patched when hours begin and end
    #[arg(long, env = "TIDEGATE_MANAGE", value_delimiter = ',', value_name = "KIND")]
    manage: Vec<ManagedKind>,
    #[command(flatten)]
    pub(crate) scaled: ScaleKindArgs,
    /// The namespace of the Lease that elects the one replica which writes [default: the pod's own]
    #[arg(long, env = "TIDEGATE_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub(crate) lease_namespace: Option<String>,
    /// The name of that Lease
    #[arg(long, env = "TIDEGATE_LEASE_NAME", default_value = "tidegate", value_name = "NAME")]
    pub(crate) lease_name: String,
    /// The pod's own name and namespace, from the downward API
    #[arg(long, env = "POD_NAME", hide = true)]
    pub(crate) pod_name: Option<String>,
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pub(crate) pod_namespace: Option<String>,
    /// How long demand has to be above a workload's maximum before an event says so
    #[arg(long, env = "TIDEGATE_ABOVE_MAXIMUM_AFTER", default_value = "5m", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) above_maximum_after: Duration,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) controllers: ControllerArgs,
    #[command(flatten)]
    pub(crate) configuration: ConfigurationArgs,
    #[command(flatten)]
    pub(crate) activator: ActivatorArgs,
    /// Add replicas that demand asks for at once, instead of at the HPA's next look, where annotations do not say otherwise
    #[arg(long, env = "TIDEGATE_BURST")]
    pub(crate) burst: bool,
}

impl ServiceArgs {
    pub(crate) fn manageable(&self) -> Managed {
        let has = |kind| self.manage.contains(&kind);
        Managed { cron_jobs: has(ManagedKind::Cronjobs), daemon_sets: has(ManagedKind::Daemonsets) }
    }
}

/// A kind that is managed only where that was allowed at the installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ManagedKind {
    /// Suspended outside hours
    Cronjobs,
    /// Without pods outside hours
    Daemonsets,
}

/// The scaler alone, from a cluster or from files.
#[derive(Debug, clap::Args)]
pub(crate) struct ScalerArgs {
    /// Take routes and workloads from these files or folders instead of a cluster; - is stdin
    #[arg(long = "file", short, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Watch only this namespace; repeat for several [default: all]. With --file: the namespace of objects that name none
    #[arg(long = "namespace", short, env = "TIDEGATE_NAMESPACE", value_delimiter = ',')]
    pub(crate) namespaces: Vec<String>,
    #[command(flatten)]
    pub(crate) scaled: ScaleKindArgs,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) controllers: ControllerArgs,
    #[command(flatten)]
    pub(crate) configuration: ConfigurationArgs,
}

/// What the scaler serves and measures.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Where KEDA's calls (gRPC) are answered
    #[arg(long, env = "TIDEGATE_GRPC_ADDRESS", default_value = "0.0.0.0:9090", value_name = "ADDRESS:PORT")]
    pub(crate) grpc_address: SocketAddr,
    /// Where /livez, /readyz, /metrics and /explain are served (HTTP)
    #[arg(long, env = "TIDEGATE_ADMIN_ADDRESS", default_value = "0.0.0.0:8080", value_name = "ADDRESS:PORT")]
    pub(crate) admin_address: SocketAddr,
    /// A host name that resolves to the addresses of all replicas of Tidegate, with the port of their admin servers: one that starts asks the others
    /// for the history of workloads
    #[arg(long, env = "TIDEGATE_HISTORY_PEERS", value_name = "HOST:PORT")]
    pub(crate) history_peers: Option<String>,
    /// Certificate chain (PEM) of the gRPC server; read again when it changes
    #[arg(long, env = "TIDEGATE_TLS_CERT_FILE", value_name = "FILE", requires = "tls_key_file")]
    pub(crate) tls_cert_file: Option<PathBuf>,
    /// Private key (PEM) of the gRPC server
    #[arg(long, env = "TIDEGATE_TLS_KEY_FILE", value_name = "FILE", requires = "tls_cert_file")]
    pub(crate) tls_key_file: Option<PathBuf>,
    /// Ask clients for a certificate of this CA (PEM)
    #[arg(long, env = "TIDEGATE_TLS_CLIENT_CA_FILE", value_name = "FILE", requires = "tls_cert_file")]
    pub(crate) tls_client_ca_file: Option<PathBuf>,
    /// Keep the last value of a failing source this long, then answer UNAVAILABLE (KEDA and the HPA then hold)
    #[arg(long, env = "TIDEGATE_STALE_AFTER", default_value = "5m", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) stale_after: Duration,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_for_kubernetes_is_of_whole_seconds() {
        assert_eq!(whole_seconds("1m 30s"), Ok(Duration::from_secs(90)));
        for refused in ["0s", "500ms", "1s 1ms", "15", "soon", ""] {
            let said = whole_seconds(refused);
            assert!(said.as_ref().is_err_and(|said| said.contains("from 1s")), "{refused}: {said:?}");
        }
    }
}
