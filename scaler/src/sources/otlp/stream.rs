//! One counter as it is pushed: points become what was added since the last.
//!
//! Cumulative points say what was counted since a start, delta points since the last. A start that changed is a restart; its value
//! is never read as a time, because Envoy writes microseconds into it (seen with 1.40), so that a restart is noticed all the same.
//!
//! Nor does it tell of when a series is: the SDKs of OpenTelemetry write when the process began. So the first cumulative point of a
//! series is of no known time, until its sender was heard for so long that it would have been told of before.
//!
//! A sender's clock may be set back, and its points look late then. Of one process the higher count is the newer one, whatever the
//! clock says. Where that decides nothing, a point that is older than the last one is refused, so that nothing counts twice;
//! when all are for [`PATIENCE`] by our own clock, the sender's clock is followed.

use std::{
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use tokio::time::Instant;

/// Why a point does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Dropped {
    /// An older one than the last
    Late,
    /// Nothing that was not told before
    Duplicate,
    /// Not what a counter can say
    Malformed,
    /// One sender tells of too many
    TooMany,
    /// Nobody knows its sender
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

/// What the points of a metric say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Temporality {
    /// All since the start
    Cumulative,
    /// What came since the last
    Delta,
}

impl Temporality {
    /// `AGGREGATION_TEMPORALITY_…`; `None` for what is none of them.
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

/// When a message came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// Nanoseconds since 1970
    pub(super) wall: u64,
    /// By the clock that nobody sets
    pub(super) at: Instant,
}

impl Arrival {
    pub(super) fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        Self { wall, at: Instant::now() }
    }
}

/// A sender whose points are all older than those before for so long has another clock now. Late messages of a sender that works
/// come between newer ones.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The same where a count is lower too, and its process the same: old messages that come again look like that.
const PATIENCE_IF_LOWER: Duration = Duration::from_secs(300);
/// Points from the future by more than this would make all that follow late.
const AHEAD: u64 = 3_600_000_000_000;

/// No sender that is of use is slower.
const SLOWEST: u64 = 300_000_000_000;

/// For how long one sender was heard, and how often it tells of a series, by its own clock.
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

    /// Whether each series that there was when it was first heard has been told of by now, also where a report comes in parts.
    fn have_told_all(&self, time: u64) -> bool {
        self.every > 0 && time.saturating_sub(self.first) > self.every + self.every / 2
    }
}

/// What is known of one counter.
#[derive(Debug, Default)]
pub(super) struct Stream {
    last: Point,
    /// The highest time that was heard: a count that is lower has begun anew only after it
    newest: u64,
    /// The start of the process before, whose points are over. The present one's where that began anew without saying so.
    ended: u64,
    behind: Option<Box<Behind>>,
}

/// Points that are older than the last one, as long as none is newer.
#[derive(Debug)]
struct Behind {
    since: Instant,
    /// Of the last of them
    time: u64,
    /// What delta points have added
    added: [f64; 2],
}

/// How a point relates to the last one that counted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Newer,
    Again,
    /// Of a process that ended
    Over,
    /// By its time, which is believed after so long
    Older(Duration),
}

impl Stream {
    /// What the point adds: sum and count. `reports` are those of its sender.
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
            return Ok(if reports.have_told_all(point.time) { all } else { [0.0; 2] });
        }
        Ok(since(before, point))
    }

    /// By how many nanoseconds a time is behind the last point that counted.
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

    /// A point that is older by its time: it counts once all have been for `patience`.
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
            // One of the two came late: which of them counted before is not known.
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

    /// This is the last point now; the one before.
    fn replace(&mut self, point: Point) -> Point {
        let before = std::mem::replace(&mut self.last, point);
        if before.time > 0 && is_anew(before, point) {
            self.ended = before.start;
        }
        before
    }
}

/// What a cumulative counter has counted between two points.
fn since(before: Point, now: Point) -> [f64; 2] {
    if is_anew(before, now) { [now.sum, now.count] } else { [now.sum - before.sum, now.count - before.count] }
}

fn is_anew(before: Point, now: Point) -> bool {
    now.start != before.start || is_lower(now, before)
}

fn is_lower(point: Point, than: Point) -> bool {
    point.sum < than.sum || point.count < than.count
}

/// The same for the same attributes in whatever order.
pub(super) fn identity(metric: &str, attributes: &[KeyValue]) -> u64 {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let one = |attribute: &KeyValue| {
        // Values are texts nearly always; others are told apart by how they print.
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
