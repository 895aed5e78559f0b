//! What belongs to a workload, added up over the clusters that carry its traffic.
//!
//! Missing data is never read as missing demand. Three things can be missing, and each is held in the same way: the last
//! value that was known counts for as long as it is younger than `stale_after`, and after that there is an error, on which
//! the HPA leaves replicas alone.
//!
//! - A source is silent: [`Signals`] itself holds the last value of each cluster.
//! - The Plan changed and names a cluster that was not measured yet: the last *sum* is held.
//! - No route leads to the workload any more. That may be a mistake that is mended in a minute, or a route that is
//!   deleted and made anew: a zero would empty a workload that is needed, so the last sum is held, and then it is an error.

mod last;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidegate_core::{
    demand::Need,
    intent::Intent,
    plan::{ClusterShare, Plan, ServiceId},
    signal::{Signal, Target},
    trigger::{Traffic, Trigger},
    workload::WorkloadId,
};
use tokio::time::Instant;

use self::last::LastValues;
use crate::signals::{NoReading, Reading, Signals};

/// Why there is no value for a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDemand {
    /// The Plan is empty: it has not been made yet, or there is nothing in the cluster to make it of
    #[error(
        "the cluster is not known yet: no workload with annotations of Tidegate, no Service that a route reaches and no \
         proxy was seen so far; /readyz says what is waited for"
    )]
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
    /// Why the value is the last known one, when it is not made of what is measured now
    pub held: Option<NoDemand>,
}

/// Demand as it is now, and as it was last known.
///
/// One of these serves all who ask (KEDA, `explain`, metrics), so that all of them hear the same.
#[derive(Debug)]
pub struct Demands {
    signals: Arc<Signals>,
    stale_after: Duration,
    last: Mutex<LastValues>,
}

impl Demands {
    /// Demand over `signals`. Sums are held for `stale_after`, which is to be that of the signals.
    pub fn new(signals: Arc<Signals>, stale_after: Duration) -> Self {
        Self { signals, stale_after, last: Mutex::default() }
    }

    /// What demand is made of.
    pub fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    /// The value of one of the trigger's targets.
    pub fn demand(&self, trigger: &Trigger, target: Target, plan: &Plan) -> Result<Demand, NoDemand> {
        let now = Instant::now();
        let found = self.measured(trigger, target.signal, plan);
        let mut last = self.lock();
        let (reading, held) = match found {
            Ok(reading) => {
                last.remember(trigger, target.signal, reading, now);
                (reading, None)
            }
            Err(reason) => match last.reading(trigger, target.signal, now) {
                Some(reading) if reason.holds() && reading.age <= self.stale_after => (reading, Some(reason)),
                _ => return Err(reason),
            },
        };
        let need = Need { signal: target.signal, value: reading.value, per_replica: target.per_replica };
        Ok(Demand { need, age: reading.age, held })
    }

    /// Whether anything asks for replicas: a value above zero is enough.
    ///
    /// What has no value counts as it was last known, however long ago: activity stays as it was while data is missing.
    /// An error only where neither is known.
    pub fn is_active(&self, trigger: &Trigger, plan: &Plan) -> Result<bool, NoDemand> {
        let mut missing = None;
        for target in &trigger.targets {
            let value = match self.demand(trigger, *target, plan) {
                Ok(demand) => Some(demand.need.value),
                Err(reason) => {
                    let last = self.lock().reading(trigger, target.signal, Instant::now()).filter(|_| reason.holds());
                    missing = missing.or(last.is_none().then_some(reason));
                    last.map(|reading| reading.value)
                }
            };
            if value.is_some_and(|value| value > 0.0) {
                return Ok(true);
            }
        }
        missing.map_or(Ok(false), Err)
    }

    fn measured(&self, trigger: &Trigger, signal: Signal, plan: &Plan) -> Result<Reading, NoDemand> {
        let reading = match (&trigger.query, &trigger.traffic) {
            (Some(query), _) if !signal.is_traffic() => {
                self.signals.keep_query(query);
                let reading = self.signals.query(query);
                reading.map_err(|reason| NoDemand::NoReading { name: format!("query {}", shortened(query)), reason })
            }
            (_, Some(traffic)) => of_traffic(traffic, signal, plan, &self.signals),
            (_, None) => Err(NoDemand::NoTraffic),
        }?;
        if reading.value.is_finite() {
            return Ok(Reading { value: reading.value.max(0.0), ..reading });
        }
        let reason = NoReading::BadAnswer { reason: format!("the sum is {}, wants a finite number", reading.value) };
        Err(NoDemand::NoReading { name: signal.to_string(), reason })
    }

    fn lock(&self) -> MutexGuard<'_, LastValues> {
        // A panic elsewhere leaves values that are whole.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
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
pub(crate) fn trigger_of(id: &WorkloadId, intent: &Intent) -> Trigger {
    Trigger {
        targets: intent.targets.clone(),
        traffic: Some(Traffic::Workload(id.clone())),
        query: intent.query.clone(),
    }
}

fn of_traffic(traffic: &Traffic, signal: Signal, plan: &Plan, signals: &Signals) -> Result<Reading, NoDemand> {
    let nothing_known = plan.workloads.is_empty() && plan.services.is_empty() && plan.proxies.is_empty();
    let shares = match traffic {
        Traffic::Clusters(names) => {
            signals.keep_named(names);
            return names.iter().try_fold(NOTHING, |sum, name| Ok(add(sum, of_cluster(name, signal, signals)?, 1.0)));
        }
        Traffic::Workload(_) | Traffic::Service(_) if nothing_known => return Err(NoDemand::NothingKnown),
        Traffic::Workload(id) => match plan.workloads.get(id) {
            None => return Err(unknown_workload(id, plan)),
            Some(workload) if workload.traffic.is_empty() => return Err(NoDemand::NoRoute(id.clone())),
            Some(workload) => &workload.traffic,
        },
        Traffic::Service(id) => match plan.services.get(id) {
            Some(shares) if !shares.is_empty() => shares,
            _ => return Err(unknown_service(id, plan)),
        },
    };
    shares.iter().try_fold(NOTHING, |sum, share| Ok(add(sum, of_share(share, signal, signals)?, 1.0)))
}

/// What the workload has of a rule: its part of the rule's cluster, and all of the backend's own cluster, of which Envoy
/// Gateway makes one or the other (the names flip at run time, so both are always looked at).
pub(crate) fn of_share(share: &ClusterShare, signal: Signal, signals: &Signals) -> Result<Reading, NoDemand> {
    parts(share).try_fold(NOTHING, |sum, (cluster, part)| Ok(add(sum, of_cluster(cluster, signal, signals)?, part)))
}

/// The clusters of a share, each with the part of it that is the workload's.
pub(crate) fn parts(share: &ClusterShare) -> impl Iterator<Item = (&Arc<str>, f64)> {
    let split = share.split.iter().map(|split| (split, share.of_backend));
    std::iter::once((&share.cluster, share.share * share.of_backend)).chain(split)
}

/// All that one cluster carries.
pub(crate) fn of_cluster(name: &str, signal: Signal, signals: &Signals) -> Result<Reading, NoDemand> {
    let reading = signals.cluster(name, signal);
    reading.map_err(|reason| NoDemand::NoReading { name: format!("cluster {}", shortened(name)), reason })
}

const NOTHING: Reading = Reading { value: 0.0, age: Duration::ZERO };

fn add(sum: Reading, more: Reading, part: f64) -> Reading {
    Reading { value: sum.value + more.value * part, age: sum.age.max(more.age) }
}

pub(crate) fn unknown_workload(id: &WorkloadId, plan: &Plan) -> NoDemand {
    let beside = plan.workloads.keys().filter(|known| known.namespace == id.namespace);
    let names = beside.map(|known| format!("{}/{}", known.kind.as_str().to_ascii_lowercase(), known.name));
    let known = match listed(names) {
        Some(names) => format!("known in its namespace: {names}"),
        None => format!(
            "none is known in its namespace ({} in others): annotate it, for example with \
             tidegate.dev/requests-per-second=100",
            plan.workloads.len()
        ),
    };
    let id = WorkloadId { namespace: shortened(&id.namespace), kind: id.kind, name: shortened(&id.name) };
    NoDemand::UnknownWorkload { id, known }
}

fn unknown_service(id: &ServiceId, plan: &Plan) -> NoDemand {
    let beside = plan.services.keys().filter(|known| known.namespace == id.namespace);
    let known = match listed(beside.map(|known| known.name.clone())) {
        Some(names) => format!("reached in its namespace: {names}"),
        None => format!("none is reached in its namespace ({} in others)", plan.services.len()),
    };
    let id = ServiceId { namespace: shortened(&id.namespace), name: shortened(&id.name) };
    NoDemand::UnknownService { id, known }
}

/// The first few names, and how many more there are.
fn listed(names: impl Iterator<Item = String>) -> Option<String> {
    const SHOWN: usize = 10;
    let mut names: Vec<_> = names.collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let names = (!names.is_empty()).then(|| names.join(", "))?;
    Some(if more > 0 { format!("{names} and {more} more") } else { names })
}

/// What a caller wrote, short enough to stand in a message.
pub(crate) fn shortened(text: &str) -> String {
    const ROOM: usize = 120;
    match text.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
