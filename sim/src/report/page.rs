//! The page around the chart.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use super::{
    Recording, Summary, chart,
    scale::{Clock, number},
    text::Text,
};

/// Rows of the list of events before the middle is left out.
const LONGEST_LIST: usize = 60;

/// Writes the whole page.
pub(super) fn write(f: &mut impl Write, recording: &Recording) -> fmt::Result {
    let title = Text(&recording.title);
    write!(f, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")?;
    write!(f, "<meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n")?;
    write!(f, "<style>\n{}</style>\n</head>\n<body>\n<main>\n", include_str!("style.css"))?;
    write!(f, "<header>\n<h1>{title}</h1>\n<p>{}</p>\n</header>\n", Text(&recording.subtitle))?;
    summary(f, &recording.summary())?;
    if recording.points.len() > 1 {
        legend(f, recording)?;
        chart::write(f, recording)?;
        f.write_str("\n</figure>\n")?;
    } else {
        f.write_str("<p>Nothing was recorded.</p>\n")?;
    }
    events(f, recording)?;
    f.write_str("</main>\n</body>\n</html>\n")
}

fn summary(f: &mut impl Write, summary: &Summary) -> fmt::Result {
    let clock = Clock::of(summary.duration);
    let (unit, factor) = match clock {
        Clock::Minutes => ("replica-minutes", 60.0),
        Clock::Hours => ("replica-hours", 1.0),
    };
    let replica_time = |hours: f64| format!("{:.1}", hours * factor);
    f.write_str("<table class=\"summary\">\n")?;
    row(f, "duration", &clock.time(summary.duration), "")?;
    row(f, "requests", &number(summary.requests as f64), "")?;
    row(f, "answered with 200", &percent(summary.ok_share), "")?;
    if let Some(latency) = summary.latency {
        let half = format!("half within {}", milliseconds(latency.p50));
        row(f, "99 of 100 within", &milliseconds(latency.p99), &half)?;
    }
    let peak = format!(
        "{} if the peak of {} were held: {:.0} % less",
        replica_time(summary.static_replica_hours),
        summary.peak_replicas,
        summary.saved() * 100.0
    );
    row(f, unit, &replica_time(summary.replica_hours), &peak)?;
    f.write_str("</table>\n")
}

fn row(f: &mut impl Write, name: &str, value: &str, more: &str) -> fmt::Result {
    writeln!(f, "<tr><th scope=\"row\">{name}</th><td>{value}<small>{more}</small></td></tr>")
}

/// Never rounded up to 100 %: one failure in a million should show.
fn percent(share: f64) -> String {
    if share >= 1.0 { "100 %".to_owned() } else { format!("{:.2} %", (share * 10_000.0).floor() / 100.0) }
}

fn milliseconds(latency: Duration) -> String {
    let ms = latency.as_secs_f64() * 1000.0;
    if ms < 1000.0 { format!("{} ms", number(ms)) } else { format!("{:.1} s", ms / 1000.0) }
}

fn legend(f: &mut impl Write, recording: &Recording) -> fmt::Result {
    let each = format!("room on the ready replicas, {} each", number(recording.per_replica));
    let mut entries =
        vec![("load", "asked for".to_owned()), ("metric", "reported by the scaler".to_owned()), ("capacity", each)];
    if recording.points.iter().any(|point| point.not_ok > 0.0) {
        entries.push(("failed", "not answered with 200".to_owned()));
    }
    entries.push(("desired", "replicas wanted".to_owned()));
    entries.push(("ready", "replicas ready".to_owned()));
    f.write_str("<figure>\n<figcaption>")?;
    for (class, meaning) in entries {
        write!(f, "<span><i class=\"{class}\"></i>{}</span>", Text(&meaning))?;
    }
    f.write_str("</figcaption>\n")
}

fn events(f: &mut impl Write, recording: &Recording) -> fmt::Result {
    if recording.events.is_empty() {
        return Ok(());
    }
    f.write_str("<h2>What changed, and why</h2>\n<table class=\"events\">\n")?;
    f.write_str("<tr><th>#</th><th>time</th><th>replicas</th><th>why</th></tr>\n")?;
    let count = recording.events.len();
    let clock = Clock::of(recording.summary().duration);
    for (index, event) in recording.events.iter().enumerate() {
        let is_left_out = count > LONGEST_LIST && (LONGEST_LIST / 2..count - LONGEST_LIST / 2).contains(&index);
        if is_left_out {
            if index == LONGEST_LIST / 2 {
                writeln!(f, "<tr><td></td><td></td><td></td><td>… {} more …</td></tr>", count - LONGEST_LIST)?;
            }
            continue;
        }
        let replicas = event.replicas.map_or_else(String::new, |(from, to)| format!("{from} → {to}"));
        writeln!(
            f,
            "<tr><td>{}</td><td>{}</td><td>{replicas}</td><td>{}</td></tr>",
            index + 1,
            clock.time(event.at),
            Text(&event.why)
        )?;
    }
    f.write_str("</table>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Event, Latency, Point};

    fn recording() -> Recording {
        let mut recording = Recording::new("The <task> API", "100 requests/s & more", 100.0);
        recording.points = (0..120)
            .map(|second| Point {
                at: Duration::from_secs(second),
                load: second as f64 * 8.0,
                metric: Some(second as f64 * 7.0),
                desired: 1 + second as u32 / 12,
                ready: 1 + second as u32 / 15,
                not_ok: if second == 60 { 5.0 } else { 0.0 },
            })
            .collect();
        recording
    }

    #[test]
    fn the_page_needs_nothing_from_outside_and_runs_nothing() {
        let page = recording().to_string();
        for forbidden in ["<script", "src=", "http://", "https://", "@import", "url("] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn names_stay_text() {
        let page = recording().to_string();
        assert!(page.contains("<h1>The &lt;task&gt; API</h1>"));
        assert!(page.contains("100 requests/s &amp; more"));
    }

    #[test]
    fn failures_show_in_the_chart_and_in_the_summary() {
        let page = recording().to_string();
        assert!(page.contains("<path class=\"failed\""));
        assert!(page.contains("<td>99.99 %<small>"), "never rounded up to 100 %");
        let mut perfect = recording();
        perfect.points.iter_mut().for_each(|point| point.not_ok = 0.0);
        assert!(!perfect.to_string().contains("class=\"failed\""));
    }

    #[test]
    fn latencies_are_shown_when_they_were_measured() {
        let mut recording = recording();
        assert!(!recording.to_string().contains("99 of 100"));
        recording.latency = Some(Latency { p50: Duration::from_micros(5120), p99: Duration::from_millis(1500) });
        assert!(recording.to_string().contains("<td>1.5 s<small>half within 5.12 ms</small>"));
    }

    #[test]
    fn a_long_list_of_events_leaves_out_its_middle() {
        let mut recording = recording();
        let event = |number| Event { at: Duration::ZERO, replicas: Some((1, 2)), why: format!("event {number}.") };
        recording.events = (1..=100).map(event).collect();
        let list = recording.to_string();
        let list = list.split("<h2>").nth(1).unwrap();
        assert!(list.contains("event 30.") && !list.contains("event 31.") && list.contains("… 40 more …"));
        assert!(!list.contains("event 70.") && list.contains("event 71."));
    }

    #[test]
    fn what_came_from_outside_is_a_line_and_a_change_a_mark() {
        let mut recording = recording();
        let outside = Event { at: Duration::from_secs(9), replicas: None, why: "Envoy was restarted".into() };
        let change = Event { at: Duration::from_secs(10), replicas: Some((1, 4)), why: "above target".into() };
        recording.events = vec![outside, change];
        let page = recording.to_string();
        assert!(page.contains("<title>1. 0:09: Envoy was restarted</title>"));
        assert_eq!((page.matches("\"incident\"").count(), page.matches("\"change\"").count()), (1, 1));
        assert!(page.contains("<td>1 → 4</td><td>above target</td>"));
    }

    #[test]
    fn a_recording_of_nothing_is_still_a_page() {
        assert!(Recording::new("Nothing", "", 100.0).to_string().contains("Nothing was recorded."));
    }
}
