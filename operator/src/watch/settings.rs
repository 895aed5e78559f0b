//! What is watched.

use std::{fmt, str::FromStr};

use tidegate_core::{intent::Managed, workload::WorkloadKind};

use crate::endpoints::EndpointBook;

/// What is watched, and what is assumed of it.
#[derive(Debug, Clone, Default)]
pub struct WatchSettings {
    /// The only namespaces that are watched; all when empty
    pub namespaces: Vec<String>,
    /// The namespaces in which Envoy Gateway runs the proxies of any Gateway
    pub proxies: Vec<String>,
    /// The kinds besides Deployments and StatefulSets that may be managed. CronJobs are only watched in that case.
    pub manageable: Managed,
    /// The kinds of workload besides Deployments and StatefulSets that are scaled. One that the API server does not serve is watched as
    /// soon as its CRD is installed.
    pub scaled: Vec<WorkloadKind>,
    /// Controllers that are Envoy Gateways, besides those whose configuration is known
    pub controller_names: Vec<String>,
    /// The ConfigMaps with Envoy Gateway's configuration
    pub config_maps: Vec<ConfigMapName>,
    /// Where the addresses in EndpointSlices go, if requests to workloads without replicas are held
    pub endpoints: Option<EndpointBook>,
}

/// A ConfigMap by name.
///
/// ```
/// use tidegate_operator::watch::ConfigMapName;
///
/// let name: ConfigMapName = "envoy-gateway-system/envoy-gateway-config".parse()?;
/// assert_eq!(name.namespace, "envoy-gateway-system");
/// assert!("envoy-gateway-config".parse::<ConfigMapName>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMapName {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

impl FromStr for ConfigMapName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("wants NAMESPACE/NAME, such as envoy-gateway-system/envoy-gateway-config".to_owned()),
        }
    }
}

impl fmt::Display for ConfigMapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
