//! The gRPC server: the scaler, health and reflection on one port.

use std::{future::pending, sync::Arc, time::Duration};

use tidegate_proto::{FILE_DESCRIPTOR_SET, external_scaler_server::ExternalScalerServer};
use tokio::{net::TcpListener, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic_health::ServingStatus;

use super::{
    Scaler,
    connections::accept,
    tls::{Certificates, TlsError, TlsSettings},
};

/// Settings of the gRPC server.
#[derive(Debug, Clone, Default)]
pub struct ServiceSettings {
    /// TLS; `None` for plain text
    pub tls: Option<TlsSettings>,
}

/// Reason why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The certificates could not be loaded
    #[error("TLS of the gRPC server: {0}")]
    Tls(#[from] TlsError),
    /// The server failed on its connections
    #[error("the gRPC server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The reflection service could not be built
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A KEDA that vanishes without closing its connection (a lost node) is noticed after half a minute.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most streams on one connection. KEDA keeps two open for every push object on its one connection: 10,000 objects must fit, and
/// 40,000 do.
const MOST_STREAMS: u32 = 100_000;
/// Streams of one connection that may be reset before the server has handled them. KEDA resets all streams of a namespace at once
/// when the namespace is deleted; at the default of 20 the connection would be closed, and with it all other streams.
const MOST_RESETS: usize = 10_000;
/// Largest request: its metadata comes from annotations, and Kubernetes limits all annotations of an object to 256 KiB.
const LARGEST_MESSAGE: usize = 256 << 10;
/// Timeout of a call: answers come from memory, so a call that takes longer has a caller that does not send its message.
const SLOWEST_CALL: Duration = Duration::from_secs(10);
/// Time for connections to end at shutdown. Calls take milliseconds and the scaler's streams end by themselves: a connection that is
/// still open after this (with a health watch, say) is left to the end of the process.
const DRAIN: Duration = Duration::from_secs(5);

/// Answers KEDA until `stop` is cancelled, and then lets calls end and closes streams.
///
/// `grpc.health.v1` knows the services `""` and `externalscaler.ExternalScaler`, and both versions of reflection are served, so
/// that `grpcurl` needs no `.proto` file.
///
/// Fails before the first connection (certificates, reflection), or when the server itself fails.
pub async fn serve(
    listener: TcpListener,
    settings: ServiceSettings,
    scaler: Scaler,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let scaler = Arc::new(scaler);
    let certificates = match settings.tls {
        Some(settings) => Some(Arc::new(Certificates::load(settings).await?)),
        None => None,
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<ExternalScalerServer<Scaler>>().await;
    let reflection =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET);
    let router = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(Some(MOST_STREAMS))
        .http2_max_pending_accept_reset_streams(Some(MOST_RESETS))
        .timeout(SLOWEST_CALL)
        .add_service(ExternalScalerServer::from_arc(Arc::clone(&scaler)).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let stopping = async {
        stop.cancelled().await;
        health.set_not_serving::<ExternalScalerServer<Scaler>>().await;
        health.set_service_status("", ServingStatus::NotServing).await;
        scaler.close();
    };
    let serving = router.serve_with_incoming_shutdown(accept(listener, certificates.clone()), stopping);
    let drained = async {
        stop.cancelled().await;
        sleep(DRAIN).await;
    };
    let certificates = async {
        match &certificates {
            Some(certificates) => certificates.keep_up_to_date(&scaler.metrics).await,
            None => pending().await,
        }
    };
    tokio::select! {
        served = serving => served?,
        () = drained => tracing::info!("connections are still open {DRAIN:?} after the end was asked for"),
        () = scaler.tell_streams() => {}
        () = certificates => {}
    }
    Ok(())
}
