//! KEDA and its HPA for one ScaledObject, without I/O and without a clock.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{
    Answers, Change, MetricSpec, ScaledObjectSpec,
    answers::indexed_name,
    executor::{Activity, Executor},
    fallback::{Health, Observation},
};
use crate::{
    hpa::{ControllerFlags, Decision, Hpa, MetricResult, Reason, Scale},
    quantity::Milli,
};

/// Why KEDA creates no HPA from the scaler's answers. KEDA retries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// Every `GetMetricSpec` failed or was empty
    #[error("no metric specs returned from scalers: {0}")]
    NoSpecs(String),
    /// Two metrics with the same name
    #[error("metric {0} is defined more than once")]
    Twice(String),
    /// A target for which the API server would refuse the HPA
    #[error("the target of metric {name} is {target}, wants one above zero")]
    Target {
        /// The metric
        name: String,
        /// Its target
        target: Milli,
    },
}

/// The outcome of a poll of the triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll {
    /// Whether a trigger is active or fell back
    pub active: bool,
    /// Whether a trigger failed
    pub error: bool,
    /// The change that KEDA makes because of it
    pub change: Option<Change>,
}

/// The decisions of KEDA and of the HPA that it creates. `now` is the time since any fixed instant.
#[derive(Debug, Clone)]
pub struct Keda {
    spec: ScaledObjectSpec,
    metrics: Vec<MetricSpec>,
    hpa: Hpa,
    /// The HPA's condition ScalingActive: whether its queries keep `observed` fresh.
    hpa_is_querying: bool,
    observed: HashMap<String, Observation>,
    health: Health,
    executor: Executor,
}

impl Keda {
    /// The state for a ScaledObject created at `now`.
    pub fn new(spec: ScaledObjectSpec, flags: ControllerFlags, now: Duration) -> Self {
        let hpa = Hpa::new(spec.hpa(), flags);
        Self {
            spec,
            metrics: Vec::new(),
            hpa,
            hpa_is_querying: false,
            observed: HashMap::new(),
            health: Health::default(),
            executor: Executor::new(now),
        }
    }

    /// The ScaledObject's spec.
    pub const fn spec(&self) -> &ScaledObjectSpec {
        &self.spec
    }

    /// The metrics of the HPA; empty until it is created.
    pub fn metrics(&self) -> &[MetricSpec] {
        &self.metrics
    }

    /// Creates the HPA, or changes its metrics (`getScaledObjectMetricSpecs`). Returns whether it changed: then it syncs at once.
    pub fn reconcile(&mut self, answers: &Answers) -> Result<bool, ReconcileError> {
        let specs = answers.specs();
        if specs.is_empty() {
            let error = answers.triggers.iter().find_map(|trigger| trigger.specs.as_ref().err());
            return Err(ReconcileError::NoSpecs(error.cloned().unwrap_or_else(|| "no triggers".to_owned())));
        }
        let mut names = HashSet::new();
        for MetricSpec { name, target } in &specs {
            if !names.insert(name) {
                return Err(ReconcileError::Twice(name.clone()));
            }
            if target.0 <= 0 {
                return Err(ReconcileError::Target { name: name.clone(), target: *target });
            }
        }
        let changed = self.metrics != specs;
        self.metrics = specs;
        Ok(changed)
    }

    /// Whether a poll asks the scaler for this metric, rather than reusing the HPA's last observation (`hpaObservedRecord`).
    pub fn polls(&self, metric: &str) -> bool {
        self.taken_over(metric).is_none()
    }

    fn taken_over(&self, metric: &str) -> Option<&Observation> {
        if self.spec.uses_hpa_observations() && self.hpa_is_querying { self.observed.get(metric) } else { None }
    }

    /// Runs one turn of the scale loop (`checkScalers`): evaluates the answers and decides on KEDA's change.
    pub fn poll(&mut self, now: Duration, replicas: u32, answers: &Answers) -> Poll {
        let mut activity = Activity::default();
        for trigger in &answers.triggers {
            let Ok(specs) = &trigger.specs else {
                activity.error = true;
                continue;
            };
            // Among several metrics of a trigger, the last one without an error decides (`getScalerState`).
            let mut trigger_active = false;
            for spec in specs {
                let observation = match self.taken_over(&spec.name) {
                    Some(observed) => observed.clone(),
                    None => match trigger.metrics.get(&spec.name) {
                        Some(answer) => {
                            self.health.observe(self.spec.fallback.as_ref(), spec, answer.clone(), replicas)
                        }
                        None => continue,
                    },
                };
                match observation.values {
                    Ok(_) => trigger_active = observation.fell_back || observation.active,
                    Err(_) => activity.error = true,
                }
            }
            activity.active |= trigger_active;
        }
        let change = self.executor.request_scale(&self.spec, now, replicas, activity);
        Poll { active: activity.active, error: activity.error, change }
    }

    /// Handles a `true` from a push stream; KEDA ignores a `false`. Nothing happens before the HPA knows the trigger's metric.
    pub fn pushed(&mut self, now: Duration, replicas: u32, trigger: usize) -> Option<Change> {
        let prefix = indexed_name(trigger, "");
        self.metrics.iter().find(|metric| metric.name.starts_with(&prefix))?;
        self.executor.request_scale(&self.spec, now, replicas, Activity { active: true, error: false })
    }

    /// Returns the answer of KEDA's metrics server to the HPA for one metric (`GetScaledObjectMetrics`). One trigger whose specs
    /// fail makes the metrics of all triggers fail, unless the fallback is used.
    pub fn serve(&mut self, metric: &str, answers: &Answers, replicas: u32) -> Result<Vec<Milli>, String> {
        let mut error = answers.triggers.iter().find_map(|trigger| trigger.specs.as_ref().err()).cloned();
        let mut served = None;
        for trigger in &answers.triggers {
            let spec = trigger.specs.iter().flatten().find(|spec| spec.name == metric);
            let Some((spec, answer)) = spec.zip(trigger.metrics.get(metric)) else { continue };
            let observation = self.health.observe(self.spec.fallback.as_ref(), spec, answer.clone(), replicas);
            if self.spec.uses_hpa_observations() {
                self.observed.insert(metric.to_owned(), observation.clone());
            }
            match observation.values {
                Ok(values) => served = Some((values, observation.fell_back)),
                Err(cause) => error = Some(cause),
            }
        }
        match (served, error) {
            (Some((values, true)), _) | (Some((values, _)), None) => Ok(values),
            (_, Some(error)) => Err(error),
            (None, None) => Err(format!("no matching metrics found for {metric}")),
        }
    }

    /// The metrics that a sync at this many replicas asks for: none at zero and outside the bounds.
    pub fn metrics_to_ask(&self, replicas: u32) -> impl Iterator<Item = &str> {
        let asks = self.hpa.looks_at_metrics(replicas);
        self.metrics.iter().filter(move |_| asks).map(|metric| metric.name.as_str())
    }

    /// Runs one sync of the HPA with the values served for its metrics, in their order. The caller sets the scale if the
    /// decision changes it, and then calls [`rescaled`](Self::rescaled).
    pub fn sync(
        &mut self,
        now: Duration,
        scale: Scale,
        served: Vec<Result<Vec<Milli>, String>>,
    ) -> (Decision, Vec<MetricResult>) {
        let metric =
            |(spec, values): (&MetricSpec, _)| MetricResult { name: spec.name.clone(), target: spec.target, values };
        let metrics: Vec<_> = self.metrics.iter().zip(served).map(metric).collect();
        let decision = self.hpa.decide(now, scale, &metrics);
        match decision.reason {
            Reason::ScalingDisabled | Reason::MetricsFailed(_) => self.hpa_is_querying = false,
            Reason::AboveTarget(_) | Reason::AllBelowTarget | Reason::OnTarget => self.hpa_is_querying = true,
            Reason::AboveMax | Reason::BelowMin => {}
        }
        (decision, metrics)
    }

    /// Records that the scale was set as the HPA decided.
    pub fn rescaled(&mut self, now: Duration, decision: &Decision) {
        self.hpa.rescaled(now, decision);
    }
}

#[cfg(test)]
#[allow(clippy::unnecessary_wraps, reason = "answers are results")]
mod tests {
    use super::*;
    use crate::keda::{Answer, Reading, TriggerAnswer};

    const RPS: &str = "s0-rps";

    fn keda(fields: &str) -> Keda {
        let spec = format!("{{ triggers: [{{ type: external-push }}], {fields} }}");
        let mut keda = Keda::new(serde_saphyr::from_str(&spec).unwrap(), ControllerFlags::default(), Duration::ZERO);
        assert_eq!(keda.reconcile(&answers(reading(0, false))), Ok(true));
        keda
    }

    fn reading(value: i64, active: bool) -> Answer {
        Answer::Ok(Reading { values: vec![Milli::whole(value)], active })
    }

    fn failure() -> Answer {
        Answer::Err("the scaler is gone".to_owned())
    }

    fn trigger(index: usize, answer: Answer) -> TriggerAnswer {
        let name = format!("s{index}-rps");
        let spec = MetricSpec { name: name.clone(), target: Milli::whole(100) };
        TriggerAnswer { specs: Ok(vec![spec]), metrics: HashMap::from([(name, answer)]) }
    }

    fn answers(answer: Answer) -> Answers {
        Answers { triggers: vec![trigger(0, answer)] }
    }

    fn without_specs() -> TriggerAnswer {
        TriggerAnswer { specs: Err("the scaler is gone".to_owned()), metrics: HashMap::new() }
    }

    fn sync(keda: &mut Keda, seconds: u64, replicas: u32, answer: Answer) -> Decision {
        let served = vec![keda.serve(RPS, &answers(answer), replicas)];
        keda.sync(Duration::from_secs(seconds), replicas.into(), served).0
    }

    fn poll(keda: &mut Keda, seconds: u64, replicas: u32, answer: Answer) -> Poll {
        keda.poll(Duration::from_secs(seconds), replicas, &answers(answer))
    }

    #[test]
    fn an_hpa_whose_targets_stay_is_left_alone() {
        let mut keda = keda("minReplicaCount: 1");
        assert_eq!(keda.reconcile(&answers(reading(0, false))), Ok(false));
        let mut other = answers(reading(0, false));
        other.triggers[0].specs.as_mut().unwrap()[0].target = Milli::whole(50);
        assert_eq!(keda.reconcile(&other), Ok(true));
        assert_eq!(keda.metrics()[0].target, Milli::whole(50));
    }

    #[test]
    fn no_hpa_is_made_of_no_specs_double_names_or_a_target_of_zero() {
        let mut keda = keda("minReplicaCount: 1");
        let error = keda.reconcile(&Answers { triggers: vec![without_specs()] }).unwrap_err();
        assert_eq!(error.to_string(), "no metric specs returned from scalers: the scaler is gone");
        let twice = Answers { triggers: vec![trigger(0, failure()), trigger(0, failure())] };
        assert_eq!(keda.reconcile(&twice), Err(ReconcileError::Twice(RPS.into())));
        let mut zero = answers(failure());
        zero.triggers[0].specs.as_mut().unwrap()[0].target = Milli(0);
        assert!(keda.reconcile(&zero).unwrap_err().to_string().ends_with("is 0, wants one above zero"));
    }

    #[test]
    fn with_a_minimum_polls_take_over_what_the_hpa_saw() {
        let mut keda = keda("minReplicaCount: 1");
        assert!(keda.polls(RPS), "the HPA has seen nothing yet");
        sync(&mut keda, 0, 1, reading(50, true));
        assert!(!keda.polls(RPS));
        sync(&mut keda, 15, 1, failure());
        assert!(keda.polls(RPS), "a failing HPA cannot be relied on");
    }

    #[test]
    fn without_a_minimum_every_poll_asks_the_scaler() {
        let mut keda = keda("minReplicaCount: 0");
        sync(&mut keda, 0, 1, reading(50, true));
        assert!(keda.polls(RPS));
    }

    #[test]
    fn a_push_wakes_from_zero_and_puts_off_the_cooldown() {
        let mut keda = keda("minReplicaCount: 0, cooldownPeriod: 60");
        assert_eq!(keda.pushed(Duration::from_secs(1), 0, 0), Some(Change::Activate(1)));
        assert_eq!(keda.pushed(Duration::from_secs(30), 1, 0), None);
        assert_eq!(poll(&mut keda, 80, 1, reading(0, false)).change, None);
        assert_eq!(poll(&mut keda, 90, 1, reading(0, false)).change, Some(Change::Deactivate(0)));
    }

    #[test]
    fn a_push_before_the_metrics_are_known_does_nothing() {
        let spec = serde_saphyr::from_str("{ triggers: [{ type: external-push }] }").unwrap();
        let mut keda = Keda::new(spec, ControllerFlags::default(), Duration::ZERO);
        assert_eq!(keda.pushed(Duration::from_secs(1), 0, 0), None);
    }

    #[test]
    fn polls_and_syncs_count_failures_together_and_then_the_fallback_holds() {
        let mut keda = keda(
            "minReplicaCount: 0, fallback: { failureThreshold: 2, replicas: 1, behavior: currentReplicasIfHigher }",
        );
        sync(&mut keda, 0, 8, reading(800, true));
        assert!(matches!(sync(&mut keda, 15, 8, failure()).reason, Reason::MetricsFailed(_)));
        let second = poll(&mut keda, 30, 8, failure());
        assert_eq!((second.active, second.error, second.change), (false, true, None));
        assert_eq!(sync(&mut keda, 30, 8, failure()).desired, 8, "8 × the target stands in");
        let fallen_back = poll(&mut keda, 60, 8, failure());
        assert_eq!((fallen_back.active, fallen_back.error), (true, false), "a fallback counts as active");
    }

    #[test]
    fn the_fallback_never_stands_in_for_missing_specs() {
        let mut keda = keda("minReplicaCount: 0, fallback: { failureThreshold: 0, replicas: 6 }");
        for _ in 0..9 {
            let answers = Answers { triggers: vec![without_specs()] };
            assert_eq!(keda.serve(RPS, &answers, 2), Err("the scaler is gone".into()));
        }
    }

    #[test]
    fn one_trigger_without_specs_fails_the_metrics_of_the_others() {
        let mut keda = keda("minReplicaCount: 1");
        let answers = Answers { triggers: vec![trigger(0, reading(50, true)), without_specs()] };
        assert_eq!(keda.serve(RPS, &answers, 1), Err("the scaler is gone".into()));
    }

    #[test]
    fn a_metric_that_the_scaler_no_longer_names_is_an_error() {
        let mut keda = keda("minReplicaCount: 1");
        let error = keda.serve("s0-lag", &answers(reading(50, true)), 1).unwrap_err();
        assert_eq!(error, "no matching metrics found for s0-lag");
    }
}
