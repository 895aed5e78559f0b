//! Why a rule or a backendRef of a route is not followed.
//!
//! Refusals borrow from the objects, so that discovery makes them for nothing: the text is written only where somebody asks for it.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use super::{
    super::views::{BackendRef, Service, ServicePort},
    BackendKey,
    grants::{From, To},
};

/// Most names or ports that a text lists.
const LISTED: usize = 5;

/// A rule whose backends get nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum RuleRefusal<'a> {
    /// Envoy itself answers all its requests
    Answered(Answer),
    /// A filter is invalid: Envoy answers 500, or the rule is dropped
    Filter(FilterFault<'a>),
    /// A regular expression that does not compile, or an unknown kind of session persistence
    Untranslatable,
    /// A Backend of type `DynamicResolver`, beside other backends or with a host from the path
    DynamicResolver,
    /// A TCPRoute or UDPRoute with this number of rules
    NotOneRule(usize),
}

/// An answer that Envoy gives without a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// `RequestRedirect`
    Redirect,
    /// `directResponse` of an HTTPRouteFilter
    DirectResponse,
}

/// A filter that Envoy Gateway refuses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FilterFault<'a> {
    /// A header modifier with a name or value that is not allowed
    Header,
    /// A rewrite that is incomplete, or sets what another one sets already
    Rewrite,
    /// Cookies of an HTTPRouteFilter that cannot be matched, or a second filter with matches
    Matches,
    /// A mirror whose backend is refused
    Mirror(ReferenceRefusal<'a>),
    /// The HTTPRouteFilter of this name does not exist
    NoSuchFilter(&'a str),
    /// Neither an HTTPRouteFilter nor an object of an extension server: group, kind and name
    UnknownExtension(&'a str, &'a str, &'a str),
    /// A type that is unknown, or not possible on this kind of route
    Unsupported,
    /// A type that is possible on a rule, but not on a backendRef
    NotOnBackends,
}

/// A reference to a backend that is not followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ReferenceRefusal<'a> {
    /// It leads to another namespace, and no ReferenceGrant there permits it
    NotGranted(From<'a>, To<'a>),
    /// Not a kind of backend: group, kind and name
    UnsupportedKind(&'a str, &'a str, &'a str),
    /// What it names is not there
    Absent(Absent<'a>),
    /// A Service of type `ExternalName`
    ExternalName(BackendKey<'a>),
    /// Envoy Gateway's configuration does not enable Backends
    BackendsDisabled(BackendKey<'a>),
    /// The endpoints of a Backend are refused
    Endpoints(BackendKey<'a>, EndpointFault<'a>),
    /// A Backend of type `DynamicResolver` where the service must be known in advance
    DynamicResolver(BackendKey<'a>),
}

/// An object, or a port of it, that is not there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Absent<'a> {
    /// The object; for a Service, the Services that its namespace has
    Object(BackendKey<'a>, Option<&'a BTreeMap<String, Service>>),
    /// The object's port for this transport protocol; the ports that it has
    Port(BackendKey<'a>, &'static str, &'a [ServicePort]),
}

/// Endpoints of a Backend that Envoy Gateway refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndpointFault<'a> {
    None,
    Mixed,
    UnixSocket,
    /// A name that is not fully qualified, or an address where a name is wanted
    Hostname(&'a str),
    /// Not an IP address, or one of the proxy itself
    Address(&'a str),
    /// Neither an address nor a name
    Empty,
    /// A dynamic resolver with endpoints
    OfDynamicResolver,
}

impl RuleRefusal<'_> {
    /// The reason in one word, for programs.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Answered(Answer::Redirect) => "Redirect",
            Self::Answered(Answer::DirectResponse) => "DirectResponse",
            Self::Filter(fault) => fault.reason(),
            Self::Untranslatable => "InvalidRule",
            Self::DynamicResolver => "DynamicResolver",
            Self::NotOneRule(_) => "NotOneRule",
        }
    }

    pub(super) fn write(&self, namespace: &str, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(Answer::Redirect) => {
                f.write_str("a RequestRedirect answers its requests, so its backends get none")
            }
            Self::Answered(Answer::DirectResponse) => {
                f.write_str("the directResponse of an HTTPRouteFilter answers its requests, so its backends get none")
            }
            Self::Filter(fault) => {
                fault.write(namespace, f)?;
                f.write_str(", so Envoy answers its requests with 500")
            }
            Self::Untranslatable => f.write_str(
                "Envoy Gateway drops it: a regular expression of its matches does not compile, or the type of its \
                 sessionPersistence is neither Cookie nor Header",
            ),
            Self::DynamicResolver => f.write_str(
                "a Backend of type DynamicResolver has to be its only backend, and takes no host from the path",
            ),
            Self::NotOneRule(rules) => write!(f, "it has {rules} rules; Envoy Gateway wants exactly one here"),
        }
    }
}

impl FilterFault<'_> {
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Mirror(refusal) => refusal.reason(),
            Self::NoSuchFilter(_) | Self::UnknownExtension(..) => "FilterNotFound",
            Self::Header | Self::Rewrite | Self::Matches | Self::Unsupported | Self::NotOnBackends => "InvalidFilter",
        }
    }

    pub(super) fn write(&self, namespace: &str, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str(
                "a header modifier has a header that Envoy Gateway refuses (an empty name, Host, / or : in a name, blanks at the \
                 ends of a value)",
            ),
            Self::Rewrite => f.write_str("a URLRewrite is invalid, or sets what another filter of the rule sets already"),
            Self::Matches => f.write_str("the matches of an HTTPRouteFilter are invalid, or a second filter has matches"),
            Self::Mirror(refusal) => {
                f.write_str("its RequestMirror ")?;
                refusal.write(namespace, f)
            }
            Self::NoSuchFilter(name) => write!(f, "it names HTTPRouteFilter {name}, which does not exist"),
            Self::UnknownExtension(group, kind, name) => write!(
                f,
                "its filter names {kind} {name} of {}, which is neither an HTTPRouteFilter of gateway.envoyproxy.io nor among the \
                 extensionManager.resources of Envoy Gateway's configuration",
                group_name(group)
            ),
            Self::Unsupported => f.write_str("it has a filter of a type that this kind of route cannot have"),
            Self::NotOnBackends => f.write_str("has a filter of a type that a backendRef cannot have"),
        }
    }
}

impl ReferenceRefusal<'_> {
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::NotGranted(..) => "NoReferenceGrant",
            Self::UnsupportedKind(..) => "UnsupportedKind",
            Self::Absent(absent) => absent.reason(),
            Self::ExternalName(_) => "ExternalName",
            Self::BackendsDisabled(_) => "BackendsDisabled",
            Self::Endpoints(..) => "InvalidBackend",
            Self::DynamicResolver(_) => "DynamicResolver",
        }
    }

    /// `names Service api port 8080; it has 80`
    pub(super) fn write(&self, namespace: &str, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("names ")?;
        match self {
            Self::NotGranted(from, to) => write!(
                f,
                "{} {}/{}, and no ReferenceGrant in namespace {} permits that from {} {} of namespace {}",
                to.kind,
                to.namespace,
                to.name,
                to.namespace,
                if from.kind.starts_with(['A', 'E', 'H', 'U']) { "an" } else { "a" },
                from.kind,
                from.namespace
            ),
            Self::UnsupportedKind(group, kind, name) => write!(
                f,
                "{kind} {name} of {}; a backend is a Service, a ServiceImport or a Backend of Envoy Gateway",
                group_name(group)
            ),
            Self::Absent(absent) => absent.write(namespace, f),
            Self::ExternalName(key) => write!(
                f,
                "{}, which is of type ExternalName: Envoy Gateway sends nothing to one (use a Backend with an fqdn)",
                Named(key, namespace)
            ),
            Self::BackendsDisabled(key) => write!(
                f,
                "{}, but Envoy Gateway's configuration does not have extensionApis.enableBackend",
                Named(key, namespace)
            ),
            Self::Endpoints(key, fault) => write!(f, "{}, {fault}", Named(key, namespace)),
            Self::DynamicResolver(key) => {
                write!(f, "{}, which is of type DynamicResolver: a policy needs a known service", Named(key, namespace))
            }
        }
    }
}

impl Absent<'_> {
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Object(..) => "BackendNotFound",
            Self::Port(..) => "PortNotFound",
        }
    }

    pub(super) fn write(&self, namespace: &str, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(key, others) => {
                write!(f, "{}, which does not exist", Named(key, namespace))?;
                let others = others.filter(|others| !others.is_empty());
                others.map_or(Ok(()), |others| write!(f, "; namespace {} has {}", key.namespace, Listed(others.keys())))
            }
            Self::Port(key, transport, ports) => write_port(key, transport, ports, namespace, f),
        }
    }
}

fn write_port(
    key: &BackendKey<'_>,
    transport: &str,
    ports: &[ServicePort],
    namespace: &str,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    let udp = if transport == "UDP" { "/UDP" } else { "" };
    match key.port {
        Some(port) => write!(f, "{} port {port}{udp}; it has ", Named(key, namespace))?,
        None => write!(f, "{} without a port; it has ", Named(key, namespace))?,
    }
    if ports.is_empty() {
        return f.write_str("none");
    }
    let port = |port: &ServicePort| match port.protocol() {
        "TCP" => port.port.to_string(),
        other => format!("{}/{other}", port.port),
    };
    Listed(ports.iter().map(port)).fmt(f)
}

impl Display for EndpointFault<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("which has no endpoints"),
            Self::Mixed => f.write_str("whose endpoints mix names with addresses"),
            Self::UnixSocket => f.write_str("which has a Unix socket as its endpoint: no workload is behind it"),
            Self::Hostname(name) => write!(f, "whose endpoint {name} is not a fully qualified name"),
            Self::Address(address) => write!(f, "whose endpoint {address} is not an address outside the proxy"),
            Self::Empty => f.write_str("whose endpoint has neither an ip nor an fqdn"),
            Self::OfDynamicResolver => f.write_str("which is of type DynamicResolver and has endpoints"),
        }
    }
}

/// A backend, with its namespace where that is not the route's.
pub(super) struct Named<'s, 'a>(pub(super) &'s BackendKey<'a>, pub(super) &'s str);

impl Display for Named<'_, '_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(key, route_namespace) = self;
        if key.namespace == *route_namespace {
            return write!(f, "{} {}", key.kind, key.name);
        }
        write!(f, "{} {}/{}", key.kind, key.namespace, key.name)
    }
}

/// `a, b, c and 7 more`
pub(super) struct Listed<I>(pub(super) I);

impl<I: Iterator<Item: Display> + Clone> Display for Listed<I> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.clone().take(LISTED).enumerate() {
            write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
        }
        match self.0.clone().skip(LISTED).count() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The API group, as a text names it.
pub(super) fn group_name(group: &str) -> &str {
    if group.is_empty() { "the core API group" } else { group }
}

/// The key of the object that a backendRef names.
pub(super) fn key_of<'a>(backend_ref: &'a BackendRef, route_namespace: &'a str) -> BackendKey<'a> {
    BackendKey {
        kind: backend_ref.kind(),
        namespace: backend_ref.namespace(route_namespace),
        name: &backend_ref.name,
        port: backend_ref.port,
    }
}
