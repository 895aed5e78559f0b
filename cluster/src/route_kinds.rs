//! The table of kinds of route: what each carries, the listeners that let it in, and where its objects are.

use std::collections::BTreeMap;

use super::{Objects, kind::Kind, table::Table, views::Route};

/// What a route carries, which decides how Envoy Gateway translates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    /// Requests of HTTP: clusters per rule
    Requests,
    /// Connections or datagrams: one cluster per route
    Connections,
}

/// A kind of route.
pub(crate) struct RouteKind {
    pub(crate) kind: Kind,
    carries: Carries,
    /// Protocols of listeners that let it in (`allowedRouteKindsForProtocol` in Envoy Gateway's `internal/gatewayapi`)
    protocols: &'static [&'static str],
    table: fn(&Objects) -> &Table<Route>,
}

/// The protocol `TLS` of a listener that passes connections through.
pub(crate) const TLS_PASSTHROUGH: &str = "TLS, passed through";

/// All kinds, in the order in which Envoy Gateway translates them.
const ROUTE_KINDS: [RouteKind; 5] = [
    RouteKind {
        kind: Kind::HttpRoute,
        carries: Carries::Requests,
        protocols: &["HTTP", "HTTPS"],
        table: |objects| &objects.http_routes,
    },
    RouteKind {
        kind: Kind::GrpcRoute,
        carries: Carries::Requests,
        protocols: &["HTTP", "HTTPS"],
        table: |objects| &objects.grpc_routes,
    },
    RouteKind {
        kind: Kind::TlsRoute,
        carries: Carries::Connections,
        protocols: &["TLS", TLS_PASSTHROUGH],
        table: |objects| &objects.tls_routes,
    },
    RouteKind {
        kind: Kind::TcpRoute,
        carries: Carries::Connections,
        protocols: &["TCP", "TLS"],
        table: |objects| &objects.tcp_routes,
    },
    RouteKind {
        kind: Kind::UdpRoute,
        carries: Carries::Connections,
        protocols: &["UDP"],
        table: |objects| &objects.udp_routes,
    },
];

impl RouteKind {
    /// All kinds.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        ROUTE_KINDS.iter()
    }

    /// The kind of this name.
    pub(crate) fn named(kind: &str) -> Option<&'static Self> {
        Self::all().find(|route| route.kind.as_str() == kind)
    }

    /// Whether listeners of this protocol let it in.
    pub(crate) fn is_carried_by(&self, protocol: &str) -> bool {
        self.protocols.contains(&protocol)
    }

    /// The routes of this kind, by namespace and name.
    pub(crate) fn routes<'a>(&self, objects: &'a Objects) -> impl Iterator<Item = &'a Route> + use<'a> {
        (self.table)(objects).values().flat_map(BTreeMap::values)
    }
}

impl Objects {
    /// The kinds of route that carry this, with their routes, in the order in which Envoy Gateway translates them.
    pub(crate) fn routes_that_carry(&self, carries: Carries) -> impl Iterator<Item = (Kind, &Table<Route>)> {
        RouteKind::all().filter(move |route| route.carries == carries).map(|route| (route.kind, (route.table)(self)))
    }

    /// The routes of all kinds.
    pub(crate) fn every_route(&self) -> impl Iterator<Item = &Route> {
        RouteKind::all().flat_map(|route| route.routes(self))
    }
}
