//! `tidegate routes`: which clusters carry the traffic of which backend.

use serde::Serialize;

use super::Objects;

/// A backend of routes and the clusters that carry its traffic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackendClusters {
    /// What the routes refer to
    pub backend: BackendId,
    /// The clusters, ordered by name
    pub clusters: Vec<ClusterEntry>,
}

/// What a route refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BackendId {
    /// `Service`, `ServiceImport` or `Backend`
    pub kind: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// The port as the reference gives it; a Backend has its own and needs none
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A part of a cluster's traffic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterEntry {
    /// What stands in the label `envoy_cluster_name`: the cluster of the whole rule, or the name that the EnvoyProxy's
    /// `clusterStatName` gives it
    pub name: String,
    /// The part of it that is this backend's, from 0 to 1
    pub share: f64,
}

/// All backends that routes reach, ordered by kind, namespace, name and port.
pub(super) fn routes(_objects: &Objects) -> Vec<BackendClusters> {
    Vec::new()
}
