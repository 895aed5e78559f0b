//! Follows the cluster: feeds [`Objects`](tidegate_cluster::Objects) from watches and publishes a Plan when something changed.

mod configuration;
pub mod resource;
mod serving;
mod settings;
mod start;
mod state;
mod strangers;
mod waiting;
mod watches;

pub use self::{
    settings::{ConfigMapName, WatchSettings},
    start::start,
    state::WatchState,
    watches::Watches,
};
