//! Values that are accepted but can have no effect: valid, but surely a mistake.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::{
    calendar::Calendar,
    intent::ScheduleIntent,
    key::Key,
    plan::Plan,
    workload::{WorkloadId, WorkloadRef},
};

/// Time after which an ended override is reported: `tidegate wake` leaves one behind, and an earlier report would bother everybody
/// who wakes a workload for an evening.
const ENDED: TimeDelta = TimeDelta::days(1);

/// One value without effect. Its text gives the key, the value, the consequence and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NoEffect {
    /// Hours that do not open within a year
    NeverOpens {
        /// The key or field that has them
        field: String,
        /// As written
        hours: String,
        /// The zone of the hours
        zone: Tz,
    },
    /// `off-hours-replicas` that is above `max-replicas`
    CapAboveMaximum {
        /// The cap
        cap: u32,
        /// The highest number of replicas there may be
        max: u32,
    },
    /// `keep-awake-until` that passed a day ago or more
    AwakeUntilPast(DateTime<Utc>),
    /// A cycle of `after`: each workload waits for the next one, and the first one is also the last
    AfterItself(Vec<WorkloadId>),
    /// Indexes in `spec.overrides` of the overrides that ended a day ago or more
    OverridesPast(Vec<usize>),
}

impl NoEffect {
    /// Finds hours that do not open within a year from `now`.
    pub fn of_hours(field: &str, calendar: &Calendar, now: DateTime<Utc>) -> Option<Self> {
        let never =
            || Self::NeverOpens { field: field.to_owned(), hours: calendar.hours.to_string(), zone: calendar.zone };
        (!calendar.opens_within_a_year(now)).then(never)
    }

    /// Finds all values without effect in a Calendar: in its hours, which `field` holds, and in its overrides.
    pub fn of_calendar(field: &str, calendar: &Calendar, now: DateTime<Utc>) -> impl Iterator<Item = Self> {
        [Self::of_hours(field, calendar, now), Self::of_overrides(calendar, now)].into_iter().flatten()
    }

    /// Finds keys without effect beside hours. `max` is the highest number of replicas there may be.
    pub fn beside_hours(asked: &ScheduleIntent, max: u32, now: DateTime<Utc>) -> impl Iterator<Item = Self> {
        let above = asked.off_hours_replicas.filter(|cap| *cap > max).map(|cap| Self::CapAboveMaximum { cap, max });
        let past = asked.keep_awake_until.filter(|until| now - *until >= ENDED).map(Self::AwakeUntilPast);
        above.into_iter().chain(past)
    }

    /// Finds a workload that is to open after itself, directly or by way of others.
    pub fn of_order(id: &WorkloadId, plan: &Plan) -> Option<Self> {
        let mut chain = vec![id.clone()];
        loop {
            let after = plan.workloads.get(chain.last()?)?.schedule.as_ref()?.after.clone()?;
            let next = WorkloadId { namespace: id.namespace.clone(), kind: after.kind, name: after.name };
            let seen = chain.iter().position(|known| *known == next);
            chain.push(next);
            match seen {
                Some(0) => return Some(Self::AfterItself(chain)),
                // A cycle of other workloads, which is reported on those.
                Some(_) => return None,
                None => {}
            }
        }
    }

    /// Finds overrides of a Calendar that ended a day ago or more.
    pub fn of_overrides(calendar: &Calendar, now: DateTime<Utc>) -> Option<Self> {
        let ended = calendar.overrides.iter().enumerate().filter(|(_, change)| now - change.until >= ENDED);
        let places: Vec<_> = ended.map(|(place, _)| place).collect();
        (!places.is_empty()).then_some(Self::OverridesPast(places))
    }
}

impl fmt::Display for NoEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverOpens { field, hours, zone } => write!(
                f,
                "{field} \"{hours}\" ({zone}) do not open within a year from now: what has them stays at its off-hours-replicas. \
                 Write when it is to be open, such as \"Mo-Fr 08:00-18:00\""
            ),
            Self::CapAboveMaximum { cap, max } => write!(
                f,
                "{} is {cap}, but there are never more than {max} ({}): outside hours nothing is held down. Lower the one or \
                 raise the other",
                Key::OffHoursReplicas.annotation(),
                Key::MaxReplicas.annotation()
            ),
            Self::AwakeUntilPast(until) => write!(
                f,
                "{} is {}, which is past: only the hours count. Take it off, or give a time to come",
                Key::KeepAwakeUntil.annotation(),
                until.format("%Y-%m-%dT%H:%M:%SZ")
            ),
            Self::AfterItself(chain) => {
                let name = |id: &WorkloadId| WorkloadRef { kind: id.kind, name: id.name.clone() }.to_string();
                let chain: Vec<_> = chain.iter().map(name).collect();
                write!(
                    f,
                    "{} goes in a circle, {}: none of them is Ready first, so each opens late. Take one of these annotations off",
                    Key::After.annotation(),
                    chain.join(" after ")
                )
            }
            Self::OverridesPast(places) => {
                const SHOWN: usize = 10;
                let mut shown: Vec<_> =
                    places.iter().take(SHOWN).map(|place| format!("spec.overrides[{place}]")).collect();
                if places.len() > SHOWN {
                    shown.push(format!("{} more", places.len() - SHOWN));
                }
                write!(f, "{}: past, and without effect. Take out what has ended", shown.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        calendar::{Calendars, Override},
        hours::{Holidays, Hours},
        intent::{Annotations, Intent},
        plan::{PlannedWorkload, Replicas},
        workload::WorkloadKind,
    };

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-03-02T12:00:00Z").unwrap().to_utc()
    }

    fn id(name: &str) -> WorkloadId {
        WorkloadId { namespace: "shop".to_owned(), kind: WorkloadKind::Deployment, name: name.to_owned() }
    }

    fn intent(annotations: &[(&str, &str)]) -> Intent {
        let hours = [("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC")];
        let all = hours.iter().chain(annotations);
        let all: Annotations = all.map(|(key, value)| (format!("tidegate.dev/{key}"), (*value).to_owned())).collect();
        Intent::of_workload(&all, "shop", &Annotations::new()).unwrap().unwrap()
    }

    #[test]
    fn hours_that_open_at_no_time_within_a_year_are_told() {
        for (hours, told) in [
            ("off", true),
            ("PH off", true),
            ("2025 Mo-Fr 08:00-18:00", true),
            ("2028 Dec 24 10:00-14:00", true),
            ("Mo-Fr 08:00-18:00; Mo-Su off", true),
            ("22:00-06:00", false),
            ("24/7", false),
            ("2026 Dec 24 10:00-14:00", false),
        ] {
            let calendar = Calendar::new(Hours::parse(hours, &Holidays::default()).unwrap(), Tz::UTC);
            let found = NoEffect::of_hours("tidegate.dev/hours", &calendar, now()).map(|found| found.to_string());
            assert_eq!(found.is_some(), told, "{hours}");
            assert!(found.is_none_or(|text| text.contains(hours) && text.contains("tidegate.dev/hours")), "{hours}");
        }
    }

    #[test]
    fn a_cap_above_the_maximum_and_an_override_that_is_past_are_told() {
        for (key, value, text) in [
            ("off-hours-replicas", "11", Some("tidegate.dev/off-hours-replicas is 11")),
            ("off-hours-replicas", "10", None),
            ("keep-awake-until", "2025-03-02T12:00:00Z", Some("tidegate.dev/keep-awake-until is 2025-03-02T12:00:00Z")),
            ("keep-awake-until", "2026-03-02T11:00:00Z", None),
            ("keep-awake-until", "2026-03-02T13:00:00Z", None),
        ] {
            let asked = intent(&[(key, value)]).schedule.unwrap();
            let told: Vec<_> = NoEffect::beside_hours(&asked, 10, now()).map(|told| told.to_string()).collect();
            assert_eq!(told.len(), usize::from(text.is_some()), "{key} {value}: {told:?}");
            assert!(text.is_none_or(|text| told[0].contains(text)), "{told:?}");
        }
    }

    #[test]
    fn a_workload_that_waits_for_itself_by_way_of_others_is_told_and_one_that_waits_for_a_circle_is_not() {
        let after = [("self", "self"), ("a", "b"), ("b", "c"), ("c", "a"), ("outside", "a"), ("last", "none")];
        let planned = after.map(|(name, after)| {
            let intent = intent(&[("after", &format!("deployment/{after}"))]);
            let (id, none) = (id(name), Calendars::new());
            let workload =
                PlannedWorkload::new(&id, String::new(), Ok(intent), Vec::new(), Replicas::default(), 1, &none);
            (id, workload)
        });
        let plan = Plan { workloads: planned.into(), ..Plan::default() };
        for (name, told) in [("self", true), ("a", true), ("b", true), ("c", true), ("outside", false), ("last", false)]
        {
            assert_eq!(NoEffect::of_order(&id(name), &plan).is_some(), told, "{name}");
        }
        let text = NoEffect::of_order(&id("b"), &plan).unwrap().to_string();
        assert!(text.contains("deployment/b after deployment/c after deployment/a after deployment/b"), "{text}");
    }

    #[test]
    fn overrides_that_ended_a_day_ago_are_told_by_their_places() {
        let mut calendar = Calendar::new(Hours::parse("24/7", &Holidays::default()).unwrap(), Tz::UTC);
        let until = |hours| Override {
            from: now() - TimeDelta::days(9),
            until: now() + TimeDelta::hours(hours),
            open: true,
            reason: String::new(),
        };
        calendar.overrides = vec![until(-24), until(-23), until(1), until(-48)];
        assert_eq!(NoEffect::of_overrides(&calendar, now()), Some(NoEffect::OverridesPast(vec![0, 3])));
        calendar.overrides = vec![until(1)];
        assert_eq!(NoEffect::of_overrides(&calendar, now()), None);
    }
}
