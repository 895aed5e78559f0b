//! A week, minute by minute, as OpenStreetMap opening hours.

use std::ops::Range;

const DAY: usize = 24 * 60;
const WEEK: usize = 7 * DAY;
const DAYS: [&str; 7] = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"];

/// The minutes of a week, from Monday 00:00, in which something is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Week(Vec<bool>);

impl Week {
    /// Open in those minutes for which `is_open` says so.
    pub(super) fn new(is_open: impl Fn(usize) -> bool) -> Self {
        Self((0..WEEK).map(is_open).collect())
    }

    /// From each start to the next end, as KEDA's cron scaler has it: open where the next end, later than now, comes no later than the
    /// next start (`GetMetricsAndActivity` in its `cron_scaler.go`).
    pub(super) fn between(starts: &Self, ends: &Self) -> Self {
        let mut open = vec![false; WEEK];
        let (mut start, mut end) = (usize::MAX, usize::MAX);
        // Twice, since the next of the last minute is in the week after.
        for minute in (0..2 * WEEK).rev() {
            if let Some(open) = open.get_mut(minute) {
                *open = end <= start && end != usize::MAX;
            }
            let is = |week: &Self| week.0.get(minute % WEEK) == Some(&true);
            if is(starts) {
                start = minute;
            }
            if is(ends) {
                end = minute;
            }
        }
        Self(open)
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, other)| *one && *other).collect())
    }

    pub(super) fn or(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, other)| *one || *other).collect())
    }

    pub(super) fn not(&self) -> Self {
        Self(self.0.iter().map(|open| !open).collect())
    }

    fn is_open(&self, minute: usize) -> bool {
        self.0.get(minute % WEEK) == Some(&true)
    }

    /// The hours, such as `Mo-Fr 08:00-18:00`.
    pub(super) fn hours(&self) -> String {
        let Some(closed) = self.0.iter().position(|open| !open) else { return "24/7".to_owned() };
        let mut days: [Vec<Range<usize>>; 7] = Default::default();
        let mut begin = None;
        // A round that begins where it is closed cuts no span.
        for minute in closed..=closed + WEEK {
            match (begin, self.is_open(minute)) {
                (None, true) => begin = Some(minute),
                (Some(start), false) => {
                    add(&mut days, start..minute);
                    begin = None;
                }
                _ => {}
            }
        }
        text(&days)
    }
}

/// Adds a span to its days: to the one on which it starts, or to all of its days if it lasts a day or longer.
fn add(days: &mut [Vec<Range<usize>>; 7], span: Range<usize>) {
    let mut start = span.start;
    while start < span.end {
        let midnight = (start / DAY + 1) * DAY;
        let end = if span.len() < DAY { span.end } else { span.end.min(midnight) };
        if let Some(day) = days.get_mut(start / DAY % 7) {
            day.push(start % DAY..start % DAY + (end - start));
        }
        start = end;
    }
}

fn text(days: &[Vec<Range<usize>>; 7]) -> String {
    let mut rules: Vec<(String, Vec<usize>)> = Vec::new();
    for (day, spans) in days.iter().enumerate().filter(|(_, spans)| !spans.is_empty()) {
        let mut spans = spans.clone();
        spans.sort_by_key(|span| span.start);
        let spans = spans.iter().map(span_text).collect::<Vec<_>>().join(",");
        match rules.iter_mut().find(|(known, _)| *known == spans) {
            Some((_, days)) => days.push(day),
            None => rules.push((spans, vec![day])),
        }
    }
    if rules.is_empty() {
        return "off".to_owned();
    }
    rules.iter().map(|(spans, days)| format!("{} {spans}", days_text(days))).collect::<Vec<_>>().join("; ")
}

fn span_text(span: &Range<usize>) -> String {
    // An end after midnight is written as a time of the next day.
    let end = if span.end > DAY { span.end - DAY } else { span.end };
    format!("{}-{}", time(span.start), time(end))
}

fn time(minute: usize) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// Days in ascending order, such as `Mo-Fr,Su`.
fn days_text(days: &[usize]) -> String {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for day in days {
        match runs.last_mut() {
            Some(run) if run.end == *day => run.end += 1,
            _ => runs.push(*day..day + 1),
        }
    }
    let name = |day: usize| DAYS.get(day).copied().unwrap_or_default();
    let run = |run: &Range<usize>| match run.len() {
        1 => name(run.start).to_owned(),
        _ => format!("{}-{}", name(run.start), name(run.end - 1)),
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use chrono::{Duration, TimeZone, Utc};
    use proptest::prelude::*;
    use tidegate_core::{
        calendar::{Calendar, time_zone},
        hours::{Holidays, Hours},
    };

    use super::*;

    /// Monday, 2 March 2026.
    fn is_what_the_hours_say(week: &Week) {
        let text = week.hours();
        let hours = Hours::parse(&text, &Holidays::default()).unwrap_or_else(|error| panic!("{text}: {error}"));
        let calendar = Calendar::new(hours, time_zone("UTC").unwrap());
        let monday = Utc.with_ymd_and_hms(2026, 3, 2, 0, 0, 0).unwrap();
        for minute in (0..WEEK).step_by(5) {
            let at = monday + Duration::minutes(i64::try_from(minute).unwrap());
            assert_eq!(calendar.is_open(at), week.is_open(minute), "{text} at {at}");
        }
    }

    fn whole(span: Range<usize>) -> Vec<Range<usize>> {
        std::iter::once(span).collect()
    }

    #[test]
    fn weeks_are_written_as_people_write_them() {
        let at = |day: usize, hour: usize| day * DAY + hour * 60;
        for (spans, wanted) in [
            (vec![], "off"),
            (whole(0..WEEK), "24/7"),
            ((0..5).map(|day| at(day, 8)..at(day, 18)).collect(), "Mo-Fr 08:00-18:00"),
            ((0..7).map(|day| at(day, 8)..at(day, 24)).collect(), "Mo-Su 08:00-24:00"),
            ((0..5).map(|day| at(day, 20)..at(day + 1, 6)).collect(), "Mo-Fr 20:00-06:00"),
            (vec![at(6, 22)..at(6, 24), 0..at(0, 4)], "Su 22:00-04:00"),
            (whole(at(0, 8)..at(4, 18)), "Mo 08:00-24:00; Tu-Th 00:00-24:00; Fr 00:00-18:00"),
            (
                vec![at(0, 8)..at(0, 12), at(0, 13)..at(0, 17), at(2, 8)..at(2, 9)],
                "Mo 08:00-12:00,13:00-17:00; We 08:00-09:00",
            ),
        ] {
            let week = Week::new(|minute| spans.iter().any(|span| span.contains(&minute)));
            assert_eq!(week.hours(), wanted);
            is_what_the_hours_say(&week);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10))]

        #[test]
        fn the_hours_are_open_when_the_week_is(spans in prop::collection::vec((0..2016usize, 1..400usize), 0..6)) {
            let week = Week::new(|minute| spans.iter().any(|(start, length)| {
                let since = (minute / 5 + 2016 - start) % 2016;
                since < *length
            }));
            is_what_the_hours_say(&week);
        }
    }
}
