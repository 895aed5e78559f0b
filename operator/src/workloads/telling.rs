//! Telling owners, again and again, what goes wrong at this moment.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tidegate_core::{plan::Plan, workload::WorkloadId};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::reference;
use crate::events::{self, Events};

const ROUND: Duration = Duration::from_secs(10);

/// Looks every 10 s, while this replica leads, until `shutdown` says so; `look` gives the workloads of which there is something to
/// tell.
pub(super) async fn tell<N: events::Notice>(
    mut look: impl FnMut(&Plan) -> Vec<(WorkloadId, Vec<N>)>,
    mut events: Events<N>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        if !events.may_write() {
            continue;
        }
        let Some(plan) = plan.borrow().clone() else { continue };
        let mut affected = HashSet::new();
        for (id, notices) in look(&plan) {
            let reference = reference(&plan, &id);
            events.tell(&reference, &notices).await;
            affected.insert(events::key(&reference));
        }
        events.keep(&affected);
    }
}
