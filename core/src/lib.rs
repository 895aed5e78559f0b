//! Tidegate's vocabulary: the intent of users, the demand that reaches a workload, and the replicas that it needs.
//!
//! Everything here is pure: no clock of its own, no I/O, no Kubernetes client. The modules, in the order of the data:
//!
//! 1. [`key`] and [`intent`]: annotations become an [`Intent`](intent::Intent), or a list of
//!    [`Problem`](problem::Problem)s that name the key, the value that it got and the value that it wants.
//! 2. [`plan`]: the Envoy clusters that carry each workload's traffic, and its share of each.
//! 3. [`trigger`]: the metadata of a ScaledObject's trigger, written by the operator or by hand.
//! 4. [`demand`]: values and targets become replicas.
//!
//! [`beside`] has KEDA's own triggers beside Tidegate's, [`behavior`] how fast the HPA may go.
//! [`kafka`] and [`llm`] cover Kafka consumers and model servers, [`hours`], [`calendar`] and [`schedule`] business hours, and
//! [`fleet`] the proxies in front. [`held`] is the traffic of a workload at zero that is in hand, and [`wake`] the part of it that
//! wakes; [`request_timeout`] is what may end it too early, [`refused`] the part that was refused. [`yaml`] reads and writes YAML as kubectl does.

pub mod adopt;
pub mod behavior;
pub mod beside;
pub mod calendar;
pub mod demand;
pub mod event;
pub mod fleet;
pub mod gate;
pub mod hash;
pub mod held;
pub mod hours;
pub mod ids;
pub mod intent;
pub mod kafka;
pub mod key;
pub mod llm;
pub mod measured;
pub mod metric;
pub mod no_effect;
pub mod not_followed;
pub mod only_connections;
pub mod plan;
pub mod problem;
pub mod quantity;
pub mod refused;
pub mod request_timeout;
pub mod schedule;
pub mod signal;
pub mod text_map;
pub mod trigger;
mod value;
pub mod value_kind;
pub mod wake;
pub mod workload;
pub mod yaml;
