//! Spans past midnight, and days that are off beside them.

use super::*;

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
