//! Shared parts of the end-to-end tests and benchmarks: Tidegate installed on the stack's cluster, `kubectl`, and scenarios of
//! Gateways, routes, Deployments and load.
#![allow(missing_docs, reason = "tests read it, and nobody else")]

pub mod cluster;
pub mod examples;
pub mod file_gateway;
pub mod identity;
pub mod jwt;
pub mod kafka;
pub mod kubectl;
pub mod llm;
pub mod pki;
mod read;
pub mod requests;
pub mod scenario;
mod turns;
