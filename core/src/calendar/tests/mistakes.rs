//! Hours, zones and holidays that are refused, and what is suggested.

use super::*;

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
