//! `prometheus` triggers on the statistics of Envoy.

use super::Trigger;
use crate::migrate::{
    draft::{Draft, averaged},
    promql::{self, Measured},
};

/// Turns a trigger, or says why it stays one of KEDA's.
pub(super) fn turn(trigger: &Trigger<'_>, draft: &mut Draft) -> Result<(), String> {
    let query = trigger.get("query").ok_or("it has no query")?;
    let found = promql::parse(&query)?;
    trigger.is_per_replica()?;
    let threshold = trigger.get("threshold").ok_or("it has no threshold")?;
    let threshold: f64 = threshold.parse().map_err(|_| format!("its threshold is \"{threshold}\""))?;
    let per_replica = threshold / found.factor;
    if !(0.001..=1e12).contains(&per_replica) {
        return Err(format!("its threshold is {threshold}"));
    }
    let key = match found.measured {
        Measured::Requests => "requests-per-second",
        Measured::InFlight => "concurrency",
        Measured::Connections => "connections",
    };
    if draft.has(key) {
        return Err(format!("another trigger gives tidegate.dev/{key}"));
    }
    draft.set(key, per_replica.to_string());
    draft.note(
        trigger.field("metadata.query"),
        format!(
            "was on {}; tidegate.dev/{key} counts all routes that lead to the workload: `tidegate routes` shows them",
            found.cluster
        ),
    );
    if let Some(over) = found.over {
        draft.note(trigger.field("metadata.query"), averaged(&humantime::format_duration(over).to_string()));
    }
    let activation = trigger.get("activationThreshold").filter(|value| value.parse() != Ok(0.0));
    if let Some(activation) = activation {
        draft.lost(
            trigger.field("metadata.activationThreshold"),
            format!("{activation}: traffic does not wake a workload from zero"),
        );
    }
    Ok(())
}
