//! The command line: every flag of the service is an environment variable too, so that a chart can set either.

mod calendar_import;
#[cfg(feature = "kafka")]
mod kafka;
mod output;
mod scale_kinds;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgGroup, Parser, Subcommand, ValueEnum};
use tidegate_cluster::scaling::ScalerEndpoint;
use tidegate_core::intent::Managed;
use tidegate_operator::watch::ConfigMapName;
use tracing_subscriber::{EnvFilter, fmt};

#[cfg(feature = "kafka")]
pub(crate) use self::kafka::{KafkaCheckArgs, KafkaCommand};
pub(crate) use self::{calendar_import::CalendarImportArgs, output::Output, scale_kinds::ScaleKindArgs};

#[derive(Debug, Parser)]
#[command(version, about = "Scales Deployments on the traffic that Envoy carries to them, through KEDA", long_about = None, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the operator and the scaler: what the chart installs
    #[command(after_help = "Example:\n  tidegate run --scaler-address tidegate.tidegate-system.svc:9090")]
    Run(ServiceArgs),
    /// Runs the external scaler alone: it answers KEDA and writes nothing to the cluster
    #[command(
        after_help = "Examples:\n  tidegate scaler\n  tidegate scaler -f examples/task-api.yaml --proxy 127.0.0.1:19001"
    )]
    Scaler(ScalerArgs),
    /// Runs the operator alone: it keeps one ScaledObject per annotated workload
    #[command(after_help = "Example:\n  tidegate operator --scaler-address tidegate.tidegate-system.svc:9090")]
    Operator(ServiceArgs),
    /// Prints the ScaledObjects that manifests would get, without a cluster
    #[command(
        after_help = "Examples:\n  tidegate render -f examples/task-api.yaml\n  kustomize build . | tidegate render -f -"
    )]
    Render(RenderArgs),
    /// Prints the annotations that say what ScaledObjects, HPAs, kube-downscaler and kube-green say; changes nothing
    #[command(
        after_help = "Examples:\n  tidegate migrate -f scaledobjects/ > patches.yaml\n  kubectl get scaledobjects,hpa -A -o yaml | tidegate migrate -f - -o kubectl | sh\n\nThe patches have names and annotations only. What could not be turned goes to standard error, and the exit code is 1 then. Each patch of a ScaledObject or an HPA has tidegate.dev/adopt, by which Tidegate takes it over without a gap."
    )]
    Migrate(MigrateArgs),
    /// Prints which Envoy clusters carry the traffic of which backend, and which routes are not followed and why, from manifests or
    /// from the cluster
    #[command(after_help = "Examples:\n  tidegate routes -f examples/task-api.yaml\n  tidegate routes -o json")]
    Routes(RoutesArgs),
    /// Says why a workload has the replicas that it has, or a Gateway its proxies
    #[command(
        after_help = "Examples:\n  tidegate explain deployment/task-api -n shop\n  tidegate explain gateway/web -n edge"
    )]
    Explain(ExplainArgs),
    /// Shows when it is open, and imports holidays
    #[command(subcommand, disable_help_subcommand = true)]
    Calendar(CalendarCommand),
    /// Asks Kafka
    #[cfg(feature = "kafka")]
    #[command(subcommand, disable_help_subcommand = true)]
    Kafka(KafkaCommand),
    /// Keeps a workload, a Gateway or a namespace awake outside its hours for a while
    #[command(
        after_help = "Examples:\n  tidegate wake deployment/task-api --for 2h -n shop\n  tidegate wake namespace/staging --for 45m"
    )]
    Wake(WakeArgs),
    /// Shows what schedules and scale-to-zero saved, per namespace
    #[command(
        after_help = "Examples:\n  tidegate savings\n  tidegate savings --prometheus-url http://127.0.0.1:9090 --range 30d --price-per-core-hour 0.035 --price-per-gib-hour 0.004"
    )]
    Savings(SavingsArgs),
    /// Prints the CustomResourceDefinitions that Tidegate brings
    #[command(after_help = "Example:\n  tidegate crds | kubectl apply --server-side -f -")]
    Crds,
    /// Prints every command with its flags, as Markdown
    #[command(hide = true, after_help = "Example:\n  tidegate reference > docs/reference/commands.md")]
    Reference,
    /// Shows the whole loop on this machine: a real Envoy, a changing load, KEDA's and the HPA's algorithm
    #[command(after_help = "Example:\n  tidegate demo --manifest examples/task-api.yaml --envoy $(which envoy)")]
    Demo(DemoArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum CalendarCommand {
    /// Shows the next openings and closings of a Calendar or of hours, and a week of them
    #[command(
        after_help = "Examples:\n  tidegate calendar show office\n  tidegate calendar show --hours 'Mo-Fr 08:00-18:00; PH off' --timezone Europe/Berlin --country DE"
    )]
    Show(CalendarShowArgs),
    /// Prints a Calendar whose holidays are the whole days of an iCalendar file
    #[command(
        after_help = "Example:\n  curl -fsSO https://example.org/bavaria.ics\n  tidegate calendar import bavaria.ics -f calendar.yaml | kubectl apply -f -"
    )]
    Import(CalendarImportArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CalendarShowArgs {
    /// A Calendar of the cluster
    #[arg(conflicts_with = "hours", required_unless_present = "hours")]
    pub(crate) name: Option<String>,
    /// Opening hours in OpenStreetMap's notation
    #[arg(long, requires = "timezone")]
    pub(crate) hours: Option<String>,
    /// An IANA time zone
    #[arg(long, value_name = "ZONE", requires = "hours")]
    pub(crate) timezone: Option<String>,
    /// The country (ISO 3166-1) whose public holidays PH means
    #[arg(long, value_name = "CODE", requires = "hours")]
    pub(crate) country: Option<String>,
    /// A day that PH means too, such as 2026-12-24; repeat for several
    #[arg(long = "holiday", value_name = "DATE", requires = "hours")]
    pub(crate) holidays: Vec<chrono::NaiveDate>,
    /// From when, as RFC 3339 writes it [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<chrono::DateTime<chrono::Utc>>,
    /// Until when [default: a week later]
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<chrono::DateTime<chrono::Utc>>,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
}

/// Where and how to log.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// What to log: error, warn, info, debug, trace, or a filter such as info,tidegate_scaler=debug
    #[arg(long, global = true, env = "TIDEGATE_LOG", default_value = "info,kube_client=error", value_name = "FILTER")]
    log: String,
    /// How to write log lines
    #[arg(long, global = true, env = "TIDEGATE_LOG_FORMAT", default_value = "text", value_enum)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl LogArgs {
    /// Logs go to stderr: stdout is for what was asked for.
    pub(crate) fn init(&self) {
        let filter = EnvFilter::try_new(&self.log).unwrap_or_else(|error| {
            eprintln!("tidegate: --log {}: {error}; logging at info", self.log);
            EnvFilter::new("info")
        });
        let logs = fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
            LogFormat::Json => logs.json().init(),
        }
    }
}

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
}

impl ScalerEndpointArgs {
    pub(crate) fn endpoint(&self) -> ScalerEndpoint {
        ScalerEndpoint {
            address: self.scaler_address.clone(),
            tls: self.scaler_tls,
            authentication: self.scaler_authentication.clone(),
        }
    }
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
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) controllers: ControllerArgs,
    #[command(flatten)]
    pub(crate) configuration: ConfigurationArgs,
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
}

/// Where traffic is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct SourceArgs {
    /// Measure on the proxies themselves, ask a Prometheus that scrapes them, or let them push (OTLP)
    #[arg(
        long,
        env = "TIDEGATE_SOURCE",
        default_value = "envoy",
        value_enum,
        requires_if("prometheus", "prometheus_url")
    )]
    pub(crate) source: Source,
    /// Scrape the tokens of models from AI gateways, ask a Prometheus that does, or let them push (OTLP)
    #[arg(
        long,
        env = "TIDEGATE_TOKEN_SOURCE",
        default_value = "scrape",
        value_enum,
        requires_if("prometheus", "prometheus_url")
    )]
    pub(crate) token_source: TokenSourceKind,
    /// An AI gateway whose /metrics is scraped besides those that the cluster names; repeat for several
    #[arg(long = "ai-gateway", env = "TIDEGATE_AI_GATEWAY", value_delimiter = ',', value_name = "ADDRESS:PORT")]
    pub(crate) ai_gateways: Vec<SocketAddr>,
    /// Where OTLP metrics (gRPC) are pushed to, when a source is otlp
    #[arg(long, env = "TIDEGATE_OTLP_ADDRESS", default_value = "0.0.0.0:4317", value_name = "ADDRESS:PORT")]
    pub(crate) otlp_address: SocketAddr,
    /// A host name that resolves to all of Tidegate's pods; what is pushed to this one is passed on to them: tidegate.tidegate-system.svc:4317
    #[arg(long, env = "TIDEGATE_OTLP_PEERS", value_name = "HOST:PORT")]
    pub(crate) otlp_peers: Option<String>,
    /// An Envoy whose /stats/prometheus is scraped besides those that the cluster names; repeat for several
    #[arg(long = "proxy", env = "TIDEGATE_PROXY", value_delimiter = ',', value_name = "ADDRESS:PORT")]
    pub(crate) proxies: Vec<SocketAddr>,
    /// A namespace in which Envoy Gateway runs proxies, besides each Gateway's own; repeat for several
    #[arg(
        long = "envoy-gateway-namespace",
        env = "TIDEGATE_ENVOY_GATEWAY_NAMESPACE",
        default_value = "envoy-gateway-system",
        value_delimiter = ',',
        value_name = "NAMESPACE"
    )]
    pub(crate) envoy_gateway_namespaces: Vec<String>,
    #[command(flatten)]
    pub(crate) prometheus: PrometheusArgs,
    /// Different queries of users (prometheus-query) that are asked for one namespace; any beyond is not asked, and reported
    #[arg(long, env = "TIDEGATE_PROMETHEUS_QUERIES_PER_NAMESPACE", default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) prometheus_queries_per_namespace: u32,
    /// The Kafka clusters whose lag is asked for, by name: a YAML file such as `clusters: {default: {brokers: [kafka:9092]}}`
    #[cfg(feature = "kafka")]
    #[arg(long, env = "TIDEGATE_KAFKA_CONFIG", value_name = "FILE")]
    pub(crate) kafka_config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    Envoy,
    Prometheus,
    Otlp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenSourceKind {
    Scrape,
    Prometheus,
    Otlp,
}

/// How to ask Prometheus: for `--source prometheus`, and for the annotation prometheus-query.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("credentials").multiple(false))]
pub(crate) struct PrometheusArgs {
    /// Prometheus, such as http://prometheus.monitoring:9090
    #[arg(long, env = "TIDEGATE_PROMETHEUS_URL", value_name = "URL")]
    pub(crate) prometheus_url: Option<String>,
    /// A bearer token; read again when it changes
    #[arg(long, env = "TIDEGATE_PROMETHEUS_BEARER_TOKEN_FILE", value_name = "FILE", group = "credentials")]
    pub(crate) prometheus_bearer_token_file: Option<PathBuf>,
    /// User name for basic authentication
    #[arg(long, env = "TIDEGATE_PROMETHEUS_USERNAME", requires = "prometheus_password_file", group = "credentials")]
    pub(crate) prometheus_username: Option<String>,
    /// Password for basic authentication
    #[arg(long, env = "TIDEGATE_PROMETHEUS_PASSWORD_FILE", value_name = "FILE", requires = "prometheus_username")]
    pub(crate) prometheus_password_file: Option<PathBuf>,
    /// The CA (PEM) of the server's certificate [default: the system's]
    #[arg(long, env = "TIDEGATE_PROMETHEUS_CA_FILE", value_name = "FILE")]
    pub(crate) prometheus_ca_file: Option<PathBuf>,
    /// A client certificate (PEM)
    #[arg(
        long,
        env = "TIDEGATE_PROMETHEUS_CLIENT_CERT_FILE",
        value_name = "FILE",
        requires = "prometheus_client_key_file"
    )]
    pub(crate) prometheus_client_cert_file: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(
        long,
        env = "TIDEGATE_PROMETHEUS_CLIENT_KEY_FILE",
        value_name = "FILE",
        requires = "prometheus_client_cert_file"
    )]
    pub(crate) prometheus_client_key_file: Option<PathBuf>,
    /// A header of every query, such as X-Scope-OrgID=shop; repeat for several
    #[arg(
        long = "prometheus-header",
        env = "TIDEGATE_PROMETHEUS_HEADER",
        value_delimiter = ',',
        value_name = "NAME=VALUE"
    )]
    pub(crate) prometheus_headers: Vec<String>,
    /// How long a query may take
    #[arg(long, env = "TIDEGATE_PROMETHEUS_TIMEOUT", default_value = "3s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) prometheus_timeout: Duration,
    /// How often to ask
    #[arg(long, env = "TIDEGATE_PROMETHEUS_INTERVAL", default_value = "5s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) prometheus_interval: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RenderArgs {
    /// Manifests: files or folders; - is stdin
    #[arg(long = "file", short, required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The namespace of objects that name none [default: none is written]
    #[arg(long, short, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) controllers: ControllerArgs,
    #[command(flatten)]
    pub(crate) scaler: ScalerEndpointArgs,
    /// The release of Tidegate that the ScaledObjects are of: the namespace and the name of its Lease
    #[arg(long, default_value = "tidegate-system.tidegate", value_name = "NAMESPACE.NAME")]
    pub(crate) release: String,
    /// As in the chart's values: annotations on other kinds are reported [default: every kind that is known]
    #[command(flatten)]
    pub(crate) scaled: ScaleKindArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct MigrateArgs {
    /// Manifests: files or folders; - is stdin
    #[arg(long = "file", short, required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// How to print the patches
    #[arg(long, short, default_value = "yaml", value_enum)]
    pub(crate) output: PatchFormat,
}

/// How patches are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PatchFormat {
    /// One YAML document per object, for kustomize or server-side apply
    Yaml,
    /// One kubectl patch per object, for a shell
    Kubectl,
    /// One List in JSON
    Json,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RoutesArgs {
    /// Manifests: files or folders; - is stdin [default: the cluster of the kubeconfig]
    #[arg(long = "file", short, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The namespace of objects in files that name none [default: default]
    #[arg(long, short, value_name = "NAMESPACE", requires = "files")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) controllers: ControllerArgs,
    #[command(flatten)]
    pub(crate) configuration: ConfigurationArgs,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) scaled: ScaleKindArgs,
}

/// Where the Tidegate is that is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct InstalledArgs {
    /// Where Tidegate is installed
    #[arg(long, env = "TIDEGATE_SYSTEM_NAMESPACE", default_value = "tidegate-system", value_name = "NAMESPACE")]
    pub(crate) system_namespace: String,
    /// Ask this admin server directly instead of through the Kubernetes API, such as http://127.0.0.1:8080
    #[arg(long, env = "TIDEGATE_ADMIN", value_name = "URL")]
    pub(crate) admin: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// deployment/NAME, another KIND/NAME that is scaled, such as rollout/NAME, or gateway/NAME
    #[arg(value_name = "KIND/NAME")]
    pub(crate) object: String,
    /// Its namespace [default: the kubeconfig's]
    #[arg(long, short)]
    pub(crate) namespace: Option<String>,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) installed: InstalledArgs,
    /// The name of its Service there
    #[arg(long, env = "TIDEGATE_SERVICE", default_value = "tidegate", value_name = "NAME")]
    pub(crate) service: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WakeArgs {
    /// deployment/NAME, another KIND/NAME that is scaled, such as rollout/NAME, gateway/NAME or namespace/NAME
    #[arg(value_name = "KIND/NAME")]
    pub(crate) object: String,
    /// For how long from now
    #[arg(long = "for", default_value = "2h", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) time: Duration,
    /// Its namespace [default: the kubeconfig's]
    #[arg(long, short)]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) scaled: ScaleKindArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SavingsArgs {
    /// How far back to look; needs --prometheus-url, which remembers what was before a restart
    #[arg(long, default_value = "30d", value_name = "TIME")]
    pub(crate) range: String,
    /// The label with the workloads' namespace; exported_namespace where the scrape config sets namespace itself
    #[arg(long, default_value = "namespace", value_name = "LABEL")]
    pub(crate) namespace_label: String,
    /// The price of a core for an hour, in any currency
    #[arg(long, value_name = "PRICE", requires = "price_per_gib_hour")]
    pub(crate) price_per_core_hour: Option<f64>,
    /// The price of a GiB of memory for an hour
    #[arg(long, value_name = "PRICE", requires = "price_per_core_hour")]
    pub(crate) price_per_gib_hour: Option<f64>,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) installed: InstalledArgs,
    /// The name of its Helm release
    #[arg(long, env = "TIDEGATE_RELEASE", default_value = "tidegate", value_name = "NAME")]
    pub(crate) release: String,
    /// The port of its admin server
    #[arg(long, default_value = "8080", value_name = "PORT")]
    pub(crate) admin_port: u16,
    #[command(flatten)]
    pub(crate) prometheus: PrometheusArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// The manifests of the example
    #[arg(long, default_value = "examples/task-api.yaml", value_name = "FILE")]
    pub(crate) manifest: PathBuf,
    /// The Envoy to run
    #[arg(long, env = "TIDEGATE_ENVOY", default_value = "envoy", value_name = "PATH")]
    pub(crate) envoy: PathBuf,
    /// The backend to run once per replica [default: task-api beside this binary]
    #[arg(long, env = "TIDEGATE_TASK_API", value_name = "PATH")]
    pub(crate) task_api: Option<PathBuf>,
    /// How long the changing load runs
    #[arg(long, default_value = "180s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// Where the chart goes
    #[arg(long, default_value = "demo-report.html", value_name = "FILE")]
    pub(crate) report: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn refused(args: &[&str]) -> String {
        Args::try_parse_from([&["tidegate"], args].concat()).unwrap_err().to_string()
    }

    #[test]
    fn every_command_shows_an_example_in_its_help() {
        fn check(command: &mut clap::Command) {
            if command.has_subcommands() {
                return command.get_subcommands_mut().for_each(check);
            }
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example") && help.contains("  tidegate"), "{help}");
        }
        check(&mut Args::command());
        Args::command().debug_assert();
    }

    #[test]
    fn settings_that_need_each_other_are_asked_for_by_name() {
        let tls = refused(&["run", "--tls-cert-file", "tls.crt"]);
        assert!(tls.contains("--tls-key-file"), "{tls}");
        let prometheus = refused(&["run", "--source", "prometheus"]);
        assert!(prometheus.contains("--prometheus-url"), "{prometheus}");
        let authentication = refused(&["render", "-f", "-", "--scaler-authentication", "x"]);
        assert!(authentication.contains("--scaler-tls"), "{authentication}");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let nowhere = refused(&["routes", "-n", "shop"]);
        assert!(nowhere.contains("--file"), "{nowhere}");
        let credentials = ["--prometheus-username", "me", "--prometheus-password-file", "p"];
        let token = ["--prometheus-bearer-token-file", "t"];
        let two = refused(&[&["run", "--prometheus-url", "http://p"][..], &credentials, &token].concat());
        assert!(two.contains("cannot be used with"), "{two}");
    }

    #[test]
    fn kinds_to_scale_are_named_as_in_the_charts_values() {
        let args = Args::try_parse_from(["tidegate", "run", "--scale-kind", "rollouts.argoproj.io,deployments.apps"]);
        let Command::Run(run) = args.unwrap().command else { panic!("not run") };
        assert_eq!(run.scaled.kinds(), [tidegate_core::workload::WorkloadKind::Rollout]);
        let error = refused(&["run", "--scale-kind", "widgets.example.com"]);
        assert!(error.contains("PLURAL.GROUP/VERSION/KIND"), "{error}");
    }

    #[test]
    fn a_config_map_is_named_with_its_namespace_or_left_out() {
        let config_maps = |name: &str| {
            let args = Args::try_parse_from(["tidegate", "routes", &format!("--envoy-gateway-config={name}")]);
            let Command::Routes(routes) = args.unwrap().command else { panic!("not routes") };
            routes.configuration.config_maps().map(|all| all.len()).map_err(|error| error.to_string())
        };
        assert_eq!(config_maps("edge/eg"), Ok(1));
        assert_eq!(config_maps(""), Ok(0));
        assert!(config_maps("eg").unwrap_err().contains("wants NAMESPACE/NAME"));
    }

    #[test]
    fn a_time_without_a_unit_is_refused_with_the_flag() {
        let error = refused(&["run", "--stale-after", "300"]);
        assert!(error.contains("--stale-after") && error.contains("unit"), "{error}");
    }

    #[test]
    fn several_namespaces_and_proxies_may_be_given_in_one_go() {
        let args =
            Args::try_parse_from(["tidegate", "run", "-n", "a,b", "-n", "c", "--proxy", "10.0.0.7:19001,[::1]:1"]);
        let Command::Run(run) = args.unwrap().command else { panic!("not run") };
        assert_eq!(run.namespaces, ["a", "b", "c"]);
        assert_eq!(run.serve.source.proxies.len(), 2);
    }
}
