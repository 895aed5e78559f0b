//! The whole traffic stack of `examples/task-api`, applied as people copy it and driven by requests: redirect, TLS by
//! cert-manager, tokens, versions, gRPC, a limit for each user, and replicas by the larger of two needs.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};

use tidegate_e2e::{
    cluster::Cluster,
    jwt::TokenKey,
    kafka::{BROKER, Kafka},
    requests::{Answer, Entrance, Statuses, early_in_the_window, statuses},
    scenario::{Scenario, until},
};

/// All files but the first example's, the namespace's, and the Prometheus operator's.
const FILES: [&str; 7] = [
    include_str!("../../../../examples/task-api/gateway.yaml"),
    include_str!("../../../../examples/task-api/certificate.yaml"),
    include_str!("../../../../examples/task-api/backend-tls.yaml"),
    include_str!("../../../../examples/task-api/api.yaml"),
    include_str!("../../../../examples/task-api/routes.yaml"),
    include_str!("../../../../examples/task-api/traffic.yaml"),
    include_str!("../../../../examples/task-api/jwt.yaml"),
];

const HOST: &str = "api.example.com";
const TASKS: &str = "/api/v1/tasks";
const ISSUER: &str = "https://tenant.example.com/";
const AUDIENCE: &str = "https://api.example.com";

/// What a test must change in the example, each found once: its namespace, the keys of the identity provider, a certificate
/// that is renewed within a minute, and hours that include now.
fn manifests(namespace: &str, keys: &TokenKey) -> Result<String> {
    let all = FILES.join("---\n").replace("namespace: tasks", &format!("namespace: {namespace}"));
    let remote =
        "remoteJWKS:\n          uri: https://tenant.example.com/.well-known/jwks.json\n          cacheDuration: 300s";
    let local = format!("localJWKS: {{type: Inline, inline: '{}'}}", keys.key_set());
    let changes = [
        (remote, local.as_str()),
        (
            "secretName: api-tls\n  duration: 2160h\n  renewBefore: 720h",
            "secretName: api-tls\n  duration: 1h\n  renewBefore: 59m20s",
        ),
        ("Mo-Fr 07:00-20:00; Dec 20-26 00:00-24:00", "24/7"),
    ];
    changes.into_iter().try_fold(all, |all, (from, to)| {
        ensure!(all.matches(from).count() == 1, "the example has not once {from:?}");
        Ok(all.replace(from, to))
    })
}

/// The stack in a namespace.
struct Site {
    scenario: Scenario,
    keys: TokenKey,
    addresses: Vec<SocketAddr>,
    proxies: Vec<Entrance>,
    plain: Entrance,
}

impl Site {
    async fn apply() -> Result<Self> {
        let scenario = Scenario::new("task-api").await?;
        // Without a committed offset the lag of a group is not known, and nothing would be scaled down.
        let kafka = Kafka::at(BROKER);
        kafka.topic("task-events", 8).await?;
        let offsets: Vec<_> = (0..8).map(|partition| (partition, 0)).collect();
        kafka.commit("task-processors", "task-events", &offsets).await?;
        let keys = TokenKey::generate()?;
        scenario.apply(&manifests(&scenario.namespace, &keys)?).await?;
        let addresses = scenario.proxies("web", 10443, 2).await?;
        let authority = authority(&scenario).await?;
        let of_proxy = |address: &SocketAddr| Entrance::https(HOST, *address, &authority);
        let proxies = addresses.iter().map(of_proxy).collect::<Result<Vec<_>>>()?;
        let plain = Entrance::http(HOST, SocketAddr::new(addresses[0].ip(), 10080))?;
        Ok(Self { scenario, keys, addresses, proxies, plain })
    }

    fn bearer(&self, user: &str) -> Result<String> {
        Ok(format!("Bearer {}", self.keys.token(ISSUER, AUDIENCE, user, 600)?))
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.proxies[0].get(path, headers).await
    }
}

/// The certificate of the authority that cert-manager made.
async fn authority(scenario: &Scenario) -> Result<String> {
    until("cert-manager issues the certificate", async || {
        let secret = scenario.get(&["secret", "api-tls"]).await?;
        let authority = secret["data"]["ca.crt"].as_str().context("it has no ca.crt")?;
        Ok(String::from_utf8(BASE64_STANDARD.decode(authority)?)?)
    })
    .await
}

#[tokio::test]
async fn the_whole_stack_of_the_task_api_does_what_each_of_its_files_says() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let site = Site::apply().await?;
    for proxy in &site.proxies {
        until("the API is served over TLS", async || {
            let answer = proxy.get("/health", &[]).await?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        })
        .await?;
    }
    redirects_to_https(&site).await?;
    encrypts_to_the_api(&site).await?;
    wants_a_token(&site).await?;
    has_versions_and_grpc(&site).await?;
    limits_each_user(&site).await?;
    renews_its_certificate(&site).await?;
    scales_on_what_waits_in_kafka(&site).await
}

async fn redirects_to_https(site: &Site) -> Result<()> {
    let answer = site.plain.get("/api/v1/tasks?done=true", &[]).await?;
    ensure!(answer.status == 301, "{answer:?}");
    ensure!(answer.header("location") == "https://api.example.com/api/v1/tasks?done=true", "{answer:?}");
    Ok(())
}

/// The proxies want the certificate that the policy names; a backend that has another gets nothing.
async fn encrypts_to_the_api(site: &Site) -> Result<()> {
    let stats = format!("http://{}:19001/stats/prometheus?usedonly", site.addresses[0].ip());
    let cluster = format!("httproute/{}/health/rule/0", site.scenario.namespace);
    let (_, counted) = tidegate_stack::get(&stats, Duration::from_secs(5)).await?;
    let handshakes = format!("envoy_cluster_ssl_handshake{{envoy_cluster_name=\"{cluster}\"}}");
    ensure!(counted.contains(&handshakes), "no {handshakes}");
    for (name, status) in [("other.tasks.svc", 503), ("task-api.tasks.svc", 200)] {
        let hostname = format!(r#"{{"spec":{{"validation":{{"hostname":"{name}"}}}}}}"#);
        site.scenario.kubectl(&["patch", "backendtlspolicy", "task-api", "--type=merge", "-p", &hostname]).await?;
        until(&format!("{name} is answered {status}"), async || {
            let answer = site.get("/health", &[]).await?;
            ensure!(answer.status == status, "{answer:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn wants_a_token(site: &Site) -> Result<()> {
    let foreign = TokenKey::generate()?;
    let refused = [
        None,
        Some(foreign.token(ISSUER, AUDIENCE, "eve", 600)?),
        Some(site.keys.token(ISSUER, AUDIENCE, "eve", -600)?),
        Some(site.keys.token("https://elsewhere.example.com/", AUDIENCE, "eve", 600)?),
    ];
    for token in refused {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        let answer = site.get(TASKS, &headers).await?;
        ensure!(answer.status == 401, "{bearer:?}: {answer:?}");
    }
    let other = format!("Bearer {}", site.keys.token(ISSUER, "https://other.example.com", "eve", 600)?);
    let answer = site.get(TASKS, &[("authorization", &other)]).await?;
    ensure!(answer.status == 403, "a token for somebody else: {answer:?}");
    let answer = site.get(TASKS, &[("authorization", &site.bearer("ada")?)]).await?;
    ensure!(answer.status == 200 && answer.body.contains("Annotate a Deployment"), "{answer:?}");
    Ok(())
}

async fn has_versions_and_grpc(site: &Site) -> Result<()> {
    let bearer = site.bearer("grace")?;
    let authorized = [("authorization", bearer.as_str())];
    until("both versions answer on the path of the second", async || {
        let answers = site.proxies[1].burst(20, "/api/v2/tasks", &authorized).await?;
        ensure!(statuses(&answers) == Statuses::from([(200, 20)]), "{:?}", statuses(&answers));
        let second = answers.iter().filter(|answer| answer.header("x-replica").starts_with("task-api-v2-")).count();
        ensure!((1..=10).contains(&second), "{second} of 20 by the second");
        Ok(())
    })
    .await?;
    let missing = site.get("/api/v3/tasks", &authorized).await?;
    ensure!(missing.status == 404, "{missing:?}");

    let list = async |headers: &[(&str, &str)]| site.proxies[0].grpc("/tasks.v1.Tasks/List", headers).await;
    let answer = list(&authorized).await?;
    ensure!(answer.status == 200 && answer.body.contains("Annotate a Deployment"), "{answer:?}");
    let answer = list(&[]).await?;
    ensure!(answer.header("grpc-status") == "16", "without a token: {answer:?}");
    Ok(())
}

/// 100 a minute for each user, of both proxies and both paths, whatever the request itself says who the user is.
async fn limits_each_user(site: &Site) -> Result<()> {
    early_in_the_window(60).await?;
    let bearer = site.bearer("lin")?;
    let forged = [("authorization", bearer.as_str()), ("x-user-id", "somebody-else")];
    let mut all = Vec::new();
    for (proxy, path) in site.proxies.iter().zip([TASKS, "/api/v2/tasks"]) {
        all.extend(proxy.burst(60, path, &forged).await?);
    }
    let found = statuses(&all);
    ensure!(found == Statuses::from([(200, 100), (429, 20)]), "{found:?}");
    let other = site.bearer("ada")?;
    let answer = site.get(TASKS, &[("authorization", &other)]).await?;
    ensure!(answer.status == 200, "another user is let in: {answer:?}");
    Ok(())
}

/// The proxies serve the next certificate while requests go on, and none of them fails.
async fn renews_its_certificate(site: &Site) -> Result<()> {
    let first = site.get("/health", &[]).await?.certificate.context("no certificate")?;
    until("the next certificate is served", async || {
        // A connection keeps the certificate that it began with.
        let entrance = site.proxies[0].anew()?;
        let answer = entrance.get("/health", &[]).await?;
        ensure!(answer.status == 200, "{answer:?}");
        ensure!(answer.certificate.as_ref() != Some(&first), "it is the first one still");
        Ok(())
    })
    .await
}

async fn scales_on_what_waits_in_kafka(site: &Site) -> Result<()> {
    site.scenario.wait_for_replicas("task-api", 2).await?;
    // 280 messages at 50 per replica are 6 replicas; the requests alone would be the minimum, 2.
    Kafka::at(BROKER).produce("task-events", 0, 280).await?;
    site.scenario.wait_for_replicas("task-api", 6).await
}
