//! Envoy Gateway's own configuration: changed as an administrator changes it, in its ConfigMap, while Tidegate runs.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tidegate_e2e::{
    cluster::Cluster,
    kubectl::{apply, get},
    scenario::{Scenario, http, http_stack, until},
};
use tidegate_stack::Stack;
use tokio::process::Command;

const CONTROLLER: &str = "example.com/tenant";

/// The configuration of the stack's Envoy Gateway. It reads a file, since it is no pod: the one that its ConfigMap would be mounted as.
struct Configuration {
    file: PathBuf,
    original: Value,
}

impl Configuration {
    fn read() -> Result<Self> {
        let kubeconfig = std::env::var("KUBECONFIG").context("these tests run in the stack, by `make test-e2e`")?;
        let file = Path::new(&kubeconfig).with_file_name("envoy-gateway.yaml");
        let original = serde_json::from_str(&fs::read_to_string(&file)?)?;
        Ok(Self { file, original })
    }

    fn tenants(&self) -> Value {
        let mut config = self.original.clone();
        config["gateway"]["controllerName"] = json!(CONTROLLER);
        config
    }

    /// Has Envoy Gateway run with this configuration, and waits until it does.
    async fn set(&self, config: &Value) -> Result<()> {
        let config = config.to_string();
        let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"envoy-gateway.yaml": config},
            "metadata": {"namespace": "envoy-gateway-system", "name": "envoy-gateway-config"}});
        apply(&config_map.to_string()).await?;
        fs::write(&self.file, &config)?;
        Stack::attach()?.restart("envoy-gateway").await?;
        until("Envoy Gateway is ready", async || {
            let (status, body) = tidegate_stack::get("http://10.245.0.2:8081/readyz", crate::SECOND).await?;
            ensure!(status == 200, "{body}");
            Ok(())
        })
        .await
    }
}

/// The kind of an extension server's filter, and a filter of it.
const TRACER: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tracers.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Tracer, plural: tracers}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
";
const TRACES: &str = "apiVersion: example.com/v1\nkind: Tracer\nmetadata: {name: all}\n";

/// How `tidegate routes` shows the Service of the scenario: the number of its clusters, and why routes to it are not followed.
async fn shown(scenario: &Scenario) -> Result<(usize, String)> {
    // Its exit code is 1 where no route is followed.
    let routes = Command::new("tidegate").args(["routes", "-o", "json"]).output().await?;
    let told = String::from_utf8_lossy(&routes.stderr);
    let routes: Value = serde_json::from_slice(&routes.stdout).with_context(|| format!("tidegate routes: {told}"))?;
    let mut backends = routes.as_array().context("routes is no list")?.iter();
    let backend = backends.find(|entry| entry["backend"]["namespace"] == scenario.namespace).context("no backend")?;
    let clusters = backend["clusters"].as_array().map_or(0, Vec::len);
    Ok((clusters, backend["notFollowed"].to_string()))
}

async fn is_followed(scenario: &Scenario) -> Result<()> {
    until("the route is followed", async || {
        let (clusters, why) = shown(scenario).await?;
        ensure!(clusters == 1, "{why}");
        Ok(())
    })
    .await
}

/// Tidegate's pods, each with its identity and its restarts.
async fn pods() -> Result<Vec<(Value, Value)>> {
    let pods = get(&["pods", "-n", "tidegate-system", "-l", "app.kubernetes.io/name=tidegate"]).await?;
    let pods = pods["items"].as_array().context("no list of pods")?.iter();
    Ok(pods
        .map(|pod| (pod["metadata"]["uid"].clone(), pod["status"]["containerStatuses"][0]["restartCount"].clone()))
        .collect())
}

async fn follow(configuration: &Configuration) -> Result<()> {
    let scenario = Scenario::new("configured").await?;
    let before = pods().await?;
    apply(&format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{name: tenant}}\nspec: {{controllerName: {CONTROLLER}}}\n"
    ))
    .await?;
    let annotations = [("requests-per-second", "20"), ("scale-down-after", "5s"), ("max-replicas", "8")];
    let manifests = http_stack(&annotations).replace("gatewayClassName: eg", "gatewayClassName: tenant");
    scenario.apply(&manifests).await?;
    let told = scenario.event("Deployment", "task-api", "NoRoute").await?;
    ensure!(told.contains(CONTROLLER), "{told}");
    let (clusters, why) = shown(&scenario).await?;
    ensure!(clusters == 0 && why.contains("OtherController"), "{clusters} clusters, {why}");

    configuration.set(&configuration.tenants()).await?;
    is_followed(&scenario).await?;
    let entrance = scenario.gateway("web", 8080).await?;
    let _load = scenario.load(entrance, http()?, 50.0).await?;
    scenario.wait_for_replicas("task-api", 3).await?;

    // A filter of a kind that Envoy Gateway does not know: it answers 500.
    apply(TRACER).await?;
    until("the API server serves Tracers", async || scenario.apply(TRACES).await).await?;
    let filter = json!([{"op": "add", "path": "/spec/rules/0/filters", "value":
        [{"type": "ExtensionRef", "extensionRef": {"group": "example.com", "kind": "Tracer", "name": "all"}}]}]);
    scenario.kubectl(&["patch", "httproute", "tasks", "--type=json", "-p", &filter.to_string()]).await?;
    until("the route is not followed, and Envoy Gateway agrees", async || {
        let (clusters, why) = shown(&scenario).await?;
        ensure!(
            clusters == 0 && why.contains("FilterNotFound") && why.contains("\"agrees\":true"),
            "{clusters}: {why}"
        );
        Ok(())
    })
    .await?;
    scenario.stays("task-api", Duration::from_secs(10), |replicas| replicas == 3).await?;

    // Nobody answers at its server, so Envoy Gateway sends its proxies nothing from here on, and no request can be counted.
    let kinds = json!([{"group": "example.com", "version": "v1", "kind": "Tracer"}]);
    let manager = json!({"name": "tracing", "resources": kinds,
        "hooks": {"xdsTranslator": {"post": ["Cluster"]}}, "service": {"fqdn": {"hostname": "localhost", "port": 1}}});
    let mut extended = configuration.tenants();
    extended["extensionManagers"] = json!([manager]);
    configuration.set(&extended).await?;
    is_followed(&scenario).await?;
    ensure!(pods().await? == before, "Tidegate was started again: {:?}, {before:?} before", pods().await?);
    Ok(())
}

#[tokio::test]
async fn a_controller_name_and_a_kind_of_filter_that_envoy_gateways_config_map_gets_are_followed_without_a_restart()
-> Result<()> {
    // Envoy Gateway leaves the Gateways of all other tests meanwhile.
    let _cluster = Cluster::at_the_end().await?.alone().await;
    let configuration = Configuration::read()?;
    let followed = follow(&configuration).await;
    // The other tests want it as it was, however this one ends.
    configuration.set(&configuration.original).await?;
    followed
}
