//! OTLP over gRPC: AI gateways that push the tokens of models, and Envoys that push what their clusters carry.
//!
//! A call comes in by the `gate`, and is taken in before it is answered, so that the answer can say which points were refused
//! (OTLP's partial success). What one of Tidegate's pods is told it tells the others (`peers`), so that all of them answer KEDA
//! alike.
//!
//! Anybody may call. So nothing is kept of a proxy that the Plan does not have, there is room of its own for senders that it does,
//! and nobody but Tidegate's pods may say that a message is another's.

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

/// Where metrics are pushed to, and which of them count.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    /// Whether Envoys push what their clusters carry
    pub clusters: bool,
    /// Whether AI gateways push tokens
    pub tokens: bool,
    /// Host and port that lead to all of Tidegate's pods, such as the headless Service's
    pub peers: Option<String>,
}

/// Why nothing can be pushed.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The address is taken, or not one of this machine
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Which one
        address: SocketAddr,
        /// Why
        source: std::io::Error,
    },
    /// The connections
    #[error("the OTLP server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// The SDKs of OpenTelemetry and Envoy put all that they know into one message. A thousand models are 8 MiB. Compressed ones count
/// as they are after.
const LARGEST_MESSAGE: usize = 16 << 20;
/// A message is read within 10 s, and the calls before it are over in milliseconds.
const LONGEST_CALL: Duration = Duration::from_secs(20);
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Streams of one connection: a sender has one call open at a time.
const MOST_STREAMS: u32 = 64;
/// Bytes that one connection, and one of its calls, may send before they are read.
const UNREAD: u32 = 256 << 10;
const UNREAD_OF_CALL: u32 = 128 << 10;

/// The socket that metrics are pushed to.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, OtlpError> {
    let listener = TcpListener::bind(address).await.map_err(|source| OtlpError::Bind { address, source })?;
    tracing::info!(%address, "takes in OTLP metrics");
    Ok(listener)
}

/// Takes in what is pushed until `shutdown` says so.
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
