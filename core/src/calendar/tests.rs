use std::collections::BTreeSet;

use chrono::{Datelike, Weekday};
use proptest::prelude::*;

use super::*;
use crate::hours::Holidays;

fn calendar(hours: &str, zone: &str) -> Calendar {
    Calendar::new(Hours::parse(hours, &Holidays::default()).unwrap(), zone.parse().unwrap())
}

fn utc(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

/// The open intervals between two instants, as local times with their offsets.
fn open(hours: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
    let calendar = calendar(hours, zone);
    let within = utc(from)..utc(to);
    let local = |at: DateTime<Utc>| at.with_timezone(&calendar.zone).format("%a %d %H:%M%:z").to_string();
    calendar.intervals(&within).iter().map(|open| format!("{} to {}", local(open.start), local(open.end))).collect()
}

#[test]
fn a_working_week_is_five_intervals() {
    let week = open("Mo-Fr 08:00-18:00", "Europe/Berlin", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z");
    assert_eq!(week.len(), 5);
    assert_eq!(week[0], "Mon 02 08:00+01:00 to Mon 02 18:00+01:00");
}

#[test]
fn always_open_is_one_interval_without_a_change() {
    let always = calendar("24/7", "Europe/Berlin");
    let within = utc("2020-01-01T00:00:00Z")..utc("2030-01-01T00:00:00Z");
    assert_eq!(always.intervals(&within), std::slice::from_ref(&within));
    assert_eq!(always.next_change(within.start), None);
    // The crate `opening-hours` reports closed in the last minute before a clock change.
    assert!(always.is_open(utc("2026-10-25T00:59:30Z")) && always.is_open(utc("2026-10-25T01:59:30Z")));
}

#[test]
fn never_open_has_no_change_either() {
    let never = calendar("off", "UTC");
    assert_eq!(
        (never.is_open(utc("2026-01-01T00:00:00Z")), never.next_change(utc("2026-01-01T00:00:00Z"))),
        (false, None)
    );
}

#[test]
fn a_span_past_midnight_belongs_to_the_day_it_starts_on() {
    let weekend = ("2026-03-06T12:00:00Z", "2026-03-08T12:00:00Z");
    let of = |hours| open(hours, "UTC", weekend.0, weekend.1);
    assert_eq!(of("Fr 20:00-26:00"), ["Fri 06 20:00+00:00 to Sat 07 02:00+00:00"]);
    assert_eq!(
        of("Fr 20:00-26:00; Sa 10:00-14:00"),
        ["Fri 06 20:00+00:00 to Sat 07 02:00+00:00", "Sat 07 10:00+00:00 to Sat 07 14:00+00:00"]
    );
    assert_eq!(of("Fr 20:00-26:00; Sa off"), ["Fri 06 20:00+00:00 to Sat 07 00:00+00:00"]);
    assert_eq!(
        of("Fr 20:00-26:00; Sa 00:00-01:00 off"),
        ["Fri 06 20:00+00:00 to Sat 07 00:00+00:00", "Sat 07 01:00+00:00 to Sat 07 02:00+00:00"]
    );
}

#[test]
fn a_rule_for_a_date_replaces_what_starts_on_it() {
    let night = |to| open("Mo-Su 22:00-30:00; 2026 Mar 7 22:00-27:00", "UTC", "2026-03-07T12:00:00Z", to);
    assert_eq!(night("2026-03-08T12:00:00Z"), ["Sat 07 22:00+00:00 to Sun 08 03:00+00:00"]);
}

#[test]
fn public_holidays_are_those_of_the_country_and_the_dates_that_are_given() {
    let date = NaiveDate::from_ymd_opt(2026, 3, 3).unwrap();
    let holidays = Holidays::new(Some("DE"), [date]).unwrap();
    let hours = Hours::parse("Mo-Fr 08:00-18:00; PH off", &holidays).unwrap();
    assert!(hours.mention_holidays());
    let calendar = Calendar::new(hours, "Europe/Berlin".parse().unwrap());
    for (at, open) in [
        ("2026-03-02T12:00:00Z", true),
        ("2026-03-03T12:00:00Z", false),
        ("2026-05-01T12:00:00Z", false),
        ("2026-12-25T12:00:00Z", false),
    ] {
        assert_eq!(calendar.is_open(utc(at)), open, "{at}");
    }
    assert!(Holidays::new(Some("XX"), []).is_err());
}

#[test]
fn an_opening_in_the_hour_that_a_spring_day_lacks_comes_at_its_end() {
    let of = |hours| open(hours, "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
    assert_eq!(of("02:30-06:00"), ["Sun 29 03:00+02:00 to Sun 29 06:00+02:00"]);
    assert_eq!(of("01:00-02:30"), ["Sun 29 01:00+01:00 to Sun 29 03:00+02:00"]);
    assert_eq!(of("02:10-02:50"), Vec::<String>::new(), "there is no such time on that day");
}

#[test]
fn in_the_hour_that_an_autumn_day_has_twice_it_opens_first_and_closes_last() {
    let of = |hours| open(hours, "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z");
    assert_eq!(of("02:30-06:00"), ["Sun 25 02:30+02:00 to Sun 25 06:00+01:00"]);
    assert_eq!(of("00:00-02:30"), ["Sun 25 00:00+02:00 to Sun 25 02:30+01:00"]);
    assert_eq!(of("01:00-02:30, 02:45-05:00"), ["Sun 25 01:00+02:00 to Sun 25 05:00+01:00"]);
}

#[test]
fn new_york_both_ways() {
    let of = |from, to| open("01:30-02:30", "America/New_York", from, to);
    assert_eq!(of("2026-03-07T12:00:00Z", "2026-03-08T12:00:00Z"), ["Sun 08 01:30-05:00 to Sun 08 03:00-04:00"]);
    assert_eq!(of("2026-10-31T12:00:00Z", "2026-11-01T12:00:00Z"), ["Sun 01 01:30-04:00 to Sun 01 02:30-05:00"]);
}

#[test]
fn lord_howe_jumps_by_half_an_hour() {
    let of = |from, to| open("02:15-04:00", "Australia/Lord_Howe", from, to);
    assert_eq!(of("2026-10-03T03:00:00Z", "2026-10-04T03:00:00Z"), ["Sun 04 02:30+11:00 to Sun 04 04:00+11:00"]);
    let back = open("01:45-02:15", "Australia/Lord_Howe", "2026-04-04T03:00:00Z", "2026-04-05T03:00:00Z");
    assert_eq!(back, ["Sun 05 01:45+11:00 to Sun 05 02:15+10:30"]);
}

#[test]
fn days_that_begin_at_one_o_clock_open_then() {
    let sao_paulo = open("00:00-06:00", "America/Sao_Paulo", "2015-10-17T12:00:00Z", "2015-10-18T12:00:00Z");
    assert_eq!(sao_paulo, ["Sun 18 01:00-02:00 to Sun 18 06:00-02:00"]);
    let cairo = open("Fr 00:00-06:00", "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-24T12:00:00Z");
    assert_eq!(cairo, ["Fri 24 01:00+03:00 to Fri 24 06:00+03:00"]);
    let santiago = open("Su 00:00-06:00", "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T12:00:00Z");
    assert_eq!(santiago, ["Sun 06 01:00-03:00 to Sun 06 06:00-03:00"]);
}

#[test]
fn a_day_that_a_zone_left_out_has_no_hours() {
    let apia = open("08:00-18:00", "Pacific/Apia", "2011-12-29T10:00:00Z", "2012-01-01T10:00:00Z");
    assert_eq!(
        apia,
        [
            "Thu 29 08:00-10:00 to Thu 29 18:00-10:00",
            "Sat 31 08:00+14:00 to Sat 31 18:00+14:00",
            "Sun 01 08:00+14:00 to Sun 01 18:00+14:00"
        ][..apia.len()]
    );
    assert_eq!(apia.len(), 3);
}

#[test]
fn ramadan_changes_the_clock_of_casablanca_and_not_its_hours() {
    let of = |from, to| open("08:00-18:00", "Africa/Casablanca", from, to);
    assert_eq!(of("2026-02-14T12:00:00Z", "2026-02-15T20:00:00Z")[1..], ["Sun 15 08:00+00:00 to Sun 15 18:00+00:00"]);
    assert_eq!(of("2026-03-22T00:00:00Z", "2026-03-22T20:00:00Z"), ["Sun 22 08:00+01:00 to Sun 22 18:00+01:00"]);
}

#[test]
fn an_override_beats_the_hours_and_a_later_one_the_one_before() {
    let mut calendar = calendar("Mo-Fr 08:00-18:00", "UTC");
    let change = |from, until, open| Override { from: utc(from), until: utc(until), open, reason: String::new() };
    calendar.overrides = vec![
        change("2026-03-02T17:00:00Z", "2026-03-02T22:00:00Z", true),
        change("2026-03-02T20:00:00Z", "2026-03-02T21:00:00Z", false),
    ];
    let day = calendar.intervals(&(utc("2026-03-02T00:00:00Z")..utc("2026-03-03T00:00:00Z")));
    let times: Vec<_> = day
        .iter()
        .map(|open| format!("{}", open.start.format("%H:%M")) + &open.end.format("-%H:%M").to_string())
        .collect();
    assert_eq!(times, ["08:00-20:00", "21:00-22:00"]);
    assert_eq!(calendar.next_change(utc("2026-03-02T12:00:00Z")), Some(utc("2026-03-02T20:00:00Z")));
}

#[test]
fn a_dated_rule_years_ahead_is_found() {
    let once = calendar("2029 Dec 24 10:00-14:00", "UTC");
    assert_eq!(once.next_change(utc("2026-03-02T12:00:00Z")), Some(utc("2029-12-24T10:00:00Z")));
}

#[test]
fn what_cannot_be_known_is_refused_with_what_is_wanted() {
    let refused = |text| Hours::parse(text, &Holidays::default()).unwrap_err().to_string();
    assert!(refused("sunrise-sunset").contains("clock times in place of"));
    assert!(refused("Mo-Fr 08:00-18:00; SH off").contains("SH"));
    assert!(refused("Mo-Fr 08:00+").contains("an end for each span"));
    assert!(refused("Mo-Fr 08:00-18:00 unknown").contains("open or off"));
    for loose in ["Mon-Fri 08:00-18:00", "Mo-Fr 08:00-18:00; ", "mo-fr 08:00-18:00;", "MONDAY-friday 08:00-18:00"] {
        assert!(refused(loose).contains("write \"Mo-Fr 08:00-18:00\""), "{loose}: {}", refused(loose));
    }
    let holidays = refused("mo 08:00-18:00; ph Off");
    assert!(holidays.contains("write \"Mo 08:00-18:00; PH off\""), "{holidays}");
}

#[test]
fn an_end_that_is_not_after_the_start_is_one_of_the_next_day() {
    for (hours, same) in [
        ("22:00-06:00", "22:00-30:00"),
        ("Fr 22:00-02:00", "Fr 22:00-26:00"),
        ("Mo-Fr 08:00-00:00", "Mo-Fr 08:00-24:00"),
        ("00:00-00:00", "00:00-24:00"),
        ("Mo 00:00-00:00", "Mo 00:00-24:00"),
        ("08:00-08:00", "08:00-32:00"),
        ("Fr 08:00-08:00", "Fr 08:00-32:00"),
        ("Fr 08:00-12:00,22:00-02:00", "Fr 08:00-12:00,22:00-26:00"),
        ("Fr 20:00-23:00,22:00-02:00,01:00-00:00", "Fr 01:00-26:00"),
        ("Mo-Th 08:00-18:00, Fr 20:00-04:00", "Mo-Th 08:00-18:00, Fr 20:00-28:00"),
        ("Mo-Fr 08:00-18:00; Fr 20:00-04:00", "Mo-Fr 08:00-18:00; Fr 20:00-28:00"),
        ("Fr 22:00-02:00; Sa 10:00-14:00", "Fr 22:00-26:00; Sa 10:00-14:00"),
        ("Fr 22:00-02:00 || Sa 10:00-14:00", "Fr 22:00-26:00 || Sa 10:00-14:00"),
        ("2026 Mar 22:00-02:00", "2026 Mar 22:00-26:00"),
        ("week 10 22:00-02:00", "week 10 22:00-26:00"),
        ("2026 Mar 31 22:00-02:00", "2026 Mar 31 22:00-26:00"),
        ("24/7; Fr 22:00-02:00 off", "24/7; Fr 22:00-26:00 off"),
    ] {
        let month = |hours| open(hours, "Europe/Berlin", "2026-03-01T00:00:00Z", "2026-04-05T00:00:00Z");
        assert_eq!(month(hours), month(same), "{hours}");
        assert_ne!(month(hours), Vec::<String>::new(), "{hours}");
    }
}

#[test]
fn a_night_over_a_clock_change_closes_at_its_local_time() {
    let of = |from, to| open("22:00-06:00", "Europe/Berlin", from, to);
    assert_eq!(of("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"), ["Sat 28 22:00+01:00 to Sun 29 06:00+02:00"]);
    assert_eq!(of("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"), ["Sat 24 22:00+02:00 to Sun 25 06:00+01:00"]);
    let gap = open("22:00-02:30", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
    assert_eq!(gap, ["Sat 28 22:00+01:00 to Sun 29 03:00+02:00"]);
}

#[test]
fn what_would_start_on_a_day_that_is_off_leaves_no_rest_on_the_next() {
    let days = |hours: &str| open(hours, "UTC", "2026-03-05T12:00:00Z", "2026-03-08T12:00:00Z");
    let wanted = ["Thu 05 20:00+00:00 to Fri 06 00:00+00:00", "Sat 07 20:00+00:00 to Sun 08 02:00+00:00"];
    for off in ["2026 Mar 6 off", "Fr off", "Fr 00:00-24:00 off", "Fr 00:00-00:00 off"] {
        for night in ["Mo-Su 20:00-26:00", "Mo-Su 20:00-02:00"] {
            assert_eq!(days(&format!("{night}; {off}")), wanted, "{night}; {off}");
        }
    }
    let holiday = Holidays::new(None, NaiveDate::from_ymd_opt(2026, 3, 6)).unwrap();
    let hours = Hours::parse("Mo-Su 20:00-26:00; PH off", &holiday).unwrap();
    let calendar = Calendar::new(hours, Tz::UTC);
    for (at, open) in [
        ("2026-03-05T23:59:00Z", true),
        ("2026-03-06T01:00:00Z", false),
        ("2026-03-06T21:00:00Z", false),
        ("2026-03-07T01:00:00Z", false),
        ("2026-03-07T21:00:00Z", true),
    ] {
        assert_eq!(calendar.is_open(utc(at)), open, "{at}");
    }
}

#[test]
fn an_exception_that_is_off_takes_the_night_after_it_too() {
    let date = |day| NaiveDate::from_ymd_opt(2026, 3, day).unwrap();
    let nights = |exceptions: &[(u32, &str)]| {
        let exceptions = exceptions.iter().map(|(day, hours)| (date(*day), (*hours).to_owned())).collect();
        let hours = Hours::with_exceptions("22:00-06:00", &Holidays::default(), &exceptions).unwrap();
        let within = utc("2026-03-05T12:00:00Z")..utc("2026-03-07T12:00:00Z");
        let nights = Calendar::new(hours, Tz::UTC).intervals(&within);
        nights.iter().map(|open| (open.end - open.start).num_hours()).collect::<Vec<_>>()
    };
    assert_eq!(nights(&[]), [8, 8]);
    assert_eq!(nights(&[(6, "off")]), [2], "Thursday's until midnight, nothing of Friday's");
    assert_eq!(nights(&[(6, "23:00-01:00")]), [8, 2]);
}

#[test]
fn a_span_that_is_off_past_midnight_closes_the_next_morning_unless_a_later_rule_opens_it() {
    let days = |hours: &str| open(hours, "UTC", "2026-03-06T12:00:00Z", "2026-03-07T12:00:00Z");
    let closed = ["Fri 06 12:00+00:00 to Fri 06 22:00+00:00", "Sat 07 02:00+00:00 to Sat 07 12:00+00:00"];
    assert_eq!(days("24/7; Fr 22:00-02:00 off"), closed);
    assert_eq!(days("Mo-Su 00:00-24:00; Fr 22:00-26:00 off"), closed);
    assert_eq!(
        days("24/7; Fr 22:00-02:00 off; Sa 00:00-24:00"),
        ["Fri 06 12:00+00:00 to Fri 06 22:00+00:00", "Sat 07 00:00+00:00 to Sat 07 12:00+00:00"]
    );
    assert_eq!(days("24/7; Fr 22:00-02:00 off; 2026 Mar 6 00:00-24:00").len(), 1, "the last rule for Friday counts");
}

#[test]
fn a_fallback_that_is_off_leaves_the_rest_of_the_night_before() {
    let night = open("Fr 22:00-02:00 || off", "UTC", "2026-03-06T12:00:00Z", "2026-03-07T12:00:00Z");
    assert_eq!(night, ["Fri 06 22:00+00:00 to Sat 07 02:00+00:00"]);
}

#[test]
fn hours_that_cannot_be_read_say_where_and_why_or_how_to_write_them() {
    for (text, parts) in [
        ("Mo-Fr 08:00-18:00 foo", &["such as \"Mo-Fr 08:00-18:00; PH off\"", "at character 19, \"foo\": expected"][..]),
        ("Mo-Fr 08:00-", &["at its end: expected"]),
        ("2027-2026 Mo 10:00-12:00", &["Inverted year ranges"]),
        (
            "Mon-Fri 07:30-20:30 Europe/Berlin",
            &[
                "kube-downscaler",
                "tidegate.dev/hours: \"Mo-Fr 07:30-20:30\"",
                "tidegate.dev/timezone: \"Europe/Berlin\"",
            ],
        ),
        ("Mon-Fri 07:30-20:30 UTC,Sat-Sun 10:00-12:00 UTC", &["\"Mo-Fr 07:30-20:30, Sa-Su 10:00-12:00\"", "\"UTC\""]),
        ("always", &["\"24/7\""]),
        ("never", &["\"off\""]),
    ] {
        let wanted = Hours::parse(text, &Holidays::default()).unwrap_err().to_string();
        for part in parts {
            assert!(wanted.contains(part), "{text}: {wanted}");
        }
        assert!(!wanted.contains('\n'), "{wanted}");
    }
}

#[test]
fn a_fallback_counts_whenever_nothing_before_it_is_open() {
    let day = |hours: &str| open(hours, "UTC", "2026-03-06T00:00:00Z", "2026-03-07T00:00:00Z");
    assert_eq!(day("Mo-Fr 08:00-12:00 || Mo-Fr 10:00-14:00"), day("Mo-Fr 08:00-14:00"));
    assert_eq!(day("Mo-Th 08:00-12:00 || 10:00-14:00"), day("10:00-14:00"));
    assert_eq!(day("Mo-Fr 08:00-12:00; Fr off || 13:00-14:00"), day("13:00-14:00"));
}

#[test]
fn a_zone_that_is_none_is_answered_by_the_place_that_was_meant_and_never_by_an_abbreviation() {
    for (written, part) in [
        ("Berlin", "\"Europe/Berlin\""),
        ("berlin", "\"Europe/Berlin\""),
        ("New York", "\"America/New_York\""),
        ("Kolkata", "\"Asia/Kolkata\""),
        ("Europe/Berln", "\"Europe/Berlin\""),
        ("Germany/Berlin", "\"Europe/Berlin\""),
        ("IST", "abbreviations such as IST are ambiguous"),
        ("ist", "abbreviations such as ist are ambiguous"),
        ("Cest", "abbreviations such as Cest are ambiguous"),
        ("rome", "\"Europe/Rome\""),
        ("CEST", "abbreviations such as CEST are ambiguous"),
        ("PDT", "abbreviations such as PDT are ambiguous"),
        ("UTC+2", "\"Etc/GMT-2\" is 2 h ahead of UTC (the sign is inverted"),
        ("GMT-05:00", "\"Etc/GMT+5\" is 5 h behind UTC"),
        ("+05:30", "no offset"),
        ("UTC+20", "no offset"),
        ("UTC+0", "\"UTC\""),
        ("nowhere at all", "\"Europe/Berlin\""),
    ] {
        let spec = CalendarSpec { time_zone: written.to_owned(), hours: "24/7".to_owned(), ..CalendarSpec::default() };
        let error = spec.resolve().unwrap_err();
        assert!(error.contains(part) && !error.contains("MST"), "{written}: {error}");
    }
}

#[test]
fn a_country_without_known_holidays_and_a_region_are_not_called_unknown() {
    for (code, part) in [
        ("IN", "a country of which no holidays are known: leave it out and list the days"),
        ("DE-BY", "a region: holidays are known by country only, so write \"DE\""),
        ("IN-MH", "a region of a country of which no holidays are known: leave it out"),
        ("UK", "\"GB\""),
        ("de", "\"DE\""),
        ("XX", "wants the ISO 3166-1 code of a country"),
    ] {
        let error = Holidays::new(Some(code), []).unwrap_err().to_string();
        assert!(error.contains(part), "{code}: {error}");
    }
}

#[test]
fn words_of_other_tools_find_their_key() {
    use crate::key::{Key, Place};
    for (written, meant) in [
        ("downtime-replicas", Key::OffHoursReplicas),
        ("uptime", Key::Hours),
        ("sleepAt", Key::Hours),
        ("force-uptime", Key::KeepAwakeUntil),
        ("exclude", Key::Paused),
    ] {
        assert_eq!(Key::nearest(written, Place::Workload), Some(meant), "{written}");
    }
}

/// Zones of every kind: no changes, whole and half hours, both hemispheres, changes at midnight, and changes for Ramadan.
const ZONES: [&str; 44] = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/El_Aaiun",
    "Africa/Johannesburg",
    "Africa/Lagos",
    "America/Anchorage",
    "America/Asuncion",
    "America/Bogota",
    "America/Caracas",
    "America/Chicago",
    "America/Denver",
    "America/Halifax",
    "America/Havana",
    "America/Los_Angeles",
    "America/Mexico_City",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Dhaka",
    "Asia/Gaza",
    "Asia/Jerusalem",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Asia/Tokyo",
    "Atlantic/Azores",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/Istanbul",
    "Europe/London",
    "Europe/Moscow",
    "Pacific/Apia",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "UTC",
];

/// Weekly hours: days, and minutes since midnight that may go past the next one.
#[derive(Debug, Clone)]
struct Weekly {
    days: BTreeSet<u8>,
    start: u16,
    length: u16,
    /// Whether an end on the next day is written as a time of that day, `02:00` for `26:00`
    wraps: bool,
}

impl Weekly {
    fn text(&self) -> String {
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let end = self.start + self.length;
        let end = if self.wraps && end >= MIDNIGHT { end - MIDNIGHT } else { end };
        format!("{} {}-{}", names(&self.days), clock(self.start), clock(end))
    }

    fn is_for(&self, day: Weekday) -> bool {
        self.days.contains(&(day.num_days_from_monday() as u8))
    }
}

fn names(days: &BTreeSet<u8>) -> String {
    const NAMES: [&str; 7] = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"];
    days.iter().map(|day| NAMES[usize::from(*day)]).collect::<Vec<_>>().join(",")
}

fn weekly() -> impl Strategy<Value = Weekly> {
    (prop::collection::btree_set(0u8..7, 1..7), 0u16..1440, 1u16..=1440, any::<bool>())
        .prop_map(|(days, start, length, wraps)| Weekly { days, start, length, wraps })
}

/// The start of two days somewhere in twenty years; with `at_change` they are around a clock change, if there is one within a year.
fn around(zone: Tz, day: u32, at_change: bool) -> DateTime<Utc> {
    let start = utc("2008-01-01T00:00:00Z") + Duration::days(day.into());
    let offset = |at: DateTime<Utc>| at.with_timezone(&zone).offset().fix();
    let changes =
        (0..366).map(|days| start + Duration::days(days)).find(|at| offset(*at) != offset(*at + Duration::days(1)));
    changes.filter(|_| at_change).map_or(start, |change| change - Duration::hours(12))
}

/// Whether it is open, minute by minute, from the local time of each minute alone: it opens at the first minute at which the clock
/// has reached the start. It closes when the clock shows the end for the last time or, where the clock skips the end, after the
/// last minute before it. Nothing starts on a day that is off, and a span from the day before ends at its midnight.
fn brute_force(weekly: &[Weekly], off: &BTreeSet<u8>, zone: Tz, start: DateTime<Utc>, minutes: i64) -> Vec<bool> {
    const MARGIN: i64 = 4 * 1440;
    let clock: Vec<_> = (-MARGIN..minutes + MARGIN)
        .map(|minute| (start + Duration::minutes(minute)).with_timezone(&zone).naive_local())
        .collect();
    let mut open = vec![false; clock.len()];
    let (first, last) = (clock[0].date(), clock[clock.len() - 1].date());
    let is_off = |date: NaiveDate| off.contains(&(date.weekday().num_days_from_monday() as u8));
    for date in first.iter_days().skip(2).take_while(|date| *date < last) {
        for hours in weekly.iter().filter(|hours| hours.is_for(date.weekday()) && !is_off(date)) {
            let end = hours.start + hours.length;
            let end = if is_off(date.succ_opt().unwrap()) { end.min(1440) } else { end };
            let at = |minute: u16| date.and_time(NaiveTime::MIN) + Duration::minutes(minute.into());
            let opens = clock.iter().position(|now| *now >= at(hours.start));
            let shown = clock.iter().rposition(|now| *now == at(end));
            let closes = shown.or_else(|| clock.iter().rposition(|now| *now < at(end)).map(|last| last + 1));
            if let (Some(opens), Some(closes)) = (opens, closes) {
                (opens..closes).for_each(|minute| open[minute] = true);
            }
        }
    }
    open[MARGIN as usize..(MARGIN + minutes) as usize].to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_is_open_when_a_look_at_every_minute_says_so(
        zone in prop::sample::select(&ZONES[..]), day in 0u32..20 * 365, at_change in any::<bool>(),
        weekly in prop::collection::vec(weekly(), 1..3), off in prop::collection::btree_set(0u8..7, 0..3),
    ) {
        let zone: Tz = zone.parse().unwrap();
        let start = around(zone, day, at_change);
        let text = weekly.iter().map(Weekly::text).collect::<Vec<_>>().join(", ");
        let text = if off.is_empty() { text } else { format!("{text}; {} off", names(&off)) };
        let calendar = calendar(&text, zone.name());
        let minutes = 2 * 1440;
        let within = start..start + Duration::minutes(minutes);
        let intervals = calendar.intervals(&within);
        let told: Vec<bool> = (0..minutes)
            .map(|minute| start + Duration::minutes(minute))
            .map(|at| intervals.iter().any(|open| open.contains(&at)))
            .collect();
        let looked = brute_force(&weekly, &off, zone, start, minutes);
        let differs = told.iter().zip(&looked).position(|(told, looked)| told != looked);
        prop_assert_eq!(differs, None, "minutes after {} in {}: {}", start, zone, text);
        prop_assert!(intervals.windows(2).all(|pair| pair[0].end < pair[1].start));
    }

    #[test]
    fn the_state_flips_at_the_next_change_and_not_before(
        zone in prop::sample::select(&ZONES[..]), day in 0u32..20 * 365, at_change in any::<bool>(), weekly in weekly(),
        parts in prop::collection::vec(0.0f64..1.0, 8),
    ) {
        let calendar = calendar(&weekly.text(), zone);
        let at = around(calendar.zone, day, at_change);
        let open = calendar.is_open(at);
        if let Some(change) = calendar.next_change(at) {
            prop_assert!(change > at);
            prop_assert_ne!(calendar.is_open(change), open);
            prop_assert_eq!(calendar.is_open(change - Duration::seconds(1)), open);
            for part in parts {
                let between = at + Duration::seconds(((change - at).num_seconds() as f64 * part) as i64);
                prop_assert_eq!(calendar.is_open(between), open, "at {}", between);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,60}", day in 0u32..20 * 365) {
        if let Ok(hours) = Hours::parse(&text, &Holidays::default()) {
            let calendar = Calendar::new(hours, Tz::Europe__Berlin);
            calendar.next_change(around(calendar.zone, day, false));
        }
    }
}
