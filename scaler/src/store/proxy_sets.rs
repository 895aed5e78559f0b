//! Sets of proxies: which proxies have to show a cluster before its traffic is known.
//!
//! All proxies of a Gateway have the same clusters, and no others: for a proxy that does not show a cluster of its Gateway, the
//! cluster's traffic is unknown, and the proxies of other Gateways are irrelevant to it.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tidegate_core::plan::Proxy;
use tokio::time::Instant;

use super::{kept_clusters::ProxySetNames, proxies::KnownProxy};

/// The role of a proxy in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It answers, or did within `stale_after`: its traffic is included, and it has to show its fleet's clusters
    Counts,
    /// The same, but it gets no new traffic: it may not have its clusters yet, or not any more
    Drains,
    /// Its traffic is not known
    Unknown,
    /// Its last traffic is included, but is too old to be known
    Outdated,
    /// It has ended, or has not begun
    Nothing,
}

impl Part {
    fn of(proxy: &Proxy, known: Option<&KnownProxy>, now: Instant, stale_after: Duration) -> Self {
        let answered = known.and_then(KnownProxy::answered);
        let Some((known, answered)) = known.zip(answered) else {
            return if proxy.ready { Self::Unknown } else { Self::Nothing };
        };
        let is_recent = now.saturating_duration_since(answered) <= stale_after;
        match (proxy.ready, known.error.is_none()) {
            (true, _) if is_recent => Self::Counts,
            (true, _) => Self::Outdated,
            (false, true) if is_recent => Self::Drains,
            // Kubernetes sends its traffic to the others, but the proxy may be cut off from Kubernetes alone.
            (false, _) if is_recent => Self::Unknown,
            (false, _) => Self::Nothing,
        }
    }

    pub(super) fn contributes(self) -> bool {
        matches!(self, Self::Counts | Self::Drains | Self::Outdated)
    }
}

/// The proxies of one set, or the proxies of no known set.
#[derive(Debug, Clone, Default)]
pub(super) struct ProxySet {
    proxies: usize,
    any_ready: bool,
    /// Number of proxies that have to show its clusters
    counting: usize,
    answering: usize,
    /// The signals that some of these leave out
    lacks: [bool; 3],
    newest: Option<Instant>,
    /// Why its traffic is not completely known
    blocked: Option<String>,
    /// Whether the cause is a proxy that gets traffic and gives no usable answer
    refused: bool,
}

/// All sets of proxies, in one second.
#[derive(Debug, Clone, Default)]
pub(super) struct ProxySets {
    named: HashMap<Arc<str>, ProxySet>,
    unnamed: ProxySet,
    parts: HashMap<SocketAddr, Part>,
}

/// The reason that a cluster's traffic is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Gap {
    /// It is known
    #[default]
    None,
    /// Its Gateways have no proxy
    NoProxy,
    /// A proxy of its Gateways does not answer, or was not measured yet
    Blocked,
    /// No proxy shows it
    NotShown,
    /// Not all proxies show it
    PartlyShown,
    /// The proxies leave its statistics out
    LeftOut,
}

impl ProxySets {
    pub(super) fn of(
        proxies: &[Proxy],
        known: &HashMap<SocketAddr, KnownProxy>,
        now: Instant,
        stale_after: Duration,
    ) -> Self {
        let mut fleets = Self::default();
        for proxy in proxies {
            let known = known.get(&proxy.stats);
            let part = Part::of(proxy, known, now, stale_after);
            fleets.parts.insert(proxy.stats, part);
            let fleet = match &proxy.fleet {
                Some(name) => fleets.named.entry(Arc::clone(name)).or_default(),
                None => &mut fleets.unnamed,
            };
            fleet.add(proxy, known, part);
        }
        fleets
    }

    /// Returns the role of the proxy at this address.
    pub(super) fn part(&self, address: SocketAddr) -> Part {
        self.parts.get(&address).copied().unwrap_or(Part::Nothing)
    }

    /// Returns the sets that may report a cluster.
    fn speaking<'a>(&'a self, of: &'a [Arc<str>]) -> impl Iterator<Item = &'a ProxySet> {
        let all = self.named.values().filter(|_| of.is_empty());
        let its = of.iter().filter_map(|name| self.named.get(name));
        all.chain(its).chain(std::iter::once(&self.unnamed)).filter(|fleet| fleet.proxies > 0)
    }

    /// Returns why each signal of a cluster is not known. `showing` is the number of proxies that show it among the ones that have to,
    /// and `shown` is whether any proxy shows it.
    pub(super) fn gaps(&self, of: &ProxySetNames, showing: usize, shown: bool) -> [Gap; 3] {
        let (mut there, mut blocked, mut lacks) = (false, false, [false; 3]);
        for fleet in self.speaking(of) {
            there = true;
            blocked |= fleet.is_blocked();
            (0..3).for_each(|signal| lacks[signal] |= fleet.lacks[signal]);
        }
        // Proxies of no known Gateway may belong to another one.
        let have_to: usize = of.iter().filter_map(|name| self.named.get(name)).map(|fleet| fleet.counting).sum();
        let gap = match (there, blocked) {
            (false, _) => Gap::NoProxy,
            (true, true) => Gap::Blocked,
            (true, false) if !shown => Gap::NotShown,
            (true, false) if showing < have_to.max(1) => Gap::PartlyShown,
            (true, false) => Gap::None,
        };
        lacks.map(|lacks| if lacks && matches!(gap, Gap::None | Gap::NotShown) { Gap::LeftOut } else { gap })
    }

    /// Returns the last answer of the proxies that answer and may report the cluster.
    pub(super) fn newest(&self, of: &ProxySetNames) -> Option<Instant> {
        self.speaking(of).filter_map(|fleet| fleet.newest).max()
    }

    /// Describes for people why a cluster is not known.
    pub(super) fn reason(&self, of: &ProxySetNames, cluster: &str, gap: Gap) -> String {
        let blocked = self.speaking(of).find_map(|fleet| fleet.blocked.clone());
        let names = || of.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let answering: usize = self.speaking(of).map(|fleet| fleet.answering).sum();
        match gap {
            Gap::Blocked => blocked.unwrap_or_else(|| "no proxy of it is ready".to_owned()),
            Gap::NoProxy if of.is_empty() => {
                "no proxy is known: no ready pod of Envoy Gateway, and no --proxy".to_owned()
            }
            Gap::NoProxy => format!("no proxy of {} is known: no ready pod of Envoy Gateway's", names()),
            Gap::NotShown => format!(
                "no proxy has the cluster {cluster} ({answering} answer): Envoy Gateway has not configured it, or it has no \
                 endpoint. Look at the route's status and the Service's endpoints"
            ),
            Gap::PartlyShown => format!("not all of {answering} proxies that answer show the cluster {cluster}"),
            Gap::LeftOut => {
                "the proxies leave out the statistics that show it (upstream_rq_total, upstream_rq_active, \
                             upstream_cx_active): look at spec.telemetry.metrics.matches of the EnvoyProxy"
                    .to_owned()
            }
            Gap::None => "it was not measured on all proxies for 30 s yet".to_owned(),
        }
    }

    /// Whether a proxy that may report the cluster gets traffic and gives no usable answer: that does not pass within seconds.
    pub(super) fn is_refused(&self, of: &ProxySetNames) -> bool {
        self.speaking(of).any(|fleet| fleet.refused)
    }

    /// Returns why some proxy's traffic is not known, if so.
    pub(super) fn blocked(&self) -> Option<String> {
        std::iter::once(&self.unnamed).chain(self.named.values()).find_map(|fleet| fleet.blocked.clone())
    }
}

impl ProxySet {
    fn add(&mut self, proxy: &Proxy, known: Option<&KnownProxy>, part: Part) {
        self.proxies += 1;
        self.any_ready |= proxy.ready;
        match part {
            Part::Counts => self.counting += 1,
            Part::Unknown | Part::Outdated => {
                self.refused |= proxy.ready && known.is_some_and(|known| known.error.is_some());
                self.blocked.get_or_insert_with(|| unmeasured(proxy, known));
            }
            Part::Drains | Part::Nothing => {}
        }
        let Some(known) = known.filter(|known| known.error.is_none()) else { return };
        let Some(at) = known.answered() else { return };
        self.answering += 1;
        self.newest = self.newest.max(Some(at));
        if part == Part::Counts {
            let shows = known.shows().unwrap_or_default();
            (0..3).for_each(|signal| self.lacks[signal] |= !shows[signal]);
        }
    }

    /// Whether the traffic is not completely known. This also holds while no proxy is ready: when the only proxy of a Gateway restarts,
    /// it answers before it has its configuration, and its zeros do not mean that users send nothing.
    fn is_blocked(&self) -> bool {
        self.blocked.is_some() || !self.any_ready
    }
}

fn unmeasured(proxy: &Proxy, known: Option<&KnownProxy>) -> String {
    let Proxy { name, stats, ready, .. } = proxy;
    let state = if *ready { "is ready" } else { "is not ready" };
    match known.and_then(|known| Some((known.error.as_ref()?, known.answered()))) {
        Some((error, None)) => format!("proxy {name} {state} and never answered: {error}"),
        Some((error, Some(_))) => format!("proxy {name} {state} and does not answer: {error}"),
        None => format!("proxy {name} ({stats}) has not answered twice yet"),
    }
}

/// Returns the addresses of the current proxies, each with the name of the proxy that has it.
pub(super) fn there(proxies: &[Proxy]) -> HashSet<(SocketAddr, &str)> {
    proxies.iter().map(|proxy| (proxy.stats, proxy.name.as_str())).collect()
}
