//! Flags of the sources: where traffic and tokens are measured.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::{ArgGroup, ValueEnum};
use tidegate_core::{llm::AiGateway, plan::Proxy};
use tidegate_scaler::sources::{
    OtlpListener, SourceSettings, TokenSource, TrafficSource,
    prometheus::{Credentials, PrometheusSettings},
};

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

impl SourceArgs {
    /// The settings of the sources that these flags ask for.
    pub(crate) fn settings(&self) -> Result<SourceSettings> {
        let traffic = match self.source {
            Source::Prometheus => TrafficSource::Prometheus,
            Source::Otlp => TrafficSource::Otlp,
            Source::Envoy => {
                let proxy = |address: &SocketAddr| Proxy {
                    name: address.to_string(),
                    stats: *address,
                    ready: true,
                    fleet: None,
                };
                TrafficSource::Envoy(self.proxies.iter().map(proxy).collect())
            }
        };
        let tokens = match self.token_source {
            TokenSourceKind::Prometheus => TokenSource::Prometheus,
            TokenSourceKind::Otlp => TokenSource::Otlp,
            TokenSourceKind::Scrape => {
                let gateway = |address: &SocketAddr| AiGateway {
                    name: address.to_string(),
                    metrics: *address,
                    ready: true,
                    fleet: None,
                };
                TokenSource::Scrape(self.ai_gateways.iter().map(gateway).collect())
            }
        };
        let pushed = matches!(traffic, TrafficSource::Otlp) || matches!(tokens, TokenSource::Otlp);
        let otlp = OtlpListener { address: self.otlp_address, peers: self.otlp_peers.clone() };
        let url = self.prometheus.prometheus_url.as_ref();
        Ok(SourceSettings {
            traffic,
            tokens,
            otlp: pushed.then_some(otlp),
            prometheus: url.map(|url| self.prometheus.settings(url)).transpose()?,
            #[cfg(feature = "kafka")]
            kafka: self.kafka_config.as_deref().map(super::kafka::kafka_clusters).transpose()?.unwrap_or_default(),
        })
    }
}

impl PrometheusArgs {
    /// The settings of the Prometheus at this URL.
    pub(crate) fn settings(&self, url: &str) -> Result<PrometheusSettings> {
        let credentials =
            match (&self.prometheus_bearer_token_file, &self.prometheus_username, &self.prometheus_password_file) {
                (Some(file), ..) => Credentials::BearerTokenFile(file.clone()),
                (None, Some(username), Some(file)) => {
                    Credentials::Basic { username: username.clone(), password_file: file.clone() }
                }
                _ => Credentials::None,
            };
        let header = |header: &String| {
            let (name, value) = header.split_once('=').with_context(|| {
                format!("--prometheus-header {header}: wants NAME=VALUE, such as X-Scope-OrgID=shop")
            })?;
            Ok((name.to_owned(), value.to_owned()))
        };
        Ok(PrometheusSettings {
            url: url.to_owned(),
            credentials,
            ca_file: self.prometheus_ca_file.clone(),
            client_cert: self.prometheus_client_cert_file.clone().zip(self.prometheus_client_key_file.clone()),
            headers: self.prometheus_headers.iter().map(header).collect::<Result<_>>()?,
            timeout: self.prometheus_timeout,
            interval: self.prometheus_interval,
        })
    }
}
