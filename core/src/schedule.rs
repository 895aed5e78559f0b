//! Business hours of one workload: a floor inside hours, a cap outside.
//!
//! The schedule takes effect through metrics and never through an edit: the floor is a metric of its own with target 1, the cap
//! clamps all the others. So nothing has to be restored, and the state at an instant alone decides, even if earlier changes were
//! missed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{calendar::Calendar, hash::fnv1a_32, workload::WorkloadRef};

/// The business hours of a workload, and its limits inside and outside them.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The hours
    pub calendar: Calendar,
    /// The fewest replicas inside hours
    pub floor: u32,
    /// The most replicas outside hours
    pub off_hours_replicas: u32,
    /// The fewest replicas outside hours: where only hours decide, `off-hours-replicas` is the number and not a cap
    pub off_hours_floor: u32,
    /// Time before the opening at which the floor already applies: elapsed time
    pub warm_up: Duration,
    /// The part of the warm-up by which this workload starts later, so that not all start at once
    pub spread: Duration,
    /// The workload that has to be Ready before this one opens, for at most [`LATEST`]
    pub after: Option<WorkloadRef>,
    /// The end of an override: open until then, regardless of the hours
    pub keep_awake_until: Option<DateTime<Utc>>,
}

/// The longest time for which an opening waits for another workload.
pub const LATEST: TimeDelta = TimeDelta::minutes(10);

/// When nothing changes within the search horizon, the limits are cached for this long.
const LONG: TimeDelta = TimeDelta::days(1);
const ONE: TimeDelta = TimeDelta::nanoseconds(1);

/// The position of an instant in a workload's hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Inside hours
    Open,
    /// Outside hours, but kept awake by an override
    Awake,
    /// Before an opening, within the warm-up
    WarmUp,
    /// Outside hours
    Closed,
}

impl Schedule {
    /// The delay of a workload's warm-up: the same each day, and evenly spread over workloads by their names.
    pub fn spread_of(warm_up: Duration, name: &str) -> Duration {
        // The high bits are mixed best.
        warm_up.mul_f64(f64::from(fnv1a_32(name) >> 8) / f64::from(1 << 24))
    }

    /// The phase at an instant.
    pub fn phase(&self, at: DateTime<Utc>) -> Phase {
        let lead = self.lead();
        if self.calendar.is_open(at) {
            Phase::Open
        } else if self.keep_awake_until.is_some_and(|until| at < until) {
            Phase::Awake
        } else if !lead.is_zero()
            && !self.calendar.intervals(&(at..at.checked_add_signed(lead).unwrap_or(at))).is_empty()
        {
            Phase::WarmUp
        } else {
            Phase::Closed
        }
    }

    /// The fewest replicas, and the most if there is a cap.
    pub fn limits(&self, at: DateTime<Utc>) -> Limits {
        match self.phase(at) {
            Phase::Open | Phase::Awake | Phase::WarmUp => Limits { floor: self.floor, cap: None },
            Phase::Closed => self.closed(),
        }
    }

    /// The limits outside hours.
    pub fn closed(&self) -> Limits {
        Limits { floor: self.off_hours_floor, cap: Some(self.off_hours_replicas) }
    }

    /// The limits, and an instant until which they hold at least.
    pub fn limits_until(&self, at: DateTime<Utc>) -> (Limits, DateTime<Utc>) {
        (self.limits(at), self.next_change(at).unwrap_or(at + LONG))
    }

    /// The first instant after this one at which the phase may change; `None` when nothing changes within years.
    pub fn next_change(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.next_change_beside(self.calendar.next_change(after), after)
    }

    /// The same where the calendar's next change is known: many schedules share a calendar, and finding out that it never changes
    /// is expensive.
    pub fn next_change_beside(&self, hours: Option<DateTime<Utc>>, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let awake = self.keep_awake_until.filter(|until| *until > after);
        // The phase is WarmUp only after the instant at which the lead begins: from the next nanosecond, the smallest step of a
        // clock.
        let warm_up = hours.and_then(|change| change.checked_sub_signed(self.lead())).filter(|begin| *begin >= after);
        [hours, awake, warm_up.map(|begin| begin + ONE)].into_iter().flatten().min()
    }

    /// The first instant after this one at which it is not closed; `None` when there is none within years.
    pub fn next_opening(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Each change ends a phase or begins one, and an override may end while it is closed.
        let changes = std::iter::successors(self.next_change(after), |at| self.next_change(*at));
        changes.take(4).find(|at| self.phase(*at) != Phase::Closed)
    }

    /// The instant since which the floor of this opening applies; `None` outside hours, or when it opened longer ago than any
    /// workload waits for another ([`LATEST`]).
    pub fn floor_since(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let lead = self.lead();
        let within = at.checked_sub_signed(LATEST)?..at.checked_add_signed(lead)?.checked_add_signed(ONE)?;
        let opening = self.calendar.intervals(&within).into_iter().next_back()?;
        (opening.start > within.start && opening.end > at).then(|| opening.start - lead)
    }

    fn lead(&self) -> TimeDelta {
        TimeDelta::from_std(self.warm_up.saturating_sub(self.spread)).unwrap_or_default()
    }
}

/// The limits of a schedule at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// The fewest replicas
    pub floor: u32,
    /// The most replicas; `None` where only `max-replicas` applies
    pub cap: Option<u32>,
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;
    use crate::hours::{Holidays, Hours};

    fn utc(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    /// Monday to Friday, 08:00 to 18:00 in Berlin: at least 3 replicas then, at most 1 otherwise.
    fn schedule(warm_up: u64, spread: u64) -> Schedule {
        let hours = Hours::parse("Mo-Fr 08:00-18:00", &Holidays::default()).unwrap();
        Schedule {
            calendar: Calendar::new(hours, Tz::Europe__Berlin),
            floor: 3,
            off_hours_replicas: 1,
            off_hours_floor: 0,
            warm_up: Duration::from_secs(warm_up * 60),
            spread: Duration::from_secs(spread * 60),
            after: None,
            keep_awake_until: None,
        }
    }

    #[test]
    fn there_is_a_floor_inside_hours_and_a_cap_outside() {
        let schedule = schedule(0, 0);
        assert_eq!(schedule.limits(utc("2026-03-02T08:00:00Z")), Limits { floor: 3, cap: None });
        assert_eq!(schedule.limits(utc("2026-03-02T17:00:00Z")), Limits { floor: 0, cap: Some(1) });
    }

    #[test]
    fn warm_up_is_elapsed_time_before_the_opening_less_what_is_spread() {
        let schedule = schedule(30, 10);
        let phases = ["2026-03-02T06:39:59Z", "2026-03-02T06:40:00Z", "2026-03-02T06:59:59Z", "2026-03-02T07:00:00Z"];
        let phases = phases.map(|at| schedule.phase(utc(at)));
        // The lead is 20 minutes: at 06:40:00 the opening is not yet within it, a moment later it is.
        assert_eq!(phases, [Phase::Closed, Phase::Closed, Phase::WarmUp, Phase::Open]);
        assert_eq!(schedule.phase(utc("2026-03-02T06:40:01Z")), Phase::WarmUp);
    }

    #[test]
    fn warm_up_holds_until_an_opening_that_is_shorter_than_it() {
        let hours = Hours::parse("08:00-08:05", &Holidays::default()).unwrap();
        let schedule = Schedule { calendar: Calendar::new(hours, Tz::UTC), ..schedule(30, 0) };
        for at in ["2026-03-02T07:31:00Z", "2026-03-02T07:45:00Z", "2026-03-02T07:59:59Z"] {
            assert_eq!(schedule.phase(utc(at)), Phase::WarmUp, "{at}");
        }
    }

    #[test]
    fn the_next_opening_includes_the_warm_up_and_is_unknown_where_there_is_none() {
        let friday = utc("2026-03-06T20:00:00Z");
        let opening = schedule(30, 0).next_opening(friday).unwrap();
        assert!((opening - utc("2026-03-09T06:30:00Z")).num_milliseconds().abs() < 1, "{opening}");
        let never = Hours::parse("off", &Holidays::default()).unwrap();
        let never = Schedule { calendar: Calendar::new(never, Tz::UTC), ..schedule(0, 0) };
        assert_eq!(never.next_opening(friday), None);
    }

    #[test]
    fn an_override_holds_until_its_end_and_no_longer() {
        let schedule = Schedule { keep_awake_until: Some(utc("2026-03-02T20:00:00Z")), ..schedule(0, 0) };
        assert_eq!(schedule.limits(utc("2026-03-02T19:59:59Z")).floor, 3);
        assert_eq!(schedule.limits(utc("2026-03-02T20:00:00Z")).floor, 0);
    }

    proptest! {
        #[test]
        fn a_workload_starts_within_the_warm_up_and_never_after_the_opening(name in ".{0,60}", minutes in 0u64..300) {
            let warm_up = Duration::from_secs(minutes * 60);
            let spread = Schedule::spread_of(warm_up, &name);
            prop_assert!(spread <= warm_up);
            let schedule = Schedule { warm_up, spread, ..schedule(0, 0) };
            prop_assert_eq!(schedule.phase(utc("2026-03-02T07:00:00Z")), Phase::Open);
        }
    }

    proptest! {
        #[test]
        fn the_limits_hold_until_they_are_said_to(
            minutes in 0i64..14 * 1440, warm_up in 0u64..600, spread in 0u64..600, awake in proptest::option::of(0i64..14 * 1440),
        ) {
            let start = utc("2026-03-23T00:00:00Z");
            let awake = awake.map(|minutes| start + TimeDelta::minutes(minutes));
            let schedule = Schedule { keep_awake_until: awake, ..schedule(warm_up, spread) };
            let at = start + TimeDelta::minutes(minutes);
            let (limits, until) = schedule.limits_until(at);
            prop_assert!(until > at);
            for part in 0..40 {
                let between = at + (until - at) / 40 * part;
                prop_assert_eq!(schedule.limits(between), limits, "at {}, said to hold from {} until {}", between, at, until);
            }
        }
    }

    #[test]
    fn an_opening_begins_when_its_warm_up_does_and_is_old_after_ten_minutes() {
        let begins = utc("2026-03-02T06:40:00Z");
        for (at, since) in [
            ("2026-03-02T06:30:00Z", None),
            ("2026-03-02T06:40:01Z", Some(begins)),
            ("2026-03-02T06:49:59Z", Some(begins)),
            ("2026-03-02T07:09:59Z", Some(begins)),
            ("2026-03-02T07:10:01Z", None),
            ("2026-03-02T18:00:00Z", None),
        ] {
            assert_eq!(schedule(30, 10).floor_since(utc(at)), since, "{at}");
        }
    }

    #[test]
    fn the_spread_of_a_workload_is_the_same_in_every_version() {
        let spread = Schedule::spread_of(Duration::from_secs(600), "deployment/api in namespace shop");
        assert_eq!(spread, Duration::from_nanos(440_714_299_679));
    }

    #[test]
    fn many_workloads_are_spread_evenly() {
        let warm_up = Duration::from_secs(600);
        let spreads = (0..5000).map(|index| Schedule::spread_of(warm_up, &format!("shop/deployment/service-{index}")));
        let mut tenths = [0; 10];
        spreads.for_each(|spread| tenths[(spread.as_secs_f64() / 60.0) as usize] += 1);
        assert!(tenths.iter().all(|count| (300..700).contains(count)), "{tenths:?}");
    }
}
