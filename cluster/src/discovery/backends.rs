//! Resolves backendRefs: whether one is valid, and the properties of its backend that affect the cluster.

use std::net::IpAddr;

use super::{
    super::{
        Objects,
        kind::Kind,
        views::{Backend, BackendRef, BackendSpec, Endpoint, Filter, ServicePort, is_dns_subdomain},
    },
    BackendKey, Pods, ServiceAt, filters,
    grants::{From, Grants, To},
    in_cluster::InCluster,
    pools,
    refusal::{Absent, EndpointFault, FilterFault, ReferenceRefusal, RuleRefusal, key_of},
};

/// Lookup of backends.
pub(super) struct Backends<'a, 'b> {
    pub(super) objects: &'a Objects,
    pub(super) grants: &'b Grants<'a>,
    pub(super) in_cluster: InCluster<'a>,
}

/// A backend that gets traffic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolved<'a> {
    pub(super) key: BackendKey<'a>,
    pub(super) service: Option<ServiceAt<'a>>,
    pub(super) protocol: Protocol,
    /// Whether only HTTP/1.1 is possible, because the backend speaks WebSocket
    pub(super) only_http1: bool,
    pub(super) addresses: Addresses,
    pub(super) has_filters: bool,
    pub(super) fallback: bool,
    pub(super) origin: Origin,
}

/// Source of the address that requests are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The backend
    Plain,
    /// The request: `type: DynamicResolver`
    DynamicResolver,
    /// An extension server
    Extension,
}

/// Protocol that Envoy speaks to a backend (`ir.AppProtocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Http2,
    Grpc,
    Tcp,
    Udp,
}

impl Protocol {
    /// The protocol as written in the name of a merged cluster.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    fn of_route(kind: Kind) -> Self {
        match kind {
            Kind::HttpRoute => Self::Http,
            Kind::GrpcRoute => Self::Grpc,
            Kind::UdpRoute => Self::Udp,
            _ => Self::Tcp,
        }
    }

    /// Refines the protocol by the backend's `appProtocol`, which is possible for HTTP only (`resolveBackendProtocol`).
    fn refined(self, app_protocol: &str) -> Self {
        match app_protocol {
            "kubernetes.io/h2c" | "gateway.envoyproxy.io/h2c" if self == Self::Http => Self::Http2,
            "grpc" if self == Self::Http => Self::Grpc,
            _ => self,
        }
    }

    pub(super) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc)
    }
}

/// Kind of the addresses in a cluster. FQDNs and other addresses cannot share a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addresses {
    /// The pods of a Service
    Pods,
    /// The pods of a Service that wants traffic to stay in its zone
    NearbyPods,
    /// IP addresses of a Backend
    Ips,
    /// Names that Envoy resolves by DNS
    Fqdns,
    /// No addresses that are known in advance
    None,
}

/// A backendRef of a route that Envoy Gateway refuses: the backend gets no traffic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum RefusedBackend<'a> {
    /// The reference leads nowhere
    Reference(ReferenceRefusal<'a>),
    /// One of its own filters is invalid
    Filter(FilterFault<'a>),
}

impl<'a> std::convert::From<ReferenceRefusal<'a>> for RefusedBackend<'a> {
    fn from(refusal: ReferenceRefusal<'a>) -> Self {
        Self::Reference(refusal)
    }
}

impl<'a> Backends<'a, '_> {
    /// `processDestination`
    pub(super) fn resolve(
        &self,
        kind: Kind,
        route_namespace: &'a str,
        backend_ref: &'a BackendRef,
    ) -> Result<Resolved<'a>, RefusedBackend<'a>> {
        let key = key_of(backend_ref, route_namespace);
        let custom = self.objects.envoy_gateways.is_extension(backend_ref.group(), key.kind);
        let protocol = Protocol::of_route(kind);
        let from = of_route(kind, route_namespace);
        if custom || pools::pool(self.objects, backend_ref.group(), key.namespace, key.name).is_some() {
            self.check_grant(from, backend_ref)?;
            return Ok(Resolved { origin: Origin::Extension, ..Resolved::new(key, protocol) });
        }
        check_group_and_kind(backend_ref)?;
        self.check_grant(from, backend_ref)?;
        self.check_filters(kind, route_namespace, backend_ref)?;
        Ok(Resolved { has_filters: !backend_ref.filters.is_empty(), ..self.find(key, protocol)? })
    }

    /// Checks the backend to which a mirror copies requests. A mirror can have neither weight nor filters.
    pub(super) fn check_mirror(
        &self,
        kind: Kind,
        route_namespace: &'a str,
        mirror: &'a BackendRef,
    ) -> Result<(), ReferenceRefusal<'a>> {
        check_group_and_kind(mirror)?;
        self.check_grant(of_route(kind, route_namespace), mirror)?;
        self.find(key_of(mirror, route_namespace), Protocol::of_route(kind)).map(|_| ())
    }

    /// Resolves the service that a policy makes Envoy call (`validateExtServiceBackendReference`, `processExtServiceDestination`).
    pub(super) fn resolve_ext_service(
        &self,
        from: From<'a>,
        backend_ref: &'a BackendRef,
    ) -> Result<Resolved<'a>, ReferenceRefusal<'a>> {
        check_group_and_kind(backend_ref)?;
        self.check_grant(from, backend_ref)?;
        let resolved = self.find(key_of(backend_ref, from.namespace), Protocol::Grpc)?;
        match resolved.origin {
            Origin::DynamicResolver => Err(ReferenceRefusal::DynamicResolver(resolved.key)),
            Origin::Plain | Origin::Extension => Ok(resolved),
        }
    }

    /// `validateBackendNamespace`
    fn check_grant(&self, from: From<'a>, backend_ref: &'a BackendRef) -> Result<(), ReferenceRefusal<'a>> {
        let to = To {
            group: backend_ref.group(),
            kind: backend_ref.kind(),
            namespace: backend_ref.namespace(from.namespace),
            name: &backend_ref.name,
        };
        self.grants.permit(from, to).then_some(()).ok_or(ReferenceRefusal::NotGranted(from, to))
    }

    /// `validateBackendRefFilters` and `processDestinationFilters`
    fn check_filters(
        &self,
        kind: Kind,
        route_namespace: &'a str,
        backend_ref: &'a BackendRef,
    ) -> Result<(), RefusedBackend<'a>> {
        let fits = |filter: &Filter| match filter {
            Filter::HeaderModifier { .. } | Filter::Empty => true,
            Filter::UrlRewrite(rewrite) => kind == Kind::HttpRoute && !rewrite.path,
            Filter::ExtensionRef { .. } => kind == Kind::HttpRoute,
            Filter::RequestRedirect | Filter::RequestMirror(_) | Filter::Cors | Filter::Invalid => false,
        };
        if !backend_ref.filters.iter().all(fits) {
            return Err(RefusedBackend::Filter(FilterFault::NotOnBackends));
        }
        let mirrors = |mirror: &'a BackendRef| self.check_mirror(kind, route_namespace, mirror);
        match filters::evaluate(self.objects, kind, route_namespace, &backend_ref.filters, mirrors) {
            Err(RuleRefusal::Filter(fault)) => Err(RefusedBackend::Filter(fault)),
            // A direct response has no effect on one backend of several.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn find(&self, key: BackendKey<'a>, protocol: Protocol) -> Result<Resolved<'a>, ReferenceRefusal<'a>> {
        match key.kind {
            "ServiceImport" => self.service_import(key, protocol),
            "Backend" => self.backend(key, protocol),
            _ => self.service(key, protocol),
        }
    }

    fn service(&self, key: BackendKey<'a>, protocol: Protocol) -> Result<Resolved<'a>, ReferenceRefusal<'a>> {
        let others = self.objects.services.get(key.namespace);
        let service = others
            .and_then(|names| names.get(key.name))
            .ok_or(ReferenceRefusal::Absent(Absent::Object(key, others)))?;
        if service.is_external_name() {
            return Err(ReferenceRefusal::ExternalName(key));
        }
        let port = find_port(key, &service.spec.ports, protocol).map_err(ReferenceRefusal::Absent)?;
        let resolved = Resolved {
            service: Some(ServiceAt { namespace: key.namespace, name: key.name, port: key.port, pods: Pods::WithPort }),
            addresses: if service.prefers_local_zone() { Addresses::NearbyPods } else { Addresses::Pods },
            ..Resolved::new(key, protocol)
        };
        Ok(resolved.speaking(port.app_protocol.as_deref()))
    }

    fn service_import(&self, key: BackendKey<'a>, protocol: Protocol) -> Result<Resolved<'a>, ReferenceRefusal<'a>> {
        let import = self.objects.service_imports.get(key.namespace).and_then(|names| names.get(key.name));
        let import = import.ok_or(ReferenceRefusal::Absent(Absent::Object(key, None)))?;
        let port = find_port(key, &import.spec.ports, protocol).map_err(ReferenceRefusal::Absent)?;
        let resolved = Resolved { addresses: Addresses::Pods, ..Resolved::new(key, protocol) };
        Ok(resolved.speaking(port.app_protocol.as_deref()))
    }

    fn backend(&self, key: BackendKey<'a>, protocol: Protocol) -> Result<Resolved<'a>, ReferenceRefusal<'a>> {
        let configs = &self.objects.envoy_gateways;
        if !configs.backends_enabled() {
            return Err(ReferenceRefusal::BackendsDisabled(key));
        }
        let backend =
            self.find_backend(key.namespace, key.name).ok_or(ReferenceRefusal::Absent(Absent::Object(key, None)))?;
        let addresses = addresses(&backend.spec, backend.is_dynamic_resolver(), configs.run_on_host())
            .map_err(|fault| ReferenceRefusal::Endpoints(key, fault))?;
        let resolved = Resolved {
            service: self.in_cluster.only_service(&backend.spec),
            addresses,
            origin: if backend.is_dynamic_resolver() { Origin::DynamicResolver } else { Origin::Plain },
            fallback: backend.spec.fallback,
            ..Resolved::new(key, protocol)
        };
        Ok(backend.spec.app_protocols.iter().fold(resolved, |resolved, protocol| resolved.speaking(Some(protocol))))
    }

    pub(super) fn find_backend(&self, namespace: &str, name: &str) -> Option<&'a Backend> {
        self.objects.backends.get(namespace)?.get(name)
    }
}

impl<'a> Resolved<'a> {
    fn new(key: BackendKey<'a>, protocol: Protocol) -> Self {
        Self {
            key,
            service: None,
            protocol,
            only_http1: false,
            addresses: Addresses::None,
            has_filters: false,
            fallback: false,
            origin: Origin::Plain,
        }
    }

    fn speaking(mut self, app_protocol: Option<&str>) -> Self {
        if let Some(app_protocol) = app_protocol {
            self.protocol = self.protocol.refined(app_protocol);
            let web_socket = app_protocol
                .strip_prefix("kubernetes.io/")
                .or_else(|| app_protocol.strip_prefix("gateway.envoyproxy.io/"))
                .is_some_and(|name| matches!(name, "ws" | "wss"));
            self.only_http1 |= self.protocol.is_http() && web_socket;
        }
        self
    }
}

fn of_route(kind: Kind, namespace: &str) -> From<'_> {
    From { group: kind.api_group(), kind: kind.as_str(), namespace }
}

/// `validateBackendRefGroup` and `validateBackendRefKind`
fn check_group_and_kind(backend_ref: &BackendRef) -> Result<(), ReferenceRefusal<'_>> {
    let (group, kind) = (backend_ref.group(), backend_ref.kind());
    let group_fits = matches!(group, "" | "multicluster.x-k8s.io" | "gateway.envoyproxy.io");
    let kind_fits = matches!(kind, "Service" | "ServiceImport" | "Backend");
    let refusal = ReferenceRefusal::UnsupportedKind(group, kind, &backend_ref.name);
    (group_fits && kind_fits).then_some(()).ok_or(refusal)
}

pub(super) fn find_port<'a>(
    key: BackendKey<'a>,
    ports: &'a [ServicePort],
    protocol: Protocol,
) -> Result<&'a ServicePort, Absent<'a>> {
    let transport = if protocol == Protocol::Udp { "UDP" } else { "TCP" };
    let found = ports.iter().find(|p| Some(p.port) == key.port && p.protocol() == transport);
    found.ok_or(Absent::Port(key, transport, ports))
}

/// `validateBackend` and `processBackendDestinationSetting`, without certificates
fn addresses(spec: &BackendSpec, dynamic_resolver: bool, on_host: bool) -> Result<Addresses, EndpointFault<'_>> {
    if dynamic_resolver {
        return if spec.endpoints.is_empty() { Ok(Addresses::None) } else { Err(EndpointFault::OfDynamicResolver) };
    }
    let kinds: Vec<_> = spec.endpoints.iter().map(|endpoint| address(endpoint, on_host)).collect::<Result<_, _>>()?;
    let first = *kinds.first().ok_or(EndpointFault::None)?;
    // Names and addresses cannot share a cluster.
    if kinds.iter().all(|kind| *kind == first) { Ok(first) } else { Err(EndpointFault::Mixed) }
}

fn address(endpoint: &Endpoint, on_host: bool) -> Result<Addresses, EndpointFault<'_>> {
    if endpoint.unix.is_some() {
        return Err(EndpointFault::UnixSocket);
    }
    let named = [endpoint.hostname.as_deref(), endpoint.fqdn.as_ref().map(|fqdn| fqdn.hostname.as_str())];
    if let Some(name) = named.into_iter().flatten().find(|name| !is_remote_name(name, on_host)) {
        return Err(EndpointFault::Hostname(name));
    }
    match endpoint {
        Endpoint { ip: Some(ip), .. } => {
            let address = ip.address.parse().ok().filter(|address: &IpAddr| !address.is_loopback() || on_host);
            address.map(|_| Addresses::Ips).ok_or(EndpointFault::Address(&ip.address))
        }
        Endpoint { fqdn: Some(_), .. } => Ok(Addresses::Fqdns),
        _ => Err(EndpointFault::Empty),
    }
}

/// `validateHostname` of `backend.go`
fn is_remote_name(name: &str, on_host: bool) -> bool {
    is_dns_subdomain(name.strip_suffix('.').unwrap_or(name))
        && (on_host || name.contains('.'))
        && name.parse::<IpAddr>().is_err()
}
