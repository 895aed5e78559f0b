//! The whole days of an iCalendar file (RFC 5545), with their names.
//!
//! The crate `icalendar` reads lines and components, the crate `rrule` expands recurrences. This module maps events to days:
//! `DTEND` is the first day after an event, a changed occurrence (`RECURRENCE-ID`) replaces the one of its series, and
//! `TRANSP` is ignored, because holiday calendars do not agree on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use anyhow::{Context, Result, anyhow, bail};
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime};
use icalendar::parser::{Component, Property, read_calendar_simple, unfold};
use rrule::{RRuleSet, Tz};

/// Longest name that the Calendar's schema takes, in characters.
const LONGEST_NAME: usize = 256;
const WANTED: &str = "wants iCalendar (BEGIN:VCALENDAR) with a BEGIN:VEVENT for each holiday";
/// Calendars hold events, and these hold alarms: deeper nesting would only use up the parser's stack.
const DEEPEST: usize = 8;
/// Most occurrences of one event; a yearly event since the year 0 has fewer.
const MOST_OCCURRENCES: u16 = 10_000;

/// The contents of a file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct WholeDays {
    /// Whole days of the requested years, from today on
    pub(super) days: BTreeMap<NaiveDate, String>,
    /// Days of those years that are past
    pub(super) past: BTreeSet<NaiveDate>,
    /// Summaries of events that have a time of day
    pub(super) timed: Vec<String>,
}

/// Reads the whole days of some years. An error names the line or the event.
pub(super) fn read(bytes: &[u8], years: &RangeInclusive<i32>, today: NaiveDate) -> Result<WholeDays> {
    let text = std::str::from_utf8(bytes).map_err(|error| anyhow!("byte {}: wants UTF-8", error.valid_up_to()))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        bail!("empty: {WANTED}");
    }
    // The parser looks for CRLF first: without one it would search the whole rest of the file.
    let lines = unfold(text).replace('\r', "").replace('\n', "\r\n") + "\r\n";
    if deepest(&lines) > DEEPEST {
        bail!("BEGIN within BEGIN, more than {DEEPEST} deep: wants BEGIN:VCALENDAR with BEGIN:VEVENT in it");
    }
    let calendars = read_calendar_simple(&lines).map_err(|error| {
        let line = error.input.trim_start().lines().next().unwrap_or_default();
        match shortened(line) {
            end if end.is_empty() => anyhow!("at its end: wants END for each BEGIN, as in END:VCALENDAR"),
            line => anyhow!("at {line:?}: wants a line of iCalendar, NAME:VALUE within BEGIN and END"),
        }
    })?;
    let events: Vec<_> = calendars
        .iter()
        .filter(|calendar| calendar.name == "VCALENDAR")
        .flat_map(|calendar| &calendar.components)
        .filter(|component| component.name == "VEVENT")
        .collect();
    if events.is_empty() {
        bail!("no event: {WANTED}");
    }
    let replaced: BTreeSet<_> = events.iter().filter_map(|event| replaces(event)).collect();
    let mut found = WholeDays::default();
    for event in events {
        let name = name(event);
        add(&mut found, event, &name, &replaced, years, today).with_context(|| format!("event {name:?}"))?;
    }
    Ok(found)
}

fn add(
    found: &mut WholeDays,
    event: &Component<'_>,
    name: &str,
    replaced: &BTreeSet<(String, NaiveDate)>,
    years: &RangeInclusive<i32>,
    today: NaiveDate,
) -> Result<()> {
    if value(event, "STATUS").is_some_and(|status| status.eq_ignore_ascii_case("CANCELLED")) {
        return Ok(());
    }
    let start = value(event, "DTSTART").context("no DTSTART: wants one, such as DTSTART;VALUE=DATE:20261224")?;
    if start.contains('T') {
        found.timed.push(name.to_owned());
        return Ok(());
    }
    let start = date("DTSTART", start)?;
    let length = length(event, start)?;
    let is_series = replaces(event).is_none();
    let uid = value(event, "UID").unwrap_or_default();
    for first in occurrences(event, start, years)? {
        if is_series && replaced.contains(&(uid.to_owned(), first)) {
            continue;
        }
        let days = first.iter_days().take(usize::try_from(length)?);
        for day in days.filter(|day| years.contains(&day.year())) {
            if day < today {
                found.past.insert(day);
            } else {
                found.days.entry(day).or_insert_with(|| name.to_owned());
            }
        }
    }
    Ok(())
}

/// Number of whole days of an event: `DTEND` is the first day after it. An event without an end takes one day.
fn length(event: &Component<'_>, start: NaiveDate) -> Result<i64> {
    const LONGEST: i64 = 366;
    let days = match (value(event, "DTEND"), value(event, "DURATION")) {
        (Some(end), _) => (date("DTEND", end)? - start).num_days(),
        (None, Some(duration)) => whole_days(duration)
            .with_context(|| format!("DURATION: got {duration:?}, wants whole days, such as P2D"))?,
        (None, None) => 1,
    };
    match days {
        // Some exporters write the event's own day as its end.
        0 => Ok(1),
        1..=LONGEST => Ok(days),
        _ => bail!("lasts {days} days: wants an end after its start, and at most {LONGEST} days"),
    }
}

fn whole_days(duration: &str) -> Option<i64> {
    let number = duration.strip_prefix('+').unwrap_or(duration).strip_prefix('P')?;
    let (number, days) =
        number.strip_suffix('D').map(|days| (days, 1)).or_else(|| number.strip_suffix('W').map(|weeks| (weeks, 7)))?;
    number.parse::<u16>().ok().map(|number| i64::from(number) * days)
}

/// First days of the occurrences that may reach into these years.
fn occurrences(event: &Component<'_>, start: NaiveDate, years: &RangeInclusive<i32>) -> Result<BTreeSet<NaiveDate>> {
    let mut all = BTreeSet::from([start]);
    if let Some(rule) = value(event, "RRULE") {
        all.extend(recurrences(rule, start, years).with_context(|| format!("RRULE: got {rule:?}"))?);
    }
    for day in listed(event, "RDATE") {
        all.insert(day?);
    }
    for day in listed(event, "EXDATE") {
        all.remove(&day?);
    }
    Ok(all)
}

fn recurrences(rule: &str, start: NaiveDate, years: &RangeInclusive<i32>) -> Result<Vec<NaiveDate>> {
    let rule = rule.to_ascii_uppercase();
    let parts: Vec<_> = rule.split(';').map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
    let of_holidays = |(key, value): &(&str, &str)| match *key {
        "FREQ" => matches!(*value, "YEARLY" | "MONTHLY"),
        _ => !matches!(*key, "BYHOUR" | "BYMINUTE" | "BYSECOND"),
    };
    if !parts.iter().all(of_holidays) {
        bail!("wants FREQ=YEARLY or MONTHLY, by days: what recurs each week belongs in spec.hours");
    }
    // All days are UTC midnights here, and the crate requires UNTIL to be of DTSTART's type.
    let parts: Vec<_> = parts
        .into_iter()
        .map(|(key, value)| match (key, value.get(..8)) {
            ("UNTIL", Some(day)) => format!("UNTIL={day}T000000Z"),
            _ => format!("{key}={value}"),
        })
        .collect();
    let set = format!("DTSTART:{}T000000Z\nRRULE:{}", start.format("%Y%m%d"), parts.join(";"));
    let set: RRuleSet = set.parse().map_err(|error| anyhow!("{error}"))?;
    let midnight = |year: i32| -> Option<DateTime<Tz>> {
        Some(NaiveDate::from_ymd_opt(year, 1, 1)?.and_time(NaiveTime::MIN).and_utc().with_timezone(&Tz::UTC))
    };
    // An occurrence of the year before may reach into the first year.
    let within = midnight(years.start() - 1).zip(midnight(years.end() + 1)).context("years that are no years")?;
    let found = set.after(within.0).before(within.1).all(MOST_OCCURRENCES);
    if found.limited {
        bail!("wants a rule with at most {MOST_OCCURRENCES} days, and some in each few years");
    }
    Ok(found.dates.into_iter().map(|at| at.date_naive()).collect())
}

/// Series and day of the occurrence that an event replaces.
fn replaces(event: &Component<'_>) -> Option<(String, NaiveDate)> {
    let day = date("RECURRENCE-ID", value(event, "RECURRENCE-ID")?).ok()?;
    Some((value(event, "UID").unwrap_or_default().to_owned(), day))
}

fn listed<'a>(event: &'a Component<'_>, key: &'static str) -> impl Iterator<Item = Result<NaiveDate>> + 'a {
    let lines = event.properties.iter().filter(move |property| is(property, key));
    lines.flat_map(move |property| property.val.as_str().split(',').map(move |day| date(key, day)))
}

fn value<'a>(event: &'a Component<'_>, key: &str) -> Option<&'a str> {
    event.properties.iter().find(|property| is(property, key)).map(|property| property.val.as_str().trim())
}

fn is(property: &Property<'_>, key: &str) -> bool {
    property.name.as_str().eq_ignore_ascii_case(key)
}

/// The day of `20261224`, or of a time such as `20261224T000000Z`.
fn date(key: &str, value: &str) -> Result<NaiveDate> {
    let day = value.trim().split('T').next().filter(|day| day.len() == 8 && day.bytes().all(|c| c.is_ascii_digit()));
    day.and_then(|day| NaiveDate::parse_from_str(day, "%Y%m%d").ok())
        .filter(|day| day.checked_add_days(Days::new(1)).is_some())
        .with_context(|| format!("{key}: got {value:?}, wants a day, such as 20261224"))
}

fn name(event: &Component<'_>) -> String {
    let summary = value(event, "SUMMARY").unwrap_or_default();
    shortened(&summary.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}

fn deepest(lines: &str) -> usize {
    let starts = |line: &str, word: &str| line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let depths = lines.lines().map(str::trim_start).scan(0_usize, |depth, line| {
        if starts(line, "BEGIN:") {
            *depth += 1;
        } else if starts(line, "END:") {
            *depth = depth.saturating_sub(1);
        }
        Some(*depth)
    });
    depths.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn file(events: &[&str]) -> String {
        let events: String = events.iter().map(|event| format!("BEGIN:VEVENT\r\n{event}\r\nEND:VEVENT\r\n")).collect();
        format!("\u{feff}BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n")
    }

    fn imported(events: &[&str]) -> Result<WholeDays> {
        read(file(events).as_bytes(), &(2026..=2028), day("2026-06-01"))
    }

    fn days(events: &[&str]) -> Vec<String> {
        imported(events).unwrap().days.into_iter().map(|(day, name)| format!("{day} {name}")).collect()
    }

    #[test]
    fn an_event_of_several_days_ends_before_its_end() {
        let days =
            days(&["DTSTART;VALUE=DATE:20261224\r\nDTEND;VALUE=DATE:20261227\r\nSUMMARY:Christmas\\, all of\r\n  it"]);
        assert_eq!(
            days,
            ["2026-12-24 Christmas, all of it", "2026-12-25 Christmas, all of it", "2026-12-26 Christmas, all of it"]
        );
        assert_eq!(self::days(&["DTSTART;VALUE=DATE:20261224\nDURATION:P2D\nSUMMARY:x"]).len(), 2);
    }

    #[test]
    fn a_yearly_event_recurs_but_for_what_is_excluded_moved_or_cancelled() {
        let series = "UID:1\r\nDTSTART;VALUE=DATE:20100106\r\nRRULE:FREQ=YEARLY\r\nSUMMARY:Epiphany";
        assert_eq!(days(&[series]), ["2027-01-06 Epiphany", "2028-01-06 Epiphany"]);
        let without = format!("{series}\r\nEXDATE;VALUE=DATE:20270106");
        assert_eq!(days(&[&without]), ["2028-01-06 Epiphany"]);
        let moved = "UID:1\r\nRECURRENCE-ID;VALUE=DATE:20270106\r\nDTSTART;VALUE=DATE:20270107\r\nSUMMARY:Moved";
        assert_eq!(days(&[series, moved]), ["2027-01-07 Moved", "2028-01-06 Epiphany"]);
        let cancelled = format!("{moved}\r\nSTATUS:CANCELLED");
        assert_eq!(days(&[series, &cancelled]), ["2028-01-06 Epiphany"]);
        let until = series.replace("YEARLY", "YEARLY;UNTIL=20270106");
        assert_eq!(days(&[&until]), ["2027-01-06 Epiphany"]);
    }

    #[test]
    fn a_day_that_comes_twice_keeps_its_first_name_and_a_transparent_one_is_kept() {
        let first = "DTSTART:20261224\r\nSUMMARY:Eve\r\nTRANSP:TRANSPARENT\r\nRDATE;VALUE=DATE:20261228,20261229";
        let found = days(&[first, "DTSTART:20261224\r\nSUMMARY:Other"]);
        assert_eq!(found, ["2026-12-24 Eve", "2026-12-28 Eve", "2026-12-29 Eve"]);
    }

    #[test]
    fn past_days_and_events_with_a_time_are_reported_and_left_out() {
        let found = imported(&["DTSTART:20260501\r\nSUMMARY:May", "DTSTART:20261001T100000Z\r\nSUMMARY:Talk"]).unwrap();
        assert_eq!((found.days.len(), found.past.len(), found.timed), (0, 1, vec!["Talk".to_owned()]));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_event_or_line() {
        let error = |events: &[&str]| format!("{:#}", imported(events).unwrap_err());
        assert_eq!(
            error(&["DTSTART:2026-12-24\r\nSUMMARY:Eve"]),
            "event \"Eve\": DTSTART: got \"2026-12-24\", wants a day, such as 20261224"
        );
        assert!(error(&["DTSTART:20261224\r\nDTEND:20261220\r\nSUMMARY:Eve"]).contains("lasts -4 days"));
        let weekly = error(&["DTSTART:20261224\r\nRRULE:FREQ=WEEKLY\r\nSUMMARY:Gym"]);
        assert!(weekly.starts_with("event \"Gym\": RRULE: got \"FREQ=WEEKLY\": wants FREQ=YEARLY"), "{weekly}");
        assert!(error(&[]).contains("no event"));
        let whole = |text: &str| read(text.as_bytes(), &(2026..=2028), day("2026-06-01")).unwrap_err().to_string();
        assert!(whole("\u{feff}\r\n").starts_with("empty: wants iCalendar"));
        assert!(whole("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n").starts_with("at its end: wants END"));
        let broken = read(b"<html>", &(2026..=2028), day("2026-06-01")).unwrap_err().to_string();
        assert!(broken.contains("BEGIN"), "{broken}");
        let deep = "BEGIN:VEVENT\n".repeat(100_000);
        assert!(read(deep.as_bytes(), &(2026..=2028), day("2026-06-01")).unwrap_err().to_string().contains("deep"));
    }

    #[test]
    fn a_long_name_is_cut_to_what_the_schema_takes() {
        let long = format!("DTSTART:20261224\r\nSUMMARY:{}", "ü".repeat(300));
        assert_eq!(imported(&[&long]).unwrap().days[&day("2026-12-24")].chars().count(), 256);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, &(2026..=2028), day("2026-06-01"));
        }

        #[test]
        fn no_event_makes_it_panic(
            key in "DTSTART|DTEND|RRULE|EXDATE|DURATION|SUMMARY|RECURRENCE-ID|BEGIN|END",
            value in "[A-Z0-9=;,:+-]{0,40}|FREQ=YEARLY;(COUNT|INTERVAL|UNTIL|BYMONTH|BYDAY|BYMONTHDAY|BYWEEKNO|BYYEARDAY|BYSETPOS)=-?[0-9A-Z]{0,9}",
            start in "[0-9]{8}",
        ) {
            let _ = imported(&[&format!("UID:1\r\nDTSTART;VALUE=DATE:{start}\r\n{key}:{value}")]);
            let _ = imported(&[&format!("UID:1\r\nDTSTART;VALUE=DATE:20261224\r\n{key}:{value}")]);
        }
    }
}
