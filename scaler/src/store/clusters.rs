//! One cluster: its traffic in each of the last 30 seconds, and which of these were completely measured.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    kept_clusters::ProxySetNames,
    proxies::{Cell, Span},
    proxy_sets::{Gap, Part},
    window::{LONG, Means, Values, Window},
};

/// The length of a second.
pub(super) const SECOND: Duration = Duration::from_secs(1);
/// Every second of the window.
pub(super) const ALL: u32 = (1 << LONG) - 1;
/// Fewest requests in the short window that count as a burst: at half that rate, chance alone (Poisson) reaches it once in
/// thousands of seconds.
const NO_CHANCE: f64 = 30.0;
/// Smallest sum over the window that is no rounding error: counts are whole numbers.
const ROUNDING: f64 = 0.01;

#[derive(Debug, Clone, Default)]
pub(super) struct Cluster {
    /// The generation of [`Series`](super::Series) in which the id was given to it
    pub(super) kept_since: u64,
    window: Window<3>,
    /// Number of the last seconds in which anything was measured
    seconds: u8,
    shown: ShownCluster,
}

/// A cluster as readers see it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ShownCluster {
    /// The proxies that may report it
    pub(super) fleets: ProxySetNames,
    /// `None` while too little was measured
    pub(super) means: Option<[Means; 3]>,
    /// Time of the newest sample in it
    pub(super) at: Option<Instant>,
    /// The seconds of the window in which each signal was completely measured: one bit per second, the newest is the lowest
    pub(super) measured: [u32; 3],
    /// Why the newest second was not completely measured
    pub(super) gaps: [Gap; 3],
    /// Whether all its proxies show it and none of them ever used it
    pub(super) unused: bool,
    /// Requests that begin, if that is measured
    pub(super) beginning: Option<Beginning>,
}

/// Requests that begin, and end later.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Beginning {
    /// Requests/s
    pub(crate) rate: f64,
    /// Requests/s of the last seconds alone, if these are a burst that is too large for chance
    pub(crate) burst: Option<f64>,
    /// Change of requests in flight per second
    pub(crate) growth: f64,
}

/// The proxies' contributions to a second of a cluster.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    /// Traffic of the proxies that show it
    pub(super) carried: [f64; 3],
    /// Traffic of the proxies that no longer show it
    pub(super) held: [f64; 3],
    /// Number of proxies that have to show it, and do
    pub(super) showing: usize,
    /// Whether any proxy shows it
    pub(super) shown: bool,
    /// Whether any proxy ever used it
    pub(super) used: bool,
    /// Whether any proxy was measured
    pub(super) rated: bool,
}

impl Sum {
    /// Adds a proxy with this role. `rest` is the part of the second after its last answer.
    pub(super) fn add(&mut self, cell: &Cell, part: Part, rest: f64) {
        if cell.is_shown() && part != Part::Nothing {
            self.shown = true;
            self.used = self.used || !cell.is_unused();
            self.showing += usize::from(part == Part::Counts && cell.is_rated);
        }
        if !part.contributes() || !cell.is_rated {
            return;
        }
        self.rated = true;
        let sum = if cell.is_shown() { &mut self.carried } else { &mut self.held };
        (0..3).for_each(|i| sum[i] += f64::from(cell.stands[i]) * rest);
    }
}

impl Cluster {
    pub(super) fn new(kept_since: u64, fleets: ProxySetNames) -> Self {
        Self { kept_since, shown: ShownCluster { fleets, ..ShownCluster::default() }, ..Self::default() }
    }

    /// Whether a proxy of this set may report it.
    pub(super) fn is_on(&self, fleet: Option<&str>) -> bool {
        self.shown.fleets.is_empty() || fleet.is_none_or(|fleet| self.shown.fleets.iter().any(|on| **on == *fleet))
    }

    /// Corrects the seconds before the newest closed one from a late answer.
    pub(super) fn correct(&mut self, span: &Span, covered: &Covered) {
        for second in &covered.before {
            self.window.correct(second.back, second.of(span));
        }
    }

    /// Closes a second.
    pub(super) fn close(&mut self, sum: &Sum, news: News, gaps: [Gap; 3], newest: Option<Instant>) {
        self.shown.gaps = gaps;
        self.shown.unused = gaps[0] == Gap::None && !sum.used;
        for (measured, gap) in self.shown.measured.iter_mut().zip(gaps) {
            *measured = (*measured << 1 | u32::from(gap == Gap::None)) & ALL;
        }
        self.window.correct(0, news.closed);
        let measured = sum.rated && sum.shown;
        self.seconds = if measured { (self.seconds + 1).min(LONG) } else { self.seconds.saturating_sub(1) };
        // A cluster that does not exist carries nothing yet; about one that does, nothing is known.
        if self.window.is_empty() && !measured && gaps[0] != Gap::NotShown {
            return;
        }
        // Traffic that one proxy no longer shows while others do is held; traffic that none shows has ended.
        let held = |i: usize| if sum.shown { sum.held[i] } else { 0.0 };
        self.window.push(std::array::from_fn(|i| (f64::from(news.open[i]) + sum.carried[i] + held(i)) as f32));
        self.shown.at = self.shown.at.max(newest);
    }

    /// Computes the values that readers see from the seconds.
    pub(super) fn show(&mut self) {
        let means = self.window.both_means();
        self.shown.means = means.filter(|_| self.seconds > 0).map(|means| means.map(whole));
        self.shown.beginning = means.zip(self.window.slopes()).map(|([requests, ..], slopes)| Beginning {
            rate: requests.long,
            burst: requests.burst(NO_CHANCE),
            growth: slopes[1],
        });
    }

    /// Records values that another source computed over the last seconds; `None` if the cluster does not exist.
    pub(super) fn told(&mut self, at: Instant, values: Option<[f64; 3]>, gap: Gap) {
        let measured = if gap == Gap::None { ALL } else { 0 };
        self.shown.means = values.map(|values| values.map(|value| Means::of(sane(value))));
        self.shown.at = Some(at);
        (self.shown.measured, self.shown.gaps) = ([measured; 3], [gap; 3]);
    }

    /// Returns the proxies that may report it.
    pub(super) fn fleets(&self) -> &ProxySetNames {
        &self.shown.fleets
    }

    /// Replaces the proxies that may report it.
    pub(super) fn move_to(&mut self, fleets: ProxySetNames) {
        self.shown.fleets = fleets;
    }

    pub(super) fn shown(&self) -> &ShownCluster {
        &self.shown
    }
}

/// Values from answers about a cluster since a second was closed. Separate from the cluster, because they are written once per proxy.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct News {
    /// Values of the open second
    open: Values,
    /// Corrections to the newest closed second
    closed: Values,
}

impl News {
    pub(super) fn take(&mut self, span: &Span, covered: &Covered) {
        let closed = covered.newest.of(span);
        (0..3).for_each(|i| self.open[i] += span.carried[i] * covered.open);
        (0..3).for_each(|i| self.closed[i] += closed[i]);
    }
}

/// The seconds that the time between two answers of a proxy covers, and the time after them: the same for all its clusters.
#[derive(Debug)]
pub(super) struct Covered {
    /// Covered part of the open second
    open: f32,
    /// The second that was closed last
    newest: Second,
    before: Vec<Second>,
}

/// A closed second.
#[derive(Debug, Default)]
struct Second {
    /// Number of seconds that were closed after it
    back: u8,
    /// Part of it that lies between the two answers
    known: f32,
    /// Part of it that lies after them
    after: f32,
}

impl Second {
    /// Returns the error of the values that were assumed in it for a cluster.
    fn of(&self, span: &Span) -> Values {
        std::array::from_fn(|i| {
            let (carried, stood, stands) = (span.carried[i], span.stood[i], span.stands[i]);
            (carried - stood) * self.known + (stands - stood) * self.after
        })
    }
}

impl Covered {
    /// `edge` is the end of the last second that was closed.
    pub(super) fn of(from: Instant, to: Instant, edge: Instant) -> Self {
        let second = |back: u8| {
            let ago = |seconds: u8| edge.checked_sub(SECOND * u32::from(seconds));
            let second = ago(back + 1).zip(ago(back)).filter(|(_, end)| *end > from)?;
            let (known, after) = (overlap((from, to), second) as f32, overlap((to, edge), second) as f32);
            Some(Second { back, known, after })
        };
        let mut closed = (0..LONG).map_while(second);
        let newest = closed.next().unwrap_or_default();
        Self { open: overlap((from, to), (edge, to)) as f32, newest, before: closed.collect() }
    }

    /// Whether it reaches back beyond the second that was closed last.
    pub(super) fn is_late(&self) -> bool {
        !self.before.is_empty()
    }
}

/// Returns the overlap of two time spans in seconds.
fn overlap(a: (Instant, Instant), b: (Instant, Instant)) -> f64 {
    a.1.min(b.1).saturating_duration_since(a.0.max(b.0)).as_secs_f64()
}

fn whole(means: Means) -> Means {
    if means.long * f64::from(LONG) < ROUNDING { Means::default() } else { means }
}

fn sane(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

/// Returns the part of the second from `edge` on that is after this time.
pub(super) fn rest(edge: Instant, after: Instant) -> f64 {
    overlap((edge, edge + SECOND), (after, edge + SECOND))
}
