//! KEDA 2.21's side of an external scaler, for one ScaledObject: its loops, and the HPA that it creates.
//!
//! - [`ScaledObject`]: the object as the user (or Tidegate's operator) wrote it.
//! - [`Keda`]: all decisions, as a state machine without I/O or a clock: activation, cooldown, fallback, the HPA.
//! - [`Simulation`]: feeds it metric values over simulated time.
//! - [`KedaLoop`]: feeds it a real gRPC scaler in real time and scales a real [`ScaleTarget`].
//!
//! Ported from KEDA's `pkg/scaling/scale_handler.go`, `pkg/scaling/executor/scale_scaledobjects.go`,
//! `pkg/scalers/external_scaler.go`, `pkg/fallback/fallback.go` and `controllers/keda/hpa.go`. Left out: pausing and the
//! other annotations, scaling modifiers, cached metrics, and triggers that are not external.

mod answers;
mod executor;
mod fallback;
mod object;
mod report;
mod running;
mod scaler;
mod simulation;
mod state;

pub use self::{
    answers::{Answer, Answers, MetricSpec, Reading, TriggerAnswer},
    executor::Change,
    object::{Fallback, FallbackBehavior, Metadata, ScaledObject, ScaledObjectError, ScaledObjectSpec, Trigger},
    report::{MetricReport, Report, Source},
    running::{KedaLoop, ScaleTarget, TargetError},
    simulation::{Run, Sample, Simulation},
    state::{Keda, Poll, ReconcileError},
};
