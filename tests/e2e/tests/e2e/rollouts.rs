//! An Argo Rollout through a canary under load, with Argo's own controller.
//!
//! Argo's plugin for the Gateway API cannot be had from a package registry. The controller's router for Traefik does the same: it writes
//! the weight of each step into an object, a `TraefikService`, and takes no part in traffic. The test copies the weights into the
//! HTTPRoute, as the plugin does.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tidegate_e2e::{
    cluster::Cluster,
    kubectl::apply,
    scenario::{Scenario, gateway, http, http_route, task_api, until},
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

/// A Rollout whose pods come from the Deployment `shop`, with both Services, as `examples/rollout.yaml` has it.
const SHOP: &str = "---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: shop
  annotations:
    tidegate.dev/requests-per-second: '20'
    tidegate.dev/min-replicas: '2'
    tidegate.dev/max-replicas: '20'
    tidegate.dev/scale-down-after: 5s
spec:
  workloadRef: {apiVersion: apps/v1, kind: Deployment, name: shop, scaleDown: onsuccess}
  strategy:
    canary:
      stableService: shop-stable
      canaryService: shop-canary
      trafficRouting: {traefik: {weightedTraefikServiceName: shop}}
      steps: [{setWeight: 10}, {pause: {}}, {setWeight: 50}, {pause: {}}]
---
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: shop}
spec: {weighted: {services: [{name: shop-stable, port: 8000, weight: 100}, {name: shop-canary, port: 8000, weight: 0}]}}
---
apiVersion: v1
kind: Service
metadata: {name: shop-stable}
spec: {selector: {app: shop}, ports: [{name: http, port: 8000}]}
---
apiVersion: v1
kind: Service
metadata: {name: shop-canary}
spec: {selector: {app: shop}, ports: [{name: http, port: 8000}]}
";

/// The Rollout of a scenario.
struct Shop<'a> {
    scenario: &'a Scenario,
    /// Replicas that the load needs now
    need: AtomicU64,
}

impl Shop<'_> {
    async fn rollout(&self) -> Result<Value> {
        self.scenario.get(&["rollout", "shop"]).await
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
                weights(&self.scenario.get(&["httproute", "tasks"]).await?["spec"]["rules"][0]["backendRefs"]);
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
            .kubectl(&["patch", "rollout", "shop", "--subresource=status", "--type=merge", "-p", patch])
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
        self.scenario.stays("rollout/shop", Duration::from_secs(10), |replicas| replicas == need).await
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
            let service = self.scenario.get(&["traefikservice", "shop"]).await?;
            let found = weights(&service["spec"]["weighted"]["services"]);
            if let Some((stable, canary)) = found.filter(|_| found != copied) {
                let at = |backend: u8| format!("/spec/rules/0/backendRefs/{backend}/weight");
                let patch = json!([{"op": "replace", "path": at(0), "value": stable},
                    {"op": "replace", "path": at(1), "value": canary}]);
                self.scenario
                    .kubectl(&["patch", "httproute", "tasks", "--type=json", "-p", &patch.to_string()])
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
    Some((weight("shop-stable")?, weight("shop-canary")?))
}

async fn canary(cluster: &Cluster, shop: &Shop<'_>) -> Result<()> {
    let scenario = shop.scenario;
    let entrance = scenario.gateway("web", 8080).await?;
    let load = scenario.load(entrance, http()?, 50.0).await?;
    shop.follows(3).await?;
    shop.is("Healthy").await?;

    let version = r#"{"spec":{"template":{"metadata":{"annotations":{"version":"2"}}}}}"#;
    scenario.kubectl(&["patch", "deployment", "shop", "-p", version]).await?;
    shop.is_at(10).await?;
    shop.follows(3).await?;
    // 110 requests/s at 20 need 6; the 99 of the stable Service alone would need 5.
    let more = scenario.load(entrance, http()?, 60.0).await?;
    shop.follows(6).await?;

    shop.promote().await?;
    shop.is_at(50).await?;
    // 155 requests/s, half of them on each Service: each alone would need 4.
    let most = scenario.load(entrance, http()?, 45.0).await?;
    shop.follows(8).await?;
    let explained = cluster.explain(&["rollout/shop", "-n", &scenario.namespace]).await?;
    ensure!(explained.contains("8 replicas wanted"), "{explained}");
    shop.need.store(5, Ordering::Relaxed);
    drop(more);
    shop.follows(5).await?;

    shop.promote().await?;
    shop.is("Healthy").await?;
    let hash =
        scenario.get(&["service", "shop-stable"]).await?["spec"]["selector"]["rollouts-pod-template-hash"].clone();
    ensure!(hash == shop.rollout().await?["status"]["stableRS"], "{hash}");
    shop.follows(5).await?;
    let again = scenario.load(entrance, http()?, 95.0).await?;
    shop.follows(10).await?;
    let counts = load.snapshot().counts;
    ensure!(counts.ok_share() > 0.99, "the canary cost requests: {counts:?}");
    shop.need.store(3, Ordering::Relaxed);
    drop((most, again));
    shop.follows(3).await
}

#[tokio::test]
async fn an_argo_rollout_follows_the_demand_on_both_its_services_at_every_step_of_a_canary() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let scenario = Scenario::new("rollout").await?;
    apply(TRAEFIK_SERVICE).await?;
    let deployment = task_api("shop", &[]);
    // Without the Service, which would lead to all pods at once.
    let (deployment, _) = deployment.split_once("---\napiVersion: v1\n").context("no Service")?;
    let route = http_route("tasks", &[("shop-stable", 100), ("shop-canary", 0)]);
    let manifests = gateway(&[("http", "HTTP", 8080)]) + deployment + &route + SHOP;
    until("the API server serves TraefikServices", async || scenario.apply(&manifests).await).await?;
    let shop = Shop { scenario: &scenario, need: AtomicU64::new(0) };
    tokio::select! {
        result = canary(&cluster, &shop) => result,
        below = shop.falls_below_its_need() => below,
        stopped = shop.copy_weights() => stopped,
    }
}
