//! Outcomes and latencies of the requests.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::latency::{Latencies, Recorder};

/// How one request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Unavailable,
    Other,
    Error,
}

/// Requests (or connections) by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// 200, gRPC `OK`, or a connection that echoed
    pub ok: u64,
    /// 503, gRPC `UNAVAILABLE` or `RESOURCE_EXHAUSTED`
    pub unavailable: u64,
    /// Any other answer
    pub other: u64,
    /// No answer: refused, reset, or later than the timeout; a connection that the peer closed
    pub errors: u64,
    /// Never sent, because too many were in flight
    pub skipped: u64,
}

impl Counts {
    /// The number of all that were due: answered, failed or skipped.
    pub fn total(&self) -> u64 {
        self.ok + self.unavailable + self.other + self.errors + self.skipped
    }

    /// The share (0 to 1) of [`ok`](Self::ok) in the total; 1 when there were none.
    pub fn ok_share(&self) -> f64 {
        if self.total() == 0 { 1.0 } else { self.ok as f64 / self.total() as f64 }
    }

    /// Returns the counts after `earlier`, which are earlier counts of the same load.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            ok: self.ok.saturating_sub(earlier.ok),
            unavailable: self.unavailable.saturating_sub(earlier.unavailable),
            other: self.other.saturating_sub(earlier.other),
            errors: self.errors.saturating_sub(earlier.errors),
            skipped: self.skipped.saturating_sub(earlier.skipped),
        }
    }
}

/// A reading of a running load.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Counts since the start
    pub counts: Counts,
    /// Latencies of every answer, from the instant its request was due
    pub latencies: Latencies,
    /// Requests without an answer yet, or open connections
    pub in_flight: u64,
}

impl Snapshot {
    /// Requests that were sent since the start.
    pub fn sent(&self) -> u64 {
        (self.counts.total() + self.in_flight).saturating_sub(self.counts.skipped)
    }
}

/// The rate at which a load is sent, over the last looks at it, since arrivals are random.
#[derive(Debug, Clone, Default)]
pub struct SentRate(VecDeque<(Duration, u64)>);

impl SentRate {
    const LOOKS: usize = 3;

    /// Requests/s up to this look, which is this long after the start of the load.
    pub fn look(&mut self, at: Duration, snapshot: &Snapshot) -> f64 {
        let sent = snapshot.sent();
        let (since, before) = self.0.front().copied().unwrap_or_default();
        self.0.push_back((at, sent));
        if self.0.len() > Self::LOOKS {
            self.0.pop_front();
        }
        let elapsed = at.saturating_sub(since).as_secs_f64();
        if elapsed > 0.0 { sent.saturating_sub(before) as f64 / elapsed } else { 0.0 }
    }
}

/// Shared by the tasks of a load.
#[derive(Debug, Clone, Default)]
pub(super) struct Stats(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ok: AtomicU64,
    unavailable: AtomicU64,
    other: AtomicU64,
    errors: AtomicU64,
    skipped: AtomicU64,
    in_flight: AtomicU64,
    latencies: Recorder,
}

impl Stats {
    pub(super) fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Ok => &self.0.ok,
            Outcome::Unavailable => &self.0.unavailable,
            Outcome::Other => &self.0.other,
            Outcome::Error => &self.0.errors,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_skipped(&self) {
        self.0.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn record(&self, latency: Duration) {
        self.0.latencies.record(latency);
    }

    /// Counts one more in flight until the guard is dropped.
    pub(super) fn in_flight(&self) -> InFlight {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = Counts {
            ok: read(&self.0.ok),
            unavailable: read(&self.0.unavailable),
            other: read(&self.0.other),
            errors: read(&self.0.errors),
            skipped: read(&self.0.skipped),
        };
        Snapshot { counts, latencies: self.0.latencies.read(), in_flight: read(&self.0.in_flight) }
    }
}

/// One request in flight.
pub(super) struct InFlight(Stats);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
