use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

fn at(second: u64, sum: f64) -> Point {
    Point { start: 7, time: NOW - 100 * SECOND + second * SECOND, sum, count: sum }
}

fn now() -> Arrival {
    Arrival { wall: NOW, at: Instant::now() }
}

/// The sums that points add when they all come at once.
fn sums(temporality: Temporality, points: &[Point]) -> Vec<Result<f64, Dropped>> {
    arriving(temporality, &points.iter().map(|point| (0, *point)).collect::<Vec<_>>())
}

/// The same for points that come at these seconds.
fn arriving(temporality: Temporality, points: &[(u64, Point)]) -> Vec<Result<f64, Dropped>> {
    let (mut stream, mut reports, first) = (Stream::default(), Reports::default(), Instant::now());
    let mut accept = |(second, point): &(u64, Point)| {
        let arrival = Arrival { wall: NOW, at: first + Duration::from_secs(*second) };
        stream.accept(*point, temporality, arrival, &mut reports).map(|[sum, _]| sum)
    };
    points.iter().map(&mut accept).collect()
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
fn a_count_that_went_down_with_the_same_start_has_restarted() {
    assert_eq!(sums(Temporality::Cumulative, &[at(1, 10.0), at(2, 3.0)]), [Ok(0.0), Ok(3.0)]);
}

#[test]
fn a_count_that_grew_is_newer_whatever_the_clock_says() {
    let points = [at(90, 10.0), at(30, 15.0), at(35, 18.0)];
    assert_eq!(sums(Temporality::Cumulative, &points), [Ok(0.0), Ok(5.0), Ok(3.0)]);
    let old_news_again = [at(90, 10.0), at(30, 15.0), at(90, 10.0), at(35, 18.0)];
    let expected = [Ok(0.0), Ok(5.0), Err(Dropped::Late), Ok(3.0)];
    assert_eq!(sums(Temporality::Cumulative, &old_news_again), expected, "no restart, although its time is newer");
}

#[test]
fn where_the_count_does_not_tell_a_clock_that_was_set_back_is_followed_after_a_while_and_nothing_is_lost() {
    let unknown_start = |second: u64, sum: f64| Point { start: 0, ..at(second, sum) };
    let points = [(0, 90, 10.0), (5, 30, 15.0), (10, 35, 18.0), (15, 40, 20.0), (20, 45, 26.0)];
    let points = points.map(|(arrives, second, sum)| (arrives, unknown_start(second, sum)));
    let late = Err(Dropped::Late);
    assert_eq!(arriving(Temporality::Cumulative, &points), [Ok(0.0), late, late, Ok(10.0), Ok(6.0)]);
    assert_eq!(arriving(Temporality::Delta, &points), [Ok(10.0), late, late, Ok(53.0), Ok(26.0)]);
}

#[test]
fn a_counter_that_stands_still_is_a_duplicate_until_the_clock_that_was_set_back_is_followed() {
    let points = [(0, at(90, 10.0)), (5, at(30, 10.0)), (15, at(40, 10.0)), (20, at(45, 12.0))];
    let expected = [Ok(0.0), Err(Dropped::Duplicate), Ok(0.0), Ok(2.0)];
    assert_eq!(arriving(Temporality::Cumulative, &points), expected);
}

#[test]
fn a_process_that_starts_again_with_an_older_clock_has_counted_from_zero() {
    let again = |second: u64, sum: f64| Point { start: 3, ..at(second, sum) };
    let points = [(0, at(90, 10.0)), (5, again(30, 2.0)), (15, again(40, 4.0)), (20, again(45, 5.0))];
    assert_eq!(arriving(Temporality::Cumulative, &points), [Ok(0.0), Err(Dropped::Late), Ok(4.0), Ok(1.0)]);
}

#[test]
fn counts_of_a_process_that_ended_are_not_counted_again() {
    let ended = |second: u64, sum: f64| Point { start: 3, ..at(second, sum) };
    let points = [ended(10, 900.0), at(20, 5.0), ended(30, 900.0), at(40, 7.0)];
    assert_eq!(sums(Temporality::Cumulative, &points), [Ok(0.0), Ok(5.0), Err(Dropped::Late), Ok(2.0)]);
}

#[test]
fn old_messages_that_come_again_do_not_turn_the_clock_back() {
    let mut points = vec![(0, at(50, 100.0)), (1, at(55, 110.0))];
    points.extend((10..50).map(|second| (second, at(second, second as f64))));
    points.push((50, at(60, 120.0)));
    let added: f64 = arriving(Temporality::Cumulative, &points).into_iter().flatten().sum();
    assert_eq!(added, 20.0);
}

#[test]
fn a_series_is_new_only_once_its_sender_has_reported_all_that_it_had() {
    let mut reports = Reports::default();
    let mut first_of_another = |second: u64| {
        Stream::default().accept(at(second, 1e9), Temporality::Cumulative, now(), &mut reports).map(|[sum, _]| sum)
    };
    // A report in two parts, of which the second comes a second later.
    assert_eq!((first_of_another(10), first_of_another(11)), (Ok(0.0), Ok(0.0)));
    let mut stream = Stream::default();
    let mut told = |second: u64| stream.accept(at(second, 5.0), Temporality::Cumulative, now(), &mut reports);
    assert_eq!((told(10), told(15)), (Ok([0.0; 2]), Ok([0.0; 2])));
    let mut first_of_another = |second: u64, temporality| {
        Stream::default().accept(at(second, 7.0), temporality, now(), &mut reports).map(|[sum, _]| sum)
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
                if let Ok([sum, count]) = stream.accept(point, temporality, now(), &mut reports) {
                    prop_assert!(sum >= 0.0 && count >= 0.0);
                }
            }
        }
    }
}
