//! Zones whose clocks are changed.

use super::*;

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
fn a_night_over_a_clock_change_closes_at_its_local_time() {
    let of = |from, to| open("22:00-06:00", "Europe/Berlin", from, to);
    assert_eq!(of("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"), ["Sat 28 22:00+01:00 to Sun 29 06:00+02:00"]);
    assert_eq!(of("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"), ["Sat 24 22:00+02:00 to Sun 25 06:00+01:00"]);
    let gap = open("22:00-02:30", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
    assert_eq!(gap, ["Sat 28 22:00+01:00 to Sun 29 03:00+02:00"]);
}
