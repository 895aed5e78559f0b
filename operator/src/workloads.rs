//! Plan → ScaledObjects: what each workload should have, and how it gets it.

mod drift;
mod notice;
mod reconcile;
mod render;
mod scaled_object;
mod steps;

pub use self::{
    notice::Notice,
    reconcile::{Reconciler, run},
    render::{Rendered, render},
    scaled_object::{Desired, MANAGED_BY, ScalerEndpoint, Settings, desired, name},
};
