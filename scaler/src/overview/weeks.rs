//! The week of each Calendar, and of hours that are written on workloads and Gateways themselves.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, Duration, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeZone, Timelike, Utc};
use serde::Serialize;
use tidegate_core::{
    calendar::{Calendar, Interval},
    hours::Holidays,
    plan::Plan,
    schedule::Schedule,
};

const DAYS: u64 = 7;

/// Hours, and the week that they make from today on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Week {
    /// The Calendar's name, or the hours themselves where no Calendar gives them
    pub name: String,
    /// Opening hours as they are written
    pub hours: String,
    /// Their IANA zone
    pub time_zone: String,
    /// Whether it is open now
    pub open: bool,
    /// When that changes, in the zone of the hours; `None` when it does not for years
    pub next_change: Option<String>,
    /// The number of workloads and Gateways that have these hours
    pub users: usize,
    /// Seconds since midnight, on the clock of the zone
    pub second_of_day: u32,
    /// The days, today first
    pub days: Vec<Day>,
}

/// A day of the zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Day {
    /// Its date
    pub date: NaiveDate,
    /// Whether it is a holiday
    pub holiday: bool,
    /// The parts in which it is open, on the clock of the zone
    pub open: Vec<Part>,
}

/// A part of a day: seconds since its midnight, as its clock shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The first second
    pub start: i64,
    /// The first second after it; 86,400 at the day's end
    pub end: i64,
}

/// The week of each Calendar that is valid, by its name, and then of all other hours that are in use.
pub fn weeks(plan: &Plan, now: DateTime<Utc>) -> Vec<Week> {
    let mut own: BTreeMap<(String, String), (&Calendar, usize)> = BTreeMap::new();
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, schedule) in schedules(plan) {
        match name {
            Some(name) => *users.entry(name).or_default() += 1,
            None => own.entry(written(&schedule.calendar)).or_insert((&schedule.calendar, 0)).1 += 1,
        }
    }
    let known = plan.calendars.iter().filter_map(|(name, calendar)| Some((name, calendar.as_ref().ok()?)));
    let named = known.map(|(name, known)| {
        let users = users.get(name.as_str()).copied().unwrap_or_default();
        Week::new(name.clone(), &known.calendar, &known.holidays, users, now)
    });
    let own = own
        .into_iter()
        .map(|((hours, _), (calendar, users))| Week::new(hours, calendar, &Holidays::default(), users, now));
    named.chain(own).collect()
}

/// The schedules of workloads and Gateways, each with the name of the Calendar that it is made from.
fn schedules(plan: &Plan) -> impl Iterator<Item = (Option<&str>, &Schedule)> {
    let workloads = plan.workloads.values().map(|workload| (workload.calendar.as_deref(), workload.schedule.as_ref()));
    let gateways = plan.fleets.iter().flat_map(|fleet| fleet.gateways.values());
    let gateways = gateways.map(|gateway| (gateway.calendar.as_deref(), gateway.schedule.as_ref()));
    workloads.chain(gateways).filter_map(|(name, schedule)| Some((name, &**schedule?)))
}

fn written(calendar: &Calendar) -> (String, String) {
    (calendar.hours.to_string(), calendar.zone.to_string())
}

impl Week {
    fn new(name: String, calendar: &Calendar, holidays: &Holidays, users: usize, now: DateTime<Utc>) -> Self {
        let (hours, time_zone) = written(calendar);
        let local = now.with_timezone(&calendar.zone);
        let change = calendar.next_change(now).map(|at| at.with_timezone(&calendar.zone));
        let today = local.date_naive();
        let dates = (0..DAYS).filter_map(|days| today.checked_add_days(Days::new(days)));
        Self {
            name,
            hours,
            time_zone,
            open: calendar.is_open(now),
            next_change: change.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            users,
            second_of_day: local.num_seconds_from_midnight(),
            days: dates.map(|date| Day::new(date, calendar, holidays.contains(date))).collect(),
        }
    }
}

impl Day {
    fn new(date: NaiveDate, calendar: &Calendar, holiday: bool) -> Self {
        let midnight = |date: NaiveDate| beginning(date.and_time(NaiveTime::MIN), calendar);
        let within = midnight(date).zip(date.succ_opt().and_then(midnight)).map(|(start, end)| start..end);
        let open = within.map(|within| calendar.intervals(&within)).unwrap_or_default();
        Self { date, holiday, open: open.iter().map(|interval| Part::new(interval, date, calendar)).collect() }
    }
}

impl Part {
    fn new(interval: &Interval, date: NaiveDate, calendar: &Calendar) -> Self {
        let of = |at: DateTime<Utc>| {
            let since = at.with_timezone(&calendar.zone).naive_local() - date.and_time(NaiveTime::MIN);
            since.num_seconds().clamp(0, 86_400)
        };
        Self { start: of(interval.start), end: of(interval.end) }
    }
}

/// The first instant of a local time; where a clock change skips it, the instant of the change or up to an hour after it.
fn beginning(local: NaiveDateTime, calendar: &Calendar) -> Option<DateTime<Utc>> {
    let at = |local: NaiveDateTime| calendar.zone.from_local_datetime(&local).earliest().map(|at| at.to_utc());
    at(local).or_else(|| at(local.checked_add_signed(Duration::hours(1))?))
}

#[cfg(test)]
mod tests {
    use tidegate_core::{calendar::time_zone, hours::Hours};

    use super::*;

    fn week(hours: &str, zone: &str, now: &str) -> Week {
        let holidays = Holidays::new(Some("DE"), []).unwrap();
        let calendar = Calendar::new(Hours::parse(hours, &holidays).unwrap(), time_zone(zone).unwrap());
        Week::new("office".to_owned(), &calendar, &holidays, 1, now.parse().unwrap())
    }

    fn parts(day: &Day) -> Vec<(i64, i64)> {
        day.open.iter().map(|part| (part.start / 60, part.end / 60)).collect()
    }

    #[test]
    fn a_week_has_seven_days_on_the_clock_of_the_zone_and_knows_its_holidays() {
        let week = week("Mo-Fr 08:00-18:00; PH off", "Europe/Berlin", "2026-12-23T23:30:00Z");
        assert_eq!(week.days.len(), 7);
        assert_eq!(week.days[0].date.to_string(), "2026-12-24");
        assert_eq!(parts(&week.days[0]), [(480, 1080)]);
        assert!(week.days[1].holiday && week.days[1].open.is_empty());
        assert_eq!(week.second_of_day, 30 * 60);
        assert_eq!(week.next_change.as_deref(), Some("2026-12-24T08:00:00+01:00"));
    }

    #[test]
    fn a_night_shift_is_parted_at_midnight_and_a_whole_day_ends_with_the_day() {
        let night = week("22:00-06:00", "UTC", "2026-06-01T12:00:00Z");
        assert_eq!(parts(&night.days[1]), [(0, 360), (1320, 1440)]);
        assert_eq!(parts(&week("24/7", "UTC", "2026-06-01T12:00:00Z").days[3]), [(0, 1440)]);
    }

    #[test]
    fn a_day_with_a_clock_change_still_ends_at_24_hours() {
        let spring = week("24/7", "Europe/Berlin", "2026-03-29T12:00:00Z");
        assert_eq!(parts(&spring.days[0]), [(0, 1440)]);
        // Beirut's clocks jump at midnight, so that this day begins at 01:00.
        let skipped = week("24/7", "Asia/Beirut", "2026-03-29T12:00:00Z");
        assert_eq!(parts(&skipped.days[0]), [(60, 1440)]);
    }
}
