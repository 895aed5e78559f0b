//! Follows the cluster: feeds [`Objects`](tidegate_cluster::Objects) from watches and publishes a Plan when something changed.

pub mod resource;
mod serving;
mod start;
mod strangers;
mod watches;

pub use self::{
    start::start,
    watches::{WatchState, Watches},
};
