//! The `behavior` of the HPA: how fast it may change replicas.

use serde_json::{Value, json};
use tidegate_core::{
    behavior::{Change, Rate},
    intent::Intent,
};

/// The `behavior` that KEDA passes on to the HPA as it is. At a tolerance of 10 %, the HPA's default, one replica more or less is
/// invisible above ten replicas; so it is 0 unless the workload asks for more. `takes_tolerance` says whether HPAs have that field.
pub(super) fn behavior(intent: &Intent, takes_tolerance: bool) -> Value {
    let asked = &intent.behavior;
    let mut behavior = json!({
        "scaleUp": {
            "stabilizationWindowSeconds": asked.scale_up_after.as_secs(),
            "selectPolicy": "Max",
            "policies": policies(&asked.scale_up),
        },
        "scaleDown": {
            "stabilizationWindowSeconds": intent.scale_down_after.as_secs(),
            "selectPolicy": "Max",
            "policies": policies(&asked.scale_down),
        },
    });
    if takes_tolerance {
        let tolerance = asked.tolerance.unwrap_or_default().to_string();
        behavior["scaleUp"]["tolerance"] = tolerance.clone().into();
        behavior["scaleDown"]["tolerance"] = tolerance.into();
    }
    behavior
}

fn policies(rates: &[Rate]) -> Value {
    let policy = |Rate { change, period_seconds }: &Rate| {
        let (kind, value) = match change {
            Change::Percent(percent) => ("Percent", percent),
            Change::Replicas(replicas) => ("Pods", replicas),
        };
        json!({ "type": kind, "value": value, "periodSeconds": period_seconds })
    };
    rates.iter().map(policy).collect()
}

#[cfg(test)]
mod tests {
    use tidegate_core::intent::Annotations;

    use super::*;

    fn of(annotations: &[(&str, &str)], takes_tolerance: bool) -> Value {
        let annotations: Annotations = [("requests-per-second", "1")]
            .iter()
            .chain(annotations)
            .map(|(key, value)| (format!("tidegate.dev/{key}"), (*value).to_owned()))
            .collect();
        let intent = Intent::of_workload(&annotations, "shop", &Annotations::new());
        behavior(&intent.unwrap().unwrap(), takes_tolerance)
    }

    #[test]
    fn an_older_api_server_gets_no_tolerance() {
        let behavior = of(&[("tolerance", "10%")], false);
        assert!(!behavior.to_string().contains("tolerance"), "{behavior}");
    }

    #[test]
    fn what_is_not_asked_for_has_the_defaults_of_the_hpa_but_for_the_tolerance() {
        let double = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
        let four = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        assert_eq!(
            of(&[], true),
            json!({
                "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [double, four], "tolerance": "0"},
                "scaleDown": {"stabilizationWindowSeconds": 300, "selectPolicy": "Max", "policies": [double], "tolerance": "0"},
            })
        );
    }

    #[test]
    fn rates_are_policies_and_windows_are_stabilisation() {
        let asked = [
            ("scale-up-after", "1m"),
            ("scale-up-rate", "50%/1m"),
            ("scale-down-rate", "4/30s,10%/5m"),
            ("scale-down-after", "10m"),
            ("tolerance", "2.5%"),
        ];
        let policy = |kind, value, period| json!({"type": kind, "value": value, "periodSeconds": period});
        assert_eq!(
            of(&asked, true),
            json!({
                "scaleUp": {"stabilizationWindowSeconds": 60, "selectPolicy": "Max", "policies": [policy("Percent", 50, 60)],
                    "tolerance": "0.025"},
                "scaleDown": {"stabilizationWindowSeconds": 600, "selectPolicy": "Max",
                    "policies": [policy("Pods", 4, 30), policy("Percent", 10, 300)], "tolerance": "0.025"},
            })
        );
    }
}
