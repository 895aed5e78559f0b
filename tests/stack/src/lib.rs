//! The real peers of the end-to-end tests: built from package registries, booted on one machine.
//!
//! The program `stack` builds them ([`peers`]) and runs commands among them: Kubernetes, KEDA and Envoy Gateway run as
//! processes in separate namespaces, and pods whose images stand for a program run as processes with their own addresses. A
//! test that runs inside stops and restarts peers with [`Stack`].

mod attach;
mod control;
mod exit_code;
mod http;
mod inside;
mod network;
mod owner;
pub mod peers;
mod plane;
mod pods;
mod process;
mod sandbox;
mod services;
mod settings;
mod wait;

pub use self::{
    attach::{Stack, ready_pods, scrape},
    http::get,
    inside::run as run_inside,
    owner::{enter, run as run_stack},
    process::Status,
    settings::{Component, Profile, Settings},
    wait::{eventually, eventually_is},
};

/// Turns this process into the keeper of the sandbox that the file describes. A stack starts itself this way, for pods.
pub fn enter_sandbox(plan: &std::path::Path) -> anyhow::Result<()> {
    sandbox::Sandbox::enter(plan)
}
