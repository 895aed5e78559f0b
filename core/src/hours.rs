//! Opening hours in OpenStreetMap's notation, a day at a time.
//!
//! The crates `opening-hours-syntax` and `opening-hours` parse the notation and find the rules that apply to a day. The spans of a
//! day are combined here, because `opening-hours` forgets a span past midnight when the next day has a rule of its own:
//! `Fr 20:00-26:00; Sa 10:00-14:00` is open at one o'clock on Saturday. As in the notation's reference implementation
//! opening_hours.js, a span belongs to the day on which it starts, and only a rule that closes the next day cuts it.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

use chrono::NaiveDate;
use chrono_tz::Tz;
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

/// The days that `PH` stands for: the public holidays of a country, and dates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Holidays(Arc<CompactCalendar>);

impl Holidays {
    /// The holidays of a country, by its ISO 3166-1 code, and these dates. Regional holidays are not known.
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

    /// Whether no day is a holiday.
    pub fn is_empty(&self) -> bool {
        self.0.iter().next().is_none()
    }

    /// Whether the day is a holiday.
    pub fn contains(&self, date: NaiveDate) -> bool {
        self.0.contains(date)
    }
}

/// A country without known holidays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("got {0:?}, {why}", why = why_unknown(.0))]
pub struct UnknownCountry(String);

/// The ISO 3166-1 codes of all countries, also of those whose holidays are not known.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY \
    BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB \
    GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI \
    KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ \
    NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI \
    SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN \
    VU WF WS YE YT ZA ZM ZW";

const IMPORT: &str = "list the region's days as dates (`tidegate calendar import` reads them from an iCalendar file)";

fn why_unknown(code: &str) -> String {
    let is_country = |code: &str| COUNTRIES.split_whitespace().any(|country| country == code);
    let upper = code.to_ascii_uppercase();
    match upper.split_once('-') {
        Some((country, _)) if is_country(country) && country.parse::<Country>().is_err() => {
            format!("a region of a country of which no holidays are known: leave it out and {IMPORT}")
        }
        Some((country, _)) if is_country(country) => {
            format!("a region: holidays are known by country only, so write \"{country}\" and {IMPORT}")
        }
        _ if upper == "UK" => "wants the ISO 3166-1 code: \"GB\"".to_owned(),
        _ if upper != code && is_country(&upper) => format!("wants capital letters: \"{upper}\""),
        _ if is_country(code) => {
            "a country of which no holidays are known: leave it out and list the days as dates".to_owned()
        }
        _ => "wants the ISO 3166-1 code of a country, such as \"DE\"".to_owned(),
    }
}

/// The error that hours cannot be used: a description of the hours that are wanted instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HoursError(String);

/// Opening hours, with the holidays that `PH` in them stands for.
#[derive(Clone, PartialEq)]
pub struct Hours {
    text: String,
    rules: Vec<Rule>,
    mention_holidays: bool,
}

#[derive(Clone, PartialEq)]
struct Rule {
    /// Open all day on the days to which the rule applies
    days: OpeningHours,
    spans: Vec<Span>,
    opens: bool,
    operator: RuleOperator,
}

/// Minutes since midnight, up to two days.
pub(crate) type Span = Range<u16>;

/// Minutes of a day.
pub(crate) const MIDNIGHT: u16 = 24 * 60;

/// The spans that start on a day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Day {
    /// Open spans: in order, apart from each other, perhaps past midnight
    pub(crate) open: Vec<Span>,
    /// Spans that a rule closes explicitly, which also cut open spans of the day before
    pub(crate) closed: Vec<Span>,
    /// The parts of the closed spans past midnight, each with the index of its rule
    closed_after: Vec<(usize, Span)>,
}

impl Hours {
    /// Parses the notation. Refuses hours that depend on the sun or on school holidays, or that have no known end.
    pub fn parse(text: &str, holidays: &Holidays) -> Result<Self, HoursError> {
        let expression = opening_hours_syntax::parse(text).map_err(|error| {
            HoursError(match (of_kube_downscaler(text), as_notation(text)) {
                (Some(better), _) => better,
                (None, Some(better)) => format!("OpenStreetMap opening hours: write \"{better}\""),
                (None, None) => format!(
                    "OpenStreetMap opening hours, such as \"Mo-Fr 08:00-18:00; PH off\"{}",
                    place_and_reason(text, &error.to_string())
                ),
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

    /// Parses hours with exceptions for some days. An error carries the day of the exception, or `None` where it is in the hours
    /// themselves.
    pub fn with_exceptions(
        text: &str,
        holidays: &Holidays,
        exceptions: &Exceptions,
    ) -> Result<Self, (Option<NaiveDate>, HoursError)> {
        let mut hours = Self::parse(text, holidays).map_err(|error| (None, error))?;
        for (date, text) in exceptions {
            let of_one_day = |why: &str| {
                let wanted = format!("hours of one day, such as \"10:00-14:00\" or \"off\"{why}");
                (Some(*date), HoursError(wanted))
            };
            let alone = opening_hours_syntax::parse(text)
                .map_err(|error| of_one_day(&place_and_reason(text, &error.to_string())))?;
            let [rule] = &alone.rules[..] else { return Err(of_one_day("")) };
            if !rule.day_selector.is_empty() {
                return Err(of_one_day(""));
            }
            let dated = format!("{} {text}", date.format("%Y %b %d"));
            let rules = Self::parse(&dated, holidays).map_err(|error| (Some(*date), error))?.rules;
            hours.rules.extend(rules);
        }
        Ok(hours)
    }

    /// Whether they contain `PH`, which has no effect where no holidays are known.
    pub fn mention_holidays(&self) -> bool {
        self.mention_holidays
    }

    /// The spans that start on a day. A time past midnight that a rule of the day before closed is closed here too, unless a later
    /// rule opens it.
    pub(crate) fn day(&self, date: NaiveDate, before: &Day) -> Day {
        let mut day = Day::default();
        for (place, rule) in self.rules.iter().enumerate() {
            if rule.is_for(date) {
                rule.apply(place, &mut day);
            }
            for (_, closed) in before.closed_after.iter().filter(|(of, _)| *of == place) {
                day.open = without(&day.open, std::slice::from_ref(closed));
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
                (Time::Fixed(start), Time::Fixed(end)) => Ok(span_of(start, end)),
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
        // A parsed rule is written in a form that can be parsed again; an error would be a bug of that crate.
        let days = OpeningHoursExpression { rules: vec![whole_days] }.to_string();
        let days: OpeningHours = days.parse().map_err(|_| HoursError(format!("days in place of {days}")))?;
        let days = days.with_context(Context::default().with_holidays(holidays.clone()));
        Ok(Self { days, spans: union(spans.iter()), opens, operator })
    }

    /// Applies the rule to one of its days, on top of the rules before it.
    fn apply(&self, place: usize, day: &mut Day) {
        match (self.operator, self.opens) {
            // A fallback applies only where nothing is open, so one that is off has nothing to close, and keeps open spans of the
            // day before.
            (RuleOperator::Fallback, false) => {}
            // A fallback applies at every instant at which nothing before it is open, so the union of both is open.
            (RuleOperator::Additional | RuleOperator::Fallback, true) => {
                day.open = union(day.open.iter().chain(&self.spans));
                day.closed = without(&day.closed, &self.spans);
                let opened: Vec<_> = self.spans.iter().filter_map(past_midnight).collect();
                let closed = std::mem::take(&mut day.closed_after).into_iter();
                day.closed_after = closed
                    .flat_map(|(of, span)| without(&[span], &opened).into_iter().map(move |span| (of, span)))
                    .collect();
            }
            (RuleOperator::Normal, true) => {
                *day = Day { open: self.spans.clone(), ..Day::default() };
            }
            (_, false) => {
                // On a day that is off as a whole no span starts, so none continues on the next day either.
                let whole = self.spans.iter().any(|span| span.start == 0 && span.end >= MIDNIGHT);
                day.open = if whole { Vec::new() } else { without(&day.open, &self.spans) };
                day.closed = union(day.closed.iter().chain(&self.spans));
                day.closed_after.extend(self.spans.iter().filter_map(past_midnight).map(|span| (place, span)));
            }
        }
    }

    fn is_for(&self, date: NaiveDate) -> bool {
        self.days.schedule_at(date).into_iter().any(|range| range.kind == RuleKind::Open)
    }
}

/// Makes a span of two times. An end that is not after the start is on the next day, as the notation defines it.
fn span_of(start: ExtendedTime, end: ExtendedTime) -> Span {
    let (start, end) = (start.mins_from_midnight(), end.mins_from_midnight());
    start..if end > start { end } else { end + MIDNIGHT }
}

/// The part of a span that is on the next day, in minutes of that day.
pub(crate) fn past_midnight(span: &Span) -> Option<Span> {
    (span.end > MIDNIGHT).then(|| span.start.max(MIDNIGHT) - MIDNIGHT..span.end - MIDNIGHT)
}

/// Sorts spans, and joins them where they overlap or touch.
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

/// The parts of `spans` that are in none of `holes`.
pub(crate) fn without<T: Ord + Copy>(spans: &[Range<T>], holes: &[Range<T>]) -> Vec<Range<T>> {
    holes.iter().fold(spans.to_vec(), |spans, hole| {
        let around =
            |span: Range<T>| [span.start..span.end.min(hole.start), span.start.max(hole.end)..span.end].into_iter();
        spans.into_iter().flat_map(around).filter(|part| part.start < part.end).collect()
    })
}

/// The position at which the parser stopped, and its reason, in one line: the parser draws them over several, but an event has one.
fn place_and_reason(text: &str, drawn: &str) -> String {
    const ROOM: usize = 20;
    let lines = || drawn.lines().map(str::trim);
    let Some(reason) = lines().find_map(|line| line.strip_prefix("= ")) else { return format!(" ({drawn})") };
    let column = lines().find_map(|line| line.strip_prefix("--> 1:")?.parse::<usize>().ok());
    match column.filter(|column| *column > 0) {
        None => format!(" ({reason})"),
        Some(column) if text.chars().count() < column => format!(" (at its end: {reason})"),
        Some(column) => {
            let from: String = text.chars().skip(column - 1).take(ROOM).collect();
            format!(" (at character {column}, \"{from}\": {reason})")
        }
    }
}

/// The error for kube-downscaler's notation (`Mon-Fri 07:30-20:30 Europe/Berlin`, `always`, `never`), with the equivalent in this
/// one.
fn of_kube_downscaler(text: &str) -> Option<String> {
    let apart = |hours: &str, zone: &str| {
        format!(
            "hours without a time zone (this is kube-downscaler's notation): write tidegate.dev/hours: \"{hours}\" and \
             tidegate.dev/timezone: \"{zone}\" (in a Calendar spec.hours and spec.timeZone)"
        )
    };
    match text.trim() {
        "always" => return Some("OpenStreetMap opening hours: always is written \"24/7\"".to_owned()),
        "never" => return Some("OpenStreetMap opening hours: never is written \"off\"".to_owned()),
        _ => {}
    }
    let mut hours = Vec::new();
    let mut zone: Option<Tz> = None;
    for part in text.split(',') {
        let [days, times, of] = part.split_whitespace().collect::<Vec<_>>()[..] else { return None };
        let of: Tz = of.parse().ok()?;
        if *zone.get_or_insert(of) != of {
            return None;
        }
        hours.push(format!("{} {times}", short_days(days)));
    }
    let hours = hours.join(", ");
    opening_hours_syntax::parse(&hours).is_ok().then(|| apart(&hours, zone.unwrap_or(Tz::UTC).name()))
}

/// The hours in the only form that the parser takes: days of two letters, capitals, no `;` at the end. `None` if that does not make
/// them valid.
fn as_notation(value: &str) -> Option<String> {
    let better = short_days(value.trim_end_matches(|c: char| c == ';' || c.is_whitespace()));
    (better != value && opening_hours_syntax::parse(&better).is_ok()).then_some(better)
}

fn short_days(value: &str) -> String {
    let words = value.split_inclusive(|c: char| !c.is_alphabetic());
    words
        .map(|part| {
            let word = part.trim_end_matches(|c: char| !c.is_alphabetic());
            format!("{}{}", short(word).unwrap_or(word), &part[word.len()..])
        })
        .collect()
}

/// A day or a kind of holiday as the notation writes it.
fn short(word: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str, &str); 9] = [
        ("Monday", "Mon", "Mo"),
        ("Tuesday", "Tue", "Tu"),
        ("Wednesday", "Wed", "We"),
        ("Thursday", "Thu", "Th"),
        ("Friday", "Fri", "Fr"),
        ("Saturday", "Sat", "Sa"),
        ("Sunday", "Sun", "Su"),
        ("PH", "PH", "PH"),
        ("off", "off", "off"),
    ];
    let is = |name: &str| name.eq_ignore_ascii_case(word);
    WORDS.iter().find(|(long, middle, short)| is(long) || is(middle) || is(short)).map(|(_, _, short)| *short)
}
