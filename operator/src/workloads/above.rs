//! Reports to the owners of workloads that need more replicas than their maximum, which would otherwise limit them silently.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use tidegate_core::{
    demand::{Desired, Limit},
    event::{Notice, Reason},
    key::Key,
    plan::Plan,
    signal::Signal,
    workload::WorkloadId,
};
use tokio::time::Instant;

use super::{detail::Detail, reports::report};
use crate::context::Context;

/// Function that returns the replicas that a workload's demand asks for; `None` while nothing is known.
pub type Needs = Arc<dyn Fn(&WorkloadId, &Plan) -> Option<Desired> + Send + Sync>;

/// Demand has asked for more than the maximum for a while.
///
/// Two are equal if the maximum is, however much more is asked for: an episode is one notice for as long as it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AboveMaximum {
    after: Duration,
    wanted: Detail<u32>,
    maximum: u32,
    decided_by: Detail<Option<Signal>>,
}

impl fmt::Display for AboveMaximum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after, wanted, maximum, decided_by } = self;
        let (time, unit) =
            if after.as_secs() % 60 == 0 { (after.as_secs() / 60, "min") } else { (after.as_secs(), "s") };
        write!(f, "demand has asked for more than {maximum} replicas for {time} {unit}, now for {wanted}")?;
        if let Detail(Some(signal)) = decided_by {
            write!(f, " (decided by {signal})")?;
        }
        write!(f, ": raise {}, or requests wait", Key::MaxReplicas.annotation())
    }
}

impl Notice for AboveMaximum {
    fn reason(&self) -> Reason {
        Reason::AboveMaximum
    }
}

/// Since when each workload's demand has asked for more than the maximum.
#[derive(Debug)]
struct Episodes {
    /// Time before an episode is reported: a shorter peak is what a maximum is for
    after: Duration,
    since: HashMap<WorkloadId, Instant>,
}

impl Episodes {
    /// Updates the episode of a workload; returns the notice that is due, if any.
    fn look(&mut self, id: &WorkloadId, desired: Option<Desired>, now: Instant) -> Option<AboveMaximum> {
        let desired = desired?;
        if desired.limit != Some(Limit::MaxReplicas) {
            self.since.remove(id);
            return None;
        }
        let since = *self.since.entry(id.clone()).or_insert(now);
        (now.saturating_duration_since(since) >= self.after).then_some(AboveMaximum {
            after: self.after,
            wanted: Detail(desired.unbounded),
            maximum: desired.replicas,
            decided_by: Detail(desired.decided_by),
        })
    }
}

/// Reports every episode that lasts for `after`, while this replica leads.
pub async fn report_above(after: Duration, needs: Needs, context: Context) {
    let mut episodes = Episodes { after, since: HashMap::new() };
    let look = |plan: &Plan| {
        episodes.since.retain(|id, _| plan.workloads.contains_key(id));
        let now = Instant::now();
        let notice = |id: &WorkloadId| Some((id.clone(), vec![episodes.look(id, needs(id, plan), now)?]));
        plan.workloads.keys().filter_map(notice).collect()
    };
    report(look, context).await;
}

#[cfg(test)]
mod tests {
    use tidegate_core::workload::WorkloadKind;

    use super::*;

    fn id() -> WorkloadId {
        WorkloadId { namespace: "llm".into(), kind: WorkloadKind::Deployment, name: "qwen".into() }
    }

    fn wants(unbounded: u32) -> Desired {
        let limit = (unbounded > 10).then_some(Limit::MaxReplicas);
        Desired { replicas: unbounded.min(10), unbounded, decided_by: Some(Signal::OutputTokens), limit }
    }

    #[test]
    fn a_need_above_the_maximum_is_reported_after_five_minutes_and_a_short_peak_is_not() {
        let mut episodes = Episodes { after: Duration::from_mins(5), since: HashMap::new() };
        let start = Instant::now();
        let mut told = |minutes: u64, needs| {
            let told = episodes.look(&id(), needs, start + Duration::from_mins(minutes));
            told.map(|told| told.to_string())
        };
        assert_eq!(told(0, Some(wants(14))), None);
        assert_eq!(told(4, Some(wants(9))), None);
        assert_eq!(told(5, Some(wants(14))), None, "it was enough in between");
        assert_eq!(told(9, None), None, "what is not known ends nothing");
        assert_eq!(
            told(10, Some(wants(12))).as_deref(),
            Some(
                "demand has asked for more than 10 replicas for 5 min, now for 12 (decided by output-tokens-per-second): raise \
                 tidegate.dev/max-replicas, or requests wait"
            )
        );
    }
    #[test]
    fn a_time_of_seconds_is_said_in_seconds() {
        let mut episodes = Episodes { after: Duration::from_secs(20), since: HashMap::new() };
        let start = Instant::now();
        assert_eq!(episodes.look(&id(), Some(wants(14)), start), None);
        let told = episodes.look(&id(), Some(wants(14)), start + Duration::from_secs(20)).map(|told| told.to_string());
        assert!(
            told.as_ref().is_some_and(|told| told.contains("more than 10 replicas for 20 s, now for 14")),
            "{told:?}"
        );
    }
}
