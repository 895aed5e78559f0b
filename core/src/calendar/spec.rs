//! The spec of a Calendar object, and its validation.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Calendar, Override};
use crate::{
    hours::{Exceptions, Holidays, Hours},
    value,
};

/// The opening hours that are shared.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["timeZone", "hours"]))]
pub struct CalendarSpec {
    /// An IANA time zone, such as Europe/Berlin.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_+/-]+$"))]
    pub time_zone: String,
    /// Opening hours in OpenStreetMap's notation, such as Mo-Fr 08:00-18:00; PH off.
    #[schemars(length(min = 1, max = 4096))]
    pub hours: String,
    /// The days that PH stands for in the hours.
    pub holidays: HolidaysSpec,
    /// Days with hours of their own, which apply in place of those of the week.
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["date"]))]
    pub exceptions: Vec<ExceptionSpec>,
    /// Periods that are open or closed, regardless of the hours. A later one takes precedence over an earlier one.
    #[schemars(length(max = 100))]
    pub overrides: Vec<OverrideSpec>,
}

/// The days that PH stands for in the hours.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct HolidaysSpec {
    /// An ISO 3166-1 code, such as DE, for the public holidays of that country. Regional ones go into dates, as `tidegate calendar import`
    /// writes them.
    #[schemars(with = "String", regex(pattern = "^[A-Z]{2}$"))]
    pub country: Option<String>,
    /// Further days that are holidays.
    #[schemars(length(max = 1000))]
    pub dates: Vec<HolidaySpec>,
}

/// A day that is a holiday.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["date"]))]
pub struct HolidaySpec {
    /// The day, such as 2026-12-24.
    #[schemars(extend("format" = "date"))]
    pub date: String,
    /// The name, for people to read.
    #[schemars(length(max = 256))]
    pub name: String,
}

/// A day with hours of its own.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["date", "hours"]))]
pub struct ExceptionSpec {
    /// The day, such as 2026-12-24.
    #[schemars(extend("format" = "date"))]
    pub date: String,
    /// The hours of that day, such as 10:00-14:00, or off.
    #[schemars(length(min = 1, max = 256))]
    pub hours: String,
    /// The reason, for people to read.
    #[schemars(length(max = 256))]
    pub reason: String,
}

/// A period that is open or closed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(extend(
    "required" = ["from", "until", "state"],
    "x-kubernetes-validations" = [{"rule": "self.until > self.from", "message": "until must be after from"}]
))]
pub struct OverrideSpec {
    /// First instant of the period, as RFC 3339 writes it: 2026-12-27T10:00:00+01:00.
    #[schemars(extend("format" = "date-time"))]
    pub from: String,
    /// First instant after the period, as RFC 3339 writes it.
    #[schemars(extend("format" = "date-time"))]
    pub until: String,
    /// Open or Closed
    #[schemars(extend("enum" = ["Open", "Closed"]))]
    pub state: String,
    /// The reason, for people to read.
    #[schemars(length(max = 256))]
    pub reason: String,
}

/// A valid Calendar object: its hours, and the holidays and exceptions that also apply to a workload's own hours.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownCalendar {
    /// Hours, zone and overrides
    pub calendar: Calendar,
    /// The days that `PH` stands for
    pub holidays: Holidays,
    /// Days with hours of their own
    pub exceptions: Exceptions,
}

impl CalendarSpec {
    /// Parses the spec. The error names the field, its value and the value that is wanted.
    pub fn resolve(&self) -> Result<KnownCalendar, String> {
        let zone = at("spec.timeZone", &self.time_zone, value::time_zone)?;
        let dates = self.holidays.dates.iter().enumerate();
        let dates: Vec<_> = dates
            .map(|(index, day)| at(&format!("spec.holidays.dates[{index}].date"), &day.date, date))
            .collect::<Result<_, _>>()?;
        let holidays = Holidays::new(self.holidays.country.as_deref(), dates)
            .map_err(|error| format!("spec.holidays.country: {error}"))?;
        let mut exceptions = Exceptions::new();
        for (index, exception) in self.exceptions.iter().enumerate() {
            let day = at(&format!("spec.exceptions[{index}].date"), &exception.date, date)?;
            if exceptions.insert(day, exception.hours.clone()).is_some() {
                return Err(format!("spec.exceptions[{index}].date: {day} is there twice"));
            }
        }
        let hours =
            Hours::with_exceptions(&self.hours, &holidays, &exceptions).map_err(|(field, wanted)| match field {
                None => format!("spec.hours: got {:?}, wants {wanted}", self.hours),
                Some(day) => format!("spec.exceptions of {day}: wants {wanted}"),
            })?;
        let overrides = self.overrides.iter().enumerate();
        let overrides = overrides.map(|(index, change)| change.resolve(index)).collect::<Result<_, _>>()?;
        Ok(KnownCalendar { calendar: Calendar { hours, zone, overrides }, holidays, exceptions })
    }
}

impl KnownCalendar {
    /// A workload's own hours and zone, where it has them, with this Calendar's holidays, exceptions and overrides.
    pub fn with(&self, hours: Option<&Hours>, zone: Option<Tz>) -> Calendar {
        let mut calendar = self.calendar.clone();
        if let Some(hours) = hours {
            // These hours were parsed before, so an error could only come from the exceptions, which were checked.
            calendar.hours = Hours::with_exceptions(&hours.to_string(), &self.holidays, &self.exceptions)
                .unwrap_or_else(|_| hours.clone());
        }
        calendar.zone = zone.unwrap_or(calendar.zone);
        calendar
    }
}

impl OverrideSpec {
    fn resolve(&self, index: usize) -> Result<Override, String> {
        let field = |name: &str| format!("spec.overrides[{index}].{name}");
        let instant =
            |name: &str, text: &str| -> Result<DateTime<Utc>, String> { at(&field(name), text, value::instant) };
        let (from, until) = (instant("from", &self.from)?, instant("until", &self.until)?);
        if until <= from {
            return Err(format!("{}: {} is not after from, {}", field("until"), self.until, self.from));
        }
        let open = match self.state.as_str() {
            "Open" => true,
            "Closed" => false,
            other => return Err(format!("{}: got {other:?}, wants Open or Closed", field("state"))),
        };
        Ok(Override { from, until, open, reason: self.reason.clone() })
    }
}

fn at<T>(field: &str, got: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, String> {
    parse(got).map_err(|wanted| format!("{field}: got {got:?}, wants {wanted}"))
}

fn date(text: &str) -> Result<NaiveDate, String> {
    text.parse().map_err(|_| "a date such as \"2026-12-24\"".to_owned())
}

/// Calendars by name; the error of an invalid one in its place.
pub type Calendars = BTreeMap<String, Result<KnownCalendar, String>>;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(change: impl FnOnce(&mut Value)) -> CalendarSpec {
        let mut spec = json!({
            "timeZone": "Europe/Berlin",
            "hours": "Mo-Fr 08:00-18:00; PH off",
            "holidays": {"country": "DE", "dates": [{"date": "2026-12-24", "name": "Christmas Eve"}]},
            "exceptions": [{"date": "2026-12-31", "hours": "08:00-12:00", "reason": "stocktaking"}],
            "overrides": [{"from": "2026-12-27T10:00:00+01:00", "until": "2026-12-27T12:00:00+01:00", "state": "Open"}],
        });
        change(&mut spec);
        serde_json::from_value(spec).unwrap()
    }

    fn open(calendar: &Calendar, at: &str) -> bool {
        calendar.is_open(DateTime::parse_from_rfc3339(at).unwrap().to_utc())
    }

    #[test]
    fn overrides_beat_exceptions_and_these_beat_the_week() {
        let known = spec(|_| {}).resolve().unwrap();
        for (at, wanted) in [
            ("2026-12-23T10:00:00+01:00", true),
            ("2026-12-24T10:00:00+01:00", false),
            ("2026-12-25T10:00:00+01:00", false),
            ("2026-12-27T11:00:00+01:00", true),
            ("2026-12-31T11:00:00+01:00", true),
            ("2026-12-31T13:00:00+01:00", false),
        ] {
            assert_eq!(open(&known.calendar, at), wanted, "{at}");
        }
    }

    #[test]
    fn hours_of_a_workloads_own_take_holidays_exceptions_and_overrides_from_the_calendar() {
        let own = Hours::parse("Mo-Fr 06:00-22:00; PH off", &Holidays::default()).unwrap();
        let calendar = spec(|_| {}).resolve().unwrap().with(Some(&own), None);
        assert!(open(&calendar, "2026-12-23T21:00:00+01:00"));
        assert!(!open(&calendar, "2026-12-24T21:00:00+01:00"), "a holiday of the Calendar");
        assert!(!open(&calendar, "2026-12-31T21:00:00+01:00"), "an exception of the Calendar");
        assert!(open(&calendar, "2026-12-27T11:00:00+01:00"), "an override of the Calendar");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_field() {
        let error = |change: fn(&mut Value)| spec(change).resolve().unwrap_err();
        assert_eq!(
            error(|spec| spec["timeZone"] = json!("Europe/Berln")),
            "spec.timeZone: got \"Europe/Berln\", wants an IANA time zone, such as \"Europe/Berlin\""
        );
        assert!(
            error(|spec| spec["hours"] = json!("always"))
                .starts_with("spec.hours: got \"always\", wants OpenStreetMap")
        );
        assert!(
            error(|spec| spec["holidays"]["country"] = json!("XX")).starts_with("spec.holidays.country: got \"XX\"")
        );
        assert!(
            error(|spec| spec["holidays"]["dates"][0]["date"] = json!("24.12."))
                .starts_with("spec.holidays.dates[0].date")
        );
        let days = error(|spec| spec["exceptions"][0]["hours"] = json!("Mo 08:00-12:00"));
        assert_eq!(days, "spec.exceptions of 2026-12-31: wants hours of one day, such as \"10:00-14:00\" or \"off\"");
        let unread = error(|spec| spec["exceptions"][0]["hours"] = json!("10:00-25h"));
        assert!(unread.contains("(at character ") && unread.contains("expected"), "{unread}");
        let region = error(|spec| spec["holidays"]["country"] = json!("DE-BY"));
        assert!(region.contains("write \"DE\"") && region.contains("`tidegate calendar import`"), "{region}");
        assert!(
            error(|spec| spec["overrides"][0]["state"] = json!("ajar")).ends_with("got \"ajar\", wants Open or Closed")
        );
        assert!(
            error(|spec| spec["overrides"][0]["until"] = json!("2026-12-01T00:00:00Z")).contains("is not after from")
        );
    }
}
