//! Models behind an AI gateway: tokens per second, counted on the way, decide replicas through the real KEDA.
//!
//! `tidegate_e2e::llm` says which parts are real here.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};

use crate::standalone::{scaled_object, scaler};
use tidegate_e2e::{
    cluster::Cluster,
    llm::{Chat, Entrance, ai_gateway, ai_route, model_server},
    scenario::{Scenario, until},
};
use tidegate_sim::traces::Prompt;
use tokio::time::interval;

const FAST: [&str; 2] = ["--prefill=1000000", "--decode=100000"];

/// A model of Deployment `qwen` behind Gateway `ai`, with these annotations. Models of other tests have the same name.
async fn model(scenario: &Scenario, annotations: &[(&str, &str)], args: &[&str]) -> Result<Chat> {
    let entrance = named_model(scenario, "m", annotations, args).await?;
    answering(&entrance, "m").await
}

async fn named_model(scenario: &Scenario, name: &str, annotations: &[(&str, &str)], args: &[&str]) -> Result<Entrance> {
    let named = format!("--model={name}");
    let manifests = ai_route(&scenario.namespace, "chat", name, "qwen")
        + &model_server("qwen", annotations, &[&[named.as_str()], args].concat())
        + &ai_gateway();
    scenario.apply(&manifests).await?;
    Entrance::of(scenario, 8080).await
}

/// A client of this model, once that answers.
async fn answering(entrance: &Entrance, model: &str) -> Result<Chat> {
    let chat = Chat::new(entrance, model);
    until(&format!("{model} answers"), async || chat.ask(&prompt(1, 1)).await).await?;
    Ok(chat)
}

fn prompt(input: u64, output: u64) -> Prompt {
    Prompt { input, output, blocks: Vec::new() }
}

/// Output of `explain`, in one line.
async fn explained(cluster: &Cluster, scenario: &Scenario) -> Result<String> {
    let page = cluster.explain(&["deployment/qwen", "-n", &scenario.namespace]).await?;
    Ok(page.split_whitespace().collect::<Vec<_>>().join(" "))
}

async fn one_replica(cluster: &Cluster, scenario: &Scenario) -> Result<()> {
    let replicas = scenario.replicas("qwen").await?;
    ensure!(replicas == 1, "{replicas} replicas: {}", explained(cluster, scenario).await?);
    Ok(())
}

#[tokio::test]
async fn a_model_behind_an_ai_gateway_follows_the_tokens_that_it_writes() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("tokens").await?;
    let annotations = [("output-tokens-per-second", "200"), ("scale-down-after", "5s"), ("max-replicas", "8")];
    let chat = model(&scenario, &annotations, &FAST).await?;
    let routes = scenario.kubectl(&["get", "aigatewayroutes.v1alpha1.aigateway.envoyproxy.io", "chat"]).await;
    routes.context("the cluster serves the older version too")?;

    // 15 x 62 = 930 tokens/s, at 200 a replica.
    let talking = chat.steadily(15.0, || prompt(100, 62));
    scenario.wait_for_replicas("qwen", 5).await?;
    let said = explained(&cluster, &scenario).await?;
    for part in ["MODEL", "output-tokens-per-second", "httproute/e2e-tokens/chat/rule/0"] {
        ensure!(said.contains(part), "no {part}: {said}");
    }
    let table = cluster.tidegate(&["routes"]).await?;
    ensure!(table.contains("MODEL") && table.contains("e2e-tokens/qwen:8000"), "{table}");

    drop(talking);
    scenario.wait_for_replicas("qwen", 1).await
}

#[tokio::test]
async fn long_prompts_count_as_far_as_they_are_not_cached() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("prompts").await?;
    let annotations = [
        ("input-tokens-per-second", "1000"),
        ("output-tokens-per-second", "100000"),
        ("scale-down-after", "5s"),
        ("max-replicas", "8"),
    ];
    let chat = model(&scenario, &annotations, &FAST).await?;

    // The same prompt again and again: 8 x 1024 tokens/s, of which the server reads one token per request.
    let cached = Prompt { input: 1024, output: 1, blocks: vec![1, 2] };
    chat.ask(&cached).await?;
    let again = cached.clone();
    let talking = chat.steadily(8.0, move || again.clone());
    until("explain tells of input tokens", async || {
        let counted = chat.ask(&cached).await?;
        ensure!(counted.cached == 1023, "{counted:?}");
        let said = explained(&cluster, &scenario).await?;
        ensure!(said.contains("input-tokens-per-second"), "{said}");
        Ok(())
    })
    .await?;
    one_replica(&cluster, &scenario).await?;
    drop(talking);

    // Prompts that no server has seen.
    let fresh = AtomicU64::new(10);
    let _talking = chat.steadily(4.5, move || {
        let block = fresh.fetch_add(2, Ordering::Relaxed);
        Prompt { input: 1024, output: 1, blocks: vec![block, block + 1] }
    });
    // 4.5 x 1024 = 4,608 tokens/s.
    scenario.wait_for_replicas("qwen", 5).await
}

#[tokio::test]
async fn a_prometheus_that_scrapes_the_side_cars_gives_the_same_replicas() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let url = "--prometheus-url=http://prometheus.monitoring.svc:9090";
    let (_scaler, address) = scaler(&["--token-source=prometheus".to_owned(), url.to_owned()]).await?;
    let scenario = Scenario::new("tokens-told").await?;
    let entrance = named_model(&scenario, "told", &[], &FAST).await?;
    let chat = answering(&entrance, "told").await?;
    let trigger = "model: told\n        outputTokensPerSecond: \"200\"";
    scenario.apply(&scaled_object("qwen", address, trigger)).await?;
    let _talking = chat.steadily(11.0, || prompt(100, 50));
    // 550 tokens/s.
    scenario.wait_for_replicas("qwen", 3).await
}

#[tokio::test]
async fn tokens_of_a_side_car_that_restarts_are_not_taken_for_new_ones_and_count_again_after_it() -> Result<()> {
    let cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("side-car").await?;
    let annotations = [("output-tokens-per-second", "200"), ("max-replicas", "8")];
    let entrance = named_model(&scenario, "m", &annotations, &FAST).await?;
    let chat = answering(&entrance, "m").await?;
    // 15 x 50 = 750 tokens/s. In 20 s the side-car counts 15,000: if they were taken for new ones, or subtracted, it would show.
    let _talking = chat.steadily(15.0, || prompt(100, 50));
    until("a whole window is measured", async || {
        let tokens = output_tokens(&cluster, &scenario).await?;
        ensure!(tokens > 700.0, "{tokens} tokens/s");
        Ok(())
    })
    .await?;
    for restart in 1..=2 {
        entrance.kill_side_cars().await?;
        // While it is away the requests of its proxy fail for real, so the demand may fall; more than is asked it never is.
        let mut looks = interval(crate::SECOND);
        for _ in 0..20 {
            looks.tick().await;
            let tokens = output_tokens(&cluster, &scenario).await?;
            ensure!(tokens < 1200.0, "{tokens} tokens/s after restart {restart}");
        }
        until("the tokens are measured again", async || {
            let tokens = output_tokens(&cluster, &scenario).await?;
            ensure!((700.0..1200.0).contains(&tokens), "{tokens} tokens/s after restart {restart}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// The demand for output tokens/s that `explain` reports.
async fn output_tokens(cluster: &Cluster, scenario: &Scenario) -> Result<f64> {
    let page = cluster.explain(&["deployment/qwen", "-n", &scenario.namespace, "-o", "json"]).await?;
    let page: serde_json::Value = serde_json::from_str(&page)?;
    Ok(page["signals"][0]["value"].as_f64().unwrap_or_default())
}

#[tokio::test]
async fn tokens_of_a_model_under_another_name_are_not_counted_as_its_own() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("renamed").await?;
    let annotations = [("output-tokens-per-second", "200"), ("max-replicas", "8")];
    let args = ["--model=renamed", "--decode-each=100000", FAST[0], FAST[1]];
    let entrance = named_model(&scenario, "m", &annotations, &args).await?;
    let another = model_server("another", &[], &["--model=another", "--decode-each=100000", FAST[0], FAST[1]])
        + &ai_route(&scenario.namespace, "another", "another", "another");
    scenario.apply(&another).await?;
    answering(&entrance, "m").await?;
    let another = answering(&entrance, "another").await?;
    for _ in 0..20 {
        another.ask(&prompt(10, 10_000)).await?;
    }
    // The route gets a new model name: from now on tokens under it belong to the workload, and earlier tokens are not reassigned.
    let renamed = ai_route(&scenario.namespace, "chat", "renamed", "qwen");
    scenario.apply(&renamed).await?;
    until("explain knows the model by its new name", async || {
        let said = explained(&cluster, &scenario).await?;
        ensure!(said.contains("renamed"), "{said}");
        Ok(())
    })
    .await?;
    one_replica(&cluster, &scenario).await?;
    let chat = answering(&entrance, "renamed").await?;
    // 4 x 300 tokens/s, at 200 a replica.
    let _talking = chat.steadily(4.0, || prompt(10, 300));
    scenario.wait_for_replicas("qwen", 6).await
}

#[tokio::test]
async fn a_queue_that_grows_while_a_server_starts_is_not_answered_with_ever_more_of_them() -> Result<()> {
    let cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("slow-start").await?;
    let annotations = [
        ("output-tokens-per-second", "100000"),
        ("queue-per-replica", "5"),
        ("startup-time", "90s"),
        ("max-replicas", "20"),
    ];
    // One stream at a time, of half a second each; a server takes 20 s to start.
    let args = ["--prefill=1000000", "--decode=100000", "--sequences=1", "--decode-each=20", "--startup=20s"];
    let chat = model(&scenario, &annotations, &args).await?;
    let _talking = chat.steadily(6.0, || prompt(10, 10));
    let asked = until("the queue asks for a second server", async || {
        let replicas = scenario.replicas("qwen").await?;
        ensure!(replicas > 1, "it has {replicas}");
        Ok(replicas)
    })
    .await?;
    until("they are ready", async || {
        let deployment = scenario.get(&["deployment/qwen"]).await?;
        let (now, ready) = (scenario.replicas("qwen").await?, deployment["status"]["readyReplicas"].as_u64());
        // The HPA may have read a longer queue once more before the new pod was visible.
        anyhow::ensure!(ready >= Some(asked) || now <= asked + 2, "{now} replicas while {asked} start");
        ensure!(ready >= Some(asked), "{ready:?} are");
        Ok(())
    })
    .await?;
    let said = explained(&cluster, &scenario).await?;
    ensure!(said.contains("queue-per-replica"), "{said}");
    Ok(())
}
