//! OTLP over gRPC: AI gateways push the tokens of models, and Envoys push the statistics of their clusters.
//!
//! A call passes the `gate`, and is processed before it is answered, so that the answer can report which points were refused
//! (OTLP's partial success). A pod of Tidegate forwards each message to the others (`peers`), so that all of them give KEDA the
//! same answers.
//!
//! Callers are unauthenticated. So nothing is stored for a proxy that the Plan does not have, senders that it has get room of
//! their own, and only Tidegate's pods may forward a message on behalf of its sender.

mod clusters;
mod gate;
mod heard;
mod outcome;
mod peers;
mod proxies;
mod receiver;
mod senders;
mod stream;
mod tokens;
mod who;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::MetricsServiceServer;
use tidegate_core::plan::Plan;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tonic::{codec::CompressionEncoding, transport::Server};

use self::{
    gate::{Gate, GateLayer},
    outcome::Outcome,
    peers::Peers,
    receiver::Receiver,
};
use crate::{service::connections::accept_plain, store::SignalStore};

/// Settings of the OTLP receiver: the metrics that are used, and the pods that they are forwarded to.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    /// Whether Envoys push the statistics of their clusters
    pub clusters: bool,
    /// Whether AI gateways push tokens
    pub tokens: bool,
    /// Host and port that resolve to all of Tidegate's pods, such as the headless Service's
    pub peers: Option<String>,
}

/// An error that keeps the OTLP server from running.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The address is taken, or not one of this machine
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address
        address: SocketAddr,
        /// The cause
        source: std::io::Error,
    },
    /// The server failed while it ran
    #[error("the OTLP server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Largest message in bytes, after decompression. OpenTelemetry's SDKs and Envoy put everything into one message. A thousand
/// models are 8 MiB.
const LARGEST_MESSAGE: usize = 16 << 20;
/// Timeout of a call. Its message is read within 10 s, and the calls ahead of it are over in milliseconds.
const LONGEST_CALL: Duration = Duration::from_secs(20);
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Most streams of one connection: a sender has one call open at a time.
const MOST_STREAMS: u32 = 64;
/// Flow-control windows: the bytes that one connection, and one of its calls, may send before they are read.
const UNREAD: u32 = 256 << 10;
const UNREAD_OF_CALL: u32 = 128 << 10;

/// Opens the socket that metrics are pushed to.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, OtlpError> {
    let listener = TcpListener::bind(address).await.map_err(|source| OtlpError::Bind { address, source })?;
    tracing::info!(%address, "takes in OTLP metrics");
    Ok(listener)
}

/// Receives pushed metrics until `stop` is cancelled.
pub async fn serve(
    listener: TcpListener,
    settings: OtlpSettings,
    signals: Arc<SignalStore>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    stop: CancellationToken,
) -> Result<(), OtlpError> {
    let peers = settings.peers.clone().map(|host| Arc::new(Peers::new(host, Arc::clone(&signals))));
    let gate = GateLayer(Arc::new(Gate::new(plan.clone(), peers.clone())));
    let receiver = Arc::new(Receiver::new(settings, signals, plan, peers.clone()));
    let service = MetricsServiceServer::from_arc(Arc::clone(&receiver))
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(LARGEST_MESSAGE);
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .max_concurrent_streams(Some(MOST_STREAMS))
        .initial_connection_window_size(Some(UNREAD))
        .initial_stream_window_size(Some(UNREAD_OF_CALL))
        .timeout(LONGEST_CALL)
        .layer(gate)
        .add_service(service)
        .serve_with_incoming_shutdown(accept_plain(listener), stop.clone().cancelled_owned());
    let passing_on = async {
        match &peers {
            Some(peers) => peers.run(stop).await,
            None => stop.cancelled().await,
        }
    };
    tokio::select! {
        served = serving => Ok(served?),
        () = receiver.close_seconds() => Ok(()),
        () = passing_on => Ok(()),
    }
}

#[cfg(test)]
mod tests;
