//! What keeps the pods from getting ready that held requests wait for.
//!
//! Pods are not watched for this: of ten thousand workloads, a few have requests waiting. Their pods are listed while that lasts.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use futures::{StreamExt, stream};
use k8s_openapi::api::{core::v1::Pod, events::v1::Event};
use kube::{Api, api::ListParams};
use parking_lot::RwLock;
use serde_json::Value;
use tidegate_cluster::Kind;
use tidegate_core::{plan::Plan, workload::WorkloadId};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::pod_reason::{of_events, of_pods, of_workload};
use crate::context::Context;

/// Interval at which it is looked who waits.
const ROUND: Duration = Duration::from_secs(1);
/// Time for which a request waits before it is asked why: most pods are ready soon.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between two looks at the same pods.
const AGAIN: Duration = Duration::from_secs(5);
/// Looks at one time, and in one round: many workloads may be woken together.
const AT_ONCE: usize = 4;
const IN_A_ROUND: usize = 40;
/// Timeout of one look.
const DEADLINE: Duration = Duration::from_secs(2);
/// Most pods of a workload that are looked at.
const PODS: u32 = 20;
/// Most events of a workload that are looked at.
const EVENTS: u32 = 20;

/// Function that returns the workloads of which something is held here.
pub type Waiting = Arc<dyn Fn() -> Vec<WorkloadId> + Send + Sync>;

/// Why no pod of a workload gets ready, where that is known. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Blocked(Arc<RwLock<BTreeMap<WorkloadId, String>>>);

impl Blocked {
    /// The reason, as a clause: `container api crashes: it ended with exit code 1`.
    pub(super) fn why(&self, id: &WorkloadId) -> Option<String> {
        self.0.read().get(id).cloned()
    }

    /// Keeps the reasons up to date until the context stops. Every replica of Tidegate does, for what it holds itself.
    pub async fn follow(self, waiting: Waiting, context: Context) {
        let plans = context.watches.plan();
        let mut due = HashMap::new();
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => {}
                () = context.stop.cancelled() => return,
            }
            let Some(plan) = plans.borrow().clone() else { continue };
            let now = Instant::now();
            let found = due_of(&mut due, not_ready(waiting(), &plan), now);
            self.0.write().retain(|id, _| due.contains_key(id));
            let looks = stream::iter(found).for_each_concurrent(AT_ONCE, |id| async {
                let reason = timeout(DEADLINE, look(&id, &context)).await.ok().flatten();
                match reason {
                    Some(reason) => _ = self.0.write().insert(id, reason),
                    None => _ = self.0.write().remove(&id),
                }
            });
            looks.await;
        }
    }
}

/// Those that have no ready pod.
fn not_ready(waiting: Vec<WorkloadId>, plan: &Plan) -> Vec<WorkloadId> {
    let is_not_ready = |id: &WorkloadId| plan.workloads.get(id).is_some_and(|workload| workload.replicas.ready == 0);
    waiting.into_iter().filter(is_not_ready).collect()
}

/// Those whose pods are to be looked at now, longest due first. `due` has the time of the next look at each that waits.
fn due_of(due: &mut HashMap<WorkloadId, Instant>, waiting: Vec<WorkloadId>, now: Instant) -> Vec<WorkloadId> {
    let known = std::mem::take(due);
    due.extend(waiting.into_iter().map(|id| {
        let at = known.get(&id).copied().unwrap_or(now + PATIENCE);
        (id, at)
    }));
    let mut found: Vec<_> = due.iter().filter(|(_, at)| **at <= now).map(|(id, at)| (*at, id.clone())).collect();
    found.sort_unstable();
    found.truncate(IN_A_ROUND);
    for (_, id) in &found {
        due.insert(id.clone(), now + AGAIN);
    }
    found.into_iter().map(|(_, id)| id).collect()
}

/// Asks the API server for the pods, and where there are none, for the workload itself.
async fn look(id: &WorkloadId, context: &Context) -> Option<String> {
    let selector = context.watches.objects(|objects| objects.pod_selector(id))?;
    let pods = Api::<Pod>::namespaced(context.writer.client().clone(), &id.namespace);
    let listed = pods.list(&ListParams::default().labels(&selector).limit(PODS)).await;
    let listed = listed.inspect_err(|error| tracing::debug!(workload = %id, %error, "cannot list its pods")).ok()?;
    if !listed.items.is_empty() {
        return of_pods(&listed.items);
    }
    let workload = context.writer.api(Kind::of_workload(id.kind), &id.namespace).get(&id.name).await.ok()?;
    if let Some(reason) = of_workload(&serde_json::to_value(&workload.data).unwrap_or(Value::Null)) {
        return Some(reason);
    }
    let uid = workload.metadata.uid?;
    let failures = ListParams::default().fields(&format!("regarding.uid={uid},reason=FailedCreate")).limit(EVENTS);
    let events = Api::<Event>::namespaced(context.writer.client().clone(), &id.namespace).list(&failures).await;
    let events = events.inspect_err(|error| tracing::debug!(workload = %id, %error, "cannot list its events")).ok()?;
    of_events(&events.items, Utc::now())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_core::workload::WorkloadKind;

    use super::*;
    use crate::fixture::context;

    fn id(name: &str) -> WorkloadId {
        WorkloadId { namespace: "shop".to_owned(), kind: WorkloadKind::Deployment, name: name.to_owned() }
    }

    #[test]
    fn pods_are_looked_at_after_a_second_again_each_five_and_not_all_at_once() {
        let (mut due, start) = (HashMap::new(), Instant::now());
        let mut looks = |waiting: &[&str], millis: u64| {
            let waiting = waiting.iter().map(|name| id(name)).collect();
            due_of(&mut due, waiting, start + Duration::from_millis(millis)).len()
        };
        assert_eq!(looks(&["a"], 0), 0);
        assert_eq!((looks(&["a"], 999), looks(&["a", "b"], 1_000)), (0, 1));
        assert_eq!((looks(&["a", "b"], 2_000), looks(&["a", "b"], 5_900)), (1, 0));
        assert_eq!(looks(&[], 6_000), 0);
        assert_eq!(looks(&["a"], 7_000), 0, "it begins to wait anew");
        let many: Vec<_> = (0..100).map(|n| n.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(looks(&many, 10_000), 0);
        assert_eq!((looks(&many, 11_000), looks(&many, 11_100), looks(&many, 11_200)), (40, 40, 20));
    }

    #[tokio::test(start_paused = true)]
    async fn the_reason_is_that_of_the_pods_or_of_the_workload_while_it_has_none() {
        let (server, _term, context) = context();
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": "api"}}},
            "status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}]}});
        context.watches.change(|objects| objects.apply(deployment.clone())).unwrap();
        server.change("/apis/apps/v1/namespaces/shop/deployments/api", &deployment);
        let pods = "/api/v1/namespaces/shop/pods";
        server.change(pods, &json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": []}));
        assert_eq!(
            look(&id("api"), &context).await.as_deref(),
            Some("no pod of it can be created: exceeded quota: small")
        );
        let mut stateful = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": deployment["spec"],
            "metadata": {"name": "db", "namespace": "shop", "uid": "1"}});
        stateful["status"] = json!({});
        context.watches.change(|objects| objects.apply(stateful.clone())).unwrap();
        server.change("/apis/apps/v1/namespaces/shop/statefulsets/db", &stateful);
        let failed = json!({"metadata": {"name": "e"}, "eventTime": null, "note": "exceeded quota: small",
            "deprecatedLastTimestamp": Utc::now().to_rfc3339()});
        server.change("/apis/events.k8s.io/v1/namespaces/shop/events", &json!({"metadata": {}, "items": [failed]}));
        let db = WorkloadId { kind: WorkloadKind::StatefulSet, ..id("db") };
        let quota = "no pod of it can be created: exceeded quota: small";
        assert_eq!(look(&db, &context).await.as_deref(), Some(quota));
        let pulling = json!({"name": "api", "image": "a", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff"}}});
        server.change(
            pods,
            &json!({"items": [{"metadata": {"name": "api-1"}, "status": {"containerStatuses": [pulling]}}]}),
        );
        assert_eq!(
            look(&id("api"), &context).await.as_deref(),
            Some("container api is not started (ImagePullBackOff)")
        );
        assert_eq!(look(&id("unknown"), &context).await, None);
        assert_eq!(server.writes(), [""; 0]);
    }
}
