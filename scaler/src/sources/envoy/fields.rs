//! What Envoy counts of a cluster, by the names of its metrics, and where that goes.

use crate::signals::Counters;

/// One of the counters of a cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::sources) enum Field {
    Requests,
    Refused,
    Retries,
    InFlight,
    Connections,
}

impl Field {
    /// By what comes after `upstream_`. Several names may go to one field.
    pub(in crate::sources) fn of(metric: &[u8]) -> Option<Self> {
        Some(match metric {
            b"rq_total" => Self::Requests,
            b"rq_pending_overflow" | b"rq_pending_failure_eject" => Self::Refused,
            b"rq_retry" => Self::Retries,
            b"rq_active" | b"rq_pending_active" => Self::InFlight,
            b"cx_active" => Self::Connections,
            _ => return None,
        })
    }

    /// Whether it goes up and down.
    pub(in crate::sources) fn is_gauge(self) -> bool {
        matches!(self, Self::InFlight | Self::Connections)
    }

    pub(in crate::sources) fn in_counters(self, counters: &mut Counters) -> &mut f64 {
        match self {
            Self::Requests => &mut counters.requests,
            Self::Refused => &mut counters.refused,
            Self::Retries => &mut counters.retries,
            Self::InFlight => &mut counters.in_flight,
            Self::Connections => &mut counters.connections,
        }
    }
}
