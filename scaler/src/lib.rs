//! The path from signals to KEDA: measurements, the demand made of them, and the external scaler that reports it.
//!
//! [`sources`] measure and write into [`store`]; [`demand`] adds up the parts that belong to a workload; [`service`] answers KEDA
//! from that, and never waits for I/O; [`explain`] shows the same to people, and [`history`]
//! remembers why it changed.

pub mod demand;
pub mod explain;
#[cfg(test)]
mod fixture;
pub mod history;
pub mod metrics;
pub mod overview;
pub mod places;
pub mod savings;
pub mod service;
pub mod sources;
pub mod store;
mod text;
