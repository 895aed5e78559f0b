//! Effect of business hours now, and until when it lasts.

use std::fmt::{self, Display, Formatter};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tidegate_core::{
    plan::Prerequisite,
    schedule::{Limits, Phase, Schedule},
};

/// The hours of a workload or a Gateway, at an instant.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedHours {
    /// Opening hours as they are written
    pub hours: String,
    /// Their IANA zone
    pub time_zone: String,
    /// The Calendar that they come from
    pub calendar: Option<String>,
    /// The phase at that instant
    pub phase: Phase,
    /// The fewest and the most replicas now
    pub limits: Limits,
    /// Time of the next phase, in the zone of the hours; `None` when nothing changes for years
    pub next_change: Option<String>,
    /// The object that the opening still waits for
    pub waits_for: Option<String>,
}

impl ExplainedHours {
    pub(super) fn new(schedule: &Schedule, limits: Limits, calendar: Option<&str>, now: DateTime<Utc>) -> Self {
        let zone = schedule.calendar.zone;
        let local = |at: DateTime<Utc>| at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, true);
        Self {
            hours: schedule.calendar.hours.to_string(),
            time_zone: zone.to_string(),
            calendar: calendar.map(ToOwned::to_owned),
            phase: schedule.phase(now),
            limits,
            next_change: schedule.next_change(now).map(local),
            waits_for: None,
        }
    }

    /// Adds the object that the opening waits for: hours have begun by the clock, but that object is not Ready.
    pub(super) fn waiting(self, after: Option<&Prerequisite>) -> Self {
        let waits = self.phase != Phase::Closed && self.limits.cap.is_some();
        Self { waits_for: after.filter(|_| waits).map(|after| after.id.to_string()), ..self }
    }
}

impl Display for ExplainedHours {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let phase = match (&self.waits_for, self.phase) {
            (Some(other), _) => {
                format!("opening, but {other} is not Ready yet, which is waited for for 10 min at most")
            }
            (None, Phase::Open) => "open".to_owned(),
            (None, Phase::Awake) => "kept awake by tidegate.dev/keep-awake-until".to_owned(),
            (None, Phase::WarmUp) => "warming up".to_owned(),
            (None, Phase::Closed) => "closed".to_owned(),
        };
        let limits = match self.limits.cap {
            Some(cap) => format!("at most {cap}"),
            None => format!("at least {}", self.limits.floor),
        };
        write!(f, "{phase}, {limits}")?;
        match &self.next_change {
            Some(at) => write!(f, ", until {at}")?,
            None => write!(f, ", for the years to come")?,
        }
        write!(f, " ({} in {}", self.hours, self.time_zone)?;
        match &self.calendar {
            Some(name) => write!(f, ", Calendar {name})"),
            None => write!(f, ")"),
        }
    }
}
