//! From signals to KEDA: what is measured, what it needs, and the external scaler that says so.
//!
//! [`sources`] measure and write into [`store`]; [`demand`] adds up what belongs to a workload; [`service`] answers KEDA
//! from that, and never waits for I/O; [`explain`] says the same to people.

pub mod demand;
pub mod explain;
#[cfg(test)]
mod fixture;
pub mod metrics;
pub mod places;
pub mod savings;
pub mod service;
pub mod sources;
pub mod store;
mod text;
