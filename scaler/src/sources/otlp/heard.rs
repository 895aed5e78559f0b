//! When a sender was heard, and how often that usually is.

use std::time::Duration;

use tokio::time::Instant;

/// Messages that are nearer than this to the one before are parts of one report.
const TOO_NEAR: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) first: Instant,
    pub(super) last: Instant,
    usual: Duration,
}

/// How long ago somebody was last heard, and how long that usually is.
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
