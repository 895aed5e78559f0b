//! What of a route is not followed, with its reason and what Envoy Gateway reports about it.

use std::fmt::{self, Display, Formatter};

use tidegate_core::{
    ids::RouteRef,
    not_followed::{self, Verdict},
};

use super::{
    super::views::{Refused, Reported},
    BackendKey,
    backends::RefusedBackend,
    dead_ends::DeadEnd,
    parent_refusal::{GatewayRefusal, ListenerRefusal, ParentRefusal},
    refusal::{FilterFault, Named, RuleRefusal},
};

/// A route, or a part of one, whose traffic does not reach the backends that it names.
pub(crate) struct NotFollowed<'a> {
    pub(super) route: RouteRef,
    /// The namespace that references without one mean
    pub(super) namespace: &'a str,
    /// The backends that get nothing because of it
    pub(crate) backends: Vec<BackendKey<'a>>,
    pub(super) refusal: Refusal<'a>,
    pub(super) reported: Reported<'a>,
}

/// Why something of a route is not followed.
pub(super) enum Refusal<'a> {
    /// It does not attach to one of its parents
    Parent(ParentRefusal<'a>),
    /// Nothing of a rule reaches its backends
    Rule(RuleRefusal<'a>),
    /// One backendRef is refused
    Backend(BackendKey<'a>, RefusedBackend<'a>),
    /// One backendRef is accepted, and leads to nobody
    DeadEnd(DeadEnd<'a>),
    /// Nothing is wrong with it, but Envoy Gateway refuses it
    ByEnvoyGatewayOnly,
}

/// What Envoy Gateway's status should be where it judges as Tidegate does.
enum Expected {
    /// A refusal
    Refused,
    /// No report: nothing of Envoy Gateway's is concerned
    Nothing,
    /// Either: it accepts a rule that is answered without a backend, a route on a listener that does not work, and any name of a host
    Anything,
}

impl NotFollowed<'_> {
    /// The same with its texts, for people and programs.
    pub(crate) fn told(&self) -> not_followed::NotFollowed {
        not_followed::NotFollowed {
            route: self.route.clone(),
            reason: self.refusal.reason(),
            message: self.to_string(),
            envoy_gateway: self.verdict(),
        }
    }

    fn verdict(&self) -> Option<Verdict> {
        let accepts = || Verdict { agrees: false, conditions: "Accepted=True and ResolvedRefs=True".to_owned() };
        match (&self.reported, self.refusal.expected()) {
            (Reported::Refused(conditions), _) => {
                let agrees = !matches!(self.refusal, Refusal::ByEnvoyGatewayOnly);
                let relevant: Vec<_> =
                    conditions.iter().filter(|one| self.is_about(one)).map(|one| quote(one)).collect();
                (!relevant.is_empty()).then(|| Verdict { agrees, conditions: relevant.join("; ") })
            }
            (Reported::Accepted, Expected::Refused | Expected::Nothing) => Some(accepts()),
            (Reported::Accepted, Expected::Anything) | (Reported::Nothing, _) => None,
        }
    }

    /// Whether a condition is about what is refused here: a parent, or a rule and its backends.
    fn is_about(&self, condition: &Refused) -> bool {
        const OF_PARENTS: [&str; 4] =
            ["NotAllowedByListeners", "NoMatchingParent", "NoMatchingListenerHostname", "NoReadyListeners"];
        let of_parent = OF_PARENTS.contains(&condition.reason.as_str());
        match self.refusal {
            Refusal::Parent(_) => condition.kind == "Accepted",
            Refusal::Rule(_) | Refusal::Backend(..) | Refusal::DeadEnd(_) => !of_parent,
            Refusal::ByEnvoyGatewayOnly => true,
        }
    }
}

/// `ResolvedRefs=False (BackendNotFound): Service shop/api not found`
fn quote(condition: &Refused) -> String {
    const ROOM: usize = 200;
    let Refused { kind, status, reason, message } = condition;
    // Several problems come as several lines.
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let message: String = match message.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message.trim_end_matches('.').to_owned(),
    };
    format!("{kind}={status} ({reason}): {message}")
}

impl Refusal<'_> {
    fn reason(&self) -> &'static str {
        match self {
            Self::Parent(refusal) => refusal.reason(),
            Self::Rule(refusal) => refusal.reason(),
            Self::Backend(_, RefusedBackend::Reference(refusal)) => refusal.reason(),
            Self::Backend(_, RefusedBackend::Filter(fault)) => fault.reason(),
            Self::DeadEnd(dead) => dead.reason(),
            Self::ByEnvoyGatewayOnly => "RefusedByEnvoyGateway",
        }
    }

    fn expected(&self) -> Expected {
        match self {
            Self::Parent(ParentRefusal::Gateway(_, GatewayRefusal::Address | GatewayRefusal::MergesBoth)) => {
                Expected::Anything
            }
            Self::Parent(
                ParentRefusal::None
                | ParentRefusal::UnsupportedKind(_)
                | ParentRefusal::NotFound(..)
                | ParentRefusal::Gateway(..)
                | ParentRefusal::NotWatched(..)
                | ParentRefusal::ListenerSet(..),
            ) => Expected::Nothing,
            Self::Parent(ParentRefusal::Listeners(_, listeners)) => {
                let refuses = |refusal: &ListenerRefusal<'_>| match refusal {
                    ListenerRefusal::Kind | ListenerRefusal::Namespace(_) | ListenerRefusal::Hostname(_) => true,
                    ListenerRefusal::Invalid(_)
                    | ListenerRefusal::Conflicted(_)
                    | ListenerRefusal::Taken(..)
                    | ListenerRefusal::Terminates => false,
                };
                let all = listeners.iter().all(|listener| refuses(&listener.refusal));
                if all { Expected::Refused } else { Expected::Anything }
            }
            Self::Rule(RuleRefusal::Answered(_)) | Self::DeadEnd(_) => Expected::Anything,
            Self::Parent(ParentRefusal::NoSuchListener(..))
            | Self::Rule(_)
            | Self::Backend(..)
            | Self::ByEnvoyGatewayOnly => Expected::Refused,
        }
    }
}

/// The text, which goes on after the name of the route.
impl Display for NotFollowed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.refusal {
            Refusal::Parent(refusal) => refusal.fmt(f),
            Refusal::Rule(refusal) => refusal.write(self.namespace, f),
            Refusal::Backend(_, RefusedBackend::Reference(refusal)) => refusal.write(self.namespace, f),
            Refusal::Backend(key, RefusedBackend::Filter(fault)) => {
                write!(f, "its backendRef to {} ", Named(key, self.namespace))?;
                if !matches!(fault, FilterFault::NotOnBackends) {
                    f.write_str("is refused: ")?;
                }
                fault.write(self.namespace, f)
            }
            Refusal::DeadEnd(dead) => dead.write(self.namespace, f),
            Refusal::ByEnvoyGatewayOnly => f.write_str("Envoy Gateway does not follow it, or not all of it"),
        }
    }
}
