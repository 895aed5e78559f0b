use std::time::Instant;

use kube::api::ListParams;
use tokio::net::TcpListener;

use super::*;
use crate::fixture::{Fixture, SOON};

async fn refusal(status: StatusCode, message: &str) -> (Failure, usize) {
    let fixture = Fixture::start().await;
    fixture.fails("/api/v1/namespaces/x", status, message);
    let cluster = fixture.cluster();
    let failure = cluster.object(&ObjectKind::Namespace, "", "x").await.err();
    // A 404 is no failure to `object`.
    let failure = failure.unwrap_or(Exit::Missing.with(message));
    (failure, fixture.asked().len())
}

#[tokio::test]
async fn nothing_is_asked_twice_however_often_the_server_says_to_try_again() {
    for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT] {
        let begun = Instant::now();
        let (failure, asked) = refusal(status, "the server is overloaded").await;
        assert_eq!((failure.exit, asked), (Exit::NoAnswer, 1), "{status}: {failure}");
        assert!(begun.elapsed() < SOON * 4);
    }
}

#[tokio::test]
async fn refusals_are_one_sentence_each_that_says_what_to_do() {
    let (expired, _) = refusal(StatusCode::UNAUTHORIZED, "Unauthorized").await;
    assert_eq!(expired.exit, Exit::NotAllowed);
    assert!(expired.to_string().ends_with("log in to the cluster again"), "{expired}");
    let (forbidden, _) =
        refusal(StatusCode::FORBIDDEN, "namespaces \"x\" is forbidden: User \"ann\" cannot get it\nsecond line").await;
    assert_eq!(forbidden.exit, Exit::NotAllowed);
    let wanted = "namespaces \"x\" is forbidden: User \"ann\" cannot get it: ask for the permission, or use another --context or --as";
    assert_eq!(forbidden.to_string(), wanted);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_within_the_request_timeout() {
    let fixture = Fixture::start().await;
    fixture.falls_silent();
    let begun = Instant::now();
    let failure = fixture.cluster().get("/version").await.unwrap_err();
    assert!(begun.elapsed() < SOON * 4);
    assert_eq!(failure.exit, Exit::NoAnswer);
    assert!(failure.to_string().contains("within 500ms: is it reachable? --request-timeout"), "{failure}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap());
    let failure = Cluster::at(&url, SOON).unwrap().get("/version").await.unwrap_err();
    assert_eq!(failure.to_string(), format!("nothing listens at {url}: is it running, and the right one?"));
}

#[tokio::test]
async fn a_server_without_tls_behind_https_is_a_matter_of_tls() {
    let plain = Fixture::start().await.url().replace("http://", "https://");
    let failure = Cluster::at(&plain, SOON).unwrap().get("/version").await.unwrap_err();
    assert!(failure.to_string().starts_with("no TLS connection to https://127.0.0.1"), "{failure}");
}

#[tokio::test]
async fn a_kubeconfig_that_is_not_there_or_lacks_the_context_is_one_line() {
    let mut args = ClusterArgs {
        kubeconfig: Some("/nowhere/kubeconfig".into()),
        context: None,
        user: None,
        groups: Vec::new(),
        request_timeout: SOON,
    };
    let failure = Cluster::connect(&args).await.err().unwrap();
    assert_eq!(
        failure.to_string(),
        "no cluster: there is no kubeconfig /nowhere/kubeconfig; set KUBECONFIG, or give --kubeconfig FILE"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let kubeconfig = "{apiVersion: v1, kind: Config, contexts: [{name: staging, context: {cluster: a, user: b}}]}";
    std::fs::write(file.path(), kubeconfig).unwrap();
    (args.kubeconfig, args.context) = (Some(file.path().to_owned()), Some("prod".to_owned()));
    let failure = Cluster::connect(&args).await.err().unwrap();
    assert_eq!(failure.to_string(), "the kubeconfig has no context prod; it has staging");
}

#[tokio::test]
async fn a_kind_with_its_group_is_found_by_any_of_its_names() {
    let fixture = Fixture::start().await;
    let version = serde_json::json!({"groupVersion": "example.com/v2", "version": "v2"});
    fixture.has(
        "/apis",
        &serde_json::json!({"kind": "APIGroupList", "groups": [
            {"name": "example.com", "versions": [version], "preferredVersion": version},
        ]}),
    );
    fixture.has("/apis/example.com/v2", &serde_json::json!({"kind": "APIResourceList", "groupVersion": "example.com/v2", "resources": [
        {"name": "widgets", "singularName": "widget", "kind": "Widget", "namespaced": true, "verbs": ["get"], "shortNames": ["wd"]},
    ]}));
    fixture.has("/apis/example.com/v2/namespaces/shop/widgets", &serde_json::json!({"items": []}));
    let cluster = fixture.cluster();
    for name in ["widget.example.com", "widgets.example.com", "wd.example.com"] {
        let api = cluster.api(&ObjectKind::Custom(name.to_owned()), "shop").await.unwrap();
        cluster.ask(api.list(&ListParams::default())).await.unwrap();
    }
    let unknown = cluster.api(&ObjectKind::Custom("gadget.example.com".to_owned()), "shop").await.err().unwrap();
    assert_eq!(unknown.exit, Exit::Missing);
}
