//! The gRPC server: the scaler, health and reflection on one port.

use std::{io, sync::Arc, time::Duration};

use tidegate_proto::{FILE_DESCRIPTOR_SET, external_scaler_server::ExternalScalerServer};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_health::ServingStatus;

use super::{Scaler, TlsError, TlsSettings, tls};

/// How the scaler is served.
#[derive(Debug, Clone, Default)]
pub struct ServiceSettings {
    /// Plain text without
    pub tls: Option<TlsSettings>,
}

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The certificates
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The listener
    #[error("the gRPC server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// Reflection
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The socket
    #[error("the gRPC server's socket: {0}")]
    Io(#[from] io::Error),
}

/// A KEDA that is gone without a word (a node lost) is noticed after half a minute.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Two streams stay open for every push object on KEDA's one connection: 10,000 objects must fit.
const MAX_STREAMS: u32 = 100_000;
/// Metadata of a ScaledObject is bounded by etcd's 1.5 MiB; ours is far below.
const MAX_MESSAGE: usize = 1 << 20;

/// Answers KEDA until `shutdown` says so, and then lets calls end.
pub async fn serve(
    listener: TcpListener,
    settings: ServiceSettings,
    scaler: Scaler,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<ExternalScalerServer<Scaler>>().await;
    let reflection =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET);
    let stop = async move {
        // An error means that nobody can say stop any more, which is one.
        let _ = shutdown.wait_for(|stop| *stop).await;
        health.set_not_serving::<ExternalScalerServer<Scaler>>().await;
        health.set_service_status("", ServingStatus::NotServing).await;
    };
    let router = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(Some(MAX_STREAMS))
        .add_service(ExternalScalerServer::new(scaler).max_decoding_message_size(MAX_MESSAGE))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    match settings.tls {
        None => router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop).await?,
        Some(settings) => {
            let connections = tls::accept(listener, Arc::new(tls::Certificates::load(settings)?));
            router.serve_with_incoming_shutdown(connections, stop).await?;
        }
    }
    Ok(())
}
