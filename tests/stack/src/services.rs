//! Replacement of a cluster's DNS and kube-proxy: Services are found by name, and answer at their own addresses.
//!
//! Connections to a ClusterIP are forwarded to a ready endpoint in user space, and refused while there is none. A Service of type
//! LoadBalancer gets its ClusterIP as its public address.

mod dns;
mod proxy;

use std::{collections::HashSet, net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::Result;
use futures::{Stream, StreamExt};
use k8s_openapi::{
    api::{core::v1::Service, discovery::v1::EndpointSlice},
    serde::de::DeserializeOwned,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        reflector::{self, Store},
        watcher,
    },
};
use tokio::{net::UdpSocket, sync::Notify};

use crate::network;

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The Services and endpoints of the cluster.
#[derive(Clone)]
pub(crate) struct Services {
    services: Store<Service>,
    slices: Store<EndpointSlice>,
}

/// A ready endpoint, with the number of each named port.
struct Endpoint {
    address: Ipv4Addr,
    ports: Vec<(String, u16)>,
}

/// Serves names and addresses until the stack ends.
pub(crate) async fn serve(client: Client) -> Result<()> {
    let changed = Arc::new(Notify::new());
    let services = Services { services: follow(&client, &changed), slices: follow(&client, &changed) };
    let socket = UdpSocket::bind((network::DNS, 53)).await?;
    tokio::spawn(dns::serve(socket, services.clone()));
    tokio::spawn(proxy::serve(services, client, changed));
    Ok(())
}

/// A watched copy of all objects of a kind; `changed` is notified of each change.
fn follow<K>(client: &Client, changed: &Arc<Notify>) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(Api::all(client.clone()), watcher::Config::default());
    let (events, changed) = (reflector::reflector(writer, events), Arc::clone(changed));
    tokio::spawn(drain(events, changed));
    store
}

async fn drain<T, E>(events: impl Stream<Item = Result<T, E>>, changed: Arc<Notify>) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(_) => changed.notify_one(),
            // The API server is away; the last known objects stay.
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

impl Services {
    /// The addresses behind `<service>.<namespace>`: its own, or those of its ready pods when it is headless. `None`
    /// when there is no such Service.
    fn addresses(&self, namespace: &str, name: &str) -> Option<Vec<Ipv4Addr>> {
        let service =
            self.services.find(|s: &Service| s.metadata.name.as_deref() == Some(name) && is_in(s, namespace))?;
        Some(match cluster_ip(&service) {
            Some(address) => vec![address],
            None => self.endpoints(namespace, name).into_iter().map(|endpoint| endpoint.address).collect(),
        })
    }

    fn endpoints(&self, namespace: &str, service: &str) -> Vec<Endpoint> {
        let label = |slice: &EndpointSlice| slice.labels().get(SERVICE_NAME).map(String::as_str) == Some(service);
        let slices = self.slices.state_filter(|slice| is_in(slice, namespace) && label(slice));
        slices.iter().flat_map(|slice| ready(slice)).collect()
    }

    /// Namespace and name of each Service that has a ready endpoint.
    fn with_endpoints(&self) -> HashSet<(String, String)> {
        let slices = self.slices.state_filter(|slice| !ready(slice).is_empty());
        let service =
            |slice: &Arc<EndpointSlice>| Some((slice.namespace()?, slice.labels().get(SERVICE_NAME)?.clone()));
        slices.iter().filter_map(service).collect()
    }
}

fn is_in<K: Resource>(object: &K, namespace: &str) -> bool {
    object.meta().namespace.as_deref() == Some(namespace)
}

fn cluster_ip(service: &Service) -> Option<Ipv4Addr> {
    service.spec.as_ref()?.cluster_ip.as_deref()?.parse().ok()
}

fn ready(slice: &EndpointSlice) -> Vec<Endpoint> {
    let ports: Vec<_> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| Some((port.name.clone().unwrap_or_default(), u16::try_from(port.port?).ok()?)))
        .collect();
    let is_ready = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready.unwrap_or(true))
    };
    let ready = slice.endpoints.iter().filter(|endpoint| is_ready(endpoint));
    ready
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|address| Some(Endpoint { address: address.parse().ok()?, ports: ports.clone() }))
        .collect()
}
