//! The examples, as they stand in `examples/`: the API server accepts every file, and each does under load what its page says. Some are
//! in the tests of what they are about: `zero`, `kafka`, `jobs`, `rollouts`, `auth`.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};
use serde_json::{Value, json};
use tidegate_e2e::{
    cluster::{Cluster, SCALER_ADDRESS},
    examples::{self, example},
    kubectl::{apply, kubectl},
    requests::Entrance,
    scenario::{Scenario, http_stack, until},
};
use tidegate_sim::load::Traffic;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::gateways::{of_gateway, wait_for_proxies};

/// Namespaces that objects name.
fn namespaces(objects: &[Value]) -> BTreeSet<String> {
    objects.iter().filter_map(|object| object["metadata"]["namespace"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn the_api_server_accepts_every_file_of_the_examples() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let files = examples::all()?;
    let exist = kubectl(&["get", "namespaces", "-o", "name"]).await?;
    let exist: BTreeSet<_> = exist.lines().filter_map(|line| line.strip_prefix("namespace/")).collect();
    let named = files.iter().flat_map(|(_, objects)| namespaces(objects)).collect::<BTreeSet<_>>();
    let missing: Vec<_> = named.iter().filter(|name| !exist.contains(name.as_str())).collect();
    let made = missing.iter().map(|name| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n"));
    // A dry run makes no namespace for what comes after it.
    apply(&made.collect::<String>()).await?;

    let paths: Vec<_> = files.iter().map(|(path, _)| format!("--filename={}", path.display())).collect();
    let mut args = vec!["apply", "--dry-run=server"];
    args.extend(paths.iter().map(String::as_str));
    let accepted = kubectl(&args).await;
    let mut delete = vec!["delete", "namespace", "--wait=false"];
    delete.extend(missing.iter().map(|name| name.as_str()));
    kubectl(&delete).await?;
    let (accepted, objects) = (accepted?, files.iter().map(|(_, objects)| objects.len()).sum::<usize>());
    let accepted = accepted.lines().filter(|line| line.ends_with("(server dry run)")).count();
    ensure!(files.len() >= 20 && accepted == objects, "{accepted} of {objects} objects in {} files", files.len());
    Ok(())
}

/// Asks many times, a few at once, and gives the names of the replicas that answered 200.
async fn replicas(entrance: &Entrance, headers: &[(&str, &str)], times: usize) -> Result<Vec<String>> {
    stream::iter(0..times).map(|_| replica(entrance, headers)).buffer_unordered(8).try_collect().await
}

/// Sends one request, and gives the name of the replica that answered 200.
async fn replica(entrance: &Entrance, headers: &[(&str, &str)]) -> Result<String> {
    let answer = entrance.get("/", headers).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.header("x-replica").to_owned())
}

/// Waits until the answer has this status.
async fn answers(entrance: &Entrance, path: &str, status: u16) -> Result<()> {
    until(&format!("the answer is {status}"), async || {
        let answer = entrance.get(path, &[]).await?;
        ensure!(answer.status == status, "{answer:?}");
        Ok(())
    })
    .await
}

/// Share of the replicas that belong to a Deployment.
fn share(replicas: &[String], deployment: &str) -> f64 {
    let of = |replica: &&String| replica.rsplitn(3, '-').nth(2) == Some(deployment);
    replicas.iter().filter(of).count() as f64 / replicas.len() as f64
}

/// Sets the weights of the canary, as its page says.
async fn weights(scenario: &Scenario, stable: u32, canary: u32) -> Result<()> {
    let at = |backend: u8, weight: u32| {
        json!({"op": "replace", "value": weight,
        "path": format!("/spec/rules/0/backendRefs/{backend}/weight")})
    };
    let patch = json!([at(0, stable), at(1, canary)]).to_string();
    scenario.kubectl(&["patch", "httproute", "shop-route", "--type=json", "-p", &patch]).await.map(drop)
}

#[tokio::test]
async fn canary_gives_each_deployment_its_share_and_all_to_the_canary_once_it_is_promoted() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("canary").await?;
    let changes =
        [("requests-per-second: \"100\"", "requests-per-second: \"10\"\n    tidegate.dev/scale-down-after: 5s")];
    scenario.apply(&example("canary/canary.yaml", &changes)?).await?;
    let to = scenario.gateway("web", 8080).await?;
    let load = scenario.load(to, Traffic::http("shop.example.com", "/")?, 105.0).await?;
    // 105 requests/s: 94.5 and 10.5, at 10 a replica.
    scenario.wait_for_replicas("shop", 10).await?;
    scenario.wait_for_replicas("shop-canary", 2).await?;

    let entrance = Entrance::http("shop.example.com", to)?;
    let seen = replicas(&entrance, &[], 600).await?;
    let (shop, canary) = (share(&seen, "shop"), share(&seen, "shop-canary"));
    // A binomial of 600 at 0.1 has a standard deviation of 0.0122; five of them are passed once in two million times.
    ensure!((canary - 0.1).abs() < 5.0 * 0.0122, "{canary} went to the canary");
    ensure!((shop + canary - 1.0).abs() < 1e-9, "{seen:?}");

    weights(&scenario, 0, 100).await?;
    scenario.wait_for_replicas("shop-canary", 11).await?;
    scenario.wait_for_replicas("shop", 1).await?;
    let seen = replicas(&entrance, &[], 50).await?;
    ensure!(share(&seen, "shop-canary") == 1.0, "{seen:?}");
    let counts = load.snapshot().counts;
    ensure!(counts.ok_share() > 0.99, "the canary cost requests: {counts:?}");
    Ok(())
}

#[tokio::test]
async fn ab_headers_leads_the_header_and_the_cookie_to_version_b_and_scales_each_version_on_its_own() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("ab").await?;
    let changes = [("requests-per-second: \"100\"", "requests-per-second: \"10\""), ("\"60\"", "\"10\"")];
    scenario.apply(&example("ab-headers/ab-headers.yaml", &changes)?).await?;
    let to = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(to, Traffic::http("search.example.com", "/")?, 45.0).await?;
    let entrance = Entrance::http("search.example.com", to)?;
    let versions: [(&[(&str, &str)], &str); 6] = [
        (&[("x-experiment", "b")], "search-b"),
        (&[("cookie", "id=7; experiment=b")], "search-b"),
        (&[("cookie", "experiment=b; id=7")], "search-b"),
        (&[("cookie", "experiment=ba")], "search-a"),
        (&[("x-experiment", "a")], "search-a"),
        (&[], "search-a"),
    ];
    for (headers, version) in versions {
        until(&format!("{headers:?} leads to {version}"), async || {
            let seen = replicas(&entrance, headers, 10).await?;
            ensure!(share(&seen, version) == 1.0, "{seen:?}");
            Ok(())
        })
        .await?;
    }
    // 25 requests/s of version B beside 45 of version A, at 10 a replica.
    let ticks = stream::unfold(tokio::time::interval(Duration::from_millis(40)), async |mut ticks| {
        ticks.tick().await;
        Some(((), ticks))
    });
    let load_of_b = ticks
        .map(|()| replica(&entrance, &[("x-experiment", "b")]))
        .buffer_unordered(50)
        .try_for_each(async |_| Ok(()));
    let scaled = async {
        scenario.wait_for_replicas("search-b", 3).await?;
        scenario.wait_for_replicas("search-a", 5).await
    };
    tokio::select! {
        result = scaled => result,
        failed = load_of_b => failed,
    }
}

#[tokio::test]
async fn grpc_scales_on_its_calls() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("grpc").await?;
    scenario.apply(&example("grpc/grpc.yaml", &[("\"100\"", "\"10\"")])?).await?;
    let to = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(to, Traffic::grpc("grpc.example.com", "/tasks.v1.Tasks/List")?, 35.0).await?;
    scenario.wait_for_replicas("task-grpc", 4).await
}

#[tokio::test]
async fn tcp_scales_on_its_open_connections() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("tcp").await?;
    scenario.apply(&example("tcp-tls/tcp.yaml", &[("\"50\"", "\"10\"")])?).await?;
    let to = scenario.gateway("tcp", 7000).await?;
    let _load = scenario.load(to, Traffic::tcp(), 45.0).await?;
    scenario.wait_for_replicas("task-tcp", 5).await
}

/// The first bytes of a TLS connection to this host.
fn client_hello(host: &str) -> Result<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), ServerName::try_from(host.to_owned())?)?.write_tls(&mut hello)?;
    Ok(hello)
}

#[tokio::test]
async fn tls_is_passed_through_to_the_backend_of_its_host_name_and_scales_on_open_connections() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("passthrough").await?;
    // In place of a server that ends TLS, one that sends back what it gets: so it shows that Envoy has changed no byte.
    let changes = [
        ("registry.example/ledger:1", "task-api"),
        ("--listen=", "--tcp="),
        ("connections: \"50\"", "connections: \"10\""),
    ];
    scenario.apply(&example("tcp-tls/tls.yaml", &changes)?).await?;
    let to = scenario.gateway("tls", 8443).await?;
    let connect = async |host: &str| {
        let hello = client_hello(host)?;
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(&hello).await?;
        let mut echo = vec![0; hello.len()];
        timeout(Duration::from_secs(5), stream.read_exact(&mut echo)).await??;
        ensure!(echo == hello, "other bytes came back");
        Ok(stream)
    };
    until("the backend answers", async || connect("ledger.example.com").await).await?;
    ensure!(connect("other.example.com").await.is_err(), "a host without a route was led somewhere");
    let mut open = Vec::new();
    for _ in 0..25 {
        open.push(connect("ledger.example.com").await?);
    }
    scenario.wait_for_replicas("ledger", 3).await
}

#[tokio::test]
async fn cross_namespace_answers_500_without_the_grant_and_is_no_demand_and_200_with_it() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let (edge, storefront, catalog) =
        (Scenario::new("edge").await?, Scenario::new("storefront").await?, Scenario::new("catalog").await?);
    // Names of namespaces, where nothing else is called so.
    let renamed = |file: &str, names: &[&str]| -> Result<String> {
        let renames: Vec<_> = names
            .iter()
            .flat_map(|name| [("namespace", name), ("  name", name)])
            .map(|(field, name)| (format!("{field}: {name}\n"), format!("{field}: e2e-{name}\n")))
            .collect();
        let text = example(&format!("cross-namespace/{file}.yaml"), &[])?;
        Ok(renames.iter().fold(text, |text, (from, to)| text.replace(from, to)))
    };
    edge.apply(&renamed("edge", &["edge"])?).await?;
    let route = renamed("storefront", &["edge", "storefront"])?.replace("namespace: catalog", "namespace: e2e-catalog");
    storefront.apply(&route).await?;
    let backend = renamed("catalog", &[])?.replace("namespace: catalog", "namespace: e2e-catalog");
    let (_, backend) = backend.split_once("---\n").context("no Namespace")?;
    catalog.apply(&backend.replace("\"100\"", "\"10\"")).await?;
    let to = edge.gateway("web", 8080).await?;
    let entrance = Entrance::http("www.example.com", to)?;
    answers(&entrance, "/catalog", 500).await?;
    let told = catalog.event("Deployment", "catalog", "NoRoute").await?;
    ensure!(told.contains("ReferenceGrant"), "{told}");

    let grant = renamed("grant", &["storefront"])?.replace("namespace: catalog", "namespace: e2e-catalog");
    // The grant's own name is left as it is.
    catalog.apply(&grant.replace("  name: e2e-storefront", "  name: storefront")).await?;
    answers(&entrance, "/catalog", 200).await?;
    let _load = edge.load(to, Traffic::http("www.example.com", "/catalog")?, 25.0).await?;
    catalog.wait_for_replicas("catalog", 3).await?;
    let explained = cluster.explain(&["deployment/catalog", "-n", &catalog.namespace]).await?;
    ensure!(explained.contains("httproute/e2e-storefront/catalog-route/rule/0"), "{explained}");
    Ok(())
}

#[tokio::test]
async fn non_production_sleeps_outside_hours_with_one_proxy_and_is_all_there_inside_them() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("non-production").await?;
    let changes = [
        ("office", "e2e-non-production"),
        ("namespace: staging", "namespace: e2e-non-production"),
        ("name: staging\n", "name: e2e-non-production\n"),
        ("Mo-Fr 08:00-18:00; PH off", "\"off\""),
        // The test may run on that day.
        ("2026-12-31", "2020-12-31"),
        ("tidegate.dev/min-replicas: \"2\"", "tidegate.dev/min-replicas: \"2\"\n    tidegate.dev/scale-down-after: 5s"),
    ];
    scenario.apply(&example("non-production/non-production.yaml", &changes)?).await?;
    let labels = of_gateway(&scenario, "web");
    scenario.wait_for_replicas("task-api", 0).await?;
    scenario.wait_for_replicas("statefulset/db", 0).await?;
    wait_for_proxies(&labels, 1).await?;
    let to = scenario.gateway("web", 8080).await?;
    let entrance = Entrance::http("staging.example.com", to)?;
    answers(&entrance, "/", 503).await?;

    let open = r#"{"spec": {"hours": "24/7"}}"#;
    kubectl(&["patch", "calendar", "e2e-non-production", "--type=merge", "-p", open]).await?;
    scenario.wait_for_replicas("statefulset/db", 1).await?;
    scenario.wait_for_replicas("task-api", 2).await?;
    wait_for_proxies(&labels, 3).await?;
    answers(&entrance, "/", 200).await?;
    kubectl(&["delete", "calendar", "e2e-non-production"]).await.map(drop)
}

#[tokio::test]
async fn a_hand_written_scaled_object_is_served_the_same_way() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("by-hand").await?;
    let changes = [("tidegate.tidegate-system.svc:9090", SCALER_ADDRESS), ("\"100\"", "\"10\"")];
    let scaled_object = example("gitops/hand-written-scaledobject.yaml", &changes)?;
    scenario.apply(&(http_stack(&[]) + "---\n" + &scaled_object)).await?;
    let to = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(to, Traffic::http("tasks.example.com", "/tasks")?, 25.0).await?;
    scenario.wait_for_replicas("task-api", 3).await
}
