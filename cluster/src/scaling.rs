//! Plan → ScaledObjects: the desired ScaledObject of each workload, and the notices to its owner. `tidegate render` and the
//! operator decide by the same functions.

mod beside;
mod no_effect;
mod notice;
mod render;
mod scaled_object;
mod takeover;

pub use self::{
    beside::{Beside, Place, Scalers, release_of_another},
    no_effect::no_effect,
    notice::WorkloadNotice,
    render::{Rendered, render},
    scaled_object::{MANAGED_BY, ScaledObjectPlan, ScalerEndpoint, Settings, desired, name, names},
    takeover::{TOOK_OVER, Takeover, Takeovers, merge_patch},
};
