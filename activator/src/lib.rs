//! The activator: it holds the traffic of a workload without a ready pod, and passes it on once there is one.
//!
//! It knows no Kubernetes. It gets [`Doors`], each of them a port of a Service, with the pods that are ready and the rules of the
//! workload behind it, and reports what it has [in hand](Activator::held). Traffic goes this way:
//!
//! 1. `listeners`: a socket per door; `connection`: the first bytes decide between HTTP and anything else (`sniff`).
//! 2. `http` serves each request on its own, `splice` a connection as a whole.
//! 3. `passage`: admission (`account`, `wakes`), the wait for a pod (`queue`), and the connection to it.
//! 4. `forward` passes a request on. What is not passed on is a `refusal`, which `answers` words for HTTP and gRPC.
//!
//! `peers` exchanges what is held, what was refused lately (`refusals`), and the demand of bursts with the other pods of Tidegate.

mod account;
mod activator;
mod answers;
mod arrivals;
mod body;
mod client;
mod connection;
mod door;
mod forward;
mod headers;
mod http;
mod kind;
mod listeners;
mod metrics;
mod passage;
mod peers;
mod queue;
mod refusal;
mod refusals;
mod shared;
mod sniff;
mod splice;
mod wakes;

pub use self::{
    activator::{Activator, DRAIN},
    door::{Closed, Door, DoorProtocol, DoorRules, Doors, HoldLimits},
    peers::{HeardPeaks, PeerError},
};
