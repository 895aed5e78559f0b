//! From annotations to an intent: reads key by key, checks what the keys need of each other, and collects all problems.

use std::time::Duration;

use super::{Annotations, Bounds, Intent, schedule::ScheduleIntent};
use crate::{
    behavior::Behavior,
    beside::Beside,
    gate::HoldIntent,
    kafka::KafkaIntent,
    key::{Key, PREFIX, Place, STATUS},
    llm::ModelIntent,
    problem::{Problem, shortened},
    signal::{PerReplica, Signal, Target},
    value::{self, ReadKeys, Wanted},
};

/// Reads keys one by one and collects their problems.
pub(super) struct Reader<'a> {
    pub(super) own: &'a Annotations,
    pub(super) namespace: &'a str,
    pub(super) defaults: &'a Annotations,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl ReadKeys for Reader<'_> {
    fn read<T>(&mut self, key: Key, parse: impl FnOnce(&str) -> Result<T, Wanted>) -> Option<T> {
        let annotation = key.annotation();
        let (value, inherited) = match (self.own.get(annotation), self.defaults.get(annotation)) {
            (Some(value), _) => (value, None),
            (None, Some(value)) => (value, Some(self.namespace.to_owned())),
            (None, None) => return None,
        };
        let parsed = value::bounded(value, parse);
        parsed
            .map_err(|wanted| {
                self.problems.push(Problem::Malformed {
                    key: annotation.to_owned(),
                    got: shortened(value),
                    wanted,
                    inherited,
                });
            })
            .ok()
    }
}

impl Reader<'_> {
    /// Whether the object or its Namespace has the key.
    fn has(&self, key: Key) -> bool {
        let annotation = key.annotation();
        self.own.contains_key(annotation) || self.defaults.contains_key(annotation)
    }

    pub(super) fn contradiction(&mut self, message: String) {
        self.problems.push(Problem::Contradiction(message));
    }

    pub(super) fn intent(&mut self) -> Intent {
        let intent = self.values();
        self.check_bounds(intent.bounds);
        self.needs(Key::PrometheusQuery, &[Key::PrometheusTarget]);
        self.needs(Key::PrometheusTarget, &[Key::PrometheusQuery]);
        self.needs(Key::KafkaLag, &[Key::KafkaGroup]);
        self.needs(Key::KafkaLagSeconds, &[Key::KafkaGroup]);
        for key in Key::OF_KAFKA {
            self.needs(key, &[Key::KafkaLag, Key::KafkaLagSeconds]);
        }
        self.needs(Key::Model, &[Key::InputTokensPerSecond, Key::OutputTokensPerSecond]);
        self.needs(Key::StartupTime, &Key::of_models());
        self.needs(Key::Container, &[Key::Cpu, Key::Memory]);
        self.needs(Key::Formula, &[Key::FormulaTarget]);
        self.needs(Key::FormulaTarget, &[Key::Formula]);
        self.needs(Key::FormulaActivation, &[Key::Formula]);
        self.check_formula(&intent);
        self.needs(Key::After, &[Key::Hours, Key::Calendar]);
        self.check_hours();
        intent
    }

    fn check_formula(&mut self, intent: &Intent) {
        let formula = intent.beside.formula.as_ref();
        // What a formula may name is unknown while other values are wrong.
        if let Some(problem) =
            formula.filter(|_| self.problems.is_empty()).and_then(|f| f.problem(&intent.targets, &intent.beside))
        {
            self.contradiction(format!("{}: {problem}", Key::Formula.annotation()));
        }
    }

    pub(super) fn check_hours(&mut self) {
        self.needs(Key::Hours, &[Key::Timezone, Key::Calendar]);
        self.needs(Key::OffHoursReplicas, &[Key::Hours, Key::Calendar]);
        self.needs(Key::WarmUp, &[Key::Hours, Key::Calendar]);
    }

    pub(super) fn check_bounds(&mut self, Bounds { min, max }: Bounds) {
        if min > max {
            let from_default = |key: Key| if self.has(key) { "" } else { " (the default)" };
            let (min_note, max_note) = (from_default(Key::MinReplicas), from_default(Key::MaxReplicas));
            self.contradiction(format!(
                "tidegate.dev/min-replicas is {min}{min_note}, but tidegate.dev/max-replicas is {max}{max_note}: raise the \
                 maximum or lower the minimum"
            ));
        }
    }

    /// Reports a key of the object itself that needs one of the `others`, on the object or its Namespace, where there is none.
    fn needs(&mut self, key: Key, others: &[Key]) {
        if self.own.contains_key(key.annotation()) && !others.iter().any(|other| self.has(*other)) {
            let others: Vec<_> = others.iter().map(|key| key.annotation()).collect();
            self.contradiction(format!("{} needs {} beside it", key.annotation(), others.join(" or ")));
        }
    }

    pub(super) fn values(&mut self) -> Intent {
        let defaults = Bounds::default();
        let bounds = Bounds {
            min: self.read(Key::MinReplicas, value::replicas).unwrap_or(defaults.min),
            max: self.read(Key::MaxReplicas, value::max_replicas).unwrap_or(defaults.max),
        };
        let mut targets: Vec<_> = Signal::ALL
            .into_iter()
            .filter_map(|signal| {
                let per_replica = self.read(signal.target_key()?, value::target_of(signal))?;
                Some(Target { signal, per_replica })
            })
            .collect();
        let schedule = self.schedule();
        let has_hours = schedule.as_ref().is_some_and(ScheduleIntent::has_hours);
        if has_hours {
            targets.push(Target { signal: Signal::Schedule, per_replica: PerReplica::ONE });
        }
        let beside = Beside::read(self);
        Intent {
            bounds,
            query: self.read(Key::PrometheusQuery, value::query),
            scale_down_after: self.read(Key::ScaleDownAfter, value::window).unwrap_or(Duration::from_mins(5)),
            behavior: Behavior::read(self),
            burst: self.read(Key::Burst, value::boolean),
            paused: self.read(Key::Paused, value::boolean).unwrap_or(false),
            kafka: KafkaIntent::read(self).map(Box::new),
            model: ModelIntent::read(self, &targets),
            adopts: targets.len() == 1 && has_hours && beside.is_empty() && !self.has(Key::MinReplicas),
            beside,
            targets,
            schedule: schedule.map(Box::new),
            hold: HoldIntent::read(self),
            held: false,
            takes_over: self.read(Key::Adopt, value::scaler),
        }
    }

    pub(super) fn schedule(&mut self) -> Option<ScheduleIntent> {
        let schedule = ScheduleIntent {
            hours: self.read(Key::Hours, value::hours),
            time_zone: self.read(Key::Timezone, value::time_zone),
            calendar: self.read(Key::Calendar, value::object_name),
            off_hours_replicas: self.read(Key::OffHoursReplicas, value::replicas),
            warm_up: self.read(Key::WarmUp, value::warm_up).unwrap_or_default(),
            after: self.read(Key::After, value::workload),
            keep_awake_until: self.read(Key::KeepAwakeUntil, value::instant),
        };
        let says_something =
            schedule.hours.is_some() || schedule.calendar.is_some() || schedule.keep_awake_until.is_some();
        says_something.then_some(schedule)
    }
}

/// The problems of keys that do not exist, or not on such an object.
pub(super) fn unknown_keys(annotations: &Annotations, place: Place) -> Vec<Problem> {
    let ours = annotations.keys().filter_map(|key| key.strip_prefix(PREFIX));
    ours.filter(|name| Key::find(name, place).is_none())
        // Tidegate itself writes `status`, on Gateways.
        .filter(|name| !(place == Place::Gateway && STATUS.strip_prefix(PREFIX) == Some(*name)))
        .map(|name| match Key::ALL.iter().copied().find(|key| key.name() == name) {
            Some(key) => Problem::Misplaced { key, place },
            None => Problem::UnknownAnnotation { name: shortened(name), nearest: Key::nearest(name, place) },
        })
        .collect()
}
