//! The HPA's `behavior` as `scale-up-after`, `scale-up-rate` and their like.

use serde_json::Value;
use tidegate_core::quantity;

use super::{
    draft::Draft,
    fields::{scalar, text},
};

/// The HPA's own window before replicas go down, in seconds, which is Tidegate's default too.
const DEFAULT_WINDOW: &str = "300";

/// One direction of a `behavior`.
struct Direction {
    field: &'static str,
    after: &'static str,
    rate: &'static str,
    default_window: &'static str,
}

const DIRECTIONS: [Direction; 2] = [
    Direction { field: "scaleUp", after: "scale-up-after", rate: "scale-up-rate", default_window: "0" },
    Direction {
        field: "scaleDown",
        after: "scale-down-after",
        rate: "scale-down-rate",
        default_window: DEFAULT_WINDOW,
    },
];

/// The HPA's own tolerance, in percent (`--horizontal-pod-autoscaler-tolerance`). Tidegate's is 0.
const DEFAULT_TOLERANCE: f64 = 10.0;

/// Turns a `behavior`, which stands at `path` of its object; null if there is none.
pub(super) fn turn(draft: &mut Draft, path: &str, behavior: &Value) {
    tolerance(draft, path, behavior);
    for direction in DIRECTIONS {
        if let Some(rules) = behavior.get(direction.field).filter(|rules| !rules.is_null()) {
            rules_of(draft, &format!("{path}.{}", direction.field), &direction, rules);
        }
    }
}

fn rules_of(draft: &mut Draft, path: &str, direction: &Direction, rules: &Value) {
    let window = rules.get("stabilizationWindowSeconds").and_then(scalar);
    if let Some(window) = window.filter(|window| window != direction.default_window) {
        draft.set(direction.after, format!("{window}s"));
    }
    let policies = rules.get("policies").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let rates: Option<Vec<_>> = policies.iter().map(rate).collect();
    match (rates, text(rules, "selectPolicy").unwrap_or("Max")) {
        (_, "Disabled") => draft.lost(format!("{path}.selectPolicy"), "Tidegate does not switch one direction off"),
        (None, _) => draft.lost(format!("{path}.policies"), "a policy without type, value or periodSeconds"),
        (Some(rates), "Min") if rates.len() > 1 => draft.lost(
            format!("{path}.selectPolicy"),
            format!(
                "of several rates of tidegate.dev/{} the one that allows most counts, not the least",
                direction.rate
            ),
        ),
        (Some(rates), _) if !rates.is_empty() => draft.set(direction.rate, rates.join(",")),
        _ => {}
    }
}

/// Writes the tolerance out: what the HPA does not act on today, it does not act on afterwards.
fn tolerance(draft: &mut Draft, path: &str, behavior: &Value) {
    let of = |direction: &Direction| {
        let written = behavior.get(direction.field)?.get("tolerance").and_then(scalar)?;
        quantity::parse(&written).map(|share| (share * 1000.0).round() / 10.0)
    };
    let [up, down] = DIRECTIONS.map(|direction| of(&direction).unwrap_or(DEFAULT_TOLERANCE));
    if up.total_cmp(&down).is_ne() {
        draft.lost(
            format!("{path}.scaleDown.tolerance"),
            format!("{down}%: tidegate.dev/tolerance is one for both directions, that of scaleUp"),
        );
    }
    draft.set("tolerance", format!("{up}%"));
}

fn rate(policy: &Value) -> Option<String> {
    let (value, seconds) = (scalar(policy.get("value")?)?, scalar(policy.get("periodSeconds")?)?);
    match text(policy, "type")? {
        "Percent" => Some(format!("{value}%/{seconds}s")),
        "Pods" => Some(format!("{value}/{seconds}s")),
        _ => None,
    }
}
