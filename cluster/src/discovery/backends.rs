//! Resolves backendRefs: whether one is valid, and the properties of its backend that affect the cluster.

use std::net::IpAddr;

use super::{
    super::{
        Objects,
        kind::Kind,
        views::{Backend, BackendRef, BackendSpec, Endpoint, Filter, ServicePort, is_dns_subdomain},
    },
    BackendKey, Pods, ServiceAt,
    filters::{self, Blocked},
    grants::{From, Grants, To},
    in_cluster::InCluster,
    pools,
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

/// A reference that Envoy Gateway refuses: the backend gets no traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RefusedReference;

impl<'a> Backends<'a, '_> {
    /// `processDestination`
    pub(super) fn resolve(
        &self,
        kind: Kind,
        route_namespace: &'a str,
        backend_ref: &'a BackendRef,
    ) -> Result<Resolved<'a>, RefusedReference> {
        let namespace = backend_ref.namespace(route_namespace);
        let key = BackendKey { kind: backend_ref.kind(), namespace, name: &backend_ref.name, port: backend_ref.port };
        let custom = self.objects.envoy_gateways.is_extension(backend_ref.group(), key.kind);
        self.check_grant(of_route(kind, route_namespace), backend_ref)?;
        let protocol = Protocol::of_route(kind);
        if custom || pools::pool(self.objects, backend_ref.group(), namespace, &backend_ref.name).is_some() {
            return Ok(Resolved { origin: Origin::Extension, ..Resolved::new(key, protocol) });
        }
        check_group_and_kind(backend_ref)?;
        self.check_filters(kind, route_namespace, backend_ref)?;
        Ok(Resolved { has_filters: !backend_ref.filters.is_empty(), ..self.find(key, protocol)? })
    }

    /// Whether a mirror may copy requests to this backend. A mirror can have neither weight nor filters.
    pub(super) fn mirrors_to(&self, kind: Kind, route_namespace: &str, mirror: &BackendRef) -> bool {
        self.check_mirror(kind, route_namespace, mirror).is_ok()
    }

    fn check_mirror(&self, kind: Kind, route_namespace: &str, mirror: &BackendRef) -> Result<(), RefusedReference> {
        let key = BackendKey {
            kind: mirror.kind(),
            namespace: mirror.namespace(route_namespace),
            name: &mirror.name,
            port: mirror.port,
        };
        self.check_grant(of_route(kind, route_namespace), mirror)?;
        check_group_and_kind(mirror)?;
        self.find(key, Protocol::of_route(kind)).map(|_| ())
    }

    /// Resolves the service that a policy makes Envoy call (`validateExtServiceBackendReference`, `processExtServiceDestination`).
    pub(super) fn resolve_ext_service(
        &self,
        from: From<'a>,
        backend_ref: &'a BackendRef,
    ) -> Result<Resolved<'a>, RefusedReference> {
        let namespace = backend_ref.namespace(from.namespace);
        let key = BackendKey { kind: backend_ref.kind(), namespace, name: &backend_ref.name, port: backend_ref.port };
        self.check_grant(from, backend_ref)?;
        check_group_and_kind(backend_ref)?;
        let resolved = self.find(key, Protocol::Grpc)?;
        if resolved.origin == Origin::DynamicResolver { Err(RefusedReference) } else { Ok(resolved) }
    }

    /// `validateBackendNamespace`
    fn check_grant(&self, from: From<'_>, backend_ref: &BackendRef) -> Result<(), RefusedReference> {
        let to = To {
            group: backend_ref.group(),
            kind: backend_ref.kind(),
            namespace: backend_ref.namespace(from.namespace),
            name: &backend_ref.name,
        };
        self.grants.permit(from, to).then_some(()).ok_or(RefusedReference)
    }

    /// `validateBackendRefFilters` and `processDestinationFilters`
    fn check_filters(
        &self,
        kind: Kind,
        route_namespace: &str,
        backend_ref: &BackendRef,
    ) -> Result<(), RefusedReference> {
        let fits = |filter: &Filter| match filter {
            Filter::HeaderModifier { .. } | Filter::Empty => true,
            Filter::UrlRewrite(rewrite) => kind == Kind::HttpRoute && !rewrite.path,
            Filter::ExtensionRef { .. } => kind == Kind::HttpRoute,
            Filter::RequestRedirect | Filter::RequestMirror(_) | Filter::Cors | Filter::Invalid => false,
        };
        if !backend_ref.filters.iter().all(fits) {
            return Err(RefusedReference);
        }
        let mirrors = |mirror: &BackendRef| self.mirrors_to(kind, route_namespace, mirror);
        match filters::evaluate(self.objects, kind, route_namespace, &backend_ref.filters, mirrors) {
            // A direct response has no effect on one backend of several.
            Ok(_) | Err(Blocked::Answered) => Ok(()),
            Err(Blocked::Invalid) => Err(RefusedReference),
        }
    }

    fn find<'k>(&self, key: BackendKey<'k>, protocol: Protocol) -> Result<Resolved<'k>, RefusedReference>
    where
        'a: 'k,
    {
        match key.kind {
            "ServiceImport" => self.service_import(key, protocol),
            "Backend" => self.backend(key, protocol),
            _ => self.service(key, protocol),
        }
    }

    fn service<'k>(&self, key: BackendKey<'k>, protocol: Protocol) -> Result<Resolved<'k>, RefusedReference>
    where
        'a: 'k,
    {
        let service =
            self.objects.services.get(key.namespace).and_then(|names| names.get(key.name)).ok_or(RefusedReference)?;
        if service.is_external_name() {
            return Err(RefusedReference);
        }
        let port = find_port(&service.spec.ports, key.port, protocol)?;
        let resolved = Resolved {
            service: Some(ServiceAt { namespace: key.namespace, name: key.name, port: key.port, pods: Pods::WithPort }),
            addresses: if service.prefers_local_zone() { Addresses::NearbyPods } else { Addresses::Pods },
            ..Resolved::new(key, protocol)
        };
        Ok(resolved.speaking(port.app_protocol.as_deref()))
    }

    fn service_import<'k>(&self, key: BackendKey<'k>, protocol: Protocol) -> Result<Resolved<'k>, RefusedReference>
    where
        'a: 'k,
    {
        let import = self.objects.service_imports.get(key.namespace).and_then(|names| names.get(key.name));
        let port = find_port(&import.ok_or(RefusedReference)?.spec.ports, key.port, protocol)?;
        let resolved = Resolved { addresses: Addresses::Pods, ..Resolved::new(key, protocol) };
        Ok(resolved.speaking(port.app_protocol.as_deref()))
    }

    fn backend<'k>(&self, key: BackendKey<'k>, protocol: Protocol) -> Result<Resolved<'k>, RefusedReference>
    where
        'a: 'k,
    {
        let configs = &self.objects.envoy_gateways;
        let backend = self.find_backend(key.namespace, key.name).filter(|_| configs.backends_enabled());
        let backend = backend.ok_or(RefusedReference)?;
        let addresses = addresses(&backend.spec, backend.is_dynamic_resolver(), configs.run_on_host())?;
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
fn check_group_and_kind(backend_ref: &BackendRef) -> Result<(), RefusedReference> {
    let group_fits = matches!(backend_ref.group(), "" | "multicluster.x-k8s.io" | "gateway.envoyproxy.io");
    let kind_fits = matches!(backend_ref.kind(), "Service" | "ServiceImport" | "Backend");
    (group_fits && kind_fits).then_some(()).ok_or(RefusedReference)
}

fn find_port(ports: &[ServicePort], port: Option<u16>, protocol: Protocol) -> Result<&ServicePort, RefusedReference> {
    let transport = if protocol == Protocol::Udp { "UDP" } else { "TCP" };
    ports.iter().find(|p| Some(p.port) == port && p.protocol() == transport).ok_or(RefusedReference)
}

/// `validateBackend` and `processBackendDestinationSetting`, without certificates
fn addresses(spec: &BackendSpec, dynamic_resolver: bool, on_host: bool) -> Result<Addresses, RefusedReference> {
    if dynamic_resolver {
        return if spec.endpoints.is_empty() { Ok(Addresses::None) } else { Err(RefusedReference) };
    }
    let mut kinds = Vec::new();
    for endpoint in &spec.endpoints {
        let named = [endpoint.hostname.as_deref(), endpoint.fqdn.as_ref().map(|fqdn| fqdn.hostname.as_str())];
        if endpoint.unix.is_some() || !named.into_iter().flatten().all(|name| is_remote_name(name, on_host)) {
            return Err(RefusedReference);
        }
        kinds.push(match endpoint {
            Endpoint { ip: Some(ip), .. } => {
                let address: IpAddr = ip.address.parse().map_err(|_| RefusedReference)?;
                if address.is_loopback() && !on_host {
                    return Err(RefusedReference);
                }
                Addresses::Ips
            }
            Endpoint { fqdn: Some(_), .. } => Addresses::Fqdns,
            _ => return Err(RefusedReference),
        });
    }
    match kinds.first() {
        Some(first) if kinds.iter().all(|kind| kind == first) => Ok(*first),
        // Either there are no endpoints to send to, or names are mixed with addresses.
        _ => Err(RefusedReference),
    }
}

/// `validateHostname` of `backend.go`
fn is_remote_name(name: &str, on_host: bool) -> bool {
    is_dns_subdomain(name.strip_suffix('.').unwrap_or(name))
        && (on_host || name.contains('.'))
        && name.parse::<IpAddr>().is_err()
}
