//! The kinds of object that Tidegate reads.

use std::fmt;

use tidegate_core::workload::WorkloadKind;

/// The table of kinds: variant, kind, plural, API group, versions (preferred first), whether it is namespaced, and the table of
/// [`Objects`](crate::Objects) with its view. The macro that is passed in generates code from it.
macro_rules! for_all_kinds {
    ($make:ident) => {
        $make! {
            Deployment "Deployment" "deployments" "apps" ["v1"] true deployments Workload;
            StatefulSet "StatefulSet" "statefulsets" "apps" ["v1"] true stateful_sets Workload;
            DaemonSet "DaemonSet" "daemonsets" "apps" ["v1"] true daemon_sets Workload;
            CronJob "CronJob" "cronjobs" "batch" ["v1"] true cron_jobs CronJob;
            ReplicaSet "ReplicaSet" "replicasets" "apps" ["v1"] true replica_sets ReplicaSet;
            Service "Service" "services" "" ["v1"] true services Service;
            EndpointSlice "EndpointSlice" "endpointslices" "discovery.k8s.io" ["v1"] true endpoint_slices EndpointSlice;
            Namespace "Namespace" "namespaces" "" ["v1"] false namespaces Namespace;
            Pod "Pod" "pods" "" ["v1"] true pods Pod;
            GatewayClass "GatewayClass" "gatewayclasses" "gateway.networking.k8s.io" ["v1", "v1beta1"] false gateway_classes GatewayClass;
            Gateway "Gateway" "gateways" "gateway.networking.k8s.io" ["v1", "v1beta1"] true gateways Gateway;
            ListenerSet "ListenerSet" "listenersets" "gateway.networking.k8s.io" ["v1"] true listener_sets ListenerSet;
            HttpRoute "HTTPRoute" "httproutes" "gateway.networking.k8s.io" ["v1", "v1beta1"] true http_routes Route;
            GrpcRoute "GRPCRoute" "grpcroutes" "gateway.networking.k8s.io" ["v1", "v1alpha2"] true grpc_routes Route;
            TcpRoute "TCPRoute" "tcproutes" "gateway.networking.k8s.io" ["v1", "v1alpha2"] true tcp_routes Route;
            TlsRoute "TLSRoute" "tlsroutes" "gateway.networking.k8s.io" ["v1", "v1alpha3", "v1alpha2"] true tls_routes Route;
            UdpRoute "UDPRoute" "udproutes" "gateway.networking.k8s.io" ["v1", "v1alpha2"] true udp_routes Route;
            ReferenceGrant "ReferenceGrant" "referencegrants" "gateway.networking.k8s.io" ["v1", "v1beta1", "v1alpha2"] true reference_grants ReferenceGrant;
            ServiceImport "ServiceImport" "serviceimports" "multicluster.x-k8s.io" ["v1alpha1", "v1beta1"] true service_imports ServiceImport;
            EnvoyProxy "EnvoyProxy" "envoyproxies" "gateway.envoyproxy.io" ["v1alpha1"] true envoy_proxies EnvoyProxy;
            Backend "Backend" "backends" "gateway.envoyproxy.io" ["v1alpha1"] true backends Backend;
            HttpRouteFilter "HTTPRouteFilter" "httproutefilters" "gateway.envoyproxy.io" ["v1alpha1"] true http_route_filters HttpRouteFilter;
            BackendTrafficPolicy "BackendTrafficPolicy" "backendtrafficpolicies" "gateway.envoyproxy.io" ["v1alpha1"] true backend_traffic_policies BackendTrafficPolicy;
            ClientTrafficPolicy "ClientTrafficPolicy" "clienttrafficpolicies" "gateway.envoyproxy.io" ["v1alpha1"] true client_traffic_policies ClientTrafficPolicy;
            SecurityPolicy "SecurityPolicy" "securitypolicies" "gateway.envoyproxy.io" ["v1alpha1"] true security_policies ExtServicePolicy;
            EnvoyExtensionPolicy "EnvoyExtensionPolicy" "envoyextensionpolicies" "gateway.envoyproxy.io" ["v1alpha1"] true envoy_extension_policies ExtServicePolicy;
            AiGatewayRoute "AIGatewayRoute" "aigatewayroutes" "aigateway.envoyproxy.io" ["v1beta1", "v1alpha1"] true ai_gateway_routes AiGatewayRoute;
            AiServiceBackend "AIServiceBackend" "aiservicebackends" "aigateway.envoyproxy.io" ["v1beta1", "v1alpha1"] true ai_service_backends AiServiceBackend;
            InferencePool "InferencePool" "inferencepools" "inference.networking.k8s.io" ["v1"] true inference_pools InferencePool;
            XInferencePool "InferencePool" "inferencepools" "inference.networking.x-k8s.io" ["v1alpha2"] true x_inference_pools InferencePool;
            Calendar "Calendar" "calendars" "tidegate.dev" ["v1alpha1"] false calendars CalendarObject;
            ScaledObject "ScaledObject" "scaledobjects" "keda.sh" ["v1alpha1"] true scaled ScaledObject;
            HorizontalPodAutoscaler "HorizontalPodAutoscaler" "horizontalpodautoscalers" "autoscaling" ["v2", "v1"] true autoscalers HorizontalPodAutoscaler;
        }
    };
}
pub(crate) use for_all_kinds;

macro_rules! kinds {
    ($($variant:ident $name:literal $plural:literal $group:literal [$($version:literal),+] $namespaced:literal $table:ident $view:ident;)*) => {
        /// A kind of object that Tidegate reads.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            /// A workload that is neither a Deployment nor a StatefulSet: the table of these kinds is in `core/src/workload/kind.rs`
            Scaled(WorkloadKind),
        }

        impl Kind {
            /// Every kind that is always read.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The kind as manifests write it: `HTTPRoute`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* Self::Scaled(kind) => kind.as_str() }
            }

            /// The API group; empty for the core group.
            pub fn api_group(self) -> &'static str {
                match self { $(Self::$variant => $group,)* Self::Scaled(kind) => kind.group() }
            }

            /// The versions that can be read, preferred first. All fields that are read here are the same in each of them.
            pub fn versions(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($version),+],)* Self::Scaled(kind) => kind.versions() }
            }

            /// The plural, as in API URLs: `httproutes`.
            pub fn plural(self) -> &'static str {
                match self { $(Self::$variant => $plural,)* Self::Scaled(kind) => kind.plural() }
            }

            /// Whether objects of the kind live in a namespace.
            pub fn namespaced(self) -> bool {
                match self { $(Self::$variant => $namespaced,)* Self::Scaled(_) => true }
            }
        }
    };
}

for_all_kinds!(kinds);

impl Kind {
    /// The kind that an object's `apiVersion` and `kind` name, whatever the version.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let known = Self::ALL.iter().copied().find(|known| known.as_str() == kind && known.api_group() == group);
        known.or_else(|| WorkloadKind::of(api_version, kind).map(Self::of_workload))
    }

    /// The kind of a workload.
    pub fn of_workload(kind: WorkloadKind) -> Self {
        match kind {
            WorkloadKind::Deployment => Self::Deployment,
            WorkloadKind::StatefulSet => Self::StatefulSet,
            other => Self::Scaled(other),
        }
    }

    /// Whether objects of the kind have replicas that Tidegate scales.
    pub fn is_scaled(self) -> bool {
        matches!(self, Self::Deployment | Self::StatefulSet | Self::Scaled(_))
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
        assert_eq!(Kind::of("argoproj.io/v1alpha1", "Rollout"), Some(Kind::Scaled(WorkloadKind::Rollout)));
        assert_eq!(Kind::of("apps.kruise.io/v1beta1", "StatefulSet"), None, "a kind of another group");
    }
}
