//! The addresses and ports in the EndpointSlices of the cluster: of pods, and of the activator.
//!
//! They change with every pod, so they are kept apart from the objects that Plans are made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::Value;
use tidegate_core::{ids::ServiceId, plan::RELEASE};
use tokio::sync::watch;

use super::slice::{MANAGED_BY, MANAGER, SERVICE_NAME};

/// What EndpointSlices say. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct EndpointBook(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    slices: RwLock<Slices>,
    changes: watch::Sender<u64>,
}

/// All slices, found by their Service, and by their own name: each event of a watch names one of ten thousands.
#[derive(Debug, Default)]
struct Slices {
    of: BTreeMap<ServiceId, BTreeMap<String, Slice>>,
    /// The Service of each slice, by the slice's namespace and name
    service_of: BTreeMap<(String, String), ServiceId>,
}

/// One EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The release of Tidegate that it belongs to; `None` for those of others
    pub(crate) release: Option<String>,
    pub(crate) uid: String,
    /// Name and number of each TCP port
    pub(crate) ports: Vec<(String, u16)>,
    /// Addresses that get new traffic
    pub(crate) ready: Vec<IpAddr>,
    /// All other addresses
    pub(crate) not_ready: Vec<IpAddr>,
}

/// One of Tidegate's own slices, by name.
pub(crate) type OwnSlice = (ServiceId, String, Slice);

impl EndpointBook {
    /// Adds or updates a slice, as the API server gives it. Anything else is ignored.
    pub(crate) fn apply(&self, object: &Value) {
        if let Some((service, name, slice)) = read(object) {
            self.note(self.0.slices.write().insert(service, name, slice));
        }
    }

    /// Forgets a slice.
    pub(crate) fn remove(&self, namespace: &str, name: &str) {
        self.note(self.0.slices.write().remove(namespace, name));
    }

    /// Forgets the slices that are not in a list of this namespace, or of all namespaces.
    pub(crate) fn keep_listed(&self, namespace: Option<&str>, is_listed: impl Fn(&str, &str) -> bool) {
        let mut slices = self.0.slices.write();
        let here = |within: &str| namespace.is_none_or(|namespace| namespace == within);
        let gone = slices.service_of.keys().filter(|(within, name)| here(within) && !is_listed(within, name));
        let gone: Vec<_> = gone.cloned().collect();
        for (namespace, name) in &gone {
            slices.remove(namespace, name);
        }
        drop(slices);
        self.note(!gone.is_empty());
    }

    /// Counts the changes, to wait for the next one.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// The addresses of ready pods at a port of a Service, as others than Tidegate list them; in order, each once.
    pub fn ready(&self, service: &ServiceId, port: &str) -> Vec<SocketAddr> {
        let slices = self.0.slices.read();
        let at_port = slices.foreign(service).flat_map(|slice| {
            let numbers = slice.ports.iter().filter(|(name, _)| name == port).map(|(_, number)| *number);
            numbers.flat_map(|number| slice.ready.iter().map(move |ip| SocketAddr::new(*ip, number)))
        });
        at_port.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The ready addresses of a Service, whatever the port.
    pub fn addresses(&self, service: &ServiceId) -> Vec<IpAddr> {
        let slices = self.0.slices.read();
        let ready = slices.foreign(service).flat_map(|slice| slice.ready.iter().copied());
        ready.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether a slice of this name exists in the namespace that is not this release's.
    pub(crate) fn is_anothers(&self, namespace: &str, name: &str, release: &str) -> bool {
        let slices = self.0.slices.read();
        let service = slices.service_of.get(&(namespace.to_owned(), name.to_owned()));
        let slice = service.and_then(|service| slices.of.get(service)?.get(name));
        slice.is_some_and(|slice| slice.release.as_deref() != Some(release))
    }

    /// The slices of this release.
    pub(crate) fn own(&self, release: &str) -> Vec<OwnSlice> {
        let slices = self.0.slices.read();
        let all = slices.of.iter().flat_map(|(id, of)| of.iter().map(move |(name, slice)| (id, name, slice)));
        let own = all.filter(|(.., slice)| slice.release.as_deref() == Some(release));
        own.map(|(id, name, slice)| (id.clone(), name.clone(), slice.clone())).collect()
    }

    /// The Services that have a slice of this release.
    pub fn own_services(&self, release: &str) -> Vec<ServiceId> {
        self.own(release).into_iter().map(|(service, ..)| service).collect()
    }

    /// Whether a slice of this release leads a Service's new traffic to the activator.
    pub fn leads_to_us(&self, service: &ServiceId, release: &str) -> bool {
        let slices = self.0.slices.read();
        slices.of_service(service).any(|slice| slice.release.as_deref() == Some(release) && !slice.ready.is_empty())
    }

    fn note(&self, changed: bool) {
        self.0.changes.send_if_modified(|changes| {
            *changes += u64::from(changed);
            changed
        });
    }
}

impl Slices {
    fn of_service(&self, service: &ServiceId) -> impl Iterator<Item = &Slice> {
        self.of.get(service).into_iter().flat_map(BTreeMap::values)
    }

    /// Those of a Service that are no release's of Tidegate.
    fn foreign(&self, service: &ServiceId) -> impl Iterator<Item = &Slice> {
        self.of_service(service).filter(|slice| slice.release.is_none())
    }

    /// Returns whether anything changed.
    fn insert(&mut self, service: ServiceId, name: String, slice: Slice) -> bool {
        let key = (service.namespace.clone(), name);
        // A slice that was given to another Service is no more of the first.
        let was_elsewhere = self.service_of.get(&key).is_some_and(|known| *known != service);
        let moved = was_elsewhere && self.remove(&key.0, &key.1);
        let before = self.of.entry(service.clone()).or_default().insert(key.1.clone(), slice.clone());
        self.service_of.insert(key, service);
        moved || before != Some(slice)
    }

    /// Returns whether there was one.
    fn remove(&mut self, namespace: &str, name: &str) -> bool {
        let service = self.service_of.remove(&(namespace.to_owned(), name.to_owned()));
        let Some(service) = service else { return false };
        if let Some(of) = self.of.get_mut(&service) {
            of.remove(name);
            if of.is_empty() {
                self.of.remove(&service);
            }
        }
        true
    }
}

fn read(object: &Value) -> Option<OwnSlice> {
    let slice = EndpointSlice::deserialize(object).ok()?;
    let labels = slice.metadata.labels.unwrap_or_default();
    let service = ServiceId { namespace: slice.metadata.namespace?, name: labels.get(SERVICE_NAME)?.clone() };
    let is_tcp = |protocol: &Option<String>| protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    let ports = slice.ports.unwrap_or_default().into_iter().filter(|port| is_tcp(&port.protocol));
    let ports =
        ports.filter_map(|port| Some((port.name.unwrap_or_default(), u16::try_from(port.port?).ok()?))).collect();
    let (mut ready, mut not_ready) = (Vec::new(), Vec::new());
    for endpoint in slice.endpoints {
        let conditions = endpoint.conditions.unwrap_or_default();
        // Unknown is to be taken as ready (`EndpointConditions` of the API).
        let is_ready = conditions.ready.unwrap_or(true) && !conditions.terminating.unwrap_or(false);
        let addresses = endpoint.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
        if is_ready { ready.extend(addresses) } else { not_ready.extend(addresses) }
    }
    let is_ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
    let release = is_ours.then(|| labels.get(RELEASE).cloned().unwrap_or_default());
    let uid = slice.metadata.uid.unwrap_or_default();
    Some((service, slice.metadata.name?, Slice { release, uid, ports, ready, not_ready }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(name: &str) -> ServiceId {
        ServiceId { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    fn slice(service: &str, name: &str, endpoints: &Value) -> Value {
        json!({
            "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
            "endpoints": endpoints,
        })
    }

    #[test]
    fn only_addresses_that_get_new_traffic_are_ready_and_unknown_is_taken_for_ready() {
        let book = EndpointBook::default();
        let endpoints = json!([
            {"addresses": ["10.0.0.1"]},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": true, "terminating": true}},
            {"addresses": ["not-an-address"], "conditions": {"ready": true}},
        ]);
        book.apply(&slice("api", "api-x", &endpoints));
        assert_eq!(book.ready(&service("api"), "http"), ["10.0.0.1:8080".parse().unwrap()]);
        assert_eq!(book.ready(&service("api"), "dns"), []);
    }

    #[test]
    fn a_slice_that_changes_its_service_and_one_that_a_new_list_lacks_are_forgotten() {
        let (book, one) = (EndpointBook::default(), json!([{"addresses": ["10.0.0.1"]}]));
        book.apply(&slice("api", "x", &one));
        book.apply(&slice("web", "x", &one));
        book.apply(&slice("web", "y", &one));
        assert_eq!(book.ready(&service("api"), "http"), []);
        let mut changes = book.changes();
        book.keep_listed(Some("other"), |_, _| false);
        assert!(!changes.has_changed().unwrap());
        book.keep_listed(None, |_, name| name == "y");
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        book.apply(&slice("web", "y", &one));
        assert!(!changes.has_changed().unwrap(), "nothing is new");
        book.remove("shop", "y");
        assert_eq!(book.ready(&service("web"), "http"), []);
    }
}
