//! Stabilisation by the recommendations of the last minutes: `stabilizeRecommendation` and
//! `stabilizeRecommendationWithBehaviors` (`horizontal.go`).

use std::time::Duration;

/// The latest unstabilised recommendations. A new one replaces one that is too old for any window.
#[derive(Debug, Clone, Default)]
pub(super) struct Recommendations(Vec<Recommendation>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Recommendation {
    replicas: u32,
    at: Duration,
}

impl Recommendation {
    /// Whether it is at the window's edge or younger. Kubernetes treats the edge differently with and without a behavior.
    fn is_within_or_at_edge(self, now: Duration, window: Duration) -> bool {
        self.at.saturating_add(window) >= now
    }

    fn is_within(self, now: Duration, window: Duration) -> bool {
        self.at.saturating_add(window) > now
    }
}

impl Recommendations {
    /// `recordInitialRecommendation`: the replicas at the controller's first sync are the first recommendation.
    pub(super) fn remember_initial(&mut self, now: Duration, current: u32) {
        if self.0.is_empty() {
            self.0.push(Recommendation { replicas: current, at: now });
        }
    }

    /// Without a behavior: the highest recommendation within the window, the new one included.
    pub(super) fn stabilize(&mut self, now: Duration, window: Duration, wanted: u32) -> u32 {
        let is_young = |r: &Recommendation| r.is_within_or_at_edge(now, window);
        let highest = self.0.iter().filter(|r| is_young(r)).map(|r| r.replicas).fold(wanted, u32::max);
        let old = self.0.iter().rposition(|r| !is_young(r));
        self.remember(old, now, wanted);
        highest
    }

    /// With a behavior: the current replicas, raised to the lowest recommendation of the up-window and lowered to the
    /// highest of the down-window.
    pub(super) fn stabilize_with_behavior(
        &mut self,
        now: Duration,
        (up, down): (Duration, Duration),
        current: u32,
        wanted: u32,
    ) -> u32 {
        let within = |window| self.0.iter().filter(move |r| r.is_within(now, window)).map(|r| r.replicas);
        let lowest = within(up).fold(wanted, u32::min);
        let highest = within(down).fold(wanted, u32::max);
        let old = self.0.iter().rposition(|r| !r.is_within_or_at_edge(now, up.max(down)));
        self.remember(old, now, wanted);
        current.max(lowest).min(highest)
    }

    fn remember(&mut self, in_place_of: Option<usize>, now: Duration, wanted: u32) {
        let recommendation = Recommendation { replicas: wanted, at: now };
        match in_place_of.and_then(|index| self.0.get_mut(index)) {
            Some(old) => *old = recommendation,
            None => self.0.push(recommendation),
        }
    }

    #[cfg(test)]
    pub(super) fn from_parts(parts: impl IntoIterator<Item = (u32, Duration)>) -> Self {
        Self(parts.into_iter().map(|(replicas, at)| Recommendation { replicas, at }).collect())
    }

    #[cfg(test)]
    pub(super) fn replicas(&self) -> Vec<u32> {
        self.0.iter().map(|r| r.replicas).collect()
    }
}
