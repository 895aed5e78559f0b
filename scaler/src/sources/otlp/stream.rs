//! One pushed counter: each point becomes the increase since the last one.
//!
//! A cumulative point has the count since a start time, a delta point the count since the last point. A start that changed is a
//! restart. Its value is only compared and never read as a time, because Envoy writes microseconds into it (seen with 1.40): a
//! restart is noticed all the same.
//!
//! Nor does the start date a series: OpenTelemetry's SDKs write the time when the process began. So it is unknown which time the
//! first cumulative point of a series covers, until its sender was heard for so long that an older series would have been
//! reported before.
//!
//! A sender's clock may be set back, and its points look late then. Within one process the higher count is the newer one,
//! whatever the clock says. Where that does not decide, a point that is older than the last one is refused, so that nothing is
//! counted twice; when all points were older for [`PATIENCE`] by our own clock, the sender's clock is followed.

use std::{
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use tokio::time::Instant;

/// Why a point is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Dropped {
    /// It is older than the last one
    Late,
    /// It repeats an earlier one
    Duplicate,
    /// A counter cannot have such values
    Malformed,
    /// Its sender has too many series
    TooMany,
    /// Its sender is unknown
    Unknown,
}

impl Dropped {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::Malformed => "malformed",
            Self::TooMany => "too_many",
            Self::Unknown => "unknown_sender",
        }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Late => "a point is older than the last one",
            Self::Duplicate => "a point came twice",
            Self::Malformed => {
                "a point is malformed: wants a finite sum of at least 0, a count, and a time that is not in the future"
            }
            Self::TooMany => "there are too many series of this sender",
            Self::Unknown => {
                "its sender is no proxy and no AI gateway of Envoy Gateway, neither by its address nor by its k8s.pod.name"
            }
        })
    }
}

/// The time that the points of a metric cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Temporality {
    /// The time since the start
    Cumulative,
    /// The time since the last point
    Delta,
}

impl Temporality {
    /// Reads OTLP's `AGGREGATION_TEMPORALITY_…`; `None` for any other number.
    pub(super) fn of(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::Delta),
            2 => Some(Self::Cumulative),
            _ => None,
        }
    }
}

/// One point. Times are nanoseconds since 1970, by the sender's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Point {
    pub(super) start: u64,
    pub(super) time: u64,
    pub(super) sum: f64,
    pub(super) count: f64,
}

/// The time when a message came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// Nanoseconds since 1970
    pub(super) wall: u64,
    /// By the monotonic clock
    pub(super) at: Instant,
}

impl Arrival {
    pub(super) fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        Self { wall, at: Instant::now() }
    }
}

/// How long all points of a sender have to be older than those before, until its clock is taken to have changed. Late messages of
/// a sender that works come between newer ones.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The same where a count is lower too and the process is the same: old messages that are sent again look like that.
const PATIENCE_IF_LOWER: Duration = Duration::from_secs(300);
/// Nanoseconds by which a point may be in the future: one further ahead would make all later points late.
const AHEAD: u64 = 3_600_000_000_000;

/// Longest interval of a sender that is used, in nanoseconds: a slower one is of no use.
const SLOWEST: u64 = 300_000_000_000;

/// The time when one sender was first heard, and its interval between two points of a series: nanoseconds of its own clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reports {
    first: u64,
    every: u64,
}

impl Reports {
    fn hear(&mut self, time: u64, since_last: u64) {
        if self.first == 0 {
            self.first = time;
        }
        self.every = self.every.max(since_last.min(SLOWEST));
    }

    /// Whether each series that existed when the sender was first heard has been reported by now, even if a report comes in
    /// parts.
    fn have_reported_all(&self, time: u64) -> bool {
        self.every > 0 && time.saturating_sub(self.first) > self.every + self.every / 2
    }
}

/// The state of one counter.
#[derive(Debug, Default)]
pub(super) struct Stream {
    last: Point,
    /// The highest time of any point: a lower count is a restart only if its time is after this
    newest: u64,
    /// The start of the process before, whose points are refused. It is the current start if the count restarted without a new
    /// one
    ended: u64,
    behind: Option<Box<Behind>>,
}

/// Points that are older than the last one, with no newer one among them.
#[derive(Debug)]
struct Behind {
    since: Instant,
    /// The time of the last of them
    time: u64,
    /// The sum and count that delta points have added
    added: [f64; 2],
}

/// How a point relates to the last one that was accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Newer,
    Again,
    /// From a process that has ended
    Over,
    /// Older by its time, which is believed after this long
    Older(Duration),
}

impl Stream {
    /// Accepts a point, and returns the sum and count that it adds. `reports` are those of its sender.
    pub(super) fn accept(
        &mut self,
        point: Point,
        temporality: Temporality,
        now: Arrival,
        reports: &mut Reports,
    ) -> Result<[f64; 2], Dropped> {
        let counts = |value: f64| value.is_finite() && value >= 0.0;
        if point.time == 0 || point.time > now.wall.saturating_add(AHEAD) || !counts(point.sum) || !counts(point.count)
        {
            return Err(Dropped::Malformed);
        }
        let order = self.order(point, temporality);
        self.newest = self.newest.max(point.time);
        match order {
            Order::Newer => {}
            Order::Again => return Err(Dropped::Duplicate),
            Order::Over => return Err(Dropped::Late),
            Order::Older(patience) => return self.older(point, temporality, now.at, patience),
        }
        self.behind = None;
        let before = self.replace(point);
        let all = [point.sum, point.count];
        if temporality == Temporality::Delta {
            return Ok(all);
        }
        let is_first = before.time == 0;
        reports.hear(point.time, if is_first { 0 } else { point.time.saturating_sub(before.time) });
        if is_first {
            return Ok(if reports.have_reported_all(point.time) { all } else { [0.0; 2] });
        }
        Ok(since(before, point))
    }

    /// Nanoseconds by which a time is behind the last point that was accepted.
    pub(super) fn lead(&self, time: u64) -> u64 {
        self.last.time.saturating_sub(time)
    }

    fn order(&self, point: Point, temporality: Temporality) -> Order {
        let last = self.last;
        let is_after = |time: u64, patience| if point.time > time { Order::Newer } else { Order::Older(patience) };
        if last.time == 0 {
            return Order::Newer;
        }
        if point == last {
            return Order::Again;
        }
        if temporality == Temporality::Delta {
            return is_after(last.time, PATIENCE);
        }
        if point.start != last.start {
            let is_over = point.start != 0 && point.start == self.ended;
            return if is_over { Order::Over } else { is_after(self.newest, PATIENCE) };
        }
        if is_lower(point, last) {
            return is_after(self.newest, PATIENCE_IF_LOWER);
        }
        let grew = point.sum > last.sum || point.count > last.count;
        let is_one_process = point.start != 0 && point.start != self.ended;
        if grew && is_one_process { Order::Newer } else { is_after(last.time, PATIENCE) }
    }

    /// Handles a point that is older by its time: it is accepted once all points were older for `patience`.
    fn older(
        &mut self,
        point: Point,
        temporality: Temporality,
        at: Instant,
        patience: Duration,
    ) -> Result<[f64; 2], Dropped> {
        let last = self.last;
        let is_unchanged = (point.start, point.sum, point.count) == (last.start, last.sum, last.count);
        let is_old_news = is_unchanged && temporality == Temporality::Cumulative;
        let refused = if is_old_news { Dropped::Duplicate } else { Dropped::Late };
        let new = || Box::new(Behind { since: at, time: 0, added: [0.0; 2] });
        let behind = self.behind.get_or_insert_with(new);
        let goes_on = point.time > behind.time;
        if point.time < behind.time {
            // One of the two came late, and it is unknown which of them was counted before.
            behind.added = [0.0; 2];
        } else if goes_on {
            behind.added = [behind.added[0] + point.sum, behind.added[1] + point.count];
        }
        behind.time = point.time;
        if !goes_on || at.saturating_duration_since(behind.since) < patience {
            return Err(refused);
        }
        let added = behind.added;
        self.behind = None;
        let before = self.replace(point);
        Ok(if temporality == Temporality::Delta { added } else { since(before, point) })
    }

    /// Makes this the last point, and returns the one before.
    fn replace(&mut self, point: Point) -> Point {
        let before = std::mem::replace(&mut self.last, point);
        if before.time > 0 && has_restarted(before, point) {
            self.ended = before.start;
        }
        before
    }
}

/// The increase of a cumulative counter between two points.
fn since(before: Point, now: Point) -> [f64; 2] {
    if has_restarted(before, now) { [now.sum, now.count] } else { [now.sum - before.sum, now.count - before.count] }
}

fn has_restarted(before: Point, now: Point) -> bool {
    now.start != before.start || is_lower(now, before)
}

fn is_lower(point: Point, than: Point) -> bool {
    point.sum < than.sum || point.count < than.count
}

/// A hash of a metric and its attributes, in which their order does not matter.
pub(super) fn identity(metric: &str, attributes: &[KeyValue]) -> u64 {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let one = |attribute: &KeyValue| {
        // Values are nearly always strings; others are distinguished by their debug output.
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        match value {
            Some(opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(text)) => {
                hasher.hash_one((&attribute.key, text))
            }
            other => hasher.hash_one((&attribute.key, format!("{other:?}"))),
        }
    };
    attributes.iter().map(one).fold(hasher.hash_one(metric), u64::wrapping_add)
}

#[cfg(test)]
mod tests;
