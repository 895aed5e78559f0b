//! How a Prometheus is asked: TLS, credentials, headers, a deadline.

use std::{path::Path, time::Duration};

use base64::Engine;
use http::{HeaderMap, HeaderName, HeaderValue};
use prometheus_http_query::{Client, response::PromqlResult};
use reqwest::{Certificate, Identity};

use super::{Credentials, PrometheusSettings};

/// What is wrong with the settings of a Prometheus.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// A file that cannot be read
    #[error("cannot read {path}: {source}")]
    File {
        /// Which file
        path: String,
        /// Why
        source: std::io::Error,
    },
    /// A certificate, a key or a URL that is none
    #[error("{what}: {source}")]
    Invalid {
        /// What it was to be
        what: String,
        /// Why it is not
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A client of one Prometheus.
pub struct Prometheus {
    client: Client,
    settings: PrometheusSettings,
    headers: HeaderMap,
}

impl Prometheus {
    /// A client with these settings. Nothing is asked yet.
    pub fn new(settings: PrometheusSettings) -> Result<Self, PrometheusError> {
        let mut builder = reqwest::Client::builder().timeout(settings.timeout).connect_timeout(settings.timeout);
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
            let name = HeaderName::try_from(name).map_err(invalid(&format!("header {name}")))?;
            let value = HeaderValue::try_from(value).map_err(invalid(&format!("header {name}")))?;
            headers.append(name, value);
        }
        Ok(Self { client, settings, headers })
    }

    pub(super) fn url(&self) -> &str {
        &self.settings.url
    }

    pub(super) fn interval(&self) -> Duration {
        self.settings.interval
    }

    /// An instant query, now.
    pub(super) async fn ask(&self, promql: &str) -> Result<PromqlResult, String> {
        let mut query = self.client.query(promql).timeout(self.settings.timeout.as_millis() as i64);
        for (name, value) in &self.headers {
            query = query.header(name.clone(), value.clone());
        }
        if let Some(authorization) = self.authorization()? {
            query = query.header(http::header::AUTHORIZATION, authorization);
        }
        // POST, because a query for a header or a proxy on the way may be too long for a URL.
        let answer = query.post().await;
        answer.map_err(|error| with_causes(&error))
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        let value = match &self.settings.credentials {
            Credentials::None => return Ok(None),
            Credentials::BearerTokenFile(path) => format!("Bearer {}", read(path)?.trim()),
            Credentials::Basic { username, password_file } => {
                let pair = format!("{username}:{}", read(password_file)?.trim_end_matches(['\r', '\n']));
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }
        };
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| "the credentials hold characters that no header takes".to_owned())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
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

/// "error sending request" alone helps nobody: the reason is in the chain.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
