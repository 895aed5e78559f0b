//! KEDA's and the HPA's loops without a cluster, the load that drives them, and the report of what came of it.
//!
//! - [`hpa`]: the Horizontal Pod Autoscaler's algorithm, exact.
//! - [`load`]: an open-loop load generator for HTTP, gRPC and TCP, paced by a profile.

pub mod hpa;
pub mod load;
pub mod quantity;
