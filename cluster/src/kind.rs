//! The kinds of object that Tidegate reads.

use std::fmt;

macro_rules! kinds {
    ($($variant:ident $name:literal $plural:literal $group:literal [$($version:literal),+] $namespaced:literal;)*) => {
        /// A kind of object that Tidegate reads.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind { $(#[doc = concat!("`", $name, "`")] $variant,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The kind as manifests write it: `HTTPRoute`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The API group; empty for the core group.
            pub fn api_group(self) -> &'static str {
                match self { $(Self::$variant => $group,)* }
            }

            /// The versions that can be read, the one to prefer first. They differ in nothing that is read here.
            pub fn versions(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($version),+],)* }
            }

            /// The plural, as URLs of the API have it: `httproutes`.
            pub fn plural(self) -> &'static str {
                match self { $(Self::$variant => $plural,)* }
            }

            /// Whether objects of the kind live in a namespace.
            pub fn namespaced(self) -> bool {
                match self { $(Self::$variant => $namespaced,)* }
            }
        }
    };
}

kinds! {
    Deployment "Deployment" "deployments" "apps" ["v1"] true;
    StatefulSet "StatefulSet" "statefulsets" "apps" ["v1"] true;
    DaemonSet "DaemonSet" "daemonsets" "apps" ["v1"] true;
    CronJob "CronJob" "cronjobs" "batch" ["v1"] true;
    ReplicaSet "ReplicaSet" "replicasets" "apps" ["v1"] true;
    Service "Service" "services" "" ["v1"] true;
    Namespace "Namespace" "namespaces" "" ["v1"] false;
    Pod "Pod" "pods" "" ["v1"] true;
    GatewayClass "GatewayClass" "gatewayclasses" "gateway.networking.k8s.io" ["v1", "v1beta1"] false;
    Gateway "Gateway" "gateways" "gateway.networking.k8s.io" ["v1", "v1beta1"] true;
    ListenerSet "ListenerSet" "listenersets" "gateway.networking.k8s.io" ["v1"] true;
    HttpRoute "HTTPRoute" "httproutes" "gateway.networking.k8s.io" ["v1", "v1beta1"] true;
    GrpcRoute "GRPCRoute" "grpcroutes" "gateway.networking.k8s.io" ["v1", "v1alpha2"] true;
    TcpRoute "TCPRoute" "tcproutes" "gateway.networking.k8s.io" ["v1", "v1alpha2"] true;
    TlsRoute "TLSRoute" "tlsroutes" "gateway.networking.k8s.io" ["v1", "v1alpha3", "v1alpha2"] true;
    UdpRoute "UDPRoute" "udproutes" "gateway.networking.k8s.io" ["v1", "v1alpha2"] true;
    ReferenceGrant "ReferenceGrant" "referencegrants" "gateway.networking.k8s.io" ["v1", "v1beta1", "v1alpha2"] true;
    ServiceImport "ServiceImport" "serviceimports" "multicluster.x-k8s.io" ["v1alpha1", "v1beta1"] true;
    EnvoyProxy "EnvoyProxy" "envoyproxies" "gateway.envoyproxy.io" ["v1alpha1"] true;
    Backend "Backend" "backends" "gateway.envoyproxy.io" ["v1alpha1"] true;
    HttpRouteFilter "HTTPRouteFilter" "httproutefilters" "gateway.envoyproxy.io" ["v1alpha1"] true;
    BackendTrafficPolicy "BackendTrafficPolicy" "backendtrafficpolicies" "gateway.envoyproxy.io" ["v1alpha1"] true;
    ClientTrafficPolicy "ClientTrafficPolicy" "clienttrafficpolicies" "gateway.envoyproxy.io" ["v1alpha1"] true;
    SecurityPolicy "SecurityPolicy" "securitypolicies" "gateway.envoyproxy.io" ["v1alpha1"] true;
    EnvoyExtensionPolicy "EnvoyExtensionPolicy" "envoyextensionpolicies" "gateway.envoyproxy.io" ["v1alpha1"] true;
    AiGatewayRoute "AIGatewayRoute" "aigatewayroutes" "aigateway.envoyproxy.io" ["v1beta1", "v1alpha1"] true;
    AiServiceBackend "AIServiceBackend" "aiservicebackends" "aigateway.envoyproxy.io" ["v1beta1", "v1alpha1"] true;
    InferencePool "InferencePool" "inferencepools" "inference.networking.k8s.io" ["v1"] true;
    XInferencePool "InferencePool" "inferencepools" "inference.networking.x-k8s.io" ["v1alpha2"] true;
    Calendar "Calendar" "calendars" "tidegate.dev" ["v1alpha1"] false;
    ScaledObject "ScaledObject" "scaledobjects" "keda.sh" ["v1alpha1"] true;
    HorizontalPodAutoscaler "HorizontalPodAutoscaler" "horizontalpodautoscalers" "autoscaling" ["v2", "v1"] true;
}

impl Kind {
    /// The kind that an object's `apiVersion` and `kind` name, whatever the version.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        Self::ALL.iter().copied().find(|known| known.as_str() == kind && known.api_group() == group)
    }

    /// The `apiVersion` of the kind in one of [its versions](Self::versions): `apps/v1`, or `v1` in the core group.
    pub fn api_version(self, version: &str) -> String {
        match self.api_group() {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_group_whatever_the_version() {
        assert_eq!(Kind::of("gateway.networking.k8s.io/v1beta9", "HTTPRoute"), Some(Kind::HttpRoute));
        assert_eq!(Kind::of("v1", "Service"), Some(Kind::Service));
        assert_eq!(Kind::of("serving.knative.dev/v1", "Service"), None);
        assert_eq!(Kind::of("", ""), None);
    }
}
