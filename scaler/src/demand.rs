//! What belongs to a workload, added up over the clusters that carry its traffic.
//!
//! Missing data is never read as missing demand. Whatever is missing is held in the same way: the last
//! value that was known counts for as long as it is younger than `stale_after`, and after that there is an error, on which
//! the HPA leaves replicas alone.
//!
//! - A source is silent: [`SignalStore`] itself holds the last value of each cluster.
//! - No proxy shows a cluster, or Envoy Gateway has not taken in yet what the Plan names it for: the last *sum* is held.
//! - Of the clusters or proxies only some were measured, or for less than a window, so that their sum is a lower bound: it counts
//!   where it asks for more than the last sum, or, where that is not known, for no fewer replicas than the workload has.
//! - A backend of weight 0 is known to get nothing: nobody needs to measure that.
//! - No pod of the workload is ready: where none has an address either, Envoy Gateway answers 503 and takes the cluster away
//!   (since 1.6), so that a workload of which a rollout went wrong looks idle. What is measured is a lower bound then, and
//!   for as long after as the seconds without a cluster are in the window.
//! - No route leads to the workload any more. That may be a mistake that is fixed in a minute, or a route that is
//!   deleted and recreated: a zero would empty a workload that is needed, so the last sum is held, and then it is an error.

mod hours;
mod kafka;
mod last;
mod llm;
mod neighbours;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tidegate_core::{
    demand::{Desired, Need, desired},
    ids::{RouteRef, ServiceId},
    measured::Measured,
    plan::{ClusterShare, Plan},
    schedule::Limits,
    signal::{Family, Signal, Target},
    trigger::{Traffic, Trigger},
    workload::WorkloadId,
};
use tokio::time::Instant;

pub(crate) use self::kafka::KafkaNow;
pub(crate) use self::llm::{ModelNow, Routed};
pub(crate) use self::neighbours::unknown_workload;
pub use self::{hours::Clock, kafka::watch_consumers};
use self::{
    hours::HoursNow,
    kafka::{Consumers, of_group},
    last::LastValues,
    neighbours::unknown_service,
};
use crate::{
    store::{NoReading, Reading, SignalStore},
    text::shortened,
};

/// Why there is no value for a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDemand {
    /// The Plan has not been made yet
    #[error("the cluster is not known yet: /readyz says what is waited for")]
    NothingKnown,
    /// The workload is none that the Plan knows
    #[error("{id} has no annotations of Tidegate, or does not exist; {known}")]
    UnknownWorkload {
        /// Which one
        id: WorkloadId,
        /// Those that are known beside it, as a sentence
        known: String,
    },
    /// The Plan knows only Services that routes reach, and this is none of them
    #[error("no route reaches Service {} in namespace {}, or it does not exist; {known}", id.name, id.namespace)]
    UnknownService {
        /// Which one
        id: ServiceId,
        /// Those that are known beside it, as a sentence
        known: String,
    },
    /// Nothing leads to the workload
    #[error(
        "no route reaches {0}: wants an HTTPRoute, GRPCRoute, TCPRoute or TLSRoute that a Gateway accepts, with a backendRef \
         to a Service that selects its pods; `tidegate routes` prints what is reached"
    )]
    NoRoute(WorkloadId),
    /// The names of its clusters are not yet those that the proxies have
    #[error(
        "{0} has changed, and Envoy Gateway has not taken that in yet: its status.parents report an earlier generation, so that \
         nobody knows which clusters are its own"
    )]
    NotProgrammed(RouteRef),
    /// Its traffic is not counted: nobody takes it
    #[error("no pod of {id} is ready, and requests that nobody can take may not be counted")]
    NobodyReady {
        /// Which one
        id: WorkloadId,
    },
    /// The trigger says that the workload's business hours count, and it has none
    #[error("{id} has no hours: the ScaledObject is older than its annotations, and is about to change")]
    NoHours {
        /// Which one
        id: WorkloadId,
    },
    /// The trigger asks for traffic, but does not say whose
    #[error("the trigger does not say whose traffic counts: give service (a Service of this namespace) or clusters")]
    NoTraffic,
    /// It was not measured
    #[error("{name}: {reason}")]
    NoReading {
        /// The cluster or the query
        name: String,
        /// Why
        reason: NoReading,
    },
}

/// The value of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// The value and what one replica carries
    pub need: Need,
    /// Of the oldest measurement in it
    pub age: Duration,
    /// Why the value is the last known one or a lower bound, when it is not made of all that there is now
    pub caveat: Option<NoDemand>,
}

/// Demand as it is now, and as it was last known.
///
/// One of these serves all who ask (KEDA, `explain`, metrics), so that all of them hear the same.
#[derive(Debug)]
pub struct Demands {
    signals: Arc<SignalStore>,
    stale_after: Duration,
    last: Mutex<LastValues>,
    consumers: Mutex<Consumers>,
    hours: HoursNow,
}

impl Demands {
    /// Demand over `signals`. Sums are held for `stale_after`, which is to be that of the signals.
    pub fn new(signals: Arc<SignalStore>, stale_after: Duration) -> Self {
        Self {
            signals,
            stale_after,
            last: Mutex::default(),
            consumers: Mutex::default(),
            hours: HoursNow::new(Arc::new(Utc::now)),
        }
    }

    /// The same by another clock, for business hours.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { hours: HoursNow::new(clock), ..self }
    }

    /// The time by which hours count.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.hours.now()
    }

    /// The fewest replicas, and outside hours the most; `None` where there are no hours.
    pub(crate) fn limits(&self, trigger: &Trigger, plan: &Plan) -> Option<Limits> {
        self.hours.limits(trigger, plan)
    }

    /// What demand is made of.
    pub fn signals(&self) -> &Arc<SignalStore> {
        &self.signals
    }

    /// The value of one of the trigger's targets, within what business hours allow.
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
            // Closed is closed, whether or not anything was measured.
            Some(0) => Ok(Demand { need: Need { signal, value: 0.0, per_replica }, age: Duration::ZERO, caveat: None }),
            Some(cap) => {
                let mut demand = self.uncapped(trigger, target, plan)?;
                demand.need.value = demand.need.value.min(f64::from(cap) * per_replica.get());
                Ok(demand)
            }
        }
    }

    /// The number that KEDA gets: the demand, and 0 where that is not known and the workload has no replicas. Three errors would
    /// have KEDA start one whose ScaledObject has a `fallback`, and the HPA, which could be misled, is off at zero.
    pub(crate) fn answer(&self, trigger: &Trigger, target: Target, plan: &Plan) -> Result<f64, NoDemand> {
        match self.demand(trigger, target, plan) {
            Err(_) if sleeps(trigger, plan) => Ok(0.0),
            demand => demand.map(|demand| demand.need.value),
        }
    }

    /// Replicas that the traffic would need if there were no hours, as far as it is known.
    pub(crate) fn without_hours(&self, trigger: &Trigger, plan: &Plan) -> u32 {
        let targets = trigger.targets.iter().filter(|target| target.signal != Signal::Schedule);
        let known = targets.filter_map(|target| self.uncapped(trigger, *target, plan).ok());
        known.map(|demand| demand.need.replicas()).max().unwrap_or(0)
    }

    /// What the traffic of a workload asks for now. `None` while nothing is known of it, and outside business hours, when a cap is
    /// what is wanted.
    pub fn desired(&self, id: &WorkloadId, plan: &Plan) -> Option<Desired> {
        let intent = plan.workloads.get(id)?.intent.as_ref().ok().filter(|intent| !intent.paused)?;
        let trigger = Trigger::of_workload(id, intent);
        if self.limits(&trigger, plan).is_some_and(|limits| limits.cap.is_some()) {
            return None;
        }
        let known = trigger.targets.iter().filter_map(|target| self.demand(&trigger, *target, plan).ok());
        let needs: Vec<_> = known.map(|demand| demand.need).collect();
        (!needs.is_empty()).then(|| desired(&needs, intent.bounds))
    }

    fn uncapped(&self, trigger: &Trigger, target: Target, plan: &Plan) -> Result<Demand, NoDemand> {
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

    /// Whether anything asks for replicas: a value above zero is enough.
    ///
    /// What has no value counts as it was last known, however long ago: activity stays as it was while data is missing.
    /// An error only where neither is known.
    ///
    /// Outside business hours with a cap of zero nothing does.
    pub fn is_active(&self, trigger: &Trigger, plan: &Plan) -> Result<bool, NoDemand> {
        if self.hours.limits(trigger, plan).is_some_and(|limits| limits.cap == Some(0)) {
            return Ok(false);
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
        // What cannot be known never wakes. At zero replicas there is no endpoint, so no proxy has the cluster.
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
        match (measured, by_requests.then(|| self.unseen(trigger, plan, now)).flatten()) {
            (Measured::Exact(reading), Some(unseen)) => Measured::AtLeast(reading, unseen),
            (measured, _) => measured,
        }
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

    /// Why nobody can measure a workload's traffic, while the proxies answer; `None` where that is not so.
    pub fn not_measured(&self, id: &WorkloadId, plan: &Plan) -> Option<String> {
        let intent = plan.workloads.get(id)?.intent.as_ref().ok().filter(|intent| !intent.paused)?;
        let trigger = Trigger::of_workload(id, intent);
        let traffic = trigger.traffic.as_ref()?;
        let targets = trigger.targets.iter().filter(|target| target.signal.family() == Family::Traffic);
        let mut reasons =
            targets.filter_map(|target| of_traffic(traffic, target.signal, plan, &self.signals).exact().err());
        let not_shown = |reason: &NoDemand| {
            matches!(
                reason,
                NoDemand::NotProgrammed(_) | NoDemand::NoReading { reason: NoReading::NotShown { .. }, .. }
            )
        };
        reasons.find(not_shown).map(|reason| reason.to_string())
    }

    /// Why a question of the trigger's own was not answered the last time, while an earlier answer counts.
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

    /// Why the traffic of this workload is not counted in whole, if it is not.
    fn unseen(&self, trigger: &Trigger, plan: &Plan, now: Instant) -> Option<NoDemand> {
        let Some(Traffic::Workload(id)) = &trigger.traffic else { return None };
        let workload = plan.workloads.get(id)?;
        // Manifests say nothing about pods.
        let in_a_cluster = !workload.uid.is_empty();
        let nobody_ready = in_a_cluster && workload.replicas.wanted > 0 && workload.replicas.ready == 0;
        self.last.lock().was_unseen(trigger, nobody_ready, now).then(|| NoDemand::NobodyReady { id: id.clone() })
    }
}

impl NoDemand {
    /// Whether the last value stands in for the missing one. Not for a workload that is no longer Tidegate's: nobody wants
    /// its demand.
    fn holds(&self) -> bool {
        !matches!(self, Self::UnknownWorkload { .. } | Self::NoTraffic)
    }
}

/// What a workload's own annotations ask for, as the operator writes it into a trigger.
/// The trigger says that the workload's hours count, and there are none.
fn no_hours(trigger: &Trigger, plan: &Plan) -> NoDemand {
    match &trigger.traffic {
        Some(Traffic::Workload(id)) if plan.workloads.contains_key(id) => NoDemand::NoHours { id: id.clone() },
        Some(Traffic::Workload(id)) => unknown_workload(id, plan),
        _ => NoDemand::NoTraffic,
    }
}

fn of_traffic(traffic: &Traffic, signal: Signal, plan: &Plan, signals: &SignalStore) -> Measured<Reading, NoDemand> {
    let of_share = |share: &ClusterShare| {
        let parts: Vec<_> = parts(share).filter(|(_, part)| *part > 0.0).collect();
        match parts.is_empty() || share.share == 0.0 {
            // No backend's part is smaller, and nobody needs to measure it.
            true => Measured::Exact(NOTHING),
            false if share.pending => Measured::Unknown(NoDemand::NotProgrammed(share.route.clone())),
            false => of_clusters(&parts, signal, signals),
        }
    };
    let all: Vec<_> = match traffic {
        Traffic::Clusters(names) => {
            signals.keep_named(names);
            names.iter().map(|name| of_clusters(&[(name, 1.0)], signal, signals)).collect()
        }
        Traffic::Workload(_) | Traffic::Service(_) => match shares(traffic, plan) {
            Ok(shares) => shares.iter().map(of_share).collect(),
            Err(reason) => return Measured::Unknown(reason),
        },
    };
    all.into_iter().reduce(|sum, more| sum.and(more, add)).unwrap_or(Measured::Unknown(NoDemand::NoTraffic))
}

/// The shares of clusters that the traffic is on; never none.
fn shares<'a>(traffic: &Traffic, plan: &'a Plan) -> Result<&'a [ClusterShare], NoDemand> {
    match traffic {
        Traffic::Workload(id) => match plan.workloads.get(id) {
            None => Err(unknown_workload(id, plan)),
            Some(workload) if workload.traffic.is_empty() => Err(NoDemand::NoRoute(id.clone())),
            Some(workload) => Ok(&workload.traffic),
        },
        Traffic::Service(id) => match plan.services.get(id) {
            Some(shares) if !shares.is_empty() => Ok(shares),
            _ => Err(unknown_service(id, plan)),
        },
        Traffic::Clusters(_) => Err(NoDemand::NoTraffic),
    }
}

/// The clusters of a rule, with the workload's part of each: its share of the rule's cluster, and all that it has of the
/// backend's own, of which Envoy Gateway makes one or the other (the names flip at run time, so both are always looked at).
pub(crate) fn parts(share: &ClusterShare) -> impl Iterator<Item = (&str, f64)> {
    let split = share.split.iter().map(|split| (&**split, share.of_backend));
    std::iter::once((&*share.cluster, share.share * share.of_backend)).chain(split)
}

/// All that one cluster carries.
pub(crate) fn of_cluster(name: &str, signal: Signal, signals: &SignalStore) -> Result<Reading, NoDemand> {
    of_clusters(&[(name, 1.0)], signal, signals).exact()
}

pub(crate) fn of_clusters(
    clusters: &[(&str, f64)],
    signal: Signal,
    signals: &SignalStore,
) -> Measured<Reading, NoDemand> {
    let name = || format!("cluster {}", shortened(clusters.first().map_or("", |(name, _)| name)));
    signals.traffic(clusters, signal).map_why(|reason| NoDemand::NoReading { name: name(), reason })
}

fn of_query(query: &str, reason: NoReading) -> NoDemand {
    NoDemand::NoReading { name: format!("query {}", shortened(query)), reason }
}

const NOTHING: Reading = Reading { value: 0.0, age: Duration::ZERO };

fn add(sum: Reading, more: Reading) -> Reading {
    Reading { value: sum.value + more.value, age: sum.age.max(more.age) }
}

/// What a lower bound must ask for; out of reach where the trigger does not say which workload it scales.
fn replicas_now(trigger: &Trigger, plan: &Plan) -> u32 {
    let workload = match &trigger.traffic {
        Some(Traffic::Workload(id)) => plan.workloads.get(id),
        _ => None,
    };
    workload.map_or(u32::MAX, |workload| workload.replicas.wanted)
}

/// Whether the workload is known to have no replicas. Manifests say nothing about that.
fn sleeps(trigger: &Trigger, plan: &Plan) -> bool {
    let Some(Traffic::Workload(id)) = &trigger.traffic else { return false };
    plan.workloads.get(id).is_some_and(|workload| !workload.uid.is_empty() && workload.replicas.wanted == 0)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod trust;
