//! Metrics of the activator. No label holds the name of a workload: users could make any number of them.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{self, Registry, Unit},
};
use tidegate_core::metric::Metric;

use crate::kind::Kind;

/// Registers a metric under the name, unit and help of the table.
fn register(registry: &mut Registry, metric: Metric, measured: impl registry::Metric) {
    match metric.unit() {
        "" => registry.register(metric.stem(), metric.help(), measured),
        unit => registry.register_with_unit(metric.stem(), metric.help(), Unit::Other(unit.to_owned()), measured),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    what: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReportResult {
    result: &'static str,
}

/// The activator's counters and gauges. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct ActivatorMetrics {
    in_hand: Family<What, Gauge<i64, AtomicI64>>,
    outcomes: Family<Outcome, Counter<u64, AtomicU64>>,
    hold_seconds: Histogram,
    connect_failures: Counter<u64, AtomicU64>,
    clients_refused: Counter<u64, AtomicU64>,
    ports: Family<State, Gauge<i64, AtomicI64>>,
    peer_reports: Family<ReportResult, Counter<u64, AtomicU64>>,
}

impl Default for ActivatorMetrics {
    fn default() -> Self {
        Self {
            in_hand: Family::default(),
            outcomes: Family::default(),
            hold_seconds: Histogram::new([0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0]),
            connect_failures: Counter::default(),
            clients_refused: Counter::default(),
            ports: Family::default(),
            peer_reports: Family::default(),
        }
    }
}

impl ActivatorMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        register(registry, Metric::ActivatorInHand, self.in_hand.clone());
        register(registry, Metric::ActivatorOutcomes, self.outcomes.clone());
        register(registry, Metric::ActivatorHoldDuration, self.hold_seconds.clone());
        register(registry, Metric::ActivatorConnectFailures, self.connect_failures.clone());
        register(registry, Metric::ActivatorClientsRefused, self.clients_refused.clone());
        register(registry, Metric::ActivatorPorts, self.ports.clone());
        register(registry, Metric::ActivatorPeerReports, self.peer_reports.clone());
    }

    pub(crate) fn entered(&self, kind: Kind) {
        self.in_hand.get_or_create(&What { what: kind.as_str() }).inc();
    }

    pub(crate) fn left(&self, kind: Kind) {
        self.in_hand.get_or_create(&What { what: kind.as_str() }).dec();
    }

    fn ended(&self, kind: Kind, outcome: &'static str) {
        self.outcomes.get_or_create(&Outcome { what: kind.as_str(), outcome }).inc();
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.hold_seconds.observe(time.as_secs_f64());
    }

    pub(crate) fn connect_failed(&self) {
        self.connect_failures.inc();
    }

    pub(crate) fn client_refused(&self) {
        self.clients_refused.inc();
    }

    pub(crate) fn ports(&self, listening: usize, failing: usize) {
        for (state, ports) in [("listening", listening), ("failing", failing)] {
            self.ports.get_or_create(&State { state }).set(i64::try_from(ports).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn peer_report(&self, result: &'static str) {
        self.peer_reports.get_or_create(&ReportResult { result }).inc();
    }
}

/// Counts the outcome of one request or connection when it is dropped: it is gone unless something else is known.
#[derive(Debug)]
pub(crate) struct Ending<'a> {
    kind: Kind,
    metrics: &'a ActivatorMetrics,
    outcome: &'static str,
}

impl<'a> Ending<'a> {
    pub(crate) fn new(kind: Kind, metrics: &'a ActivatorMetrics) -> Self {
        Self { kind, metrics, outcome: "gone" }
    }

    pub(crate) fn is(&mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.metrics.ended(self.kind, self.outcome);
    }
}
