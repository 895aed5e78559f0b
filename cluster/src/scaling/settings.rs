//! Settings that all ScaledObjects have in common.

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

/// How KEDA reaches the scaler, and how they authenticate each other.
#[derive(Debug, Clone, Default)]
pub struct ScalerEndpoint {
    /// `HOST:PORT`
    pub address: String,
    /// Whether KEDA uses TLS
    pub tls: bool,
    /// The ClusterTriggerAuthentication that holds `caCert`, `tlsClientCert` and `tlsClientKey`. Without one KEDA trusts its
    /// system's CAs. KEDA takes these from nowhere else (`authParams` in its external_scaler.go).
    pub authentication: Option<String>,
}
