//! The EndpointSlice that leads a Service to the activator, as an object.

use std::{fmt, net::IpAddr, ops::RangeInclusive, str::FromStr};

use serde_json::{Value, json};
use tidegate_core::{ids::ServiceId, plan::RELEASE};

/// The label of an EndpointSlice that names its Service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label of an EndpointSlice that names what manages it: the controller of Kubernetes leaves those of others alone.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Our value of that label.
pub(super) const MANAGER: &str = "tidegate.dev";

/// The ports on which the activator may listen, one for each port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PortRange(RangeInclusive<u16>);

impl PortRange {
    /// The ports in order.
    pub(super) fn ports(&self) -> RangeInclusive<u16> {
        self.0.clone()
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

impl FromStr for PortRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = "wants two ports from 1024 to 65535, such as 20000-20999";
        let (first, last) = text.split_once('-').ok_or(wanted)?;
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port >= 1024).ok_or(wanted);
        let (first, last) = (port(first)?, port(last)?);
        if first <= last { Ok(Self(first..=last)) } else { Err(wanted) }
    }
}

/// The two kinds of address that an EndpointSlice may hold; each slice holds one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(super) fn has(self, address: &IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }

    fn address_type(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The name of the Service's slice. Names of Services have at most 63 characters, those of slices 253.
    pub(super) fn slice_name(self, service: &ServiceId) -> String {
        format!("{}-tidegate-{}", service.name, self.address_type().to_lowercase())
    }
}

/// The slice as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WantedSlice {
    pub(super) service: ServiceId,
    pub(super) family: Family,
    /// Name of each of the Service's ports, and the activator's port for it
    pub(super) ports: Vec<(String, u16)>,
    pub(super) addresses: Vec<IpAddr>,
    /// Whether traffic is sent there yet
    pub(super) ready: bool,
}

impl WantedSlice {
    pub(super) fn name(&self) -> String {
        self.family.slice_name(&self.service)
    }

    /// The object. It belongs to the Service with this uid, and goes with it.
    pub(super) fn object(&self, release: &str, service_uid: &str) -> Value {
        // Envoy Gateway reads name and protocol of each port without asking whether they are there.
        let ports: Vec<_> =
            self.ports.iter().map(|(name, port)| json!({"name": name, "protocol": "TCP", "port": port})).collect();
        let conditions = json!({"ready": self.ready, "serving": self.ready, "terminating": false});
        let endpoints: Vec<_> = self
            .addresses
            .iter()
            .map(|address| json!({"addresses": [address.to_string()], "conditions": conditions}))
            .collect();
        json!({
            "metadata": {
                "name": self.name(),
                "namespace": self.service.namespace,
                "labels": { SERVICE_NAME: self.service.name, MANAGED_BY: MANAGER, RELEASE: release },
                "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": self.service.name, "uid": service_uid}],
            },
            "addressType": self.family.address_type(),
            "ports": ports,
            "endpoints": endpoints,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_ports_is_two_ports_in_order_that_need_no_privilege() {
        assert_eq!("20000-20999".parse(), Ok(PortRange(20000..=20999)));
        for text in ["", "20000", "20999-20000", "80-90", "1-70000", "a-b", "20000-"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }
}
