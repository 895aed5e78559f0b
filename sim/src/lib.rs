//! KEDA's and the HPA's control loops without a cluster, the load that drives them, and reports of the results.
//!
//! - [`hpa`]: the Horizontal Pod Autoscaler's algorithm, exact.
//! - [`keda`]: KEDA's loops around an external scaler, real and simulated.
//! - [`load`]: an open-loop load generator for HTTP, gRPC and TCP, paced by a profile.
//! - [`report`]: a run as one HTML file, and several runs side by side as a chart.
//! - [`traces`]: recorded requests to LLM servers.

pub mod hpa;
pub mod keda;
pub mod load;
pub mod quantity;
pub mod report;
pub mod traces;
