use std::path::Path;

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::DateTime;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use tidegate_cluster::Kind;

use super::*;
use crate::{args::InstalledArgs, fixture::Fixture, version::VERSION};

const ADMIN: &str = "/api/v1/namespaces/tidegate-system/services/tidegate:admin/proxy";
const SCALED_OBJECTS: &str = "/apis/keda.sh/v1alpha1/scaledobjects";
const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/tidegate-system/leases/tidegate";
const SECRET: &str = "/api/v1/namespaces/tidegate-system/secrets/scaler-tls";
const READY: &str = "[+]watch Deployment ok\n[+]source Envoy 10.0.0.7 ok\n[ ]watch TCPRoute: the API server does not serve it; …\nready\n";

fn now() -> DateTime<Utc> {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

fn of_label(label: &str) -> String {
    format!("{DEPLOYMENTS}?labelSelector={label}")
}

fn list(items: impl Into<Value>) -> Value {
    json!({"kind": "List", "metadata": {}, "items": items.into()})
}

fn deployment(namespace: &str, name: &str, ready: u32) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name}, "status": {"readyReplicas": ready},
        "spec": {"template": {"spec": {
            "serviceAccountName": "tidegate",
            "containers": [{"image": format!("registry.example.com/{name}:1"), "args": ["run", "--lease-name=tidegate"]}],
            "volumes": [{"name": "tls", "secret": {"secretName": "scaler-tls"}}],
        }}},
    })
}

fn scaled_object(ready: &str, annotations: &Value) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": "api", "annotations": annotations},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}},
        "status": {"conditions": [{"type": "Ready", "status": ready, "message": "no answer from scaler"}]},
    })
}

fn secret(year: i32) -> Value {
    let mut params = CertificateParams::new(["tidegate".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 1));
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    json!({"data": {"tls.crt": STANDARD.encode(certificate.pem())}})
}

fn lease(renewed: &str) -> Value {
    json!({
        "metadata": {"namespace": "tidegate-system", "name": "tidegate"},
        "spec": {"holderIdentity": "tidegate-a", "leaseDurationSeconds": 15, "renewTime": renewed},
    })
}

/// A cluster in which all is well.
async fn healthy() -> Fixture {
    let fixture = Fixture::start().await;
    fixture.is_at("Mon, 02 Mar 2026 12:00:01 GMT");
    fixture.has("/version", &json!({"major": "1", "minor": "37", "gitVersion": "v1.37.2"}));
    for kind in Kind::ALL {
        let path = format!("/apis/{}", kind.api_version(kind.versions()[0]));
        let in_group = Kind::ALL.iter().filter(|other| other.api_group() == kind.api_group());
        let names: Vec<_> = in_group.map(|kind| json!({"name": kind.plural()})).collect();
        fixture.has(&path, &json!({"resources": names}));
    }
    let deployments = [
        ("app.kubernetes.io/name%3Dkeda-operator", deployment("keda", "keda-operator", 1)),
        ("control-plane%3Denvoy-gateway", deployment("envoy-gateway-system", "envoy-gateway", 1)),
        ("app.kubernetes.io/name%3Dtidegate", deployment("tidegate-system", "tidegate", 2)),
    ];
    for (label, deployment) in deployments {
        fixture.has(&of_label(label), &list([deployment]));
    }
    fixture.has(DEPLOYMENTS, &list([deployment("shop", "api", 1)]));
    fixture.has(SCALED_OBJECTS, &list([scaled_object("True", &json!({}))]));
    fixture.has(LEASE, &lease("2026-03-02T11:59:55.000000Z"));
    fixture.has(SECRET, &secret(2030));
    fixture.answers(&format!("{ADMIN}/readyz"), StatusCode::OK, READY);
    fixture.has(&format!("{ADMIN}/version"), &json!({"version": VERSION}));
    fixture
}

async fn found(fixture: &Fixture, pre: bool) -> Vec<Line> {
    let installed =
        InstalledArgs { system_namespace: "tidegate-system".to_owned(), service: "tidegate".to_owned(), admin: None };
    let cluster = fixture.cluster();
    let tidegate = Tidegate::in_cluster(cluster.clone(), &installed);
    lines(&Site::look(cluster, &tidegate, &installed, pre, now()).await, pre)
}

#[tokio::test]
async fn a_cluster_in_which_all_is_well_has_no_warning() {
    let lines = found(&healthy().await, false).await;
    let wrong: Vec<_> = lines.iter().filter(|line| line.finding.level != Level::Ok).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(lines.len(), CHECKS.len());
    assert!(
        page(&lines, Paint::new(crate::paint::When::Never, false)).ends_with("21 checks: 0 failed, 0 with a warning\n")
    );
}

type Plant<'a> = &'a dyn Fn(&Fixture);

#[tokio::test]
async fn each_planted_fault_is_found_by_name_with_what_to_do() {
    let denies = |fixture: &Fixture, kind: &'static str, resource: &'static str| {
        let user = kind == "user";
        fixture
            .allows(move |spec| spec["user"].is_null() != user || spec["resourceAttributes"]["resource"] != resource);
    };
    let faults: [(&str, Level, &str, Plant<'_>); 17] = [
        ("KEDA is installed", Level::Failure, "scaledobjects.keda.sh", &|fixture| {
            fixture.fails("/apis/keda.sh/v1alpha1", StatusCode::NOT_FOUND, "");
        }),
        ("KEDA runs", Level::Failure, "namespace keda is ready", &|fixture| {
            let label = of_label("app.kubernetes.io/name%3Dkeda-operator");
            fixture.has(&label, &list([deployment("keda", "keda-operator", 0)]));
        }),
        ("KEDA reaches Tidegate", Level::Failure, "no answer from scaler", &|fixture| {
            fixture.has(SCALED_OBJECTS, &list([scaled_object("False", &json!({}))]));
        }),
        ("the scaler's certificate is valid", Level::Failure, "ended on 2026-01-01", &|fixture| {
            fixture.has(SECRET, &secret(2026));
        }),
        ("the Gateway API is installed", Level::Failure, "httproutes.gateway.networking.k8s.io", &|fixture| {
            fixture.has("/apis/gateway.networking.k8s.io/v1", &json!({"resources": [{"name": "gateways"}]}));
        }),
        ("Envoy Gateway is installed", Level::Failure, "envoyproxies", &|fixture| {
            fixture.fails("/apis/gateway.envoyproxy.io/v1alpha1", StatusCode::NOT_FOUND, "");
        }),
        ("Tidegate may do what it needs", Level::Failure, "list httproutes.gateway", &|fixture| {
            denies(fixture, "account", "httproutes");
        }),
        ("you may do what the commands need", Level::Warning, "get services/proxy", &|fixture| {
            denies(fixture, "user", "services");
        }),
        ("the clocks agree", Level::Warning, "61 s ahead of", &|fixture| {
            fixture.is_at("Mon, 02 Mar 2026 12:01:01 GMT");
        }),
        ("HPAs take a tolerance of their own", Level::Warning, "since Kubernetes 1.35", &|fixture| {
            fixture.has("/version", &json!({"major": "1", "minor": "34+", "gitVersion": "v1.34.1"}));
        }),
        ("there is one release of Tidegate", Level::Warning, "2 are installed", &|fixture| {
            let both = [deployment("tidegate-system", "tidegate", 1), deployment("other", "tidegate", 1)];
            fixture.has(&of_label("app.kubernetes.io/name%3Dtidegate"), &list(both));
        }),
        ("Tidegate is ready", Level::Failure, "no pod of Tidegate is ready", &|fixture| {
            let message = "no endpoints available for service \"tidegate\"";
            fixture.fails(&format!("{ADMIN}/readyz"), StatusCode::SERVICE_UNAVAILABLE, message);
        }),
        ("every source answers", Level::Warning, "source Kafka default: broker down", &|fixture| {
            fixture.answers(
                &format!("{ADMIN}/readyz"),
                StatusCode::OK,
                "[ ]source Kafka default: broker down\nready\n",
            );
        }),
        ("every ScaledObject has its workload", Level::Failure, "Deployment api, which does not exist", &|fixture| {
            fixture.has(DEPLOYMENTS, &list(json!([])));
        }),
        ("every EndpointSlice has its Tidegate", Level::Failure, "EndpointSlice api-x in namespace shop", &|fixture| {
            let slice = json!({"metadata": {"namespace": "shop", "name": "api-x"}});
            fixture.has("/apis/discovery.k8s.io/v1/endpointslices", &list([slice]));
            fixture.has(&of_label("app.kubernetes.io/name%3Dtidegate"), &list(json!([])));
        }),
        ("every Lease is held", Level::Failure, "was renewed 600 s ago", &|fixture| {
            fixture.has(LEASE, &lease("2026-03-02T11:50:00Z"));
        }),
        ("no workload has a problem", Level::Warning, "deployment/api in namespace shop: NoSignal", &|fixture| {
            let annotations = json!({"tidegate.dev/problem": "NoSignal: nothing says when to scale"});
            fixture.has(SCALED_OBJECTS, &list([scaled_object("True", &annotations)]));
        }),
    ];
    for (name, level, detail, plant) in faults {
        let fixture = healthy().await;
        plant(&fixture);
        let lines = found(&fixture, false).await;
        let line = lines.iter().find(|line| line.name == name && line.finding.level != Level::Ok);
        let line = line.unwrap_or_else(|| panic!("{name} was not found: {lines:#?}"));
        assert_eq!(line.finding.level, level, "{name}");
        assert!(line.finding.detail.contains(detail), "{name}: {:?}", line.finding);
        assert!(!line.finding.remedy.is_empty() && line.link.is_some(), "{name}: nothing to do about it");
    }
}

#[tokio::test]
async fn before_the_installation_nothing_is_said_about_tidegate() {
    let fixture = healthy().await;
    fixture.has(&of_label("app.kubernetes.io/name%3Dtidegate"), &list(json!([])));
    let lines = found(&fixture, true).await;
    assert!(lines.iter().all(|line| line.finding.level == Level::Ok), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.category == "permissions"));
}

#[test]
fn every_link_leads_to_a_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for check in CHECKS {
        assert!(root.join(check.link).is_file(), "{}: {}", check.name, check.link);
    }
}
