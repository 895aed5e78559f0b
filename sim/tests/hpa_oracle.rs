//! The HPA against Kubernetes' own controller: `oracle/hpa.json` holds that controller's decisions, `oracle/run.sh` writes it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use serde::Deserialize;
use tidegate_sim::{
    hpa::{Behavior, ControllerFlags, Decision, Hpa, HpaLimit, HpaSpec, MetricResult, Scale, Stabilized},
    quantity::Milli,
};

#[derive(Deserialize)]
struct Case {
    min: u32,
    max: u32,
    behavior: Option<Behavior>,
    targets: Vec<i64>,
    start: u32,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    at: u64,
    status: u32,
    values: Vec<Option<i64>>,
    desired: u32,
    able: String,
    limited: String,
}

#[test]
fn every_decision_is_the_one_of_kubernetes_own_controller() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("oracle/hpa.json")).unwrap();
    assert!(cases.len() >= 100);
    for (number, case) in cases.into_iter().enumerate() {
        let spec = HpaSpec { min_replicas: case.min, max_replicas: case.max, behavior: case.behavior };
        let mut hpa = Hpa::new(spec, ControllerFlags::default());
        let mut replicas = case.start;
        for step in case.steps {
            let scale = Scale { spec: replicas, status: step.status };
            let decision = hpa.sync(Duration::from_secs(step.at), scale, &metrics(&case.targets, &step.values));
            let context = format!("case {number} at {} s: {decision}", step.at);
            assert_eq!(decision.desired, step.desired, "{context}");
            assert_conditions(&decision, &step, &context);
            replicas = decision.desired;
        }
    }
}

fn metrics(targets: &[i64], values: &[Option<i64>]) -> Vec<MetricResult> {
    let metric = |(index, (target, value)): (usize, (&i64, &Option<i64>))| match value {
        Some(value) => MetricResult::new(format!("m{index}"), Milli(*target), Milli(*value)),
        None => MetricResult::failed(format!("m{index}"), Milli(*target), "failed"),
    };
    targets.iter().zip(values).enumerate().map(metric).collect()
}

/// The conditions reflect the decision of this sync only when it read the metrics.
fn assert_conditions(decision: &Decision, step: &Step, context: &str) {
    if decision.wanted.is_none() {
        return;
    }
    let able = match decision.stabilized {
        _ if decision.desired != decision.current => "SucceededRescale",
        Some(Stabilized::Up) => "ScaleUpStabilized",
        Some(Stabilized::Down) => "ScaleDownStabilized",
        None => "ReadyForNewScale",
    };
    assert_eq!(able, step.able, "{context}");
    let limited = match decision.limited_by {
        Some(HpaLimit::ScaleUpLimit) => "ScaleUpLimit",
        Some(HpaLimit::ScaleDownLimit) => "ScaleDownLimit",
        Some(HpaLimit::TooManyReplicas) => "TooManyReplicas",
        Some(HpaLimit::TooFewReplicas) => "TooFewReplicas",
        None => "",
    };
    assert_eq!(limited, step.limited, "{context}");
}
