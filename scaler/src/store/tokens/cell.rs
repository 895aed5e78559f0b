//! One model on one gateway.

use std::time::Duration;

use tokio::time::Instant;

use super::{Counted, TokenCounters};

/// Reports that are nearer than this to the last one are part of it; their additions are counted with the next one.
pub(super) const TOO_NEAR: Duration = Duration::from_millis(100);

use crate::store::{WINDOW, counts::Counts, plausible};

#[derive(Debug)]
pub(super) struct Cell {
    counters: TokenCounters,
    at: Instant,
    counts: Counts<4>,
    untold: Untold,
    lacking: Option<Lacking>,
    /// Time of the first report, if something had been counted before that
    young: Option<Instant>,
}

/// Absence of the model from a gateway's reports, which had it before.
#[derive(Debug, Clone, Copy)]
struct Lacking {
    since: Instant,
    /// There is a new process, which has counted nothing of it so far
    started: bool,
    /// The absence is longer than values are held
    too_long: bool,
}

/// Requests without token counts. The two counters are not read at the same moment, so only requests that two reports show are
/// counted, each once.
#[derive(Debug, Default, Clone, Copy)]
struct Untold {
    last: f64,
    most: f64,
}

impl Untold {
    fn of(counters: &TokenCounters) -> Self {
        let untold = counters.answered - counters.requests;
        Self { last: untold, most: untold }
    }

    fn more(&mut self, now: &TokenCounters) -> f64 {
        let untold = now.answered - now.requests;
        let settled = self.last.min(untold);
        let more = (settled - self.most).max(0.0);
        *self = Self { last: untold, most: self.most.max(settled) };
        more
    }
}

impl Cell {
    /// Creates the state of a model that is reported for the first time. The time in which it counted these is not known.
    pub(super) fn new(counters: TokenCounters, at: Instant) -> Self {
        let young = (counters != TokenCounters::default()).then_some(at);
        Self { counters, at, counts: Counts::since(at), untold: Untold::of(&counters), lacking: None, young }
    }

    /// Returns the time of its last report.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// Whether a counter went down: then it has counted from 0, and so have all others.
    pub(super) fn is_more_than(&self, now: &TokenCounters) -> bool {
        let then = &self.counters;
        now.input < then.input || now.output < then.output || now.requests < then.requests
    }

    /// Records the next report, and returns the counts since the last one: input tokens without cached ones, output tokens, requests,
    /// and requests without token counts. Returns an error if no gateway can have counted that much; the rate then stays as it was,
    /// and the next report is compared with this one.
    pub(super) fn take_in(&mut self, now: TokenCounters, at: Instant) -> Result<Counted, String> {
        let reset = self.is_more_than(&now);
        let then = if reset { TokenCounters::default() } else { self.counters };
        if reset {
            self.untold = Untold::default();
        }
        let seconds = at.saturating_duration_since(self.at).max(TOO_NEAR).as_secs_f64();
        let [input, cached, output] = [now.input - then.input, now.cached - then.cached, now.output - then.output];
        let requests = now.requests - then.requests;
        let without = if input + output == 0.0 { requests } else { 0.0 };
        let untold = self.untold.more(&now) + without;
        let more = [(input - cached.max(0.0)).max(0.0), output, requests, untold];
        (self.counters, self.at, self.lacking) = (now, at, None);
        self.young = self.young.filter(|young| at.saturating_duration_since(*young) < WINDOW);
        let rates = self.rates();
        let another = reset && (0..2).any(|i| plausible::is_of_another(more[i], seconds, rates[i]));
        let checked = plausible::check(input.max(output), requests, seconds);
        if another || checked.is_err() {
            self.counts.skip(at);
            return checked.map(|()| Counted::default());
        }
        self.counts.add(more, at);
        Ok(more)
    }

    /// Records that the gateway answers and its report lacks this model. `started` means that its process is a new one.
    pub(super) fn is_lacking(&mut self, at: Instant, started: bool) {
        let lacking = self.lacking.get_or_insert(Lacking { since: at, started, too_long: false });
        lacking.started |= started;
        if lacking.started {
            (self.counters, self.at, self.untold) = (TokenCounters::default(), at, Untold::default());
        }
        if lacking.started && !lacking.too_long {
            self.counts.skip(at);
        }
    }

    /// Closes a second. A missing model is held for `stale_after`: then a new process is known to have counted nothing.
    pub(super) fn look(&mut self, now: Instant, stale_after: Duration) {
        let Some(lacking) = &mut self.lacking else { return };
        lacking.too_long = now.saturating_duration_since(lacking.since) > stale_after;
        if lacking.too_long && lacking.started {
            self.counts.add(Counted::default(), now);
        }
    }

    /// Returns why there is, or may be, more than is known, if so.
    pub(super) fn unknown(&self) -> Option<&'static str> {
        let lost = self.lacking.is_some_and(|lacking| lacking.too_long && !lacking.started);
        if lost {
            return Some("shows its tokens no more, though counters cannot vanish while a process runs");
        }
        self.young.map(|_| "has reported it for less than 30 s")
    }

    /// Records that nothing is counted.
    pub(super) fn rests(&mut self, now: Instant) {
        self.counts.add(Counted::default(), now);
    }

    /// Records that no more reports will come: from now on nothing is counted.
    pub(super) fn ends(&mut self, now: Instant) {
        self.counts.skip(now);
    }

    pub(super) fn rates(&self) -> Counted {
        self.counts.means()
    }
}
