//! The traffic that belongs to a workload, a Service or clusters: its share of each cluster that carries it.

use std::time::Duration;

use tidegate_core::{
    ids::RouteRef,
    measured::Measured,
    not_followed::Few,
    plan::{ClusterShare, Plan, PlannedWorkload},
    signal::{Family, Signal},
    trigger::{Traffic, Trigger},
    workload::WorkloadId,
};

use super::{
    Demands, NoDemand,
    neighbours::{unknown_service, unknown_workload},
};
use crate::{
    store::{NoReading, Reading, SignalStore},
    text::shortened,
};

const NOTHING: Reading = Reading { value: 0.0, age: Duration::ZERO };

impl Demands {
    /// Returns why a workload's traffic cannot be measured although the proxies answer; `None` otherwise.
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
}

/// Returns the sum of the traffic's shares of the clusters that carry it.
pub(super) fn of_traffic(
    traffic: &Traffic,
    signal: Signal,
    plan: &Plan,
    signals: &SignalStore,
) -> Measured<Reading, NoDemand> {
    let of_share = |share: &ClusterShare| {
        let parts: Vec<_> = parts(share).filter(|(_, part)| *part > 0.0).collect();
        match parts.is_empty() || share.share == 0.0 {
            // A part of zero is exact without a measurement.
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

/// Returns the shares of clusters that carry the traffic; never empty.
fn shares<'a>(traffic: &Traffic, plan: &'a Plan) -> Result<&'a [ClusterShare], NoDemand> {
    match traffic {
        Traffic::Workload(id) => match plan.workloads.get(id) {
            None => Err(unknown_workload(id, plan)),
            Some(workload) if workload.traffic.is_empty() => Err(no_route(id, workload)),
            Some(workload) => Ok(&workload.traffic),
        },
        Traffic::Service(id) => match plan.services.get(id) {
            Some(shares) if !shares.is_empty() => Ok(shares),
            _ => Err(unknown_service(id, plan)),
        },
        Traffic::Clusters(_) => Err(NoDemand::NoTraffic),
    }
}

fn no_route(id: &WorkloadId, workload: &PlannedWorkload) -> NoDemand {
    let why = match workload.not_followed.as_slice() {
        [] => format!(
            "wants an {} that a Gateway accepts, with a backendRef to a Service that selects its pods; `tidegate routes` prints what \
             is reached",
            RouteRef::MEASURED
        ),
        refused => Few(refused).to_string(),
    };
    NoDemand::NoRoute { id: id.clone(), why }
}

/// Returns the clusters of a rule with the workload's part of each: of the rule's cluster its share, of the backend's own cluster
/// all that it has of the backend. Envoy Gateway makes one or the other (the names flip at run time, so both are always read).
pub(crate) fn parts(share: &ClusterShare) -> impl Iterator<Item = (&str, f64)> {
    let split = share.split.iter().map(|split| (&**split, share.of_backend));
    std::iter::once((&*share.cluster, share.share * share.of_backend)).chain(split)
}

/// Returns the signal of one whole cluster.
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

fn add(sum: Reading, more: Reading) -> Reading {
    Reading { value: sum.value + more.value, age: sum.age.max(more.age) }
}
