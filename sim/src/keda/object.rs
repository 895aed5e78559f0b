//! The parts of a ScaledObject that are replayed.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::hpa::{Behavior, HpaSpec};

/// A ScaledObject, parsed from its YAML or JSON. Settings that cannot be replayed exactly are refused.
///
/// ```
/// use tidegate_sim::keda::ScaledObject;
///
/// let object: ScaledObject = serde_saphyr::from_str("
/// metadata: { name: task-api, namespace: default }
/// spec:
///   minReplicaCount: 1
///   maxReplicaCount: 20
///   triggers:
///     - type: external-push
///       metadata: { service: task-api, requestsPerSecond: \"100\" }
/// ")?;
/// assert_eq!(object.spec.polling_interval.as_secs(), 30);
/// # Ok::<(), serde_saphyr::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ScaledObject {
    /// Its name and namespace
    pub metadata: Metadata,
    /// Its spec
    pub spec: ScaledObjectSpec,
}

/// Name and namespace of a ScaledObject.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`; default `default`
    #[serde(default = "default_namespace")]
    pub namespace: String,
}

fn default_namespace() -> String {
    "default".to_owned()
}

/// The spec of a ScaledObject, defaults filled in.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct ScaledObjectSpec {
    /// `pollingInterval`; default 30 s
    pub polling_interval: Duration,
    /// `cooldownPeriod`: from the last activity to zero; default 300 s
    pub cooldown: Duration,
    /// `initialCooldownPeriod`: from creation to zero, while never active; default 0 s
    pub initial_cooldown: Duration,
    /// `idleReplicaCount`: replicas while inactive; KEDA takes only 0
    pub idle_replicas: Option<u32>,
    /// `minReplicaCount`; default 0
    pub min_replicas: u32,
    /// `maxReplicaCount`; default 100
    pub max_replicas: u32,
    /// `advanced.horizontalPodAutoscalerConfig.behavior`
    pub behavior: Option<Behavior>,
    /// `fallback`
    pub fallback: Option<Fallback>,
    /// `triggers`: at least one, all of them external
    pub triggers: Vec<Trigger>,
}

/// `fallback`: the replacement for a metric that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fallback {
    /// Up to this many consecutive failures are errors; from the next one on, the fallback is used
    pub failure_threshold: u32,
    /// The replicas of the fallback
    pub replicas: u32,
    /// How `replicas` and the current replicas combine
    #[serde(default)]
    pub behavior: FallbackBehavior,
}

/// How the fallback's replicas and the current replicas combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FallbackBehavior {
    /// The fallback's replicas
    #[default]
    Static,
    /// The current replicas
    CurrentReplicas,
    /// The larger of the two
    CurrentReplicasIfHigher,
    /// The smaller of the two
    CurrentReplicasIfLower,
}

/// One trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// `external-push`, which also streams, rather than `external`
    pub push: bool,
    /// Metadata sent to the scaler. Keys ending in `FromEnv` are left out: there is no container to resolve them from
    pub metadata: BTreeMap<String, String>,
}

/// Why a ScaledObject is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScaledObjectError {
    /// No triggers at all
    #[error("spec.triggers: got none, wants at least one of type external or external-push")]
    NoTriggers,
    /// A trigger that KEDA answers itself
    #[error("spec.triggers[{index}].type: got \"{got}\", wants external or external-push; others are not replayed")]
    TriggerType {
        /// Which trigger
        index: usize,
        /// Its type
        got: String,
    },
    /// A field whose meaning is not ported
    #[error("{0}: not replayed, leave it out")]
    NotReplayed(String),
    /// `minReplicaCount` above `maxReplicaCount`
    #[error("spec.minReplicaCount: got {min}, wants at most maxReplicaCount, which is {max}")]
    Bounds {
        /// `minReplicaCount`
        min: u32,
        /// `maxReplicaCount`
        max: u32,
    },
    /// `idleReplicaCount` that is not below `minReplicaCount`
    #[error("spec.idleReplicaCount: got {idle}, wants less than minReplicaCount, which is {min}")]
    Idle {
        /// `idleReplicaCount`
        idle: u32,
        /// `minReplicaCount`
        min: u32,
    },
}

impl ScaledObjectSpec {
    /// The HPA that KEDA creates from it: `GetHPAMinReplicas`, `GetHPAMaxReplicas` and `newHPAForScaledObject`.
    pub fn hpa(&self) -> HpaSpec {
        HpaSpec {
            min_replicas: self.min_replicas.max(1),
            max_replicas: self.max_replicas,
            behavior: self.behavior.clone(),
        }
    }

    /// Whether the scale loop reuses the HPA's observations instead of asking the scaler itself (`UsesHPAObservations`). It
    /// does when only the HPA can change the replicas; `pollingInterval` then has no effect.
    pub const fn uses_hpa_observations(&self) -> bool {
        self.min_replicas > 0 && self.idle_replicas.is_none()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    polling_interval: Option<u32>,
    cooldown_period: Option<u32>,
    initial_cooldown_period: Option<u32>,
    idle_replica_count: Option<u32>,
    min_replica_count: Option<u32>,
    max_replica_count: Option<u32>,
    #[serde(default)]
    advanced: RawAdvanced,
    fallback: Option<Fallback>,
    #[serde(default)]
    triggers: Vec<RawTrigger>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAdvanced {
    #[serde(default)]
    horizontal_pod_autoscaler_config: RawHpaConfig,
    scaling_modifiers: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
struct RawHpaConfig {
    behavior: Option<Behavior>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTrigger {
    r#type: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    use_cached_metrics: bool,
    metric_type: Option<String>,
}

impl TryFrom<Raw> for ScaledObjectSpec {
    type Error = ScaledObjectError;

    fn try_from(raw: Raw) -> Result<Self, ScaledObjectError> {
        let seconds = |seconds: Option<u32>, default| Duration::from_secs(seconds.unwrap_or(default).into());
        if raw.advanced.scaling_modifiers.is_some() {
            return Err(ScaledObjectError::NotReplayed("spec.advanced.scalingModifiers".to_owned()));
        }
        if raw.triggers.is_empty() {
            return Err(ScaledObjectError::NoTriggers);
        }
        let triggers = raw.triggers.into_iter().enumerate().map(|(index, trigger)| trigger.parse(index));
        let spec = Self {
            polling_interval: seconds(raw.polling_interval, 30),
            cooldown: seconds(raw.cooldown_period, 300),
            initial_cooldown: seconds(raw.initial_cooldown_period, 0),
            idle_replicas: raw.idle_replica_count,
            min_replicas: raw.min_replica_count.unwrap_or(0),
            max_replicas: raw.max_replica_count.unwrap_or(100),
            behavior: raw.advanced.horizontal_pod_autoscaler_config.behavior,
            fallback: raw.fallback,
            triggers: triggers.collect::<Result<_, _>>()?,
        };
        // `CheckReplicaCountBoundsAreValid`
        let (min, max) = (spec.min_replicas, spec.max_replicas);
        if min > max {
            return Err(ScaledObjectError::Bounds { min, max });
        }
        match spec.idle_replicas.filter(|idle| *idle >= min) {
            Some(idle) => Err(ScaledObjectError::Idle { idle, min }),
            None => Ok(spec),
        }
    }
}

impl RawTrigger {
    fn parse(self, index: usize) -> Result<Trigger, ScaledObjectError> {
        let push = match self.r#type.as_str() {
            "external" => false,
            "external-push" => true,
            _ => return Err(ScaledObjectError::TriggerType { index, got: self.r#type }),
        };
        if self.use_cached_metrics {
            return Err(ScaledObjectError::NotReplayed(format!("spec.triggers[{index}].useCachedMetrics")));
        }
        match self.metric_type.as_deref() {
            None | Some("" | "AverageValue") => {}
            Some(other) => {
                return Err(ScaledObjectError::NotReplayed(format!("spec.triggers[{index}].metricType: {other}")));
            }
        }
        let metadata = self.metadata.into_iter().filter(|(key, _)| !key.ends_with("FromEnv")).collect();
        Ok(Trigger { push, metadata })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(yaml: &str) -> Result<ScaledObjectSpec, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn the_hand_written_example_is_read() {
        let object: ScaledObject =
            serde_saphyr::from_str(include_str!("../../../examples/gitops/hand-written-scaledobject.yaml")).unwrap();
        assert_eq!((object.metadata.name.as_str(), object.metadata.namespace.as_str()), ("task-api", "default"));
        assert!(object.spec.triggers[0].push);
        assert_eq!(object.spec.triggers[0].metadata["requestsPerSecond"], "100");
        assert_eq!(object.spec.fallback.unwrap().behavior, FallbackBehavior::CurrentReplicasIfHigher);
        assert!(object.spec.behavior.unwrap().scale_up.is_some());
    }

    #[test]
    fn what_is_left_out_has_kedas_defaults() {
        let spec = spec("triggers: [{ type: external }]").unwrap();
        assert_eq!((spec.min_replicas, spec.max_replicas, spec.cooldown), (0, 100, Duration::from_secs(300)));
        assert_eq!(spec.hpa().min_replicas, 1, "an HPA of KEDA never goes to zero itself");
    }

    #[test]
    fn what_cannot_be_replayed_is_refused_by_name() {
        for (yaml, expected) in [
            ("triggers: []", "spec.triggers: got none"),
            ("triggers: [{ type: cron }]", "spec.triggers[0].type: got \"cron\""),
            ("triggers: [{ type: external, metricType: Value }]", "spec.triggers[0].metricType: Value: not replayed"),
            ("triggers: [{ type: external, useCachedMetrics: true }]", "spec.triggers[0].useCachedMetrics"),
            (
                "{ minReplicaCount: 9, maxReplicaCount: 3, triggers: [{ type: external }] }",
                "wants at most maxReplicaCount",
            ),
            (
                "{ idleReplicaCount: 1, minReplicaCount: 1, triggers: [{ type: external }] }",
                "wants less than minReplicaCount",
            ),
            ("{ advanced: { scalingModifiers: { formula: a } }, triggers: [{ type: external }] }", "scalingModifiers"),
        ] {
            let error = spec(yaml).unwrap_err();
            assert!(error.contains(expected), "{yaml}: {error}");
        }
    }

    #[test]
    fn keys_that_need_a_containers_environment_are_left_out() {
        let spec = spec("triggers: [{ type: external, metadata: { a: b, cFromEnv: D } }]").unwrap();
        assert_eq!(spec.triggers[0].metadata.keys().collect::<Vec<_>>(), ["a"]);
    }
}
