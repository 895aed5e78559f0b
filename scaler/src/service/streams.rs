//! The two streams of a push trigger.

use tidegate_proto::{GetMetricSpecResponse, IsActiveResponse, ScaledObjectRef};
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
use tonic::Status;

use super::Scaler;

/// The state when it is first known, and then every change. KEDA acts on `true` alone, and every `true` delays scaling to
/// zero (it patches `lastActiveTime`), so nothing is sent twice.
pub(super) fn activity(
    scaler: Scaler,
    object: ScaledObjectRef,
) -> impl Stream<Item = Result<IsActiveResponse, Status>> {
    let mut sent = None;
    let open = scaler.metrics.stream_opened("StreamIsActive");
    let stop = scaler.shutdown.clone();
    let rounds = WatchStream::new(scaler.signals.rounds()).filter_map(move |_| {
        let _open = &open;
        let active = scaler.active(&object).ok()?;
        (sent.replace(active) != Some(active)).then_some(Ok(IsActiveResponse { result: active }))
    });
    until(rounds, stop)
}

/// The specs at once. They are made of the metadata, which stays as it is for as long as the stream is open: KEDA opens
/// another one when the ScaledObject changes.
pub(super) fn specs(
    scaler: &Scaler,
    specs: GetMetricSpecResponse,
) -> impl Stream<Item = Result<GetMetricSpecResponse, Status>> + use<> {
    let open = scaler.metrics.stream_opened("StreamMetricSpec");
    let first = tokio_stream::once(Ok(specs)).chain(tokio_stream::pending()).map(move |specs| {
        let _open = &open;
        specs
    });
    until(first, scaler.shutdown.clone())
}

/// Ends when the process is to end, so that draining does not wait for KEDA.
fn until<S: Stream>(stream: S, shutdown: tokio::sync::watch::Receiver<bool>) -> impl Stream<Item = S::Item> {
    let stop = WatchStream::new(shutdown).filter(|stop| *stop).map(|_| None);
    stream.map(Some).merge(stop).take_while(Option::is_some).filter_map(|item| item)
}
