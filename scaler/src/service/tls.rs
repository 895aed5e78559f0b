//! TLS with certificates that are reloaded when their files change.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::time::sleep;

use crate::metrics::ScalerMetrics;

/// The files of the server's certificate.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// Certificate chain (PEM), the server's own first
    pub cert_file: PathBuf,
    /// Private key (PEM)
    pub key_file: PathBuf,
    /// CA (PEM) that must have issued the client's certificate; `None` if clients need no certificate
    pub client_ca_file: Option<PathBuf>,
}

/// Reason why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file
        path: String,
        /// Why
        source: std::io::Error,
    },
    /// A file without the expected content
    #[error("{path}: {source}, wants {wants} as PEM")]
    Pem {
        /// The file
        path: String,
        /// The expected content
        wants: &'static str,
        /// Why
        source: rustls::pki_types::pem::Error,
    },
    /// Files that do not fit together
    #[error("{path}: {source}")]
    Invalid {
        /// The file
        path: String,
        /// Why
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Interval at which the files are read: Kubernetes itself takes up to a minute to bring a new Secret into a pod.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The newest valid certificates.
pub(super) struct Certificates {
    settings: TlsSettings,
    current: Mutex<Arc<ServerConfig>>,
}

/// Contents of the files.
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Certificates {
    pub(super) async fn load(settings: TlsSettings) -> Result<Self, TlsError> {
        let config = Files::read(&settings).await?.config(&settings)?;
        Ok(Self { settings, current: Mutex::new(Arc::new(config)) })
    }

    /// The configuration for the next connection.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.lock())
    }

    /// Reads the files again and again, and takes new certificates when they are valid. Until they are, the last valid ones stay.
    /// Never returns.
    pub(super) async fn keep_up_to_date(&self, metrics: &ScalerMetrics) {
        let mut seen = None;
        loop {
            let files = Files::read(&self.settings).await;
            // New contents are reported once, not every time. Contents are compared, not times: they can't be mistaken.
            let now = hash(&files);
            let first = seen.is_none();
            if seen.replace(now) != Some(now) {
                match files.and_then(|files| files.config(&self.settings)) {
                    Ok(config) => {
                        *self.current.lock() = Arc::new(config);
                        metrics.tls_files_are_bad(false);
                        if !first {
                            tracing::info!(file = %self.settings.cert_file.display(), "took the new certificate");
                        }
                    }
                    Err(error) => {
                        metrics.tls_files_are_bad(true);
                        tracing::error!(%error, "the new certificate is no good, the one before stays");
                    }
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

impl Files {
    async fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        Ok(Self {
            cert: read(&settings.cert_file).await?,
            key: read(&settings.key_file).await?,
            client_ca: match &settings.client_ca_file {
                Some(file) => Some(read(file).await?),
                None => None,
            },
        })
    }

    fn config(&self, settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(invalid(&settings.cert_file))?;
        let builder = match (&settings.client_ca_file, &self.client_ca) {
            (Some(file), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(file, pem)? {
                    roots.add(certificate).map_err(invalid(file))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(invalid(file))?)
            }
            _ => builder.with_no_client_auth(),
        };
        let chain = certificates(&settings.cert_file, &self.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(pem(&settings.key_file, "a private key"))?;
        // Fails if the key does not belong to the certificate.
        let mut config = builder.with_single_cert(chain, key).map_err(invalid(&settings.cert_file))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

async fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(file).await.map_err(|source| TlsError::Read { path: file.display().to_string(), source })
}

fn certificates(file: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = pem(file, "certificates");
    match CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>() {
        Ok(none) if none.is_empty() => Err(wrong(rustls::pki_types::pem::Error::NoItemsFound)),
        found => found.map_err(wrong),
    }
}

fn hash(files: &Result<Files, TlsError>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match files {
        Ok(Files { cert, key, client_ca }) => (cert, key, client_ca).hash(&mut hasher),
        Err(error) => error.to_string().hash(&mut hasher),
    }
    hasher.finish()
}

fn pem(file: &Path, wants: &'static str) -> impl FnOnce(rustls::pki_types::pem::Error) -> TlsError {
    let path = file.display().to_string();
    move |source| TlsError::Pem { path, wants, source }
}

fn invalid<E: Into<Box<dyn std::error::Error + Send + Sync>>>(file: &Path) -> impl FnOnce(E) -> TlsError {
    let path = file.display().to_string();
    move |source| TlsError::Invalid { path, source: source.into() }
}
