//! One gateway: what it last counted, and what it contributes to each model's tokens.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Rates, SILENT, SILENT_AT_LEAST, TokenCounters};

/// Reports that are nearer than this to the last are part of it; what they add is counted with the next.
const TOO_NEAR: Duration = Duration::from_millis(100);
/// After a restart a gateway counts about what it did before. A reset to more than ten times its rate, and more than this many
/// tokens/s, is another process behind the same address, whose counters say nothing about this second.
const ABSURD_RATE: f64 = 100_000.0;

#[derive(Debug)]
pub(super) struct Sender {
    /// It comes by itself, so that nobody notices when it does not
    pushes: bool,
    /// The set of proxies that it is part of, once it has told of any model
    fleet: Option<Arc<str>>,
    /// The last report and the one before
    last: Option<Instant>,
    before: Option<Instant>,
    /// How often it tells of a model: reports may come in parts
    every: Duration,
    /// The last report of which not all was taken in, because it was too much
    cut_short: Option<Instant>,
    error: Option<String>,
    cells: HashMap<u32, Cell>,
}

/// One model on one gateway.
#[derive(Debug, Clone, Copy)]
struct Cell {
    counters: TokenCounters,
    at: Instant,
    rates: Rates,
}

impl Sender {
    pub(super) fn new(pushes: bool) -> Self {
        let (last, before, cut_short) = (None, None, None);
        let every = Duration::ZERO;
        Self { pushes, fleet: None, last, before, every, cut_short, error: None, cells: HashMap::new() }
    }

    /// It counts for these proxies. What it told as anybody's before that was known is not told again as theirs.
    pub(super) fn is_of(&mut self, fleet: &Arc<str>) {
        if self.fleet.as_ref().is_some_and(|known| known != fleet) {
            *self = Self::new(self.pushes);
        }
        self.fleet = Some(Arc::clone(fleet));
    }

    /// Of the report of this time not all is taken in.
    pub(super) fn is_cut_short(&mut self, at: Instant) {
        self.cut_short = Some(at);
    }

    /// Models that it tells of.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// It does not answer; whether that is new.
    pub(super) fn fails(&mut self, error: String) -> bool {
        self.error.replace(error).is_none()
    }

    /// Takes in a report of all or of some models; whether it had failed before. `since` says from when on a report that is
    /// without a model says that there is nothing of it.
    pub(super) fn take_in(
        &mut self,
        at: Instant,
        counted: &[(u32, TokenCounters)],
        since: impl Fn(u32) -> Option<Instant>,
    ) -> bool {
        let near = |then: Instant| at.saturating_duration_since(then) < TOO_NEAR;
        if !self.last.is_some_and(near) {
            self.before = self.last.replace(at);
        }
        let mut every = None;
        for (id, counters) in counted {
            match self.cells.get_mut(id) {
                Some(cell) if near(cell.at) => {}
                Some(cell) => {
                    let gap = at.saturating_duration_since(cell.at);
                    every = Some(every.map_or(gap, |every: Duration| every.min(gap)));
                    *cell = cell.after(*counters, at);
                }
                None => {
                    let was_complete = |before: &Instant| {
                        since(*id).is_some_and(|since| since < *before)
                            && self.cut_short.is_none_or(|cut_short| cut_short < *before)
                    };
                    let cell = match self.before.filter(was_complete) {
                        // It was not there in the last report: it has counted from 0 since.
                        Some(before) => {
                            let nothing = TokenCounters::default();
                            Cell { counters: nothing, at: before, rates: Rates::default() }.after(*counters, at)
                        }
                        // The first values are of no known time.
                        None => Cell { counters: *counters, at, rates: Rates::default() },
                    };
                    self.cells.insert(*id, cell);
                }
            }
        }
        self.every = every.unwrap_or(self.every);
        self.error.take().is_some()
    }

    /// Notices who has gone silent, and what is not told of any more.
    pub(super) fn look(&mut self, now: Instant) {
        let Some(last) = self.last.filter(|_| self.is_rated()) else { return };
        let untold = |cell: &&mut Cell| last.saturating_duration_since(cell.at) > self.every * 2;
        self.cells.values_mut().filter(untold).for_each(|cell| cell.rates = Rates::default());
        let silence = now.saturating_duration_since(last);
        if self.pushes && silence > (self.every * SILENT).max(SILENT_AT_LEAST) {
            self.error = Some(format!("it has pushed nothing for {} s", silence.as_secs()));
        }
    }

    /// Nobody else says whether it is still there, and its last word is too old.
    pub(super) fn is_over(&self, now: Instant, stale_after: Duration) -> bool {
        self.pushes && self.last.is_some_and(|last| now.saturating_duration_since(last) > stale_after)
    }

    /// Whether what it contributes is known.
    pub(super) fn is_rated(&self) -> bool {
        self.before.is_some()
    }

    /// When it last reported, where it still does and contributes.
    pub(super) fn answered(&self) -> Option<Instant> {
        self.last.filter(|_| self.error.is_none() && self.is_rated())
    }

    pub(super) fn heard(&self) -> Option<Instant> {
        self.last
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub(super) fn rates(&self) -> impl Iterator<Item = (u32, Rates)> {
        self.cells.iter().map(|(id, cell)| (*id, cell.rates))
    }

    pub(super) fn forget(&mut self, id: u32) {
        self.cells.remove(&id);
    }
}

impl Cell {
    fn after(&self, now: TokenCounters, at: Instant) -> Self {
        // A counter that went down has counted from 0, and then all of them have.
        let then = self.counters;
        let reset = now.input < then.input || now.output < then.output || now.requests < then.requests;
        let base = if reset { TokenCounters::default() } else { then };
        let cached = (now.cached - base.cached).max(0.0);
        let uncached = (now.input - base.input - cached).max(0.0);
        let seconds = at.saturating_duration_since(self.at).as_secs_f64().max(TOO_NEAR.as_secs_f64());
        let rates = [uncached, now.output - base.output, now.requests - base.requests].map(|count| count / seconds);
        let absurd = |i: usize| rates[i] > ABSURD_RATE.max(10.0 * f64::from(self.rates[i]));
        let rates = if reset && (absurd(0) || absurd(1)) { self.rates } else { rates.map(|rate| rate.max(0.0) as f32) };
        Self { counters: now, at, rates }
    }
}
