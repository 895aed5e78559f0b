//! The look at all workloads every 15 seconds, as often as the HPA looks.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tidegate_core::{plan::Plan, workload::WorkloadId};
use tokio::{sync::watch, task::yield_now, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Cause, Change, History, Recorder};
use crate::demand::Demands;

/// Time between two looks. They are at whole multiples of it, so that all processes look at the same instants.
const INTERVAL: Duration = Duration::from_secs(15);
/// Workloads after which other tasks get their turn: a fraction of a millisecond, so that calls do not wait for thousands of workloads.
const AT_ONCE: usize = 64;
/// Most lines in the log for one look.
const LOGGED: usize = 100;

/// Records the changes of all workloads of the Plan, until `stop` is cancelled. Writes a line for each into the log while it `logs`:
/// one of several processes is enough.
pub async fn record(
    history: Arc<History>,
    demands: Arc<Demands>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    logs: impl Fn() -> bool + Send,
    stop: CancellationToken,
) {
    let mut recorder = Recorder::default();
    loop {
        let (instant, wait) = next_look(demands.now());
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.cancelled() => return,
        }
        let Some(plan) = plan.borrow().clone() else { continue };
        recorder.keep(&plan);
        let (logs, mut lines) = (logs(), 0);
        for (index, id) in plan.workloads.keys().enumerate() {
            if let Some(change) = recorder.look(&history, id, &plan, &demands, instant).filter(|_| logs) {
                lines += usize::from(is_news(&change));
                if lines <= LOGGED {
                    log(id, &change);
                }
            }
            if index % AT_ONCE == AT_ONCE - 1 {
                yield_now().await;
            }
        }
        if lines > LOGGED {
            tracing::info!(changes = lines - LOGGED, "more wanted numbers changed than are logged: /history has them");
        }
    }
}

/// The instant of the next look, and the time until then.
fn next_look(now: DateTime<Utc>) -> (DateTime<Utc>, Duration) {
    let interval = INTERVAL.as_millis() as i64;
    let next = (now.timestamp_millis().div_euclid(interval) + 1) * interval;
    let wait = Duration::from_millis((next - now.timestamp_millis()).unsigned_abs());
    (DateTime::from_timestamp_millis(next).unwrap_or(now), wait)
}

fn is_news(change: &Change) -> bool {
    !matches!(change.cause, Cause::Start | Cause::Pods)
}

fn log(id: &WorkloadId, change: &Change) {
    if !is_news(change) {
        return;
    }
    let Change { at: _, from, to, cause, detail, why, replicas } = change;
    tracing::info!(
        namespace = id.namespace,
        kind = id.kind.as_str(),
        name = id.name,
        from = *from,
        to = *to,
        cause = cause.as_str(),
        detail = detail.as_deref(),
        signal = why.decisive.map(|decisive| decisive.signal.metric_name()),
        demand = why.decisive.map(|decisive| f64::from(decisive.demand)),
        target = why.decisive.map(|decisive| f64::from(decisive.per_replica)),
        limit = why.limit.map(super::Limit::as_str),
        replicas = replicas.wanted,
        ready = replicas.ready,
        %why,
        "the wanted number of replicas or what it is made of changed"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_processes_look_at_the_same_instants() {
        for (now, next, wait) in [
            ("2026-03-02T12:00:00.000Z", "2026-03-02T12:00:15Z", 15_000),
            ("2026-03-02T12:00:00.001Z", "2026-03-02T12:00:15Z", 14_999),
            ("2026-03-02T12:00:59.900Z", "2026-03-02T12:01:00Z", 100),
        ] {
            let (instant, time) = next_look(now.parse().unwrap());
            assert_eq!((instant, time.as_millis()), (next.parse::<DateTime<Utc>>().unwrap(), wait), "{now}");
        }
    }
}
