//! What becomes of requests while a workload has no replicas.

use std::time::Duration;

use tidegate_core::{
    held::Held,
    intent::Intent,
    plan::PlannedWorkload,
    refused::{Refused, TimedOut},
    request_timeout::HoldTooShort,
    workload::WorkloadId,
};

use crate::demand::Demands;

/// A workload, and what is held of its requests.
pub(super) struct AtZero<'a> {
    pub(super) id: &'a WorkloadId,
    pub(super) workload: &'a PlannedWorkload,
    pub(super) intent: &'a Intent,
    pub(super) demands: &'a Demands,
    pub(super) held: Held,
}

impl AtZero<'_> {
    /// Time-outs that are too short for its last start, and requests that were refused lately.
    pub(super) fn problems(&self) -> Vec<String> {
        if !self.is_gated() {
            return Vec::new();
        }
        let timeout = self.workload.request_timeout.as_deref();
        let short = self.start().into_iter().flat_map(|start| HoldTooShort::for_start(start, self.hold(), timeout));
        let Refused { limited, timed_out } = self.demands.refused(self.id);
        let limited = self.intent.hold.limit.zip(limited).map(|(limit, limited)| limited.told(limit));
        let timed_out = timed_out.map(|TimedOut { count, since, held, cause }| {
            let since = since.format("%Y-%m-%dT%H:%M:%SZ");
            let cause = cause.sentence();
            format!(
                "{count} requests were held for {} s and then answered 503 since {since}, the last one because: {cause}",
                held.as_secs()
            )
        });
        short.map(|short| short.to_string()).chain(limited).chain(timed_out).collect()
    }

    /// How long requests are held, and what else ends them.
    pub(super) fn notices(&self) -> Vec<String> {
        let hold = humantime::format_duration(self.hold());
        match &self.workload.gates {
            Err(why) if self.intent.bounds.min == 0 && self.intent.lowest() > 0 => {
                vec![format!("one replica is kept: {why}")]
            }
            Ok(gates) if !gates.is_empty() => {
                let Held { requests, connections, .. } = self.held;
                let in_hand = (requests + connections > 0).then(|| {
                    format!("the activator has {requests} requests and {connections} connections in hand, for {hold} at most")
                });
                let asleep = (in_hand.is_none() && self.workload.replicas.wanted == 0).then(|| {
                    format!(
                        "it has no replicas: a request is held until a pod is ready, for {hold} at most, and wakes it"
                    )
                });
                in_hand.into_iter().chain(asleep).chain([self.times()]).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The time that it takes to start, beside the time that clients are given.
    fn times(&self) -> String {
        let start = self.start().map_or_else(
            || "how long it takes to start is not known: Tidegate has seen no start of it since its own".to_owned(),
            |start| {
                format!(
                    "its last start took {:.1} s, from the first replica asked for to a ready pod",
                    start.as_secs_f64()
                )
            },
        );
        match &self.workload.request_timeout {
            Some(timeout) => format!("{start}; {timeout}"),
            None => start,
        }
    }

    fn is_gated(&self) -> bool {
        self.workload.gates.as_ref().is_ok_and(|gates| !gates.is_empty())
    }

    fn hold(&self) -> Duration {
        self.intent.hold.timeout
    }

    fn start(&self) -> Option<Duration> {
        self.demands.last_start(self.id).or(self.workload.measured_startup)
    }
}
