//! The cryptography of TLS.

/// Installs ring as the crypto provider of every TLS connection of the process.
pub(crate) fn install_crypto() {
    // An error means that it was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
