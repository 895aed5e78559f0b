//! Kubernetes, the Gateway API, Envoy Gateway and KEDA: what is installed, and in which versions.

use chrono::TimeDelta;
use serde_json::Value;
use tidegate_cluster::Kind;

use super::{
    finding::Finding,
    object::{name, namespace, text},
    site::{Kubernetes, Site},
};

/// The versions that the end-to-end tests run against (tests/stack/src/peers.rs).
const TESTED_KUBERNETES: &str = "1.37";
/// Hours and Leases bear this much.
const TOLERABLE: TimeDelta = TimeDelta::seconds(5);

pub(super) fn kubernetes(site: &Site) -> Vec<Finding> {
    match &site.kubernetes {
        Ok(Kubernetes { version, .. }) => {
            Finding::ok(format!("Kubernetes {version} (tested with {TESTED_KUBERNETES})"))
        }
        Err(failure) => vec![Finding::failure(failure.to_string(), "")],
    }
}

pub(super) fn clocks(site: &Site) -> Vec<Finding> {
    let ahead = match &site.kubernetes {
        Ok(Kubernetes { ahead: Some(ahead), .. }) => *ahead,
        Ok(_) => return Finding::unknown("the API server does not say what time it is"),
        Err(_) => return Finding::unknown("the API server does not answer"),
    };
    // Its clock is given in whole seconds, and the answer took a moment.
    if ahead.abs() <= TOLERABLE {
        return Finding::ok("");
    }
    let (seconds, how) = (ahead.num_seconds().abs(), if ahead > TimeDelta::zero() { "ahead of" } else { "behind" });
    vec![Finding::warning(
        format!("the API server's clock is {seconds} s {how} this machine's"),
        "hours open and close by the clocks of Tidegate's nodes: have all machines follow NTP",
    )]
}

pub(super) fn tolerance(site: &Site) -> Vec<Finding> {
    match &site.kubernetes {
        Ok(Kubernetes { number, .. }) if *number >= (1, 35) => Finding::ok(""),
        Ok(_) => vec![Finding::warning(
            "HPAs have a tolerance of their own since Kubernetes 1.35",
            "tidegate.dev/tolerance has no effect until then: the cluster's own tolerance applies, 10 % by default",
        )],
        Err(_) => Finding::unknown("the API server does not answer"),
    }
}

pub(super) fn gateway_api(site: &Site) -> Vec<Finding> {
    let wanted = [Kind::GatewayClass, Kind::Gateway, Kind::HttpRoute];
    let missing: Vec<_> = wanted.into_iter().filter(|kind| !site.serves(*kind)).map(crd).collect();
    if missing.is_empty() {
        return Finding::ok("");
    }
    vec![Finding::failure(
        format!("{} not served in a version that is known here", missing.join(", ")),
        "install the Gateway API: `kubectl apply --server-side -f https://github.com/kubernetes-sigs/gateway-api/releases/latest/download/standard-install.yaml`",
    )]
}

pub(super) fn envoy_gateway(site: &Site) -> Vec<Finding> {
    if site.serves(Kind::EnvoyProxy) {
        return Finding::ok("");
    }
    vec![Finding::failure(
        format!(
            "{} is not installed: no traffic can be measured; hours, Kafka and queries work without",
            crd(Kind::EnvoyProxy)
        ),
        "install it: `helm install eg oci://docker.io/envoyproxy/gateway-helm -n envoy-gateway-system --create-namespace`",
    )]
}

pub(super) fn envoy_gateway_runs(site: &Site) -> Vec<Finding> {
    runs(&site.envoy_gateways, "control-plane=envoy-gateway")
}

pub(super) fn keda(site: &Site) -> Vec<Finding> {
    if site.serves(Kind::ScaledObject) {
        return Finding::ok("");
    }
    vec![Finding::failure(
        format!("{} is not installed: nothing is scaled", crd(Kind::ScaledObject)),
        "install it: `helm repo add kedacore https://kedacore.github.io/charts`, then `helm install keda kedacore/keda --namespace keda \
         --create-namespace`",
    )]
}

pub(super) fn own_kinds(site: &Site) -> Vec<Finding> {
    if site.serves(Kind::Calendar) {
        return Finding::ok("");
    }
    let crd = crd(Kind::Calendar);
    vec![Finding::failure(format!("{crd} is not installed"), "`tidegate crds | kubectl apply --server-side -f -`")]
}

/// Whether Deployments that were found by a label are ready.
pub(super) fn runs(deployments: &[Value], label: &str) -> Vec<Finding> {
    if deployments.is_empty() {
        return vec![Finding::warning(
            format!("no Deployment with the label {label} was found"),
            "where it is installed in another way, or you may not list Deployments, that is no fault",
        )];
    }
    let found =
        deployments.iter().filter(|deployment| deployment["status"]["readyReplicas"].as_u64().unwrap_or(0) == 0);
    let found = found.map(|deployment| {
        let (namespace, name) = (namespace(deployment), name(deployment));
        let what = format!("no pod of Deployment {name} in namespace {namespace} is ready");
        Finding::failure(what, format!("`kubectl -n {namespace} get pods` says why"))
    });
    Finding::or_ok(found.collect(), deployments.iter().map(image).collect::<Vec<_>>().join(", "))
}

/// The image of a Deployment's first container, without its registry.
pub(super) fn image(deployment: &Value) -> String {
    let image = text(&deployment["spec"]["template"]["spec"]["containers"][0]["image"]);
    image.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The name of a kind's CRD.
fn crd(kind: Kind) -> String {
    format!("{}.{}", kind.plural(), kind.api_group())
}
