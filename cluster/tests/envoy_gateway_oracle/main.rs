//! Discovery against Envoy Gateway itself: for every case of its translator's own tests, discovery must find the clusters, backends
//! and shares of Envoy Gateway's translation.
//!
//! The cases are read from the sources of Envoy Gateway 1.9.1 in `TIDEGATE_ENVOY_GATEWAY_SOURCE`; `make test-oracle` gets them.
//! `cargo test` alone runs the few that are copied to `fixtures/`.

#[cfg(test)]
mod oracle;

use std::path::Path;

use oracle::Case;

/// Cases that depend on objects that Tidegate does not read. There discovery names clusters that do not exist, which is harmless,
/// with one exception: in `gateway-with-conflicting-listeners-one-invalid-ref` it takes a listener without a certificate for the
/// rival of another, and so misses a cluster.
const BEYOND: &[(&str, &[&str])] = &[
    (
        "certificates: Secrets, ConfigMaps and BackendTLSPolicies",
        &[
            "backend-tls-settings",
            "backend-tls-settings-invalid",
            "backendtlspolicy-ca-only-invalid",
            "backendtlspolicy-invalid-ca",
            "backendtlspolicy-status-conditions-truncated",
            "envoyextensionpolicy-with-extproc-with-backendtlspolicy",
            "envoyextensionpolicy-with-extproc-with-backendtlspolicy-per-resource-secret",
            "envoyextensionpolicy-with-extproc-with-backendtlspolicy-shared-secret",
            "envoyproxy-tls-settings-invalid",
            "envoyproxy-tls-settings-invalid-ns",
            "gateway-with-conflicting-listeners-one-invalid-ref",
            "gateway-with-listener-with-invalid-tls-configuration-secret-does-not-exist",
            "gateway-with-listener-with-invalid-tls-configuration-secret-is-not-valid",
            "httproute-with-credential-injection",
            "listenerset-https-tls-mixed-valid-and-missing-secret",
            "listenerset-https-tls-secret-does-not-exist",
            "sds-disabled",
            "sds-invalid",
        ],
    ),
    (
        "EndpointSlices: whether there are any, and of which kind of address",
        &[
            "backendtrafficpolicy-with-routing-type-listener",
            "grpcroute-with-mirror-filter-service-no-endpoints",
            "httproute-attaching-to-listener-with-backend-and-core-backendrefs",
            "httproute-attaching-to-listener-with-multiple-serviceimport-backendrefs-diff-address-type",
            "httproute-attaching-to-listener-with-serviceimport-backendref-mixed-address-type",
            "httproute-with-mirror-filter-service-no-endpoints",
            "securitypolicy-with-extauth-weighted-backendrefs",
        ],
    ),
    (
        "services that are asked by a Unix socket, behind which there is no workload",
        &["envoyextensionpolicy-with-extproc-with-mixed-backendrefs", "securitypolicy-with-extauth-backend"],
    ),
    ("extensions beside an external processor that are invalid", &["envoyextensionpolicy-failopen"]),
    ("names of Services in the DNS, which Envoy Gateway does not look up", &["backendtrafficpolicy-dns-lookup-family"]),
    (
        "Namespaces that do not exist, with routes in them",
        &["backendtrafficpolicy-status-conditions", "envoyextensionpolicy-status-conditions"],
    ),
    (
        "objects of extension servers",
        &[
            "httproute-with-custom-backend-invalid-group",
            "httproute-with-custom-backend-not-found",
            "httproute-with-non-matching-extension-filter",
        ],
    ),
];

#[test]
fn discovery_agrees_with_the_fixtures_of_envoy_gateway() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/envoy-gateway");
    let (passed, failures) = run(&Case::all_in(&fixtures));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(passed >= 15, "only {passed} fixtures in {}", fixtures.display());
    assert_eq!(disputes(&Case::all_in(&fixtures)), Vec::<String>::new());
}

#[test]
#[ignore = "make test-oracle gets the sources of Envoy Gateway"]
fn discovery_agrees_with_every_case_of_envoy_gateways_own_tests() {
    let source = std::env::var_os("TIDEGATE_ENVOY_GATEWAY_SOURCE").expect("make test-oracle sets it");
    let testdata = Path::new(&source).join("internal/gatewayapi/testdata");
    let mut cases = Case::all_in(&testdata);
    cases.extend(Case::all_in(&testdata.join("extensions")));
    let (passed, failures) = run(&cases);
    println!("{passed} of {} cases agree", cases.len());
    assert!(failures.is_empty(), "{} of {} cases differ:\n{}", failures.len(), cases.len(), failures.join("\n"));
    assert!(passed > 600, "only {passed} cases in {}", testdata.display());
}

#[test]
#[ignore = "make test-oracle gets the sources of Envoy Gateway"]
fn what_is_not_followed_is_refused_by_the_status_of_the_route_too() {
    let source = std::env::var_os("TIDEGATE_ENVOY_GATEWAY_SOURCE").expect("make test-oracle sets it");
    let testdata = Path::new(&source).join("internal/gatewayapi/testdata");
    let disputes = disputes(&Case::all_in(&testdata));
    assert!(disputes.is_empty(), "{}:\n{}", disputes.len(), disputes.join("\n"));
}

/// Where discovery and the statuses of routes differ.
fn disputes(cases: &[Case]) -> Vec<String> {
    // Here a Service without endpoints loses its ports (`drop_ports_without_endpoints`).
    let beyond = |case: &&Case| {
        BEYOND.iter().any(|(_, names)| names.contains(&case.name.as_str()))
            || case.name == "httproute-with-backendref-no-endpoints"
    };
    let all = cases.iter().filter(|case| !beyond(case));
    all.flat_map(|case| case.disputes().into_iter().map(|dispute| format!("{}: {dispute}", case.name))).collect()
}

/// The number of cases that agree, and the differences of the others.
fn run(cases: &[Case]) -> (usize, Vec<String>) {
    let beyond = |case: &&Case| BEYOND.iter().any(|(_, names)| names.contains(&case.name.as_str()));
    let cases: Vec<_> = cases.iter().filter(|case| !beyond(case)).collect();
    let failures: Vec<_> =
        cases.iter().filter_map(|case| case.difference().map(|diff| format!("{}:\n{diff}", case.name))).collect();
    (cases.len() - failures.len(), failures)
}
