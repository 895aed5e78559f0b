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
        self.check_needs(Place::Workload);
        self.check_formula(&intent);
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

    /// Reports each key of the object itself that needs one of others, on the object or its Namespace, where there is none.
    pub(super) fn check_needs(&mut self, place: Place) {
        for key in Key::ALL.iter().filter(|key| key.allowed_on(place) && self.own.contains_key(key.annotation())) {
            if !key.needs().is_empty() && !key.needs().iter().any(|other| self.has(*other)) {
                let others: Vec<_> = key.needs().iter().map(|other| other.annotation()).collect();
                self.contradiction(format!("{} needs {} beside it", key.annotation(), others.join(" or ")));
            }
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
        let schedule = ScheduleIntent::read(self);
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
