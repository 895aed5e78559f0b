//! The replicas that a manifest gives today.

use chrono::{DateTime, Datelike, Timelike, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};
use tidegate_sim::{
    hpa::ControllerFlags,
    keda::{Sample, ScaledObject, Simulation},
};

use crate::{AT_FIRST, STEP, keda::Metric, steps};

/// What scales the workload today.
pub(crate) enum Before {
    /// KEDA with its HPA, or an HPA alone, which is the same at one replica and more
    Loop { scaled_object: Value, metrics: Vec<Metric> },
    /// A tool that sets the replicas within a minute
    Switch(fn(DateTime<Utc>) -> u32),
}

impl Before {
    pub(crate) fn of(object: &Value, start: DateTime<Utc>) -> Self {
        let spec = &object["spec"];
        match object["kind"].as_str().unwrap() {
            "ScaledObject" => {
                let triggers = spec["triggers"].as_array().unwrap();
                let metrics = triggers.iter().map(|trigger| Metric::of(trigger, start)).collect();
                Self::Loop { scaled_object: object.clone(), metrics }
            }
            "HorizontalPodAutoscaler" => {
                let percent = &spec["metrics"][0]["resource"]["target"]["averageUtilization"];
                let cpu = json!({"type": "cpu", "metadata": {"value": percent}});
                let scaled_object = json!({"metadata": object["metadata"], "spec": {
                    "minReplicaCount": spec["minReplicas"], "maxReplicaCount": spec["maxReplicas"],
                    "advanced": {"horizontalPodAutoscalerConfig": {"behavior": spec["behavior"]}},
                }});
                Self::Loop { scaled_object, metrics: vec![Metric::of(&cpu, start)] }
            }
            // `createOrUpdateScaledObject` in http-add-on's `operator/controllers/http/scaled_object.go`.
            "HTTPScaledObject" => {
                let scaled_object = json!({"metadata": object["metadata"], "spec": {
                    "minReplicaCount": spec["replicas"]["min"], "maxReplicaCount": spec["replicas"]["max"],
                    "cooldownPeriod": spec["scaledownPeriod"],
                }});
                let metrics = vec![Metric::of_add_on(&spec["scalingMetric"]["requestRate"])];
                Self::Loop { scaled_object, metrics }
            }
            "Deployment" => {
                Self::Switch(|at| if is_office(at, chrono_tz::Europe::Berlin, (7, 30)..(20, 30)) { 3 } else { 1 })
            }
            "SleepInfo" => {
                Self::Switch(|at| if is_office(at, chrono_tz::Europe::Rome, (8, 0)..(20, 0)) { 3 } else { 0 })
            }
            other => panic!("no model of {other}"),
        }
    }

    /// The replicas at the end of each minute.
    pub(crate) fn replicas(&self, start: DateTime<Utc>) -> Vec<u32> {
        match self {
            Self::Switch(replicas) => steps(start).skip(3).step_by(4).map(replicas).collect(),
            Self::Loop { scaled_object, metrics } => {
                let sample = |at| {
                    let (values, active): (Vec<_>, Vec<_>) = metrics.iter().map(|metric| (metric.read)(at)).unzip();
                    (values.into_iter().map(Some).collect(), active.contains(&true))
                };
                let samples: Vec<_> = steps(start).map(sample).collect();
                let metrics: Vec<_> = metrics.iter().map(|metric| (metric.name.clone(), metric.target)).collect();
                replay(scaled_object, &metrics, &samples)
            }
        }
    }
}

/// Whether a weekday's local time is within these.
fn is_office(at: DateTime<Utc>, zone: Tz, times: std::ops::Range<(u32, u32)>) -> bool {
    let local = at.with_timezone(&zone);
    local.weekday().number_from_monday() <= 5 && times.contains(&(local.hour(), local.minute()))
}

/// The replicas at the end of each minute that KEDA and the HPA make of the values at each step, and of whether they are active.
pub(crate) fn replay(object: &Value, metrics: &[(String, f64)], samples: &[(Vec<Option<f64>>, bool)]) -> Vec<u32> {
    // The loops know external triggers alone. All triggers of an object are one here, with several metrics.
    let triggers = object["spec"]["triggers"].as_array();
    let pushes = triggers.is_some_and(|all| all.iter().any(|trigger| trigger["type"] == "external-push"));
    let mut object = object.clone();
    object["spec"]["triggers"] = json!([{"type": if pushes { "external-push" } else { "external" }}]);
    let parsed: ScaledObject = serde_json::from_value(object).unwrap();
    // KEDA puts the position of its trigger before each.
    let names: Vec<_> = metrics.iter().enumerate().map(|(position, (name, _))| format!("{position}-{name}")).collect();
    let specs: Vec<_> = names.iter().zip(metrics).map(|(name, (_, target))| (name.as_str(), *target)).collect();
    let simulation = Simulation::new(parsed.spec, &specs, ControllerFlags::default());
    let at = |step: usize| STEP * u32::try_from(step).unwrap();
    let sample = |(step, (values, active)): (usize, &(Vec<Option<f64>>, bool))| Sample {
        at: at(step),
        values: values.clone(),
        active: *active,
    };
    let samples: Vec<_> = samples.iter().enumerate().map(sample).collect();
    let run = simulation.run(AT_FIRST, &samples, at(samples.len()));
    let (mut changes, mut replicas) = (run.changes().peekable(), AT_FIRST);
    let mut at_end = |minute: usize| {
        while let Some((_, now)) = changes.next_if(|(when, _)| *when < at(minute * 4)) {
            replicas = now;
        }
        replicas
    };
    (1..=samples.len() / 4).map(&mut at_end).collect()
}
