//! The times at which a sender was heard, and its usual interval.

use std::time::Duration;

use tokio::time::Instant;

/// Messages that follow each other faster than this are parts of one report.
const TOO_NEAR: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) first: Instant,
    pub(super) last: Instant,
    usual: Duration,
}

/// The time since a sender was last heard, and its usual interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Silence {
    pub(super) lasts: Duration,
    pub(super) usual: Duration,
}

impl Heard {
    pub(super) fn first(at: Instant) -> Self {
        Self { first: at, last: at, usual: Duration::ZERO }
    }

    pub(super) fn again(&mut self, at: Instant) {
        let since = at.saturating_duration_since(self.last);
        if since > TOO_NEAR {
            (self.last, self.usual) = (at, since);
        }
    }

    pub(super) fn silence(self) -> Silence {
        Silence { lasts: self.last.elapsed(), usual: self.usual }
    }
}
