//! Services and ServiceImports, with their ports.

use std::net::IpAddr;

use serde::{Deserialize, Deserializer};

use super::{Labels, Meta, port::target_name};

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Service {
    pub(crate) metadata: ServiceMeta,
    pub(crate) spec: ServiceSpec,
}

/// Metadata of a Service. There are many Services, so only these are kept: labels (for `mergeBackends.selector`), and annotations
/// that ask for traffic to stay in its zone.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceMeta {
    pub(crate) labels: Labels,
    #[serde(deserialize_with = "super::known_annotations")]
    annotations: tidegate_core::intent::Annotations,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ServiceSpec {
    pub(crate) selector: Labels,
    pub(crate) ports: Vec<ServicePort>,
    r#type: Option<String>,
    traffic_distribution: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: ClusterIp,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Box<[ClusterIp]>,
}

/// A Service's own address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ClusterIp {
    /// Not assigned yet, or unreadable
    #[default]
    Unknown,
    /// `None`: the Service is headless
    Headless,
    Address(IpAddr),
}

impl<'de> Deserialize<'de> for ClusterIp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(if text == "None" { Self::Headless } else { text.parse().map_or(Self::Unknown, Self::Address) })
    }
}

/// A port of a Service or a ServiceImport.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ServicePort {
    pub(crate) port: u16,
    /// Its name, which the Service's EndpointSlices repeat; empty when it is the only port
    pub(crate) name: Box<str>,
    /// The name of the pods' port that it leads to; `None` when it leads to a number
    #[serde(deserialize_with = "target_name")]
    pub(crate) target_port: Option<Box<str>>,
    protocol: Option<String>,
    pub(crate) app_protocol: Option<String>,
}

impl ServicePort {
    /// The protocol; `TCP` by default.
    pub(crate) fn protocol(&self) -> &str {
        super::route::non_empty(self.protocol.as_deref()).unwrap_or("TCP")
    }
}

impl Service {
    /// Whether it is an ExternalName Service, which Envoy Gateway refuses as a backend.
    pub(crate) fn is_external_name(&self) -> bool {
        self.spec.r#type.as_deref() == Some("ExternalName")
    }

    /// Whether it has no address of its own, so that its name stands for the addresses of its pods.
    pub(crate) fn is_headless(&self) -> bool {
        self.own_addresses().any(|ip| ip == ClusterIp::Headless)
    }

    /// Its own addresses; none when it is headless, or comes from a file that names none.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.own_addresses().filter_map(|ip| match ip {
            ClusterIp::Address(address) => Some(address),
            ClusterIp::Unknown | ClusterIp::Headless => None,
        })
    }

    fn own_addresses(&self) -> impl Iterator<Item = ClusterIp> {
        [self.spec.cluster_ip].into_iter().chain(self.spec.cluster_ips.iter().copied())
    }

    /// The TCP port of this number.
    pub(crate) fn tcp_port(&self, number: u16) -> Option<&ServicePort> {
        self.spec.ports.iter().find(|port| port.port == number && port.protocol() == "TCP")
    }

    /// Whether Envoy keeps traffic in its zone, for which each backend needs a cluster of its own (`processPreferLocalZone`).
    pub(crate) fn prefers_local_zone(&self) -> bool {
        let mode = self.metadata.annotations.get("service.kubernetes.io/topology-mode");
        self.spec.traffic_distribution.is_some() || matches!(mode, Some("Auto" | "auto"))
    }
}

/// `ServiceImport`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceImport {
    pub(crate) metadata: Meta,
    pub(crate) spec: ServiceImportSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceImportSpec {
    pub(crate) ports: Vec<ServicePort>,
}
