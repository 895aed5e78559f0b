mod clock_changes;
mod every_minute;
mod intervals;
mod mistakes;
mod nights;

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
