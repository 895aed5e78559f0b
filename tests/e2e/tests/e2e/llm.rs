//! Models in front of and behind Envoy AI Gateway: `examples/llm` as it stands, but for the hosts of the providers, which are simulated
//! here; and llama.cpp's server, which is real.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_e2e::{
    cluster::Cluster,
    llm::{Chat, Entrance, llama_cpp, model_server},
    scenario::{Scenario, until},
};

/// A provider: its model, and the key that the example has for it.
struct Provider {
    name: &'static str,
    model: &'static str,
    key: &'static str,
}

const OPENAI: Provider = Provider { name: "openai", model: "gpt-4o-mini", key: "replace-with-the-key-of-openai" };
const ANTHROPIC: Provider =
    Provider { name: "anthropic", model: "claude-haiku-4-5", key: "replace-with-the-key-of-anthropic" };

impl Provider {
    /// Applies a server that stands in for the provider: `more` is `--down` for one that fails.
    async fn serve(&self, scenario: &Scenario, more: &[&str]) -> Result<()> {
        let (model, key) = (format!("--model={}", self.model), format!("--api-key={}", self.key));
        let args = [&[model.as_str(), key.as_str(), "--decode=1000000", "--decode-each=1000000"], more].concat();
        scenario.apply(&model_server(self.name, &[], &args)).await
    }
}

/// Files of the example that all of its tests apply. The simulated providers speak no TLS, so providers-tls.yaml is not among them.
const FILES: [&str; 5] = ["gateway", "routes", "providers", "self-hosted", "fallback"];

/// These files of the example, in the namespace of the scenario, with the simulated providers, and without the Namespace and the
/// GatewayClass, which are there.
fn example(namespace: &str, files: &[&str]) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/llm");
    let mut all = String::new();
    for file in files {
        let path = folder.join(format!("{file}.yaml"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let ours = text
            .split("---\n")
            .filter(|part| !part.contains("kind: Namespace") && !part.contains("kind: GatewayClass"));
        all.extend(ours.flat_map(|part| ["---\n", part]));
    }
    for provider in [OPENAI, ANTHROPIC] {
        let (host, own) =
            (format!("api.{}.com", provider.name), format!("{}.{namespace}.svc.cluster.local", provider.name));
        ensure!(all.contains(&host), "the example has no {host}");
        all = all.replace(&host, &own);
    }
    let all = all.replace("port: 443", "port: 8000").replace("qwen.llm.svc", &format!("qwen.{namespace}.svc"));
    Ok(all.replace("namespace: llm", &format!("namespace: {namespace}")))
}

/// Waits until a request to `assistant` is answered by this model.
async fn answers(assistant: &Chat, model: &str) -> Result<()> {
    until(&format!("{model} answers"), async || {
        let (status, answered) = assistant.say(10).await?;
        ensure!((status, answered.as_str()) == (200, model), "{status} by {answered:?}");
        Ok(())
    })
    .await
}

/// Waits until `explain` shows output tokens of exactly these backends of the model's first rule.
async fn only_writes(cluster: &Cluster, scenario: &Scenario, backend: &str) -> Result<()> {
    until(&format!("{backend} has tokens"), async || {
        let page = cluster.explain(&["deployment/qwen", "-n", &scenario.namespace, "-o", "json"]).await?;
        let page: Value = serde_json::from_str(&page)?;
        let backends = page["model"]["rules"][0]["backends"].as_array().context("no backends")?;
        let own = format!("{}/{backend}", scenario.namespace);
        let of = backends
            .iter()
            .find(|one| one["name"] == own.as_str())
            .with_context(|| format!("no {own}: {backends:?}"))?;
        ensure!(of["tokens"][1].as_f64() > Some(0.0), "{of}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_example_llm_falls_back_from_provider_to_provider_to_the_model_of_its_own_which_is_scaled() -> Result<()> {
    let cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("llm").await?;
    OPENAI.serve(&scenario, &[]).await?;
    ANTHROPIC.serve(&scenario, &[]).await?;
    scenario.apply(&example(&scenario.namespace, &FILES)?).await?;
    let entrance = Entrance::of(&scenario, 8080).await?;
    let assistant = Chat::new(&entrance, "assistant");

    answers(&assistant, OPENAI.model).await?;
    only_writes(&cluster, &scenario, OPENAI.name).await?;
    OPENAI.serve(&scenario, &["--down"]).await?;
    answers(&assistant, ANTHROPIC.model).await?;
    only_writes(&cluster, &scenario, ANTHROPIC.name).await?;
    let replicas = scenario.replicas("qwen").await?;
    ensure!(replicas == 1, "{replicas} replicas for the tokens of others");

    ANTHROPIC.serve(&scenario, &["--down"]).await?;
    answers(&assistant, "qwen3").await?;
    // 2.2 x 50 = 110 tokens/s, at 40 a replica.
    let _talking = assistant.streams(2.2, 50);
    scenario.wait_for_replicas("qwen", 3).await
}

#[tokio::test]
async fn a_user_who_has_spent_the_tokens_of_a_minute_is_refused_and_others_are_not() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("budget").await?;
    OPENAI.serve(&scenario, &[]).await?;
    scenario.apply(&example(&scenario.namespace, &[&FILES[..], &["budget"]].concat())?).await?;
    let entrance = Entrance::of(&scenario, 8080).await?;
    let assistant = Chat::new(&entrance, "assistant");
    answers(&assistant, OPENAI.model).await?;
    let (spender, other) = (assistant.by("spender"), assistant.by("other"));
    // The first request of a proxy passes before it is connected to the service of limits, and minutes end.
    until("the user who has spent 10,000 tokens is refused", async || {
        let (status, _) = spender.say(12_000).await?;
        ensure!(status == 429, "{status}");
        Ok(())
    })
    .await?;
    let (status, _) = other.say(10).await?;
    ensure!(status == 200, "{status} for another user");
    let (status, _) = assistant.say(10).await?;
    ensure!(status == 200, "{status} without a user");
    let replicas = scenario.replicas("qwen").await?;
    ensure!(replicas == 1, "{replicas} replicas");
    Ok(())
}

#[tokio::test]
async fn llama_cpp_is_scaled_on_the_requests_that_wait_for_its_slots() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("llama").await?;
    scenario.apply(&llama_cpp("qwen", &[("queue-per-replica", "2"), ("max-replicas", "5")])).await?;
    let server = until("it has a pod", async || {
        let pods = scenario.get(&["pods", "-l", "app=qwen"]).await?;
        let ip = pods["items"][0]["status"]["podIP"].as_str().context("without an address")?;
        Ok(SocketAddr::new(ip.parse()?, 8000))
    })
    .await?;
    let chat = Chat::at(server, "qwen");
    answers(&chat, "qwen").await?;
    // Four are answered at a time, so six wait, at two a replica.
    let _asking = chat.keeps_asking(10, 2000);
    scenario.wait_for_replicas("qwen", 3).await?;
    let said = cluster.explain(&["deployment/qwen", "-n", &scenario.namespace]).await?;
    ensure!(said.contains("requests waiting") && said.contains("queue-per-replica"), "{said}");
    Ok(())
}
