//! Kafka clusters by name, as a file says how to reach them.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use rdkafka::ClientConfig;
use serde::Deserialize;

/// The clusters of a configuration file: `clusters: {default: {brokers: [kafka:9092]}}`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KafkaSettings {
    /// By the name that annotations use
    pub clusters: BTreeMap<String, ClusterSettings>,
    /// Seconds between two sweeps of a cluster
    #[serde(default = "five")]
    pub interval_seconds: u64,
}

fn five() -> u64 {
    5
}

/// How to reach a cluster.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClusterSettings {
    /// `HOST:PORT` of at least one broker
    pub brokers: Vec<String>,
    /// TLS, where the brokers ask for it
    pub tls: Option<TlsSettings>,
    /// SASL, where the brokers ask for it
    pub sasl: Option<SaslSettings>,
    /// Lag up to the last stable offset: what open transactions hold does not wait
    #[serde(default)]
    pub read_committed: bool,
}

/// TLS to the brokers. Files are PEM.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct TlsSettings {
    /// The CA of the brokers' certificates; the system's when absent
    pub ca_file: Option<PathBuf>,
    /// A client certificate
    pub cert_file: Option<PathBuf>,
    /// Its key
    pub key_file: Option<PathBuf>,
    /// A file with the key's password
    pub key_password_file: Option<PathBuf>,
    /// Whether the brokers' names are not to be those of their certificates
    pub skip_hostname_check: bool,
}

/// SASL. The password is in a file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SaslSettings {
    /// How
    pub mechanism: Mechanism,
    /// Who
    pub username: String,
    /// A file with the password
    pub password_file: PathBuf,
}

/// A mechanism of SASL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Mechanism {
    /// PLAIN
    #[serde(rename = "PLAIN")]
    Plain,
    /// SCRAM-SHA-256
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// SCRAM-SHA-512
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl KafkaSettings {
    /// Time between two sweeps of a cluster.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_seconds.max(1))
    }
}

impl ClusterSettings {
    /// As librdkafka wants them, with what the files hold now. The error names the field and the file.
    pub(super) fn client(&self) -> Result<ClientConfig, String> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers.join(","));
        config.set("client.id", "tidegate");
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            let files = [
                ("ssl.ca.pem", "tls.caFile", &tls.ca_file),
                ("ssl.certificate.pem", "tls.certFile", &tls.cert_file),
                ("ssl.key.pem", "tls.keyFile", &tls.key_file),
                ("ssl.key.password", "tls.keyPasswordFile", &tls.key_password_file),
            ];
            for (key, field, file) in files {
                if let Some(file) = file {
                    config.set(key, read(field, file)?);
                }
            }
            let check = if tls.skip_hostname_check { "none" } else { "https" };
            config.set("ssl.endpoint.identification.algorithm", check);
        }
        if let Some(sasl) = &self.sasl {
            config.set("sasl.mechanism", sasl.mechanism.as_str());
            config.set("sasl.username", &sasl.username);
            config.set("sasl.password", read("sasl.passwordFile", &sasl.password_file)?);
        }
        Ok(config)
    }
}

fn read(field: &str, file: &PathBuf) -> Result<String, String> {
    let content = std::fs::read_to_string(file).map_err(|error| format!("{field} {}: {error}", file.display()))?;
    Ok(content.trim_end_matches(['\n', '\r']).to_owned())
}
