//! Watches only the pods of workloads that serve a model: one watch per workload, by its own selector.
//!
//! A watch of all pods of a cluster would return far more than anything here uses.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tidegate_core::workload::WorkloadId;
use tokio::task::{AbortHandle, JoinSet};

use super::Watches;

/// Follows the workloads of the Plan for as long as the watches run.
pub(super) async fn follow(client: Client, watches: Watches) {
    let mut plans = watches.plan();
    let mut running: BTreeMap<WorkloadId, (String, AbortHandle)> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    while plans.changed().await.is_ok() {
        let Some(plan) = plans.borrow_and_update().clone() else { continue };
        let wanted = watches.objects(|objects| objects.serving_selectors(&plan));
        running.retain(|id, (labels, task)| {
            let same = wanted.get(id) == Some(&*labels) && !task.is_finished();
            if !same {
                task.abort();
                watches.change(|objects| objects.keep_serving_pods(id, |_| false));
            }
            same
        });
        for (id, labels) in wanted {
            running.entry(id).or_insert_with_key(|id| {
                let task = tasks.spawn(watch(client.clone(), watches.clone(), id.clone(), labels.clone()));
                (labels, task)
            });
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn watch(client: Client, watches: Watches, id: WorkloadId, labels: String) {
    let api = Api::<Pod>::namespaced(client, &id.namespace);
    let mut events = watcher(api, watcher::Config::default().labels(&labels)).default_backoff().boxed();
    let mut listed = HashSet::new();
    let apply = |pod: &Pod| watches.change(|objects| objects.apply_serving_pod(&id, pod));
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::Init)) => listed.clear(),
            Ok(Some(watcher::Event::InitApply(pod))) => {
                apply(&pod);
                listed.insert(pod.name_any());
            }
            Ok(Some(watcher::Event::InitDone)) => {
                watches.change(|objects| objects.keep_serving_pods(&id, |name| listed.contains(name)));
            }
            Ok(Some(watcher::Event::Apply(pod))) => apply(&pod),
            Ok(Some(watcher::Event::Delete(pod))) => {
                let gone = pod.name_any();
                watches.change(|objects| objects.keep_serving_pods(&id, |name| name != gone));
            }
            Ok(None) => return,
            // The watch is retried with a growing backoff; the pods that were seen stay.
            Err(error) => tracing::warn!(workload = %id, %error, "the watch of its pods fails"),
        }
    }
}
