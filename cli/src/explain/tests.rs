use serde_json::json;

use super::*;
use crate::{args::InstalledArgs, fixture::Fixture};

const EXPLAIN: &str = "/api/v1/namespaces/tidegate-system/services/tidegate:admin/proxy/explain/shop";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/shop/deployments";

fn explainer(fixture: &Fixture) -> Explainer {
    let installed =
        InstalledArgs { system_namespace: "tidegate-system".to_owned(), service: "tidegate".to_owned(), admin: None };
    Explainer { tidegate: Tidegate::in_cluster(fixture.cluster(), &installed), namespace: "shop".to_owned() }
}

/// A cluster that has a Deployment `api` and a Gateway `web`.
async fn shop() -> Fixture {
    let fixture = Fixture::start().await;
    let resources = |version: &str, name: &str, kind: &str| {
        json!({"kind": "APIResourceList", "groupVersion": version, "resources": [
            {"name": name, "singularName": "", "kind": kind, "namespaced": true, "verbs": ["get"]},
        ]})
    };
    let gateways = "/apis/gateway.networking.k8s.io/v1";
    fixture.has("/apis/apps/v1", &resources("apps/v1", "deployments", "Deployment"));
    fixture.has(gateways, &resources("gateway.networking.k8s.io/v1", "gateways", "Gateway"));
    let object = |kind: &str, name: &str| json!({"kind": kind, "apiVersion": "v1", "metadata": {"name": name}});
    fixture.has(&format!("{DEPLOYMENTS}/api"), &object("Deployment", "api"));
    fixture.has(&format!("{gateways}/namespaces/shop/gateways/web"), &object("Gateway", "web"));
    for name in ["deployment/api", "deployment/gone", "gateway/web", "gateway/gone"] {
        let unknown = "it has no annotations of Tidegate, or does not exist\n";
        fixture.answers(&format!("{EXPLAIN}/{name}"), StatusCode::NOT_FOUND, unknown);
    }
    fixture
}

async fn failure(fixture: &Fixture, object: &str) -> Failure {
    let object = &named(&[object.to_owned()]).unwrap()[0];
    explainer(fixture).page(object).await.unwrap_err()
}

#[tokio::test]
async fn what_does_not_exist_and_what_has_no_annotations_are_two_answers_for_gateways_too() {
    let fixture = shop().await;
    for kind in ["gateway", "deployment"] {
        let gone = failure(&fixture, &format!("{kind}/gone")).await;
        assert_eq!(gone.exit, Exit::Missing);
        assert!(gone.to_string().starts_with(&format!("{kind}/gone does not exist in namespace shop")), "{gone}");
    }
    for object in ["gateway/web", "deployment/api"] {
        let bare = failure(&fixture, object).await;
        assert_eq!(bare.exit, Exit::NotAnnotated);
        assert!(bare.to_string().contains(&format!("{object} in namespace shop has no annotations")), "{bare}");
        assert!(bare.to_string().contains(&format!("kubectl -n shop annotate {object} tidegate.dev/")), "{bare}");
    }
}

#[tokio::test]
async fn who_may_not_look_at_the_object_gets_what_tidegate_knows() {
    let fixture = shop().await;
    fixture.fails(&format!("{DEPLOYMENTS}/api"), StatusCode::FORBIDDEN, "deployments is forbidden");
    let told = failure(&fixture, "deployment/api").await;
    assert_eq!(told.to_string(), "it has no annotations of Tidegate, or does not exist");
}

#[tokio::test]
async fn an_explanation_with_a_problem_is_printed_and_ends_with_an_exit_code_of_its_own() {
    let fixture = shop().await;
    fixture.has(&format!("{EXPLAIN}/deployment/api"), &json!({"problems": ["no route reaches it"]}));
    let objects = named(&["deployment/api".to_owned()]).unwrap();
    let ended = explainer(&fixture).print_pages(&objects).await.unwrap_err();
    assert_eq!((crate::exit::code(&ended), ended.to_string().as_str()), (Exit::Wrong, ""));
    fixture.has(&format!("{EXPLAIN}/deployment/api"), &json!({"problems": []}));
    explainer(&fixture).print_pages(&objects).await.unwrap();
}

#[tokio::test]
async fn a_tidegate_without_a_ready_pod_says_so_at_once_and_where_to_look() {
    let fixture = shop().await;
    let path = format!("{EXPLAIN}/deployment/api");
    fixture.fails(&path, StatusCode::SERVICE_UNAVAILABLE, "no endpoints available for service \"tidegate\"");
    let told = failure(&fixture, "deployment/api").await;
    assert_eq!(told.exit, Exit::NoAnswer);
    assert!(
        told.to_string().starts_with("no pod of Tidegate is ready in namespace tidegate-system: `kubectl -n"),
        "{told}"
    );
    fixture.fails(&path, StatusCode::NOT_FOUND, "services \"tidegate\" not found");
    let told = failure(&fixture, "deployment/api").await;
    assert!(
        told.to_string().starts_with("there is no Service tidegate in namespace tidegate-system: --system-n"),
        "{told}"
    );
}
