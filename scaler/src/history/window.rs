//! The numbers of the last minutes, as the HPA's stabilisation keeps them (`stabilizeRecommendationWithBehaviors`): fewer replicas only
//! once none of them asked for more.

use std::{collections::VecDeque, time::Duration};

/// Numbers with their times in seconds, of which none is below a later one: the others can never again be the largest.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<(u32, u32)>);

impl Window {
    /// Takes in the number of this instant. Returns the largest within `length`.
    pub(super) fn largest(&mut self, at: u32, number: u32, length: Duration) -> u32 {
        while self.0.back().is_some_and(|(_, of)| *of <= number) {
            self.0.pop_back();
        }
        self.0.push_back((at, number));
        let length = u32::try_from(length.as_secs()).unwrap_or(u32::MAX);
        while self.0.len() > 1 && self.0.front().is_some_and(|(since, _)| since.saturating_add(length) <= at) {
            self.0.pop_front();
        }
        self.0.front().map_or(number, |(_, number)| *number)
    }

    /// Has every number be at most this one: a maximum applies at once.
    pub(super) fn clamp(&mut self, most: u32) {
        self.0.iter_mut().for_each(|(_, number)| *number = (*number).min(most));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_largest_of_the_numbers_within_the_window(
            numbers in prop::collection::vec((0_u32..100, 0_u32..10), 1..100), length in 0_u32..300,
        ) {
            let (mut window, mut now, mut all) = (Window::default(), 0, Vec::new());
            for (later, number) in numbers {
                now += later;
                all.push((now, number));
                let within = all.iter().filter(|(at, _)| at + length > now).map(|(_, number)| *number);
                let within = within.chain([number]).max();
                let largest = window.largest(now, number, Duration::from_secs(length.into()));
                prop_assert_eq!(Some(largest), within);
            }
        }
    }
}
