//! ClusterIPs: a listener for each port of each Service, which forwards connections.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddrV4,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};

use crate::network::API_SERVER;

use super::{Services, cluster_ip};

/// A port of a Service.
#[derive(Clone)]
struct Target {
    namespace: String,
    service: String,
    port: String,
}

/// Listens on the ports of all Services that have endpoints, until the stack ends. kube-proxy too refuses connections to the others:
/// clients then try again at once, as they do not after one that was accepted and closed.
pub(super) async fn serve(services: Services, client: Client, changed: Arc<Notify>) {
    let mut listeners: HashMap<SocketAddrV4, JoinHandle<()>> = HashMap::new();
    loop {
        changed.notified().await;
        let mut wanted = HashSet::new();
        let with_endpoints = services.with_endpoints();
        for service in services.services.state() {
            let has_endpoints = with_endpoints.contains(&(service.namespace().unwrap_or_default(), service.name_any()));
            let ports = if has_endpoints { ports(&service) } else { Vec::new() };
            for (address, target) in ports {
                wanted.insert(address);
                if listeners.get(&address).is_some_and(|listener| !listener.is_finished()) {
                    continue;
                }
                // An address that a peer already listens on is left to it.
                if let Ok(listener) = TcpListener::bind(address).await {
                    listeners.insert(address, tokio::spawn(accept(listener, target, services.clone())));
                }
            }
            // A status that cannot be written now is written at the next change.
            let _ = publish(&service, &client).await;
        }
        for (_, listener) in listeners.extract_if(|address, _| !wanted.contains(address)) {
            listener.abort();
            // Its address is free once it has ended.
            let _ = listener.await;
        }
    }
}

fn ports(service: &Service) -> Vec<(SocketAddrV4, Target)> {
    let (Some(address), Some(spec)) = (cluster_ip(service), &service.spec) else { return Vec::new() };
    // The API server itself listens there.
    if address == API_SERVER {
        return Vec::new();
    }
    let ports = spec.ports.iter().flatten().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    ports
        .filter_map(|port| {
            let target = Target {
                namespace: service.namespace().unwrap_or_default(),
                service: service.name_any(),
                port: port.name.clone().unwrap_or_default(),
            };
            Some((SocketAddrV4::new(address, u16::try_from(port.port).ok()?), target))
        })
        .collect()
}

async fn accept(listener: TcpListener, target: Target, services: Services) {
    let turn = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((mut inbound, _)) = listener.accept().await else { continue };
        let (target, services, turn) = (target.clone(), services.clone(), Arc::clone(&turn));
        tokio::spawn(async move {
            // A connection that cannot be forwarded is closed, as nobody would answer it.
            if let Ok(mut outbound) = connect(&target, &services, &turn).await {
                let _ = copy_bidirectional(&mut inbound, &mut outbound).await;
            }
        });
    }
}

async fn connect(target: &Target, services: &Services, turn: &AtomicUsize) -> Result<TcpStream> {
    let addresses: Vec<_> = services
        .endpoints(&target.namespace, &target.service)
        .into_iter()
        .filter_map(|endpoint| {
            let (_, port) = endpoint.ports.iter().find(|(name, _)| *name == target.port)?;
            Some(SocketAddrV4::new(endpoint.address, *port))
        })
        .collect();
    let next = turn.fetch_add(1, Ordering::Relaxed) % addresses.len().max(1);
    let address = addresses.get(next).context("no endpoint is ready")?;
    Ok(timeout(Duration::from_secs(3), TcpStream::connect(address)).await??)
}

/// Gives a Service of type LoadBalancer its ClusterIP as the address to reach it at.
async fn publish(service: &Service, client: &Client) -> Result<()> {
    let is_load_balancer = service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
    let has_address =
        service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref()).is_some();
    let Some(address) = cluster_ip(service).filter(|_| is_load_balancer && !has_address) else { return Ok(()) };
    let services: Api<Service> = Api::namespaced(client.clone(), &service.namespace().unwrap_or_default());
    let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": address }] } } });
    services.patch_status(&service.name_any(), &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}
