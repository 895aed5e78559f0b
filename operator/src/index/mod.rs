//! The index: from the objects of a cluster, or of files, to the Plan.
//!
//! One state ([`Objects`]) is fed with plain JSON objects by watches or by [`read_manifests`], and everything else is a
//! pure function of it: [`Objects::plan`] for the scaler and the operator, [`Objects::routes`] for people.

mod discovery;
mod kind;
mod left_out;
mod manifests;
mod namespaces;
mod objects;
mod plan;
mod routes;
mod serving;
mod serving_watch;
mod sleepers;
mod start;
mod strangers;
mod views;
mod watches;

pub use kind::Kind;
pub use left_out::{LeftOut, LeftOutStatistics, Missing};
pub use manifests::{ManifestError, ManifestErrors, read_manifests};
pub use objects::{ForeignScaler, ObjectError, Objects, WorkloadState};
pub use routes::{BackendClusters, BackendId, ClusterEntry, ServicePortId, routes_table};
pub(crate) use sleepers::{PAUSED_REPLICAS, is_paused_by_hours};
pub use sleepers::{Sleeper, Wanted};
pub use start::start;
pub use views::{ASLEEP, Calendar, Labels, Meta, OwnerReference, ScaleTarget, ScaledObject};
pub use watches::{WatchState, Watches};
