//! The requests that wake a workload from zero, and how often they may: `tidegate.dev/wake-ignore`, `tidegate.dev/wake-limit`
//! and the probes that never wake.

mod ignore;
mod limit;
mod probes;

pub use self::{
    ignore::WakeIgnore,
    limit::WakeLimit,
    probes::{PROBES, Probe, ProbeAnswer, is_health_check, probe},
};
