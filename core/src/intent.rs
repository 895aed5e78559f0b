//! A user's intent for one workload: its annotations, with the defaults of its Namespace, parsed into types.

mod applied;
mod gateway;
mod managed;

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

pub use self::{
    applied::{APPLIED, applied},
    gateway::{GatewayIntent, is_annotated},
    managed::Managed,
};
use crate::{
    adopt::ScalerRef,
    behavior::Behavior,
    beside::Beside,
    calendar::{Calendar, Calendars},
    gate::HoldIntent,
    hours::Hours,
    kafka::KafkaIntent,
    key::{Key, PREFIX, Place, STATUS},
    llm::ModelIntent,
    problem::{Problem, shortened},
    schedule::Schedule,
    signal::{Family, PerReplica, Signal, Target},
    value::{self, ReadKeys, Wanted},
    workload::WorkloadRef,
};

/// The annotations of an object, as Kubernetes gives them.
pub type Annotations = BTreeMap<String, String>;

/// Lowest and highest number of replicas: `min <= max`, `max >= 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// The fewest replicas
    pub min: u32,
    /// The most replicas
    pub max: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { min: 1, max: 10 }
    }
}

/// The intent of one workload's annotations.
///
/// ```
/// use tidegate_core::{intent::{Annotations, Intent}, signal::Signal};
///
/// let annotations = Annotations::from([
///     ("tidegate.dev/max-replicas".to_owned(), "20".to_owned()),
///     ("tidegate.dev/requests-per-second".to_owned(), "100".to_owned()),
/// ]);
/// let intent = Intent::of_workload(&annotations, "shop", &Annotations::new())?.expect("it is annotated");
/// assert_eq!((intent.bounds.min, intent.bounds.max), (1, 20));
/// assert_eq!(intent.targets[0].signal, Signal::RequestsPerSecond);
/// # Ok::<(), Vec<tidegate_core::problem::Problem>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// Bounds inside hours
    pub bounds: Bounds,
    /// The signals that decide, in the order of [`Signal::ALL`]; the largest need wins
    pub targets: Vec<Target>,
    /// The PromQL of [`Signal::PrometheusQuery`]
    pub query: Option<String>,
    /// Stabilisation window: replicas go down only to the highest number that was wanted within it
    pub scale_down_after: Duration,
    /// How fast the HPA may change replicas
    pub behavior: Behavior,
    /// Whether replicas are added at once; `None` where the chart's values decide
    pub burst: Option<bool>,
    /// KEDA's own triggers, beside Tidegate's
    pub beside: Beside,
    /// Whether everything is left as it is
    pub paused: bool,
    /// The consumer group whose lag is measured
    pub kafka: Option<KafkaIntent>,
    /// The model, for a workload that serves one
    pub model: Option<ModelIntent>,
    /// Business hours
    pub schedule: Option<ScheduleIntent>,
    /// Whether only hours are asked for, without a minimum: inside them it has the replicas that it had when Tidegate found it
    pub adopts: bool,
    /// What happens to requests that come while there are no replicas
    pub hold: HoldIntent,
    /// Whether requests are held while there are no replicas, so that they wake it. Annotations alone do not say: the Plan decides
    /// it, by the Services that lead to the workload
    pub held: bool,
    /// The scaler of another owner that is to be taken over
    pub takes_over: Option<ScalerRef>,
}

/// Business hours.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleIntent {
    /// OpenStreetMap opening hours
    pub hours: Option<Hours>,
    /// The zone of the hours
    pub time_zone: Option<Tz>,
    /// The name of a Calendar
    pub calendar: Option<String>,
    /// The cap outside hours
    pub off_hours_replicas: Option<u32>,
    /// Time before opening at which the floor already applies
    pub warm_up: Duration,
    /// The workload that has to be Ready before this one opens
    pub after: Option<WorkloadRef>,
    /// The end of an override that keeps it open
    pub keep_awake_until: Option<DateTime<Utc>>,
}

/// Replicas outside hours: at most `replicas`, and at least `floor`.
#[derive(Debug, Clone, Copy)]
struct OffHours {
    replicas: u32,
    floor: u32,
}

impl ScheduleIntent {
    fn has_hours(&self) -> bool {
        self.calendar.is_some() || (self.hours.is_some() && self.time_zone.is_some())
    }

    /// The schedule of the object of this name, if it has hours. The problem is a Calendar that is missing or invalid.
    fn resolve(
        &self,
        name: &str,
        floor: u32,
        off_hours: OffHours,
        calendars: &Calendars,
    ) -> Result<Option<Schedule>, Problem> {
        let Some(calendar) = self.calendar(calendars)? else { return Ok(None) };
        Ok(Some(Schedule {
            calendar,
            floor,
            off_hours_replicas: off_hours.replicas,
            off_hours_floor: off_hours.floor,
            warm_up: self.warm_up,
            spread: Schedule::spread_of(self.warm_up, name),
            after: self.after.clone(),
            keep_awake_until: self.keep_awake_until,
        }))
    }

    fn calendar(&self, calendars: &Calendars) -> Result<Option<Calendar>, Problem> {
        let Some(name) = &self.calendar else {
            return Ok(self.hours.clone().zip(self.time_zone).map(|(hours, zone)| Calendar::new(hours, zone)));
        };
        let key = Key::Calendar.annotation();
        match calendars.get(name) {
            Some(Ok(known)) => Ok(Some(known.with(self.hours.as_ref(), self.time_zone))),
            Some(Err(error)) => Err(Problem::Contradiction(format!("{key}: Calendar {name} cannot be used: {error}"))),
            None => Err(Problem::Contradiction(format!(
                "{key}: there is no Calendar {name}; `kubectl get calendars.tidegate.dev` lists them"
            ))),
        }
    }
}

impl Intent {
    /// Parses the annotations of a workload over the defaults of its Namespace.
    ///
    /// `Ok(None)` when Tidegate does not scale the workload: it carries no key of its own and its Namespace does not have
    /// `manage: all` with hours. An error lists all problems, so that they can be fixed in one go.
    pub fn of_workload(
        own: &Annotations,
        namespace: &str,
        defaults: &Annotations,
    ) -> Result<Option<Self>, Vec<Problem>> {
        let mut problems = unknown_keys(own, Place::Workload);
        let annotated = own.keys().any(|key| key.starts_with(PREFIX));
        if !annotated && Managed::of(defaults).is_none() {
            return Ok(None);
        }
        let intent = Reader { own, namespace, defaults, problems: &mut problems }.intent();
        if !annotated && problems.is_empty() && intent.is_silent() {
            // `manage: all` without hours, which check_namespace reports.
            return Ok(None);
        }
        if problems.is_empty() { Ok(Some(intent)) } else { Err(problems) }
    }

    /// The lowest number of replicas inside hours. At zero there is no endpoint, and Envoy Gateway removes the cluster that would
    /// count the request that should wake the workload: so only requests that are held, a query, Kafka's lag or a trigger of KEDA's
    /// own allow zero.
    pub fn floor(&self) -> u32 {
        let sees = |target: &Target| match target.signal.family() {
            Family::Query | Family::Kafka => true,
            Family::Traffic | Family::Tokens | Family::ModelServers | Family::Schedule => false,
        };
        let wakes = self.held || self.targets.iter().any(sees) || self.beside.wakes();
        if wakes { self.bounds.min } else { self.bounds.min.max(1) }
    }

    /// Whether there are hours at which it may have no replicas, once requests are held meanwhile.
    pub fn may_sleep(&self) -> bool {
        !self.paused && (self.bounds.min == 0 || self.lowest() == 0)
    }

    /// Whether requests alone decide outside hours, instead of a cap.
    fn wakes_outside_hours(&self) -> bool {
        self.held && self.hold.wakes == Some(true) && !self.is_hours_only()
    }

    /// Time without demand before the last replica goes.
    pub fn zero_after(&self) -> Duration {
        self.hold.zero_after.unwrap_or(self.scale_down_after)
    }

    /// The lowest number of replicas at any hour. Outside hours only the cap applies, and one replica is kept unless the cap is
    /// zero; from zero the schedule wakes the workload. Where only hours decide, the cap is the number.
    pub fn lowest(&self) -> u32 {
        let schedule = self.schedule.as_ref().filter(|schedule| schedule.has_hours());
        let least = if self.is_hours_only() { u32::MAX } else { 1 };
        self.floor().min(schedule.map_or(u32::MAX, |schedule| schedule.off_hours_replicas.unwrap_or(0).min(least)))
    }

    /// Whether nothing but hours is asked for.
    pub fn is_hours_only(&self) -> bool {
        matches!(&self.targets[..], [Target { signal: Signal::Schedule, .. }]) && self.beside.is_empty()
    }

    /// Whether nothing says when to scale.
    pub fn is_silent(&self) -> bool {
        self.targets.is_empty() && self.beside.is_empty()
    }

    /// Whether hours can hold the workload down only by having KEDA pause its ScaledObject. They clamp Tidegate's own signals, but
    /// KEDA's triggers ask for replicas at any hour, and a formula may make anything of what is clamped. `cpu` and `memory` do so only while there are pods: they neither wake a workload
    /// nor keep it from zero.
    pub fn sleeps_by_pause(&self) -> bool {
        let Some(schedule) = self.schedule.as_ref().filter(|schedule| schedule.has_hours()) else { return false };
        let keeps_some = schedule.off_hours_replicas.is_some_and(|replicas| replicas > 0);
        self.beside.wakes() || self.beside.formula.is_some() || (keeps_some && !self.beside.is_empty())
    }

    /// The schedule of the workload of this name, if it has hours. The problem is a Calendar that is missing or invalid.
    pub fn schedule(&self, name: &str, calendars: &Calendars) -> Result<Option<Schedule>, Problem> {
        let Some(schedule) = &self.schedule else { return Ok(None) };
        let replicas = schedule.off_hours_replicas.unwrap_or(0);
        let floor = if self.is_hours_only() { replicas } else { 0 };
        let replicas = if replicas == 0 && self.wakes_outside_hours() { self.bounds.max } else { replicas };
        let off_hours = OffHours { replicas, floor };
        schedule.resolve(name, self.floor(), off_hours, calendars)
    }

    /// The target of a signal, if the intent has it.
    pub fn target(&self, signal: Signal) -> Option<PerReplica> {
        self.targets.iter().find(|target| target.signal == signal).map(|target| target.per_replica)
    }
}

/// Checks the annotations of a Namespace: every key of Tidegate on it must exist and hold a value that the key takes.
pub fn check_namespace(annotations: &Annotations) -> Vec<Problem> {
    let mut problems = unknown_keys(annotations, Place::Namespace);
    let nothing = Annotations::new();
    let mut reader = Reader { own: annotations, namespace: "", defaults: &nothing, problems: &mut problems };
    let managed = reader.read(Key::Manage, Managed::parse);
    let has_hours = reader.values().schedule.is_some_and(|schedule| schedule.has_hours());
    if managed.is_some() && !has_hours {
        reader.contradiction(
            "tidegate.dev/manage: all needs hours: tidegate.dev/hours with tidegate.dev/timezone, or tidegate.dev/calendar"
                .to_owned(),
        );
    }
    problems
}

fn unknown_keys(annotations: &Annotations, place: Place) -> Vec<Problem> {
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

/// Reads keys one by one and collects their problems.
struct Reader<'a> {
    own: &'a Annotations,
    namespace: &'a str,
    defaults: &'a Annotations,
    problems: &'a mut Vec<Problem>,
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

    fn contradiction(&mut self, message: String) {
        self.problems.push(Problem::Contradiction(message));
    }

    fn intent(&mut self) -> Intent {
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
        self.needs(Key::StartupTime, &Key::OF_MODELS);
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

    fn check_hours(&mut self) {
        self.needs(Key::Hours, &[Key::Timezone, Key::Calendar]);
        self.needs(Key::OffHoursReplicas, &[Key::Hours, Key::Calendar]);
        self.needs(Key::WarmUp, &[Key::Hours, Key::Calendar]);
    }

    fn check_bounds(&mut self, Bounds { min, max }: Bounds) {
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

    fn values(&mut self) -> Intent {
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
            kafka: KafkaIntent::read(self),
            model: ModelIntent::read(self, &targets),
            adopts: targets.len() == 1 && has_hours && beside.is_empty() && !self.has(Key::MinReplicas),
            beside,
            targets,
            schedule,
            hold: HoldIntent::read(self),
            held: false,
            takes_over: self.read(Key::Adopt, value::scaler),
        }
    }

    fn schedule(&mut self) -> Option<ScheduleIntent> {
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

#[cfg(test)]
mod tests;
