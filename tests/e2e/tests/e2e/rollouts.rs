//! An Argo Rollout through a canary under load, with Argo's own controller.
//!
//! Argo's plugin for the Gateway API cannot be had from a package registry. The controller's router for Traefik does the same: it writes
//! the weight of each step into an object, a `TraefikService`, and takes no part in traffic. The test copies the weights into the
//! HTTPRoute, as the plugin does.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tidegate_e2e::{
    cluster::Cluster,
    examples::example,
    kubectl::apply,
    scenario::{Scenario, http, until},
};

const TRAEFIK_SERVICE: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: traefikservices.traefik.io}
spec:
  group: traefik.io
  scope: Namespaced
  names: {kind: TraefikService, plural: traefikservices, singular: traefikservice}
  versions:
    - name: v1alpha1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

/// The example, with the router of Traefik in place of the plugin, and steps that wait for the test.
fn cart() -> Result<String> {
    let plugin = "plugins:\n          argoproj-labs/gatewayAPI:\n            httpRoute: cart-route\n            namespace: default\n";
    let changes = [
        ("requests-per-second: \"100\"", "requests-per-second: \"20\"\n    tidegate.dev/scale-down-after: 5s"),
        ("cart.example.com", "tasks.example.com"),
        (plugin, "traefik: {weightedTraefikServiceName: cart}\n"),
        ("pause: { duration: 5m }", "pause: {}"),
        ("weight: 90", "weight: 100"),
        ("weight: 10\n---", "weight: 0\n---"),
        ("--concurrency=8\", \"--service-time=50ms", "--concurrency=50\", \"--service-time=5ms"),
    ];
    Ok(example("canary/argo-rollouts.yaml", &changes)? + WEIGHTS)
}

const WEIGHTS: &str = "---
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: cart}
spec: {weighted: {services: [{name: cart-stable, port: 8000, weight: 100}, {name: cart-canary, port: 8000, weight: 0}]}}
";

/// The Rollout of a scenario.
struct Cart<'a> {
    scenario: &'a Scenario,
    /// Replicas that the load needs now
    need: AtomicU64,
}

impl Cart<'_> {
    async fn rollout(&self) -> Result<Value> {
        self.scenario.get(&["rollout", "cart"]).await
    }

    async fn is(&self, phase: &str) -> Result<()> {
        until(&format!("the Rollout is {phase}"), async || {
            let status = self.rollout().await?["status"].clone();
            ensure!(status["phase"] == phase, "{} {}", status["phase"], status["message"]);
            Ok(())
        })
        .await
    }

    /// Waits until a step has moved this share of the traffic, in percent, and pauses there.
    async fn is_at(&self, canary: u64) -> Result<()> {
        until(&format!("the canary gets {canary} %"), async || {
            let weights =
                weights(&self.scenario.get(&["httproute", "cart-route"]).await?["spec"]["rules"][0]["backendRefs"]);
            ensure!(weights == Some((100 - canary, canary)), "{weights:?}");
            Ok(())
        })
        .await?;
        self.is("Paused").await
    }

    /// Ends the pause of a step, as `kubectl argo rollouts promote` does.
    async fn promote(&self) -> Result<()> {
        let patch = r#"{"status":{"pauseConditions":null}}"#;
        self.scenario
            .kubectl(&["patch", "rollout", "cart", "--subresource=status", "--type=merge", "-p", patch])
            .await
            .map(drop)
    }

    /// Waits until the Rollout has the replicas that the load needs, and keeps exactly these.
    async fn follows(&self, need: u64) -> Result<()> {
        until(&format!("the Rollout has {need} replicas, all available"), async || {
            let rollout = self.rollout().await?;
            let (wanted, available) = (&rollout["spec"]["replicas"], rollout["status"]["availableReplicas"].as_u64());
            ensure!(wanted == need && available >= Some(need), "{wanted} wanted, {available:?} available");
            Ok(())
        })
        .await?;
        self.need.store(need, Ordering::Relaxed);
        self.scenario.stays("rollout/cart", Duration::from_secs(10), |replicas| replicas == need).await
    }

    /// Never ends unless replicas, wanted or available, fall below the need.
    async fn falls_below_its_need(&self) -> Result<()> {
        let mut looks = tokio::time::interval(Duration::from_millis(500));
        loop {
            looks.tick().await;
            let need = self.need.load(Ordering::Relaxed);
            let rollout = self.rollout().await?;
            for replicas in [&rollout["spec"]["replicas"], &rollout["status"]["availableReplicas"]] {
                // The need may have become less since.
                let need = need.min(self.need.load(Ordering::Relaxed));
                let has = replicas.as_u64().unwrap_or(0);
                ensure!(has >= need, "{has} of {need} replicas: {}", rollout["status"]);
            }
        }
    }

    /// Copies the weights of the TraefikService into the HTTPRoute, and never ends.
    async fn copy_weights(&self) -> Result<()> {
        let (mut looks, mut copied) = (tokio::time::interval(Duration::from_millis(500)), None);
        loop {
            looks.tick().await;
            let service = self.scenario.get(&["traefikservice", "cart"]).await?;
            let found = weights(&service["spec"]["weighted"]["services"]);
            if let Some((stable, canary)) = found.filter(|_| found != copied) {
                let at = |backend: u8| format!("/spec/rules/0/backendRefs/{backend}/weight");
                let patch = json!([{"op": "replace", "path": at(0), "value": stable},
                    {"op": "replace", "path": at(1), "value": canary}]);
                self.scenario
                    .kubectl(&["patch", "httproute", "cart-route", "--type=json", "-p", &patch.to_string()])
                    .await?;
                copied = found;
            }
        }
    }
}

/// The weights of the stable and the canary Service.
fn weights(backends: &Value) -> Option<(u64, u64)> {
    let weight = |name: &str| {
        let mut backends = backends.as_array()?.iter();
        backends.find(|backend| backend["name"] == name)?["weight"].as_u64()
    };
    Some((weight("cart-stable")?, weight("cart-canary")?))
}

async fn canary(cluster: &Cluster, cart: &Cart<'_>) -> Result<()> {
    let scenario = cart.scenario;
    let entrance = scenario.gateway("web", 8080).await?;
    let load = scenario.load(entrance, http()?, 50.0).await?;
    cart.follows(3).await?;
    cart.is("Healthy").await?;

    let version = r#"{"spec":{"template":{"metadata":{"annotations":{"version":"2"}}}}}"#;
    scenario.kubectl(&["patch", "deployment", "cart", "-p", version]).await?;
    cart.is_at(10).await?;
    cart.follows(3).await?;
    // 110 requests/s at 20 need 6; the 99 of the stable Service alone would need 5.
    let more = scenario.load(entrance, http()?, 60.0).await?;
    cart.follows(6).await?;

    cart.promote().await?;
    cart.is_at(50).await?;
    // 155 requests/s, half of them on each Service: each alone would need 4.
    let most = scenario.load(entrance, http()?, 45.0).await?;
    cart.follows(8).await?;
    let explained = cluster.explain(&["rollout/cart", "-n", &scenario.namespace]).await?;
    ensure!(explained.contains("8 replicas wanted"), "{explained}");
    cart.need.store(5, Ordering::Relaxed);
    drop(more);
    cart.follows(5).await?;

    cart.promote().await?;
    cart.is("Healthy").await?;
    let hash =
        scenario.get(&["service", "cart-stable"]).await?["spec"]["selector"]["rollouts-pod-template-hash"].clone();
    ensure!(hash == cart.rollout().await?["status"]["stableRS"], "{hash}");
    cart.follows(5).await?;
    let again = scenario.load(entrance, http()?, 95.0).await?;
    cart.follows(10).await?;
    let counts = load.snapshot().counts;
    ensure!(counts.ok_share() > 0.99, "the canary cost requests: {counts:?}");
    cart.need.store(3, Ordering::Relaxed);
    drop((most, again));
    cart.follows(3).await
}

#[tokio::test]
async fn an_argo_rollout_follows_the_demand_on_both_its_services_at_every_step_of_a_canary() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("rollout").await?;
    apply(TRAEFIK_SERVICE).await?;
    let manifests = cart()?;
    until("the API server serves TraefikServices", async || scenario.apply(&manifests).await).await?;
    let cart = Cart { scenario: &scenario, need: AtomicU64::new(0) };
    tokio::select! {
        result = canary(&cluster, &cart) => result,
        below = cart.falls_below_its_need() => below,
        stopped = cart.copy_weights() => stopped,
    }
}
