//! The business hours that an object asks for.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::{
    calendar::{Calendar, Calendars},
    hours::Hours,
    key::Key,
    problem::Problem,
    schedule::Schedule,
    value::{self, ReadKeys},
    workload::WorkloadRef,
};

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
pub(super) struct OffHours {
    pub(super) replicas: u32,
    pub(super) floor: u32,
}

impl ScheduleIntent {
    /// Reads the keys; `None` where nothing says when it is open.
    pub(super) fn read(keys: &mut impl ReadKeys) -> Option<Self> {
        let schedule = Self {
            hours: keys.read(Key::Hours, value::hours),
            time_zone: keys.read(Key::Timezone, value::time_zone),
            calendar: keys.read(Key::Calendar, value::object_name),
            off_hours_replicas: keys.read(Key::OffHoursReplicas, value::replicas),
            warm_up: keys.read(Key::WarmUp, value::warm_up).unwrap_or_default(),
            after: keys.read(Key::After, value::workload),
            keep_awake_until: keys.read(Key::KeepAwakeUntil, value::instant),
        };
        let says_something =
            schedule.hours.is_some() || schedule.calendar.is_some() || schedule.keep_awake_until.is_some();
        says_something.then_some(schedule)
    }

    pub(super) fn has_hours(&self) -> bool {
        self.calendar.is_some() || (self.hours.is_some() && self.time_zone.is_some())
    }

    /// The schedule of the object of this name, if it has hours. The problem is a Calendar that is missing or invalid.
    pub(super) fn resolve(
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
