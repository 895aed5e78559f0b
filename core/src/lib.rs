//! Tidegate's vocabulary: what users ask for, what reaches a workload, and how many replicas that needs.
//!
//! Everything here is pure: no clock of its own, no I/O, no Kubernetes client. The rooms, in the order of the data:
//!
//! 1. [`key`] and [`intent`]: annotations become an [`Intent`](intent::Intent), or a list of
//!    [`Problem`](problem::Problem)s that say which key, what it got and what it wants.
//! 2. [`plan`]: which Envoy clusters carry the traffic of which workload, and by what share.
//! 3. [`trigger`]: the metadata of a ScaledObject's trigger, written by the operator or by hand.
//! 4. [`demand`]: values and targets become replicas.
//!
//! [`kafka`] and [`llm`] are what consumers and model servers are asked about.
//! [`hours`], [`calendar`] and [`schedule`] say when; [`fleet`] is what is asked of the proxies in front.

pub mod calendar;
pub mod demand;
pub mod event;
pub mod fleet;
pub mod hash;
pub mod hours;
pub mod ids;
pub mod intent;
pub mod kafka;
pub mod key;
pub mod llm;
pub mod measured;
pub mod metric;
pub mod no_effect;
pub mod plan;
pub mod problem;
pub mod schedule;
pub mod signal;
pub mod trigger;
mod value;
pub mod value_kind;
pub mod workload;
