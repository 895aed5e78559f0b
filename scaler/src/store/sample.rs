//! A proxy's answer: what Envoy counts of each kept cluster.

use super::kept_clusters::Series;

/// Envoy's counters for one cluster.
///
/// Seen with Envoy 1.40: `requests + refused - retries` is the number of requests that users sent, whether they were
/// answered (10 of 10), refused by the circuit breaker (4 + 16 of 20), ejected because connecting failed (10 of 10),
/// ejected with two retries each (30 - 20 of 10), answered 503 with two retries each (30 - 20 of 10), or refused because health
/// checks or outlier detection left no host (10 of 10 and 1 + 9 of 10).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counters {
    /// `upstream_rq_total`: requests and TCP connections that were sent to an endpoint, retries included
    pub requests: f64,
    /// `upstream_rq_active_overflow`, `upstream_rq_pending_overflow`, `upstream_rq_pending_failure_eject` and
    /// `upstream_cx_none_healthy`: requests that got no connection, because of the circuit breaker, because connecting failed, or
    /// because no host is healthy; a retry counts again
    pub refused: f64,
    /// `upstream_rq_retry`: requests that the proxy sent again on its own
    pub retries: f64,
    /// `upstream_rq_active` and `upstream_rq_pending_active`
    pub in_flight: f64,
    /// `upstream_cx_active`
    pub connections: f64,
    /// `ratelimit.over_limit`: requests that a global rate limit refused. They are counted nowhere else, and are no demand
    pub rate_limited: f64,
    /// `membership_total`: endpoints. Shown for every cluster that is configured and has some, used or not
    pub members: f64,
}

/// The signals that can be read from a page: requests/s, requests in flight, connections. A proxy leaves out statistics that its
/// configuration does not include, and a missing one looks like one that was never used.
pub type Shows = [bool; 3];

/// A proxy's answer: its counters for the kept clusters that it shows. A cluster that is not in it does not exist there.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The generation of the series whose ids it has
    pub(super) generation: u64,
    clusters: Vec<(u32, Counters)>,
    shows: Shows,
}

impl Sample {
    /// Creates a sample from counters by the ids of `series`; each id once.
    pub fn new(series: &Series, mut clusters: Vec<(u32, Counters)>) -> Self {
        clusters.sort_unstable_by_key(|(id, _)| *id);
        clusters.dedup_by_key(|(id, _)| *id);
        Self { generation: series.generation(), clusters, shows: [true; 3] }
    }

    /// Sets the signals that the page shows, for a page that leaves some statistics out.
    #[must_use]
    pub fn showing(self, shows: Shows) -> Self {
        Self { shows, ..self }
    }

    /// Returns the counters, sorted by id.
    pub fn clusters(&self) -> &[(u32, Counters)] {
        &self.clusters
    }

    /// Returns the signals that the page shows.
    pub fn shows(&self) -> Shows {
        self.shows
    }
}
