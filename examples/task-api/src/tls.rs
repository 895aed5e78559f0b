//! TLS with the certificate that is in the files when a connection comes, so that a renewed one needs no restart.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

const HANDSHAKE: Duration = Duration::from_secs(10);

/// The files of a certificate, as a Secret of type `kubernetes.io/tls` has them.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Reads the files.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor> {
        let named = |file: &PathBuf| format!("{}: no PEM of the kind that is wanted", file.display());
        let chain = CertificateDer::pem_file_iter(&self.chain).with_context(|| named(&self.chain))?;
        let chain = chain.collect::<Result<Vec<_>, _>>().with_context(|| named(&self.chain))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).with_context(|| named(&self.key))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// A connection after its handshake; `None` if that fails, which is the client's affair.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        timeout(HANDSHAKE, self.acceptor().ok()?.accept(stream)).await.ok()?.ok()
    }
}
