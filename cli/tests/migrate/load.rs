//! The load of two days, the same for everything that measures it. It changes each quarter of an hour, and 15 s into the minute: an HPA
//! without a `behavior` holds replicas for one look longer than one that has its defaults written out (`stabilizeRecommendation` and
//! `stabilizeRecommendationWithBehaviors`), which is not to be seen from minute to minute.

use chrono::{DateTime, TimeDelta, Utc};

/// Partitions of the topic.
pub(crate) const PARTITIONS: u32 = 12;

/// Requests/s: none for two hours of the night, a wave over the day, and one quarter of an hour with three times its height.
pub(crate) fn requests(at: DateTime<Utc>) -> f64 {
    let quarter = (at.timestamp() - 15) / 900 % 96;
    match quarter {
        8..16 => 0.0,
        52 => 2400.0,
        _ => {
            let height = (std::f64::consts::PI * quarter as f64 / 96.0).sin();
            (30.0 + 800.0 * height * height).round()
        }
    }
}

/// Requests in flight.
pub(crate) fn in_flight(at: DateTime<Utc>) -> f64 {
    requests(at) * 0.09
}

/// Messages that wait on each partition of the topic; on some there are none but at the height of the day.
pub(crate) fn waiting(at: DateTime<Utc>) -> [u64; PARTITIONS as usize] {
    let requests = requests(at) as u64;
    std::array::from_fn(|partition| if partition % 3 == 0 { requests / 8 } else { requests.saturating_sub(600) / 10 })
}

/// Messages in the queue of a broker that Tidegate knows nothing of.
pub(crate) fn queued(at: DateTime<Utc>) -> f64 {
    (requests(at + TimeDelta::hours(6)) * 0.5).floor()
}

/// CPU that all replicas use together, in percent of what one requests.
pub(crate) fn cpu(at: DateTime<Utc>) -> f64 {
    (requests(at) * 0.9).round()
}

/// The average over a time before an instant, as Prometheus' `rate` has it.
pub(crate) fn average(load: fn(DateTime<Utc>) -> f64, seconds: i64, at: DateTime<Utc>) -> f64 {
    let step = 15;
    let steps = seconds / step;
    (1..=steps).map(|ago| load(at - TimeDelta::seconds(ago * step))).sum::<f64>() / steps as f64
}
