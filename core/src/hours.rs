//! Opening hours in OpenStreetMap's notation, a day at a time.
//!
//! The crates `opening-hours-syntax` and `opening-hours` parse the notation and say which rule is for which day. What a day
//! then has is put together here, because that crate forgets a span past midnight when the next day has a rule of its
//! own: `Fr 20:00-26:00; Sa 10:00-14:00` is open at one o'clock on Saturday. As the notation's reference implementation
//! opening_hours.js does it, a span belongs to the day that it starts on, and only what closes the next day cuts it.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

use chrono::NaiveDate;
use compact_calendar::CompactCalendar;
use opening_hours::{Context, ContextHolidays, OpeningHours, localization::Country};
use opening_hours_syntax::{
    ExtendedTime,
    rules::{
        OpeningHoursExpression, RuleKind, RuleOperator, RuleSequence,
        day::{HolidayKind, WeekDayRange},
        time::{Time, TimeSelector},
    },
};

/// Days with hours of their own, such as `10:00-14:00` or `off`.
pub type Exceptions = BTreeMap<NaiveDate, String>;

/// What `PH` means: the public holidays of a country, and dates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Holidays(Arc<CompactCalendar>);

impl Holidays {
    /// Of a country by its ISO 3166-1 code, of which the regional ones are not known, and of these dates.
    pub fn new(country: Option<&str>, dates: impl IntoIterator<Item = NaiveDate>) -> Result<Self, UnknownCountry> {
        let of_country = match country {
            None => CompactCalendar::default(),
            Some(code) => {
                let country: Country = code.parse().map_err(|_| UnknownCountry(code.to_owned()))?;
                country.holidays().get_public().clone()
            }
        };
        let mut all = of_country;
        for date in dates {
            all.insert(date);
        }
        Ok(Self(Arc::new(all)))
    }

    /// Whether no day is.
    pub fn is_empty(&self) -> bool {
        self.0.iter().next().is_none()
    }

    /// Whether the day is one of them.
    pub fn contains(&self, date: NaiveDate) -> bool {
        self.0.contains(date)
    }
}

/// A country without known holidays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("got {0:?}, wants the ISO 3166-1 code of a country, such as \"DE\"")]
pub struct UnknownCountry(String);

/// Why hours cannot be used: what is wanted instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HoursError(String);

/// Opening hours, with the holidays that they mean.
#[derive(Clone, PartialEq)]
pub struct Hours {
    text: String,
    rules: Vec<Rule>,
    mention_holidays: bool,
}

#[derive(Clone, PartialEq)]
struct Rule {
    /// Open for the whole of the days that the rule is for
    days: OpeningHours,
    spans: Vec<Span>,
    opens: bool,
    operator: RuleOperator,
}

/// Minutes since midnight, up to that of the next day.
pub(crate) type Span = Range<u16>;

/// Minutes of a day.
pub(crate) const MIDNIGHT: u16 = 24 * 60;

/// What starts on a day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Day {
    /// Open: in order, apart from each other, perhaps past midnight
    pub(crate) open: Vec<Span>,
    /// Closed by a rule that says so, which also cuts what the day before left open
    pub(crate) closed: Vec<Span>,
}

impl Hours {
    /// Reads the notation. What depends on the sun, on school holidays, or is of unknown end is refused.
    pub fn parse(text: &str, holidays: &Holidays) -> Result<Self, HoursError> {
        let expression = opening_hours_syntax::parse(text).map_err(|_| {
            HoursError(match with_short_days(text) {
                Some(better) => format!("OpenStreetMap opening hours with two-letter days: write \"{better}\""),
                None => "OpenStreetMap opening hours, such as \"Mo-Fr 08:00-18:00; PH off\"".to_owned(),
            })
        })?;
        let holidays = ContextHolidays::new(Arc::clone(&holidays.0), Arc::default());
        let mention = |kind: HolidayKind| {
            let days = expression.rules.iter().flat_map(|rule| &rule.day_selector.weekday);
            days.into_iter().any(|day| matches!(day, WeekDayRange::Holiday { kind: of, .. } if *of == kind))
        };
        if mention(HolidayKind::School) {
            return Err(HoursError("hours without SH: school holidays are not known".to_owned()));
        }
        let mention_holidays = mention(HolidayKind::Public);
        let rules = expression.rules.into_iter().map(|rule| Rule::new(rule, &holidays)).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), rules, mention_holidays })
    }

    /// The same, but for some days. An error says of which day it is, or of none: of the hours themselves.
    pub fn with_exceptions(
        text: &str,
        holidays: &Holidays,
        exceptions: &Exceptions,
    ) -> Result<Self, (Option<NaiveDate>, HoursError)> {
        let mut hours = Self::parse(text, holidays).map_err(|error| (None, error))?;
        for (date, text) in exceptions {
            let of_one_day = || HoursError("hours of one day, such as \"10:00-14:00\" or \"off\"".to_owned());
            let alone = opening_hours_syntax::parse(text).map_err(|_| (Some(*date), of_one_day()))?;
            let [rule] = &alone.rules[..] else { return Err((Some(*date), of_one_day())) };
            if !rule.day_selector.is_empty() {
                return Err((Some(*date), of_one_day()));
            }
            let dated = format!("{} {text}", date.format("%Y %b %d"));
            let rules = Self::parse(&dated, holidays).map_err(|error| (Some(*date), error))?.rules;
            hours.rules.extend(rules);
        }
        Ok(hours)
    }

    /// Whether `PH` is in them, which means nothing where no holidays are known.
    pub fn mention_holidays(&self) -> bool {
        self.mention_holidays
    }

    pub(crate) fn day(&self, date: NaiveDate) -> Day {
        let mut day = Day::default();
        for rule in self.rules.iter().filter(|rule| rule.is_for(date)) {
            match (rule.operator, rule.opens) {
                (RuleOperator::Fallback, _) if !day.open.is_empty() => {}
                (RuleOperator::Additional, true) => {
                    day.open = union(day.open.iter().chain(&rule.spans));
                    day.closed = without(&day.closed, &rule.spans);
                }
                (RuleOperator::Normal | RuleOperator::Fallback, true) => {
                    day = Day { open: rule.spans.clone(), closed: Vec::new() };
                }
                (_, false) => {
                    day.open = without(&day.open, &rule.spans);
                    day.closed = union(day.closed.iter().chain(&rule.spans));
                }
            }
        }
        day
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hours({:?})", self.text)
    }
}

impl Rule {
    fn new(rule: RuleSequence, holidays: &ContextHolidays) -> Result<Self, HoursError> {
        let opens = match rule.kind {
            RuleKind::Open => true,
            RuleKind::Closed => false,
            RuleKind::Unknown => return Err(HoursError("hours that are open or off, and not unknown".to_owned())),
        };
        let spans = rule.time_selector.spans.iter().map(|span| {
            if span.open_end || span.repeats.is_some() {
                return Err(HoursError(format!("an end for each span, such as 08:00-18:00, in place of {span}")));
            }
            match (span.range.start, span.range.end) {
                (Time::Fixed(start), Time::Fixed(end)) => Ok(minutes(start)..minutes(end)),
                _ => Err(HoursError(format!("clock times in place of {span}: where the sun is, is not known"))),
            }
        });
        let spans: Vec<Span> = spans.collect::<Result<_, _>>()?;
        let operator = rule.operator;
        let whole_days = RuleSequence {
            time_selector: TimeSelector::default(),
            kind: RuleKind::Open,
            operator: RuleOperator::Normal,
            ..rule
        };
        // What was parsed is written in a form that is parsed again; an error would be one of that crate.
        let days = OpeningHoursExpression { rules: vec![whole_days] }.to_string();
        let days: OpeningHours = days.parse().map_err(|_| HoursError(format!("days in place of {days}")))?;
        let days = days.with_context(Context::default().with_holidays(holidays.clone()));
        Ok(Self { days, spans: union(spans.iter()), opens, operator })
    }

    fn is_for(&self, date: NaiveDate) -> bool {
        self.days.schedule_at(date).into_iter().any(|range| range.kind == RuleKind::Open)
    }
}

fn minutes(time: ExtendedTime) -> u16 {
    time.mins_from_midnight()
}

/// Sorted, and joined where they touch.
pub(crate) fn union<'a, T: Ord + Copy + 'a>(spans: impl Iterator<Item = &'a Range<T>>) -> Vec<Range<T>> {
    let mut spans: Vec<_> = spans.filter(|span| span.start < span.end).cloned().collect();
    spans.sort_unstable_by_key(|span| span.start);
    let mut joined: Vec<Range<T>> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut().filter(|last| span.start <= last.end) {
            Some(last) => last.end = last.end.max(span.end),
            None => joined.push(span),
        }
    }
    joined
}

/// What of `spans` is in none of `holes`.
pub(crate) fn without<T: Ord + Copy>(spans: &[Range<T>], holes: &[Range<T>]) -> Vec<Range<T>> {
    holes.iter().fold(spans.to_vec(), |spans, hole| {
        let around =
            |span: Range<T>| [span.start..span.end.min(hole.start), span.start.max(hole.end)..span.end].into_iter();
        spans.into_iter().flat_map(around).filter(|part| part.start < part.end).collect()
    })
}

/// `Mon-Fri 8:00-18:00` with the days as the notation writes them, if that makes it right.
fn with_short_days(value: &str) -> Option<String> {
    const DAYS: [(&str, &str, &str); 7] = [
        ("Monday", "Mon", "Mo"),
        ("Tuesday", "Tue", "Tu"),
        ("Wednesday", "Wed", "We"),
        ("Thursday", "Thu", "Th"),
        ("Friday", "Fri", "Fr"),
        ("Saturday", "Sat", "Sa"),
        ("Sunday", "Sun", "Su"),
    ];
    let better =
        DAYS.iter().fold(value.to_owned(), |s, (long, middle, short)| s.replace(long, short).replace(middle, short));
    (better != value && opening_hours_syntax::parse(&better).is_ok()).then_some(better)
}
