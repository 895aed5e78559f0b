//! The number of proxies: up at once, down after a while, one at a time.

use std::{collections::VecDeque, time::Duration};

use tidegate_core::fleet::Policy;
use tokio::time::Instant;

/// The numbers of proxies that were wanted lately, which a scale-down has to wait for.
#[derive(Debug, Default)]
pub struct History {
    /// When last wanted, and how many; the numbers fall from front to back, since one followed by a higher one never matters again
    wanted: VecDeque<(Instant, u32)>,
    begun: Option<Instant>,
    stepped: Option<Instant>,
}

/// How many proxies there should be, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Replicas to set
    pub replicas: u32,
    /// Replicas that are wanted now, before any wait; `None` while that is not known
    pub wanted: Option<u32>,
}

impl History {
    /// Decides. `need` is the number of proxies that the traffic needs, 0 where only hours apply; `None` while it is not measured.
    ///
    /// Nothing is scaled down on missing data, nor before a whole window of wanted numbers has been seen: after a restart that
    /// takes a window. A proxy that is removed drains, so the next one waits until it has.
    pub fn decide(
        &mut self,
        current: u32,
        need: Option<u32>,
        policy: &Policy,
        drain: Duration,
        now: Instant,
    ) -> Decision {
        let wanted = match policy.limits.cap {
            // Closed is closed, whether or not anything was measured.
            Some(0) => Some(0),
            _ => need.map(|need| policy.wanted(need)),
        };
        let at_least = wanted.unwrap_or_else(|| current.max(policy.limits.floor));
        let begun = *self.begun.get_or_insert(now);
        while self.wanted.back().is_some_and(|(_, earlier)| *earlier <= at_least) {
            self.wanted.pop_back();
        }
        self.wanted.push_back((now, at_least));
        let is_over = |(at, _): &(Instant, u32)| *at < now && now.duration_since(*at) >= policy.scale_down_after;
        while self.wanted.front().is_some_and(is_over) {
            self.wanted.pop_front();
        }
        let replicas = if at_least > current {
            at_least
        } else {
            let highest = self.wanted.front().map_or(at_least, |(_, most)| *most);
            let seen = now.duration_since(begun) >= policy.scale_down_after;
            let drained = self.stepped.is_none_or(|stepped| now.duration_since(stepped) >= drain);
            if seen && drained && highest < current {
                self.stepped = Some(now);
                current - 1
            } else {
                current
            }
        };
        Decision { replicas, wanted }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_core::schedule::Limits;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);
    const DRAIN: Duration = Duration::from_secs(60);

    fn policy(floor: u32, cap: Option<u32>) -> Policy {
        Policy {
            limits: Limits { floor, cap },
            max: 10,
            targets: Vec::new(),
            scale_down_after: WINDOW,
            next_change: None,
        }
    }

    /// A fleet that is decided on once a second, and follows each decision at once.
    struct Fleet {
        history: History,
        now: Instant,
        replicas: u32,
    }

    impl Fleet {
        fn of(replicas: u32) -> Self {
            Self { history: History::default(), now: Instant::now(), replicas }
        }

        fn runs(&mut self, seconds: u64, need: Option<u32>, policy: &Policy) -> u32 {
            for _ in 0..seconds {
                self.now += Duration::from_secs(1);
                self.replicas = self.history.decide(self.replicas, need, policy, DRAIN, self.now).replicas;
            }
            self.replicas
        }
    }

    #[test]
    fn up_is_at_once() {
        let mut fleet = Fleet::of(1);
        assert_eq!(fleet.runs(1, Some(7), &policy(1, None)), 7);
        assert_eq!(fleet.runs(1, Some(99), &policy(1, None)), 10, "never above the maximum");
    }

    #[test]
    fn down_is_after_the_window_and_one_at_a_time_as_each_has_drained() {
        let mut fleet = Fleet::of(1);
        let open = policy(1, None);
        fleet.runs(400, Some(4), &open);
        assert_eq!(fleet.runs(299, Some(1), &open), 4);
        assert_eq!(fleet.runs(1, Some(1), &open), 3);
        assert_eq!(fleet.runs(59, Some(1), &open), 3);
        assert_eq!(fleet.runs(1, Some(1), &open), 2);
        assert_eq!(fleet.runs(600, Some(1), &open), 1);
    }

    #[test]
    fn a_peak_within_the_window_holds() {
        let mut fleet = Fleet::of(4);
        let open = policy(1, None);
        for _ in 0..10 {
            fleet.runs(1, Some(4), &open);
            assert_eq!(fleet.runs(250, Some(1), &open), 4);
        }
    }

    #[test]
    fn a_restart_takes_nothing_away_before_a_window_was_seen() {
        let mut fleet = Fleet::of(6);
        assert_eq!(fleet.runs(300, Some(1), &policy(1, None)), 6);
        assert_eq!(fleet.runs(2, Some(1), &policy(1, None)), 5);
    }

    #[test]
    fn missing_data_holds_and_the_floor_still_raises() {
        let mut fleet = Fleet::of(3);
        assert_eq!(fleet.runs(2000, None, &policy(1, None)), 3);
        assert_eq!(fleet.runs(2000, None, &policy(1, Some(1))), 3, "the cap needs to know what it caps");
        assert_eq!(fleet.runs(1, None, &policy(5, None)), 5);
    }

    #[test]
    fn outside_hours_the_cap_holds_down_and_zero_needs_no_measurement() {
        let mut fleet = Fleet::of(3);
        assert_eq!(fleet.runs(2000, Some(9), &policy(1, Some(2))), 2);
        assert_eq!(fleet.runs(2000, None, &policy(0, Some(0))), 0);
        assert_eq!(fleet.runs(1, Some(0), &policy(2, None)), 2, "at opening the floor is there at once");
    }

    proptest! {
        #[test]
        fn it_never_takes_away_more_than_one_per_drain_nor_anything_that_was_needed_within_the_window(
            needs in proptest::collection::vec(proptest::option::of(0u32..12), 1..40), start in 0u32..10,
        ) {
            let mut fleet = Fleet::of(start);
            let open = policy(1, None);
            let mut lately = VecDeque::new();
            for need in needs {
                for _ in 0..30 {
                    let before = fleet.replicas;
                    lately.push_back(need);
                    if lately.len() > 300 { lately.pop_front(); }
                    let after = fleet.runs(1, need, &open);
                    prop_assert!(after + 1 >= before);
                    if after < before {
                        prop_assert_eq!(lately.len(), 300);
                        prop_assert!(lately.iter().all(|need| need.is_some_and(|need| need.clamp(1, 10) < before)));
                    }
                }
            }
        }
    }
}
