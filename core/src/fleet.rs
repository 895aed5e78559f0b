//! The proxies in front: which Gateways an EnvoyProxy configures, and what their annotations ask of it.
//!
//! An EnvoyProxy says one number of replicas for every set of proxies that it configures: those of each Gateway that names
//! it, or those of all the Gateways of a class that merges them. So its Gateways are answered together.

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

/// The same of the proxies of a class that merges its Gateways.
pub fn series_of_class(class: &str) -> Arc<str> {
    format!("gatewayclass/{class}").into()
}

/// An annotated Gateway.
#[derive(Debug, Clone)]
pub struct PlannedGateway {
    /// `metadata.uid`; empty when it comes from a file
    pub uid: String,
    /// What it asks for, or what is wrong with that
    pub intent: Result<GatewayIntent, Vec<Problem>>,
    /// What is wrong with its annotations while those that were applied before still apply
    pub problems: Vec<Problem>,
    /// The annotations that the intent was made of, its Namespace's among them
    pub applied: Annotations,
    /// Its business hours
    pub schedule: Option<Arc<Schedule>>,
    /// The name of the Calendar that they are of
    pub calendar: Option<String>,
    /// Its `tidegate.dev/status` as it stands
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

/// Who decides on the number of proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// `envoyDeployment.replicas`, which may be unset: ours to write
    Replicas(Option<u32>),
    /// An HPA that Envoy Gateway makes from `envoyHpa`; its bounds are ours to write
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
    /// Whether the Gateways could be given one of their own: they name none, and share no proxies
    pub may_create: bool,
    /// Whether the Gateways name an EnvoyProxy that does not exist
    pub missing: Option<EnvoyProxyId>,
    /// The Gateways
    pub gateways: BTreeMap<GatewayId, PlannedGateway>,
    /// Gateways without annotations that it configures too
    pub bystanders: Vec<GatewayId>,
    /// The sets of proxies, as their traffic is kept among the clusters: each has as many proxies as the EnvoyProxy says
    pub series: Vec<Arc<str>>,
    /// Who decides
    pub scaling: Scaling,
    /// Proxies of one set as they are now
    pub current: u32,
    /// What one proxy reserves
    pub requests: Requests,
    /// What was there when Tidegate came, while it owns the number
    pub adopted: Option<String>,
    /// How long a proxy that is taken away goes on serving what it has
    pub drain: Duration,
}

/// What the Gateways of a fleet ask for together, at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// No fewer, and outside hours no more
    pub limits: Limits,
    /// Never more
    pub max: u32,
    /// What one proxy carries
    pub targets: Vec<Target>,
    /// The window whose maximum holds proxies up
    pub scale_down_after: Duration,
    /// When its hours say something else
    pub next_change: Option<DateTime<Utc>>,
}

impl Policy {
    /// Proxies that are wanted where the traffic needs this many. The maximum and the cap win over the floor.
    pub fn wanted(&self, need: u32) -> u32 {
        need.max(self.limits.floor).min(self.max).min(self.limits.cap.unwrap_or(u32::MAX))
    }
}

impl Fleet {
    /// What is asked for now. `None` while nothing may be done: an annotation is wrong, or says to pause.
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
        // Nobody asked that those others be held down.
        let limits = if self.bystanders.is_empty() { limits } else { Limits { cap: None, ..limits } };
        // Without a proxy nothing is reached: none is left only where that was asked for.
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

    /// What its Gateways do not agree on.
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
