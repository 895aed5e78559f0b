//! Gates: the ports of Services at which requests are held while a workload has no replicas.
//!
//! A gate is an EndpointSlice of Tidegate's own: it leads a Service to the activator without a change of any route, Service or client.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    ids::ServiceId,
    key::Key,
    value::{self, ReadKeys},
    wake::{WakeIgnore, WakeLimit},
    workload::WorkloadRef,
};

/// What a user wants of the requests that come while there are no replicas.
#[derive(Debug, Clone, PartialEq)]
pub struct HoldIntent {
    /// How long a request is held
    pub timeout: Duration,
    /// Requests that wake nothing
    pub ignore: WakeIgnore,
    /// How often it may be woken
    pub limit: Option<WakeLimit>,
    /// Whether a request wakes the workload: at zero inside hours if not said, and outside hours only if said
    pub wakes: Option<bool>,
    /// Time without demand before the last replica goes; the stabilisation window if not said
    pub zero_after: Option<Duration>,
}

impl HoldIntent {
    /// The default of [`Self::timeout`].
    pub const TIMEOUT: Duration = Duration::from_secs(60);

    pub(crate) fn read(source: &mut impl ReadKeys) -> Self {
        Self {
            timeout: source.read(Key::HoldTimeout, value::hold_timeout).unwrap_or(Self::TIMEOUT),
            ignore: source.read(Key::WakeIgnore, str::parse).unwrap_or_default(),
            limit: source.read(Key::WakeLimit, str::parse),
            wakes: source.read(Key::WakeOnRequest, value::boolean),
            zero_after: source.read(Key::ZeroAfter, value::zero_after),
        }
    }
}

/// A Service whose requests are held while the workload behind it has no replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gate {
    /// The Service
    pub service: ServiceId,
    /// Its TCP ports; never empty
    pub ports: Vec<GatePort>,
}

/// A port of such a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GatePort {
    /// Its name, which the Service's EndpointSlices repeat; empty when it has none
    pub name: String,
    /// Whether a TCPRoute or TLSRoute leads to it, so that a connection is demand before the first byte
    pub raw: bool,
}

/// Why requests to a workload at zero cannot be held, so that one replica is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NotHeld {
    /// Tidegate runs without its activator
    Disabled,
    /// Its annotations say that requests do not wake it
    NotWanted,
    /// No Service selects its pods
    NoService,
    /// Clients of this Service resolve the pods themselves
    Headless(ServiceId),
    /// This Service leads to other workloads, too
    Shared(ServiceId),
    /// This Service leads to workloads that may all go to zero, and requests wake this one
    WakesAnother(ServiceId, WorkloadRef),
    /// An endpoint picker chooses among the pods of this InferencePool
    Pool(ServiceId),
    /// This Service has no TCP port
    NoTcpPort(ServiceId),
}

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |id: &ServiceId| format!("{}/{}", id.namespace, id.name);
        match self {
            Self::Disabled => f.write_str(
                "Tidegate runs without its activator, which would hold the first request: set activator.enabled in the chart's values",
            ),
            Self::NotWanted => write!(
                f,
                "{} is false, and nothing but a request could wake it: remove it, or add a signal that does",
                Key::WakeOnRequest.annotation()
            ),
            Self::NoService => f.write_str("no Service selects its pods, so no request could arrive to wake it"),
            Self::Headless(id) => write!(
                f,
                "Service {} is headless: clients resolve its pods themselves, and would find the activator too late; give it a clusterIP",
                named(id)
            ),
            Self::Shared(id) => write!(
                f,
                "Service {} leads to other workloads, too, so that its requests are theirs; give it a Service of its own",
                named(id)
            ),
            Self::WakesAnother(id, other) => write!(
                f,
                "Service {} leads to {other}, too, and a request there wakes only that one; give it a Service of its own",
                named(id)
            ),
            Self::Pool(id) => write!(
                f,
                "the endpoint picker of InferencePool {} chooses among pods only, so that a request at zero is refused; keep one replica, \
                 or route to a Service",
                named(id)
            ),
            Self::NoTcpPort(id) => write!(f, "Service {} has no TCP port", named(id)),
        }
    }
}
