//! Cron expressions of five fields, as `robfig/cron` reads them, which KEDA and kube-green use.

use std::ops::RangeInclusive;

use super::week::Week;

const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The minutes of the week at which an expression fires. The error says why it cannot be said as a week.
pub(super) fn parse(expression: &str) -> Result<Week, String> {
    let fields: Vec<_> = expression.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        return Err(format!("\"{expression}\" has not the five fields of a cron expression"));
    };
    if !is_every(day) || !is_every(month) {
        return Err(format!("\"{expression}\" names days of the month or months, which hours of a week do not have"));
    }
    let of = |field: &str, range, names| {
        values(field, range, names)
            .ok_or_else(|| format!("\"{field}\" in \"{expression}\" is no field of a cron expression"))
    };
    let (minutes, hours) = (of(minute, 0..=59, &[])?, of(hour, 0..=23, &[])?);
    let weekdays = of(weekday, 0..=6, &DAYS)?;
    Ok(Week::new(|at| {
        let day = (at / (24 * 60) + 1) % 7;
        let fires = |of: &[u32], value: usize| u32::try_from(value).is_ok_and(|value| of.contains(&value));
        fires(&minutes, at % 60) && fires(&hours, at / 60 % 24) && fires(&weekdays, day)
    }))
}

fn is_every(field: &str) -> bool {
    matches!(field, "*" | "?")
}

fn values(field: &str, range: RangeInclusive<u32>, names: &[&str]) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in field.split(',') {
        let (of, step) = match part.split_once('/') {
            Some((of, step)) => (of, Some(step.parse::<usize>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let of = if is_every(of) { range.clone() } else { bounds(of, &range, names, step.is_some())? };
        all.extend(of.step_by(step.unwrap_or(1)));
    }
    Some(all)
}

/// `8`, `1-5`, `mon-fri`; with a step, a single value begins a range.
fn bounds(of: &str, range: &RangeInclusive<u32>, names: &[&str], stepped: bool) -> Option<RangeInclusive<u32>> {
    let value = |text: &str| {
        let name = names.iter().position(|name| name.eq_ignore_ascii_case(text)).and_then(|at| u32::try_from(at).ok());
        name.or_else(|| text.parse().ok()).filter(|value| range.contains(value))
    };
    let (from, to) = match of.split_once('-') {
        Some((from, to)) => (value(from)?, value(to)?),
        None if stepped => (value(of)?, *range.end()),
        None => (value(of)?, value(of)?),
    };
    (from <= to).then_some(from..=to)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hours(start: &str, end: &str) -> String {
        Week::between(&parse(start).unwrap(), &parse(end).unwrap()).hours()
    }

    #[test]
    fn pairs_of_expressions_become_hours() {
        for (start, end, wanted) in [
            ("0 8 * * 1-5", "0 18 * * 1-5", "Mo-Fr 08:00-18:00"),
            ("30 7 * * MON-FRI", "0 20 * * mon-fri", "Mo-Fr 07:30-20:00"),
            ("0 6 * * *", "0 20 * * *", "Mo-Su 06:00-20:00"),
            ("0 20 * * 1-5", "0 6 * * 2-6", "Mo-Fr 20:00-06:00"),
            ("0 8 * * 1", "0 18 * * 5", "Mo 08:00-24:00; Tu-Th 00:00-24:00; Fr 00:00-18:00"),
            ("0 8,13 * * 0,6", "0 12,17 * * 0,6", "Sa-Su 08:00-12:00,13:00-17:00"),
            // Before an end that is a start as well, KEDA is active: the next start does not come before it.
            ("0 8 * * 1", "0 8 * * 1,2", "24/7"),
            ("0 0 * * *", "59 23 * * *", "Mo-Su 00:00-23:59"),
            ("0/30 8 ? * 1", "15/30 8 * * 1", "Mo 08:00-08:15,08:30-08:45"),
        ] {
            assert_eq!(hours(start, end), wanted, "{start} to {end}");
        }
    }

    #[test]
    fn what_is_no_week_is_refused_with_the_reason() {
        for (expression, why) in [
            ("0 8 1 * *", "days of the month"),
            ("0 8 * 6-8 1-5", "months"),
            ("@daily", "five fields"),
            ("0 8 * * 7", "\"7\""),
            ("0 25 * * *", "\"25\""),
            ("*/0 8 * * *", "\"*/0\""),
            ("5-1 8 * * *", "\"5-1\""),
        ] {
            let refused = parse(expression).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9*/,?a-z -]{0,24}", other in "(\\PC{0,3} ){4}\\PC{0,3}") {
            _ = (parse(&text), parse(&other));
        }
    }
}
