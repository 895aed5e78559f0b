//! One counter as it is pushed: points become what was added since the last.
//!
//! Cumulative points say what was counted since a start, delta points since the last. A start that changed is a restart; its value
//! is never read as a time, because Envoy writes microseconds into it (seen with 1.40), so that a restart is noticed all the same.
//!
//! Nor does it tell of when a series is: the SDKs of OpenTelemetry write when the process began. So the first cumulative point of a
//! series is of no known time, until its sender was heard for so long that it would have been told of before.

use std::{
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use opentelemetry_proto::tonic::common::v1::KeyValue;

/// Why a point does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Dropped {
    /// An older one than the last
    Late,
    /// The last one again
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
            Self::Unknown => "nobody is known at this address",
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

/// One point. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Point {
    pub(super) start: u64,
    pub(super) time: u64,
    pub(super) sum: f64,
    pub(super) count: f64,
}

/// Points that are older than the last by more than this come from a clock that was set back.
const SET_BACK: u64 = 300_000_000_000;
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
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stream {
    start: u64,
    time: u64,
    sum: f64,
    count: f64,
}

impl Stream {
    /// What the point adds: sum and count. `now` is by the receiver's clock, `reports` those of its sender.
    pub(super) fn accept(
        &mut self,
        point: Point,
        temporality: Temporality,
        now: u64,
        reports: &mut Reports,
    ) -> Result<[f64; 2], Dropped> {
        let counts = |value: f64| value.is_finite() && value >= 0.0;
        if point.time == 0 || point.time > now.saturating_add(AHEAD) || !counts(point.sum) || !counts(point.count) {
            return Err(Dropped::Malformed);
        }
        if point.time <= self.time && self.time - point.time < SET_BACK {
            return Err(if point.time == self.time { Dropped::Duplicate } else { Dropped::Late });
        }
        let before =
            std::mem::replace(self, Self { start: point.start, time: point.time, sum: point.sum, count: point.count });
        let all = [point.sum, point.count];
        if temporality == Temporality::Delta {
            return Ok(all);
        }
        let is_first = before.time == 0;
        reports.hear(point.time, if is_first { 0 } else { point.time.saturating_sub(before.time) });
        if is_first {
            return Ok(if reports.have_told_all(point.time) { all } else { [0.0; 2] });
        }
        let restarted = point.start != before.start || point.sum < before.sum || point.count < before.count;
        Ok(if restarted { all } else { [point.sum - before.sum, point.count - before.count] })
    }
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000_000_000;
    const SECOND: u64 = 1_000_000_000;

    fn at(second: u64, sum: f64) -> Point {
        Point { start: 7, time: NOW - 100 * SECOND + second * SECOND, sum, count: sum }
    }

    fn sums(temporality: Temporality, points: &[Point]) -> Vec<Result<f64, Dropped>> {
        let (mut stream, mut reports) = (Stream::default(), Reports::default());
        points.iter().map(|point| stream.accept(*point, temporality, NOW, &mut reports).map(|[sum, _]| sum)).collect()
    }

    #[test]
    fn cumulative_points_add_what_they_grew_by_and_delta_points_what_they_are() {
        let points = [at(1, 10.0), at(2, 15.0), at(3, 15.0)];
        assert_eq!(sums(Temporality::Cumulative, &points), [Ok(0.0), Ok(5.0), Ok(0.0)]);
        assert_eq!(sums(Temporality::Delta, &points), [Ok(10.0), Ok(15.0), Ok(15.0)]);
    }

    #[test]
    fn late_and_duplicate_points_add_nothing() {
        let points = [at(5, 10.0), at(5, 10.0), at(3, 8.0), at(6, 12.0)];
        let expected = [Ok(0.0), Err(Dropped::Duplicate), Err(Dropped::Late), Ok(2.0)];
        assert_eq!(sums(Temporality::Cumulative, &points), expected);
        let delta = [Ok(10.0), Err(Dropped::Duplicate), Err(Dropped::Late), Ok(12.0)];
        assert_eq!(sums(Temporality::Delta, &points), delta);
    }

    #[test]
    fn a_restart_shows_in_the_start_even_where_that_is_off_by_a_thousand_and_the_count_went_on() {
        let microseconds = NOW / 1000;
        let of = |start: u64, second: u64, sum: f64| Point { start, ..at(second, sum) };
        let points = [of(microseconds, 1, 10.0), of(microseconds, 2, 20.0), of(microseconds + 9, 3, 25.0)];
        assert_eq!(sums(Temporality::Cumulative, &points), [Ok(0.0), Ok(10.0), Ok(25.0)]);
    }

    #[test]
    fn a_count_that_went_down_with_the_same_start_has_begun_anew() {
        assert_eq!(sums(Temporality::Cumulative, &[at(1, 10.0), at(2, 3.0)]), [Ok(0.0), Ok(3.0)]);
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed_after_five_minutes() {
        let (mut stream, mut reports) = (Stream::default(), Reports::default());
        let mut sum = |time: u64, sum: f64| {
            let point = Point { start: 7, time, sum, count: 0.0 };
            stream.accept(point, Temporality::Cumulative, NOW, &mut reports).map(|[sum, _]| sum)
        };
        assert_eq!(sum(NOW, 10.0), Ok(0.0));
        assert_eq!(sum(NOW - 10 * SECOND, 12.0), Err(Dropped::Late));
        assert_eq!(sum(NOW - 3600 * SECOND, 14.0), Ok(4.0));
        assert_eq!(sum(NOW - 3599 * SECOND, 15.0), Ok(1.0));
    }

    #[test]
    fn a_series_is_new_only_once_its_sender_has_told_of_all_that_it_had() {
        let mut reports = Reports::default();
        let mut first_of_another = |second: u64| {
            Stream::default().accept(at(second, 1e9), Temporality::Cumulative, NOW, &mut reports).map(|[sum, _]| sum)
        };
        // A report in two parts, of which the second comes a second later.
        assert_eq!((first_of_another(10), first_of_another(11)), (Ok(0.0), Ok(0.0)));
        let mut stream = Stream::default();
        let mut told = |second: u64| stream.accept(at(second, 5.0), Temporality::Cumulative, NOW, &mut reports);
        assert_eq!((told(10), told(15)), (Ok([0.0; 2]), Ok([0.0; 2])));
        let mut first_of_another = |second: u64, temporality| {
            Stream::default().accept(at(second, 7.0), temporality, NOW, &mut reports).map(|[sum, _]| sum)
        };
        assert_eq!(first_of_another(16, Temporality::Cumulative), Ok(0.0));
        assert_eq!(first_of_another(16, Temporality::Delta), Ok(7.0), "that is of now whatever came before");
        assert_eq!(first_of_another(20, Temporality::Cumulative), Ok(7.0));
    }

    #[test]
    fn what_no_counter_can_say_is_malformed() {
        for point in [
            at(1, f64::NAN),
            at(1, -1.0),
            at(1, f64::INFINITY),
            Point { time: 0, ..at(1, 1.0) },
            Point { time: NOW + 2 * AHEAD, ..at(1, 1.0) },
        ] {
            assert_eq!(sums(Temporality::Delta, &[point]), [Err(Dropped::Malformed)], "{point:?}");
        }
    }

    proptest! {
        #[test]
        fn no_point_panics_or_takes_away(points in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<f64>(), any::<f64>()), 0..20)) {
            for temporality in [Temporality::Cumulative, Temporality::Delta] {
                let (mut stream, mut reports) = (Stream::default(), Reports::default());
                for (start, time, sum, count) in &points {
                    let point = Point { start: *start, time: *time, sum: *sum, count: *count };
                    if let Ok([sum, count]) = stream.accept(point, temporality, NOW, &mut reports) {
                        prop_assert!(sum >= 0.0 && count >= 0.0);
                    }
                }
            }
        }
    }
}
