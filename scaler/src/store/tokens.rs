//! Tokens by the names of their models, summed over all gateways that count them.
//!
//! A gateway records the tokens of a request when its stream ends, so they come in lumps: rates are means over 30 s, without the
//! short window that other signals have. A model had no tokens before its first report: these seconds are zeros.
//!
//! Missing data is not missing demand here either:
//! - until 30 s were measured, the sum is a lower bound, and so is that of a model with an unknown past on one gateway;
//! - a gateway that does not answer contributes its last mean until it is gone from the Plan, and makes the sum a lower bound once
//!   that mean is older than `stale_after`; a silent gateway that pushed is considered gone at that time;
//! - a model that disappears from a page is held in the same way, unless the process has restarted;
//! - requests whose answers had no token counts make the sum of their model unknown;
//! - while no gateway answers, nothing is written at all, and the readings grow old.

mod cell;
mod sender;
mod shown;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tidegate_core::{
    llm::{ModelShare, TokenNames},
    measured::Measured,
    plan::Plan,
};
use tokio::time::Instant;

use self::sender::{Sender, Told};
pub(crate) use self::shown::{ShownTokens, TokenRates};
use super::{FORGET_AFTER, MAX_NAMED, SourceStatus, window::LONG};

/// The counts of a gateway under some names since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TokenCounters {
    /// Input tokens, cached ones included
    pub input: f64,
    /// Input tokens among these that the backend had in its prefix cache
    pub cached: f64,
    /// Output tokens, reasoning tokens included
    pub output: f64,
    /// Requests that these tokens belong to
    pub requests: f64,
    /// Requests that ended well, with or without token counts; 0 if that is not reported
    pub answered: f64,
}

/// Uncached input tokens, output tokens, requests, and requests without token counts.
type Counted = [f64; 4];

/// The reason that reported tokens are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TokenRefusal {
    /// Nothing in the Plan uses the model
    Unwanted,
    /// There are too many models, of one sender or in total
    TooMany,
}

/// Maximum number of models of one sender. More are a mistake, or an attack.
const MAX_OF_SENDER: usize = 5_000;
/// Maximum number of models in total.
const MAX_SERIES: usize = 20_000;
/// Number of its usual intervals after which a silent sender that pushes is considered not to answer.
const SILENT: u32 = 3;
/// Shortest silence after which a sender is considered not to answer.
const SILENT_AT_LEAST: Duration = Duration::from_secs(15);
/// Decay per second of the recent mean of a request: half of it is from the last 5 min.
const REMEMBERED: f64 = 1.0 / 432.0;

#[derive(Debug, Default)]
pub(super) struct Tokens {
    wanted: Wanted,
    ids: HashMap<Arc<TokenNames>, u32>,
    series: Vec<Option<Series>>,
    free: Vec<u32>,
    senders: HashMap<Arc<str>, Sender>,
    /// When something was last measured
    newest: Option<Instant>,
    /// Seconds that were measured, to know when the window is full
    measured: f64,
    /// When a second was last closed
    closed: Option<Instant>,
    failure: Option<String>,
    incomplete: Option<String>,
}

#[derive(Debug)]
struct Series {
    names: Arc<TokenNames>,
    /// First time anyone asked for this model. An earlier report that lacks it does not mean zero traffic
    since: Instant,
    /// Rates over the window
    rates: Counted,
    /// Counts since the last second was closed
    counted: Counted,
    /// Earlier counts, with less and less weight on older ones
    recent: Counted,
    idle: u16,
}

/// The wanted models, and since when each is wanted.
#[derive(Debug, Default)]
struct Wanted {
    planned: HashMap<String, Instant>,
    /// Since when some rule accepts any model
    any: Option<Instant>,
    /// Models of hand-written triggers
    named: HashMap<String, Named>,
}

#[derive(Debug, Clone, Copy)]
struct Named {
    since: Instant,
    asked: Instant,
}

impl Wanted {
    fn since(&self, request: &str) -> Option<Instant> {
        let named = self.named.get(request).map(|named| named.since);
        [self.any, self.planned.get(request).copied(), named].into_iter().flatten().min()
    }
}

impl Tokens {
    /// Keeps the models that the Plan names.
    pub(super) fn plan(&mut self, plan: &Plan, now: Instant) {
        let known = std::mem::take(&mut self.wanted.planned);
        let known_any = self.wanted.any.take();
        let mut add = |models: &[String]| {
            if models.is_empty() {
                self.wanted.any = Some(known_any.unwrap_or(now));
            }
            let since = |model: &String| (model.clone(), known.get(model).copied().unwrap_or(now));
            self.wanted.planned.extend(models.iter().map(since));
        };
        for rule in &plan.ai_rules {
            (0..rule.backends.len()).for_each(|backend| add(rule.asked_for(backend)));
        }
        let shares = plan.workloads.values().flat_map(|workload| &workload.models);
        shares.map(ModelShare::asked_for).for_each(&mut add);
    }

    /// Keeps a model that a hand-written trigger names.
    pub(super) fn keep(&mut self, model: &str, now: Instant) {
        if let Some(named) = self.wanted.named.get_mut(model) {
            named.asked = now;
        } else if self.wanted.named.len() < MAX_NAMED {
            self.wanted.named.insert(model.to_owned(), Named { since: now, asked: now });
        }
    }

    /// Records a gateway's counts, or why it does not answer. Returns the refusals, and whether the gateway's health changed.
    pub(super) fn sampled(
        &mut self,
        sender: &str,
        at: Instant,
        sample: Result<&[(TokenNames, TokenCounters)], String>,
        pushes: bool,
    ) -> (Vec<TokenRefusal>, bool) {
        if !self.senders.contains_key(sender) {
            if self.senders.len() >= MAX_NAMED {
                return (vec![TokenRefusal::TooMany; sample.map_or(0, <[_]>::len)], false);
            }
            self.senders.insert(sender.into(), Sender::new(pushes));
        }
        let sample = match sample {
            Ok(sample) => sample,
            Err(error) => {
                let known = self.senders.get_mut(sender);
                return (Vec::new(), known.is_some_and(|known| known.fails(error)));
            }
        };
        let of_sender = self.senders.get(sender).map_or(0, Sender::len);
        let mut refused = Vec::new();
        let mut counted = Vec::with_capacity(sample.len());
        let mut new = 0;
        for (names, counters) in sample {
            if let Some((id, since)) = self.known(names) {
                counted.push(Told { id, counters: *counters, since });
                continue;
            }
            match self.wanted.since(&names.request) {
                None => refused.push(TokenRefusal::Unwanted),
                Some(_) if self.ids.len() >= MAX_SERIES || of_sender + new >= MAX_OF_SENDER => {
                    refused.push(TokenRefusal::TooMany);
                }
                Some(since) => {
                    new += 1;
                    counted.push(Told { id: self.add(names, since), counters: *counters, since });
                }
            }
        }
        let Some(known) = self.senders.get_mut(sender) else { return (refused, false) };
        if let Some((names, _)) = sample.first() {
            known.is_of(&names.fleet, at);
        }
        if refused.contains(&TokenRefusal::TooMany) {
            known.is_cut_short(at);
        }
        let more = |id: u32, more: Counted| {
            if let Some(Some(series)) = self.series.get_mut(id as usize) {
                (0..4).for_each(|i| series.counted[i] += more[i]);
            }
        };
        let changed = known.take_in(at, &counted, sample.is_empty(), more);
        (refused, changed)
    }

    fn known(&self, names: &TokenNames) -> Option<(u32, Instant)> {
        let id = *self.ids.get(names)?;
        Some((id, self.series.get(id as usize)?.as_ref()?.since))
    }

    fn add(&mut self, names: &TokenNames, since: Instant) -> u32 {
        let names = Arc::new(names.clone());
        let series = Series {
            names: Arc::clone(&names),
            since,
            rates: Counted::default(),
            counted: Counted::default(),
            recent: Counted::default(),
            idle: 0,
        };
        let id = self.free.pop().unwrap_or_else(|| {
            self.series.push(None);
            u32::try_from(self.series.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.series.get_mut(id as usize) {
            *place = Some(series);
        }
        self.ids.insert(names, id);
        id
    }

    /// Forgets the senders that are known to be gone. Their counts fade.
    pub(super) fn gone(&mut self, is_gone: impl Fn(&str) -> bool, now: Instant) {
        let gone = self.senders.iter_mut().filter(|(name, sender)| sender.has_reported() && is_gone(name));
        gone.for_each(|(_, sender)| sender.ends(now));
    }

    /// Closes a second. `expected` are the gateways that have to answer, each with whether it is ready; `None` if it is unknown which
    /// gateways will push.
    pub(super) fn second(&mut self, expected: Option<&[(&str, bool)]>, stale_after: Duration, now: Instant) {
        if let Some(expected) = expected {
            let there: HashSet<&str> = expected.iter().map(|(name, _)| *name).collect();
            self.gone(|name| !there.contains(name), now);
        }
        for sender in self.senders.values_mut() {
            if sender.is_over(now, stale_after) {
                sender.ends(now);
            }
            sender.look(now, stale_after);
        }
        self.senders.retain(|_, sender| sender.is_there());
        let since = self.closed.replace(now).map(|closed| now.saturating_duration_since(closed).as_secs_f64());
        let seconds = since.unwrap_or(1.0).round().max(1.0);
        let newest = self.senders.values().filter_map(Sender::answered).max();
        self.measured += if newest.is_some() { seconds } else { 0.0 };
        let unmeasured = self.unmeasured(expected.unwrap_or_default(), stale_after, now);
        self.incomplete = unmeasured.or_else(|| self.too_short());
        if newest.is_none() {
            self.failure = Some(self.why_nobody(expected));
            return;
        }
        self.failure = None;
        self.newest = newest;
        self.add_up(seconds);
        self.tidy(now);
    }

    fn add_up(&mut self, seconds: f64) {
        let mut totals = vec![Counted::default(); self.series.len()];
        for (id, rates) in self.senders.values().flat_map(Sender::rates) {
            if let Some(total) = totals.get_mut(id as usize) {
                (0..4).for_each(|i| total[i] += rates[i]);
            }
        }
        for (series, total) in self.series.iter_mut().zip(totals) {
            if let Some(series) = series {
                series.second(total, seconds);
            }
        }
    }

    /// Records rates that another source has computed from the counts of all gateways.
    pub(super) fn told(
        &mut self,
        source: &str,
        rates: Measured<Vec<(TokenNames, Counted)>, String>,
        seconds: f64,
        now: Instant,
    ) {
        let (rates, incomplete) = match rates {
            Measured::Exact(rates) => (rates, None),
            Measured::AtLeast(rates, why) => (rates, Some(format!("{source} {why}"))),
            Measured::Unknown(error) => {
                self.failure = Some(format!("{source}: {error}"));
                return;
            }
        };
        (self.failure, self.incomplete) = (None, incomplete);
        self.newest = Some(now);
        self.series.iter_mut().flatten().for_each(|series| series.rates = Counted::default());
        for (names, rates) in rates {
            let Some(since) = self.wanted.since(&names.request) else { continue };
            let id = match self.ids.get(&names).copied() {
                Some(id) => id,
                None if self.ids.len() >= MAX_SERIES => continue,
                None => self.add(&names, since),
            };
            if let Some(Some(series)) = self.series.get_mut(id as usize) {
                series.set_rates(rates, seconds);
            }
        }
        self.tidy(now);
    }

    fn unmeasured(&self, expected: &[(&str, bool)], stale_after: Duration, now: Instant) -> Option<String> {
        expected.iter().find_map(|(name, ready)| match self.senders.get(*name) {
            Some(known) => known.unknown(name, *ready, now, stale_after),
            None => ready.then(|| format!("AI gateway {name} has not answered twice yet")),
        })
    }

    /// Returns why the measured time is too short, if so: a few seconds of values that come in lumps say little.
    fn too_short(&self) -> Option<String> {
        let seconds = self.measured;
        (seconds < f64::from(LONG)).then(|| format!("tokens were measured for {seconds} of {LONG} s so far"))
    }

    fn why_nobody(&self, expected: Option<&[(&str, bool)]>) -> String {
        let failing = self.senders.iter().find_map(|(name, sender)| Some((name, sender.error()?)));
        match (failing, expected) {
            (Some((name, error)), _) => format!("AI gateway {name} does not answer: {error}"),
            (None, Some([])) => {
                "no AI gateway is known: no ready proxy has a container ai-gateway-extproc, and there is no --ai-gateway"
                    .to_owned()
            }
            (None, Some(_)) => "the AI gateways have not answered twice yet".to_owned(),
            (None, None) => "nobody has pushed tokens twice yet (gen_ai.client.token.usage by OTLP)".to_owned(),
        }
    }

    /// Forgets models that nobody wants, once they have been idle for so long that their rates and recent means say nothing.
    fn tidy(&mut self, now: Instant) {
        self.wanted.named.retain(|_, named| now.duration_since(named.asked) < FORGET_AFTER);
        for id in 0..self.series.len() {
            let Some(Some(series)) = self.series.get(id) else { continue };
            let id = u32::try_from(id).unwrap_or(u32::MAX);
            if series.idle > 3 * u16::from(LONG) && self.wanted.since(&series.names.request).is_none() {
                self.ids.remove(&series.names);
                self.senders.values_mut().for_each(|sender| sender.forget(id));
                self.series[id as usize] = None;
                self.free.push(id);
            }
        }
    }

    pub(super) fn shown(&self) -> ShownTokens {
        let mut by_request = HashMap::<Arc<str>, Vec<_>>::new();
        for series in self.series.iter().flatten() {
            let of_model = by_request.entry(Arc::clone(&series.names.request)).or_default();
            of_model.push((Arc::clone(&series.names), series.rates()));
        }
        ShownTokens {
            by_request,
            newest: self.newest,
            failure: self.failure.clone(),
            incomplete: self.incomplete.clone(),
            unknown: self.unknown(),
        }
    }

    fn unknown(&self) -> Vec<(Arc<TokenNames>, String)> {
        let of_senders = self.senders.iter().flat_map(|(name, sender)| {
            sender.unknown_models().map(move |(id, why)| (id, format!("AI gateway {name} {why}")))
        });
        let known = of_senders.filter_map(|(id, why)| {
            let names = &self.series.get(id as usize)?.as_ref()?.names;
            Some((Arc::clone(names), format!("{}: {why}", names.request)))
        });
        known.collect()
    }

    /// Returns the numbers of known senders and models.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.senders.values().filter(|sender| sender.has_reported()).count(), self.ids.len())
    }

    pub(super) fn sources(&self, now: Instant) -> impl Iterator<Item = SourceStatus> {
        self.senders.iter().filter(|(_, sender)| sender.has_reported()).map(move |(name, sender)| SourceStatus {
            name: format!("AI gateway {name}"),
            last_success_seconds: sender.heard().map(|at| now.saturating_duration_since(at).as_secs_f64()),
            error: sender.error().map(ToOwned::to_owned),
        })
    }
}

impl Series {
    fn second(&mut self, rates: Counted, seconds: f64) {
        self.rates = rates;
        let counted = std::mem::take(&mut self.counted);
        self.remember(counted, seconds);
    }

    fn set_rates(&mut self, rates: Counted, seconds: f64) {
        self.rates = rates.map(|rate| if rate.is_finite() { rate.max(0.0) } else { 0.0 });
        self.remember(self.rates.map(|rate| rate * seconds), seconds);
    }

    fn remember(&mut self, counted: Counted, seconds: f64) {
        let kept = (1.0 - REMEMBERED).powf(seconds);
        self.recent = std::array::from_fn(|i| self.recent[i] * kept + counted[i]);
        self.idle = if self.rates == Counted::default() { self.idle.saturating_add(1) } else { 0 };
    }

    fn rates(&self) -> TokenRates {
        let [input, output, requests, untold] = self.rates;
        let [recent_input, recent_output, ended, _] = self.recent;
        // One request has decayed to half a request after a good while.
        let of_request = (ended >= 0.5).then(|| [recent_input / ended, recent_output / ended]);
        TokenRates { input, output, requests, of_request, untold }
    }
}

#[cfg(test)]
mod tests;
