//! Why there is no value for a target.

use tidegate_core::{
    ids::{RouteRef, ServiceId},
    workload::WorkloadId,
};

use crate::store::NoReading;

/// Why there is no value for a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDemand {
    /// The Plan has not been made yet
    #[error("the cluster is not known yet: /readyz says what is waited for")]
    NothingKnown,
    /// The Plan does not know the workload
    #[error("{id} has no annotations of Tidegate, or does not exist; {known}")]
    UnknownWorkload {
        /// The workload that was asked for
        id: WorkloadId,
        /// The workloads known in its namespace, as a sentence
        known: String,
    },
    /// The Service is not in the Plan, which knows only Services that routes reach
    #[error("no route reaches Service {} in namespace {}, or it does not exist; {known}", id.name, id.namespace)]
    UnknownService {
        /// The Service that was asked for
        id: ServiceId,
        /// The Services reached in its namespace, as a sentence
        known: String,
    },
    /// No route leads to the workload
    #[error("no route reaches {id}: {why}")]
    NoRoute {
        /// The workload
        id: WorkloadId,
        /// What is wrong with the routes that name its Services, or what is wanted
        why: String,
    },
    /// The route's cluster names in the Plan are not yet the ones that the proxies have
    #[error(
        "{0} has changed, and Envoy Gateway has not taken that in yet: its status.parents report an earlier generation, so that \
         nobody knows which clusters are its own"
    )]
    NotProgrammed(RouteRef),
    /// No pod takes the workload's traffic, so it may not be counted
    #[error("no pod of {id} is ready, and requests that nobody can take may not be counted")]
    NobodyReady {
        /// The workload
        id: WorkloadId,
    },
    /// The trigger uses the workload's business hours, and the workload has none
    #[error("{id} has no hours: the ScaledObject is older than its annotations, and is about to change")]
    NoHours {
        /// The workload
        id: WorkloadId,
    },
    /// The trigger asks for traffic, but does not say whose
    #[error("the trigger does not say whose traffic counts: give service (a Service of this namespace) or clusters")]
    NoTraffic,
    /// The signal was not measured
    #[error("{name}: {reason}")]
    NoReading {
        /// The cluster or the query
        name: String,
        /// Why
        reason: NoReading,
    },
}

impl NoDemand {
    /// Whether the last value replaces the missing one. Not for a workload that Tidegate no longer manages: nobody needs its demand.
    pub(super) fn holds(&self) -> bool {
        !matches!(self, Self::UnknownWorkload { .. } | Self::NoTraffic)
    }
}
