//! The sources of signals.

mod ai_gateway;
pub mod envoy;
mod http_pages;
#[cfg(feature = "kafka")]
pub mod kafka;
mod last_page;
mod model_servers;
pub mod otlp;
pub mod prometheus;
mod rounds;
mod text_format;

use std::{net::SocketAddr, sync::Arc};

use tidegate_core::{
    llm::AiGateway,
    plan::{Plan, Proxy},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{
    otlp::{OtlpError, OtlpSettings},
    prometheus::{Prometheus, PrometheusError, PrometheusSettings},
};
use crate::store::SignalStore;

/// Settings of all sources: which signals are measured, and where.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// The source of traffic
    pub traffic: TrafficSource,
    /// The source of token counts
    pub tokens: TokenSource,
    /// The listener for pushed metrics, if any are pushed
    pub otlp: Option<OtlpListener>,
    /// The Prometheus for users' own queries, and for traffic and tokens where it is their source
    pub prometheus: Option<PrometheusSettings>,
    /// The Kafka clusters whose lag is measured
    #[cfg(feature = "kafka")]
    pub kafka: kafka::KafkaSettings,
}

impl SourceSettings {
    /// Settings for traffic alone, from this source.
    pub fn of(traffic: TrafficSource) -> Self {
        Self {
            traffic,
            tokens: TokenSource::Scrape(Vec::new()),
            otlp: None,
            prometheus: None,
            #[cfg(feature = "kafka")]
            kafka: kafka::KafkaSettings::default(),
        }
    }
}

/// The source of traffic.
#[derive(Debug, Clone)]
pub enum TrafficSource {
    /// Scraped from the proxies that the Plan names, and from these
    Envoy(Vec<Proxy>),
    /// Queried from the Prometheus that scrapes them
    Prometheus,
    /// Pushed by them over OTLP
    Otlp,
}

/// The source of token counts.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// Scraped from the AI gateways that the Plan names, and from these
    Scrape(Vec<AiGateway>),
    /// Queried from the Prometheus that scrapes them
    Prometheus,
    /// Pushed by them over OTLP
    Otlp,
}

/// The listener for pushed metrics.
#[derive(Debug, Clone)]
pub struct OtlpListener {
    /// The address to listen on
    pub address: SocketAddr,
    /// Host and port that resolve to all of Tidegate's pods, such as the headless Service's
    pub peers: Option<String>,
}

/// An error that keeps the sources from running.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Wrong settings of the Prometheus
    #[error("--prometheus-…: {0}")]
    Prometheus(#[from] PrometheusError),
    /// Wrong settings of the OTLP listener, or a failure of it
    #[error("--otlp-address: {0}")]
    Otlp(#[from] OtlpError),
}

/// Runs all sources until `stop` is cancelled; `signals` keeps the series that the Plan names. Fails only on settings.
pub async fn run(
    settings: SourceSettings,
    signals: Arc<SignalStore>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    stop: CancellationToken,
) -> Result<(), SourceError> {
    let pushed = match settings.otlp {
        Some(OtlpListener { address, peers }) => {
            let clusters = matches!(settings.traffic, TrafficSource::Otlp);
            let tokens = matches!(settings.tokens, TokenSource::Otlp);
            Some((otlp::bind(address).await?, OtlpSettings { clusters, tokens, peers }))
        }
        None => None,
    };
    let prometheus = settings.prometheus.map(Prometheus::new).transpose()?;
    let keeping = keep(Arc::clone(&signals), plan.clone(), stop.clone());
    let (proxies, clusters) = match settings.traffic {
        TrafficSource::Envoy(also) => (Some(also), false),
        TrafficSource::Prometheus => (None, true),
        TrafficSource::Otlp => (None, false),
    };
    let (gateways, tokens) = match settings.tokens {
        TokenSource::Scrape(also) => (Some(also), false),
        TokenSource::Prometheus => (None, true),
        TokenSource::Otlp => (None, false),
    };
    let counting = async {
        if let Some(also) = gateways {
            ai_gateway::run(also, Arc::clone(&signals), plan.clone(), stop.clone()).await;
        }
    };
    let serving = model_servers::run(Arc::clone(&signals), plan.clone(), stop.clone());
    let asked = prometheus::Questions { clusters, tokens };
    let scraping = async {
        if let Some(also) = proxies {
            envoy::run(also, Arc::clone(&signals), plan.clone(), stop.clone()).await;
        }
    };
    let asking = async {
        if let Some(prometheus) = prometheus {
            prometheus::run(prometheus, asked, Arc::clone(&signals), plan.clone(), stop.clone()).await;
        }
    };
    #[cfg(feature = "kafka")]
    let sweeping = kafka::run(settings.kafka, Arc::clone(&signals), stop.clone());
    #[cfg(not(feature = "kafka"))]
    let sweeping = std::future::ready(());
    let receiving = async {
        match pushed {
            Some((listener, settings)) => {
                otlp::serve(listener, settings, Arc::clone(&signals), plan.clone(), stop.clone()).await
            }
            None => Ok(()),
        }
    };
    let (.., received) = tokio::join!(keeping, scraping, counting, serving, asking, sweeping, receiving);
    Ok(received?)
}

async fn keep(signals: Arc<SignalStore>, mut plan: watch::Receiver<Option<Arc<Plan>>>, stop: CancellationToken) {
    loop {
        let now = plan.borrow_and_update().clone();
        if let Some(now) = now {
            signals.keep(&now);
        }
        tokio::select! {
            changed = plan.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

/// Reads the whole body of an answer. An error when it is longer than `most` bytes.
pub(crate) async fn body_of(mut answer: reqwest::Response, most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| with_causes(&error))? {
        if body.len() + chunk.len() > most {
            return Err(format!("answered more than {} MiB", most >> 20));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Formats an error with its chain of causes: "error sending request" alone does not give the reason.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
