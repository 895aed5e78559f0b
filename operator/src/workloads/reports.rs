//! Reports current problems to owners, periodically.

use std::time::Duration;

use tidegate_core::{event::Notice, plan::Plan, workload::WorkloadId};
use tokio::time::Instant;

use super::reference;
use crate::{
    context::{Context, Pass},
    events::Events,
};

const ROUND: Duration = Duration::from_secs(10);

/// Calls `look` every 10 s, while this replica leads; it returns the workloads that have something to report.
pub(crate) async fn report<N: Notice + Send + Sync>(
    look: impl FnMut(&Plan) -> Vec<(WorkloadId, Vec<N>)> + Send,
    context: Context,
) {
    let reports = Reports { look, events: context.events() };
    context.every(ROUND, reports).await;
}

struct Reports<F, N> {
    look: F,
    events: Events<N>,
}

impl<F, N> Pass for Reports<F, N>
where
    F: FnMut(&Plan) -> Vec<(WorkloadId, Vec<N>)>,
    N: Notice,
{
    async fn pass(&mut self, plan: &Plan, _: &Context) -> Instant {
        let found = (self.look)(plan).into_iter().map(|(id, notices)| (reference(plan, &id), notices)).collect();
        self.events.publish_all(found).await;
        Instant::now()
    }
}
