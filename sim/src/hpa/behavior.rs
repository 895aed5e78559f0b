//! `behavior`: how fast an HPA may scale up and down, and the defaults of omitted fields
//! (`pkg/apis/autoscaling/v2/defaults.go`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `spec.behavior` of an HPA, `advanced.horizontalPodAutoscalerConfig.behavior` of a ScaledObject.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Behavior {
    /// Scaling up
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<ScalingRules>,
    /// Scaling down
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<ScalingRules>,
}

/// `HPAScalingRules`: one direction.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingRules {
    /// How long a recommendation holds the replicas; default 0 up, the controller's flag (300) down
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stabilization_window_seconds: Option<u32>,
    /// Which policy applies; default the one that allows the largest change
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<SelectPolicy>,
    /// Default up: the larger of 4 pods and 100 % per 15 s. Default down: 100 % per 15 s
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<Policy>>,
    /// How far off its target a metric may be, as a share; default the controller's flag (0.1)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Tolerance>,
}

/// Which of several policies applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SelectPolicy {
    /// The one that allows the largest change
    Max,
    /// The one that allows the smallest change
    Min,
    /// None: no change in this direction
    Disabled,
}

/// `HPAScalingPolicy`: the largest change within a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// The unit of `value`
    #[serde(rename = "type")]
    pub kind: PolicyKind,
    /// Pods, or percent of the replicas at the start of the period
    pub value: u32,
    /// Seconds, 1 to 1800
    pub period_seconds: u32,
}

/// The unit of a policy's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyKind {
    /// Replicas
    Pods,
    /// Percent
    Percent,
}

/// A share of the target, written as a Kubernetes quantity: `"0"`, `0.05`, `"50m"`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "NumberOrText", into = "String")]
pub struct Tolerance(f64);

/// A tolerance that is not a non-negative quantity.
#[derive(Debug, thiserror::Error)]
#[error("tolerance: got \"{0}\", wants a quantity of at least zero such as \"0.05\" or \"50m\"")]
pub struct ToleranceError(String);

impl Tolerance {
    /// No tolerance: every deviation from the target is acted on.
    pub const ZERO: Self = Self(0.0);

    /// The share itself.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl std::str::FromStr for Tolerance {
    type Err = ToleranceError;

    fn from_str(text: &str) -> Result<Self, ToleranceError> {
        let (number, unit) = match text.strip_suffix(['m', 'u', 'n']) {
            Some(number) if text.ends_with('m') => (number, 1e-3),
            Some(number) if text.ends_with('u') => (number, 1e-6),
            Some(number) => (number, 1e-9),
            None => (text, 1.0),
        };
        match number.parse::<f64>() {
            Ok(value) if value.is_finite() && value >= 0.0 => Ok(Self(value * unit)),
            _ => Err(ToleranceError(text.to_owned())),
        }
    }
}

impl From<Tolerance> for String {
    fn from(tolerance: Tolerance) -> Self {
        tolerance.0.to_string()
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(f64),
    Text(String),
}

impl TryFrom<NumberOrText> for Tolerance {
    type Error = ToleranceError;

    fn try_from(value: NumberOrText) -> Result<Self, ToleranceError> {
        match value {
            NumberOrText::Number(number) => number.to_string().parse(),
            NumberOrText::Text(text) => text.parse(),
        }
    }
}

/// Up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

/// Both directions with all defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rules {
    up: DirectionRules,
    down: DirectionRules,
}

/// One direction with all defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DirectionRules {
    pub(super) window: Duration,
    pub(super) select: SelectPolicy,
    pub(super) policies: Vec<Policy>,
}

impl Rules {
    /// `SetDefaults_HorizontalPodAutoscalerBehavior` and `maybeInitScaleDownStabilizationWindow`. When a behavior is set, a
    /// direction that it omits has the default policies, not none.
    pub(super) fn with_defaults(behavior: Behavior, downscale_stabilization: Duration) -> Self {
        let pods = Policy { kind: PolicyKind::Pods, value: 4, period_seconds: 15 };
        let percent = Policy { kind: PolicyKind::Percent, value: 100, period_seconds: 15 };
        let fill = |rules: Option<ScalingRules>, window, policies| {
            let rules = rules.unwrap_or_default();
            DirectionRules {
                window: rules.stabilization_window_seconds.map_or(window, |s| Duration::from_secs(s.into())),
                select: rules.select_policy.unwrap_or(SelectPolicy::Max),
                policies: rules.policies.unwrap_or(policies),
            }
        };
        Self {
            up: fill(behavior.scale_up, Duration::ZERO, vec![pods, percent]),
            down: fill(behavior.scale_down, downscale_stabilization, vec![percent]),
        }
    }

    pub(super) const fn of(&self, direction: Direction) -> &DirectionRules {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

impl DirectionRules {
    /// `getLongestPolicyPeriod`
    pub(super) fn longest_period(&self) -> Duration {
        Duration::from_secs(self.policies.iter().map(|policy| policy.period_seconds).max().unwrap_or(0).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_behavior_is_read_as_people_write_it() {
        let behavior: Behavior = serde_saphyr::from_str(
            "scaleUp: { tolerance: 0, policies: [{ type: Percent, value: 900, periodSeconds: 1 }] }\n\
             scaleDown: { tolerance: 50m, selectPolicy: Min, stabilizationWindowSeconds: 60 }",
        )
        .unwrap();
        let (up, down) = (behavior.scale_up.unwrap(), behavior.scale_down.unwrap());
        assert_eq!(up.tolerance, Some(Tolerance::ZERO));
        assert_eq!(up.policies.unwrap(), [Policy { kind: PolicyKind::Percent, value: 900, period_seconds: 1 }]);
        assert_eq!(down.tolerance.unwrap().get(), 0.05);
        assert_eq!((down.select_policy, down.stabilization_window_seconds), (Some(SelectPolicy::Min), Some(60)));
    }

    #[test]
    fn the_behavior_that_the_operator_writes_is_read() {
        let snapshot = include_str!("../../../cluster/tests/snapshots/examples__resources.snap");
        let (_, object) = snapshot.split_once("---\n").unwrap().1.split_once("---\n").unwrap();
        let object: serde_json::Value = serde_saphyr::from_str(object).unwrap();
        let written = &object["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
        let behavior: Behavior = serde_json::from_value(written.clone()).unwrap();
        let (up, down) = (behavior.scale_up.unwrap(), behavior.scale_down.unwrap());
        assert_eq!(up.policies.unwrap()[1], Policy { kind: PolicyKind::Pods, value: 4, period_seconds: 30 });
        assert_eq!((down.stabilization_window_seconds, down.tolerance.unwrap().get()), (Some(300), 0.05));
    }

    #[test]
    fn a_tolerance_that_is_no_quantity_is_refused() {
        for text in ["", "m", "-1", "10%", "NaN", "1k"] {
            let error = text.parse::<Tolerance>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("tolerance: got \"{text}\"")), "{error}");
        }
    }

    #[test]
    fn a_behavior_that_names_one_direction_gets_the_default_policies_in_the_other() {
        let only_down = Behavior { scale_down: Some(ScalingRules::default()), ..Behavior::default() };
        let rules = Rules::with_defaults(only_down, Duration::from_secs(300));
        assert_eq!(rules.of(Direction::Up).policies.len(), 2);
        assert_eq!(rules.of(Direction::Up).window, Duration::ZERO);
        assert_eq!(rules.of(Direction::Down).window, Duration::from_secs(300));
    }
}
