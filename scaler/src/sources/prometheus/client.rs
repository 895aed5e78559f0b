//! The client of a Prometheus: TLS, credentials, headers, a deadline, a size limit.

use std::{collections::BTreeMap, path::Path, time::Duration};

use base64::Engine;
use http::{HeaderMap, HeaderName, HeaderValue};
use prometheus_http_query::{
    Client,
    response::{Data, InstantVector, PromqlResult, RangeVector},
};
use reqwest::{Certificate, Identity, StatusCode};
use serde::Deserialize;
use tidegate_core::measured::Measured;
use tokio::time::timeout;

use super::{Credentials, PrometheusSettings};
use crate::{
    sources::{body_of, with_causes},
    text::shortened,
};

/// Largest answer in bytes: five times that for 10,000 clusters with traffic.
const MAX_BODY: usize = 64 << 20;
/// Largest file of credentials, in bytes.
const MAX_SECRET: u64 = 64 << 10;

/// An error in the settings of a Prometheus.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// A file that cannot be read
    #[error("cannot read {path}: {source}")]
    File {
        /// The file
        path: String,
        /// The cause
        source: std::io::Error,
    },
    /// An invalid certificate, key, header or URL
    #[error("{what}: {source}")]
    Invalid {
        /// The file, the header or the URL
        what: String,
        /// Why it is invalid
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A client of one Prometheus.
pub struct Prometheus {
    client: Client,
    settings: PrometheusSettings,
    headers: HeaderMap,
    name: String,
    max_body: usize,
}

impl Prometheus {
    /// Creates a client with these settings. Nothing is queried yet.
    pub fn new(settings: PrometheusSettings) -> Result<Self, PrometheusError> {
        // reqwest panics without a crypto provider. An error means that the process has one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder().connect_timeout(settings.timeout);
        if let Some(path) = &settings.ca_file {
            let certificates = Certificate::from_pem_bundle(&read(path)?).map_err(invalid(&path.display()))?;
            builder = builder.tls_certs_only(certificates);
        }
        if let Some((certificate, key)) = &settings.client_cert {
            let mut pem = read(certificate)?;
            pem.extend(read(key)?);
            builder = builder.identity(Identity::from_pem(&pem).map_err(invalid(&certificate.display()))?);
        }
        let client = builder.build().map_err(invalid(&settings.url))?;
        let client = Client::from(client, &settings.url).map_err(invalid(&settings.url))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let header = HeaderName::try_from(name).map_err(invalid(&format!("header {name}")))?;
            let mut value = HeaderValue::try_from(value).map_err(invalid(&format!("header {name}")))?;
            // It may be an API key.
            value.set_sensitive(true);
            headers.append(header, value);
        }
        // Without a password or a token in the URL.
        let url = client.base_url();
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        let name = format!("Prometheus {host}:{port}");
        Ok(Self { client, settings, headers, name, max_body: MAX_BODY })
    }

    /// The name for messages: host and port.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn interval(&self) -> Duration {
        self.settings.interval
    }

    /// Runs a query, and returns the number of each row by the value of one of its labels.
    pub async fn by_label(&self, promql: &str, label: &str) -> Result<BTreeMap<String, f64>, String> {
        let answer = self.ask(promql).await?;
        let rows = answer.data.as_vector().ok_or_else(|| format!("{promql}: wants a vector"))?;
        let row = |row: &InstantVector| Some((row.metric().get(label)?.clone(), row.sample().value()));
        Ok(rows.iter().filter_map(row).filter(|(_, value)| value.is_finite()).collect())
    }

    /// Runs a query for a range of time, and returns the values of each row by their seconds, by the value of one of its labels.
    pub async fn series(&self, promql: &str, label: &str) -> Result<BTreeMap<String, BTreeMap<i64, f64>>, String> {
        let answer = self.ask(promql).await?;
        let rows = answer.data.as_matrix().ok_or_else(|| format!("{promql}: wants a matrix"))?;
        let row = |row: &RangeVector| {
            let values = row.samples().iter().filter(|sample| sample.value().is_finite());
            Some((
                row.metric().get(label)?.clone(),
                values.map(|sample| (sample.timestamp() as i64, sample.value())).collect(),
            ))
        };
        Ok(rows.iter().filter_map(row).collect())
    }

    /// Runs an instant query at the present time.
    pub(super) async fn ask(&self, promql: &str) -> Result<Answer, String> {
        let within = self.settings.timeout;
        let answer = timeout(within, self.answer(promql)).await;
        answer.unwrap_or_else(|_| Err(format!("no answer within {within:?}")))
    }

    async fn answer(&self, promql: &str) -> Result<Answer, String> {
        let mut query = self.client.query(promql).timeout(self.settings.timeout.as_millis() as i64);
        for (name, value) in &self.headers {
            query = query.header(name.clone(), value.clone());
        }
        if let Some(authorization) = self.authorization().await? {
            query = query.header(http::header::AUTHORIZATION, authorization);
        }
        // POST, because a query may be too long for a URL, or for a proxy on the way.
        let answer = query.post_raw().await.map_err(|error| with_causes(&error))?;
        let status = answer.status();
        let body = body_of(answer, self.max_body).await?;
        match serde_json::from_slice(&body) {
            Ok(ApiAnswer::Success { data, warnings }) => Ok(Answer::new(data, &warnings.unwrap_or_default())),
            Ok(ApiAnswer::Error { error_type, error }) => Err(format!("{error_type}: {error}")),
            Err(_) if status != StatusCode::OK => Err(format!("answered {status}, wants 200")),
            Err(_) if is_string(&body) => Err("the query gives a text, wants a number".to_owned()),
            Err(error) => Err(format!("answered something else than Prometheus' JSON: {error}")),
        }
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let value = match &self.settings.credentials {
            Credentials::None => return Ok(None),
            Credentials::BearerTokenFile(path) => format!("Bearer {}", secret(path).await?.trim()),
            Credentials::Basic { username, password_file } => {
                let password = secret(password_file).await?;
                let pair = format!("{username}:{}", password.trim_end_matches(['\r', '\n']));
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }
        };
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| "the credentials hold characters that no header takes".to_owned())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// The data that the server found.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) data: Data,
    /// Why the data is incomplete, if it is: behind Thanos or Mimir are many servers, and one may be away
    pub(super) partial: Option<String>,
}

impl Answer {
    fn new(data: PromqlResult, warnings: &[String]) -> Self {
        // PromQL's own annotations are about the query, which means the same every time, and not about missing data.
        let mut of_servers = warnings.iter().filter(|warning| !warning.starts_with("PromQL "));
        let partial = of_servers.next().map(|first| format!("answered in part: {}", shortened(first)));
        Self { data: data.into_inner().0, partial }
    }

    /// The value that `read` makes of the data: only a lower bound when the data is incomplete.
    pub(super) fn measured<T>(self, read: impl FnOnce(&Data) -> Result<T, String>) -> Measured<T, String> {
        match (read(&self.data), self.partial) {
            (Ok(value), None) => Measured::Exact(value),
            (Ok(value), Some(why)) => Measured::AtLeast(value, why),
            (Err(error), None) => Measured::Unknown(error),
            (Err(error), Some(why)) => Measured::Unknown(format!("{error} ({why})")),
        }
    }
}

/// `https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview`
#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum ApiAnswer {
    Success {
        data: PromqlResult,
        warnings: Option<Vec<String>>,
    },
    Error {
        #[serde(rename = "errorType")]
        error_type: String,
        error: String,
    },
}

/// Whether the result is a string, the one type that [`PromqlResult`] does not know: `"abc"` as a query.
fn is_string(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Outer {
        data: Inner,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Inner {
        result_type: String,
    }
    serde_json::from_slice(body).is_ok_and(|Outer { data: Inner { result_type } }| result_type == "string")
}

async fn secret(path: &Path) -> Result<String, String> {
    let cannot = |reason: &dyn std::fmt::Display| format!("cannot read {}: {reason}", path.display());
    let size = tokio::fs::metadata(path).await.map_err(|error| cannot(&error))?.len();
    if size > MAX_SECRET {
        return Err(cannot(&format_args!("it has {size} bytes, at most {MAX_SECRET} are taken")));
    }
    tokio::fs::read_to_string(path).await.map_err(|error| cannot(&error))
}

fn read(path: &Path) -> Result<Vec<u8>, PrometheusError> {
    std::fs::read(path).map_err(|source| PrometheusError::File { path: path.display().to_string(), source })
}

fn invalid<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    what: &impl ToString,
) -> impl FnOnce(E) -> PrometheusError {
    let what = what.to_string();
    move |source| PrometheusError::Invalid { what, source: source.into() }
}
