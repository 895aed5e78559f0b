//! The live view of the demo: one table and two charts in a terminal, one line per change when piped.

use std::{
    io::{IsTerminal, Write, stdout},
    time::Duration,
};

use anyhow::Result;
use ratatui::{
    DefaultTerminal, Frame,
    crossterm::terminal::disable_raw_mode,
    layout::{Constraint, Layout},
    style::{Color, Style, Stylize},
    symbols::Marker,
    text::Line,
    widgets::{Axis, Block, Cell, Chart, Dataset, GraphType, Row, Table},
};

/// The state of the demo at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Moment {
    /// Since the load began
    pub(super) time: Duration,
    /// Requests/s that users send
    pub(super) load: f64,
    /// Requests/s that the metric reports
    pub(super) metric: Option<f64>,
    /// Requests/s that one replica carries
    pub(super) target: f64,
    /// Replicas that the HPA wants
    pub(super) desired: u32,
    /// Replicas that run
    pub(super) replicas: u32,
    /// Answers since the start: 200s, and all others
    pub(super) answers: (u64, u64),
    /// Why the HPA wants this many
    pub(super) why: String,
}

/// Shows moments as they come.
pub(super) enum View {
    /// An interactive terminal
    Screen { terminal: Box<DefaultTerminal>, past: Vec<Moment>, duration: Duration },
    /// A pipe or a file
    Lines { last: Option<(u32, u32)> },
}

impl View {
    pub(super) fn open(duration: Duration) -> Result<Self> {
        if stdout().is_terminal() {
            let terminal = Box::new(ratatui::init());
            // In raw mode Ctrl-C would be a key press rather than a signal. If this fails, the demo still ends by itself.
            let _ = disable_raw_mode();
            Ok(Self::Screen { terminal, past: Vec::new(), duration })
        } else {
            writeln!(
                stdout(),
                "{:>6}  {:>10}  {:>10}  {:>7}  {:>8}  why",
                "time",
                "load",
                "metric",
                "desired",
                "replicas"
            )?;
            Ok(Self::Lines { last: None })
        }
    }

    pub(super) fn show(&mut self, moment: Moment) -> Result<()> {
        match self {
            Self::Screen { terminal, past, duration } => {
                past.push(moment);
                terminal.draw(|frame| draw(frame, past, *duration))?;
            }
            Self::Lines { last } => {
                let now = (moment.desired, moment.replicas);
                if last.replace(now) != Some(now) || moment.time.as_secs().is_multiple_of(10) {
                    print_line(&moment)?;
                }
            }
        }
        Ok(())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Self::Screen { .. } = self {
            ratatui::restore();
        }
    }
}

fn print_line(moment: &Moment) -> Result<()> {
    let metric = moment.metric.map_or_else(|| "-".to_owned(), |metric| format!("{metric:.0}/s"));
    let Moment { load, desired, replicas, why, .. } = moment;
    let time = clock(moment.time);
    // A closed pipe (`| head`) ends the demo with an error rather than a panic.
    Ok(writeln!(stdout(), "{time:>6}  {load:>8.0}/s  {metric:>10}  {desired:>7}  {replicas:>8}  {why}")?)
}

fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

fn draw(frame: &mut Frame<'_>, past: &[Moment], duration: Duration) {
    let Some(now) = past.last() else { return };
    let [title, table, traffic, replicas, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(4),
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let heading = format!(" Tidegate demo  {} of {} ", clock(now.time), clock(duration));
    frame.render_widget(Line::from(heading).bold(), title);
    frame.render_widget(numbers(now), table);
    frame.render_widget(traffic_chart(past, duration, &mut Series::default()), traffic);
    frame.render_widget(replica_chart(past, duration, &mut Series::default()), replicas);
    frame.render_widget(Line::from(" Ctrl-C ends it; the report is written either way").dim(), foot);
}

fn numbers(now: &Moment) -> Table<'static> {
    let others = Style::new().fg(if now.answers.1 == 0 { Color::Green } else { Color::Red });
    let metric = now.metric.map_or_else(|| "no data yet".to_owned(), |metric| format!("{metric:.1} requests/s"));
    let head = ["LOAD", "METRIC", "TARGET", "DESIRED", "REPLICAS", "200", "OTHER", "WHY"];
    let row = Row::new([
        Cell::new(format!("{:.0} requests/s", now.load)),
        Cell::new(metric),
        Cell::new(format!("{:.0} each", now.target)),
        Cell::new(now.desired.to_string()).bold(),
        Cell::new(now.replicas.to_string()).bold(),
        Cell::new(now.answers.0.to_string()),
        Cell::new(now.answers.1.to_string()).style(others),
        Cell::new(now.why.clone()),
    ]);
    let widths = [15, 18, 10, 8, 9, 8, 7].map(Constraint::Length).into_iter().chain([Constraint::Fill(1)]);
    Table::new([row], widths).header(Row::new(head).dim()).block(Block::bordered())
}

/// Keeps the points that a chart borrows.
#[derive(Default)]
struct Series(Vec<Vec<(f64, f64)>>);

impl Series {
    fn take(&mut self, past: &[Moment], values: &[fn(&Moment) -> f64]) -> &[Vec<(f64, f64)>] {
        let points = |value: &fn(&Moment) -> f64| {
            let points = past.iter().map(|m| (m.time.as_secs_f64(), value(m)));
            // No point is drawn while there is no value yet.
            points.filter(|(_, y)| y.is_finite()).collect()
        };
        self.0 = values.iter().map(points).collect();
        &self.0
    }
}

fn traffic_chart<'a>(past: &[Moment], duration: Duration, series: &'a mut Series) -> Chart<'a> {
    let carried: fn(&Moment) -> f64 = |m| f64::from(m.replicas) * m.target;
    let points = series.take(past, &[carried, |m| m.load, |m| m.metric.unwrap_or(f64::NAN)]);
    let named = [("what the replicas carry", Color::DarkGray), ("load", Color::Cyan), ("metric", Color::Yellow)];
    chart("requests per second", duration, points, &named)
}

fn replica_chart<'a>(past: &[Moment], duration: Duration, series: &'a mut Series) -> Chart<'a> {
    let points = series.take(past, &[|m| f64::from(m.desired), |m| f64::from(m.replicas)]);
    chart("replicas", duration, points, &[("desired", Color::Magenta), ("running", Color::Green)])
}

fn chart<'a>(
    title: &'a str,
    duration: Duration,
    points: &'a [Vec<(f64, f64)>],
    named: &[(&'a str, Color)],
) -> Chart<'a> {
    let highest = points.iter().flatten().map(|(_, y)| *y).fold(1.0, f64::max) * 1.1;
    let line = |(points, (name, colour)): (&'a Vec<(f64, f64)>, &(&'a str, Color))| {
        let style = Style::new().fg(*colour);
        Dataset::default().name(*name).marker(Marker::Braille).graph_type(GraphType::Line).style(style).data(points)
    };
    let seconds = duration.as_secs_f64();
    let x =
        Axis::default().bounds([0.0, seconds]).labels([clock(Duration::ZERO), clock(duration / 2), clock(duration)]);
    let y = Axis::default().bounds([0.0, highest]).labels([
        "0".to_owned(),
        format!("{:.0}", highest / 2.0),
        format!("{highest:.0}"),
    ]);
    let datasets = points.iter().zip(named).map(line).collect();
    Chart::new(datasets).block(Block::bordered().title(title)).x_axis(x.dim_style()).y_axis(y.dim_style())
}

/// A dim style for axes, so that the data stands out.
trait DimStyle {
    fn dim_style(self) -> Self;
}

impl DimStyle for Axis<'_> {
    fn dim_style(self) -> Self {
        self.style(Style::new().fg(Color::DarkGray))
    }
}
