//! Backends whose endpoints lead to nobody.
//!
//! Envoy Gateway accepts any fully qualified name and makes a cluster for it. Where the name stands for a Service of this cluster that
//! does not exist, or that has no such port, Envoy finds no pod behind it.

use std::fmt::{self, Formatter};

use super::{
    super::{kind::Kind, views::Endpoint},
    BackendKey, Part, Pods,
    backends::{Backends, Protocol, Resolved, find_port},
    refusal::{Absent, Named},
};

/// The end of names that several clusters share: such a Service may well be in another one.
const OF_ALL_CLUSTERS: &str = ".svc.clusterset.local";

/// An endpoint that leads to nobody.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeadEnd<'a> {
    backend: BackendKey<'a>,
    endpoint: &'a Endpoint,
    /// The Service that it stands for, or its port
    absent: Absent<'a>,
}

impl DeadEnd<'_> {
    pub(super) fn reason(&self) -> &'static str {
        self.absent.reason()
    }

    /// `names Backend front, whose endpoint api.shop.svc:8080 stands for Service api port 8080; it has 80`
    pub(super) fn write(&self, namespace: &str, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { backend, endpoint, absent } = self;
        write!(f, "names {}, whose endpoint {endpoint} stands for ", Named(backend, namespace))?;
        absent.write(namespace, f)
    }
}

impl<'a> Backends<'a, '_> {
    /// The first endpoint of a backend that leads to nobody.
    pub(super) fn dead_end(&self, resolved: &Resolved<'a>) -> Option<DeadEnd<'a>> {
        let Resolved { key: backend, protocol, .. } = *resolved;
        let dead = |endpoint| Some(DeadEnd { backend, endpoint, absent: self.dead(endpoint, protocol)? });
        self.endpoints(&backend).iter().find_map(dead)
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
