//! `cpu` and `memory` triggers.

use super::Trigger;
use crate::migrate::draft::Draft;

/// Turns a trigger, or says why it stays one of KEDA's.
pub(super) fn turn(trigger: &Trigger<'_>, key: &str, draft: &mut Draft) -> Result<(), String> {
    let value = trigger.get("value").ok_or("it has no value")?;
    // Before KEDA 2.18 the type stood in the metadata.
    let of_metadata = trigger.get("type");
    let value = match trigger.metric_type().or(of_metadata.as_deref()) {
        Some("Utilization") => format!("{}%", value.trim_end_matches('%')),
        Some("AverageValue") => value,
        other => return Err(format!("its metricType is \"{}\"", other.unwrap_or_default())),
    };
    if draft.has(key) {
        return Err(format!("another trigger gives tidegate.dev/{key}"));
    }
    container(trigger.get("containerName").as_deref(), draft)?;
    draft.set(key, value);
    Ok(())
}

/// Sets the container whose CPU and memory count, which is one for both.
pub(in crate::migrate) fn container(name: Option<&str>, draft: &mut Draft) -> Result<(), String> {
    let resources = draft.has("cpu") || draft.has("memory");
    let same = draft.annotations.get("tidegate.dev/container").map(String::as_str) == name;
    if resources && !same {
        return Err("CPU and memory of one container count, or of all".to_owned());
    }
    if let Some(name) = name {
        draft.set("container", name);
    }
    Ok(())
}
