//! The scaler's metrics about itself, in Prometheus' base units.

mod workloads;

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Instant,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tidegate_core::metric::{Metric, register};
use tonic::{Code, Status};

pub use self::workloads::register_workloads;
use crate::service::status::RpcRefusal;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rpc {
    method: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: &'static str,
}

/// Counters, durations and open streams of calls: `tidegate_scaler_…`.
#[derive(Debug, Clone)]
pub struct ScalerMetrics {
    rpcs: Family<Rpc, Counter<u64, AtomicU64>>,
    seconds: Family<Method, Histogram, fn() -> Histogram>,
    streams: Family<Method, Gauge<i64, AtomicI64>>,
    tls_files_bad: Gauge<i64, AtomicI64>,
}

impl ScalerMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let histogram: fn() -> Histogram =
            || Histogram::new([0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.005, 0.01, 0.1, 1.0]);
        let metrics = Self {
            rpcs: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            streams: Family::default(),
            tls_files_bad: Gauge::default(),
        };
        register(registry, Metric::ScalerRpcs, metrics.rpcs.clone());
        register(registry, Metric::ScalerRpcDuration, metrics.seconds.clone());
        register(registry, Metric::ScalerOpenStreams, metrics.streams.clone());
        register(registry, Metric::ScalerTlsFilesBad, metrics.tls_files_bad.clone());
        metrics
    }

    pub(crate) fn observe<T>(
        &self,
        method: &'static str,
        answer: impl FnOnce() -> Result<T, RpcRefusal>,
    ) -> Result<T, Status> {
        let start = Instant::now();
        let answer = answer();
        let code = answer.as_ref().map_or_else(|refused| code(refused.code()), |_| "OK");
        self.rpcs.get_or_create(&Rpc { method, code }).inc();
        self.seconds.get_or_create(&Method { method }).observe(start.elapsed().as_secs_f64());
        answer.map_err(Status::from)
    }

    pub(crate) fn stream_opened(&self, method: &'static str) -> OpenStream {
        let gauge = self.streams.get_or_create(&Method { method }).clone();
        gauge.inc();
        OpenStream(gauge)
    }

    pub(crate) fn tls_files_are_bad(&self, bad: bool) {
        self.tls_files_bad.set(i64::from(bad));
    }
}

/// A stream, which is counted as open until this is dropped.
pub(crate) struct OpenStream(Gauge<i64, AtomicI64>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The name of a code in gRPC's specification, for the codes that the scaler gives.
fn code(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::NotFound => "NOT_FOUND",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Unavailable => "UNAVAILABLE",
        _ => "OTHER",
    }
}
