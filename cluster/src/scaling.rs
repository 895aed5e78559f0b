//! Plan → ScaledObjects: the desired ScaledObject of each workload, and the notices to its owner. `tidegate render` and the
//! operator decide by the same functions.

mod behavior;
mod beside;
mod no_effect;
mod notice;
mod others;
mod render;
mod scaled_object;
mod settings;
mod takeover;
mod triggers;

pub use self::{
    no_effect::no_effect,
    notice::WorkloadNotice,
    others::{Others, Place, Scalers, release_of_another},
    render::{Rendered, render},
    scaled_object::{MANAGED_BY, ScaledObjectPlan, desired, name, names},
    settings::{ScalerEndpoint, Settings},
    takeover::{TOOK_OVER, Takeover, Takeovers, merge_patch},
};
