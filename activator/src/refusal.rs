//! Why a request or connection is not passed on, in words for the client.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tidegate_core::{refused::NoPod, wake::ProbeAnswer};

use crate::{account::Full, door::Door};

/// Time after which a client may try again when nothing better is known.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// The reason why a request or connection is not passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Requests do not wake the workload before this time, if it is known
    Closed(Option<DateTime<Utc>>),
    /// No more wakes for this long
    WakeLimit(Duration),
    /// Too many wait already
    Full(Full),
    /// It waited this long, and why it found no pod
    TimedOut(Duration, NoPod),
    /// This pod of Tidegate is ending
    Stopping,
    /// A probe, and no pod is ready
    Probe(ProbeAnswer),
    /// The pod failed after it had got the request
    Failed(String),
    /// The client is gone, and nobody reads the answer
    Gone,
}

impl Refusal {
    /// The name in metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Closed(_) => "closed",
            Self::WakeLimit(_) => "wake_limit",
            Self::Full(_) => "full",
            Self::TimedOut(..) => "timed_out",
            Self::Stopping => "stopping",
            Self::Probe(_) => "probe",
            Self::Failed(_) => "failed",
            Self::Gone => "gone",
        }
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Probe(answer) => answer.status(),
            Self::Failed(_) => 502,
            _ => 503,
        }
    }

    /// When to try again: `Retry-After`.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Closed(opens) => (*opens)?.signed_duration_since(Utc::now()).to_std().ok(),
            Self::WakeLimit(next) => Some(*next),
            Self::Full(_) | Self::TimedOut(..) => Some(TRY_AGAIN),
            // Another pod of Tidegate takes it at once.
            Self::Stopping => Some(Duration::from_secs(1)),
            Self::Probe(_) | Self::Failed(_) | Self::Gone => None,
        }
    }

    /// The answer's text.
    pub(crate) fn text(&self, door: &Door) -> String {
        let (workload, reference) = (&door.workload, reference(door));
        match self {
            Self::Closed(Some(opens)) => format!(
                "{workload} is outside its hours (tidegate.dev/hours), and requests do not wake it. It opens at {}.",
                opens.to_rfc3339_opts(SecondsFormat::Secs, true)
            ),
            Self::Closed(None) => format!(
                "{workload} has no replicas now, and requests do not wake it: set tidegate.dev/wake-on-request to \"true\", or \
                 look at its hours with `tidegate explain {reference}`."
            ),
            Self::WakeLimit(next) => format!(
                "{workload} has no replicas, and was woken as often as tidegate.dev/wake-limit allows. The next request that \
                 wakes it is one in {} s.",
                whole_seconds(*next)
            ),
            Self::Full(Full::Workload(most)) => format!(
                "{most} requests wait for a pod of {workload} already, the most that are held for one workload. {}",
                try_again()
            ),
            Self::Full(Full::Total(most)) => format!(
                "{workload} has no free pod, and Tidegate holds {most} requests already, the most for all workloads. {}",
                try_again()
            ),
            Self::TimedOut(held, cause) => format!(
                "{workload} had no pod for this request in {} s (tidegate.dev/hold-timeout): {} {} `tidegate explain {reference}` \
                 says more.",
                held.as_secs(),
                cause.sentence(),
                try_again()
            ),
            Self::Stopping => {
                format!("{workload} has no ready pod, and this pod of Tidegate is ending. Try again in 1 s.")
            }
            Self::Probe(ProbeAnswer::Healthy) => {
                format!("{workload} has no ready pod. Requests are held until it has one.")
            }
            Self::Probe(ProbeAnswer::Unavailable) => {
                format!("{workload} has no ready pod, and this probe does not wake it (tidegate.dev/wake-ignore).")
            }
            Self::Failed(error) => {
                format!("A pod of {workload} got this request and did not answer it: {error}. Look at the pod's log.")
            }
            Self::Gone => "The client is gone.".to_owned(),
        }
    }
}

fn try_again() -> String {
    format!("Try again in {} s.", TRY_AGAIN.as_secs())
}

/// The seconds of a time, rounded up: a client that comes a moment too early is refused again.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The arguments of `tidegate explain`.
fn reference(door: &Door) -> String {
    let workload = &door.workload;
    format!("{}/{} -n {}", workload.kind.kubectl_name(), workload.name, workload.namespace)
}
