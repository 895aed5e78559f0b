//! Workloads that are to be scaled on requests where Envoy sees connections alone.

use std::fmt;

use crate::{key::Key, plan::PlannedWorkload, signal::Signal};

/// Targets of requests on a workload that only connections reach. `Display` says so, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OnlyConnections {
    /// The keys of these targets; at least one
    keys: Vec<Key>,
    /// One of the routes: `TCPRoute shop/db`
    route: String,
    /// How many others there are
    others: usize,
}

impl OnlyConnections {
    /// The targets that count nothing, because TCPRoutes and TLSRoutes are all that leads to the workload.
    pub fn of(workload: &PlannedWorkload) -> Option<Self> {
        let targets = &workload.intent.as_ref().ok()?.targets;
        let of_requests =
            targets.iter().filter(|target| matches!(target.signal, Signal::RequestsPerSecond | Signal::Concurrency));
        let keys: Vec<_> = of_requests.filter_map(|target| target.signal.target_key()).collect();
        let mut routes: Vec<_> = workload.traffic.iter().map(|share| &share.route).collect();
        if keys.is_empty() || !routes.iter().all(|route| route.carries_connections()) {
            return None;
        }
        routes.sort_unstable();
        routes.dedup();
        let (first, others) = routes.split_first()?;
        Some(Self { keys, route: first.to_string(), others: others.len() })
    }
}

impl fmt::Display for OnlyConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, route, others } = self;
        let keys: Vec<_> = keys.iter().map(|key| key.annotation()).collect();
        let leads = match others {
            0 => format!("only {route} leads to it"),
            1 => format!("only {route} and 1 other route of connections lead to it"),
            _ => format!("only {route} and {others} other routes of connections lead to it"),
        };
        write!(
            f,
            "{}: {leads}, and Envoy counts connections there, not requests. Write {} instead: the open connections that one replica \
             carries",
            keys.join(", "),
            Key::Connections.annotation()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        calendar::Calendars,
        ids::{RouteRef, ServiceId},
        intent::{Annotations, Intent},
        plan::{ClusterShare, Replicas},
        workload::{WorkloadId, WorkloadKind},
    };

    fn reported(keys: &[&str], routes: &[&str]) -> Option<String> {
        let annotations: Annotations = keys.iter().map(|key| (*key, "10")).collect();
        let intent = Intent::of_workload(&annotations, "shop", &Annotations::new()).map(Option::unwrap);
        let share = |kind: &&str| ClusterShare {
            cluster: "c".into(),
            split: None,
            share: 1.0,
            of_backend: 1.0,
            route: RouteRef {
                kind: (*kind).to_owned(),
                namespace: "shop".to_owned(),
                name: "db".to_owned(),
                rule: (*kind == "HTTPRoute").then_some(0),
            },
            service: ServiceId { namespace: "shop".to_owned(), name: "db".to_owned() },
            fleets: [].into(),
            meaning: 0,
            pending: false,
        };
        let id = WorkloadId { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "db".into() };
        let traffic = routes.iter().map(share).collect();
        let calendars = Calendars::new();
        let workload = PlannedWorkload::new(&id, String::new(), intent, traffic, Replicas::default(), 1, &calendars);
        OnlyConnections::of(&workload).map(|only| only.to_string())
    }

    const RPS: &str = "tidegate.dev/requests-per-second";

    #[test]
    fn requests_that_only_connections_could_bring_are_reported_with_the_key_to_write() {
        assert_eq!(
            reported(&[RPS], &["TCPRoute"]).unwrap(),
            "tidegate.dev/requests-per-second: only TCPRoute shop/db leads to it, and Envoy counts connections there, not requests. \
             Write tidegate.dev/connections instead: the open connections that one replica carries"
        );
        let both = reported(&[RPS, "tidegate.dev/concurrency"], &["TCPRoute", "TLSRoute"]).unwrap();
        assert!(
            both.starts_with("tidegate.dev/requests-per-second, tidegate.dev/concurrency: only TCPRoute shop/db and 1"),
            "{both}"
        );
    }

    #[test]
    fn a_workload_with_requests_or_without_such_targets_is_not_reported() {
        for (keys, routes) in [
            (&[RPS][..], &["TCPRoute", "HTTPRoute"][..]),
            (&[RPS], &[]),
            (&["tidegate.dev/connections"], &["TCPRoute"]),
        ] {
            assert_eq!(reported(keys, routes), None, "{keys:?} {routes:?}");
        }
    }
}
