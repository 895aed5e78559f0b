//! The status of Calendars: whether each is open now, when that changes next, how many use it, and its problems.
//!
//! Nothing depends on what is written here. The scaler works out the hours by itself; the status is for people.

use std::{collections::BTreeMap, fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use tidegate_cluster::{CalendarObject, Kind};
use tidegate_core::{
    calendar::{CalendarStatus, Condition, KnownCalendar},
    event::{Notice, Reason},
    no_effect::NoEffect,
    plan::Plan,
};
use tokio::time::Instant;

use crate::{
    context::{Context, Pass},
    events::{self, Events},
    writer::{FIELD_MANAGER, Unwritten, Writer},
};

/// The longest time between two looks: the clock may have been set, and a write may have failed.
const LOOK: Duration = Duration::from_secs(60);

/// A notice for the users of a Calendar.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum CalendarNotice {
    /// Open, and until when
    Opened(String),
    /// Closed, likewise
    Closed(String),
    /// It is invalid: the error, and the hours that apply instead
    Invalid(String, Option<String>),
    /// `PH` without holidays
    NoHolidays,
    /// It is valid, but some of it has no effect
    NoEffect(NoEffect),
}

impl Notice for CalendarNotice {
    fn reason(&self) -> Reason {
        match self {
            Self::Opened(_) => Reason::Opened,
            Self::Closed(_) => Reason::Closed,
            Self::Invalid(..) => Reason::Invalid,
            Self::NoHolidays => Reason::NoHolidays,
            Self::NoEffect(_) => Reason::NoEffect,
        }
    }
}

impl fmt::Display for CalendarNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(until) => write!(f, "open{until}"),
            Self::Closed(until) => write!(f, "closed{until}"),
            Self::Invalid(error, Some(hours)) => {
                write!(f, "{error} (until this is fixed the hours that it had apply: {hours})")
            }
            Self::Invalid(error, None) => write!(f, "{error} (what uses it has no hours until this is fixed)"),
            Self::NoEffect(what) => write!(f, "{what}"),
            Self::NoHolidays => {
                write!(
                    f,
                    "spec.hours mention PH, but no holidays are known: set spec.holidays.country or spec.holidays.dates"
                )
            }
        }
    }
}

/// Keeps the status of all Calendars up to date, while this replica leads.
pub async fn run(context: Context) {
    let calendars = Calendars { events: context.events() };
    context.on_change(calendars, LOOK).await;
}

struct Calendars {
    events: Events<CalendarNotice>,
}

impl Pass for Calendars {
    async fn pass(&mut self, plan: &Plan, context: &Context) -> Instant {
        let now = Utc::now();
        let users = users(plan);
        let shown: Vec<_> = context.watches.objects(|objects| {
            let shown = |calendar: &CalendarObject| {
                let name = &calendar.metadata.name;
                let users = users.get(name.as_str()).copied().unwrap_or(0);
                let shown = Shown::of(calendar, users, now);
                let status = shown.status(calendar, now);
                (name.clone(), calendar.metadata.uid.clone(), shown, (status != calendar.status).then_some(status))
            };
            objects.calendars().map(shown).collect()
        });
        let mut all = Vec::new();
        let mut wake = LOOK;
        for (name, uid, shown, status) in shown {
            if let Some(change) = shown.next_change {
                // Just after the change, so that it has happened by then.
                wake = wake.min((change - now).to_std().unwrap_or_default() + Duration::from_millis(1));
            }
            if let Some(status) = status {
                write(&context.writer, &name, &status).await;
            }
            all.push((events::reference(Kind::Calendar, "", &name, Some(uid)), shown.notices));
        }
        self.events.publish_all(all).await;
        Instant::now() + wake
    }
}

async fn write(writer: &Writer, name: &str, status: &Value) {
    let object = json!({"metadata": {"name": name}, "status": status});
    // It is tried again with the next look.
    match writer.apply_status(Kind::Calendar, FIELD_MANAGER, object).await {
        Ok(()) | Err(Unwritten::NotLeading) => {}
        Err(error) => tracing::warn!(calendar = name, %error, "cannot write its status"),
    }
}

fn users(plan: &Plan) -> BTreeMap<&str, usize> {
    let mut users = BTreeMap::new();
    let of_workloads = plan.workloads.values().filter_map(|workload| workload.calendar.as_deref());
    let gateways = plan.fleets.iter().flat_map(|fleet| fleet.gateways.values());
    let of_gateways = gateways.filter_map(|gateway| gateway.calendar.as_deref());
    for name in of_workloads.chain(of_gateways) {
        *users.entry(name).or_default() += 1;
    }
    users
}

/// The content of a Calendar's status and events at an instant.
struct Shown {
    open: Option<bool>,
    next_change: Option<DateTime<Utc>>,
    next_change_text: Option<String>,
    users: usize,
    condition: (&'static str, &'static str, String),
    notices: Vec<CalendarNotice>,
}

impl Shown {
    fn of(calendar: &CalendarObject, users: usize, now: DateTime<Utc>) -> Self {
        let error = match calendar.spec.resolve() {
            Ok(known) => return Self::of_known(&known, users, now),
            Err(error) => error,
        };
        let applied = calendar.applied();
        let notice = CalendarNotice::Invalid(error, applied.as_ref().map(|known| known.calendar.hours.to_string()));
        let condition = ("False", "Invalid", notice.to_string());
        let (open, next_change, next_change_text) = applied.map_or((None, None, None), |known| {
            let shown = Self::of_known(&known, users, now);
            (shown.open, shown.next_change, shown.next_change_text)
        });
        Self { open, next_change, next_change_text, users, condition, notices: vec![notice] }
    }

    fn of_known(known: &KnownCalendar, users: usize, now: DateTime<Utc>) -> Self {
        let calendar = &known.calendar;
        let open = calendar.is_open(now);
        let next_change = calendar.next_change(now);
        let local = |at: DateTime<Utc>| at.with_timezone(&calendar.zone);
        let until = next_change.map_or_else(
            || " for the years to come".to_owned(),
            |change| format!(" until {} ({})", local(change).format("%a %Y-%m-%d %H:%M %:z"), calendar.zone),
        );
        let mut notices = vec![if open { CalendarNotice::Opened(until) } else { CalendarNotice::Closed(until) }];
        notices.extend(NoEffect::of_calendar("spec.hours", calendar, now).map(CalendarNotice::NoEffect));
        let condition = if calendar.hours.mention_holidays() && known.holidays.is_empty() {
            notices.push(CalendarNotice::NoHolidays);
            ("True", "NoHolidays", CalendarNotice::NoHolidays.to_string())
        } else {
            ("True", "Resolved", "the hours are understood".to_owned())
        };
        let next_change_text = next_change.map(|at| local(at).to_rfc3339_opts(SecondsFormat::Secs, true));
        Self { open: Some(open), next_change, next_change_text, users, condition, notices }
    }

    /// The complete status. The time of the last transition is kept while the condition stays the same.
    fn status(&self, calendar: &CalendarObject, now: DateTime<Utc>) -> Value {
        let (status, reason, message) = &self.condition;
        let before = &calendar.status["conditions"][0];
        let since = before["lastTransitionTime"].as_str().filter(|_| before["status"] == *status);
        let condition = Condition {
            kind: "Ready",
            status,
            reason,
            message: message.clone(),
            observed_generation: calendar.metadata.generation,
            last_transition_time: since
                .map_or_else(|| now.to_rfc3339_opts(SecondsFormat::Secs, true), ToOwned::to_owned),
        };
        let applied = match *status {
            "True" => Some(json!(calendar.spec)),
            _ => calendar.status.get(CalendarStatus::APPLIED).cloned(),
        };
        json!(CalendarStatus {
            open: self.open,
            next_change: self.next_change_text.clone(),
            applied,
            users: self.users,
            conditions: vec![condition],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(spec: &Value, status: &Value) -> CalendarObject {
        serde_json::from_value(json!({"metadata": {"name": "office", "generation": 1}, "spec": spec, "status": status}))
            .unwrap()
    }

    fn of(calendar: &CalendarObject, at: &str) -> (Shown, Value) {
        let shown = Shown::of(calendar, 2, instant(at));
        let status = shown.status(calendar, instant(at));
        (shown, status)
    }

    fn shown(spec: &Value, at: &str) -> (Shown, Value) {
        of(&calendar(spec, &Value::Null), at)
    }

    fn instant(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn the_status_says_open_or_closed_and_until_when_in_local_time() {
        let at = "2026-03-27T12:00:00Z";
        let (shown, status) = shown(&json!({"timeZone": "Europe/Berlin", "hours": "Mo-Fr 08:00-18:00"}), at);
        assert_eq!(status["open"], true);
        assert_eq!(status["nextChange"], "2026-03-27T18:00:00+01:00");
        assert_eq!(status["users"], 2);
        assert_eq!(status["conditions"][0]["reason"], "Resolved");
        let texts: Vec<_> = shown.notices.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["open until Fri 2026-03-27 18:00 +01:00 (Europe/Berlin)"]);
    }

    #[test]
    fn a_status_that_is_right_is_not_written_again() {
        let spec = json!({"timeZone": "Europe/Berlin", "hours": "Mo-Fr 08:00-18:00"});
        let (_, first) = shown(&spec, "2026-03-27T12:00:00Z");
        let (_, later) = of(&calendar(&spec, &first), "2026-03-27T12:30:00Z");
        assert_eq!(first, later);
    }

    #[test]
    fn one_that_makes_no_sense_is_neither_open_nor_closed_and_says_which_field_is_wrong() {
        let at = "2026-03-27T12:00:00Z";
        let (_, status) = shown(&json!({"timeZone": "Europe/Berln", "hours": "24/7"}), at);
        assert_eq!(status["open"], Value::Null);
        assert_eq!(status["conditions"][0]["status"], "False");
        assert!(
            status["conditions"][0]["message"].as_str().unwrap().starts_with("spec.timeZone: got \"Europe/Berln\"")
        );
    }

    #[test]
    fn a_typo_leaves_the_hours_that_there_were_over_any_restart() {
        let at = "2026-03-27T20:00:00Z";
        let (_, status) = shown(&json!({"timeZone": "Europe/Berlin", "hours": "Mo-Fr 08:00-18:00"}), at);
        let typo = calendar(&json!({"timeZone": "Europe/Berlin", "hours": "Mo-Fr 0800-18:00"}), &status);
        assert_eq!(typo.effective().unwrap().calendar.hours.to_string(), "Mo-Fr 08:00-18:00");
        let (shown, after) = of(&typo, at);
        assert_eq!((&after["open"], &after["nextChange"]), (&status["open"], &status["nextChange"]));
        assert_eq!((&after["applied"], &after["conditions"][0]["status"]), (&status["applied"], &json!("False")));
        assert!(
            shown.notices[0].to_string().contains("the hours that it had apply: Mo-Fr 08:00-18:00"),
            "{}",
            shown.notices[0]
        );
        let never = calendar(&json!({"timeZone": "Europe/Berlin", "hours": "Mo-Fr 0800-18:00"}), &Value::Null);
        assert!(never.effective().is_err());
    }

    #[test]
    fn hours_that_never_open_and_overrides_that_have_ended_are_reported() {
        let past = json!([{"from": "2025-03-01T10:00:00Z", "until": "2025-03-01T12:00:00Z", "state": "Open"}]);
        let spec = json!({"timeZone": "UTC", "hours": "2025 Mo-Fr 08:00-18:00", "overrides": past});
        let (shown, _) = shown(&spec, "2026-03-27T12:00:00Z");
        let told: Vec<_> = shown.notices.iter().filter(|notice| notice.reason().is_warning()).collect();
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with("spec.hours \"2025 Mo-Fr 08:00-18:00\" (UTC) do not open"), "{told:?}");
        assert!(told[1].starts_with("spec.overrides[0]: past"), "{told:?}");
    }

    #[test]
    fn ph_without_holidays_is_reported() {
        let (shown, _) =
            shown(&json!({"timeZone": "UTC", "hours": "Mo-Su 08:00-18:00; PH off"}), "2026-03-27T12:00:00Z");
        assert!(shown.notices.contains(&CalendarNotice::NoHolidays));
        assert_eq!(shown.condition.0, "True");
    }
}
