//! Time-outs that would end a held request before a pod is ready.

use std::{fmt, time::Duration};

use crate::{ids::RouteRef, key::Key};

/// The time after which the proxies give up on a request of a rule, whether or not it is held.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestTimeout {
    /// The rule
    pub route: RouteRef,
    /// The time, from the end of the request to the end of the answer
    pub within: Duration,
    /// Where it is set
    pub origin: TimeoutOrigin,
}

/// Where the time-out of a rule is set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TimeoutOrigin {
    /// In a field of the rule, such as `timeouts.request`
    Rule(&'static str),
    /// In the BackendTrafficPolicy of this namespace and name
    Policy(String, String),
    /// Nowhere, so that Envoy's default applies
    Default,
}

impl RequestTimeout {
    /// The default of `RouteAction.timeout` in Envoy's API. Envoy Gateway sets that field only where a rule or a policy says so
    /// (`getEffectiveRequestTimeout` in its `internal/xds/translator/route.go`).
    pub const DEFAULT: Duration = Duration::from_secs(15);

    /// What to change for another time.
    fn remedy(&self, to: Duration) -> String {
        let (route, to) = (&self.route, seconds(to));
        match &self.origin {
            TimeoutOrigin::Policy(namespace, name) => {
                format!("set timeout.http.requestTimeout of BackendTrafficPolicy {namespace}/{name} to {to}s")
            }
            TimeoutOrigin::Rule(field) => format!("set {field} of {route} to {to}s"),
            // A GRPCRoute has no field for it.
            TimeoutOrigin::Default if route.kind == "GRPCRoute" => {
                format!("set timeout.http.requestTimeout to {to}s in a BackendTrafficPolicy for {route}")
            }
            TimeoutOrigin::Default => format!("set timeouts.request of {route} to {to}s"),
        }
    }
}

impl fmt::Display for RequestTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { route, within, origin } = self;
        write!(f, "the proxies end a request of {route} after {} ", Seconds(*within))?;
        match origin {
            TimeoutOrigin::Rule(field) => write!(f, "({field})"),
            TimeoutOrigin::Policy(namespace, name) => write!(f, "(BackendTrafficPolicy {namespace}/{name})"),
            TimeoutOrigin::Default => f.write_str("(Envoy's default, since nothing sets another)"),
        }
    }
}

/// A request that wakes a workload may be ended before a pod is ready.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HoldTooShort {
    /// The proxies give up before the time is over for which requests are to be held
    ProxyBeforeHold {
        /// The shortest time-out
        timeout: RequestTimeout,
        /// `tidegate.dev/hold-timeout`
        hold: Duration,
    },
    /// The proxies give up before a pod is ready
    ProxyBeforeReady {
        /// The shortest time-out
        timeout: RequestTimeout,
        /// The time that the last start took
        start: Duration,
    },
    /// The activator gives up before a pod is ready
    HoldBeforeReady {
        /// `tidegate.dev/hold-timeout`
        hold: Duration,
        /// The time that the last start took
        start: Duration,
    },
}

impl HoldTooShort {
    /// All that is too short for a start of this time. Nothing is ended while a time-out is as long as the start.
    pub fn for_start(start: Duration, hold: Duration, timeout: Option<&RequestTimeout>) -> impl Iterator<Item = Self> {
        let proxy = timeout.filter(|timeout| timeout.within < start).cloned();
        let proxy = proxy.map(|timeout| Self::ProxyBeforeReady { timeout, start });
        let hold = (hold < start).then_some(Self::HoldBeforeReady { hold, start });
        proxy.into_iter().chain(hold)
    }

    /// The time that is too short.
    pub fn limit(&self) -> Duration {
        match self {
            Self::ProxyBeforeHold { timeout, .. } | Self::ProxyBeforeReady { timeout, .. } => timeout.within,
            Self::HoldBeforeReady { hold, .. } => *hold,
        }
    }

    /// Whether the proxies give up while the activator still holds the request.
    pub fn for_hold(hold: Duration, timeout: Option<&RequestTimeout>) -> Option<Self> {
        let timeout = timeout.filter(|timeout| timeout.within < hold)?.clone();
        Some(Self::ProxyBeforeHold { timeout, hold })
    }
}

impl fmt::Display for HoldTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hold_key = Key::HoldTimeout.annotation();
        match self {
            Self::ProxyBeforeHold { timeout, hold } => write!(
                f,
                "a request may be held for {} ({hold_key}), but {timeout}: it is answered 504 then. To have it held for longer, {}",
                Seconds(*hold),
                timeout.remedy(*hold)
            ),
            Self::ProxyBeforeReady { timeout, start } => write!(
                f,
                "its last start took {}, but {timeout}: a request that wakes it is answered 504 before a pod is ready. To have it \
                 served, {} or more",
                Seconds(*start),
                timeout.remedy(ample(*start))
            ),
            Self::HoldBeforeReady { hold, start } => write!(
                f,
                "its last start took {}, but a request is held for {} only: one that wakes it is answered 503 before a pod is ready. \
                 To have it served, set {hold_key} to {}s or more",
                Seconds(*start),
                Seconds(*hold),
                seconds(ample(*start))
            ),
        }
    }
}

/// Twice as long, since starts differ, in whole steps of 5 s.
fn ample(start: Duration) -> Duration {
    Duration::from_secs(start.saturating_mul(2).as_secs().div_ceil(5).saturating_mul(5).max(5))
}

/// Seconds, rounded up: a time-out of the result is no shorter.
fn seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// A time in seconds for people, with a decimal below 10 s.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 10.0 && self.0.subsec_millis() > 0 {
            write!(f, "{seconds:.1} s")
        } else {
            write!(f, "{seconds:.0} s")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timeout(kind: &str, within: u64, origin: TimeoutOrigin) -> RequestTimeout {
        let route = RouteRef { kind: kind.into(), namespace: "shop".into(), name: "web".into(), rule: Some(0) };
        RequestTimeout { route, within: Duration::from_secs(within), origin }
    }

    fn told(start: u64, hold: u64, timeout: &RequestTimeout) -> Vec<String> {
        let times = [start, hold].map(Duration::from_secs);
        HoldTooShort::for_start(times[0], times[1], Some(timeout)).map(|short| short.to_string()).collect()
    }

    #[test]
    fn a_start_that_takes_longer_than_the_proxies_wait_is_told_with_both_numbers_and_the_field_to_set() {
        let default = timeout("HTTPRoute", 15, TimeoutOrigin::Default);
        assert_eq!(
            told(22, 60, &default),
            [
                "its last start took 22 s, but the proxies end a request of HTTPRoute shop/web rule 0 after 15 s (Envoy's default, \
                 since nothing sets another): a request that wakes it is answered 504 before a pod is ready. To have it served, set \
                 timeouts.request of HTTPRoute shop/web rule 0 to 45s or more"
            ]
        );
        assert_eq!(told(15, 60, &default), [""; 0], "it is in time");
        let policy = TimeoutOrigin::Policy("shop".into(), "slow".into());
        for (given, field) in [
            (
                timeout("HTTPRoute", 5, TimeoutOrigin::Rule("timeouts.backendRequest")),
                "set timeouts.backendRequest of HTTPRoute",
            ),
            (
                timeout("HTTPRoute", 5, policy),
                "set timeout.http.requestTimeout of BackendTrafficPolicy shop/slow to 45s",
            ),
            (
                timeout("GRPCRoute", 5, TimeoutOrigin::Default),
                "to 45s in a BackendTrafficPolicy for GRPCRoute shop/web rule 0",
            ),
        ] {
            let told = told(22, 60, &given);
            assert!(told[0].contains(field), "{told:?}");
        }
    }

    #[test]
    fn a_hold_timeout_that_is_shorter_than_a_start_or_longer_than_the_proxies_wait_is_told() {
        let long = timeout("HTTPRoute", 120, TimeoutOrigin::Rule("timeouts.request"));
        let told = told(22, 10, &long);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("held for 10 s only") && told[0].contains("tidegate.dev/hold-timeout to 45s"),
            "{told:?}"
        );
        let hold =
            |seconds| HoldTooShort::for_hold(Duration::from_secs(seconds), Some(&long)).map(|short| short.to_string());
        assert_eq!(hold(120), None);
        let told = hold(300).unwrap();
        assert!(told.contains("held for 300 s") && told.contains("after 120 s") && told.contains("to 300s"), "{told}");
    }

    proptest! {
        #[test]
        fn the_time_that_is_asked_for_is_enough(start in 0u64..u64::MAX, nanos in 0u32..1_000_000_000) {
            let start = Duration::new(start, nanos);
            prop_assert!(ample(start) >= start || start > Duration::from_secs(u64::MAX / 2));
        }
    }
}
