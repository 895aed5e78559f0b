//! Adds the replicas of a burst at once, by the scale subresource, instead of at the HPA's next look.
//!
//! Only upwards, only to the number that the HPA will arrive at by the same metric, and only where Tidegate's own ScaledObject is
//! what scales the workload.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tidegate_cluster::{Kind, Objects, scaling::names};
use tidegate_core::{demand::Burst, plan::Plan};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    context::Context,
    metrics::OperatorMetrics,
    writer::{Unwritten, Writer},
};

/// At most one change of a workload in this time.
const ROUND: Duration = Duration::from_secs(1);
/// Time between the report of a burst and its replicas: a look of the HPA that has asked for the metric before writes its number
/// within it. It would write it over ours.
const SETTLE: Duration = Duration::from_millis(250);
/// Changes at one time.
const AT_ONCE: usize = 8;

/// Function that returns the workloads that need more replicas than they have, and keeps their demand for the HPA.
pub type FindBursts = Arc<dyn Fn(&Plan) -> Vec<Burst> + Send + Sync>;
/// Function that reports the demand that is kept to the other pods of Tidegate, which the HPA may ask.
pub type ReportPeaks = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What the scaler knows of bursts.
#[derive(Clone)]
pub struct Bursts {
    /// Finds them
    pub find: FindBursts,
    /// Reports that demand to the other pods
    pub report: ReportPeaks,
}

impl fmt::Debug for Bursts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bursts")
    }
}

/// Adds replicas once a second, while this replica leads.
pub async fn add_replicas(bursts: Bursts, context: Context, metrics: OperatorMetrics) {
    let plans = context.watches.plan();
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = context.stop.cancelled() => return,
        }
        let Some(plan) = plans.borrow().clone() else { continue };
        if !context.may_act() {
            continue;
        }
        let found = (bursts.find)(&plan);
        // Each round, not only before it acts: a pod that has just started knows nothing yet.
        (bursts.report)().await;
        if found.is_empty() {
            continue;
        }
        sleep(SETTLE).await;
        let own = context.watches.objects(|objects| scaled_by_us(objects, &plan, found));
        let added = stream::iter(&own).for_each_concurrent(AT_ONCE, |burst| add(&context.writer, burst, &metrics));
        added.await;
    }
}

/// Those that Tidegate's own ScaledObject scales now: it exists, is not paused, and nobody else's is there.
fn scaled_by_us(objects: &Objects, plan: &Plan, mut found: Vec<Burst>) -> Vec<Burst> {
    let others = objects.foreign_scalers();
    let names: HashMap<_, _> = names(plan).collect();
    found.retain(|burst| {
        let name = names.get(&burst.id).map(String::as_str).unwrap_or_default();
        let own = objects.scaled_object(&burst.id.namespace, name);
        own.is_some_and(|object| object.is_tidegates() && !object.is_paused()) && !others.contains_key(&burst.id)
    });
    found
}

async fn add(writer: &Writer, burst: &Burst, metrics: &OperatorMetrics) {
    let Burst { id, has, needs } = burst;
    // The test fails when somebody else has changed the number meanwhile: then it is theirs, and the next round sees it.
    let patch = json!([
        {"op": "test", "path": "/spec/replicas", "value": has},
        {"op": "replace", "path": "/spec/replicas", "value": needs},
    ]);
    let Ok(patch) = serde_json::from_value(patch) else { return };
    let (api, params, patch) =
        (writer.api(Kind::of_workload(id.kind), &id.namespace), PatchParams::default(), Patch::<()>::Json(patch));
    match writer.write(api.patch_scale(&id.name, &params, &patch)).await {
        Ok(_) => {
            tracing::info!(workload = %id, replicas = needs, before = has, "adds replicas for a burst");
            metrics.burst();
        }
        Err(Unwritten::Refused(kube::Error::Api(status))) if [404, 409, 422].contains(&status.code) => {}
        Err(Unwritten::NotLeading) => {}
        // The HPA gets there by itself.
        Err(error) => tracing::warn!(workload = %id, %error, "cannot add replicas at once"),
    }
}
