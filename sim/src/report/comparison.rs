//! Several ways to scale the same load, below each other as one SVG file: the replicas needed, ready and wanted.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use super::{
    scale::{Clock, Scale, number, ticks, time_ticks},
    text::Text,
};

const WIDTH: f64 = 1040.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = WIDTH - 20.0;
/// Height of one panel, with its title and the space below
const PANEL: f64 = 250.0;
const HEAD: f64 = 74.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 225.0;

/// Runs of the same load.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The heading
    pub title: String,
    /// From top to bottom
    pub runs: Vec<Run>,
}

/// One run of a [`Comparison`].
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Name of the scaling method
    pub title: String,
    /// In the order of time
    pub moments: Vec<Moment>,
}

/// The replicas at one instant; they hold until the next.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moment {
    /// Since the start
    pub at: Duration,
    /// Replicas that the load needs, not rounded
    pub needed: f64,
    /// Requested replicas
    pub wanted: u32,
    /// Replicas that were ready to serve
    pub ready: u32,
}

/// A run in a few numbers. The first two are the time share and the accuracy of under-provisioning as defined by the SPEC RG
/// cloud group (Herbst et al., "Ready for Rain?", 2018).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The share (0 to 1) of the time in which fewer replicas were ready than needed
    pub time_under: f64,
    /// The mean over time of the share (0 to 1) of needed replicas that was missing
    pub missing: f64,
    /// Replicas × hours, from the time they were requested
    pub replica_hours: f64,
    /// The most replicas that were requested
    pub peak: u32,
    /// How often the requested number changed
    pub changes: usize,
}

impl Run {
    /// Computes the numbers of this run.
    pub fn judged(&self) -> Judged {
        let (mut under, mut missing, mut paid, mut all) = (0.0, 0.0, 0.0, 0.0);
        for pair in self.moments.windows(2) {
            let (moment, seconds) = (&pair[0], pair[1].at.saturating_sub(pair[0].at).as_secs_f64());
            let needed = moment.needed.ceil();
            let lacking = (needed - f64::from(moment.ready)).max(0.0);
            all += seconds;
            under += if lacking > 0.0 { seconds } else { 0.0 };
            missing += if needed > 0.0 { lacking / needed * seconds } else { 0.0 };
            paid += f64::from(moment.wanted) * seconds;
        }
        let all = if all > 0.0 { all } else { 1.0 };
        Judged {
            time_under: under / all,
            missing: missing / all,
            replica_hours: paid / 3600.0,
            peak: self.moments.iter().map(|moment| moment.wanted).max().unwrap_or(0),
            changes: self.moments.windows(2).filter(|pair| pair[0].wanted != pair[1].wanted).count(),
        }
    }
}

/// A complete SVG file, readable in light and dark mode.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let height = HEAD + PANEL * self.runs.len() as f64;
        let moments = || self.runs.iter().flat_map(|run| &run.moments);
        let end = moments().map(|moment| moment.at).max().unwrap_or_default();
        let highest = moments().map(|moment| moment.needed.max(moment.wanted.max(moment.ready).into()));
        let highest = highest.fold(1.0, f64::max);
        writeln!(
            f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
            Text(&self.title)
        )?;
        writeln!(f, "<style>{}</style>", include_str!("comparison.css"))?;
        writeln!(f, "<rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>")?;
        writeln!(f, "<text class=\"title\" x=\"{LEFT}\" y=\"26\">{}</text>", Text(&self.title))?;
        legend(f)?;
        for (index, run) in self.runs.iter().enumerate() {
            panel(f, run, HEAD + PANEL * index as f64, end, highest)?;
        }
        f.write_str("</svg>\n")
    }
}

fn legend(f: &mut impl Write) -> fmt::Result {
    let entries = [("needed", "needed"), ("ready", "ready"), ("lacking", "needed and not ready"), ("wanted", "wanted")];
    for (index, (class, meaning)) in entries.iter().enumerate() {
        let x = LEFT + 200.0 * index as f64;
        let swatch = match *class {
            "ready" | "lacking" => format!("<rect class=\"{class}\" x=\"{x}\" y=\"42\" width=\"22\" height=\"12\"/>"),
            _ => format!("<path class=\"{class}\" d=\"M{x} 48h22\"/>"),
        };
        writeln!(f, "{swatch}<text class=\"tick\" x=\"{}\" y=\"53\">{meaning}</text>", x + 30.0)?;
    }
    Ok(())
}

fn panel(f: &mut impl Write, run: &Run, top: f64, end: Duration, highest: f64) -> fmt::Result {
    let (x, clock) = (Scale::new(end.as_secs_f64(), LEFT, RIGHT), Clock::of(end));
    let ticks = ticks(highest, 5.0);
    let y = Scale::new(ticks.last().copied().unwrap_or(1.0), top + BOTTOM, top + TOP);
    writeln!(f, "<text class=\"run\" x=\"{LEFT}\" y=\"{}\">{}</text>", top + 20.0, Text(&run.title))?;
    for value in ticks.iter().filter(|value| value.fract() == 0.0) {
        let at = y.at(*value);
        writeln!(f, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>")?;
        let label = number(*value);
        writeln!(
            f,
            "<text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            at + 4.0
        )?;
    }
    for at in time_ticks(end, 12) {
        let label = clock.tick(at);
        let x = x.at(at.as_secs_f64());
        let y = top + BOTTOM + 18.0;
        writeln!(f, "<text class=\"tick\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>")?;
    }
    let steps = |value: &dyn Fn(&Moment) -> f64| steps(&run.moments, x, y, value);
    let ready = steps(&|moment| moment.ready.into());
    let reached = steps(&|moment| moment.needed.max(moment.ready.into()));
    writeln!(f, "<path class=\"ready\" d=\"{}\"/>", Between(&ready, &steps(&|_| 0.0)))?;
    writeln!(f, "<path class=\"lacking\" d=\"{}\"/>", Between(&reached, &ready))?;
    writeln!(f, "<path class=\"needed\" d=\"{}\"/>", Between(&steps(&|moment| moment.needed), &[]))?;
    writeln!(f, "<path class=\"wanted\" d=\"{}\"/>", Between(&steps(&|moment| moment.wanted.into()), &[]))
}

/// The corners of a line that stays level until the next moment. Only a change makes corners.
fn steps(moments: &[Moment], x: Scale, y: Scale, value: &dyn Fn(&Moment) -> f64) -> Vec<(f64, f64)> {
    let mut corners: Vec<(f64, f64)> = Vec::new();
    for moment in moments {
        let (x, y) = (x.at(moment.at.as_secs_f64()), y.at(value(moment)));
        match corners.last() {
            Some((_, last)) if *last == y => {}
            Some((_, last)) => corners.extend([(x, *last), (x, y)]),
            None => corners.push((x, y)),
        }
    }
    let end = moments.last().map(|moment| x.at(moment.at.as_secs_f64()));
    corners.extend(end.zip(corners.last().map(|(_, y)| *y)));
    corners
}

/// A path along one line, and back along another if there is one.
struct Between<'a>(&'a [(f64, f64)], &'a [(f64, f64)]);

impl fmt::Display for Between<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (x, y)) in self.0.iter().chain(self.1.iter().rev()).enumerate() {
            write!(f, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' })?;
        }
        if self.1.is_empty() { Ok(()) } else { f.write_char('Z') }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        let moment = |at, needed, wanted, ready| Moment { at: Duration::from_secs(at), needed, wanted, ready };
        let moments = vec![moment(0, 1.5, 2, 1), moment(1800, 1.5, 2, 2), moment(3600, 0.0, 1, 1)];
        Run { title: "a < b".into(), moments }
    }

    #[test]
    fn a_run_is_judged_by_what_was_missing_and_by_what_was_paid() {
        let judged = run().judged();
        let expected = Judged { time_under: 0.5, missing: 0.25, replica_hours: 2.0, peak: 2, changes: 1 };
        assert_eq!(judged, expected);
    }

    #[test]
    fn the_file_stands_alone_and_says_which_panel_is_whose() {
        let file = Comparison { title: "Two & more".into(), runs: vec![run(), run()] }.to_string();
        assert!(file.starts_with("<svg xmlns") && file.ends_with("</svg>\n"));
        assert!(file.contains("Two &amp; more") && file.matches("a &lt; b").count() == 2);
        assert!(!file.contains("<script") && !file.contains("NaN"));
    }

    #[test]
    fn nothing_is_no_reason_to_fail() {
        let nothing = Run { title: String::new(), moments: Vec::new() };
        assert_eq!(nothing.judged().time_under, 0.0);
        assert!(!Comparison { title: String::new(), runs: vec![nothing] }.to_string().contains("NaN"));
    }
}
