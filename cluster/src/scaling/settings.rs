//! Settings that all ScaledObjects have in common.

use std::time::Duration;

/// Settings that all ScaledObjects have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How KEDA reaches the scaler
    pub scaler: ScalerEndpoint,
    /// The release of Tidegate, as a label's value
    pub release: String,
    /// Whether HPAs take a tolerance of their own (`behavior.*.tolerance`: Kubernetes 1.35, in KEDA 2.21). At the default
    /// of 10 % one replica more or less is invisible above ten replicas.
    pub tolerance: bool,
}

/// How KEDA reaches the scaler, how they authenticate each other, and how often KEDA asks for what is at zero.
#[derive(Debug, Clone)]
pub struct ScalerEndpoint {
    /// `HOST:PORT`
    pub address: String,
    /// Whether KEDA uses TLS
    pub tls: bool,
    /// The ClusterTriggerAuthentication that holds `caCert`, `tlsClientCert` and `tlsClientKey`. Without one KEDA trusts its
    /// system's CAs. KEDA takes these from nowhere else (`authParams` in its external_scaler.go).
    pub authentication: Option<String>,
    /// `pollingInterval` of workloads that may be at zero, in whole seconds. KEDA learns of a change at once (it holds a stream
    /// open), so this is how soon it notices that the cool-down is over, and tries again after an error.
    pub polling_interval: Duration,
}

impl ScalerEndpoint {
    /// The default of [`polling_interval`](Self::polling_interval)
    pub const POLLING_INTERVAL: Duration = Duration::from_secs(15);
}

impl Default for ScalerEndpoint {
    fn default() -> Self {
        Self { address: String::new(), tls: false, authentication: None, polling_interval: Self::POLLING_INTERVAL }
    }
}
