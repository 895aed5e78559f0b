//! Plan → EnvoyProxies: how many proxies the annotated Gateways have.
//!
//! Where Envoy Gateway's Deployment has no HPA, the number in the EnvoyProxy is ours; Envoy Gateway writes it through to the
//! Deployment at each of its reconciles, so no two controllers fight over it. Where there is an HPA, only its bounds are ours.

mod decision;
mod left_out;
mod notice;
mod object;
mod reconcile;
mod steps;
mod write;

pub use self::{
    decision::{Decision, History},
    left_out::{StatisticsLeftOut, report_left_out},
    notice::GatewayNotice,
    reconcile::run,
    steps::Measure,
};
