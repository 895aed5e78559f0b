//! Envoy's statistics of a cluster, by the names of its metrics, and the counters that they go to.

use memchr::memmem;

use crate::store::Counters;

/// One of the counters of a cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::sources) enum Field {
    Requests,
    TokenRefusal,
    Retries,
    InFlight,
    Connections,
    Members,
    RateLimited,
}

impl Field {
    /// The field of a metric by its name: `upstream_rq_total`. Several names may go to one field.
    pub(in crate::sources) fn of_metric(metric: &[u8]) -> Option<Self> {
        Some(match metric {
            b"upstream_rq_total" => Self::Requests,
            // The circuit breaker refused it: too many at the backend (Envoy 1.40; older ones say that it was pending), or waiting.
            b"upstream_rq_active_overflow" | b"upstream_rq_pending_overflow"
            // No host is healthy: the request is refused before it is counted anywhere else.
            | b"upstream_rq_pending_failure_eject" | b"upstream_cx_none_healthy" => Self::TokenRefusal,
            b"upstream_rq_retry" => Self::Retries,
            b"upstream_rq_active" | b"upstream_rq_pending_active" => Self::InFlight,
            b"upstream_cx_active" => Self::Connections,
            b"membership_total" => Self::Members,
            b"ratelimit_over_limit" => Self::RateLimited,
            _ => return None,
        })
    }

    /// Whether it goes up and down.
    pub(in crate::sources) fn is_gauge(self) -> bool {
        matches!(self, Self::InFlight | Self::Connections | Self::Members)
    }

    /// The signal that cannot be read if no cluster shows this field, as its index in all arrays of signals.
    pub(in crate::sources) fn proves(self) -> Option<usize> {
        match self {
            Self::Requests => Some(0),
            Self::InFlight => Some(1),
            Self::Connections => Some(2),
            Self::TokenRefusal | Self::Retries | Self::Members | Self::RateLimited => None,
        }
    }

    pub(in crate::sources) fn in_counters(self, counters: &mut Counters) -> &mut f64 {
        match self {
            Self::Requests => &mut counters.requests,
            Self::TokenRefusal => &mut counters.refused,
            Self::Retries => &mut counters.retries,
            Self::InFlight => &mut counters.in_flight,
            Self::Connections => &mut counters.connections,
            Self::Members => &mut counters.members,
            Self::RateLimited => &mut counters.rate_limited,
        }
    }
}

/// The part of the name before `_upstream_…`, `_membership_total` or `_ratelimit_over_limit`, and the field of the metric.
pub(super) fn metric_field(metric: &[u8]) -> Option<(Option<&[u8]>, Field)> {
    let field_from = |start: &[u8]| {
        let start = memmem::rfind(metric, start)?;
        Some((start, Field::of_metric(&metric[start..])?))
    };
    let starts: [&[u8]; 3] = [b"upstream_", b"membership_total", b"ratelimit_over_limit"];
    let (start, field) = starts.into_iter().find_map(field_from)?;
    match &metric[..start] {
        [] => Some((None, field)),
        [infix @ .., b'_'] => Some((Some(infix), field)),
        _ => None,
    }
}
