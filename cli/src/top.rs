//! `tidegate top`: all workloads and Gateways live.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{IsTerminal, Write, stdout},
};

use anyhow::Result;
use chrono::SecondsFormat;
use ratatui::crossterm::terminal;
use tidegate_scaler::overview::{Overview, OverviewRow, State};

use crate::{
    args::TopArgs,
    fleet,
    paint::{Colour, Paint, When},
    redraw::redraw,
    table::Table,
    tidegate::Tidegate,
};

/// Numbers of the past that are shown.
const PAST: usize = 15;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(crate) async fn top(args: TopArgs) -> Result<()> {
    let tidegate = Tidegate::connect(&args.cluster, &args.installed).await?;
    let namespace = fleet::namespace(&args.rows.scope, &tidegate);
    let (namespace, selector) = (namespace.as_deref(), args.rows.selector.as_deref());
    let page = async || -> Result<String> {
        let overview = fleet::ask(&tidegate, namespace, selector).await?;
        // Without a screen nothing is cut.
        let screen = stdout().is_terminal().then(|| terminal::size().ok()).flatten();
        draw(overview, &args, namespace.is_none(), screen, Paint::of_stdout())
    };
    if stdout().is_terminal() {
        return redraw(page).await;
    }
    Ok(stdout().lock().write_all(page().await?.as_bytes())?)
}

/// The page: a line about all, and one for each, as far as they fit.
fn draw(
    overview: Overview,
    args: &TopArgs,
    all_namespaces: bool,
    screen: Option<(u16, u16)>,
    paint: Paint,
) -> Result<String> {
    let at = overview.at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut rows: Vec<_> = overview.workloads.into_iter().chain(overview.gateways).collect();
    let mut page = paint.paint(Colour::Bold, &summary(&rows));
    writeln!(page, "  {at}\n")?;
    rows.retain(|row| args.filter.as_ref().is_none_or(|text| has(row, text)));
    fleet::sort(&mut rows, args.sort_by);
    let all = rows.len();
    // The line about all, an empty one, the heading, and the one that says how many more there are.
    let room = screen.map_or(usize::MAX, |(_, lines)| usize::from(lines).saturating_sub(5));
    rows.truncate(room);
    for line in lines(&rows, all_namespaces, screen.map_or(usize::MAX, |(columns, _)| columns.into()), paint)? {
        writeln!(page, "{line}")?;
    }
    if all > rows.len() {
        writeln!(page, "… and {} more: --filter, --sort-by or -n show others", all - rows.len())?;
    }
    Ok(page)
}

/// `3 scaled: 1 unknown, 1 closed, 1 scaling-up`.
fn summary(rows: &[OverviewRow]) -> String {
    let mut states = BTreeMap::<State, usize>::new();
    for row in rows {
        *states.entry(row.state).or_default() += 1;
    }
    let states: Vec<_> = states.iter().map(|(state, count)| format!("{count} {}", state.as_str())).collect();
    format!("{} scaled: {}", rows.len(), if states.is_empty() { "none".to_owned() } else { states.join(", ") })
}

fn has(row: &OverviewRow, text: &str) -> bool {
    [&row.namespace, &fleet::object(row), row.state.as_str(), &row.why].iter().any(|part| part.contains(text))
}

/// The table, whose last column takes the room that is left: a line that is too long would break all below it.
fn lines(rows: &[OverviewRow], all_namespaces: bool, width: usize, paint: Paint) -> Result<Vec<String>> {
    let table = table(rows, all_namespaces);
    let (plain, painted) = (written(&table, Paint::new(When::Never, false))?, written(&table, paint)?);
    let reasons = std::iter::once("WHY").chain(rows.iter().map(|row| row.why.as_str()));
    let widest = plain.iter().map(|line| line.chars().count()).max().unwrap_or(0) + 3;
    let lines = plain.iter().zip(painted).zip(reasons).map(|((plain, painted), reason)| {
        if widest >= width {
            // Not even the first columns fit: without colours they can be cut.
            return cut(plain, width);
        }
        format!("{painted}{}{}", " ".repeat(widest - plain.chars().count()), cut(reason, width - widest))
    });
    Ok(lines.collect())
}

fn table(rows: &[OverviewRow], all_namespaces: bool) -> Table {
    const COLUMNS: [&str; 10] =
        ["NAMESPACE", "NAME", "STATE", "DEMAND", "TARGET", "WANTED", "READY", "LAST HOUR", "LIMIT", "NEXT CHANGE"];
    let mut table = Table::new(COLUMNS.into_iter().skip(usize::from(!all_namespaces)));
    for row in rows {
        let mut cells = fleet::cells(row, all_namespaces);
        cells.extend([sparkline(&row.past).into(), fleet::limit(row).into(), next_change(row).into()]);
        table.row(cells);
    }
    table
}

/// Day and minute of the next change, in the zone of the hours.
fn next_change(row: &OverviewRow) -> String {
    match chrono::DateTime::parse_from_rfc3339(fleet::next_change(row)) {
        Ok(at) => at.format("%a %H:%M").to_string(),
        Err(_) => "-".to_owned(),
    }
}

fn written(table: &Table, paint: Paint) -> Result<Vec<String>> {
    let mut text = Vec::new();
    table.write(&mut text, paint)?;
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

/// The numbers of the last hour as bars of their largest; a dot where none was known.
fn sparkline(past: &[Option<u32>]) -> String {
    let most = past.iter().flatten().max().copied().unwrap_or(0).max(1);
    let bar = |number: u32| BARS[(number as usize * (BARS.len() - 1)).div_ceil(most as usize).min(BARS.len() - 1)];
    // Of every few, the largest: a peak of a minute is to be seen.
    let each = past.len().div_ceil(PAST).max(1);
    past.chunks(each).map(|of| of.iter().flatten().max().map_or('·', |number| bar(*number))).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        args::{Args, Command},
        fleet::fixture::overview,
    };

    fn drawn(flags: &[&str], screen: Option<(u16, u16)>, paint: Paint) -> String {
        let Command::Top(args) = Args::try_parse_from([&["tidegate", "top"], flags].concat()).unwrap().command else {
            panic!("not top")
        };
        draw(overview(), &args, false, screen, paint).unwrap()
    }

    #[test]
    fn all_are_there_and_what_is_wrong_stands_first() {
        let expected = "\
3 scaled: 1 unknown, 1 closed, 1 scaling-up  2026-03-02T22:00:00Z

NAME              STATE                  DEMAND   TARGET   WANTED   READY   LAST HOUR   LIMIT       NEXT CHANGE   WHY
gateway/web       unknown                     -        -        ?       2               -           -             nothing asks for any
statefulset/job   closed                      -        -        0     0/0   ·▂▃▅█       off-hours   Tue 08:00     outside its hours
deployment/api    scaling-up   642.0 requests/s      100        7     5/6   ·▂▃▅█       -           -             642.0 requests/s ÷ 100 per replica
";
        assert_eq!(drawn(&[], None, Paint::new(When::Never, false)), expected);
    }

    #[test]
    fn no_line_is_longer_and_none_more_than_the_screen_has() {
        for (columns, lines) in [(80, 24), (120, 40), (40, 6), (1, 1)] {
            let page = drawn(&[], Some((columns, lines)), Paint::new(When::Never, false));
            let table: Vec<_> = page.lines().skip(2).collect();
            assert!(
                table.iter().all(|line| line.starts_with('…') || line.chars().count() <= columns.into()),
                "{columns}: {page}"
            );
            assert!(page.lines().count() <= usize::from(lines).max(4), "{lines}: {page}");
        }
        assert!(drawn(&[], Some((120, 7)), Paint::new(When::Never, false)).contains("… and 1 more"));
    }

    #[test]
    fn a_filter_leaves_what_has_the_text_and_the_line_about_all_stays() {
        let page = drawn(&["--filter", "off-hours", "--sort-by", "name"], None, Paint::new(When::Never, false));
        assert!(!page.contains("deployment/api") && page.contains("3 scaled"), "{page}");
        assert!(drawn(&["--filter", "closed"], None, Paint::new(When::Never, false)).contains("statefulset/job"));
    }

    #[test]
    fn a_state_has_a_colour_that_takes_no_room() {
        let page = drawn(&[], Some((120, 40)), Paint::new(When::Always, true));
        assert!(page.contains("\x1b[31munknown\x1b[0m"), "{page}");
    }

    #[test]
    fn a_peak_of_a_minute_is_seen_in_the_last_hour() {
        let mut past = vec![Some(1); 30];
        past[13] = Some(8);
        let line = sparkline(&past);
        assert_eq!((line.chars().count(), line.chars().position(|bar| bar == '█')), (15, Some(6)));
        assert_eq!(sparkline(&[Some(0), None, Some(0)]), "▁·▁");
    }
}
