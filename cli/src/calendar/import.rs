//! `tidegate calendar import`: the whole days of an iCalendar file as the holidays of a Calendar.

use std::{
    fs::File,
    io::{Read, Write, stdin, stdout},
    path::Path,
};

use anyhow::{Context, Result, anyhow, bail};
use chrono::{Datelike, NaiveDate, Utc};
use serde_json::{Map, Value, json};
use tidegate_cluster::{Kind, read_values};
use tidegate_core::{
    calendar::{CalendarSpec, HolidaySpec},
    yaml,
};

use super::ics;
use crate::args::CalendarImportArgs;

/// Largest file, in bytes: holidays of a country are some tens of kB.
const LARGEST: u64 = 10 << 20;
/// Events with a time of day that are reported one by one.
const LISTED: usize = 10;
/// Most dates that the Calendar's schema takes.
const MOST_DATES: usize = 1000;

pub(crate) fn import(args: &CalendarImportArgs) -> Result<()> {
    let mut calendar = match &args.file {
        Some(file) => of_file(file, args.calendar.as_deref())?,
        None => of_flags(args)?,
    };
    let today = Utc::now().date_naive();
    let years = args.years.clone().map_or(today.year()..=today.year() + 2, |years| years.0);
    let source = if args.ics == Path::new("-") { "stdin".into() } else { args.ics.to_string_lossy() };
    let found = ics::read(&bounded(&args.ics)?, &years, today).with_context(|| source.to_string())?;
    for name in found.timed.iter().take(LISTED) {
        eprintln!("tidegate: {source}: event {name:?} has a time of day: left out, a holiday is a whole day");
    }
    if let Some(more) = found.timed.len().checked_sub(LISTED).filter(|more| *more > 0) {
        eprintln!("tidegate: {source}: events with a time of day left out besides these: {more}");
    }
    if !found.past.is_empty() {
        eprintln!("tidegate: {source}: days before {today} left out: {}", found.past.len());
    }
    if found.days.is_empty() {
        bail!("{source}: no whole day from {today} to the end of {}: see --years", years.end());
    }
    let dates = found.days.iter().map(|(date, name)| (*date, name.as_str()));
    set_dates(&mut calendar, dates, args.replace)?;
    Ok(write!(stdout().lock(), "{}", yaml::write(&calendar)?)?)
}

/// Sets `spec.holidays.dates`. Dates that the Calendar already has keep their names, unless `replace` is set.
fn set_dates<'a>(calendar: &mut Value, found: impl Iterator<Item = (NaiveDate, &'a str)>, replace: bool) -> Result<()> {
    let mut spec: CalendarSpec = serde_json::from_value(calendar["spec"].clone()).context("Calendar: spec")?;
    let mut dates = std::mem::take(&mut spec.holidays.dates);
    if replace {
        dates.clear();
    }
    for (date, name) in found {
        let date = date.to_string();
        if !dates.iter().any(|known| known.date == date) {
            dates.push(HolidaySpec { date, name: name.to_owned() });
        }
    }
    dates.sort_by(|one, other| one.date.cmp(&other.date));
    if dates.len() > MOST_DATES {
        bail!("{} dates: a Calendar takes {MOST_DATES}; ask for fewer --years", dates.len());
    }
    let written = dates.iter().map(|day| {
        if day.name.is_empty() { json!({"date": day.date}) } else { json!({"date": day.date, "name": day.name}) }
    });
    let written: Vec<_> = written.collect();
    spec.holidays.dates = dates;
    spec.resolve().map_err(|error| anyhow!("Calendar: {error}"))?;
    let spec = calendar.get_mut("spec").and_then(Value::as_object_mut).context("Calendar: wants a spec")?;
    let holidays = spec.entry("holidays").or_insert_with(|| Map::new().into());
    let holidays = holidays.as_object_mut().context("Calendar: spec.holidays: wants an object")?;
    holidays.insert("dates".to_owned(), written.into());
    Ok(())
}

/// The Calendar with that name among the manifests of a file; without a name, the only one.
fn of_file(file: &Path, name: Option<&str>) -> Result<Value> {
    let all = read_values(&[file.to_owned()])?;
    let is = |object: &Value| {
        object.get("kind").and_then(Value::as_str) == Some("Calendar")
            && name.is_none_or(|name| object.get("metadata").and_then(|meta| meta.get("name")?.as_str()) == Some(name))
    };
    let mut calendars = all.into_iter().filter(is);
    match (calendars.next(), calendars.next()) {
        (Some(calendar), None) => Ok(calendar),
        (Some(_), Some(_)) => bail!("{}: several Calendars: say which with --calendar", file.display()),
        (None, _) => match name {
            Some(name) => bail!("{}: no Calendar {name}", file.display()),
            None => bail!("{}: no Calendar: wants a manifest with kind: Calendar", file.display()),
        },
    }
}

fn of_flags(args: &CalendarImportArgs) -> Result<Value> {
    let kind = Kind::Calendar;
    let preferred = kind.versions().first().context("a kind has versions")?;
    Ok(json!({
        "apiVersion": kind.api_version(preferred),
        "kind": kind.as_str(),
        "metadata": {"name": args.calendar},
        "spec": {"timeZone": args.timezone, "hours": args.hours},
    }))
}

/// The file, or stdin for `-`.
fn bounded(path: &Path) -> Result<Vec<u8>> {
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(stdin().lock())
    } else {
        Box::new(File::open(path).with_context(|| path.display().to_string())?)
    };
    let mut bytes = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut bytes).with_context(|| path.display().to_string())?;
    if bytes.len() as u64 > LARGEST {
        bail!("{}: wants at most {} MiB", path.display(), LARGEST >> 20);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dates(replace: bool) -> String {
        let mut calendar = json!({"kind": "Calendar", "spec": {"timeZone": "Europe/Berlin", "hours": "Mo-Fr 08:00-18:00; PH off",
            "holidays": {"country": "DE", "dates": [{"date": "2026-12-24", "name": "ours"}]}}});
        let found = ["2027-01-06", "2026-12-24"].map(|date| (date.parse().unwrap(), "theirs"));
        set_dates(&mut calendar, found.into_iter(), replace).unwrap();
        serde_json::to_string(&calendar["spec"]["holidays"]).unwrap()
    }

    #[test]
    fn a_calendar_keeps_its_dates_and_its_country_unless_they_are_replaced() {
        let both =
            r#"{"country":"DE","dates":[{"date":"2026-12-24","name":"ours"},{"date":"2027-01-06","name":"theirs"}]}"#;
        assert_eq!(dates(false), both);
        assert_eq!(dates(true), both.replace("ours", "theirs"));
    }
}
