//! Sources against servers that misbehave. How real ones behave is tested end to end, on a real Envoy and a real Prometheus;
//! these here answer what a real one would only by bad luck.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper of tests that cannot go on fails")]

mod envoy;
#[cfg(feature = "kafka")]
mod kafka;
mod prometheus;
mod server;
