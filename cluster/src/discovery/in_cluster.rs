//! Services of the cluster that a Backend means without naming them: by a DNS name, or by their own address.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::{
    super::{
        Objects,
        views::{BackendSpec, Endpoint, Service},
    },
    BackendKey, Pods, ServiceAt,
    fqdn::DnsName,
};

/// Lookup of Services by what a Backend's endpoints say.
pub(crate) struct InCluster<'a> {
    objects: &'a Objects,
    /// Services by their clusterIPs; only made when a Backend has an address
    by_address: OnceCell<HashMap<IpAddr, (&'a str, &'a str)>>,
}

impl<'a> InCluster<'a> {
    pub(crate) fn of(objects: &'a Objects) -> Self {
        Self { objects, by_address: OnceCell::new() }
    }

    /// The Services or the InferencePool that a backend names, also where they are too many to be followed.
    pub(crate) fn behind(&self, key: &BackendKey<'a>) -> Vec<BackendKey<'a>> {
        match key.kind {
            "Service" | "InferencePool" => vec![BackendKey { port: None, ..*key }],
            "Backend" => {
                let backend = self.objects.backends.get(key.namespace).and_then(|names| names.get(key.name));
                let endpoints = backend.into_iter().flat_map(|backend| &backend.spec.endpoints);
                let services = endpoints.filter_map(|endpoint| self.service(endpoint));
                let mut keys: Vec<_> = services
                    .map(|at| BackendKey { kind: "Service", namespace: at.namespace, name: at.name, port: None })
                    .collect();
                // Endpoints of one Service stand together.
                keys.dedup();
                keys
            }
            _ => Vec::new(),
        }
    }

    /// The Service that a Backend leads to, when all its endpoints lead to the same.
    pub(super) fn only_service(&self, spec: &'a BackendSpec) -> Option<ServiceAt<'a>> {
        let mut services = spec.endpoints.iter().map(|endpoint| self.service(endpoint));
        let first = services.next()??;
        let (mut same, mut pods) = (true, matches!(first.pods, Pods::Named(_)));
        for service in services {
            same &= service.is_some_and(|other| (other.namespace, other.name) == (first.namespace, first.name));
            pods &= service.is_some_and(|other| matches!(other.pods, Pods::Named(_)));
        }
        let pods = match first.pods {
            _ if pods => Pods::Named(&spec.endpoints),
            Pods::Named(_) => Pods::All,
            Pods::All | Pods::WithPort => first.pods,
        };
        same.then_some(ServiceAt { pods, ..first })
    }

    /// The Service that an endpoint leads to.
    pub(super) fn service(&self, endpoint: &'a Endpoint) -> Option<ServiceAt<'a>> {
        if let Some(ip) = &endpoint.ip {
            let (namespace, name) = self.by_address(ip.address.parse().ok()?)?;
            return Some(ServiceAt { namespace, name, port: Some(ip.port), pods: Pods::WithPort });
        }
        let (host, port) = match (&endpoint.fqdn, &endpoint.hostname) {
            (Some(fqdn), _) => (&fqdn.hostname, Some(fqdn.port)),
            (None, Some(hostname)) => (hostname, None),
            (None, None) => return None,
        };
        let DnsName { namespace, service: name, pod } = self.named(host)?;
        let pods = match (pod, self.find(namespace, name)) {
            (Some(_), _) => Pods::Named(std::slice::from_ref(endpoint)),
            // Its name stands for the addresses of its pods, and the port for theirs.
            (None, Some(service)) if service.is_headless() => Pods::All,
            (None, _) => Pods::WithPort,
        };
        Some(ServiceAt { namespace, name, port, pods })
    }

    /// A short name may just as well be a host elsewhere, so it counts only if there is such a Service.
    fn named(&self, host: &'a str) -> Option<DnsName<'a>> {
        let exists = |name: &DnsName<'_>| {
            let has_pod = |pod: &str| {
                let set = pod.rsplit_once('-').map(|(set, _)| set);
                let sets = self.objects.stateful_sets.get(name.namespace);
                set.is_some_and(|set| sets.is_some_and(|sets| sets.contains_key(set)))
            };
            self.find(name.namespace, name.service).is_some() && name.pod.is_none_or(has_pod)
        };
        DnsName::qualified(host)
            .or_else(|| DnsName::short(host, &self.objects.proxy_namespaces.0).into_iter().find(exists))
    }

    fn find(&self, namespace: &str, name: &str) -> Option<&'a Service> {
        self.objects.services.get(namespace)?.get(name)
    }

    fn by_address(&self, address: IpAddr) -> Option<(&'a str, &'a str)> {
        self.by_address.get_or_init(|| self.addresses()).get(&address).copied()
    }

    fn addresses(&self) -> HashMap<IpAddr, (&'a str, &'a str)> {
        let in_namespace = |(namespace, names): (&'a String, &'a BTreeMap<String, Service>)| {
            names.iter().flat_map(move |(name, service)| {
                service.addresses().map(move |address| (address, (namespace.as_str(), name.as_str())))
            })
        };
        self.objects.services.iter().flat_map(in_namespace).collect()
    }
}
