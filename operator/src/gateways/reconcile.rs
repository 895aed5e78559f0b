//! Keeps the number of proxies. Level-triggered, once a second: what is measured and seen now decides.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::ObjectReference;
use tidegate_core::{
    demand::Need,
    fleet::{Fleet, GatewayId, PlannedGateway, Policy, Scaling},
    intent::Bounds,
    key::Key,
    measured::Measured,
    no_effect::NoEffect,
    plan::Plan,
    signal::{Signal, Target},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    decision::History,
    notice::Notice,
    object::{self, Numbers},
    write::{self, STATUS_MANAGER, envoy_proxies, gateways, patch},
};
use crate::{
    api::FIELD_MANAGER,
    events::{self, Events},
    index::Watches,
    writer::{Unwritten, Writer},
};

const ROUND: Duration = Duration::from_secs(1);
/// A write that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(10);

/// Tells what the listeners of the fleet of this name carry.
pub type Measure = Arc<dyn Fn(&str, Signal) -> Measured<f64, String> + Send + Sync>;

/// Brings EnvoyProxies to what the annotations of Gateways ask for.
pub struct Reconciler {
    writer: Writer,
    events: Events<Notice>,
    measure: Measure,
    fleets: HashMap<String, Known>,
    failed: HashMap<String, (Instant, String)>,
}

/// What is remembered of a fleet.
#[derive(Default)]
struct Known {
    history: History,
    /// How many, under which limits, and whether they are known to be right: as long as these are the same, so is the reason
    told: Option<(u32, Policy, bool)>,
    reason: String,
    scaled: Option<Notice>,
}

/// Decides once a second, while this replica leads, until `shutdown` says so.
pub async fn run(mut reconciler: Reconciler, watches: Watches, mut shutdown: watch::Receiver<bool>) {
    let plan = watches.plan();
    let mut ticks = interval(ROUND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        let plan = plan.borrow().clone();
        match plan.filter(|_| reconciler.writer.may_write() && watches.missing().is_empty()) {
            Some(plan) => reconciler.reconcile(&plan, &watches).await,
            // What others did meanwhile is not known.
            None => reconciler.fleets.clear(),
        }
    }
}

impl Reconciler {
    /// A reconciler that writes with this client.
    pub fn new(writer: Writer, events: Events<Notice>, measure: Measure) -> Self {
        Self { writer, events, measure, fleets: HashMap::new(), failed: HashMap::new() }
    }

    async fn reconcile(&mut self, plan: &Plan, watches: &Watches) {
        let now = Instant::now();
        self.failed.retain(|_, (at, _)| now.duration_since(*at) < RETRY);
        let names: HashSet<_> = plan.fleets.iter().map(name).collect();
        self.fleets.retain(|name, _| names.contains(name));
        let mut kept = HashSet::new();
        for fleet in &plan.fleets {
            let notices = self.fleet(fleet, Utc::now(), now).await;
            for (id, notices) in notices {
                let uid = fleet.gateways.get(&id).map(|gateway| gateway.uid.clone());
                let reference = reference(&id, uid);
                kept.insert(events::key(&reference));
                self.events.tell(&reference, &notices).await;
            }
        }
        self.events.keep(&kept);
        let used: HashSet<_> = plan.fleets.iter().filter_map(|fleet| fleet.envoy_proxy.as_ref()).collect();
        let (adopted, told): (Vec<_>, Vec<_>) = watches
            .objects(|objects| (objects.adopted_envoy_proxies().collect(), objects.released_gateways().collect()));
        let client = self.writer.client().clone();
        for id in adopted.iter().filter(|id| !used.contains(id)) {
            self.attempt(&id.to_string(), write::release(&client, id)).await;
        }
        for id in told {
            let patch = patch(
                gateways(self.writer.client(), &id.namespace),
                &id.name,
                STATUS_MANAGER,
                object::with_status(&id, None),
            );
            self.attempt(&id.to_string(), patch).await;
        }
    }

    /// One fleet. Returns what its Gateways should know.
    async fn fleet(&mut self, fleet: &Fleet, at: DateTime<Utc>, now: Instant) -> BTreeMap<GatewayId, Vec<Notice>> {
        let mut notices = annotations(fleet, at);
        let tell_all = |notices: &mut BTreeMap<GatewayId, Vec<Notice>>, notice: &Notice| {
            for of_gateway in notices.values_mut() {
                of_gateway.push(notice.clone());
            }
        };
        let Some(policy) = fleet.policy(at) else { return notices };
        if let Some(missing) = &fleet.missing {
            tell_all(&mut notices, &Notice::MissingEnvoyProxy(missing.clone()));
            return notices;
        }
        let Some(envoy_proxy) = &fleet.envoy_proxy else {
            for (id, notice) in self.create(fleet).await {
                notices.entry(id).or_default().push(notice);
            }
            return notices;
        };
        if fleet.scaling == Scaling::DaemonSet {
            tell_all(&mut notices, &Notice::DaemonSet);
            return notices;
        }
        if !asks_for_anything(fleet) {
            tell_all(&mut notices, &Notice::NoSignal);
            return notices;
        }
        if !fleet.bystanders.is_empty() && fleet.gateways.values().any(|gateway| gateway.schedule.is_some()) {
            tell_all(&mut notices, &Notice::Bystanders(fleet.bystanders.clone()));
        }
        let differ = fleet.contradictions();
        if !differ.is_empty() {
            tell_all(&mut notices, &Notice::Contradiction(differ));
        }
        if matches!(fleet.scaling, Scaling::Hpa { .. }) {
            if !policy.targets.is_empty() {
                tell_all(&mut notices, &Notice::HpaDecides);
            }
            if policy.limits.cap == Some(0) {
                tell_all(&mut notices, &Notice::HpaKeepsOne);
            }
        }
        let (numbers, status) = self.decide(fleet, policy, now);
        let adopted = fleet.adopted.clone().unwrap_or_else(|| object::adopted(fleet.scaling, fleet.current));
        if !numbers.are(fleet.scaling) || fleet.adopted.is_none() {
            let api = envoy_proxies(self.writer.client(), &envoy_proxy.namespace);
            let object = object::envoy_proxy(envoy_proxy, numbers, &adopted);
            tracing::info!(%envoy_proxy, ?numbers, "sets the number of proxies");
            self.attempt(&envoy_proxy.to_string(), patch(api, &envoy_proxy.name, FIELD_MANAGER, object)).await;
        }
        for (id, gateway) in &fleet.gateways {
            let status = status.of(&gateway.applied);
            if gateway.status.as_ref() != Some(&status) {
                let object = object::with_status(id, Some(&status));
                let patch = patch(gateways(self.writer.client(), &id.namespace), &id.name, STATUS_MANAGER, object);
                self.attempt(&id.to_string(), patch).await;
            }
        }
        if let Some(scaled) = self.fleets.get(&name(fleet)).and_then(|known| known.scaled.clone()) {
            tell_all(&mut notices, &scaled);
        }
        for key in fleet.gateways.keys().map(ToString::to_string).chain([envoy_proxy.to_string()]) {
            if let Some((_, error)) = self.failed.get(&key) {
                tell_all(&mut notices, &Notice::Refused(error.clone()));
            }
        }
        notices
    }

    /// The numbers to write, and the status to show.
    fn decide(&mut self, fleet: &Fleet, policy: Policy, now: Instant) -> (Numbers, object::Status) {
        let known = self.fleets.entry(name(fleet)).or_default();
        let (numbers, desired, is_known, because) = if let Scaling::Hpa { min, max } = fleet.scaling {
            let (min, max) = bounds(fleet, &policy, min, max);
            (
                Numbers::Hpa { min, max },
                fleet.current.clamp(min, max),
                true,
                format!("an HPA decides, from {min} to {max}"),
            )
        } else {
            let (need, because) = need(fleet, &policy, &self.measure);
            let decision = known.history.decide(fleet.current, need, &policy, fleet.drain, now);
            (Numbers::Replicas(decision.replicas), decision.replicas, decision.wanted.is_some(), because)
        };
        let told = Some((desired, policy, is_known));
        if known.told != told {
            known.told = told;
            let limits = known.told.as_ref().map(|(_, policy, _)| policy.limits);
            known.reason = match limits.map(|limits| (limits.cap, limits.floor)) {
                Some((Some(cap), _)) => format!("outside hours, at most {cap}; {because}"),
                Some((None, floor)) if floor == desired => format!("at least {floor}; {because}"),
                _ => because,
            };
            if desired != fleet.current {
                known.scaled = Some(Notice::Scaled(fleet.current, desired, known.reason.clone()));
                tracing::info!(
                    fleet = name(fleet),
                    from = fleet.current,
                    to = desired,
                    reason = known.reason,
                    "scales proxies"
                );
            }
        }
        let next_change = known.told.as_ref().and_then(|(_, policy, _)| policy.next_change);
        (numbers, object::Status { desired, reason: known.reason.clone(), next_change })
    }

    /// Gives those an EnvoyProxy that ask for one; tells the others what they need.
    async fn create(&mut self, fleet: &Fleet) -> Vec<(GatewayId, Notice)> {
        let mut told = Vec::new();
        let client = self.writer.client().clone();
        for (id, gateway) in &fleet.gateways {
            let asked = gateway.intent.as_ref().is_ok_and(|intent| intent.create_envoy_proxy);
            if !asked || !fleet.may_create {
                told.push((id.clone(), Notice::NoEnvoyProxy(id.clone(), fleet.may_create)));
                continue;
            }
            self.attempt(&id.to_string(), write::give_envoy_proxy(&client, id, &gateway.uid)).await;
            if let Some((_, error)) = self.failed.get(&id.to_string()) {
                told.push((id.clone(), Notice::Refused(error.clone())));
            }
        }
        told
    }

    /// Writes, unless the same failed just before, or this replica no longer leads.
    async fn attempt(&mut self, what: &str, write: impl Future<Output = Result<(), kube::Error>>) {
        if self.failed.contains_key(what) {
            return;
        }
        let error = match self.writer.write(write).await {
            Ok(()) | Err(Unwritten::NotLeading) => return,
            Err(error) => error.to_string(),
        };
        tracing::warn!(what, error, "a write failed");
        self.failed.insert(what.to_owned(), (Instant::now(), error));
    }
}

/// What stands for a fleet here.
fn name(fleet: &Fleet) -> String {
    match (&fleet.envoy_proxy, fleet.series.first()) {
        (Some(id), _) => id.to_string(),
        (None, series) => series.map(ToString::to_string).unwrap_or_default(),
    }
}

/// What is wrong with annotations, of each Gateway.
fn annotations(fleet: &Fleet, now: DateTime<Utc>) -> BTreeMap<GatewayId, Vec<Notice>> {
    let of_gateway = |gateway: &PlannedGateway| match &gateway.intent {
        Err(problems) => problems.iter().cloned().map(Notice::InvalidAnnotations).collect(),
        Ok(intent) if intent.paused => vec![Notice::Paused],
        Ok(intent) if intent.min == Some(0) => vec![Notice::ZeroOnlyOutsideHours],
        Ok(_) => Vec::new(),
    };
    let wrong = |gateway: &PlannedGateway| gateway.problems.clone().into_iter().map(Notice::InvalidAnnotations);
    let all =
        |gateway: &PlannedGateway| wrong(gateway).chain(of_gateway(gateway)).chain(no_effect(gateway, now)).collect();
    fleet.gateways.iter().map(|(id, gateway)| (id.clone(), all(gateway))).collect()
}

/// Hours of a Calendar are told on the Calendar.
fn no_effect(gateway: &PlannedGateway, now: DateTime<Utc>) -> Vec<Notice> {
    let Ok(intent) = &gateway.intent else { return Vec::new() };
    let Some(asked) = intent.schedule.as_ref().filter(|_| !intent.paused) else { return Vec::new() };
    let own_hours = gateway.schedule.as_ref().filter(|_| asked.hours.is_some());
    let hours = own_hours.and_then(|schedule| NoEffect::of_hours(&Key::Hours.annotation(), &schedule.calendar, now));
    let max = intent.max.unwrap_or(Bounds::default().max);
    hours.into_iter().chain(NoEffect::beside_hours(asked, max, now)).map(Notice::NoEffect).collect()
}

fn asks_for_anything(fleet: &Fleet) -> bool {
    let mut intents = fleet.gateways.values().filter_map(|gateway| Some((gateway, gateway.intent.as_ref().ok()?)));
    intents.any(|(gateway, intent)| {
        gateway.schedule.is_some() || !intent.targets.is_empty() || intent.min.is_some() || intent.max.is_some()
    })
}

/// Proxies of one set that the traffic needs, and what says so. Every set has as many as the EnvoyProxy says, so the one that
/// needs most decides. `None` while it is not known, unless what is known asks for more than there is.
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

/// The bounds of an HPA: outside hours no more than the cap, and never none.
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

fn reference(id: &GatewayId, uid: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("gateway.networking.k8s.io/v1".to_owned()),
        kind: Some("Gateway".to_owned()),
        namespace: Some(id.namespace.clone()),
        name: Some(id.name.clone()),
        uid,
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::{
        calendar::Calendars,
        intent::{Annotations, GatewayIntent},
    };

    use super::*;

    #[test]
    fn hours_of_a_gateway_that_never_open_are_reported_unless_it_is_paused() {
        let reported = |pairs: &[(&str, &str)]| {
            let own: Annotations =
                pairs.iter().map(|(key, value)| (format!("tidegate.dev/{key}"), (*value).to_owned())).collect();
            let intent = GatewayIntent::of_gateway(&own, "shop", &Annotations::new()).unwrap().unwrap();
            let schedule = intent.schedule("web", 1, &Calendars::new()).unwrap().map(std::sync::Arc::new);
            let (uid, problems, applied) = (String::new(), Vec::new(), Annotations::new());
            let gateway =
                PlannedGateway { uid, intent: Ok(intent), problems, applied, schedule, calendar: None, status: None };
            let found = no_effect(&gateway, "2026-03-02T12:00:00Z".parse().unwrap());
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let never = [("hours", "2025 Mo-Fr 08:00-18:00"), ("timezone", "UTC")];
        assert!(reported(&never)[0].contains("do not open"), "{:?}", reported(&never));
        assert!(
            reported(&[("hours", "24/7"), ("timezone", "UTC"), ("off-hours-replicas", "20")])[0]
                .contains("off-hours-replicas")
        );
        assert_eq!(reported(&[never[0], never[1], ("paused", "true")]), [""; 0]);
        assert_eq!(reported(&[("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC")]), [""; 0]);
    }
}
