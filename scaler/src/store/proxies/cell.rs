//! One cluster on one proxy: the growth of its counters becomes traffic.

use crate::store::{
    plausible::{Implausible, check_cluster},
    sample::Counters,
    window::{LONG, Values},
};

/// The information in one answer about one cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::store) struct Span {
    /// Traffic since the previous answer, per second
    pub(in crate::store) carried: Values,
    /// Traffic that was assumed for that time until now
    pub(in crate::store) stood: Values,
    /// Traffic that is assumed for the time after this answer
    pub(in crate::store) stands: Values,
}

/// One cluster on one proxy.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Cell {
    pub(in crate::store) id: u32,
    /// Number of answers that did not show the cluster since it was last shown, and their time in seconds
    absent: u8,
    absent_for: f32,
    /// Whether its traffic is known: two answers showed it
    pub(in crate::store) is_rated: bool,
    /// Traffic that is assumed for the time after the last answer: the requests/s of the last 10 s or so, requests in flight, connections
    pub(in crate::store) stands: Values,
    requests: f64,
    refused: f64,
    retries: f64,
}

/// A cluster that was not shown in this many answers has counted from 0 when it comes back.
const REMEMBERED: u8 = 240;
/// Seconds over which the usual rate is averaged.
const USUAL: f64 = 10.0;

/// The time since the previous answer, computed once for all clusters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    seconds: f64,
    /// Weight of the newest rate in the usual rate after that time
    fade: f64,
}

impl Passed {
    pub(super) fn of(seconds: f64) -> Self {
        Self { seconds, fade: 1.0 - (-seconds / USUAL).exp() }
    }
}

impl Cell {
    /// Creates a cell that has counted nothing.
    pub(super) fn new(id: u32) -> Self {
        Self {
            id,
            absent: 0,
            absent_for: 0.0,
            is_rated: false,
            stands: [0.0; 3],
            requests: 0.0,
            refused: 0.0,
            retries: 0.0,
        }
    }

    /// Whether the proxy's last answer showed it.
    pub(in crate::store) fn is_shown(&self) -> bool {
        self.absent == 0
    }

    /// Whether it was never used since its proxy started.
    pub(in crate::store) fn is_unused(&self) -> bool {
        self.requests + self.refused == 0.0 && self.stands == [0.0; 3]
    }

    /// Creates a cell from the first counters: the time in which they were counted is not known. A cluster that was never used has
    /// carried nothing.
    pub(super) fn baseline(id: u32, counters: &Counters) -> Self {
        let is_rated = counters.requests + counters.refused == 0.0;
        let stands = [0.0, counters.in_flight as f32, counters.connections as f32];
        let mut cell = Self { is_rated, stands, ..Self::new(id) };
        cell.count(counters);
        cell
    }

    /// Records counters, and returns their information about the time since the previous answer. `stood` is whether the assumed traffic
    /// was in the seconds that were closed since.
    #[inline]
    pub(super) fn take_in(&mut self, counters: &Counters, passed: Passed, stood: bool) -> Result<Span, Implausible> {
        match self.span(counters, passed, stood) {
            Ok(span) => {
                (self.stands, self.is_rated) = (span.stands, true);
                self.count(counters);
                Ok(span)
            }
            Err(error) => {
                self.is_rated |= counters.requests + counters.refused == 0.0;
                self.count(counters);
                Err(error)
            }
        }
    }

    fn count(&mut self, counters: &Counters) {
        let Counters { requests, refused, retries, .. } = *counters;
        *self = Self { absent: 0, absent_for: 0.0, requests, refused, retries, ..*self };
    }

    #[inline]
    fn span(&self, counters: &Counters, passed: Passed, stood: bool) -> Result<Span, Implausible> {
        // For the time in which it was not shown only the sum is known: it is spread over that time.
        let passed = if self.is_shown() { passed } else { Passed::of(passed.seconds + f64::from(self.absent_for)) };
        let (demand, began_anew) = self.demand(counters);
        let measured = demand / passed.seconds;
        check_cluster(measured, counters.connections.max(f64::from(self.stands[2])))?;
        // The counts between the last answer and a restart are lost: the rest is a lower bound.
        let rate = if began_anew { measured.max(f64::from(self.stands[0])) } else { measured };
        let carried = [rate as f32, counters.in_flight as f32, counters.connections as f32];
        let usual = if self.is_rated { self.usual_with(rate, passed) } else { carried[0] };
        let stood = if stood && self.is_rated && self.is_shown() { self.stands } else { [0.0; 3] };
        // The usual rate, not that of the last second, which may have been a quiet one or a busy one.
        Ok(Span { carried, stood, stands: [usual, carried[1], carried[2]] })
    }

    fn usual_with(&self, rate: f64, passed: Passed) -> f32 {
        let usual = f64::from(self.stands[0]);
        let usual = usual + (rate - usual) * passed.fade;
        // A single request in the whole window is more than this; below it a rate only fades, and becomes zero.
        if usual * f64::from(LONG) < 0.5 { 0.0 } else { usual as f32 }
    }

    /// Records that the cluster is not in this answer. Its counters are remembered for a while, because they go on where they were if
    /// it comes back soon. Returns whether that while is over.
    pub(super) fn is_absent_too_long(&mut self, passed: Passed) -> bool {
        self.absent += 1;
        self.absent_for += passed.seconds as f32;
        !self.is_remembered()
    }

    /// Whether its counters are still remembered, shown or not.
    pub(super) fn is_remembered(&self) -> bool {
        self.absent <= REMEMBERED
    }

    /// Returns the requests that users sent since, and whether the counters restarted in between. As in Prometheus, a counter that
    /// went down has counted from 0.
    fn demand(&self, now: &Counters) -> (f64, bool) {
        let since = |now: f64, then: f64| if now < then { (now, true) } else { (now - then, false) };
        let (sent, sent_anew) = since(now.requests, self.requests);
        let (refused, refused_anew) = since(now.refused, self.refused);
        let (retries, retries_anew) = since(now.retries, self.retries);
        ((sent + refused - retries).max(0.0), sent_anew || refused_anew || retries_anew)
    }
}
