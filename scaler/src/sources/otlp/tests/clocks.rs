//! Senders whose clocks are set back or forward.

use super::*;
use tokio::time::{Instant, advance};

/// The values at the end of each second: a thousand requests/s and as many tokens/s for four minutes, from a proxy that reports
/// every 5 s and whose clock is off by so many seconds in each second.
async fn told(temporality: i32, off_by: impl Fn(i64) -> i64) -> Vec<[f64; 2]> {
    let (signals, plan) = (Arc::new(SignalStore::new(Duration::from_secs(300))), plan());
    signals.keep(&plan);
    let settings = OtlpSettings { clusters: true, tokens: true, peers: None };
    let watched = watch::channel(Some(Arc::new(plan.clone()))).1;
    let receiver = Receiver::new(settings, Arc::clone(&signals), watched, None);
    let (mut unheard, mut told) = (HashMap::new(), Vec::new());
    let begun = nanos() - 3_600_000_000_000;
    for second in 0..240 {
        if second % 5 == 0 {
            let since_last = if temporality == DELTA { 5 } else { second };
            let (count, time) =
                (since_last as f64 * 1000.0, begun.saturating_add_signed((second + off_by(second)) * 1_000_000_000));
            let metrics = vec![
                at(requests(count as i64), time, temporality),
                at(usage(temporality, &[("output", count)]), time, temporality),
            ];
            receiver.take_in(&plan, [127, 0, 0, 1].into(), &message(Vec::new(), metrics));
        }
        receiver.close_second(&mut unheard);
        let requests = signals.at_least(RULE, Signal::RequestsPerSecond).map_or(f64::NAN, |reading| reading.value);
        let tokens = signals.tokens().ok().and_then(|(shown, _)| shown.of(&[]).next().map(|(_, rates)| rates.output));
        told.push([requests, tokens.unwrap_or(f64::NAN)]);
        advance(Duration::from_secs(1)).await;
    }
    told
}

/// The same metric with points of this time.
fn at(mut metric: Metric, time: u64, temporality: i32) -> Metric {
    match &mut metric.data {
        Some(Data::Sum(sum)) => {
            sum.aggregation_temporality = temporality;
            sum.data_points.iter_mut().for_each(|point| point.time_unix_nano = time);
        }
        Some(Data::Histogram(histogram)) => {
            histogram.data_points.iter_mut().for_each(|point| point.time_unix_nano = time);
        }
        _ => {}
    }
    metric
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_or_forward_and_back_changes_no_answer() {
    let begun = Instant::now();
    for temporality in [CUMULATIVE, DELTA] {
        let clocks: [fn(i64) -> i64; 4] = [
            |second| if second < 90 { 0 } else { -120 },
            |second| if (90..150).contains(&second) { 600 } else { 0 },
            |second| if (90..150).contains(&second) { -30 } else { 0 },
            |second| if second < 90 { 0 } else { -2400 },
        ];
        for (clock, off_by) in clocks.into_iter().enumerate() {
            // A delta covers no more than its own report: until the new clock is followed, the last rate is held.
            for (second, told) in told(temporality, off_by).await.iter().enumerate().skip(60) {
                let (low, high) = if temporality == CUMULATIVE { (950.0, 1050.0) } else { (800.0, 1200.0) };
                let all_well = told.iter().all(|told| (low..high).contains(told));
                assert!(all_well, "clock {clock} of temporality {temporality}: {told:?} at second {second}");
            }
        }
    }
    assert!(begun.elapsed() > Duration::from_secs(1000));
}
