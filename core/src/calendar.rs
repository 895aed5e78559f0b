//! Opening hours in a time zone, as intervals of instants.
//!
//! Hours are in local time, which jumps at clock changes. An opening or a closing in the hour that a spring day skips happens at
//! the jump, when that hour would have ended. In the hour that an autumn day repeats, an opening happens the first time and a
//! closing the last time. So a clock change never leaves an interval empty or reversed; an interval that closes after the next one
//! has opened is joined with it.

mod spec;
mod status;

use std::ops::Range;

use chrono::{DateTime, Duration, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use serde::Serialize;

pub use self::{
    spec::{CalendarSpec, Calendars, HolidaySpec, KnownCalendar},
    status::{CalendarStatus, Condition},
};
use crate::{
    hours::{Day, Hours, MIDNIGHT, Span, past_midnight, union, without},
    value,
};

/// A half-open interval of time: it includes its start, but not its end.
pub type Interval = Range<DateTime<Utc>>;

/// Hours in a zone, and their overrides.
#[derive(Debug, Clone, PartialEq)]
pub struct Calendar {
    /// Opening hours, in local time
    pub hours: Hours,
    /// The zone of that local time
    pub zone: Tz,
    /// Overrides of the hours; a later one takes precedence over an earlier one
    pub overrides: Vec<Override>,
}

/// A period that is open or closed, regardless of the hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Override {
    /// First instant of the period
    pub from: DateTime<Utc>,
    /// First instant after the period
    pub until: DateTime<Utc>,
    /// Whether it is open; otherwise it is closed
    pub open: bool,
    /// The reason, for people to read
    pub reason: String,
}

/// Search horizons for the next change, in days, tried one after another: most changes come within a day, some after a holiday, and
/// those of a dated rule years later.
const HORIZONS: [i64; 4] = [3, 30, 400, 5 * 366];
/// Margin around the interval that is looked at: a span lasts two days at most, and a zone jumps by a day at most (Pacific/Apia in
/// 2011).
const AROUND: Duration = Duration::days(4);

/// The IANA zone of this name. The error says what is wanted instead.
pub fn time_zone(name: &str) -> Result<Tz, String> {
    value::time_zone(name)
}

impl Calendar {
    /// Hours in a zone, without overrides.
    pub fn new(hours: Hours, zone: Tz) -> Self {
        Self { hours, zone, overrides: Vec::new() }
    }

    /// Whether it is open at an instant.
    pub fn is_open(&self, at: DateTime<Utc>) -> bool {
        // Nothing changes within a second: hours are written in minutes, and offsets are whole seconds.
        !self.intervals(&(at..plus(at, Duration::nanoseconds(1)))).is_empty()
    }

    /// Whether it is open at any time within a year from an instant. Most calendars open within days, so a shorter time is tried
    /// first.
    pub fn opens_within_a_year(&self, from: DateTime<Utc>) -> bool {
        [3, 30, 366].iter().any(|days| !self.intervals(&(from..plus(from, Duration::days(*days)))).is_empty())
    }

    /// The first instant after this one at which it opens or closes; `None` when there is none within five years.
    pub fn next_change(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        HORIZONS.iter().find_map(|days| {
            let end = plus(after, Duration::days(*days));
            let first = self.intervals(&(after..end)).into_iter().next()?;
            let change = if first.start > after { first.start } else { first.end };
            (change < end).then_some(change)
        })
    }

    /// The open intervals, clipped to `within`: in order, and joined where they overlap or touch.
    pub fn intervals(&self, within: &Interval) -> Vec<Interval> {
        if within.start >= within.end {
            return Vec::new();
        }
        let around = minus(within.start, AROUND)..plus(within.end, AROUND);
        let mut open = self.of_hours(&around);
        for change in &self.overrides {
            let time = change.from..change.until;
            open = if change.open { union(open.iter().chain([&time])) } else { without(&open, &[time]) };
        }
        let clip = |interval: Interval| interval.start.max(within.start)..interval.end.min(within.end);
        open.into_iter().map(clip).filter(|interval| interval.start < interval.end).collect()
    }

    /// The open intervals by the hours alone, without overrides. Those near the ends of `around` may be cut off.
    fn of_hours(&self, around: &Interval) -> Vec<Interval> {
        let date = |at: DateTime<Utc>| at.with_timezone(&self.zone).date_naive();
        let (first, last) = (date(around.start), date(around.end));
        let mut local: Vec<Range<NaiveDateTime>> = Vec::new();
        // The day before, whose spans may continue past midnight, open or closed.
        let mut before = Day::default();
        for date in first.iter_days().take_while(|date| *date <= last) {
            let day = self.hours.day(date, &before);
            let rest: Vec<_> = before.open.iter().filter_map(past_midnight).collect();
            let today = without(&rest, &day.closed);
            local.extend(
                today.iter().chain(&day.open).filter_map(|span| on(date, &(span.start..span.end.min(MIDNIGHT)))),
            );
            before = day;
        }
        let instants: Vec<_> = union(local.iter()).iter().map(|span| self.instants(span)).collect();
        union(instants.iter())
    }

    fn instants(&self, local: &Range<NaiveDateTime>) -> Interval {
        let start = match self.zone.from_local_datetime(&local.start) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.to_utc(),
            LocalResult::None => self.end_of_gap(local.start),
        };
        let end = match self.zone.from_local_datetime(&local.end) {
            LocalResult::Single(at) | LocalResult::Ambiguous(_, at) => at.to_utc(),
            LocalResult::None => self.end_of_gap(local.end),
        };
        start..end
    }

    /// The instant at which a zone jumps over this local time.
    fn end_of_gap(&self, local: NaiveDateTime) -> DateTime<Utc> {
        let offset = |at: DateTime<Utc>| at.with_timezone(&self.zone).offset().fix().local_minus_utc();
        let utc = local.and_utc();
        // Before the jump the zone was further behind: the jump lies between the two instants that the two offsets give for this
        // local time.
        let (before, after) = (offset(minus(utc, AROUND)), offset(plus(utc, AROUND)));
        let seconds = |offset: i32| utc.timestamp() - i64::from(offset);
        let (mut early, mut late) = (seconds(before.max(after)), seconds(before.min(after)));
        let jumped = |at: i64| {
            let at = DateTime::from_timestamp(at, 0).unwrap_or(utc);
            at.with_timezone(&self.zone).naive_local() >= local
        };
        while early < late {
            let middle = early + (late - early) / 2;
            if jumped(middle) { late = middle } else { early = middle + 1 }
        }
        DateTime::from_timestamp(late, 0).unwrap_or(utc)
    }
}

fn on(date: NaiveDate, span: &Span) -> Option<Range<NaiveDateTime>> {
    let midnight = date.and_time(NaiveTime::MIN);
    let at = |minutes: u16| midnight.checked_add_signed(Duration::minutes(minutes.into()));
    Some(at(span.start)?..at(span.end)?)
}

fn plus(at: DateTime<Utc>, time: Duration) -> DateTime<Utc> {
    at.checked_add_signed(time).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn minus(at: DateTime<Utc>, time: Duration) -> DateTime<Utc> {
    at.checked_sub_signed(time).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

#[cfg(test)]
mod tests;
