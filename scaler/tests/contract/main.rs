//! KEDA's contract, tested by a real client over a real socket.
//!
//! Each test is a sentence about what KEDA does or expects, as its sources say it (`pkg/scalers/external_scaler.go`,
//! `pkg/scalers/externalscaler/externalscaler.proto`, KEDA 2.21).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper of tests fails as a test does")]

mod answers;
mod hostile;
mod jobs;
mod refusals;
mod server;
mod streams;
mod support;
mod tls;
