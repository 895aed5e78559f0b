//! The amount of load over time, piecewise linear.

use std::time::Duration;

/// A rate over time: requests per second, or open connections. Built segment by segment from the start; zero after its end.
///
/// ```
/// use std::time::Duration;
/// use tidegate_sim::load::Profile;
///
/// let seconds = Duration::from_secs;
/// let profile = Profile::starting_at(50.0).hold(seconds(20)).ramp_to(800.0, seconds(30)).step_to(100.0).hold(seconds(10));
/// assert_eq!(profile.duration(), seconds(60));
/// assert_eq!(profile.at(seconds(35)), 425.0);
/// assert_eq!(profile.at(seconds(55)), 100.0);
/// assert_eq!(profile.total(), 50.0 * 20.0 + 425.0 * 30.0 + 100.0 * 10.0);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    segments: Vec<Segment>,
    next: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Segment {
    seconds: f64,
    from: f64,
    to: f64,
}

impl Profile {
    /// An empty profile that starts at this rate. Negative and non-finite rates are zero, here and below.
    pub fn starting_at(rate: f64) -> Self {
        Self { segments: Vec::new(), next: non_negative(rate) }
    }

    /// Keeps the current rate.
    #[must_use]
    pub fn hold(self, length: Duration) -> Self {
        let rate = self.next;
        self.ramp_to(rate, length)
    }

    /// Changes to a rate linearly.
    #[must_use]
    pub fn ramp_to(mut self, rate: f64, length: Duration) -> Self {
        let to = non_negative(rate);
        self.segments.push(Segment { seconds: length.as_secs_f64(), from: self.next, to });
        self.next = to;
        self
    }

    /// Changes to a rate immediately.
    #[must_use]
    pub fn step_to(mut self, rate: f64) -> Self {
        self.next = non_negative(rate);
        self
    }

    /// Oscillates around the current rate, upwards first, in 24 straight lines per period.
    #[must_use]
    pub fn sine(mut self, amplitude: f64, period: Duration, length: Duration) -> Self {
        let (mean, step) = (self.next, period / 24);
        let mut elapsed = Duration::ZERO;
        while elapsed < length && !step.is_zero() {
            let line = step.min(length.saturating_sub(elapsed));
            elapsed += line;
            let turns = elapsed.as_secs_f64() / period.as_secs_f64();
            self = self.ramp_to(mean + amplitude * (turns * std::f64::consts::TAU).sin(), line);
        }
        self
    }

    /// Returns its total length.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.segments.iter().map(|segment| segment.seconds).sum())
    }

    /// Returns the rate at a time since the start.
    pub fn at(&self, since_start: Duration) -> f64 {
        let mut left = since_start.as_secs_f64();
        for segment in &self.segments {
            if left < segment.seconds {
                return segment.from + (segment.to - segment.from) * left / segment.seconds;
            }
            left -= segment.seconds;
        }
        0.0
    }

    /// Returns the total number of requests.
    pub fn total(&self) -> f64 {
        self.segments.iter().map(Segment::area).sum()
    }

    /// Returns when each request is due, since the start, evenly spaced under the curve: the k-th when the area reaches k + ½.
    pub fn arrivals(&self) -> impl Iterator<Item = Duration> + use<> {
        let segments = self.segments.clone();
        let (mut index, mut seconds_before, mut area_before) = (0, 0.0, 0.0);
        let mut due = 0.5;
        std::iter::from_fn(move || {
            loop {
                let segment = segments.get(index)?;
                if due < area_before + segment.area() {
                    let at = seconds_before + segment.reaches(due - area_before);
                    due += 1.0;
                    return Some(Duration::from_secs_f64(at));
                }
                seconds_before += segment.seconds;
                area_before += segment.area();
                index += 1;
            }
        })
    }
}

impl Segment {
    fn area(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.seconds
    }

    /// Returns the seconds after which the area under this line is `area`, which is less than its whole area:
    /// the root of `from·t + slope·t²/2 = area`, in the form that loses no digits for a small slope.
    fn reaches(&self, area: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds;
        let root = (self.from * self.from + 2.0 * slope * area).max(0.0).sqrt();
        (2.0 * area / (self.from + root)).clamp(0.0, self.seconds)
    }
}

fn non_negative(rate: f64) -> f64 {
    if rate.is_finite() { rate.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn a_held_rate_spaces_its_requests_evenly() {
        let due: Vec<_> = Profile::starting_at(4.0).hold(seconds(1)).arrivals().collect();
        assert_eq!(due, [125, 375, 625, 875].map(Duration::from_millis));
    }

    #[test]
    fn a_ramp_from_zero_sends_most_of_its_requests_late() {
        let due: Vec<_> = Profile::starting_at(0.0).ramp_to(100.0, seconds(2)).arrivals().collect();
        assert_eq!(due.len(), 100);
        assert_eq!(due.iter().filter(|at| **at < seconds(1)).count(), 25);
    }

    #[test]
    fn a_pause_sends_nothing() {
        let profile =
            Profile::starting_at(10.0).hold(seconds(1)).step_to(0.0).hold(seconds(5)).step_to(10.0).hold(seconds(1));
        assert_eq!(profile.arrivals().filter(|at| (seconds(1)..seconds(6)).contains(at)).count(), 0);
        assert_eq!(profile.arrivals().count(), 20);
    }

    #[test]
    fn a_sine_swings_around_its_mean_and_never_below_zero() {
        let profile = Profile::starting_at(100.0).sine(150.0, seconds(60), seconds(120));
        assert_eq!(profile.duration(), seconds(120));
        assert!((profile.at(seconds(15)) - 250.0).abs() < 1e-6);
        assert_eq!(profile.at(seconds(45)), 0.0);
    }

    #[test]
    fn a_rate_that_is_no_number_is_zero() {
        assert_eq!(Profile::starting_at(f64::NAN).ramp_to(f64::INFINITY, seconds(9)).total(), 0.0);
    }

    fn profiles() -> impl Strategy<Value = Profile> {
        let part = (0.0..500.0f64, 1u64..4000, any::<bool>());
        proptest::collection::vec(part, 1..6).prop_map(|parts| {
            parts.into_iter().fold(Profile::starting_at(0.0), |profile, (rate, millis, step)| {
                let profile = if step { profile.step_to(rate) } else { profile };
                profile.ramp_to(rate, Duration::from_millis(millis))
            })
        })
    }

    proptest! {
        #[test]
        fn requests_come_in_order_within_the_profile_and_as_many_as_its_area(profile in profiles()) {
            let due: Vec<_> = profile.arrivals().collect();
            prop_assert!(due.is_sorted());
            prop_assert!(due.last().is_none_or(|last| *last <= profile.duration() + Duration::from_micros(1)));
            prop_assert!((due.len() as f64 - profile.total()).abs() <= 0.5 + 1e-6);
        }
    }
}
