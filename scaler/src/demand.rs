//! The demand of a workload: its share of the traffic, summed over the clusters that carry it.
//!
//! Missing data is never read as missing demand. Every gap is handled in the same way: the last known value is used while it is
//! younger than `stale_after`, and after that there is an error, on which the HPA leaves replicas alone.
//!
//! - A source is silent: [`SignalStore`] itself holds the last value of each cluster.
//! - No proxy shows a cluster, or Envoy Gateway has not yet applied the route that the Plan names it for: the last *sum* is held.
//! - Only some of the clusters or proxies were measured, or for less than a window, so their sum is a lower bound: it is used
//!   where it asks for more than the last sum, or, if that is unknown, for no fewer replicas than the workload has.
//! - A backend of weight 0 is known to get nothing, so it needs no measurement.
//! - No pod of the workload is ready: if none has an address either, Envoy Gateway answers 503 and removes the cluster (since
//!   1.6), so a workload whose rollout failed looks idle. The measured value is a lower bound then, and until the seconds without
//!   a cluster have left the window.
//! - No route leads to the workload any more. That may be a mistake that is fixed in a minute, or a route that is deleted and
//!   recreated: a zero would scale down a workload that is needed, so the last sum is held, and after that there is an error.

mod bursts;
mod gates;
mod hours;
mod kafka;
mod last;
mod llm;
mod look;
mod neighbours;
mod no_demand;
mod traffic;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tidegate_core::{
    demand::{Desired, Need, desired},
    intent::Intent,
    measured::Measured,
    plan::{Plan, PlannedWorkload},
    schedule::Limits,
    signal::{Family, Signal, Target},
    trigger::{Traffic, Trigger},
    workload::WorkloadId,
};
use tokio::time::Instant;

use self::{
    bursts::Peaks,
    hours::{HoursNow, no_hours},
    kafka::{Consumers, of_group},
    last::LastValues,
    traffic::of_traffic,
};
pub use self::{
    gates::{Gates, StartOf},
    hours::Clock,
    kafka::watch_consumers,
    look::Look,
    no_demand::NoDemand,
};
pub(crate) use self::{
    kafka::KafkaNow,
    llm::{ModelNow, Routed},
    neighbours::unknown_workload,
    traffic::{of_cluster, of_clusters, parts},
};
use crate::{
    store::{NoReading, Reading, SignalStore},
    text::shortened,
};

/// The value of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// The value and the target per replica
    pub need: Need,
    /// Age of the oldest measurement in the value
    pub age: Duration,
    /// Why the value is the last known one or a lower bound; `None` when it is made of complete, current data
    pub caveat: Option<NoDemand>,
}

/// The current demand, and the last known one.
///
/// One instance serves all callers (KEDA, `explain`, metrics), so that all of them get the same values.
#[derive(Debug)]
pub struct Demands {
    signals: Arc<SignalStore>,
    stale_after: Duration,
    last: Mutex<LastValues>,
    consumers: Mutex<Consumers>,
    hours: HoursNow,
    gates: Option<Gates>,
    peaks: Mutex<Peaks>,
    /// Whether replicas are added at once where annotations do not say
    adds_at_once: bool,
}

impl Demands {
    /// Creates the demand over `signals`. Sums are held for `stale_after`, which should equal that of the signals.
    pub fn new(signals: Arc<SignalStore>, stale_after: Duration) -> Self {
        Self {
            signals,
            stale_after,
            last: Mutex::default(),
            consumers: Mutex::default(),
            hours: HoursNow::new(Arc::new(Utc::now)),
            gates: None,
            peaks: Mutex::default(),
            adds_at_once: false,
        }
    }

    /// Replaces the clock, for business hours.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { hours: HoursNow::new(clock), ..self }
    }

    /// Returns the current time for business hours.
    pub fn now(&self) -> DateTime<Utc> {
        self.hours.now()
    }

    /// Returns the floor, and outside hours also the cap; `None` if there are no hours.
    pub(crate) fn limits(&self, trigger: &Trigger, plan: &Plan) -> Option<Limits> {
        self.hours.limits(trigger, plan)
    }

    /// Returns the signals that demand is computed from.
    pub fn signals(&self) -> &Arc<SignalStore> {
        &self.signals
    }

    /// Returns the value of one of the trigger's targets, within the limits of business hours.
    pub fn demand(&self, trigger: &Trigger, target: Target, plan: &Plan) -> Result<Demand, NoDemand> {
        let limits = self.hours.limits(trigger, plan);
        let Target { signal, per_replica } = target;
        if signal == Signal::Schedule {
            let floor = limits.map(|limits| limits.floor).ok_or_else(|| no_hours(trigger, plan))?;
            let need = Need { signal, value: floor.into(), per_replica };
            return Ok(Demand { need, age: Duration::ZERO, caveat: None });
        }
        match limits.and_then(|limits| limits.cap) {
            None => self.uncapped(trigger, target, plan),
            // A cap of zero applies whether or not anything was measured.
            Some(0) => Ok(Demand { need: Need { signal, value: 0.0, per_replica }, age: Duration::ZERO, caveat: None }),
            Some(cap) => {
                let mut demand = self.uncapped(trigger, target, plan)?;
                demand.need.value = demand.need.value.min(f64::from(cap) * per_replica.get());
                Ok(demand)
            }
        }
    }

    /// Returns the number for KEDA: the demand, or 0 if that is unknown and the workload has no replicas. After three errors KEDA
    /// would start a workload whose ScaledObject has a `fallback`; and the HPA, which a zero could mislead, is off at zero replicas.
    pub(crate) fn answer(&self, trigger: &Trigger, target: Target, plan: &Plan) -> Result<f64, NoDemand> {
        match self.demand(trigger, target, plan) {
            Err(_) if sleeps(trigger, plan) => Ok(0.0),
            demand => demand.map(|demand| demand.need.value),
        }
    }

    /// Returns the replicas that the traffic would need without business hours, as far as it is known.
    pub(crate) fn without_hours(&self, trigger: &Trigger, plan: &Plan) -> u32 {
        let targets = trigger.targets.iter().filter(|target| target.signal != Signal::Schedule);
        let known = targets.filter_map(|target| self.uncapped(trigger, *target, plan).ok());
        known.map(|demand| demand.need.replicas()).max().unwrap_or(0)
    }

    /// Returns what a workload's traffic asks for now. `None` while nothing is known of it, outside business hours, when replicas are
    /// capped on purpose, and where KEDA computes a formula instead.
    pub fn desired(&self, id: &WorkloadId, plan: &Plan) -> Option<Desired> {
        let (intent, trigger) = self.decides(id, plan.workloads.get(id)?, plan)?;
        let known = trigger.targets.iter().filter_map(|target| self.demand(&trigger, *target, plan).ok());
        let needs: Vec<_> = known.map(|demand| demand.need).collect();
        (!needs.is_empty()).then(|| desired(&needs, intent.bounds))
    }

    /// Returns the signals of a workload that are not known, and why: those that were not answered, and tokens that answers do not
    /// report. Traffic signals have [a report of their own](Self::not_measured).
    pub fn missing(&self, id: &WorkloadId, plan: &Plan) -> Vec<(Signal, String)> {
        let Some(workload) = plan.workloads.get(id) else { return Vec::new() };
        let mut missing = self.signals.missing(&id.namespace, workload);
        missing.extend(self.unreported_tokens(id, workload, plan));
        missing
    }

    /// The intent and trigger of a workload whose replicas its needs decide: not while it is paused or capped, nor by a formula.
    fn decides<'p>(
        &self,
        id: &WorkloadId,
        workload: &'p PlannedWorkload,
        plan: &Plan,
    ) -> Option<(&'p Intent, Trigger)> {
        let intent =
            workload.intent.as_ref().ok().filter(|intent| !intent.paused && intent.beside.formula.is_none())?;
        let trigger = Trigger::of_workload(id, intent);
        let capped = self.limits(&trigger, plan).is_some_and(|limits| limits.cap.is_some());
        (!capped).then_some((intent, trigger))
    }

    fn uncapped(&self, trigger: &Trigger, target: Target, plan: &Plan) -> Result<Demand, NoDemand> {
        let mut demand = self.as_measured(trigger, target, plan)?;
        demand.need = self.peaks.lock().raise(trigger, demand.need, Instant::now());
        Ok(demand)
    }

    /// Returns the demand without what is kept of a burst, and without the limits of business hours.
    fn as_measured(&self, trigger: &Trigger, target: Target, plan: &Plan) -> Result<Demand, NoDemand> {
        let Target { signal, per_replica } = target;
        let need = |reading: Reading| Need { signal, value: reading.value, per_replica };
        let now = Instant::now();
        let (at_least, reason) = match self.measured(trigger, target, plan, now) {
            Measured::Exact(reading) => {
                self.last.lock().remember(trigger, signal, reading, now);
                let caveat = self.failing(trigger, signal);
                return Ok(Demand { need: need(reading), age: reading.age, caveat });
            }
            Measured::AtLeast(reading, reason) => (Some(reading), reason),
            Measured::Unknown(reason) => (None, reason),
        };
        if !reason.holds() {
            return Err(reason);
        }
        let last = self.last.lock().reading(trigger, signal, now).filter(|last| last.age <= self.stale_after);
        let raises = |bound: &Reading| match last {
            Some(last) => bound.value > last.value,
            None => need(*bound).replicas().max(1) >= replicas_now(trigger, plan),
        };
        let reading = at_least.filter(raises).or(last).ok_or_else(|| reason.clone())?;
        Ok(Demand { need: need(reading), age: reading.age, caveat: Some(reason) })
    }

    /// Whether any target asks for replicas: a value above zero is enough.
    ///
    /// For a target without a value the last known one is used, however old: activity stays as it was while data is missing.
    /// An error only if neither is known.
    ///
    /// Outside business hours with a cap of zero, no target does. A workload whose requests are to be held at zero stays active
    /// until they are.
    pub fn is_active(&self, trigger: &Trigger, plan: &Plan) -> Result<bool, NoDemand> {
        match self.is_asked_for(trigger, plan) {
            Ok(false) if !self.is_closed(trigger, plan) => Ok(self.must_stay(trigger, plan)),
            asked => asked,
        }
    }

    /// Whether business hours allow no replicas.
    fn is_closed(&self, trigger: &Trigger, plan: &Plan) -> bool {
        self.hours.limits(trigger, plan).is_some_and(|limits| limits.cap == Some(0))
    }

    fn is_asked_for(&self, trigger: &Trigger, plan: &Plan) -> Result<bool, NoDemand> {
        if self.is_closed(trigger, plan) {
            return Ok(false);
        }
        if self.held(trigger).awake {
            return Ok(true);
        }
        let mut missing = None;
        for target in &trigger.targets {
            let active = match target.signal.family() {
                Family::Kafka => self.wakes(trigger, target.signal),
                Family::Traffic | Family::Tokens | Family::ModelServers | Family::Query | Family::Schedule => {
                    self.is_above_zero(trigger, *target, plan)
                }
            };
            match active {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(reason) => missing = missing.or(Some(reason)),
            }
        }
        if self.is_in_flight(trigger, plan) {
            return Ok(true);
        }
        // An unknown value never wakes a workload. At zero replicas there is no endpoint, so no proxy has the cluster.
        missing.filter(|_| !sleeps(trigger, plan)).map_or(Ok(false), Err)
    }

    fn is_above_zero(&self, trigger: &Trigger, target: Target, plan: &Plan) -> Result<bool, NoDemand> {
        let reason = match self.demand(trigger, target, plan) {
            Ok(demand) => return Ok(demand.need.value > 0.0),
            Err(reason) => reason,
        };
        let now = Instant::now();
        let last = self.last.lock().reading(trigger, target.signal, now).filter(|_| reason.holds());
        let at_least = self.measured(trigger, target, plan, now).at_least();
        let above_zero = [last, at_least].into_iter().flatten().any(|reading| reading.value > 0.0);
        if above_zero || last.is_some() { Ok(above_zero) } else { Err(reason) }
    }

    fn measured(&self, trigger: &Trigger, target: Target, plan: &Plan, now: Instant) -> Measured<Reading, NoDemand> {
        let signal = target.signal;
        let measured = match self.found(trigger, target, plan) {
            Measured::Exact(reading) | Measured::AtLeast(reading, _) if !reading.value.is_finite() => {
                let reason =
                    NoReading::BadAnswer { reason: format!("the sum is {}, wants a finite number", reading.value) };
                return Measured::Unknown(NoDemand::NoReading { name: signal.to_string(), reason });
            }
            found => found.map(|reading| Reading { value: reading.value.max(0.0), ..reading }),
        };
        let measured = measured.map(|reading| self.awaiting(trigger, target, reading, plan));
        let by_requests = matches!(signal.family(), Family::Traffic | Family::Tokens);
        let measured = match (measured, by_requests.then(|| self.unseen(trigger, plan, now)).flatten()) {
            (Measured::Exact(reading), Some(unseen)) => Measured::AtLeast(reading, unseen),
            (measured, _) => measured,
        };
        self.with_held(trigger, signal, measured)
    }

    fn found(&self, trigger: &Trigger, target: Target, plan: &Plan) -> Measured<Reading, NoDemand> {
        let signal = target.signal;
        let exact = |found: Result<Reading, NoDemand>| found.map_or_else(Measured::Unknown, Measured::Exact);
        match signal.family() {
            Family::Kafka => exact(self.kafka(trigger, target, plan)),
            Family::Tokens | Family::ModelServers => self.tokens(trigger, target, plan),
            Family::Traffic => match &trigger.traffic {
                Some(traffic) => of_traffic(traffic, signal, plan, &self.signals),
                None => Measured::Unknown(NoDemand::NoTraffic),
            },
            Family::Query | Family::Schedule => match &trigger.query {
                Some(query) => {
                    self.signals.keep_query(&trigger.namespace, query);
                    self.signals.answer(&trigger.namespace, query).map_why(|reason| of_query(query, reason))
                }
                None => Measured::Unknown(NoDemand::NoTraffic),
            },
        }
    }

    fn tokens(&self, trigger: &Trigger, target: Target, plan: &Plan) -> Measured<Reading, NoDemand> {
        match self.model(trigger, target, plan) {
            Ok(reading) => Measured::Exact(reading),
            Err(why) => match self.model_at_least(trigger, target.signal, plan) {
                Some(reading) => Measured::AtLeast(reading, why),
                None => Measured::Unknown(why),
            },
        }
    }

    /// Returns why the trigger's own query or lag got no answer the last time, while an earlier answer is still used.
    fn failing(&self, trigger: &Trigger, signal: Signal) -> Option<NoDemand> {
        let bad = |reason| NoReading::BadAnswer { reason };
        match (signal, &trigger.query, &trigger.kafka) {
            (Signal::PrometheusQuery, Some(query), _) => {
                let error = self.signals.query_error(&trigger.namespace, query);
                error.map(|error| of_query(query, bad(error)))
            }
            (Signal::KafkaLag | Signal::KafkaLagSeconds, _, Some(kafka)) => {
                self.signals.lag_error(&kafka.lag).map(|error| of_group(kafka, bad(error)))
            }
            _ => None,
        }
    }

    /// Returns why the traffic of this workload is not counted completely, if so.
    fn unseen(&self, trigger: &Trigger, plan: &Plan, now: Instant) -> Option<NoDemand> {
        let (id, workload) = planned(trigger, plan)?;
        // Manifests say nothing about pods.
        let in_a_cluster = !workload.uid.is_empty();
        let nobody_ready = in_a_cluster && workload.replicas.wanted > 0 && workload.replicas.ready == 0;
        self.last.lock().was_unseen(trigger, nobody_ready, now).then(|| NoDemand::NobodyReady { id: id.clone() })
    }
}

fn of_query(query: &str, reason: NoReading) -> NoDemand {
    NoDemand::NoReading { name: format!("query {}", shortened(query)), reason }
}

/// The replicas that a lower bound must ask for to be used; out of reach if the trigger does not say which workload it scales.
fn replicas_now(trigger: &Trigger, plan: &Plan) -> u32 {
    planned(trigger, plan).map_or(u32::MAX, |(_, workload)| workload.replicas.wanted)
}

/// Whether the workload is known to have no replicas. Manifests say nothing about that.
fn sleeps(trigger: &Trigger, plan: &Plan) -> bool {
    planned(trigger, plan).is_some_and(|(_, workload)| !workload.uid.is_empty() && workload.replicas.wanted == 0)
}

/// The workload that the trigger scales, if it says which, and the Plan has it.
fn planned<'a>(trigger: &'a Trigger, plan: &'a Plan) -> Option<(&'a WorkloadId, &'a PlannedWorkload)> {
    match &trigger.traffic {
        Some(Traffic::Workload(id)) => plan.workloads.get(id).map(|workload| (id, workload)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod trust;
