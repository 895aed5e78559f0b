//! Open intervals, and the next change.

use super::*;

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
fn a_fallback_counts_whenever_nothing_before_it_is_open() {
    let day = |hours: &str| open(hours, "UTC", "2026-03-06T00:00:00Z", "2026-03-07T00:00:00Z");
    assert_eq!(day("Mo-Fr 08:00-12:00 || Mo-Fr 10:00-14:00"), day("Mo-Fr 08:00-14:00"));
    assert_eq!(day("Mo-Th 08:00-12:00 || 10:00-14:00"), day("10:00-14:00"));
    assert_eq!(day("Mo-Fr 08:00-12:00; Fr off || 13:00-14:00"), day("13:00-14:00"));
}
