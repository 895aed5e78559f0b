//! A recorded run as one HTML file: the load, the share of it that was served, the replicas, and the reasons for their
//! changes. No scripts, no external resources, readable in light and dark mode.

mod chart;
pub mod comparison;
mod page;
mod scale;
mod summary;
mod text;

use std::{fmt, io, path::Path, time::Duration};

pub use self::{scale::ticks, summary::Summary};
use crate::keda;

/// The record of a run.
///
/// ```
/// use std::time::Duration;
/// use tidegate_sim::report::{Point, Recording};
///
/// let mut recording = Recording::new("The task API", "one replica carries 100 requests/s", 100.0);
/// for second in 0..60 {
///     recording.points.push(Point {
///         at: Duration::from_secs(second),
///         load: 80.0,
///         metric: Some(80.0),
///         desired: 1,
///         ready: 1,
///         not_ok: 0.0,
///     });
/// }
/// assert!(recording.to_string().starts_with("<!doctype html>"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The heading
    pub title: String,
    /// One sentence under it
    pub subtitle: String,
    /// Unit of the load: `requests/s`
    pub unit: String,
    /// Target load of one replica, in that unit
    pub per_replica: f64,
    /// In the order of time
    pub points: Vec<Point>,
    /// In the order of time
    pub events: Vec<Event>,
    /// Requests that were sent, and those of them that were answered with 200; `None`: the curves are integrated
    pub requests: Option<Requests>,
    /// Latencies of the answers
    pub latency: Option<Latency>,
}

/// Requests by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requests {
    /// All
    pub total: u64,
    /// Answered with 200
    pub ok: u64,
}

/// Two quantiles of the latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// Half of the answers took at most this long
    pub p50: Duration,
    /// 99 of 100 answers took at most this long
    pub p99: Duration,
}

/// The measurements at one instant; they hold until the next.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// Since the start
    pub at: Duration,
    /// The load that was offered, in the recording's unit
    pub load: f64,
    /// The scaler's metric over all replicas, in the same unit
    pub metric: Option<f64>,
    /// The requested replicas
    pub desired: u32,
    /// The replicas that were ready to serve
    pub ready: u32,
    /// The part of the load that did not end in a 200, in the same unit
    pub not_ok: f64,
}

/// A change of the replicas, or another event to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Since the start
    pub at: Duration,
    /// The replicas before and after, when they changed
    pub replicas: Option<(u32, u32)>,
    /// The reason, as a sentence
    pub why: String,
}

impl Recording {
    /// An empty recording of requests per second.
    pub fn new(title: impl Into<String>, subtitle: impl Into<String>, per_replica: f64) -> Self {
        Self {
            title: title.into(),
            subtitle: subtitle.into(),
            unit: "requests/s".into(),
            per_replica,
            points: Vec::new(),
            events: Vec::new(),
            requests: None,
            latency: None,
        }
    }

    /// Adds a decision of KEDA or the HPA as an event, if it changed the replicas.
    pub fn note(&mut self, report: &keda::Report) {
        if report.desired != report.replicas {
            let value = |m: &keda::MetricReport| Some(format!("{} at {} each", m.value.as_ref().ok()?, m.target));
            let values: Vec<_> = report.metrics.iter().filter_map(value).collect();
            let why =
                if values.is_empty() { report.why.clone() } else { format!("{} ({})", report.why, values.join(", ")) };
            self.events.push(Event { at: report.at, replicas: Some((report.replicas, report.desired)), why });
        }
    }

    /// The run in a few numbers.
    pub fn summary(&self) -> Summary {
        Summary::of(self)
    }

    /// Writes the HTML file.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, self.to_string())
    }
}

/// The whole HTML page.
impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        page::write(f, self)
    }
}
