//! HorizontalPodAutoscalers on CPU and memory.

use serde_json::Value;

use super::{
    behavior,
    draft::Draft,
    fields::{Object, scalar, text},
    keda::resource,
    target::Target,
};

/// What an HPA without metrics aims at (`SetDefaults_HorizontalPodAutoscaler` in `pkg/apis/autoscaling/v2/defaults.go`).
const DEFAULT_CPU: &str = "80%";

/// An HPA as annotations of its workload; none for one that KEDA made, whose ScaledObject says the same.
pub(super) fn drafts(object: &Object<'_>) -> Vec<Draft> {
    if object.is_owned_by("ScaledObject") {
        return Vec::new();
    }
    let target = object.at("/spec/scaleTargetRef").and_then(|reference| Target::of_reference(object, reference));
    let draft = Draft::new(object, target.clone());
    let Some(target) = target else { return vec![draft.give_up("spec.scaleTargetRef", "it names no workload")] };
    vec![of_target(object, draft, &target)]
}

fn of_target(object: &Object<'_>, mut draft: Draft, target: &Target) -> Draft {
    let Some(max) = object.number("/spec/maxReplicas") else {
        return draft.give_up("spec.maxReplicas", "it is missing");
    };
    if let Some(why) = target.never_scaled() {
        return draft.give_up("spec.scaleTargetRef", why);
    }
    if !target.is_workload() {
        draft.note("spec.scaleTargetRef", format!("{target} is annotated: see whether this Tidegate scales its kind"));
    }
    draft.set("adopt", format!("hpa/{}", object.name));
    draft.set("min-replicas", object.number("/spec/minReplicas").unwrap_or(1).to_string());
    draft.set("max-replicas", max.to_string());
    metrics(object, &mut draft);
    behavior::turn(&mut draft, "spec.behavior", object.at("/spec/behavior").unwrap_or(&Value::Null));
    draft
}

fn metrics(object: &Object<'_>, draft: &mut Draft) {
    // autoscaling/v1 knows nothing but this.
    if let Some(percent) = object.number("/spec/targetCPUUtilizationPercentage") {
        draft.set("cpu", format!("{percent}%"));
        return;
    }
    let list = object.list("/spec/metrics");
    if list.is_empty() {
        draft.set("cpu", DEFAULT_CPU);
    }
    for (position, metric) in list.iter().enumerate() {
        if let Err(why) = metric_of(metric, draft) {
            draft.lost(format!("spec.metrics[{position}]"), why);
        }
    }
}

fn metric_of(metric: &Value, draft: &mut Draft) -> Result<(), String> {
    let kind = text(metric, "type").unwrap_or_default();
    let source = match kind {
        "Resource" => metric.get("resource"),
        "ContainerResource" => metric.get("containerResource"),
        other => {
            return Err(format!(
                "{other}: Tidegate's keys are CPU, memory and what it measures itself; tidegate.dev/prometheus-query takes a query"
            ));
        }
    };
    let source = source.ok_or_else(|| format!("{kind} without its source"))?;
    let key = text(source, "name").filter(|name| matches!(*name, "cpu" | "memory"));
    let key = key.ok_or_else(|| format!("{kind} of something other than cpu and memory"))?;
    if draft.has(key) {
        return Err(format!("another metric gives tidegate.dev/{key}"));
    }
    let value = target_of(source).ok_or("neither averageUtilization nor averageValue")?;
    resource::container(text(source, "container"), draft)?;
    draft.set(key, value);
    Ok(())
}

/// The target, in the form of `autoscaling/v2` or of `v2beta1`.
fn target_of(source: &Value) -> Option<String> {
    let target = source.get("target").unwrap_or(source);
    let number = |key: &str| target.get(key).and_then(scalar);
    let percent = number("averageUtilization").or_else(|| number("targetAverageUtilization"));
    let amount = || number("averageValue").or_else(|| number("targetAverageValue"));
    percent.map(|percent| format!("{percent}%")).or_else(amount)
}
