//! The same decisions over simulated time: a day takes milliseconds.

use std::{collections::HashMap, time::Duration};

use super::{Answers, Keda, MetricSpec, Reading, Report, ScaledObjectSpec, TriggerAnswer, answers::indexed_name};
use crate::{
    hpa::{ControllerFlags, Scale},
    quantity::Milli,
};

/// The scaler's answer from `at` until the next sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Since the start
    pub at: Duration,
    /// One value for each metric of the simulation; `None`: the scaler fails
    pub values: Vec<Option<f64>>,
    /// `IsActive`; a push trigger also streams it the moment it becomes true
    pub active: bool,
}

/// A ScaledObject with one trigger, fed with samples. Pods exist as soon as they are requested.
///
/// ```
/// use std::time::Duration;
/// use tidegate_sim::{hpa::ControllerFlags, keda::{Sample, ScaledObject, Simulation}};
///
/// let object: ScaledObject = serde_saphyr::from_str("
/// metadata: { name: task-api }
/// spec: { minReplicaCount: 1, maxReplicaCount: 20, triggers: [{ type: external-push }] }
/// ")?;
/// let simulation = Simulation::new(object.spec, &[("requests-per-second", 100.0)], ControllerFlags::default());
/// let seconds = Duration::from_secs;
/// let load = [(0, 50.0), (60, 800.0), (120, 50.0)];
/// let samples = load.map(|(at, rps)| Sample { at: seconds(at), values: vec![Some(rps)], active: true });
/// let run = simulation.run(1, &samples, seconds(600));
/// assert_eq!(run.replicas_at(seconds(59)), 1);
/// assert_eq!(run.replicas_at(seconds(75)), 8);
/// assert_eq!(run.replicas_at(seconds(119)), 8);
/// assert_eq!(run.replicas_at(seconds(600)), 1);
/// # Ok::<(), serde_saphyr::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Simulation {
    spec: ScaledObjectSpec,
    metrics: Vec<MetricSpec>,
    flags: ControllerFlags,
}

/// The result of a simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The replicas at the start
    pub start: u32,
    /// Every decision, in the order of time
    pub reports: Vec<Report>,
}

impl Run {
    /// The replicas right after `at`.
    pub fn replicas_at(&self, at: Duration) -> u32 {
        let before = self.reports.iter().take_while(|report| report.at <= at);
        before.last().map_or(self.start, |report| report.desired)
    }

    /// Returns only the changes: the time and the new replicas.
    pub fn changes(&self) -> impl Iterator<Item = (Duration, u32)> {
        self.reports.iter().filter(|r| r.desired != r.replicas).map(|r| (r.at, r.desired))
    }
}

impl Simulation {
    /// A simulation of this object, whose scaler has these metrics (name and target per replica; the target is above zero).
    pub fn new(spec: ScaledObjectSpec, metrics: &[(&str, f64)], flags: ControllerFlags) -> Self {
        let metric = |(name, target): &(&str, f64)| MetricSpec {
            name: indexed_name(0, name),
            target: Milli::from_f64(*target).max(Milli(1)),
        };
        Self { spec, metrics: metrics.iter().map(metric).collect(), flags }
    }

    /// Runs from 0 to `until`, both included, on samples in the order of time. The scale loop and the HPA start at 0; at one
    /// instant a sample comes first, then a poll, then a sync.
    pub fn run(&self, start: u32, samples: &[Sample], until: Duration) -> Run {
        let mut running = Running {
            keda: Keda::new(self.spec.clone(), self.flags, Duration::ZERO),
            replicas: start,
            reports: Vec::new(),
        };
        let unknown = Sample { at: Duration::ZERO, values: vec![None; self.metrics.len()], active: false };
        let mut answers = self.answers(&unknown);
        let mut was_active = false;
        // The specs are known from the start; only an impossible target could be refused.
        let _ = running.keda.reconcile(&answers);
        let polls = ticks(self.spec.polling_interval).map(|at| (at, Tick::Poll));
        let syncs = ticks(self.flags.sync_period).map(|at| (at, Tick::Sync));
        let samples = samples.iter().map(|sample| (sample.at, Tick::Sample(sample)));
        for (now, tick) in merged(merged(samples, polls), syncs).take_while(|(at, _)| *at <= until) {
            match tick {
                Tick::Sample(sample) => {
                    answers = self.answers(sample);
                    if sample.active && !was_active && self.spec.triggers.iter().any(|trigger| trigger.push) {
                        running.push(now);
                    }
                    was_active = sample.active;
                }
                Tick::Poll => running.poll(now, &answers),
                Tick::Sync => running.sync(now, &answers),
            }
        }
        Run { start, reports: running.reports }
    }

    fn answers(&self, sample: &Sample) -> Answers {
        let answer = |value: Option<f64>| match value {
            Some(value) => Ok(Reading { values: vec![Milli::from_f64(value)], active: sample.active }),
            None => Err("the scaler fails".to_owned()),
        };
        let values = sample.values.iter().copied().chain(std::iter::repeat(None));
        let metrics: HashMap<_, _> =
            self.metrics.iter().zip(values).map(|(metric, value)| (metric.name.clone(), answer(value))).collect();
        Answers { triggers: vec![TriggerAnswer { specs: Ok(self.metrics.clone()), metrics }] }
    }
}

enum Tick<'a> {
    Sample(&'a Sample),
    Poll,
    Sync,
}

fn ticks(period: Duration) -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(Duration::ZERO), move |at| at.checked_add(period.max(Duration::from_millis(1))))
}

/// Merges both in the order of time; at the same instant, `first` comes first.
fn merged<'a>(
    first: impl Iterator<Item = (Duration, Tick<'a>)>,
    second: impl Iterator<Item = (Duration, Tick<'a>)>,
) -> impl Iterator<Item = (Duration, Tick<'a>)> {
    let (mut first, mut second) = (first.peekable(), second.peekable());
    std::iter::from_fn(move || match (first.peek(), second.peek()) {
        (Some((a, _)), Some((b, _))) if b < a => second.next(),
        (None, _) => second.next(),
        _ => first.next(),
    })
}

struct Running {
    keda: Keda,
    replicas: u32,
    reports: Vec<Report>,
}

impl Running {
    fn push(&mut self, now: Duration) {
        let change = self.keda.pushed(now, self.replicas, 0);
        self.done(Report::of_push(now, self.replicas, change));
    }

    fn poll(&mut self, now: Duration, answers: &Answers) {
        let poll = self.keda.poll(now, self.replicas, answers);
        self.done(Report::of_poll(now, self.replicas, poll, answers));
    }

    fn sync(&mut self, now: Duration, answers: &Answers) {
        let names: Vec<_> = self.keda.metrics_to_ask(self.replicas).map(str::to_owned).collect();
        let served = names.iter().map(|name| self.keda.serve(name, answers, self.replicas)).collect();
        let (decision, metrics) = self.keda.sync(now, Scale::from(self.replicas), served);
        self.keda.rescaled(now, &decision);
        self.done(Report::of_sync(now, &decision, &metrics));
    }

    fn done(&mut self, report: Report) {
        self.replicas = report.desired;
        self.reports.push(report);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keda::Source;

    fn simulation(fields: &str) -> Simulation {
        let spec = format!("{{ triggers: [{{ type: external-push }}], maxReplicaCount: 20, {fields} }}");
        Simulation::new(serde_saphyr::from_str(&spec).unwrap(), &[("rps", 100.0)], ControllerFlags::default())
    }

    /// (seconds, requests/s); active while above zero, and a negative rate fails.
    fn samples(load: &[(u64, f64)]) -> Vec<Sample> {
        let sample = |(at, rps): &(u64, f64)| Sample {
            at: Duration::from_secs(*at),
            values: vec![Some(*rps).filter(|rps| *rps >= 0.0)],
            active: *rps > 0.0,
        };
        load.iter().map(sample).collect()
    }

    fn changes(fields: &str, start: u32, load: &[(u64, f64)], until: u64) -> Vec<(u64, u32)> {
        let run = simulation(fields).run(start, &samples(load), Duration::from_secs(until));
        run.changes().map(|(at, replicas)| (at.as_secs(), replicas)).collect()
    }

    #[test]
    fn a_day_from_zero_to_the_load_and_back_to_zero() {
        let load = [(0, 0.0), (100, 950.0), (400, 0.0)];
        let path = changes("minReplicaCount: 0", 0, &load, 1200);
        // Woken by the push; doubled at every sync; held for the window; and zero a cooldown after the last active poll.
        assert_eq!(path, [(100, 1), (105, 4), (120, 8), (135, 10), (690, 0)]);
    }

    #[test]
    fn with_a_minimum_the_window_alone_brings_it_down() {
        let load = [(0, 950.0), (100, 10.0)];
        assert_eq!(changes("minReplicaCount: 1", 10, &load, 1000), [(405, 1)]);
    }

    #[test]
    fn a_failing_scaler_holds_replicas_for_as_long_as_it_fails() {
        assert_eq!(changes("minReplicaCount: 0", 10, &[(0, 950.0), (100, -1.0)], 100_000), []);
    }

    #[test]
    fn the_fallback_raises_replicas_after_its_threshold() {
        let fallback = "minReplicaCount: 1, fallback: { failureThreshold: 3, replicas: 6 }";
        let run = simulation(fallback).run(2, &samples(&[(0, 150.0), (50, -1.0)]), Duration::from_secs(300));
        let raised = run.reports.iter().find(|report| report.desired == 4).unwrap();
        assert_eq!((raised.source, raised.at), (Source::Hpa, Duration::from_secs(90)), "{raised:?}");
        assert_eq!(run.replicas_at(Duration::from_secs(300)), 6);
    }

    #[test]
    fn every_decision_is_reported_with_its_metric() {
        let run = simulation("minReplicaCount: 1").run(1, &samples(&[(0, 250.0)]), Duration::from_secs(15));
        let syncs: Vec<_> = run.reports.iter().filter(|report| report.source == Source::Hpa).collect();
        assert_eq!(syncs[0].metrics[0].value, Ok(Milli::whole(250)));
        assert_eq!(syncs[0].why, "rps above target");
        assert_eq!(syncs[1].why, "on target");
    }

    /// Seconds and requests/s, failures included.
    fn loads() -> impl Strategy<Value = Vec<(u64, f64)>> {
        let sample = (1u64..400, prop_oneof![Just(-1.0), Just(0.0), 0.0..4_000.0f64]);
        proptest::collection::vec(sample, 1..20).prop_map(|steps| {
            let mut at = 0;
            let absolute = |(later, rps): (u64, f64)| {
                at += later;
                (at, rps)
            };
            steps.into_iter().map(absolute).collect()
        })
    }

    proptest! {
        #[test]
        fn replicas_stay_within_their_bounds_or_at_zero(load in loads(), min in 0u32..5, start in 0u32..=20) {
            let fields = format!("minReplicaCount: {min}");
            let run = simulation(&fields).run(start, &samples(&load), Duration::from_secs(8_000));
            for report in run.reports {
                let floor = if report.desired < report.replicas { min } else { 0 };
                prop_assert!((floor..=20).contains(&report.desired), "{report:?}");
            }
        }

        #[test]
        fn a_scaler_that_fails_from_some_instant_on_never_lowers_replicas_after_it(load in loads(), start in 1u32..20) {
            let silent = load.last().map_or(0, |(at, _)| at + 1);
            let load: Vec<_> = load.into_iter().chain([(silent, -1.0)]).collect();
            let run = simulation("minReplicaCount: 0").run(start, &samples(&load), Duration::from_secs(silent + 8_000));
            for report in run.reports.iter().filter(|report| report.at.as_secs() >= silent) {
                prop_assert!(report.desired >= report.replicas, "{report:?}");
            }
        }
    }
}
