//! The replicas that a manifest gives as Tidegate's annotations: from the patches through the Plan, the ScaledObjects and the
//! scaler's answers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tidegate_cluster::{
    Objects, Wanted,
    migrate::Migration,
    scaling::{ScalerEndpoint, Settings, render},
};
use tidegate_core::{
    kafka::{PartitionOffsets, lag},
    plan::Plan,
    trigger::Trigger,
};
use tidegate_scaler::{demand::Demands, store::SignalStore};

use crate::{AT_FIRST, STEP, before::replay, keda::Metric, load, steps};

const RELEASE: &str = "tidegate-system.tidegate";
/// A workload of the namespace that no manifest names.
pub(crate) const WORKER: &str = "worker";

/// A cluster in which the patches of a migration were applied, beside what scaled its workloads before.
pub(crate) struct After {
    objects: Objects,
    plan: Plan,
    /// By the name of the workload
    pub(crate) scaled_objects: HashMap<String, Value>,
}

impl After {
    pub(crate) fn of(migration: &Migration, manifest: &Value, now: DateTime<Utc>) -> Self {
        let mut objects = Objects::default();
        let mut apply = |object: Value| _ = objects.apply(object).unwrap();
        apply(json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]}}));
        if ["ScaledObject", "HorizontalPodAutoscaler"].contains(&manifest["kind"].as_str().unwrap()) {
            apply(manifest.clone());
        }
        let none =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": WORKER, "namespace": "shop"}});
        for patch in migration.patches().into_iter().chain([none]) {
            match patch["kind"].as_str().unwrap() {
                "Namespace" => apply(patch),
                _ => workload(patch).into_iter().for_each(&mut apply),
            }
        }
        let settings = Settings {
            scaler: ScalerEndpoint { address: "tidegate:9090".to_owned(), ..ScalerEndpoint::default() },
            release: RELEASE.to_owned(),
            tolerance: true,
        };
        let rendered = render(&objects, &objects.plan(), &settings, now);
        let wrong: Vec<_> = rendered.notices.iter().filter(|(_, notice)| notice.is_error()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        for object in &rendered.scaled_objects {
            objects.apply(object.clone()).unwrap();
        }
        let named = |object: Value| (object["spec"]["scaleTargetRef"]["name"].as_str().unwrap().to_owned(), object);
        let scaled_objects = rendered.scaled_objects.into_iter().map(named).collect();
        let plan = objects.plan();
        Self { objects, plan, scaled_objects }
    }

    /// The replicas of a workload at the end of each minute.
    pub(crate) async fn replicas(&self, workload: &str, start: DateTime<Utc>) -> Vec<u32> {
        let scaled_object = &self.scaled_objects[workload];
        let (own, others): (Vec<_>, Vec<_>) = scaled_object["spec"]["triggers"]
            .as_array()
            .unwrap()
            .iter()
            .partition(|trigger| trigger["name"] == "tidegate");
        let own = own.first().map(|trigger| parsed(trigger));
        let others: Vec<_> = others.into_iter().map(|trigger| Metric::of(trigger, start)).collect();
        let targets = own.iter().flat_map(|trigger| &trigger.targets);
        let mut metrics: Vec<_> =
            targets.map(|target| (target.signal.metric_name().to_owned(), target.per_replica.get())).collect();
        metrics.extend(others.iter().map(|metric| (metric.name.clone(), metric.target)));

        let time = Arc::new(Mutex::new(start));
        let (clock, stale_after) = (Arc::clone(&time), Duration::from_secs(300));
        let demands = Demands::new(Arc::new(SignalStore::new(stale_after)), stale_after)
            .with_clock(Arc::new(move || *clock.lock().unwrap()));
        demands.signals().keep(&self.plan);
        let (mut samples, mut paused) = (Vec::new(), Vec::new());
        for at in steps(start) {
            *time.lock().unwrap() = at;
            tokio::time::advance(STEP).await;
            measure(demands.signals(), workload, at);
            let (mut values, mut active) = (Vec::new(), false);
            if let Some(trigger) = &own {
                let value = |target| demands.demand(trigger, target, &self.plan).ok().map(|demand| demand.need.value);
                values.extend(trigger.targets.iter().copied().map(value));
                active = demands.is_active(trigger, &self.plan).unwrap_or(false);
            }
            for (value, its) in others.iter().map(|metric| (metric.read)(at)) {
                values.push(Some(value));
                active |= its;
            }
            samples.push((values, active));
            if samples.len() % 4 == 0 {
                paused.push(self.paused(scaled_object, at));
            }
        }
        let replicas = replay(scaled_object, &metrics, &samples);
        replicas.into_iter().zip(paused).map(|(scaled, paused)| paused.unwrap_or(scaled)).collect()
    }

    /// The replicas with which hours pause the ScaledObject.
    fn paused(&self, scaled_object: &Value, at: DateTime<Utc>) -> Option<u32> {
        let sleepers = self.objects.sleepers(&self.plan, RELEASE, at);
        let its = sleepers.into_iter().find(|sleeper| scaled_object["metadata"]["name"] == sleeper.name.as_str())?;
        match its.wanted {
            Wanted::Asleep(replicas) => Some(replicas),
            Wanted::Awake | Wanted::AsItIs => None,
        }
    }
}

/// A workload with the annotations of a patch, its Service and its route.
fn workload(mut patch: Value) -> [Value; 3] {
    let name = patch["metadata"]["name"].as_str().unwrap().to_owned();
    patch["metadata"]["uid"] = format!("uid-of-{name}").into();
    patch["spec"] = json!({"replicas": AT_FIRST, "template": {"metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "image": "app", "resources": {"requests": {"cpu": "500m"}}}]}}});
    patch["status"] = json!({"replicas": AT_FIRST, "readyReplicas": AT_FIRST});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]}});
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": [{"name": name, "port": 80}]}]}});
    [patch, service, route]
}

fn parsed(trigger: &Value) -> Trigger {
    let metadata = trigger["metadata"].as_object().unwrap();
    let metadata: HashMap<_, _> =
        metadata.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect();
    Trigger::parse("shop", &metadata).unwrap()
}

/// What Envoy and Kafka show at this instant.
fn measure(signals: &SignalStore, workload: &str, at: DateTime<Utc>) {
    let traffic = [load::requests(at), load::in_flight(at), 0.0];
    signals.commit_values("test", Ok(HashMap::from([(format!("httproute/shop/{workload}/rule/0"), traffic)])));
    let waiting = load::waiting(at);
    let offsets = |partition: u32| {
        let latest = 1_000_000;
        let committed = latest - i64::try_from(waiting[partition as usize]).unwrap();
        PartitionOffsets { earliest: 0, latest, end: latest, committed: Some(committed), stuck: false }
    };
    let swept = |wanted: tidegate_core::kafka::KafkaLag| {
        let chosen = (0..load::PARTITIONS).filter(|id| wanted.partitions.contains(i32::try_from(*id).unwrap()));
        let found = lag(&chosen.map(offsets).collect::<Vec<_>>(), wanted.no_offset).map_err(|error| error.to_string());
        (wanted, found)
    };
    signals.commit_lags(signals.wanted_lags().into_iter().map(swept).collect());
}
