//! A change, and the reason for the number after it in one sentence.

use std::fmt::{self, Display, Formatter};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tidegate_core::{
    demand::{self, Desired},
    intent::Intent,
    plan::Replicas,
    schedule::Phase,
    signal::Signal,
};

use crate::demand::Look;

/// A change of a workload's wanted number, or of what it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// When it was seen, at most 15 s after it happened
    pub at: DateTime<Utc>,
    /// Replicas that were wanted before; `None` if that was not known
    pub from: Option<u32>,
    /// Replicas that are wanted from then on: those that signals ask for, within the bounds, and not fewer than at any time within
    /// `scale-down-after`. `None` if that is not known
    pub to: Option<u32>,
    /// What changed
    pub cause: Cause,
    /// What of it changed: a key of the annotations with its values, the routes, the name of a Calendar
    pub detail: Option<String>,
    /// The reason for the number
    pub why: Why,
    /// `spec.replicas` and the ready ones, as the workload's own object reported them
    pub replicas: Replicas,
}

/// What a change began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It was seen for the first time, or for the first time since this process started
    Start,
    /// The demand, and nothing else
    Demand,
    /// A signal has become known or unknown
    Signals,
    /// Business hours have begun or ended
    Hours,
    /// The Calendar was changed
    Calendar,
    /// Annotations of the workload or of its Namespace were changed
    Annotations,
    /// Other routes, or other parts of them, lead to the workload
    Routes,
    /// `spec.replicas` was changed, by the HPA or somebody else, or pods have become ready or not ready
    Pods,
}

impl Cause {
    pub(super) const ALL: [Self; 8] = [
        Self::Start,
        Self::Demand,
        Self::Signals,
        Self::Hours,
        Self::Calendar,
        Self::Annotations,
        Self::Routes,
        Self::Pods,
    ];

    /// The cause as a word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Demand => "demand",
            Self::Signals => "signals",
            Self::Hours => "hours",
            Self::Calendar => "calendar",
            Self::Annotations => "annotations",
            Self::Routes => "routes",
            Self::Pods => "pods",
        }
    }
}

/// Why this number is wanted; `Display` gives one short sentence.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The signal with the largest need; `None` when nothing is needed, or nothing is known
    pub decisive: Option<Decisive>,
    /// The bound that changed the number
    pub limit: Option<Limit>,
    /// The phase of the business hours, if there are any
    pub phase: Option<Phase>,
    /// Whether fewer are needed by now, and `scale-down-after` keeps the others
    pub held: bool,
    /// Whether requests are held until a pod is ready
    pub holds_requests: bool,
    /// Whether the value is the last known one, or a lower bound
    pub last_known: bool,
    /// Why a signal is not known: nothing is taken away meanwhile
    pub unknown: Option<String>,
}

/// The signal that decided, with its numbers as precisely as they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decisive {
    /// The signal
    pub signal: Signal,
    /// The whole workload's demand, in the signal's unit
    pub demand: f32,
    /// The demand that one replica carries
    pub per_replica: f32,
    /// Replicas that carry it, before bounds
    pub needs: u32,
}

/// A bound that changes the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Demand asks for fewer than `min-replicas`
    MinReplicas,
    /// Demand asks for more than `max-replicas`
    MaxReplicas,
    /// Outside business hours no more than `off-hours-replicas` may run
    OffHours,
}

impl Limit {
    pub(super) const ALL: [Self; 3] = [Self::MinReplicas, Self::MaxReplicas, Self::OffHours];

    /// The limit as a word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MinReplicas => "min-replicas",
            Self::MaxReplicas => "max-replicas",
            Self::OffHours => "off-hours",
        }
    }
}

impl Why {
    /// The reason for what was seen of a workload.
    pub(crate) fn of(look: &Look, intent: &Intent, phase: Option<Phase>) -> Self {
        let decisive = look.decisive().map(|demand| Decisive {
            signal: demand.need.signal,
            demand: demand.need.value as f32,
            per_replica: demand.need.per_replica.get() as f32,
            needs: demand.need.replicas(),
        });
        let of_bounds = |desired: Desired| match desired.limit? {
            demand::Limit::MinReplicas => Some(Limit::MinReplicas),
            demand::Limit::MaxReplicas => Some(Limit::MaxReplicas),
        };
        let is_capped = look.limits.is_some_and(|limits| limits.cap.is_some());
        let own = (look.desired.is_none() && look.is_complete()).then(|| of_others(intent).to_owned());
        Self {
            decisive,
            limit: if is_capped { Some(Limit::OffHours) } else { look.desired.and_then(of_bounds) },
            phase,
            held: false,
            holds_requests: look.holds_requests,
            last_known: look.decisive().is_some_and(|demand| demand.caveat.is_some()),
            unknown: look.unknown().map(ToString::to_string).or(own),
        }
    }

    /// The reason for no number at all.
    pub(crate) fn nothing(unknown: String) -> Self {
        Self { unknown: Some(unknown), ..Self::default() }
    }

    pub(super) fn without_text(&self) -> Self {
        Self { unknown: None, ..self.clone() }
    }
}

/// Who decides where Tidegate has no number.
fn of_others(intent: &Intent) -> &'static str {
    match (&intent.beside.formula, intent.is_silent()) {
        (Some(_), _) => "the HPA follows a formula",
        (None, true) => "it has no signal to scale on",
        (None, false) => "KEDA's own triggers decide",
    }
}

impl Display for Why {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (&self.decisive, &self.unknown) {
            (None, Some(unknown)) => return write!(f, "not known: {unknown}"),
            (None, None) if self.limit == Some(Limit::OffHours) => f.write_str("outside its hours")?,
            (None, None) => f.write_str("nothing asks for any")?,
            (Some(Decisive { signal: Signal::Schedule, .. }), _) if self.limit.is_none() => {
                f.write_str("the least inside its hours")?;
            }
            (Some(Decisive { signal, demand, per_replica, .. }), _) => {
                write!(f, "{demand:.1} {} ÷ {per_replica} per replica", signal.unit())?;
            }
        }
        match (self.limit, self.decisive) {
            (None, _) | (Some(Limit::OffHours), None) => {}
            (Some(Limit::OffHours), Some(_)) => f.write_str(", outside its hours")?,
            (Some(limit), Some(Decisive { needs, .. })) => write!(f, " needs {needs}, {} decides", limit.as_str())?,
            (Some(limit), None) => write!(f, ", {} decides", limit.as_str())?,
        }
        if self.held {
            f.write_str("; scale-down-after keeps the others")?;
        }
        if self.holds_requests {
            f.write_str("; requests are held until a pod is ready")?;
        }
        match &self.unknown {
            Some(unknown) => write!(f, "; nothing is taken away: {unknown}"),
            None if self.last_known => f.write_str("; the last known value"),
            None => Ok(()),
        }
    }
}

impl Change {
    /// What changed, for people: `annotations: max-replicas 10 → 20`.
    pub fn who(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}: {detail}", self.cause.as_str()),
            None => self.cause.as_str().to_owned(),
        }
    }
}
