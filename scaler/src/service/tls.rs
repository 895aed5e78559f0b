//! TLS with certificates that are read again when their files change.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::{Stream, wrappers::ReceiverStream};

/// The files of the server's certificate.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// Certificate chain (PEM)
    pub cert_file: PathBuf,
    /// Private key (PEM)
    pub key_file: PathBuf,
    /// Clients must show a certificate of this CA (PEM)
    pub client_ca_file: Option<PathBuf>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read as PEM
    #[error("{path}: {source}")]
    Pem {
        /// The file
        path: String,
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

/// Files are looked at this often at most.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A client that connects and says nothing is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes that wait to be taken by the server.
const BACKLOG: usize = 64;

/// The newest good certificates.
pub(super) struct Certificates {
    settings: TlsSettings,
    current: Mutex<(Arc<ServerConfig>, Vec<Option<SystemTime>>, Instant)>,
}

impl Certificates {
    pub(super) fn load(settings: TlsSettings) -> Result<Self, TlsError> {
        let current = Mutex::new((Arc::new(read(&settings)?), modified(&settings), Instant::now()));
        Ok(Self { settings, current })
    }

    /// What the files hold. While they hold nothing good, the last good ones stay.
    fn config(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let (config, seen, looked) = &mut *current;
        if looked.elapsed() >= LOOK_EVERY {
            *looked = Instant::now();
            let now = modified(&self.settings);
            if now != *seen {
                match read(&self.settings) {
                    Ok(new) => {
                        tracing::info!(file = %self.settings.cert_file.display(), "certificates were replaced");
                        (*config, *seen) = (Arc::new(new), now);
                    }
                    Err(error) => tracing::error!(%error, "new certificates are not good, the old ones stay"),
                }
            }
        }
        Arc::clone(config)
    }
}

/// Handshakes run side by side: a slow one holds up no other.
pub(super) fn accept(
    listener: TcpListener,
    certificates: Arc<Certificates>,
) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let (done, connections) = tokio::sync::mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = done.closed() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (acceptor, done) = (TlsAcceptor::from(certificates.config()), done.clone());
            tokio::spawn(async move {
                match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => _ = done.send(Ok(stream)).await,
                    Ok(Err(error)) => tracing::info!(%peer, %error, "TLS handshake failed"),
                    Err(_) => tracing::info!(%peer, "TLS handshake took too long"),
                }
            });
        }
    });
    ReceiverStream::new(connections)
}

fn modified(settings: &TlsSettings) -> Vec<Option<SystemTime>> {
    let files = [Some(&settings.cert_file), Some(&settings.key_file), settings.client_ca_file.as_ref()];
    files.into_iter().flatten().map(|file| std::fs::metadata(file).and_then(|meta| meta.modified()).ok()).collect()
}

fn read(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(invalid(&settings.cert_file))?;
    let builder = match &settings.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(invalid(file))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(invalid(file))?)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&settings.key_file).map_err(pem(&settings.key_file))?;
    let mut config =
        builder.with_single_cert(certificates(&settings.cert_file)?, key).map_err(invalid(&settings.cert_file))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(pem(file))
}

fn pem(file: &Path) -> impl FnOnce(rustls::pki_types::pem::Error) -> TlsError {
    let path = file.display().to_string();
    move |source| TlsError::Pem { path, source }
}

fn invalid<E: Into<Box<dyn std::error::Error + Send + Sync>>>(file: &Path) -> impl FnOnce(E) -> TlsError {
    let path = file.display().to_string();
    move |source| TlsError::Invalid { path, source: source.into() }
}
