//! What reads and writes the cluster: the index makes the Plan, and the leader keeps one ScaledObject per workload
//! and the status of Calendars, and switches by its hours what has no metric.

mod api;
#[cfg(test)]
mod api_server;
pub mod calendars;
pub mod events;
pub mod gateways;
pub mod index;
pub mod lease;
pub mod metrics;
pub mod sleep;
pub mod tolerance;
pub mod workloads;
pub mod writer;
