//! One picture of the demo: all of it fits 80 columns and 24 rows.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    style::{Color, Style, Stylize},
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Block, Borders, Chart, Dataset, GraphType, Padding, Paragraph, Row, Table, Wrap},
};
use tidegate_sim::report::ticks;

use super::{Moment, clock};

/// How pictures are drawn.
#[derive(Debug, Clone, Copy)]
pub(in crate::demo) struct Look {
    /// Length of the time axis
    pub(in crate::demo) duration: Duration,
    pub(in crate::demo) colours: bool,
}

/// A curve of a chart. Without colours its marker distinguishes it.
struct Curve {
    name: &'static str,
    colour: Color,
    marker: Marker,
    sign: &'static str,
    value: fn(&Moment) -> f64,
}

/// Later ones cover earlier ones.
const TRAFFIC: &[Curve] = &[
    Curve {
        name: "carried by the replicas",
        colour: Color::DarkGray,
        marker: Marker::Bar,
        sign: "▄",
        value: |m| f64::from(m.replicas) * m.target,
    },
    Curve { name: "sent", colour: Color::Cyan, marker: Marker::Braille, sign: "⠒", value: |m| m.sent },
    Curve {
        name: "seen by the HPA",
        colour: Color::Yellow,
        marker: Marker::Dot,
        sign: "•",
        value: |m| m.metric.unwrap_or(f64::NAN),
    },
];
const REPLICAS: &[Curve] = &[
    Curve { name: "wanted", colour: Color::Magenta, marker: Marker::Dot, sign: "•", value: |m| m.desired.into() },
    Curve { name: "running", colour: Color::Green, marker: Marker::Braille, sign: "⠒", value: |m| m.replicas.into() },
];

/// Draws the last of the moments, with those before it as curves.
pub(super) fn draw(frame: &mut Frame<'_>, past: &[Moment], look: Look) {
    let Some(now) = past.last() else { return };
    let [title, table, answers, why, traffic, replicas, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let heading = format!(" Tidegate demo  {} of {} ", clock(now.time), clock(look.duration));
    frame.render_widget(Line::from(heading).bold(), title);
    frame.render_widget(numbers(now), table);
    let all_well = now.answers.ok == now.answers.total();
    let statuses = Span::from(now.statuses()).style(look.colour(if all_well { Color::Green } else { Color::Red }));
    frame.render_widget(Line::from(vec![Span::from(" ANSWERS ").dim(), statuses]), answers);
    frame.render_widget(reason(now), why);
    frame.render_widget(chart("requests/s", TRAFFIC, &points(past, TRAFFIC), look), traffic);
    frame.render_widget(chart("replicas", REPLICAS, &points(past, REPLICAS), look), replicas);
    frame.render_widget(hint(now, look), foot);
}

impl Look {
    fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
}

fn numbers(now: &Moment) -> Table<'static> {
    let metric = now.metric.map_or_else(|| "no data yet".to_owned(), |metric| format!("{metric:.1} requests/s"));
    let head = [" SENT", "SEEN BY THE HPA", "ONE CARRIES", "WANTED", "RUNNING"];
    let row = [
        format!(" {:.0} requests/s", now.sent),
        metric,
        format!("{:.0} requests/s", now.target),
        now.desired.to_string(),
        now.replicas.to_string(),
    ];
    let widths = [17, 19, 16, 8, 8].map(Constraint::Length);
    Table::new([Row::new(row).bold()], widths).header(Row::new(head).dim()).column_spacing(1)
}

fn reason(now: &Moment) -> Paragraph<'static> {
    let ago = now.looked.map(|looked| now.time.saturating_sub(looked).as_secs());
    let ago = ago.map(|ago| format!(" (the HPA looked {ago} s ago)")).unwrap_or_default();
    let why = Line::from(vec![Span::from("WHY ").dim(), Span::from(format!("{}{ago}", now.why))]);
    Paragraph::new(why).wrap(Wrap { trim: true }).block(Block::new().padding(Padding::left(1)))
}

fn hint(now: &Moment, look: Look) -> Line<'static> {
    match now.too_slow() {
        Some(warning) => Line::from(format!(" {warning}")).style(look.colour(Color::Yellow)),
        None => Line::from(" Ctrl-C ends it. The chart is written either way, and --open opens it.").dim(),
    }
}

/// The points of each curve; none while there is no value.
fn points(past: &[Moment], curves: &[Curve]) -> Vec<Vec<(f64, f64)>> {
    let of = |curve: &Curve| {
        let points = past.iter().map(|moment| (moment.time.as_secs_f64(), (curve.value)(moment)));
        points.filter(|(_, y)| y.is_finite()).collect()
    };
    curves.iter().map(of).collect()
}

fn chart<'a>(unit: &'static str, curves: &[Curve], points: &'a [Vec<(f64, f64)>], look: Look) -> Chart<'a> {
    let highest = points.iter().flatten().map(|(_, y)| *y).fold(0.0, f64::max);
    // From 2 on, all ticks are whole numbers.
    let ticks = ticks(highest.max(2.0), 2.0);
    let line = |(points, curve): (&'a Vec<(f64, f64)>, &Curve)| {
        let marker = if look.colours { Marker::Braille } else { curve.marker };
        let style = look.colour(curve.colour);
        Dataset::default().marker(marker).graph_type(GraphType::Line).style(style).data(points)
    };
    let clocks = [Duration::ZERO, look.duration / 2, look.duration].map(clock);
    let x = Axis::default().bounds([0.0, look.duration.as_secs_f64()]).labels(clocks);
    let y = Axis::default()
        .bounds([0.0, ticks.last().copied().unwrap_or(2.0)])
        .labels(ticks.iter().map(|tick| format!("{tick:.0}")));
    let axis = look.colour(Color::DarkGray);
    Chart::new(points.iter().zip(curves).map(line).collect())
        .block(Block::new().borders(Borders::TOP).title(legend(unit, curves, look)))
        .legend_position(None)
        .x_axis(x.style(axis))
        .y_axis(y.style(axis))
}

/// The unit and the names of the curves: in the title, where there is always room.
fn legend(unit: &'static str, curves: &[Curve], look: Look) -> Line<'static> {
    let named = curves.iter().map(|curve| {
        let sign = if look.colours { "━" } else { curve.sign };
        Span::from(format!(" {sign} {} ", curve.name)).style(look.colour(curve.colour))
    });
    std::iter::once(Span::from(format!(" {unit}: ")).bold()).chain(named).collect()
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use tidegate_sim::load::Counts;

    use super::*;

    fn moment(time: u64) -> Moment {
        Moment {
            time: Duration::from_secs(time),
            sent: 597.0,
            planned: 600.0,
            metric: Some(236.2),
            looked: Some(Duration::from_secs(30)),
            target: 100.0,
            desired: 3,
            replicas: 2,
            answers: Counts { ok: 13_147, unavailable: 2_138, ..Counts::default() },
            why: "requests-per-second above target, which takes 6, the scale-up policies allow no more now".to_owned(),
        }
    }

    fn picture(width: u16, height: u16, past: &[Moment]) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let look = Look { duration: Duration::from_secs(180), colours: false };
        terminal.draw(|frame| draw(frame, past, look)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn all_of_it_is_there_in_80_columns_and_24_rows_and_in_a_large_window() {
        let past: Vec<_> = (0..42).map(moment).collect();
        for (width, height) in [(80, 24), (120, 40)] {
            let picture = picture(width, height, &past);
            for part in [
                "Tidegate demo  0:41 of 3:00",
                "597 requests/s",
                "236.2 requests/s",
                "100 requests/s",
                "13147 × 200, 2138 × 503",
                "WHY requests-per-second above target, which takes 6, the scale-up policies",
                "looked 11 s ago)",
                "requests/s:  ▄ carried by the replicas  ⠒ sent  • seen by the HPA",
                "replicas:  • wanted  ⠒ running",
                "--open",
            ] {
                assert!(picture.contains(part), "{part}\n{picture}");
            }
        }
    }

    #[test]
    fn ticks_are_whole_numbers() {
        let one = Moment { desired: 1, replicas: 1, ..moment(1) };
        let picture = picture(80, 24, &[one]);
        let tick = |line: &str| line.split_once('│')?.0.trim_matches(['"', ' ']).parse::<f64>().ok();
        let ticks: Vec<_> = picture.lines().filter_map(tick).collect();
        assert_eq!(ticks, [1000.0, 500.0, 0.0, 2.0, 1.0, 0.0], "{picture}");
    }

    #[test]
    fn a_machine_that_cannot_send_the_load_is_reported() {
        let slow = Moment { sent: 400.0, ..moment(1) };
        assert!(picture(80, 24, &[slow]).contains("This machine sends only 400 of 600 requests/s"));
    }
}
