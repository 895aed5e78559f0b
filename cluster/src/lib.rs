//! From the objects of a cluster, or of files, to the Plan, and from the Plan to ScaledObjects. Pure: no client, no network, no clock.
//!
//! One state ([`Objects`]) is fed with plain JSON objects by watches or by [`read_manifests`], and everything else is a pure function
//! of it: [`Objects::plan`] for the scaler and the operator, [`Objects::routes`] for people, [`scaling`] for KEDA.

mod discovery;
mod envoy_gateways;
#[cfg(test)]
mod fixture;
mod kind;
mod left_out;
mod lenient;
mod manifests;
pub mod migrate;
mod misplaced;
mod namespaces;
mod objects;
mod plan;
mod pod_selectors;
mod route_kinds;
mod routes;
pub mod scaling;
mod serving;
mod shape;
mod sleepers;
mod table;
mod unscaled;
mod views;

pub use kind::Kind;
pub use left_out::{LeftOut, LeftOutStatistics, MATCH_CLUSTERS, MATCH_LISTENERS, Missing};
pub use lenient::Misread;
pub use manifests::{
    Location, ManifestError, ManifestErrors, ManifestSettings, Manifests, read_all_values, read_manifests, read_values,
};
pub use misplaced::{Bearer, Misplaced, WrongPlace};
pub use objects::{ForeignScaler, Objects, WorkloadState};
pub use plan::{NotAProxy, strangers};
pub use routes::{BackendClusters, BackendId, ClusterEntry, Routing, ServicePortId, routes_table};
pub use sleepers::{Sleeper, Wanted, is_paused_by_hours};
pub use table::ObjectError;
pub use unscaled::NotScaled;
pub use views::{ASLEEP, CalendarObject, Labels, Meta, OwnerReference, PAUSED_REPLICAS, ScaleTarget, ScaledObject};
