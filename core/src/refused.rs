//! Requests to a workload without replicas that were refused lately: reported by the activator, for events and `explain`.

use std::{fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::{key::Key, wake::WakeLimit};

/// The refusals of one workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// By `tidegate.dev/wake-limit`
    pub limited: Option<Limited>,
    /// After `tidegate.dev/hold-timeout`
    pub timed_out: Option<TimedOut>,
}

/// Requests that were not allowed to wake it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limited {
    /// Requests and connections
    pub count: u64,
    /// The first of them
    pub since: DateTime<Utc>,
    /// When one may wake it again
    pub until: DateTime<Utc>,
}

/// Requests that were held for too long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimedOut {
    /// Requests and connections
    pub count: u64,
    /// The first of them
    pub since: DateTime<Utc>,
    /// Time for which the last one was held
    pub held: Duration,
    /// Why the last one found no pod
    pub cause: NoPod,
}

/// Why a held request found no pod until its deadline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NoPod {
    /// No pod got ready, and why, as a clause
    NotReady(String),
    /// A pod is ready, but accepts no connection from here: the clause says which, and how it fails
    Unreachable(String),
    /// The ready pods had this many requests each, the most that they get at one time
    Busy(u32),
}

impl fmt::Display for NoPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady(why) | Self::Unreachable(why) => f.write_str(why),
            Self::Busy(each) => write!(
                f,
                "its ready pods were busy with {each} requests each, the most that they get at one time (tidegate.dev/concurrency)"
            ),
        }
    }
}

impl Limited {
    /// How often, since when, until when, and what to do; a sentence without its full stop.
    pub fn told(&self, limit: WakeLimit) -> String {
        let requests = if self.count == 1 { "request was" } else { "requests were" };
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let wakes = limit.count;
        format!(
            "{} {requests} answered 503 since {}, because {wakes} of {wakes} wakes ({} {limit}) are used: the next request that wakes it \
             is one after {}. If they come from clients, raise the limit; if from a scanner or a probe, name it in {}",
            self.count,
            time(self.since),
            Key::WakeLimit.annotation(),
            time(self.until),
            Key::WakeIgnore.annotation()
        )
    }
}

impl NoPod {
    /// The cause with a full stop, where it does not end in a question.
    pub fn sentence(&self) -> String {
        let cause = self.to_string();
        if cause.ends_with(['.', '?', '…']) { cause } else { cause + "." }
    }
}

impl Refused {
    /// The sum over pods of Tidegate, each of which refuses its own part.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let limited = both(self.limited, other.limited, |a, b| Limited {
            count: a.count.saturating_add(b.count),
            since: a.since.min(b.since),
            until: a.until.max(b.until),
        });
        let timed_out = both(self.timed_out, other.timed_out, |a, b| TimedOut {
            count: a.count.saturating_add(b.count),
            since: a.since.min(b.since),
            ..b
        });
        Self { limited, timed_out }
    }

    /// Whether nothing was refused.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

fn both<T>(a: Option<T>, b: Option<T>, sum: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(sum(a, b)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn refusals_of_several_pods_are_one_sum_from_the_first_to_the_last() {
        let limited = |count, since, until| Some(Limited { count, since: at(since), until: at(until) });
        let timed_out =
            |count, since, cause| Some(TimedOut { count, since: at(since), held: Duration::from_secs(60), cause });
        let one = Refused { limited: limited(2, 10, 90), timed_out: timed_out(1, 5, NoPod::Busy(8)) };
        let other = Refused { limited: limited(3, 20, 80), timed_out: None };
        let sum = one.clone().plus(other.clone());
        assert_eq!(sum, Refused { limited: limited(5, 10, 90), ..one.clone() });
        assert_eq!(other.plus(one).limited, sum.limited);
        assert!(Refused::default().plus(Refused::default()).is_nothing());
    }
}
