//! Sources against servers that misbehave. The behaviour of real servers is tested end to end, on a real Envoy and a real
//! Prometheus; the servers here give answers that a real one gives only by bad luck.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper of tests that cannot go on fails")]

mod envoy;
#[cfg(feature = "kafka")]
mod kafka;
mod prometheus;
mod server;
