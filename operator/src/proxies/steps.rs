//! Decides on the writes, from the annotations of Gateways and the measured load: without a cluster.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use tidegate_cluster::Objects;
use tidegate_core::{
    demand::Need,
    fleet::{EnvoyProxyId, Fleet, GatewayId, PlannedGateway, Policy, Scaling},
    intent::Bounds,
    key::Key,
    measured::Measured,
    no_effect::NoEffect,
    plan::Plan,
    signal::{Signal, Target},
};
use tokio::time::Instant;

use super::{
    decision::History,
    notice::GatewayNotice,
    object::{self, Numbers},
};

/// Function that returns the load of the listeners of the set of proxies with this name.
pub type Measure = Arc<dyn Fn(&str, Signal) -> Measured<f64, String> + Send + Sync>;

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// The number of proxies, by server-side apply, with the number from before Tidegate
    Scale { envoy_proxy: EnvoyProxyId, numbers: Numbers, adopted: String },
    /// The status of a Gateway; `None` removes it
    Status { gateway: GatewayId, status: Option<String> },
    /// An EnvoyProxy for a Gateway that has none
    Create { gateway: GatewayId, uid: String },
    /// Gives the number of proxies back to its owner
    Release(EnvoyProxyId),
}

impl Step {
    /// The object that is written.
    pub(super) fn object(&self) -> String {
        match self {
            Self::Scale { envoy_proxy, .. } | Self::Release(envoy_proxy) => envoy_proxy.to_string(),
            Self::Status { gateway, .. } | Self::Create { gateway, .. } => gateway.to_string(),
        }
    }
}

/// The writes that are due, and the notices for the owners of Gateways.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) steps: Vec<Step>,
    pub(super) notices: BTreeMap<GatewayId, Vec<GatewayNotice>>,
}

impl Steps {
    /// Adds a notice for each Gateway of the fleet.
    fn notify(&mut self, fleet: &Fleet, notice: &GatewayNotice) {
        for id in fleet.gateways.keys() {
            self.notices.entry(id.clone()).or_default().push(notice.clone());
        }
    }
}

/// The state of each fleet that is kept from one round to the next.
#[derive(Default)]
pub(super) struct Memory(HashMap<String, Remembered>);

#[derive(Default)]
struct Remembered {
    history: History,
    /// How many, under which policy, and whether the wanted number is known: as long as these are the same, so is the reason
    decided: Option<(u32, Policy, bool)>,
    reason: String,
    scaled: Option<GatewayNotice>,
}

/// All writes that are due now. `at` is the time of the calendars, `now` that of the memory.
pub(super) fn steps(
    plan: &Plan,
    objects: &Objects,
    memory: &mut Memory,
    measure: &Measure,
    at: DateTime<Utc>,
    now: Instant,
) -> Steps {
    let mut todo = Steps::default();
    let names: HashSet<_> = plan.fleets.iter().map(name).collect();
    memory.0.retain(|name, _| names.contains(name));
    for fleet in &plan.fleets {
        of_fleet(fleet, memory, measure, at, now, &mut todo);
    }
    let used: HashSet<_> = plan.fleets.iter().filter_map(|fleet| fleet.envoy_proxy.as_ref()).collect();
    todo.steps.extend(objects.adopted_envoy_proxies().filter(|id| !used.contains(id)).map(Step::Release));
    todo.steps.extend(objects.released_gateways().map(|gateway| Step::Status { gateway, status: None }));
    todo
}

fn of_fleet(fleet: &Fleet, memory: &mut Memory, measure: &Measure, at: DateTime<Utc>, now: Instant, todo: &mut Steps) {
    todo.notices.extend(annotations(fleet, at));
    let Some(policy) = fleet.policy(at) else { return };
    if let Some(missing) = &fleet.missing {
        todo.notify(fleet, &GatewayNotice::MissingEnvoyProxy(missing.clone()));
        return;
    }
    let Some(envoy_proxy) = &fleet.envoy_proxy else {
        create(fleet, todo);
        return;
    };
    if fleet.scaling == Scaling::DaemonSet {
        todo.notify(fleet, &GatewayNotice::DaemonSet);
        return;
    }
    if !asks_for_anything(fleet) {
        todo.notify(fleet, &GatewayNotice::NoSignal);
        return;
    }
    warn(fleet, &policy, todo);
    let (numbers, status) = memory.decide(fleet, policy, measure, now);
    if !numbers.are(fleet.scaling) || fleet.adopted.is_none() {
        let adopted = fleet.adopted.clone().unwrap_or_else(|| object::adopted(fleet.scaling, fleet.current));
        todo.steps.push(Step::Scale { envoy_proxy: envoy_proxy.clone(), numbers, adopted });
    }
    for (id, gateway) in &fleet.gateways {
        let status = status.of(&gateway.applied);
        if gateway.status.as_ref() != Some(&status) {
            todo.steps.push(Step::Status { gateway: id.clone(), status: Some(status) });
        }
    }
    if let Some(scaled) = memory.0.get(&name(fleet)).and_then(|known| known.scaled.as_ref()) {
        todo.notify(fleet, scaled);
    }
}

/// Warns of settings that are carried out, but not as someone may expect.
fn warn(fleet: &Fleet, policy: &Policy, todo: &mut Steps) {
    if !fleet.bystanders.is_empty() && fleet.gateways.values().any(|gateway| gateway.schedule.is_some()) {
        todo.notify(fleet, &GatewayNotice::Bystanders(fleet.bystanders.clone()));
    }
    let differ = fleet.contradictions();
    if !differ.is_empty() {
        todo.notify(fleet, &GatewayNotice::Contradiction(differ));
    }
    if matches!(fleet.scaling, Scaling::Hpa { .. }) {
        if !policy.targets.is_empty() {
            todo.notify(fleet, &GatewayNotice::HpaDecides);
        }
        if policy.limits.cap == Some(0) {
            todo.notify(fleet, &GatewayNotice::HpaKeepsOne);
        }
    }
}

/// Gives an EnvoyProxy to the Gateways that ask for one; reports to the others what they need.
fn create(fleet: &Fleet, todo: &mut Steps) {
    for (id, gateway) in &fleet.gateways {
        let wanted = gateway.intent.as_ref().is_ok_and(|intent| intent.create_envoy_proxy);
        if wanted && fleet.may_create {
            todo.steps.push(Step::Create { gateway: id.clone(), uid: gateway.uid.clone() });
        } else {
            let notice = GatewayNotice::NoEnvoyProxy(id.clone(), fleet.may_create);
            todo.notices.entry(id.clone()).or_default().push(notice);
        }
    }
}

impl Memory {
    /// Forgets everything: another replica may have led meanwhile.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The numbers to write, and the status to show.
    fn decide(&mut self, fleet: &Fleet, policy: Policy, measure: &Measure, now: Instant) -> (Numbers, object::Status) {
        let known = self.0.entry(name(fleet)).or_default();
        let (numbers, desired, is_known, because) = if let Scaling::Hpa { min, max } = fleet.scaling {
            let (min, max) = bounds(fleet, &policy, min, max);
            (
                Numbers::Hpa { min, max },
                fleet.current.clamp(min, max),
                true,
                format!("an HPA decides, from {min} to {max}"),
            )
        } else {
            let (need, because) = need(fleet, &policy, measure);
            let decision = known.history.decide(fleet.current, need, &policy, fleet.drain, now);
            (Numbers::Replicas(decision.replicas), decision.replicas, decision.wanted.is_some(), because)
        };
        let decided = Some((desired, policy, is_known));
        if known.decided != decided {
            known.decided = decided;
            let limits = known.decided.as_ref().map(|(_, policy, _)| policy.limits);
            known.reason = match limits.map(|limits| (limits.cap, limits.floor)) {
                Some((Some(cap), _)) => format!("outside hours, at most {cap}; {because}"),
                Some((None, floor)) if floor == desired => format!("at least {floor}; {because}"),
                _ => because,
            };
            if desired != fleet.current {
                known.scaled = Some(GatewayNotice::Scaled(fleet.current, desired, known.reason.clone()));
                tracing::info!(
                    fleet = name(fleet),
                    from = fleet.current,
                    to = desired,
                    reason = known.reason,
                    "scales proxies"
                );
            }
        }
        let next_change = known.decided.as_ref().and_then(|(_, policy, _)| policy.next_change);
        (numbers, object::Status { desired, reason: known.reason.clone(), next_change })
    }
}

/// The key of a fleet.
fn name(fleet: &Fleet) -> String {
    match (&fleet.envoy_proxy, fleet.series.first()) {
        (Some(id), _) => id.to_string(),
        (None, series) => series.map(ToString::to_string).unwrap_or_default(),
    }
}

/// The notices about each Gateway's annotations.
fn annotations(fleet: &Fleet, now: DateTime<Utc>) -> BTreeMap<GatewayId, Vec<GatewayNotice>> {
    let of_gateway = |gateway: &PlannedGateway| match &gateway.intent {
        Err(problems) => problems.iter().cloned().map(GatewayNotice::InvalidAnnotations).collect(),
        Ok(intent) if intent.paused => vec![GatewayNotice::Paused],
        Ok(intent) if intent.min == Some(0) => vec![GatewayNotice::ZeroOnlyOutsideHours],
        Ok(_) => Vec::new(),
    };
    let wrong = |gateway: &PlannedGateway| gateway.problems.clone().into_iter().map(GatewayNotice::InvalidAnnotations);
    let all =
        |gateway: &PlannedGateway| wrong(gateway).chain(of_gateway(gateway)).chain(no_effect(gateway, now)).collect();
    fleet.gateways.iter().map(|(id, gateway)| (id.clone(), all(gateway))).collect()
}

/// Settings without an effect. Hours of a Calendar are reported on the Calendar.
fn no_effect(gateway: &PlannedGateway, now: DateTime<Utc>) -> Vec<GatewayNotice> {
    let Ok(intent) = &gateway.intent else { return Vec::new() };
    let Some(asked) = intent.schedule.as_ref().filter(|_| !intent.paused) else { return Vec::new() };
    let own_hours = gateway.schedule.as_ref().filter(|_| asked.hours.is_some());
    let hours = own_hours.and_then(|schedule| NoEffect::of_hours(Key::Hours.annotation(), &schedule.calendar, now));
    let max = intent.max.unwrap_or(Bounds::default().max);
    hours.into_iter().chain(NoEffect::beside_hours(asked, max, now)).map(GatewayNotice::NoEffect).collect()
}

fn asks_for_anything(fleet: &Fleet) -> bool {
    let mut intents = fleet.gateways.values().filter_map(|gateway| Some((gateway, gateway.intent.as_ref().ok()?)));
    intents.any(|(gateway, intent)| {
        gateway.schedule.is_some() || !intent.targets.is_empty() || intent.min.is_some() || intent.max.is_some()
    })
}

/// Proxies of one set that the traffic needs, and the reason. Every set has as many as the EnvoyProxy says, so the one that needs
/// most decides. `None` while the load is not known, unless the known part already needs more proxies than there are.
fn need(fleet: &Fleet, policy: &Policy, measure: &Measure) -> (Option<u32>, String) {
    let mut most: Option<Need> = None;
    let mut unknown = None;
    for series in &fleet.series {
        for Target { signal, per_replica } in policy.targets.iter().copied() {
            let value = match measure(series, signal) {
                Measured::Exact(value) => value,
                Measured::AtLeast(value, why) => {
                    unknown = Some(why);
                    value
                }
                Measured::Unknown(why) => {
                    unknown = Some(why);
                    continue;
                }
            };
            let need = Need { signal, value, per_replica };
            if most.as_ref().is_none_or(|most| need.replicas() > most.replicas()) {
                most = Some(need);
            }
        }
    }
    let replicas = most.as_ref().map_or(0, Need::replicas);
    match (most, unknown) {
        (_, Some(why)) if replicas <= fleet.current => (None, format!("held, not measured: {why}")),
        (None, _) => (Some(0), "hours alone decide".to_owned()),
        (Some(need), _) => {
            let Need { signal, value, per_replica } = need;
            (Some(replicas), format!("{value:.0} {} at {per_replica} per proxy", signal.unit()))
        }
    }
}

/// The bounds of an HPA: outside hours no more than the cap, and never zero.
fn bounds(fleet: &Fleet, policy: &Policy, min: u32, max: u32) -> (u32, u32) {
    let mut kept = fleet.adopted.as_deref().unwrap_or_default().split('-').map(|bound| bound.parse::<u32>().ok());
    let (kept_min, kept_max) = (kept.next().flatten().unwrap_or(min), kept.next().flatten().unwrap_or(max));
    let intents = || fleet.gateways.values().filter_map(|gateway| gateway.intent.as_ref().ok());
    if let Some(cap) = policy.limits.cap {
        return (policy.limits.floor.max(1), cap.max(1));
    }
    let floor = if intents().any(|intent| intent.min.is_some()) { policy.limits.floor } else { kept_min.max(1) };
    let highest = if intents().any(|intent| intent.max.is_some()) { policy.max } else { kept_max };
    (floor, highest.max(floor))
}

#[cfg(test)]
mod tests;
