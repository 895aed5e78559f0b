//! Why a route does not attach to one of its parents.

use std::fmt::{self, Display, Formatter};

use super::{
    super::views::{Listener, ParentRef},
    refusal::{Listed, group_name},
};

/// A parentRef that is not followed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ParentRefusal<'a> {
    /// There are no parentRefs
    None,
    /// Neither a Gateway nor a ListenerSet: its kind
    UnsupportedKind(&'a ParentRef),
    /// The Gateway or ListenerSet does not exist; the namespace of a Gateway of that name, if there is one
    NotFound(ParentId<'a>, Option<&'a str>),
    /// The Gateway is not Envoy Gateway's, or is refused by it
    Gateway(ParentId<'a>, GatewayRefusal<'a>),
    /// The ListenerSet does not belong to a Gateway: its parent, and why
    ListenerSet(ParentId<'a>, ParentId<'a>, SetRefusal),
    /// The route's namespace is not among those that the Gateway's Envoy Gateway watches
    NotWatched(ParentId<'a>, &'a str),
    /// No listener has the parentRef's `sectionName` or `port`; the names and ports that there are
    NoSuchListener(ParentId<'a>, &'a ParentRef, Vec<&'a Listener>),
    /// No listener takes the route in
    Listeners(ParentId<'a>, Vec<RefusingListener<'a>>),
}

/// A listener that does not take a route in, and why.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RefusingListener<'a> {
    pub(super) listener: &'a Listener,
    /// The kinds of route that it lets in
    pub(super) kinds: Vec<&'static str>,
    pub(super) refusal: ListenerRefusal<'a>,
}

/// A Gateway or a ListenerSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ParentId<'a> {
    pub(super) kind: &'static str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

/// A Gateway whose routes are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GatewayRefusal<'a> {
    /// Its class is of another controller
    OtherController { class: &'a str, controller: &'a str },
    /// Its namespace is not among those that Envoy Gateway watches
    NotWatched,
    /// It asks for a type of address that Envoy Gateway does not support
    Address,
    /// Its EnvoyProxy has both `mergeGateways` and `mergeBackends`
    MergesBoth,
}

/// A ListenerSet whose listeners are no Gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetRefusal {
    /// The Gateway does not exist, or is not Envoy Gateway's
    NoGateway,
    /// The Gateway's `allowedListeners` do not let it in
    NotAllowed,
}

/// A listener that does not take a route in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ListenerRefusal<'a> {
    /// It lets in other kinds of route
    Kind,
    /// It lets in routes of other namespaces
    Namespace(AllowedFrom),
    /// Its definition is invalid
    Invalid(ListenerFault),
    /// It lost a conflict with another listener
    Conflicted(Conflict),
    /// No hostname of the route is left to it
    Hostname(&'a [String]),
    /// An older route has it, and it takes only one: kind, namespace and name
    Taken(&'static str, &'a str, &'a str),
    /// It terminates TLS, which a Backend of type `DynamicResolver` excludes
    Terminates,
}

/// The namespaces from which a listener lets routes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AllowedFrom {
    Same,
    Selector,
}

/// An invalid definition of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListenerFault {
    Protocol,
    Kinds,
    Hostname,
    Selector,
    Tls,
}

/// The rule by which a listener lost to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflict {
    Protocol,
    Hostname { other_has_it: bool },
    Port,
    MergedGateways,
}

impl ParentRefusal<'_> {
    /// The reason in one word, for programs.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::None => "NoParentRefs",
            Self::UnsupportedKind(_) => "UnsupportedParent",
            Self::NotFound(id, _) if id.kind == "Gateway" => "GatewayNotFound",
            Self::NotFound(..) => "ListenerSetNotFound",
            Self::Gateway(_, GatewayRefusal::OtherController { .. }) => "OtherController",
            Self::Gateway(_, GatewayRefusal::NotWatched) | Self::NotWatched(..) => "NotWatched",
            Self::Gateway(..) => "InvalidGateway",
            Self::ListenerSet(..) => "ListenerSetNotAttached",
            Self::NoSuchListener(..) => "ListenerNotFound",
            Self::Listeners(_, listeners) => {
                listeners.first().map_or("NoListener", |listener| listener.refusal.reason())
            }
        }
    }
}

impl Display for ParentRefusal<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("it has no parentRefs, so that no Gateway takes it in"),
            Self::UnsupportedKind(parent) => {
                let kind = parent.kind.as_deref().unwrap_or("Gateway");
                let group = parent.group.as_deref().unwrap_or("gateway.networking.k8s.io");
                let group = group_name(group);
                write!(f, "its parent {kind} {} of {group} is neither a Gateway nor a ListenerSet", parent.name)
            }
            Self::NotFound(id, None) => write!(f, "{id} does not exist"),
            Self::NotFound(id, Some(namespace)) => write!(f, "{id} does not exist; there is {namespace}/{}", id.name),
            Self::Gateway(id, refusal) => write!(f, "{id} {refusal}"),
            Self::NotWatched(id, namespace) => {
                write!(f, "the Envoy Gateway of {id} does not watch namespace {namespace}")
            }
            Self::ListenerSet(id, gateway, SetRefusal::NoGateway) => {
                write!(f, "{id} is attached to {gateway}, which does not exist or is not Envoy Gateway's")
            }
            Self::ListenerSet(id, gateway, SetRefusal::NotAllowed) => {
                write!(f, "{id} is not let in by the allowedListeners of {gateway}")
            }
            Self::NoSuchListener(id, parent, listeners) => write_missing(id, parent, listeners, f),
            Self::Listeners(id, listeners) => {
                for (i, refusing) in listeners.iter().take(SHOWN).enumerate() {
                    let separator = if i > 0 { "; " } else { "" };
                    write!(f, "{separator}listener {} of {id} {refusing}", refusing.listener.name)?;
                }
                match listeners.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more listeners"),
                }
            }
        }
    }
}

/// Most listeners of a Gateway that a text explains.
const SHOWN: usize = 3;

fn write_missing(id: &ParentId<'_>, parent: &ParentRef, listeners: &[&Listener], f: &mut Formatter<'_>) -> fmt::Result {
    let port = parent.port.map(|port| format!("port {port}"));
    let section = parent.section_name.as_ref().map(|name| format!("sectionName {name}"));
    let asked: Vec<_> = section.into_iter().chain(port).collect();
    if asked.is_empty() {
        return write!(f, "{id} has no listener");
    }
    let known = listeners.iter().map(|listener| format!("{} (port {})", listener.name, listener.port));
    write!(f, "{id} has no listener with {}; it has ", asked.join(" and "))?;
    if listeners.is_empty() { f.write_str("none") } else { Listed(known).fmt(f) }
}

impl Display for ParentId<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

impl Display for GatewayRefusal<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherController { class, controller } => write!(
                f,
                "is of GatewayClass {class}, whose controller is {controller}, which is not Envoy Gateway's (if it is one, name it: \
                 --controller-name {controller})"
            ),
            Self::NotWatched => f.write_str("is in a namespace that Envoy Gateway does not watch"),
            Self::Address => f.write_str("has an address of a type that is neither IPAddress nor Hostname"),
            Self::MergesBoth => f.write_str("has an EnvoyProxy with both mergeGateways and mergeBackends"),
        }
    }
}

impl ListenerRefusal<'_> {
    fn reason(&self) -> &'static str {
        match self {
            Self::Kind => "KindNotAllowed",
            Self::Namespace(_) => "NamespaceNotAllowed",
            Self::Invalid(_) => "InvalidListener",
            Self::Conflicted(_) => "ListenerConflict",
            Self::Hostname(_) => "NoMatchingHostname",
            Self::Taken(..) => "ListenerTaken",
            Self::Terminates => "DynamicResolver",
        }
    }
}

impl Display for RefusingListener<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.refusal {
            ListenerRefusal::Kind if self.kinds.is_empty() => f.write_str("lets in no kind of route"),
            ListenerRefusal::Kind => write!(f, "lets in {}s only", self.kinds.join("s and ")),
            ListenerRefusal::Namespace(AllowedFrom::Same) => {
                f.write_str("lets in routes of its own namespace only (allowedRoutes.namespaces)")
            }
            ListenerRefusal::Namespace(AllowedFrom::Selector) => {
                f.write_str("lets in routes of namespaces with other labels only (allowedRoutes.namespaces.selector)")
            }
            ListenerRefusal::Invalid(fault) => write!(f, "is invalid: {fault}"),
            ListenerRefusal::Conflicted(conflict) => write!(f, "has lost a conflict: {conflict}"),
            ListenerRefusal::Hostname(hostnames) => write!(
                f,
                "serves none of the route's hostnames ({}), or another listener of its port does",
                Listed(hostnames.iter())
            ),
            ListenerRefusal::Taken(kind, namespace, name) => {
                write!(f, "takes one route, and has {kind} {namespace}/{name}, which is older")
            }
            ListenerRefusal::Terminates => {
                f.write_str("terminates TLS, which excludes a Backend of type DynamicResolver")
            }
        }
    }
}

impl Display for ListenerFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "its protocol is none of HTTP, HTTPS, TLS, TCP and UDP",
            Self::Kinds => "its allowedRoutes.kinds have a kind that its protocol does not carry",
            Self::Hostname => "it has a hostname, but its protocol carries none",
            Self::Selector => "its allowedRoutes.namespaces.selector is missing or invalid",
            Self::Tls => "its tls does not fit its protocol, or has no certificateRef to a Secret that it may refer to",
        })
    }
}

impl Display for Conflict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "another listener has its port with another protocol",
            Self::Hostname { other_has_it: true } => "another listener has its port and hostname",
            Self::Hostname { other_has_it: false } => {
                "another listener has its port and hostname, so neither gets them"
            }
            Self::Port => "another listener before it has its port",
            Self::MergedGateways => "a listener of another Gateway of the class has its port, protocol and hostname",
        })
    }
}
