//! Pods that are accepted as proxies: those that Envoy Gateway created for a Gateway or a class that exists.
//!
//! Labels alone prove nothing. Anyone who may create a pod can give it the labels of a proxy, and then its numbers would affect
//! every workload, or its silence would block every workload. So owners are followed up to the Deployment or DaemonSet, which must
//! be in a namespace of Envoy Gateway's.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use tidegate_core::{
    fleet::{series_of_class, series_of_gateway},
    llm::AiGateway,
    plan::Proxy,
};

use super::super::{
    Objects,
    views::{Gateway, Labels, Meta, OwnerReference, Pod},
};

/// Port on which Envoy Gateway's proxies serve their statistics.
const STATS_PORT: u16 = 19001;
/// The container that Envoy AI Gateway adds to proxies, and the port of its metrics.
const AI_GATEWAY: &str = "ai-gateway-extproc";
const AI_GATEWAY_PORT: u16 = 1064;

const OWNING_NAMESPACE: &str = "gateway.envoyproxy.io/owning-gateway-namespace";
const OWNING_NAME: &str = "gateway.envoyproxy.io/owning-gateway-name";
const OWNING_CLASS: &str = "gateway.envoyproxy.io/owning-gatewayclass";

/// Reason why a pod with the labels of a proxy is not accepted as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are in the texts")]
pub enum NotAProxy {
    /// No ReplicaSet or DaemonSet controls it
    #[error("no ReplicaSet or DaemonSet controls it")]
    NoController,
    /// The owner that controls it does not exist
    #[error("its {kind} {name} is not in its namespace with that UID and the labels of a proxy")]
    NoOwner { kind: String, name: String },
    /// The owner that controls it creates other pods
    #[error("the pod template of its {kind} {name} lacks the labels that Envoy Gateway gives its proxies")]
    OwnerOfOthers { kind: String, name: String },
    /// Its labels name a Gateway that does not exist
    #[error("Envoy Gateway has no Gateway {namespace}/{name}")]
    NoGateway { namespace: String, name: String },
    /// Its labels name a GatewayClass that does not exist
    #[error("Envoy Gateway has no GatewayClass {0}")]
    NoClass(String),
    /// It runs in a namespace where no proxy of its Gateway may run
    #[error("its namespace is neither its Gateway's nor one of --envoy-gateway-namespace")]
    OtherNamespace,
}

/// The proxies whose statistics can be scraped.
pub(super) fn proxies(objects: &Objects) -> Vec<Proxy> {
    let proxy = |pod: &Pod| {
        let stats = SocketAddr::new(pod.address()?, STATS_PORT);
        let fleet = Some(fleet(objects, pod).ok()?);
        Some(Proxy { name: name(pod), stats, ready: pod.is_ready(), fleet })
    };
    labelled(objects).filter_map(proxy).collect()
}

/// The side-cars of proxies that count tokens.
pub(super) fn ai_gateways(objects: &Objects) -> Vec<AiGateway> {
    let gateway = |pod: &Pod| {
        let metrics = SocketAddr::new(pod.address()?, AI_GATEWAY_PORT);
        let fleet = Some(fleet(objects, pod).ok()?);
        Some(AiGateway { name: name(pod), metrics, ready: pod.is_ready(), fleet })
    };
    labelled(objects).filter(|pod| pod.has_container(AI_GATEWAY)).filter_map(gateway).collect()
}

/// The pods with the labels of a proxy that are not accepted as one, by namespace and name, with the reason.
pub fn strangers(objects: &Objects) -> impl Iterator<Item = (String, NotAProxy)> {
    labelled(objects).filter_map(|pod| Some((name(pod), fleet(objects, pod).err()?)))
}

/// The set of proxies that a Deployment in this namespace runs, by the labels of its pods; `None` when it is not Envoy
/// Gateway's.
pub(super) fn fleet_of_deployment(objects: &Objects, namespace: &str, pods: &Labels) -> Option<Arc<str>> {
    let owning = Owning::of(pods)?;
    owning.check(objects, namespace).ok()?;
    Some(owning.series())
}

fn labelled(objects: &Objects) -> impl Iterator<Item = &Pod> {
    objects.pods.values().flat_map(BTreeMap::values)
}

fn name(pod: &Pod) -> String {
    format!("{}/{}", pod.metadata.namespace, pod.metadata.name)
}

/// The set of proxies that a pod belongs to, by the pod labels of its topmost owner.
fn fleet(objects: &Objects, pod: &Pod) -> Result<Arc<str>, NotAProxy> {
    let namespace = &pod.metadata.namespace;
    let (owner, labels) = top_owner(objects, &pod.metadata)?;
    let owning = Owning::of(labels)
        .ok_or_else(|| NotAProxy::OwnerOfOthers { kind: owner.kind.clone(), name: owner.name.clone() })?;
    owning.check(objects, namespace)?;
    Ok(owning.series())
}

/// The Deployment or DaemonSet that controls a pod, and the labels that it gives its pods.
fn top_owner<'a>(objects: &'a Objects, pod: &'a Meta) -> Result<(&'a OwnerReference, &'a Labels), NotAProxy> {
    let namespace = &pod.namespace;
    let mut owner = controller(pod)?;
    if owner.kind == "ReplicaSet" {
        let set = objects.replica_sets.get(namespace).and_then(|names| names.get(&owner.name));
        let set = set.map(|set| &set.metadata).filter(|meta| meta.uid == owner.uid);
        owner = controller(set.ok_or_else(|| missing(owner))?)?;
    }
    let table = match owner.kind.as_str() {
        "Deployment" => &objects.deployments,
        "DaemonSet" => &objects.daemon_sets,
        _ => return Err(NotAProxy::NoController),
    };
    let workload = table.get(namespace).and_then(|names| names.get(&owner.name));
    let workload = workload.filter(|workload| workload.metadata.uid == owner.uid).ok_or_else(|| missing(owner))?;
    Ok((owner, workload.pod_labels()))
}

/// The owner that controls an object. In a cluster every object has a UID.
fn controller(meta: &Meta) -> Result<&OwnerReference, NotAProxy> {
    let mut owners = meta.owner_references.iter();
    owners.find(|owner| owner.controller && !owner.uid.is_empty()).ok_or(NotAProxy::NoController)
}

fn missing(owner: &OwnerReference) -> NotAProxy {
    NotAProxy::NoOwner { kind: owner.kind.clone(), name: owner.name.clone() }
}

/// The Gateway or class for which Envoy Gateway created a set of proxies.
#[derive(Clone, Copy)]
enum Owning<'a> {
    Gateway { namespace: &'a str, name: &'a str },
    Class(&'a str),
}

impl<'a> Owning<'a> {
    fn of(labels: &'a Labels) -> Option<Self> {
        if !labels.are_of_a_proxy() {
            return None;
        }
        if let Some(class) = labels.get(OWNING_CLASS) {
            return Some(Self::Class(class));
        }
        Some(Self::Gateway { namespace: labels.get(OWNING_NAMESPACE)?, name: labels.get(OWNING_NAME)? })
    }

    fn series(self) -> Arc<str> {
        match self {
            Self::Gateway { namespace, name } => series_of_gateway(namespace, name),
            Self::Class(class) => series_of_class(class),
        }
    }

    /// Checks that it exists, is Envoy Gateway's, and may have its proxies in this namespace.
    fn check(self, objects: &Objects, within: &str) -> Result<(), NotAProxy> {
        match self {
            Self::Gateway { namespace, name } => {
                let gateway = objects.gateways.get(namespace).and_then(|names| names.get(name));
                if !gateway.is_some_and(|gateway| is_envoy_gateways(objects, gateway)) {
                    return Err(NotAProxy::NoGateway { namespace: namespace.to_owned(), name: name.to_owned() });
                }
            }
            Self::Class(class) if !class_is_envoy_gateways(objects, class).unwrap_or(false) => {
                return Err(NotAProxy::NoClass(class.to_owned()));
            }
            Self::Class(_) => {}
        }
        let of_any = objects.proxy_namespaces.0.iter().any(|namespace| namespace == within);
        let of_its_own = matches!(self, Self::Gateway { namespace, .. } if namespace == within);
        if of_any || of_its_own { Ok(()) } else { Err(NotAProxy::OtherNamespace) }
    }
}

/// As in discovery, a Gateway of an unknown class is assumed to be Envoy Gateway's.
fn is_envoy_gateways(objects: &Objects, gateway: &Gateway) -> bool {
    class_is_envoy_gateways(objects, &gateway.spec.gateway_class_name).unwrap_or(true)
}

/// `None` for a class that does not exist.
fn class_is_envoy_gateways(objects: &Objects, name: &str) -> Option<bool> {
    let class = objects.gateway_classes.get("")?.get(name)?;
    Some(objects.envoy_gateways.of_class(Some(class)).is_some())
}

#[cfg(test)]
pub(super) mod tests;
