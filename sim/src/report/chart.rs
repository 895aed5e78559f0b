//! Two panels over one time axis, as SVG: the load against the capacity of the replicas, and the replicas.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use super::{
    Point, Recording,
    scale::{Clock, Scale, number, ticks, time_ticks},
    text::Text,
};

const WIDTH: f64 = 1040.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = WIDTH - 20.0;
const HEIGHT: f64 = 520.0;
/// Top and bottom of the two panels
const LOAD: (f64, f64) = (30.0, 270.0);
const REPLICAS: (f64, f64) = (330.0, 480.0);

/// Writes the `<svg>` element.
pub(super) fn write(f: &mut impl Write, recording: &Recording) -> fmt::Result {
    let end = recording.points.last().map_or(Duration::ZERO, |point| point.at);
    let (x, clock) = (Scale::new(end.as_secs_f64(), LEFT, RIGHT), Clock::of(end));
    write!(f, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Load and replicas over time\">")?;
    for at in time_ticks(end, 10) {
        let x = x.at(at.as_secs_f64());
        for (top, bottom) in [LOAD, REPLICAS] {
            write!(f, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>")?;
        }
        write!(
            f,
            "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 14.0,
            clock.tick(at)
        )?;
    }
    write!(f, "<text class=\"tick\" x=\"0\" y=\"{}\">{}</text>", HEIGHT - 14.0, clock.unit())?;
    load_panel(f, recording, x)?;
    replica_panel(f, recording, x, clock)?;
    tooltips(f, recording, x, clock)?;
    f.write_str("</svg>")
}

fn load_panel(f: &mut impl Write, recording: &Recording, x: Scale) -> fmt::Result {
    let points = &recording.points;
    let capacity = |point: &Point| f64::from(point.ready) * recording.per_replica;
    let highest = points.iter().map(|p| p.load.max(capacity(p)).max(p.metric.unwrap_or(0.0))).fold(0.0, f64::max);
    let y = axis(f, LOAD, highest, &recording.unit)?;
    let line = |value: &dyn Fn(&Point) -> f64| lines(points, x, y, value);
    let capacity = steps(points, x, y, &capacity);
    area(f, "capacity", &capacity, y, x, points)?;
    path(f, "capacity-edge", &capacity)?;
    path(f, "metric", &line(&|point| point.metric.unwrap_or(0.0)))?;
    path(f, "load", &line(&|point| point.load))?;
    let failed = line(&|point| point.not_ok);
    if points.iter().any(|point| point.not_ok > 0.0) {
        area(f, "failed", &failed, y, x, points)?;
    }
    Ok(())
}

fn replica_panel(f: &mut impl Write, recording: &Recording, x: Scale, clock: Clock) -> fmt::Result {
    let points = &recording.points;
    let highest = points.iter().map(|point| point.desired.max(point.ready)).max().unwrap_or(1).max(1);
    let y = axis(f, REPLICAS, highest.into(), "replicas")?;
    let ready = steps(points, x, y, &|point| point.ready.into());
    area(f, "ready", &ready, y, x, points)?;
    path(f, "ready-edge", &ready)?;
    path(f, "desired", &steps(points, x, y, &|point| point.desired.into()))?;
    for (number, event) in recording.events.iter().enumerate() {
        let x = x.at(event.at.as_secs_f64());
        let place = match event.replicas {
            Some(_) => format!("M{x:.1} {} l-4.5 8 h9 z", REPLICAS.1 + 3.0),
            // An event from outside: a line through both panels.
            None => format!("M{x:.1} {} V{} M{x:.1} {} V{}", LOAD.0, LOAD.1, REPLICAS.0, REPLICAS.1),
        };
        let class = if event.replicas.is_some() { "change" } else { "incident" };
        let (time, why) = (clock.time(event.at), Text(&event.why));
        write!(f, "<path class=\"{class}\" d=\"{place}\"><title>{}. {time}: {why}</title></path>", number + 1)?;
    }
    Ok(())
}

/// Horizontal lines with their numbers, and the scale that goes with them.
fn axis(f: &mut impl Write, (top, bottom): (f64, f64), highest: f64, unit: &str) -> Result<Scale, fmt::Error> {
    let ticks = ticks(highest, 4.0);
    let y = Scale::new(ticks.last().copied().unwrap_or(1.0), bottom, top);
    for value in ticks.iter().filter(|value| value.fract() == 0.0 || highest < 2.0) {
        let y = y.at(*value);
        write!(f, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>")?;
        let label = number(*value);
        write!(f, "<text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 8.0, y + 4.0)?;
    }
    write!(f, "<text class=\"unit\" x=\"0\" y=\"{}\">{}</text>", top - 14.0, Text(unit))?;
    Ok(y)
}

/// The corners of a line from point to point.
fn lines(points: &[Point], x: Scale, y: Scale, value: &dyn Fn(&Point) -> f64) -> Vec<(f64, f64)> {
    points.iter().map(|point| (x.at(point.at.as_secs_f64()), y.at(value(point)))).collect()
}

/// The corners of a line that stays level until the next point. Only a change makes corners.
fn steps(points: &[Point], x: Scale, y: Scale, value: &dyn Fn(&Point) -> f64) -> Vec<(f64, f64)> {
    let mut corners: Vec<(f64, f64)> = Vec::new();
    for (x, y) in lines(points, x, y, value) {
        match corners.last() {
            Some((_, last)) if *last == y => {}
            Some((_, last)) => corners.extend([(x, *last), (x, y)]),
            None => corners.push((x, y)),
        }
    }
    let end = points.last().map(|point| x.at(point.at.as_secs_f64()));
    corners.extend(end.zip(corners.last().map(|(_, y)| *y)));
    corners
}

fn path(f: &mut impl Write, class: &str, corners: &[(f64, f64)]) -> fmt::Result {
    write!(f, "<path class=\"{class}\" d=\"{}\"/>", Corners(corners))
}

fn area(f: &mut impl Write, class: &str, corners: &[(f64, f64)], y: Scale, x: Scale, points: &[Point]) -> fmt::Result {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Ok(()) };
    let (left, right, bottom) = (x.at(first.at.as_secs_f64()), x.at(last.at.as_secs_f64()), y.at(0.0));
    let edge = Corners(corners);
    write!(f, "<path class=\"{class}\" d=\"{edge} L{right:.1} {bottom:.1} L{left:.1} {bottom:.1} Z\"/>")
}

struct Corners<'a>(&'a [(f64, f64)]);

impl fmt::Display for Corners<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (x, y)) in self.0.iter().enumerate() {
            write!(f, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' })?;
        }
        Ok(())
    }
}

/// A column over both panels for each point (or group of points) that shows its numbers on hover.
fn tooltips(f: &mut impl Write, recording: &Recording, x: Scale, clock: Clock) -> fmt::Result {
    let group = recording.points.len().div_ceil(400).max(1);
    for pair in recording.points.chunks(group).collect::<Vec<_>>().windows(2) {
        let (Some(point), Some(next)) = (pair[0].first(), pair[1].first()) else { continue };
        let (left, right) = (x.at(point.at.as_secs_f64()), x.at(next.at.as_secs_f64()));
        write!(
            f,
            "<rect class=\"hover\" x=\"{left:.1}\" width=\"{:.1}\" y=\"{}\" height=\"{}\"><title>{}\n{} {} asked for",
            (right - left).max(0.1),
            LOAD.0,
            REPLICAS.1 - LOAD.0,
            clock.time(point.at),
            number(point.load),
            Text(&recording.unit),
        )?;
        if let Some(metric) = point.metric {
            write!(f, "\n{} {} reported", number(metric), Text(&recording.unit))?;
        }
        if point.not_ok > 0.0 {
            write!(f, "\n{} {} not answered with 200", number(point.not_ok), Text(&recording.unit))?;
        }
        write!(f, "\n{} replicas ready of {} wanted</title></rect>", point.ready, point.desired)?;
    }
    Ok(())
}
