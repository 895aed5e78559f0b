//! The context that the parts of the operator share, and the two loops that they run in.

use std::time::Duration;

use tidegate_core::{event::Notice, plan::Plan};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{events::Events, problems::ProblemBook, watch::Watches, writer::Writer};

/// The context of each part of the operator. Clones share it.
#[derive(Clone)]
pub struct Context {
    /// The objects of the cluster, and the Plan that is made from them
    pub watches: Watches,
    /// Writes to the cluster, while this replica leads
    pub writer: Writer,
    /// Stops every part
    pub stop: CancellationToken,
    /// The name under which events are reported
    pub instance: String,
    /// What is wrong now
    pub problems: ProblemBook,
}

/// A level-triggered part of the operator: only the present state decides, so a missed change does no harm.
pub(crate) trait Pass {
    /// Brings the cluster to the state that the Plan asks for. Returns when the next pass is due, if nothing changes before.
    async fn pass(&mut self, plan: &Plan, context: &Context) -> Instant;

    /// Drops remembered state: this replica does not lead, or has not seen all of the cluster, so it may be outdated.
    fn forget(&mut self) {}
}

impl Context {
    /// Events of one kind of notice, written as this replica.
    pub fn events<N: Notice>(&self) -> Events<N> {
        Events::new(self.writer.clone(), &self.instance, self.problems.page())
    }

    /// Runs a part whenever the Plan or the leadership changes, and when it asks for it; `idle` is the longest pause.
    pub(crate) async fn on_change(self, mut part: impl Pass, idle: Duration) {
        let mut plans = self.watches.plan();
        let mut leadership = self.writer.leadership();
        loop {
            let plan = plans.borrow_and_update().clone();
            let latest = Instant::now() + idle;
            // A half-read cluster would look as if objects were removed.
            let due = if let Some(plan) = plan.filter(|_| self.may_act()) {
                part.pass(&plan, &self).await.min(latest)
            } else {
                part.forget();
                latest
            };
            tokio::select! {
                changed = plans.changed() => if changed.is_err() { return },
                competes = leadership.changed() => if !competes { return },
                () = sleep_until(due) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Runs a part periodically.
    pub(crate) async fn every(self, period: Duration, mut part: impl Pass) {
        let plans = self.watches.plan();
        let mut rounds = interval(period);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => {}
                () = self.stop.cancelled() => return,
            }
            let plan = plans.borrow().clone();
            match plan.filter(|_| self.may_act()) {
                Some(plan) => _ = part.pass(&plan, &self).await,
                None => part.forget(),
            }
        }
    }

    /// Whether this replica leads, and has seen the whole cluster.
    pub(crate) fn may_act(&self) -> bool {
        self.writer.may_write() && self.watches.missing().is_empty()
    }
}
