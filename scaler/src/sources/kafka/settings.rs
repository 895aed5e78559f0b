//! Settings of Kafka clusters by name, from a file.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use rdkafka::ClientConfig;
use serde::Deserialize;

use super::{files::read, oauth::OauthSettings};

/// The clusters of a configuration file: `clusters: {default: {brokers: [kafka:9092]}}`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KafkaSettings {
    /// The clusters, by the name that annotations use
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
    /// TLS, if the brokers require it
    pub tls: Option<TlsSettings>,
    /// SASL, if the brokers require it
    pub sasl: Option<SaslSettings>,
    /// Whether lag ends at the last stable offset: messages of open transactions are not part of it
    #[serde(default)]
    pub read_committed: bool,
    /// Timeout of a request, in seconds
    #[serde(default = "ten")]
    pub timeout_seconds: u64,
}

fn ten() -> u64 {
    10
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
    /// Whether the brokers' names may differ from those in their certificates
    pub skip_hostname_check: bool,
}

/// SASL, by its mechanism. Passwords are in files.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "mechanism", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum SaslSettings {
    /// A user and a password, which are sent as they are
    #[serde(rename = "PLAIN")]
    Plain(PasswordSettings),
    /// A user and a password, which is not sent itself
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256(PasswordSettings),
    /// The same with a longer hash
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512(PasswordSettings),
    /// Tokens of OAuth's client credentials grant
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer(OauthSettings),
    /// Kerberos, in builds with the feature `gssapi`
    #[serde(rename = "GSSAPI")]
    Gssapi(KerberosSettings),
}

/// A user and its password.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PasswordSettings {
    /// The user's name
    pub username: String,
    /// A file with the password
    pub password_file: PathBuf,
}

/// A principal of Kerberos.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KerberosSettings {
    /// The principal's name, such as `tidegate@EXAMPLE.ORG`
    pub principal: String,
    /// The keytab file with the principal's keys
    pub keytab_file: PathBuf,
    /// The brokers' own principal, without host and realm
    #[serde(default = "kafka")]
    pub service_name: String,
}

fn kafka() -> String {
    "kafka".to_owned()
}

impl KafkaSettings {
    /// Time between two sweeps of a cluster.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_seconds.max(1))
    }
}

impl ClusterSettings {
    /// Timeout of a request.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.clamp(1, 600))
    }

    /// The source of tokens, if the mechanism uses any.
    pub(super) fn oauth(&self) -> Option<&OauthSettings> {
        match &self.sasl {
            Some(SaslSettings::OauthBearer(oauth)) => Some(oauth),
            _ => None,
        }
    }

    /// The settings in librdkafka's form, with the present content of the files. An error names the field and the file.
    pub(super) fn client(&self) -> Result<ClientConfig, String> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers.join(","));
        config.set("client.id", "tidegate");
        // The client joins no group, but without a group.id it crashes when a coordinator moves (confluentinc/librdkafka#5040).
        config.set("group.id", "tidegate").set("enable.auto.commit", "false");
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
            sasl.set(&mut config)?;
        }
        Ok(config)
    }
}

impl SaslSettings {
    /// The mechanism's name, as brokers call it.
    pub(super) fn mechanism(&self) -> &'static str {
        match self {
            Self::Plain(_) => "PLAIN",
            Self::ScramSha256(_) => "SCRAM-SHA-256",
            Self::ScramSha512(_) => "SCRAM-SHA-512",
            Self::OauthBearer(_) => "OAUTHBEARER",
            Self::Gssapi(_) => "GSSAPI",
        }
    }

    /// The name of the user that logs in.
    pub(super) fn user(&self) -> &str {
        match self {
            Self::Plain(password) | Self::ScramSha256(password) | Self::ScramSha512(password) => &password.username,
            Self::OauthBearer(client) => &client.client_id,
            Self::Gssapi(kerberos) => &kerberos.principal,
        }
    }

    fn set(&self, config: &mut ClientConfig) -> Result<(), String> {
        config.set("sasl.mechanism", self.mechanism());
        match self {
            Self::Plain(password) | Self::ScramSha256(password) | Self::ScramSha512(password) => {
                config.set("sasl.username", &password.username);
                config.set("sasl.password", read("sasl.passwordFile", &password.password_file)?);
            }
            // Its tokens come from a callback.
            Self::OauthBearer(_) => {}
            Self::Gssapi(_) if !cfg!(feature = "gssapi") => {
                return Err("sasl.mechanism GSSAPI: this Tidegate is built without Kerberos; build it with \
                            --features gssapi, which needs libsasl2"
                    .to_owned());
            }
            Self::Gssapi(kerberos) => {
                config.set("sasl.kerberos.principal", &kerberos.principal);
                config.set("sasl.kerberos.service.name", &kerberos.service_name);
                config.set("sasl.kerberos.keytab", kerberos.keytab_file.to_string_lossy());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(sasl: &str) -> Result<ClusterSettings, String> {
        let text = format!(r#"{{"brokers": ["kafka:9092"], "sasl": {sasl}}}"#);
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    fn wrong(sasl: &str) -> String {
        parsed(sasl).and_then(|settings| settings.client().map(drop)).unwrap_err()
    }

    #[test]
    fn a_wrong_setting_names_itself() {
        for (sasl, named) in [
            (r#"{"mechanism": "MD5"}"#, "unknown variant `MD5`, expected one of `PLAIN`, `SCRAM-SHA-256`"),
            (r#"{"mechanism": "PLAIN", "username": "a"}"#, "missing field `passwordFile`"),
            (r#"{"mechanism": "PLAIN", "username": "a", "passwordFile": "b", "user": "c"}"#, "unknown field `user`"),
            (
                r#"{"mechanism": "PLAIN", "username": "a", "passwordFile": "/no/file"}"#,
                "sasl.passwordFile /no/file: No such",
            ),
            (r#"{"mechanism": "OAUTHBEARER", "clientId": "a"}"#, "missing field `tokenEndpoint`"),
        ] {
            let error = wrong(sasl);
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    #[cfg(not(feature = "gssapi"))]
    fn kerberos_is_refused_by_a_build_without_it() {
        let error = wrong(r#"{"mechanism": "GSSAPI", "principal": "tidegate@EXAMPLE.ORG", "keytabFile": "/k"}"#);
        assert!(error.contains("built without Kerberos"), "{error}");
    }

    #[test]
    fn a_user_over_tls_becomes_settings_of_librdkafka() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "lag-reader\n").unwrap();
        let sasl = format!(r#"{{"mechanism": "SCRAM-SHA-512", "username": "tidegate", "passwordFile": {file:?}}}"#);
        let mut settings = parsed(&sasl).unwrap();
        settings.tls = Some(TlsSettings { ca_file: Some(file), ..TlsSettings::default() });
        let config = settings.client().unwrap();
        for (key, value) in [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.password", "lag-reader"),
            ("ssl.ca.pem", "lag-reader"),
            ("ssl.endpoint.identification.algorithm", "https"),
        ] {
            assert_eq!(config.get(key), Some(value), "{key}");
        }
    }
}
