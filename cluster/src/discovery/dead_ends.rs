//! Backends whose endpoints lead to nobody, or to nobody in particular.
//!
//! Envoy Gateway accepts any fully qualified name and makes a cluster for it. Where the name stands for a Service of this cluster that
//! does not exist, or that has no such port, Envoy finds no pod behind it.

use std::fmt::{self, Formatter};

use super::{
    super::{kind::Kind, views::Endpoint},
    BackendKey, Part, Pods,
    backends::{Backends, Protocol, Resolved, find_port},
    refusal::{Absent, Listed, Named},
};

/// The end of names that several clusters share: such a Service may well be in another one.
const OF_ALL_CLUSTERS: &str = ".svc.clusterset.local";

/// A Backend that leads to no Service.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeadEnd<'a> {
    backend: BackendKey<'a>,
    cause: Cause<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Cause<'a> {
    /// An endpoint that leads to nobody; the Service that it stands for, or its port
    Absent(&'a Endpoint, Absent<'a>),
    /// These endpoints lead to several Services, or only some of them to one
    NotOneService(&'a [Endpoint]),
}

impl DeadEnd<'_> {
    pub(super) fn reason(&self) -> &'static str {
        match self.cause {
            Cause::Absent(_, absent) => absent.reason(),
            Cause::NotOneService(_) => "NotOneService",
        }
    }

    /// `names Backend front, whose endpoint api.shop.svc:8080 stands for Service api port 8080; it has 80`
    pub(super) fn write(&self, namespace: &str, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "names {}, whose ", Named(&self.backend, namespace))?;
        match self.cause {
            Cause::Absent(endpoint, absent) => {
                write!(f, "endpoint {endpoint} stands for ")?;
                absent.write(namespace, f)
            }
            Cause::NotOneService(endpoints) => write!(
                f,
                "endpoints are not all of one Service ({}), so which Service its requests reach is not known: give each Service a \
                 backendRef of its own",
                Listed(endpoints.iter())
            ),
        }
    }
}

impl<'a> Backends<'a, '_> {
    /// Why a Backend does not lead to a Service: its first endpoint that leads to nobody, or all of them.
    pub(super) fn dead_end(&self, resolved: &Resolved<'a>) -> Option<DeadEnd<'a>> {
        let Resolved { key: backend, protocol, service, .. } = *resolved;
        let endpoints = self.endpoints(&backend);
        let dead = |endpoint| Some(Cause::Absent(endpoint, self.dead(endpoint, protocol)?));
        let not_one = || {
            let leads_here = || endpoints.iter().any(|endpoint| self.in_cluster.service(endpoint).is_some());
            (service.is_none() && leads_here()).then_some(Cause::NotOneService(endpoints))
        };
        let cause = endpoints.iter().find_map(dead).or_else(not_one)?;
        Some(DeadEnd { backend, cause })
    }

    /// Whether no endpoint of a part's backend leads to anybody.
    pub(super) fn is_dead_end(&self, part: &Part<'a>) -> bool {
        let protocol = if part.route.kind == Kind::UdpRoute.as_str() { Protocol::Udp } else { Protocol::Tcp };
        let endpoints = self.endpoints(&part.backend);
        !endpoints.is_empty() && endpoints.iter().all(|endpoint| self.dead(endpoint, protocol).is_some())
    }

    fn endpoints(&self, key: &BackendKey<'a>) -> &'a [Endpoint] {
        let backend = (key.kind == "Backend").then(|| self.find_backend(key.namespace, key.name)).flatten();
        backend.map_or(&[], |backend| &backend.spec.endpoints)
    }

    /// What the name of an endpoint stands for and is not there.
    fn dead(&self, endpoint: &'a Endpoint, protocol: Protocol) -> Option<Absent<'a>> {
        let at = self.in_cluster.service(endpoint).filter(|_| endpoint.ip.is_none())?;
        if endpoint.host()?.trim_end_matches('.').ends_with(OF_ALL_CLUSTERS) {
            return None;
        }
        let key = BackendKey { kind: "Service", namespace: at.namespace, name: at.name, port: at.port };
        let others = self.objects.services.get(at.namespace);
        let Some(service) = others.and_then(|names| names.get(at.name)) else {
            return Some(Absent::Object(key, others));
        };
        // Other names stand for addresses of pods or of another host, and their ports are not the Service's.
        let has_own_ports = matches!(at.pods, Pods::WithPort) && at.port.is_some() && !service.is_external_name();
        if has_own_ports { find_port(key, &service.spec.ports, protocol).err() } else { None }
    }
}
