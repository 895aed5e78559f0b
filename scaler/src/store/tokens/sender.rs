//! One gateway: its last counts, and its contribution to each model's tokens.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Counted, SILENT, SILENT_AT_LEAST, TokenCounters,
    cell::{Cell, TOO_NEAR},
};
use crate::store::WINDOW;

#[derive(Debug)]
pub(super) struct Sender {
    /// It sends reports unasked, so a missing one goes unnoticed
    pushes: bool,
    /// The set of proxies that it is part of, once it has reported any model
    fleet: Option<Arc<str>>,
    /// The last report and the one before
    last: Option<Instant>,
    before: Option<Instant>,
    /// Interval at which it reports a model: reports may come in parts
    every: Duration,
    /// The last report that was only partly recorded, because it was too large
    cut_short: Option<Instant>,
    error: Option<String>,
    cells: HashMap<u32, Cell>,
    /// Models that it no longer reports, and since when: they fade out of the window
    ended: Vec<(u32, Instant, Cell)>,
}

/// A model in a report.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) id: u32,
    pub(super) counters: TokenCounters,
    /// First time anyone asked for it: an earlier report that lacks it does not mean that there was nothing of it
    pub(super) since: Instant,
}

impl Sender {
    pub(super) fn new(pushes: bool) -> Self {
        Self {
            pushes,
            fleet: None,
            last: None,
            before: None,
            every: Duration::ZERO,
            cut_short: None,
            error: None,
            cells: HashMap::new(),
            ended: Vec::new(),
        }
    }

    /// Sets the proxies that it counts for. Tokens that it reported before these were known are not reported again as theirs.
    pub(super) fn is_of(&mut self, fleet: &Arc<str>, now: Instant) {
        if self.fleet.as_ref().is_some_and(|known| known != fleet) {
            self.ends(now);
        }
        self.fleet = Some(Arc::clone(fleet));
    }

    /// Marks the report of this time as only partly recorded.
    pub(super) fn is_cut_short(&mut self, at: Instant) {
        self.cut_short = Some(at);
    }

    /// Returns the number of models that it reports.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Records that it does not answer; returns whether that is new.
    pub(super) fn fails(&mut self, error: String) -> bool {
        self.error.replace(error).is_none()
    }

    /// Records a report of all or of some models, and returns whether the gateway had failed before. `counted_more` gets the counts of
    /// each model since the last report. `started` is whether the report is empty, as it is when a process has just started.
    pub(super) fn take_in(
        &mut self,
        at: Instant,
        report: &[Told],
        mut started: bool,
        mut counted_more: impl FnMut(u32, Counted),
    ) -> bool {
        let failed = self.error.take().is_some();
        let near = |then: Instant| at.saturating_duration_since(then) < TOO_NEAR;
        if !self.last.is_some_and(near) {
            self.before = self.last.replace(at);
        }
        let mut every = None;
        for Told { id, counters, since } in report {
            let (then, has_started) = match self.cells.get(id) {
                Some(cell) if near(cell.at()) => continue,
                Some(cell) => (Some(cell.at()), cell.is_more_than(counters)),
                None => (None, false),
            };
            let gap = then.map(|then| at.saturating_duration_since(then));
            every = [every, gap].into_iter().flatten().min();
            started |= has_started;
            let before = self.before.filter(|before| self.was_complete(*since, *before));
            let new = || match before {
                // The model was not in the last report: it has counted from 0 since.
                Some(before) => Cell::new(TokenCounters::default(), before),
                // The time in which the first values were counted is not known.
                None => Cell::new(*counters, at),
            };
            match self.cells.entry(*id).or_insert_with(new).take_in(*counters, at) {
                Ok(more) => counted_more(*id, more),
                Err(error) => self.error = Some(error),
            }
        }
        if !self.pushes {
            let told = |cell: &Cell| near(cell.at());
            self.cells.values_mut().filter(|cell| !told(cell)).for_each(|cell| cell.is_lacking(at, started));
        }
        self.every = every.unwrap_or(self.every);
        failed && self.error.is_none()
    }

    /// Whether a report of this time would have included a model that is wanted since `since`.
    fn was_complete(&self, since: Instant, report: Instant) -> bool {
        since < report && self.cut_short.is_none_or(|cut_short| cut_short < report)
    }

    /// Closes a second: notices silence, and models that are no longer reported.
    pub(super) fn look(&mut self, now: Instant, stale_after: Duration) {
        self.ended.retain(|(_, ended, _)| now.saturating_duration_since(*ended) < WINDOW);
        self.ended.iter_mut().for_each(|(_, _, cell)| cell.rests(now));
        let Some(last) = self.last.filter(|_| self.is_rated()) else { return };
        if !self.pushes {
            self.cells.values_mut().for_each(|cell| cell.look(now, stale_after));
            return;
        }
        let untold = |cell: &&mut Cell| last.saturating_duration_since(cell.at()) > self.every * 2;
        self.cells.values_mut().filter(untold).for_each(|cell| cell.rests(now));
        let silence = now.saturating_duration_since(last);
        if silence > (self.every * SILENT).max(SILENT_AT_LEAST) {
            self.error = Some(format!("it has pushed nothing for {} s", silence.as_secs()));
        }
    }

    /// Records that it is gone, or another one now: its contributions fade out of the window.
    pub(super) fn ends(&mut self, now: Instant) {
        let mut ended = std::mem::replace(self, Self::new(self.pushes));
        ended.cells.values_mut().for_each(|cell| cell.ends(now));
        let cells = ended.cells.into_iter().map(|(id, cell)| (id, now, cell));
        self.ended = ended.ended.into_iter().chain(cells).collect();
    }

    /// Whether it exists, or did until less than 30 s ago.
    pub(super) fn is_there(&self) -> bool {
        self.has_reported() || !self.ended.is_empty()
    }

    /// Whether it has reported anything, or failed to, and is not gone since.
    pub(super) fn has_reported(&self) -> bool {
        self.last.is_some() || self.error.is_some()
    }

    /// Whether only its own reports show that it still exists, and the last one is too old.
    pub(super) fn is_over(&self, now: Instant, stale_after: Duration) -> bool {
        self.pushes && self.last.is_some_and(|last| now.saturating_duration_since(last) > stale_after)
    }

    /// Whether its contribution is known.
    pub(super) fn is_rated(&self) -> bool {
        self.before.is_some()
    }

    /// Returns the time of its last report, if it still reports and contributes.
    pub(super) fn answered(&self) -> Option<Instant> {
        self.last.filter(|_| self.error.is_none() && self.is_rated())
    }

    /// Returns why its contribution is not known, or too old.
    pub(super) fn unknown(&self, name: &str, ready: bool, now: Instant, stale_after: Duration) -> Option<String> {
        let silent = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        match &self.error {
            Some(error) if self.is_rated() && silent > stale_after => {
                Some(format!("AI gateway {name} has not answered for {} s: {error}", silent.as_secs()))
            }
            _ if !ready || self.is_rated() => None,
            Some(error) => Some(format!("AI gateway {name} is ready and never answered: {error}")),
            None => Some(format!("AI gateway {name} has not answered twice yet")),
        }
    }

    /// Returns the models that have more tokens than it reports, or may have, and why.
    pub(super) fn unknown_models(&self) -> impl Iterator<Item = (u32, &'static str)> {
        self.cells.iter().filter_map(|(id, cell)| Some((*id, cell.unknown()?)))
    }

    pub(super) fn heard(&self) -> Option<Instant> {
        self.last
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub(super) fn rates(&self) -> impl Iterator<Item = (u32, Counted)> {
        let ended = self.ended.iter().map(|(id, _, cell)| (*id, cell.rates()));
        self.cells.iter().map(|(id, cell)| (*id, cell.rates())).chain(ended)
    }

    pub(super) fn forget(&mut self, id: u32) {
        self.cells.remove(&id);
        self.ended.retain(|(ended, ..)| *ended != id);
    }
}
