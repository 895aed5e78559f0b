//! `tidegate calendar show`: the opening and closing times of a Calendar, in local time and UTC, and a week as a picture.

mod ics;
mod import;

use std::{
    fmt::{self, Display, Formatter},
    io::{Write, stdout},
};

use anyhow::{Context, Result, anyhow, bail};
use chrono::{DateTime, Datelike, Duration, NaiveDate, Offset, TimeZone, Utc};
use kube::{Api, api::DynamicObject};
use serde::Serialize;
use tidegate_cluster::Kind;
use tidegate_core::{
    calendar::{Calendar, CalendarSpec, Interval, KnownCalendar, time_zone},
    hours::{Exceptions, Holidays, Hours},
    no_effect::NoEffect,
};
use tidegate_operator::watch::resource::preferred;

pub(crate) use self::import::import;
use crate::{
    args::{CalendarShowArgs, ClusterArgs},
    cluster::Cluster,
    paint::{Colour, Paint},
};

/// Most transitions that are listed.
const LISTED: usize = 10;
/// Columns of a day in the picture: half an hour each.
const COLUMNS: i64 = 48;

pub(crate) async fn show(args: &CalendarShowArgs) -> Result<()> {
    let KnownCalendar { calendar, holidays, .. } = match &args.name {
        Some(name) => of_cluster(&args.cluster, name).await?,
        None => of_flags(args)?,
    };
    let from = args.from.unwrap_or_else(Utc::now);
    let to = args.to.unwrap_or(from + Duration::days(7));
    if to <= from {
        bail!("--to {to} is not after --from {from}");
    }
    let mut out = stdout().lock();
    if let Some(format) = args.output.format() {
        let intervals: Vec<_> = calendar.intervals(&(from..to)).into_iter().map(Open::from).collect();
        format.write(&intervals, &mut out)?;
    } else {
        let (within, paint) = (from..to, Paint::of_stdout());
        write!(out, "{}", Page { calendar: &calendar, holidays: &holidays, within, paint })?;
        if calendar.hours.mention_holidays() && holidays.is_empty() {
            let how = if args.name.is_some() { "set spec.holidays" } else { "give --country or --holiday" };
            eprintln!("tidegate: PH is no day: no holidays are known; {how}");
        }
    }
    let field = if args.name.is_some() { "spec.hours" } else { "--hours" };
    for what in NoEffect::of_calendar(field, &calendar, Utc::now()) {
        eprintln!("tidegate: {what}");
    }
    Ok(())
}

fn of_flags(args: &CalendarShowArgs) -> Result<KnownCalendar> {
    let (hours, zone) = (args.hours.as_deref().unwrap_or_default(), args.timezone.as_deref().unwrap_or_default());
    let zone = time_zone(zone).map_err(|wanted| anyhow!("--timezone: got {zone:?}, wants {wanted}"))?;
    let holidays = Holidays::new(args.country.as_deref(), args.holidays.iter().copied()).context("--country")?;
    let hours = Hours::parse(hours, &holidays).map_err(|wanted| anyhow!("--hours: got {hours:?}, wants {wanted}"))?;
    Ok(KnownCalendar { calendar: Calendar::new(hours, zone), holidays, exceptions: Exceptions::new() })
}

async fn of_cluster(args: &ClusterArgs, name: &str) -> Result<KnownCalendar> {
    let cluster = Cluster::connect(args).await?;
    let api = Api::<DynamicObject>::all_with(cluster.client(), &preferred(Kind::Calendar));
    let object = cluster.ask(api.get(name)).await.with_context(|| format!("Calendar {name}"))?;
    let spec: CalendarSpec = serde_json::from_value(object.data.get("spec").cloned().unwrap_or_default())
        .with_context(|| format!("Calendar {name}: spec"))?;
    spec.resolve().map_err(|error| anyhow!("Calendar {name}: {error}"))
}

/// An interval in which the calendar is open.
#[derive(Serialize)]
struct Open {
    open: String,
    close: String,
}

impl From<Interval> for Open {
    fn from(interval: Interval) -> Self {
        let utc = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        Self { open: utc(interval.start), close: utc(interval.end) }
    }
}

struct Page<'a> {
    calendar: &'a Calendar,
    holidays: &'a Holidays,
    within: Interval,
    paint: Paint,
}

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Calendar { hours, zone, .. } = self.calendar;
        let now = if self.calendar.is_open(self.within.start) { "open" } else { "closed" };
        writeln!(f, "{hours} in {zone}\n{now} at {}\n", self.local(self.within.start))?;
        self.transitions(f)?;
        self.week(f)
    }
}

impl Page<'_> {
    fn transitions(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let all = std::iter::successors(Some(self.within.start), |at| self.calendar.next_change(*at)).skip(1);
        let changes: Vec<_> = all.take_while(|at| *at < self.within.end).take(LISTED).collect();
        if changes.is_empty() {
            return writeln!(f, "No change until {}.\n", self.local(self.within.end));
        }
        writeln!(f, "{:<8}{:<30}UTC", "NEXT", "LOCAL TIME")?;
        for at in changes {
            let what = if self.calendar.is_open(at) { "opens" } else { "closes" };
            writeln!(f, "{what:<8}{:<30}{}", self.local(at), at.format("%Y-%m-%d %H:%M"))?;
        }
        writeln!(f)
    }

    /// Draws seven days from the first one on.
    fn week(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let first = self.within.start.with_timezone(&self.calendar.zone).date_naive();
        writeln!(f, "{:<16}0     3     6     9     12    15    18    21    24", "")?;
        for date in first.iter_days().take(7) {
            let remarks = [self.holiday(date), self.clock_change(date)];
            let remarks: String = remarks.into_iter().flatten().map(|remark| format!("  {remark}")).collect();
            writeln!(f, "{:<16}{}{remarks}", date.format("%a %Y-%m-%d"), self.day(date))?;
        }
        Ok(())
    }

    fn day(&self, date: NaiveDate) -> String {
        let open = |column: i64| {
            let local =
                date.and_hms_opt(0, 0, 0).map(|midnight| midnight + Duration::minutes(column * 24 * 60 / COLUMNS));
            // Of the hour that an autumn day has twice, the first is drawn; the hour that a spring day lacks is left out.
            let at = local.and_then(|local| self.calendar.zone.from_local_datetime(&local).earliest());
            at.map(|at| self.calendar.is_open(at.to_utc()))
        };
        let cells = (0..COLUMNS).map(|column| match open(column) {
            Some(true) => '█',
            Some(false) => '·',
            None => ' ',
        });
        let cells: String = cells.collect();
        self.paint.paint(Colour::Green, &cells)
    }

    fn holiday(&self, date: NaiveDate) -> Option<String> {
        self.holidays.contains(date).then(|| "holiday".to_owned())
    }

    fn clock_change(&self, date: NaiveDate) -> Option<String> {
        let offset = |date: NaiveDate| {
            let midnight = date.and_hms_opt(0, 0, 0).unwrap_or_default();
            self.calendar.zone.offset_from_utc_datetime(&midnight).fix().local_minus_utc()
        };
        // The difference between the offsets at the UTC midnights around the day.
        match (offset(date.succ_opt()?) - offset(date)) / 60 {
            0 => None,
            change if change > 0 => Some(format!("clocks go forward {change} min")),
            change => Some(format!("clocks go back {} min", -change)),
        }
    }

    fn local(&self, at: DateTime<Utc>) -> String {
        let local = at.with_timezone(&self.calendar.zone);
        format!("{} {}", local.date_naive().weekday(), local.format("%Y-%m-%d %H:%M %:z"))
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::paint::When;

    fn page(from: &str) -> String {
        let holidays = Holidays::new(Some("DE"), []).unwrap();
        let hours = Hours::parse("Mo-Fr 08:00-18:00; PH off", &holidays).unwrap();
        let calendar = Calendar::new(hours, Tz::Europe__Berlin);
        let from = DateTime::parse_from_rfc3339(from).unwrap().to_utc();
        let within = from..from + Duration::days(7);
        Page { calendar: &calendar, holidays: &holidays, within, paint: Paint::new(When::Never, false) }.to_string()
    }

    #[test]
    fn a_week_shows_hours_holidays_and_clock_changes() {
        let spring = page("2026-03-27T12:00:00Z");
        assert!(spring.contains("opens   Mon 2026-03-30 08:00 +02:00   2026-03-30 06:00"), "{spring}");
        let sunday = spring.lines().find(|line| line.starts_with("Sun 2026-03-29")).unwrap();
        assert!(sunday.ends_with("clocks go forward 60 min"), "{spring}");
        let christmas = page("2026-12-21T12:00:00Z");
        let friday = christmas.lines().find(|line| line.starts_with("Fri 2026-12-25")).unwrap();
        assert!(friday.ends_with("holiday") && !friday.contains('█'), "{christmas}");
        let monday = christmas.lines().find(|line| line.starts_with("Mon 2026-12-21")).unwrap();
        assert_eq!(monday.matches('█').count(), 20, "{christmas}");
    }
}
