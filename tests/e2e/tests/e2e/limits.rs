//! The limits of `examples/limits`, exact to the request, and their part in the demand: a circuit breaker's refusals are in it, a
//! rate limit's are not, and a retried request counts once.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use tidegate_sim::load::{Load, LoadSpec, Profile, Traffic};
use tidegate_stack::scrape;

use tidegate_e2e::{
    cluster::Cluster,
    kubectl::get,
    requests::{Answer, Entrance, Statuses, early_in_the_window, statuses},
    scenario::{Scenario, until},
};

const GATEWAY: &str = include_str!("../../../../examples/limits/gateway.yaml");
const LOCAL: &str = include_str!("../../../../examples/limits/local.yaml");
const GLOBAL: &str = include_str!("../../../../examples/limits/global.yaml");
const PER_USER: &str = include_str!("../../../../examples/limits/per-user.yaml");
const BREAKER: &str = include_str!("../../../../examples/limits/breaker.yaml");
const RETRY: &str = include_str!("../../../../examples/limits/retry.yaml");

const HOST: &str = "tasks.example.com";

/// The example in a namespace, and its two proxies.
struct Limits {
    scenario: Scenario,
    proxies: Vec<SocketAddr>,
    entrances: Vec<Entrance>,
}

impl Limits {
    async fn apply(name: &str, manifests: &[&str]) -> Result<Self> {
        let scenario = Scenario::new(name).await?;
        scenario.apply(&manifests.join("---\n")).await?;
        let proxies = scenario.proxies("web", 8080, 2).await?;
        let entrances = proxies.iter().map(|proxy| Entrance::http(HOST, *proxy)).collect::<Result<Vec<_>>>()?;
        for entrance in &entrances {
            until("the route without a limit answers", async || {
                let status = entrance.get("/", &[]).await?.status;
                ensure!(status == 200, "{status}");
                Ok(())
            })
            .await?;
        }
        Ok(Self { scenario, proxies, entrances })
    }

    /// Requests to each proxy at once; the statuses by proxy.
    async fn burst(&self, each: usize, path: &str, headers: &[(&str, &str)]) -> Result<Vec<Statuses>> {
        let bursts = self.entrances.iter().map(|entrance| entrance.burst(each, path, headers));
        let answers = futures::future::try_join_all(bursts).await?;
        Ok(answers.iter().map(statuses).collect())
    }

    /// The same, as one sum.
    async fn sum(&self, each: usize, path: &str, headers: &[(&str, &str)]) -> Result<Statuses> {
        let mut sum = Statuses::new();
        for (status, count) in self.burst(each, path, headers).await?.into_iter().flatten() {
            *sum.entry(status).or_default() += count;
        }
        Ok(sum)
    }

    /// Waits until Envoy's rate limit service has the limits of this namespace. Before it has, requests pass.
    async fn limits_arrived(&self, routes: &[&str]) -> Result<()> {
        until("the rate limit service has the limits", async || {
            let pods = get(&["pods", "-n", "envoy-gateway-system", "-l", "app.kubernetes.io/name=envoy-ratelimit"]);
            let pods = pods.await?;
            let ip = pods["items"][0]["status"]["podIP"].as_str().context("it has no pod with an address")?.to_owned();
            let (_, known) = tidegate_stack::get(&format!("http://{ip}:6070/rlconfig"), crate::SECOND).await?;
            for route in routes {
                let rule = format!("httproute/{}/{route}/rule/0", self.scenario.namespace);
                ensure!(known.contains(&rule), "{rule} is not in:\n{known}");
            }
            Ok(())
        })
        .await
    }

    /// A counter of the cluster of a route, of both proxies.
    async fn counter(&self, metric: &str, route: &str) -> Result<f64> {
        let series = format!("{metric}{{envoy_cluster_name=\"httproute/{}/{route}/rule/0\"}}", self.scenario.namespace);
        let mut sum = 0.0;
        for proxy in &self.proxies {
            sum += scrape(&proxy.ip().to_string(), "^cluster.httproute").await?.get(&series).unwrap_or(&0.0);
        }
        Ok(sum)
    }
}

fn counts<const N: usize>(counts: [(u16, usize); N]) -> Statuses {
    BTreeMap::from(counts)
}

#[tokio::test]
async fn limits_are_exact_by_proxy_in_sum_and_by_user_and_what_they_refuse_is_no_demand() -> Result<()> {
    let cluster = Cluster::shared_for_long().await?;
    let limits = Limits::apply("limits", &[GATEWAY, LOCAL, GLOBAL, PER_USER]).await?;
    limits.limits_arrived(&["search", "feed"]).await?;

    // Local: 10 an hour from each of two proxies.
    let local = limits.burst(25, "/export", &[]).await?;
    ensure!(local == [counts([(200, 10), (429, 15)]), counts([(200, 10), (429, 15)])], "{local:?}");

    // Global: 20 an hour from both together.
    early_in_the_window(3600).await?;
    let global = limits.sum(25, "/search", &[]).await?;
    ensure!(global == counts([(200, 20), (429, 30)]), "{global:?}");
    let refused = limits.counter("envoy_cluster_ratelimit_over_limit", "search").await?;
    ensure!(refused == 30.0, "Envoy counts {refused} refusals");
    let sent = limits.counter("envoy_cluster_upstream_rq_total", "search").await?;
    ensure!(sent == 20.0, "{sent} requests reached the backend");

    // For each user 6 a minute, for all who are not named 2.
    early_in_the_window(60).await?;
    for (user, allowed) in [(&[("x-user-id", "ada")][..], 6), (&[("x-user-id", "grace")], 6), (&[], 2)] {
        let found = limits.sum(5, "/feed", user).await?;
        ensure!(found == counts([(200, allowed), (429, 10 - allowed)]), "{user:?}: {found:?}");
    }
    let answer = limits.entrances[0].get("/feed", &[("x-user-id", "ada")]).await?;
    let (remaining, reset) = (answer.header("x-ratelimit-remaining"), answer.header("x-ratelimit-reset"));
    ensure!(answer.status == 429 && remaining == "0", "{answer:?}");
    ensure!(reset.parse::<u64>().is_ok_and(|seconds| seconds <= 60), "{answer:?}");

    // 60 requests/s would be 3 replicas, if they were demand; 15 are one.
    let _served = limits.scenario.load(limits.proxies[0], Traffic::http(HOST, "/")?, 15.0).await?;
    let profile = Profile::starting_at(60.0).hold(Duration::from_secs(3600));
    let _refused = Load::start(LoadSpec::new(Traffic::http(HOST, "/search")?, profile), limits.proxies.clone());
    let explained = async {
        until("explain names what the limit refused", async || {
            let page = cluster.explain(&["deployment/task-api", "-n", &limits.scenario.namespace]).await?;
            let line = page
                .lines()
                .find_map(|line| line.trim().strip_suffix(" requests/s refused by a rate limit: not demand"));
            let rate: f64 = line.with_context(|| page.clone())?.parse()?;
            ensure!((50.0..70.0).contains(&rate) && page.contains("1 replica wanted"), "{page}");
            Ok(())
        })
        .await
    };
    limits.scenario.stays_through("task-api", explained, Duration::from_secs(5), |replicas| replicas == 1).await?;

    // By now most of a minute is over: the next window lets the user in again.
    until("the next window lets the user in", async || {
        let status = limits.entrances[0].get("/feed", &[("x-user-id", "ada")]).await?.status;
        ensure!(status == 200, "{status}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_circuit_breaker_opens_and_closes_and_what_it_refuses_is_demand() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let limits = Limits::apply("breaker", &[GATEWAY, BREAKER]).await?;
    let entrance = &limits.entrances[0];
    until("the circuit breaker is there, and opens", async || {
        let answers = entrance.burst(30, "/report", &[]).await?;
        let found = statuses(&answers);
        ensure!(found.keys().eq(&[200, 503]), "{found:?}");
        let open = |answer: &&Answer| answer.header("x-envoy-overloaded") == "true";
        let refused = answers.iter().filter(open).count();
        ensure!(refused == found[&503], "{refused} of {found:?} have x-envoy-overloaded");
        Ok(())
    })
    .await?;
    // It is closed as soon as the requests are over.
    for _ in 0..5 {
        let answer = entrance.get("/report", &[]).await?;
        ensure!(answer.status == 200, "{answer:?}");
    }

    // 90 requests/s at 20 per replica are 5 replicas, though at most 2 at once get through: 40/s at 50 ms each.
    let load = limits.scenario.load(limits.proxies[0], Traffic::http(HOST, "/report")?, 90.0).await?;
    limits.scenario.wait_for_replicas("task-api", 5).await?;
    let counts = load.snapshot().counts;
    ensure!(counts.unavailable > counts.ok, "more were refused than served: {counts:?}");
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_retried_counts_once() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    // Its backend refuses what it cannot work on at once, so that many requests are retried.
    let busy = GATEWAY.replace("--concurrency=2", "--concurrency=1").replace("--queue=100", "--queue=0");
    let limits = Limits::apply("retry", &[&busy, RETRY]).await?;
    let load = limits.scenario.load(limits.proxies[0], Traffic::http(HOST, "/checkout")?, 50.0).await?;
    // 50 requests/s at 20 per replica; with retries they are up to 150, which are 8 replicas.
    let reached = limits.scenario.wait_for_replicas("task-api", 3);
    limits.scenario.stays_through("task-api", reached, Duration::from_secs(10), |replicas| replicas <= 3).await?;
    drop(load);
    let [sent, retries] = ["envoy_cluster_upstream_rq_total", "envoy_cluster_upstream_rq_retry"];
    let (sent, retries) = (limits.counter(sent, "checkout").await?, limits.counter(retries, "checkout").await?);
    ensure!(retries > 0.2 * sent, "{retries} of {sent} requests were retries");
    Ok(())
}
