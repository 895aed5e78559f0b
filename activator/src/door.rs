//! Doors: the ports that the activator listens on, one for each port of a Service that leads to it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tidegate_core::{
    ids::ServiceId,
    wake::{WakeIgnore, WakeLimit},
    workload::WorkloadId,
};

/// All doors, by the port that the activator listens on.
pub type Doors = BTreeMap<u16, Door>;

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// The Service
    pub service: ServiceId,
    /// The name of its port; empty if the port has none
    pub port: String,
    /// The workload behind it
    pub workload: WorkloadId,
    /// How its traffic is held
    pub protocol: DoorProtocol,
    /// Address and target port of each ready pod
    pub backends: Arc<[SocketAddr]>,
    /// The workload's settings, and its state where answers depend on it
    pub rules: Arc<DoorRules>,
}

impl Door {
    /// Whether both are the same port of the same Service and workload, whatever pods and rules they have.
    pub(crate) fn is_same_port(&self, other: &Self) -> bool {
        (&self.service, &self.port, &self.workload, self.protocol)
            == (&other.service, &other.port, &other.workload, other.protocol)
    }
}

/// How the traffic of a door is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorProtocol {
    /// The first bytes decide: HTTP/1 and HTTP/2 without TLS by the request, anything else by the connection
    Sniffed,
    /// By the connection, from the moment that it is made. For protocols in which the server speaks first.
    Tcp,
}

/// The settings of a workload that apply to its doors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorRules {
    /// Longest time that a request or connection waits for a pod
    pub hold_timeout: Duration,
    /// Most requests, or connections, that the activator has open to one pod at a time; 0 counts as 1
    pub per_pod: u32,
    /// Requests that wake nothing
    pub ignore: WakeIgnore,
    /// Most wakes in a time; each pod of Tidegate counts its own
    pub limit: Option<WakeLimit>,
    /// Set while requests do not wake the workload, as outside its hours. Pods that are ready all the same get their requests.
    pub closed: Option<Closed>,
    /// Why no pod is ready, as a clause that ends an answer: `its image cannot be pulled`
    pub not_ready: Option<String>,
}

impl Default for DoorRules {
    fn default() -> Self {
        Self {
            hold_timeout: Duration::from_secs(60),
            per_pod: 100,
            ignore: WakeIgnore::default(),
            limit: None,
            closed: None,
            not_ready: None,
        }
    }
}

/// A time in which requests do not wake the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// When it opens, if that is known
    pub opens: Option<DateTime<Utc>>,
}

/// Bounds of what one activator holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldLimits {
    /// Most requests and raw connections of one workload that wait for a pod
    pub per_workload: usize,
    /// Most requests and raw connections in total that wait for a pod
    pub total: usize,
    /// Largest header section of a request, in bytes
    pub header_bytes: usize,
    /// Most open connections of clients
    pub connections: usize,
}

impl Default for HoldLimits {
    fn default() -> Self {
        Self { per_workload: 1_000, total: 10_000, header_bytes: 64 << 10, connections: 20_000 }
    }
}
