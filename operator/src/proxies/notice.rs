//! Notices for the owner of a Gateway: the reasons and texts of events.

use std::fmt;

use tidegate_core::{
    event::{Notice, Reason},
    fleet::{EnvoyProxyId, GatewayId},
    no_effect::NoEffect,
    problem::Problem,
};

use super::object;

/// One notice for the owner of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GatewayNotice {
    /// An annotation is wrong
    InvalidAnnotations(Problem),
    /// `tidegate.dev/paused` is `true`
    Paused,
    /// Annotated, but with nothing to scale on
    NoSignal,
    /// There is no EnvoyProxy to write the number to
    NoEnvoyProxy(GatewayId, bool),
    /// The EnvoyProxy that is named does not exist
    MissingEnvoyProxy(EnvoyProxyId),
    /// One proxy runs per node
    DaemonSet,
    /// An HPA decides, so signals do not
    HpaDecides,
    /// An HPA keeps at least one
    HpaKeepsOne,
    /// Zero was asked for inside hours
    ZeroOnlyOutsideHours,
    /// A setting is accepted, but has no effect
    NoEffect(NoEffect),
    /// Gateways without annotations share the EnvoyProxy
    Bystanders(Vec<GatewayId>),
    /// Gateways that share an EnvoyProxy ask for different things
    Contradiction(Vec<String>),
    /// The number was changed: from, to, and why
    Scaled(u32, u32, String),
    /// This EnvoyProxy was created for it, and linked
    GaveEnvoyProxy(EnvoyProxyId),
    /// The API server refused a write
    Refused(String),
}

impl Notice for GatewayNotice {
    fn reason(&self) -> Reason {
        match self {
            Self::InvalidAnnotations(_) => Reason::InvalidAnnotations,
            Self::Paused => Reason::Paused,
            Self::NoSignal => Reason::NoSignal,
            Self::NoEnvoyProxy(..) => Reason::NoEnvoyProxy,
            Self::MissingEnvoyProxy(_) => Reason::MissingEnvoyProxy,
            Self::DaemonSet => Reason::DaemonSet,
            Self::HpaDecides => Reason::HpaDecides,
            Self::HpaKeepsOne => Reason::HpaKeepsOne,
            Self::ZeroOnlyOutsideHours => Reason::ZeroOnlyOutsideHours,
            Self::NoEffect(_) => Reason::NoEffect,
            Self::Bystanders(_) => Reason::SharedEnvoyProxy,
            Self::Contradiction(_) => Reason::Contradiction,
            Self::Scaled(..) => Reason::ScaledProxies,
            Self::GaveEnvoyProxy(_) => Reason::GaveEnvoyProxy,
            Self::Refused(_) => Reason::EnvoyProxyRefused,
        }
    }
}

impl fmt::Display for GatewayNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidAnnotations(problem) => {
                write!(f, "{problem} (what was applied before still applies until this is fixed)")
            }
            Self::Paused => write!(f, "tidegate.dev/paused is true: the proxies are left as they are"),
            Self::NoSignal => write!(
                f,
                "nothing says when to scale: add what one proxy carries, for example tidegate.dev/requests-per-second: \
                 \"2000\", or hours: tidegate.dev/hours with tidegate.dev/timezone"
            ),
            Self::NoEnvoyProxy(gateway, true) => write!(
                f,
                "no EnvoyProxy says how many proxies it has. Annotate it tidegate.dev/create-envoyproxy: \"true\", and one is \
                 made and linked; or apply {} and name it in spec.infrastructure.parametersRef",
                object::to_apply(gateway)
            ),
            Self::NoEnvoyProxy(gateway, false) => write!(
                f,
                "no EnvoyProxy says how many proxies it has, and its class merges Gateways: name an EnvoyProxy in \
                 spec.parametersRef of the GatewayClass, for example {}",
                object::to_apply(gateway)
            ),
            Self::MissingEnvoyProxy(id) => write!(f, "{id} is named, but does not exist: nothing is scaled"),
            Self::DaemonSet => {
                write!(f, "its EnvoyProxy has envoyDaemonSet, one proxy per node: there is nothing to scale")
            }
            Self::HpaDecides => write!(
                f,
                "its EnvoyProxy has envoyHpa: that decides, within bounds that follow tidegate.dev/min-replicas, max-replicas \
                 and hours; what one proxy carries is not looked at. Remove envoyHpa to scale on it"
            ),
            Self::HpaKeepsOne => write!(f, "tidegate.dev/off-hours-replicas is 0, but an HPA keeps 1 at least"),
            Self::ZeroOnlyOutsideHours => write!(
                f,
                "tidegate.dev/min-replicas is 0, but without a proxy no request arrives that could wake one: 1 is kept. Zero \
                 outside hours is tidegate.dev/off-hours-replicas: \"0\""
            ),
            Self::NoEffect(what) => write!(f, "{what}"),
            Self::Bystanders(gateways) => write!(
                f,
                "{} without annotations share its EnvoyProxy, so hours do not hold it down: annotate them too, or give this \
                 Gateway an EnvoyProxy of its own",
                list(gateways)
            ),
            Self::Contradiction(what) => {
                write!(f, "Gateways that share an EnvoyProxy differ in {}", what.join(", "))
            }
            Self::Scaled(from, to, why) => write!(f, "{from} → {to} proxies: {why}"),
            Self::GaveEnvoyProxy(id) => write!(
                f,
                "created {id} and linked it in spec.infrastructure.parametersRef, as tidegate.dev/create-envoyproxy asks: it holds the \
                 number of proxies. If the Gateway stands in Git, add the link there"
            ),
            Self::Refused(error) => write!(f, "the API server refused a write: {error}"),
        }
    }
}

fn list(gateways: &[GatewayId]) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<_> = gateways.iter().take(SHOWN).map(ToString::to_string).collect();
    if gateways.len() > SHOWN {
        names.push(format!("{} more", gateways.len() - SHOWN));
    }
    names.join(", ")
}
