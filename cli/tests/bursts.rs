//! Bursts beside the HPA: what Tidegate adds at once, the HPA never takes away within its window.
#![allow(missing_docs, reason = "tests say what they do in their names")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use proptest::prelude::*;
use serde_json::json;
use tidegate_cluster::Objects;
use tidegate_core::{plan::Plan, trigger::Trigger, workload::WorkloadId};
use tidegate_scaler::{demand::Demands, store::SignalStore};
use tidegate_sim::{
    hpa::{ControllerFlags, Hpa, HpaSpec, MetricResult},
    quantity::Milli,
};
use tokio::time::advance;

const SECOND: Duration = Duration::from_secs(1);
/// Requests/s that one replica carries.
const TARGET: u32 = 100;
const MAXIMUM: u32 = 20;

/// A Deployment behind one route, with one replica.
fn planned() -> Plan {
    let mut objects = Objects::default();
    let annotations = json!({"tidegate.dev/requests-per-second": TARGET.to_string(),
        "tidegate.dev/max-replicas": MAXIMUM.to_string()});
    for object in [
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "api", "namespace": "shop", "uid": "1", "annotations": annotations},
            "spec": {"replicas": 1, "template": {"metadata": {"labels": {"app": "api"}}}},
            "status": {"replicas": 1, "readyReplicas": 1}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "shop"},
            "spec": {"selector": {"app": "api"}, "ports": [{"port": 80}]}}),
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "api", "namespace": "shop"},
            "spec": {"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": [{"name": "api", "port": 80}]}]}}),
    ] {
        objects.apply(object).unwrap();
    }
    objects.plan()
}

/// An hour at most of a load that changes at random, with the HPA's looks: the bursts that the HPA took back within its window, as
/// (second, added, taken back to).
async fn taken_back(loads: &[(u32, u32)], offset: u64) -> Vec<(u64, u32, u32)> {
    let mut plan = planned();
    let id: WorkloadId = plan.workloads.keys().next().unwrap().clone();
    let trigger = Trigger::of_workload(&id, plan.workloads[&id].intent.as_ref().unwrap());
    let stale_after = Duration::from_secs(300);
    let demands = Demands::new(Arc::new(SignalStore::new(stale_after)), stale_after).with_bursts(true);
    demands.signals().keep(&plan);
    let mut hpa =
        Hpa::new(HpaSpec { min_replicas: 1, max_replicas: MAXIMUM, behavior: None }, ControllerFlags::default());
    let window = ControllerFlags::default().downscale_stabilization.as_secs();
    let (mut second, mut added, mut faults) = (0_u64, Vec::<(u64, u32)>::new(), Vec::new());
    for (requests, lasts) in loads {
        for _ in 0..*lasts {
            second += 1;
            advance(SECOND).await;
            let shown = [f64::from(*requests), 0.0, 0.0];
            demands
                .signals()
                .commit_values("test", Ok(HashMap::from([("httproute/shop/api/rule/0".to_owned(), shown)])));
            for burst in demands.bursts(&plan) {
                plan.workloads.get_mut(&id).unwrap().replicas.wanted = burst.needs;
                added.push((second, burst.needs));
            }
            if second % 15 != offset {
                continue;
            }
            let demand = demands.demand(&trigger, trigger.targets[0], &plan).unwrap().need.value;
            let metric = MetricResult::new("s0", Milli::whole(TARGET.into()), Milli((demand * 1000.0).ceil() as i64));
            let now = plan.workloads[&id].replicas.wanted;
            let decision = hpa.sync(Duration::from_secs(second), now, &[metric]);
            plan.workloads.get_mut(&id).unwrap().replicas.wanted = decision.desired;
            let recent = added.iter().filter(|(at, needs)| second - at < window && *needs > decision.desired);
            faults.extend(recent.filter(|_| decision.desired < now).map(|(at, needs)| (*at, *needs, decision.desired)));
        }
    }
    faults
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_hpa_takes_back_no_replica_of_a_burst_within_its_window(
        loads in prop::collection::vec((0_u32..2500, 1_u32..60), 1..60), offset in 0_u64..15,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let faults = runtime.block_on(taken_back(&loads, offset));
        prop_assert!(faults.is_empty(), "{faults:?}");
    }
}
