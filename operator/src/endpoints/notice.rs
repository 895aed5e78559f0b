//! Notices about gates to the owners of workloads.

use std::fmt;

use tidegate_core::event::{Notice, Reason};

use super::slice::PortRange;

/// Why requests to a workload without replicas are not held, though they should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum GateNotice {
    /// All ports of the activator are in use
    NoPortLeft(PortRange),
    /// An EndpointSlice of somebody else has this name
    SliceTaken(String),
    /// The API server refused the EndpointSlice
    Refused(String),
}

impl Notice for GateNotice {
    fn reason(&self) -> Reason {
        Reason::RequestsNotHeld
    }
}

impl fmt::Display for GateNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keeps = "so it keeps its last replica";
        match self {
            Self::NoPortLeft(range) => write!(
                f,
                "all ports of the activator ({range}) are in use, {keeps}: widen activator.ports in the chart's values"
            ),
            Self::SliceTaken(name) => {
                write!(f, "EndpointSlice {name} is not Tidegate's, {keeps}: rename that one, or delete it")
            }
            Self::Refused(error) => write!(f, "the API server refused its EndpointSlice, {keeps}: {error}"),
        }
    }
}
