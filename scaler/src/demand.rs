//! What belongs to a workload, added up over the clusters that carry its traffic.

use std::{fmt, time::Duration};

use tidegate_core::{
    demand::Need,
    plan::{ClusterShare, Plan},
    signal::{Signal, Target},
    trigger::{Traffic, Trigger},
};

use crate::signals::{NoReading, Reading, Signals};

/// Why there is no value for a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDemand {
    /// Nothing leads to the workload or the Service. Not a zero: the route may be on its way, or gone by mistake
    #[error(
        "no route reaches {0}: an HTTPRoute, GRPCRoute, TCPRoute or TLSRoute must have a backendRef to a Service of it"
    )]
    NoRoute(String),
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// The value and what one replica carries
    pub need: Need,
    /// Of the oldest measurement in it
    pub age: Duration,
}

/// The value of one of the trigger's targets.
pub fn demand(trigger: &Trigger, target: Target, plan: &Plan, signals: &Signals) -> Result<Demand, NoDemand> {
    let reading = match (&trigger.query, &trigger.traffic) {
        (Some(query), _) if target.signal == Signal::PrometheusQuery => {
            signals.keep_query(query);
            signals.query(query).map_err(|reason| NoDemand::NoReading { name: format!("query {query}"), reason })
        }
        (_, Some(traffic)) => of_traffic(traffic, target.signal, plan, signals),
        (_, None) => Err(NoDemand::NoRoute("a trigger that names no traffic".to_owned())),
    }?;
    let need = Need { signal: target.signal, value: reading.value, per_replica: target.per_replica };
    Ok(Demand { need, age: reading.age })
}

/// Whether anything asks for replicas. One signal that has a value above zero is enough; a missing one is an error unless
/// another says yes.
pub fn is_active(trigger: &Trigger, plan: &Plan, signals: &Signals) -> Result<bool, NoDemand> {
    let mut missing = None;
    for target in &trigger.targets {
        match demand(trigger, *target, plan, signals) {
            Ok(demand) if demand.need.value > 0.0 => return Ok(true),
            Ok(_) => {}
            Err(error) => missing = Some(error),
        }
    }
    missing.map_or(Ok(false), Err)
}

fn of_traffic(traffic: &Traffic, signal: Signal, plan: &Plan, signals: &Signals) -> Result<Reading, NoDemand> {
    match traffic {
        Traffic::Workload(id) => {
            let shares = plan.workloads.get(id).map_or(&[][..], |workload| &workload.traffic);
            of_shares(shares, signal, signals, id)
        }
        Traffic::Service(id) => {
            let shares = plan.services.get(id).map_or(&[][..], Vec::as_slice);
            of_shares(shares, signal, signals, &format_args!("Service {} in namespace {}", id.name, id.namespace))
        }
        Traffic::Clusters(names) => {
            signals.keep_named(names);
            names.iter().try_fold(NOTHING, |sum, name| Ok(add(sum, of_cluster(name, signal, signals)?, 1.0)))
        }
    }
}

fn of_shares(
    shares: &[ClusterShare],
    signal: Signal,
    signals: &Signals,
    of: &dyn fmt::Display,
) -> Result<Reading, NoDemand> {
    if shares.is_empty() {
        return Err(NoDemand::NoRoute(of.to_string()));
    }
    shares.iter().try_fold(NOTHING, |sum, share| Ok(add(sum, of_share(share, signal, signals)?, 1.0)))
}

/// The part of a backend's clusters, in both forms of their name, that is the workload's.
pub(crate) fn of_share(share: &ClusterShare, signal: Signal, signals: &Signals) -> Result<Reading, NoDemand> {
    let whole = of_cluster(&share.cluster, signal, signals)?;
    let sum = add(NOTHING, whole, share.share * share.of_backend);
    match &share.split {
        Some(split) => Ok(add(sum, of_cluster(split, signal, signals)?, share.of_backend)),
        None => Ok(sum),
    }
}

fn of_cluster(name: &str, signal: Signal, signals: &Signals) -> Result<Reading, NoDemand> {
    signals.cluster(name, signal).map_err(|reason| NoDemand::NoReading { name: format!("cluster {name}"), reason })
}

const NOTHING: Reading = Reading { value: 0.0, age: Duration::ZERO };

fn add(sum: Reading, more: Reading, share: f64) -> Reading {
    Reading { value: sum.value + more.value * share, age: sum.age.max(more.age) }
}
