//! The identity of a sender, by the Plan and by the resource attributes of its message.

use std::{net::IpAddr, sync::Arc};

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::ResourceMetrics,
};
use tidegate_core::{llm::AiGateway, plan::Plan};

use crate::text::shortened;

/// How the Plan knows a sender of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    /// Its address is that of a proxy or an AI gateway
    Known,
    /// It comes through a collector, and its attributes name the pod of this AI gateway
    Named(Arc<str>),
    /// Neither, for example behind a collector that adds no attributes
    Guest,
}

/// Whether a proxy or an AI gateway has this address.
pub(super) fn is_known(plan: &Plan, address: IpAddr) -> bool {
    is_proxy(plan, address) || plan.ai_gateways.iter().any(|gateway| gateway.metrics.ip() == address)
}

pub(super) fn is_proxy(plan: &Plan, address: IpAddr) -> bool {
    plan.proxies.iter().any(|proxy| proxy.stats.ip() == address)
}

/// The standing of the sender, and the set of proxies that it is part of. The AI gateway is found by the pod in the attributes,
/// which a collector may have added, else by the address.
pub(super) fn standing(
    plan: &Plan,
    address: IpAddr,
    is_known: bool,
    resource: &ResourceMetrics,
) -> (Standing, Arc<str>) {
    let attributes = attributes(resource);
    let pod = text(attributes, "k8s.namespace.name").zip(text(attributes, "k8s.pod.name"));
    let is_it = |gateway: &&AiGateway| match pod {
        Some((namespace, pod)) => gateway.name.split_once('/') == Some((namespace, pod)),
        None => gateway.metrics.ip() == address,
    };
    let gateway = plan.ai_gateways.iter().find(is_it);
    let fleet = gateway.and_then(|gateway| gateway.fleet.clone()).unwrap_or_default();
    let standing = match gateway {
        _ if is_known => Standing::Known,
        Some(gateway) => Standing::Named(gateway.name.as_str().into()),
        None => Standing::Guest,
    };
    (standing, fleet)
}

/// The name that distinguishes one process from another: its address, and for processes behind one collector the instance in
/// their attributes.
pub(super) fn sender_name(address: IpAddr, resource: &ResourceMetrics) -> String {
    let attributes = attributes(resource);
    let named = ["service.instance.id", "k8s.pod.uid", "k8s.pod.name", "host.name"];
    match named.iter().find_map(|key| text(attributes, key)) {
        Some(instance) => format!("{address} ({})", shortened(instance)),
        None => address.to_string(),
    }
}

fn attributes(resource: &ResourceMetrics) -> &[KeyValue] {
    resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes)
}

/// The text of an attribute.
pub(super) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use opentelemetry_proto::tonic::{common::v1::AnyValue, resource::v1::Resource};

    use super::*;

    fn resource(attributes: &[(&str, &str)]) -> ResourceMetrics {
        let attribute = |(key, value): &(&str, &str)| {
            let value = AnyValue { value: Some(Value::StringValue((*value).to_owned())) };
            KeyValue { key: (*key).to_owned(), value: Some(value), ..KeyValue::default() }
        };
        let attributes = attributes.iter().map(attribute).collect();
        ResourceMetrics { resource: Some(Resource { attributes, ..Resource::default() }), ..ResourceMetrics::default() }
    }

    #[test]
    fn a_sender_is_known_by_its_address_and_behind_a_collector_by_its_pod() {
        let (here, collector) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 9]));
        let metrics = SocketAddr::from((here, 1064));
        let gateway = AiGateway { name: "eg/ai".into(), metrics, ready: true, fleet: Some("gateway/llm/ai".into()) };
        let plan = Plan { ai_gateways: vec![gateway], ..Plan::default() };
        let pod = |name| resource(&[("k8s.namespace.name", "eg"), ("k8s.pod.name", name)]);
        let of = |address, resource: &ResourceMetrics| {
            let (standing, fleet) = standing(&plan, address, is_known(&plan, address), resource);
            (standing, fleet.to_string())
        };
        let (fleet, unknown) = ("gateway/llm/ai".to_owned(), String::new());
        assert_eq!(of(here, &resource(&[])), (Standing::Known, fleet.clone()));
        assert_eq!(of(collector, &pod("ai")), (Standing::Named("eg/ai".into()), fleet));
        assert_eq!(of(collector, &resource(&[])), (Standing::Guest, unknown.clone()));
        assert_eq!(of(here, &pod("another")), (Standing::Known, unknown), "what it says goes before its address");
    }
}
