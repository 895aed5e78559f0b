//! Probes and scrapers that nobody waits for: they never wake a workload.

use super::ignore::starts_with;

/// The answer to a probe while no pod is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// 200: the prober goes on sending traffic here, where it is held
    Healthy,
    /// 503: there is no pod, and the prober may say so
    Unavailable,
}

impl ProbeAnswer {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Healthy => 200,
            Self::Unavailable => 503,
        }
    }
}

/// A program whose GET and HEAD requests, and gRPC health checks, wake nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The beginning of its `user-agent`
    pub user_agent: &'static str,
    /// The program
    pub program: &'static str,
    /// The answer while no pod is ready
    pub answer: ProbeAnswer,
}

macro_rules! probes {
    ($($user_agent:literal $answer:ident $program:literal;)*) => {
        /// All probes and scrapers that never wake a workload.
        pub const PROBES: &[Probe] = &[
            $(Probe { user_agent: $user_agent, program: $program, answer: ProbeAnswer::$answer },)*
        ];
    };
}

probes! {
    // Envoy source/common/http/headers.h, `EnvoyHealthChecker`; HTTP and gRPC checks both send it. With 503, Envoy would take the
    // activator out of its cluster, and the next request would not reach it.
    "Envoy/HC" Healthy "Envoy's active health checks";
    // kubernetes/kubernetes pkg/probe/http/request.go and pkg/probe/grpc/grpc.go
    "kube-probe/" Unavailable "kubelet";
    // cloud.google.com/load-balancing/docs/health-check-concepts
    "GoogleHC/" Unavailable "Google Cloud load balancers";
    // docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
    "ELB-HealthChecker/" Unavailable "AWS load balancers";
    // docs.aws.amazon.com/Route53/latest/DeveloperGuide/route-53-policy-restrictions.html
    "Amazon-Route53-Health-Check-Service" Unavailable "AWS Route 53";
    // Azure's load balancer sends it with HTTP probes; seen in access logs, not in its documentation
    "Load Balancer Agent" Unavailable "Azure load balancers";
    // learn.microsoft.com/azure/frontdoor/health-probes
    "Edge Health Probe" Unavailable "Azure Front Door";
    // hashicorp/consul agent/checks/check.go
    "Consul Health Check" Unavailable "Consul";
    // prometheus/prometheus scrape/scrape.go
    "Prometheus/" Unavailable "Prometheus";
    // prometheus/blackbox_exporter prober/http.go
    "Blackbox Exporter/" Unavailable "Prometheus' blackbox exporter";
    // VictoriaMetrics/VictoriaMetrics lib/promscrape/client.go
    "vm_promscrape" Unavailable "VictoriaMetrics' agent";
    // grafana/agent internal/useragent
    "GrafanaAgent/" Unavailable "Grafana Agent";
    // grafana/alloy internal/useragent
    "Alloy/" Unavailable "Grafana Alloy";
    // open-telemetry/opentelemetry-collector-contrib receiver/prometheusreceiver, which names the build
    "otelcol" Unavailable "the OpenTelemetry Collector";
    "OpenTelemetry Collector" Unavailable "the OpenTelemetry Collector";
    // DataDog/integrations-core datadog_checks_base/datadog_checks/base/utils/headers.py
    "Datadog Agent/" Unavailable "Datadog's agent";
}

/// The probe that sent a request with this method, path and `user-agent`. `None` for any other request.
///
/// Other methods do wake: Prometheus' remote write is a `POST` by the same program that scrapes.
///
/// ```
/// # use tidegate_core::wake::probe;
/// assert_eq!(probe("GET", "/healthz", "kube-probe/1.34").map(|probe| probe.program), Some("kubelet"));
/// assert_eq!(probe("POST", "/api/v1/write", "Prometheus/3.5.0"), None);
/// ```
pub fn probe(method: &str, path: &str, user_agent: &str) -> Option<&'static Probe> {
    if !matches!(method, "GET" | "HEAD") && !is_health_check(path) {
        return None;
    }
    PROBES.iter().find(|probe| starts_with(user_agent, probe.user_agent))
}

/// Whether a path is a method of gRPC's health checking protocol (grpc/grpc doc/health-checking.md).
pub fn is_health_check(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.Health/")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn envoy_is_told_healthy_and_every_other_probe_unavailable() {
        let healthy = PROBES.iter().filter(|probe| probe.answer == ProbeAnswer::Healthy);
        assert_eq!(healthy.map(|probe| probe.user_agent).collect::<Vec<_>>(), ["Envoy/HC"]);
        assert_eq!(probe("GET", "/", "Envoy/HC").map(|probe| probe.answer.status()), Some(200));
        assert_eq!(probe("HEAD", "/", "ELB-HealthChecker/2.0").map(|probe| probe.answer.status()), Some(503));
    }

    #[test]
    fn a_grpc_health_check_is_a_probe_though_it_is_a_post() {
        assert!(probe("POST", "/grpc.health.v1.Health/Check", "kube-probe/1.34 grpc-go/1.75").is_some());
        assert!(probe("POST", "/grpc.health.v1.Health/Check", "grpc-go/1.75").is_none());
    }

    #[test]
    fn people_and_programs_that_wait_for_the_answer_wake() {
        for user_agent in ["", "curl/8.14", "Mozilla/5.0 (like Prometheus/3)", "Go-http-client/1.1", "Prometheu"] {
            assert_eq!(probe("GET", "/metrics", user_agent), None, "{user_agent}");
        }
    }

    proptest! {
        #[test]
        fn no_request_makes_it_panic(method in "\\PC*", path in "\\PC*", user_agent in "\\PC*") {
            probe(&method, &path, &user_agent);
        }
    }
}
