//! Our EndpointSlices: while a workload has no replicas, or is about to lose its last, they lead its Services to the activator.
//!
//! Envoy Gateway, kube-proxy and meshes take all EndpointSlices of a Service, whoever manages them, and an endpoint's port is the
//! slice's own (Envoy Gateway: `getIREndpointsFromEndpointSlices` in `internal/gatewayapi/route.go`). So a slice of our own moves the
//! traffic of a Service without a change of any route, Service or client.
//!
//! The slices are the only record: which port of the activator stands for which port of which Service. Every replica of Tidegate
//! reads them, the leader writes them, and a restart forgets nothing.

mod blocked;
mod book;
mod doors;
mod notice;
mod pod_reason;
mod reconcile;
mod reports;
mod slice;
mod starts;
mod steps;

pub use self::{
    blocked::{Blocked, Waiting},
    book::EndpointBook,
    doors::{LINGER, Openings, follow_doors},
    reconcile::{Activity, run},
    reports::{AllRefused, report_refused, report_starts},
    slice::PortRange,
    starts::Starts,
    steps::GateSettings,
};
