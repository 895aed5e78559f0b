//! The proxies in front: the Gateways that an EnvoyProxy configures, and the policy that their annotations add up to.
//!
//! An EnvoyProxy has one number of replicas, for every proxy set that it configures: the proxies of each Gateway that names it, or
//! those of all the Gateways of a class that merges them. So there is one policy for all its Gateways.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    intent::{Annotations, Bounds, GatewayIntent},
    problem::Problem,
    schedule::{Limits, Schedule},
    signal::{Family, Signal, Target},
    workload::Requests,
};

/// A Gateway by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct GatewayId {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gateway/{} in namespace {}", self.name, self.namespace)
    }
}

/// Key in the signal store for the traffic of a Gateway's own listeners: `gateway/NAMESPACE/NAME`.
pub fn series_of_gateway(namespace: &str, name: &str) -> Arc<str> {
    format!("gateway/{namespace}/{name}").into()
}

/// Key in the signal store for the traffic of a GatewayClass that merges its Gateways: `gatewayclass/NAME`.
pub fn series_of_class(class: &str) -> Arc<str> {
    format!("gatewayclass/{class}").into()
}

/// An annotated Gateway.
#[derive(Debug, Clone)]
pub struct PlannedGateway {
    /// `metadata.uid`; empty when it comes from a file
    pub uid: String,
    /// The intent of its annotations, or their problems
    pub intent: Result<GatewayIntent, Vec<Problem>>,
    /// Problems of its annotations, while the ones that were applied before still apply
    pub problems: Vec<Problem>,
    /// The annotations from which the intent was parsed, its Namespace's included
    pub applied: Annotations,
    /// Its business hours
    pub schedule: Option<Arc<Schedule>>,
    /// The name of the Calendar that these hours come from
    pub calendar: Option<String>,
    /// Its current `tidegate.dev/status`
    pub status: Option<String>,
}

/// Namespace and name of an EnvoyProxy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvoyProxyId {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

impl fmt::Display for EnvoyProxyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvoyProxy {}/{}", self.namespace, self.name)
    }
}

/// The mechanism that decides on the number of proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// `envoyDeployment.replicas`, which may be unset: Tidegate writes it
    Replicas(Option<u32>),
    /// An HPA that Envoy Gateway creates from `envoyHpa`: Tidegate writes its bounds
    Hpa {
        /// `minReplicas`
        min: u32,
        /// `maxReplicas`
        max: u32,
    },
    /// `envoyDaemonSet`: one proxy per node
    DaemonSet,
}

/// The annotated Gateways of one EnvoyProxy.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// The EnvoyProxy to write, if there is one
    pub envoy_proxy: Option<EnvoyProxyId>,
    /// Whether an EnvoyProxy could be created for the Gateways: they name none, and share no proxies
    pub may_create: bool,
    /// The EnvoyProxy that the Gateways name, if it does not exist
    pub missing: Option<EnvoyProxyId>,
    /// The annotated Gateways
    pub gateways: BTreeMap<GatewayId, PlannedGateway>,
    /// Gateways without annotations that the EnvoyProxy configures too
    pub bystanders: Vec<GatewayId>,
    /// Keys of its proxy sets in the signal store; each set has the number of proxies that the EnvoyProxy gives
    pub series: Vec<Arc<str>>,
    /// The mechanism that decides on the number of proxies
    pub scaling: Scaling,
    /// Current number of proxies in one set
    pub current: u32,
    /// The resources that one proxy requests
    pub requests: Requests,
    /// The number of proxies, or the bounds of the HPA, that Tidegate found; `None` unless it owns the number
    pub adopted: Option<String>,
    /// Drain timeout: the time for which a proxy that is removed goes on serving its open connections
    pub drain: Duration,
}

/// The combined policy of the Gateways of a fleet, at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The floor, and outside hours the cap
    pub limits: Limits,
    /// The highest number of proxies
    pub max: u32,
    /// The targets: the demand that one proxy carries
    pub targets: Vec<Target>,
    /// The window: proxies go down only to the highest number that was wanted within it
    pub scale_down_after: Duration,
    /// The next instant at which its hours may change the limits
    pub next_change: Option<DateTime<Utc>>,
}

impl Policy {
    /// The number of proxies that is wanted when the traffic needs this many. The maximum and the cap take precedence over the
    /// floor.
    pub fn wanted(&self, need: u32) -> u32 {
        need.max(self.limits.floor).min(self.max).min(self.limits.cap.unwrap_or(u32::MAX))
    }
}

impl Fleet {
    /// The policy at `now`. `None` while nothing may be done: an annotation is invalid, or says to pause.
    pub fn policy(&self, now: DateTime<Utc>) -> Option<Policy> {
        let intents: Option<Vec<_>> =
            self.gateways.values().map(|gateway| Some((gateway, gateway.intent.as_ref().ok()?))).collect();
        let intents = intents.filter(|intents| intents.iter().all(|(_, intent)| !intent.paused))?;
        let limits = intents.iter().map(|(gateway, intent)| match &gateway.schedule {
            Some(schedule) => schedule.limits(now),
            None => Limits { floor: intent.min.unwrap_or(1).max(1), cap: None },
        });
        let limits = limits
            .reduce(|a, b| Limits { floor: a.floor.max(b.floor), cap: a.cap.zip(b.cap).map(|(a, b)| a.max(b)) })?;
        // The bystanders share the proxies, but did not ask for a cap.
        let limits = if self.bystanders.is_empty() { limits } else { Limits { cap: None, ..limits } };
        // Without a proxy nothing is reachable: zero proxies only where that was asked for.
        let limits = Limits { floor: limits.floor.max(limits.cap.unwrap_or(1).min(1)), ..limits };
        let highest = |intent: &GatewayIntent| intent.max.unwrap_or(Bounds::default().max);
        let max = intents.iter().map(|(_, intent)| highest(intent)).max()?.max(limits.floor);
        let targets = Signal::ALL.into_iter().filter_map(|signal| {
            let of_all =
                intents.iter().flat_map(|(_, intent)| &intent.targets).filter(|target| target.signal == signal);
            of_all.copied().min_by(|a, b| a.per_replica.get().total_cmp(&b.per_replica.get()))
        });
        Some(Policy {
            limits,
            max,
            targets: targets.collect(),
            scale_down_after: intents.iter().map(|(_, intent)| intent.scale_down_after).max()?,
            next_change: self.schedules().filter_map(|schedule| schedule.next_change(now)).min(),
        })
    }

    /// The settings in which its Gateways differ, and which of the values applies.
    pub fn contradictions(&self) -> Vec<String> {
        let intents: Vec<_> = self.gateways.values().filter_map(|gateway| gateway.intent.as_ref().ok()).collect();
        let Some((first, rest)) = intents.split_first() else { return Vec::new() };
        let mut differ = Vec::new();
        for signal in Signal::ALL.into_iter().filter(|signal| signal.family() == Family::Traffic) {
            let target = |intent: &GatewayIntent| {
                intent.targets.iter().find(|target| target.signal == signal).map(|target| target.per_replica.get())
            };
            if rest.iter().any(|intent| target(intent) != target(first)) {
                differ.push(format!("tidegate.dev/{signal} (the lowest applies)"));
            }
        }
        if rest.iter().any(|intent| intent.max != first.max) {
            differ.push("tidegate.dev/max-replicas (the highest applies)".to_owned());
        }
        let calendars: Vec<_> = self
            .gateways
            .values()
            .map(|gateway| gateway.schedule.as_ref().map(|schedule| &schedule.calendar))
            .collect();
        if calendars.windows(2).any(|pair| pair[0] != pair[1]) {
            differ.push("hours (open while any of them is)".to_owned());
        }
        differ
    }

    fn schedules(&self) -> impl Iterator<Item = &Arc<Schedule>> {
        self.gateways.values().filter_map(|gateway| gateway.schedule.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{calendar::Calendars, key::PREFIX};

    fn gateway(pairs: &[(&str, &str)]) -> PlannedGateway {
        let own = pairs.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned())).collect();
        let intent = GatewayIntent::of_gateway(&own, "edge", &Annotations::new()).unwrap().unwrap();
        let schedule = intent.schedule("web", intent.min.unwrap_or(1), &Calendars::new()).unwrap().map(Arc::new);
        PlannedGateway {
            uid: String::new(),
            intent: Ok(intent),
            problems: Vec::new(),
            applied: Annotations::new(),
            schedule,
            calendar: None,
            status: None,
        }
    }

    fn fleet(gateways: &[&[(&str, &str)]]) -> Fleet {
        let id = |index: usize| GatewayId { namespace: "edge".into(), name: format!("web-{index}") };
        Fleet {
            envoy_proxy: None,
            may_create: false,
            missing: None,
            gateways: gateways.iter().enumerate().map(|(index, pairs)| (id(index), gateway(pairs))).collect(),
            bystanders: Vec::new(),
            series: Vec::new(),
            scaling: Scaling::Replicas(None),
            current: 1,
            requests: Requests::default(),
            adopted: None,
            drain: Duration::from_secs(60),
        }
    }

    fn policy(fleet: &Fleet, at: &str) -> Policy {
        fleet.policy(DateTime::parse_from_rfc3339(at).unwrap().to_utc()).unwrap()
    }

    const NOON: &str = "2026-03-02T12:00:00Z";
    const NIGHT: &str = "2026-03-02T22:00:00Z";
    const OFFICE: [(&str, &str); 2] = [("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC")];

    #[test]
    fn one_proxy_is_kept_outside_hours_and_none_only_where_zero_is_asked_for() {
        let kept = fleet(&[&[OFFICE[0], OFFICE[1], ("min-replicas", "3")]]);
        assert_eq!(policy(&kept, NOON).limits, Limits { floor: 3, cap: None });
        assert_eq!(policy(&kept, NIGHT).limits, Limits { floor: 1, cap: Some(1) });
        let none = fleet(&[&[OFFICE[0], OFFICE[1], ("off-hours-replicas", "0")]]);
        assert_eq!(policy(&none, NIGHT).limits, Limits { floor: 0, cap: Some(0) });
        let zero = fleet(&[&[("min-replicas", "0"), ("requests-per-second", "5")]]);
        assert_eq!(policy(&zero, NOON).limits.floor, 1, "nothing would wake it");
    }

    #[test]
    fn gateways_of_one_envoy_proxy_are_open_while_any_of_them_is() {
        let both = fleet(&[&OFFICE, &[("hours", "20:00-24:00"), ("timezone", "UTC"), ("min-replicas", "2")]]);
        assert_eq!(policy(&both, NOON).limits, Limits { floor: 1, cap: None });
        assert_eq!(policy(&both, NIGHT).limits, Limits { floor: 2, cap: None });
        assert_eq!(policy(&both, "2026-03-02T03:00:00Z").limits, Limits { floor: 1, cap: Some(1) });
        assert_eq!(both.contradictions(), ["hours (open while any of them is)"]);
    }

    #[test]
    fn a_gateway_that_asked_for_nothing_is_not_held_down() {
        let mut shared = fleet(&[&OFFICE]);
        shared.bystanders.push(GatewayId { namespace: "edge".into(), name: "other".into() });
        assert_eq!(policy(&shared, NIGHT).limits, Limits { floor: 1, cap: None });
    }

    #[test]
    fn where_gateways_differ_the_careful_number_counts() {
        let two = fleet(&[
            &[("requests-per-second", "500"), ("max-replicas", "4")],
            &[("requests-per-second", "200"), ("connections", "1000")],
        ]);
        let policy = policy(&two, NOON);
        let targets: Vec<_> = policy.targets.iter().map(|target| target.per_replica.get()).collect();
        assert_eq!((targets, policy.max), (vec![200.0, 1000.0], 10));
        assert_eq!(two.contradictions().len(), 3);
    }

    #[test]
    fn nothing_is_done_while_one_of_them_is_paused() {
        let now = DateTime::parse_from_rfc3339(NOON).unwrap().to_utc();
        assert_eq!(fleet(&[&[("connections", "10")], &[("paused", "true")]]).policy(now), None);
    }
}
