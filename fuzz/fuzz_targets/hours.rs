//! Opening hours, in a zone with summer time: each change comes after the one before, and changes something.
#![no_main]

use chrono::{DateTime, TimeDelta};
use libfuzzer_sys::fuzz_target;
use tidegate_core::{
    calendar::{Calendar, time_zone},
    hours::{Holidays, Hours},
};

fuzz_target!(|text: &str| {
    let Ok(holidays) = Holidays::new(Some("DE"), []) else { return };
    let (Ok(hours), Ok(zone)) = (Hours::parse(text, &holidays), time_zone("Europe/Berlin")) else { return };
    let calendar = Calendar::new(hours, zone);
    let mut now = DateTime::UNIX_EPOCH + TimeDelta::days(20_500);
    for _ in 0..8 {
        let Some(next) = calendar.next_change(now) else { return };
        assert!(next > now, "{next} is not after {now}");
        assert_ne!(calendar.is_open(next), calendar.is_open(now), "{text}: nothing changes at {next}");
        now = next;
    }
});
