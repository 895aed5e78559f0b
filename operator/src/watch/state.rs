//! The state of each watch, and whether it is enough to act on.

use std::fmt;

use tidegate_cluster::Kind;

/// The state of the watch of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchState {
    /// The first list is under way
    Listing,
    /// Everything was seen once
    Synced,
    /// The API server does not know the kind
    WaitingForCrd,
    /// The API server serves the kind of workload without the scale subresource
    NotScalable,
    /// The watch fails
    Failing(String),
}

impl fmt::Display for WatchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listing => f.write_str("being listed"),
            Self::Synced => f.write_str("synced"),
            Self::WaitingForCrd => {
                f.write_str("the API server does not serve it; it is watched as soon as its CRD is installed")
            }
            Self::NotScalable => f.write_str(
                "the API server serves it without the scale subresource, so neither KEDA nor the HPA can scale it; take it off \
                 scaleKinds in the chart's values",
            ),
            Self::Failing(error) => write!(f, "{error}; what was seen stays"),
        }
    }
}

/// The scope of one watch: a kind in one of the namespaces that the watch is limited to, or everywhere.
pub(super) type List = (Kind, Option<String>);

/// What a watch has seen so far.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    pub(super) state: WatchState,
    /// Whether everything was seen at least once, whatever has happened since
    pub(super) seen: bool,
}

/// Kinds that must be known before anything is acted on: a missing workload or default would look as if it had been removed.
const REQUIRED: [Kind; 5] =
    [Kind::Deployment, Kind::StatefulSet, Kind::Namespace, Kind::ScaledObject, Kind::HorizontalPodAutoscaler];

impl Progress {
    /// A watch whose first list is under way.
    pub(super) fn listing() -> Self {
        Self { state: WatchState::Listing, seen: false }
    }

    /// Whether enough is known of the kind to act on.
    pub(super) fn is_enough(&self, kind: Kind) -> bool {
        match self.state {
            WatchState::Synced => true,
            _ if self.seen => true,
            WatchState::Listing => false,
            // A CRD that is not installed has no objects. A kind that may not be read at all is reported in /readyz, and only
            // waited for where acting without it could do harm.
            WatchState::WaitingForCrd | WatchState::NotScalable | WatchState::Failing(_) => !REQUIRED.contains(&kind),
        }
    }
}
