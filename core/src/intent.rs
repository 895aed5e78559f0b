//! A user's intent for one workload: its annotations, with the defaults of its Namespace, parsed into types.

mod applied;
mod gateway;
mod managed;
mod reader;
mod schedule;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    applied::{APPLIED, applied},
    gateway::{GatewayIntent, is_annotated},
    managed::Managed,
    schedule::ScheduleIntent,
};
use self::{
    reader::{Reader, unknown_keys},
    schedule::OffHours,
};
use crate::{
    adopt::ScalerRef,
    behavior::Behavior,
    beside::Beside,
    calendar::Calendars,
    gate::HoldIntent,
    kafka::KafkaIntent,
    key::{Key, PREFIX, Place},
    llm::ModelIntent,
    problem::Problem,
    schedule::Schedule,
    signal::{Family, PerReplica, Signal, Target},
    text_map::TextMap,
    value::ReadKeys,
};

/// The annotations of an object, as Kubernetes gives them.
pub type Annotations = TextMap;

/// Lowest and highest number of replicas: `min <= max`, `max >= 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The consumer group whose lag is measured. Boxed, as is the schedule: most workloads have none, and room for both would double
    /// the Plan
    pub kafka: Option<Box<KafkaIntent>>,
    /// The model, for a workload that serves one
    pub model: Option<ModelIntent>,
    /// Business hours
    pub schedule: Option<Box<ScheduleIntent>>,
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

#[cfg(test)]
mod tests;
