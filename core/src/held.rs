//! The traffic of a workload that the activator has in hand.

use serde::{Deserialize, Serialize};

/// Requests and connections of one workload that the activator holds or passes on. Only traffic that wakes counts: no probes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// HTTP requests that wait for a pod or are being passed on to one
    pub requests: u64,
    /// Raw TCP connections that wait for a pod or are spliced to one
    pub connections: u64,
    /// Arrivals of HTTP requests over the last 6 s, in requests/s
    pub arrivals_per_second: f64,
    /// Whether anything that wakes is in hand, or arrived within the last 6 s
    pub awake: bool,
}

impl Held {
    /// The sum over pods of Tidegate, each of which holds its own part.
    ///
    /// ```
    /// # use tidegate_core::held::Held;
    /// let one = Held { requests: 2, arrivals_per_second: 0.5, awake: true, ..Held::default() };
    /// assert_eq!(one.plus(Held { requests: 1, ..Held::default() }).requests, 3);
    /// ```
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            connections: self.connections.saturating_add(other.connections),
            arrivals_per_second: self.arrivals_per_second + other.arrivals_per_second,
            awake: self.awake || other.awake,
        }
    }

    /// Whether nothing at all is in hand.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
