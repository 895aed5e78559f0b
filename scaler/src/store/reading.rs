//! One number that was measured, or why there is none.

use std::time::Duration;

/// One measured number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// At least 0 and finite, in the signal's unit
    pub value: f64,
    /// Time since the newest sample in it
    pub age: Duration,
}

/// Why there is no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReading {
    /// Nothing was measured so far
    #[error("no value yet: {waiting_for}")]
    NotYet {
        /// The condition that has to be met first
        waiting_for: String,
    },
    /// The last value is too old to be used
    #[error("the last value is {} s old: {reason}", age.as_secs())]
    Stale {
        /// Its age
        age: Duration,
        /// Why the source has no newer one
        reason: String,
    },
    /// The sources answer, and none of them shows it
    #[error("{reason}")]
    NotShown {
        /// The sources that were asked, and where to look
        reason: String,
    },
    /// The source answered, but not with a number
    #[error("{reason}")]
    BadAnswer {
        /// The answer
        reason: String,
    },
}
