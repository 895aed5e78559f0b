//! KEDA's and the HPA's loops without a cluster, the load that drives them, and the report of what came of it.
//!
//! - [`load`]: an open-loop load generator for HTTP, gRPC and TCP, paced by a profile.

pub mod load;
