//! The real peers of the end-to-end tests: built from package registries, booted on one machine.

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
    http::get,
    inside::run as run_inside,
    owner::run as run_stack,
    process::Status,
    settings::{Component, Profile, Settings},
    wait::{eventually, eventually_is},
};

/// Becomes the sandbox that the file describes: what the stack starts itself with, for pods.
pub fn enter_sandbox(plan: &std::path::Path) -> anyhow::Result<()> {
    sandbox::Sandbox::enter(plan)
}
