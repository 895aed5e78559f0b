//! The activator through its doors: real sockets, real clients, and pods that are servers of this process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in tests")]

mod bytes;
mod clients;
mod draining;
mod http;
mod passing_on;
mod peers;
mod refusals;
mod site;
