//! Reads and writes the cluster: the index makes the Plan, and the leader keeps one ScaledObject per workload and the status of
//! Calendars, and switches objects without a metric off and on by their hours.

pub mod calendars;
pub mod context;
pub mod endpoints;
pub mod events;
#[cfg(test)]
mod fixture;
pub mod lease;
pub mod metrics;
pub mod problems;
pub mod proxies;
pub mod sleep;
pub mod watch;
pub mod workloads;
pub mod writer;
