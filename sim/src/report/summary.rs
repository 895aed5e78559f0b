//! A run in a few numbers.

use std::{fmt, time::Duration};

use super::{Latency, Point, Recording};

/// A run in a few numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// From the first point to the last
    pub duration: Duration,
    /// Requests that were sent
    pub requests: u64,
    /// The share (0 to 1) of them that was answered with 200; 1 when there were none
    pub ok_share: f64,
    /// The most replicas that were requested
    pub peak_replicas: u32,
    /// Requested replicas, integrated over time: replicas × hours
    pub replica_hours: f64,
    /// The same if the peak had been held all the time: replicas × hours
    pub static_replica_hours: f64,
    /// Latencies, when they were measured
    pub latency: Option<Latency>,
}

/// For a terminal: one line per number.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let saved =
            if self.static_replica_hours > 0.0 { 1.0 - self.replica_hours / self.static_replica_hours } else { 0.0 };
        writeln!(f, "time          {:.0} s", self.duration.as_secs_f64())?;
        writeln!(f, "requests      {}, of which {:.2} % answered with 200", self.requests, self.ok_share * 100.0)?;
        if let Some(Latency { p50, p99 }) = self.latency {
            writeln!(f, "latency       {} ms median, {} ms at the 99th percentile", p50.as_millis(), p99.as_millis())?;
        }
        writeln!(f, "replicas      {} at the peak", self.peak_replicas)?;
        write!(
            f,
            "replica-hours {:.3}; the peak all the time would be {:.3} ({:.0} % more than needed)",
            self.replica_hours,
            self.static_replica_hours,
            if saved < 1.0 { saved / (1.0 - saved) * 100.0 } else { 0.0 }
        )
    }
}

impl Summary {
    pub(super) fn of(recording: &Recording) -> Self {
        let points = &recording.points;
        let duration = match (points.first(), points.last()) {
            (Some(first), Some(last)) => last.at.saturating_sub(first.at),
            _ => Duration::ZERO,
        };
        let integrated = || {
            let sent = integral(points, |point| point.load);
            (sent, sent - integral(points, |point| point.not_ok))
        };
        let counted = recording.requests.map(|requests| (requests.total as f64, requests.ok as f64));
        let (requests, ok) = counted.unwrap_or_else(integrated);
        let peak_replicas = points.iter().map(|point| point.desired).max().unwrap_or(0);
        Self {
            duration,
            requests: requests.round() as u64,
            ok_share: if requests > 0.0 { (ok / requests).clamp(0.0, 1.0) } else { 1.0 },
            peak_replicas,
            replica_hours: integral(points, |point| f64::from(point.desired)) / 3600.0,
            static_replica_hours: f64::from(peak_replicas) * duration.as_secs_f64() / 3600.0,
            latency: recording.latency,
        }
    }

    /// The share (0 to 1) of the static replica-hours that was saved.
    pub fn saved(&self) -> f64 {
        if self.static_replica_hours > 0.0 { 1.0 - self.replica_hours / self.static_replica_hours } else { 0.0 }
    }
}

/// Value × seconds, each point holding until the next.
fn integral(points: &[Point], value: impl Fn(&Point) -> f64) -> f64 {
    points.windows(2).map(|pair| value(&pair[0]) * pair[1].at.saturating_sub(pair[0].at).as_secs_f64()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Requests;

    fn recording() -> Recording {
        let mut recording = Recording::new("A run", "", 100.0);
        let point = |s, load, desired, not_ok| Point {
            at: Duration::from_secs(s),
            load,
            metric: None,
            desired,
            ready: desired,
            not_ok,
        };
        recording.points = vec![point(0, 100.0, 1, 0.0), point(1800, 300.0, 4, 30.0), point(3600, 0.0, 4, 0.0)];
        recording
    }

    #[test]
    fn replica_hours_are_compared_with_the_peak_held_all_the_time() {
        let summary = recording().summary();
        assert_eq!((summary.replica_hours, summary.static_replica_hours), (2.5, 4.0));
        assert_eq!(summary.saved(), 0.375);
    }

    #[test]
    fn requests_are_integrated_unless_they_were_counted() {
        let mut recording = recording();
        let integrated = recording.summary();
        assert_eq!((integrated.requests, integrated.ok_share), (720_000, 1.0 - 54_000.0 / 720_000.0));
        recording.requests = Some(Requests { total: 10, ok: 9 });
        assert_eq!((recording.summary().requests, recording.summary().ok_share), (10, 0.9));
    }

    #[test]
    fn an_empty_recording_has_an_empty_summary() {
        let summary = Recording::new("Nothing", "", 100.0).summary();
        assert_eq!((summary.requests, summary.ok_share, summary.saved()), (0, 1.0, 0.0));
    }
}
