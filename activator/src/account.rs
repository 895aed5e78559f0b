//! What is in hand of each workload: the counts behind [`Held`], the wakes, and the places of those that wait.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tidegate_core::{
    held::Held,
    refused::{NoPod, Refused},
    wake::WakeLimit,
    workload::WorkloadId,
};
use tokio::{sync::watch, time::Instant};

use crate::{
    arrivals::{Arrivals, WINDOW},
    door::HoldLimits,
    kind::Kind,
    metrics::ActivatorMetrics,
    refusals::Refusals,
    wakes::Wakes,
};

/// The accounts of all workloads that have, or had, a door.
#[derive(Debug)]
pub(crate) struct Accounts {
    of: Mutex<BTreeMap<WorkloadId, Arc<Account>>>,
    common: Arc<Common>,
}

/// What the accounts share.
#[derive(Debug)]
struct Common {
    start: Instant,
    /// Grows whenever a workload goes from nothing in hand to something
    news: watch::Sender<u64>,
    /// Grows whenever the other pods should hear of it at once: then, and when requests begin to be refused
    own_news: watch::Sender<u64>,
    limits: HoldLimits,
    waiting: Mutex<usize>,
    metrics: ActivatorMetrics,
}

impl Accounts {
    pub(crate) fn new(limits: HoldLimits, metrics: ActivatorMetrics, news: watch::Sender<u64>) -> Self {
        let common = Common {
            start: Instant::now(),
            news,
            own_news: watch::Sender::new(0),
            limits,
            waiting: Mutex::default(),
            metrics,
        };
        Self { of: Mutex::default(), common: Arc::new(common) }
    }

    /// The account of a workload, opened if need be.
    pub(crate) fn open(&self, workload: &WorkloadId) -> Arc<Account> {
        match self.of.lock().entry(workload.clone()) {
            Entry::Occupied(account) => Arc::clone(account.get()),
            Entry::Vacant(vacant) => {
                let account = Account { common: Arc::clone(&self.common), state: Mutex::default() };
                Arc::clone(vacant.insert(Arc::new(account)))
            }
        }
    }

    /// Forgets the workloads without a door of which nothing is known, so that those of the past do not add up. A door goes while
    /// there are pods: the wakes of before still count then.
    pub(crate) fn forget(&self, has_door: impl Fn(&WorkloadId) -> bool) {
        self.of.lock().retain(|workload, account| has_door(workload) || !account.is_blank());
    }

    /// A workload's part in hand; nothing for one without a door.
    pub(crate) fn held(&self, workload: &WorkloadId) -> Held {
        self.of.lock().get(workload).map(|account| account.held()).unwrap_or_default()
    }

    /// All workloads of which something is in hand.
    pub(crate) fn all(&self) -> BTreeMap<WorkloadId, Held> {
        let of = self.of.lock();
        let held = of.iter().map(|(workload, account)| (workload.clone(), account.held()));
        held.filter(|(_, held)| !held.is_nothing()).collect()
    }

    /// The refusals of all workloads that have any.
    pub(crate) fn refused(&self) -> BTreeMap<WorkloadId, Refused> {
        let (of, now) = (self.of.lock(), Instant::now());
        let refused = of.iter().map(|(workload, account)| (workload.clone(), account.state.lock().refusals.now(now)));
        refused.filter(|(_, refused)| !refused.is_nothing()).collect()
    }

    /// Grows whenever the other pods should hear at once of what happened here.
    pub(crate) fn own_news(&self) -> watch::Receiver<u64> {
        self.common.own_news.subscribe()
    }
}

/// The account of one workload, which its doors share.
#[derive(Debug)]
pub(crate) struct Account {
    common: Arc<Common>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    requests: u64,
    connections: u64,
    waiting: usize,
    arrivals: Arrivals,
    last_arrival: Option<Instant>,
    wakes: Wakes,
    refusals: Refusals,
}

/// Why nothing more may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// This many of the workload wait
    Workload(usize),
    /// This many in total wait
    Total(usize),
}

impl Account {
    /// Takes a request or connection in hand. `limit` applies where it wakes the workload: when no pod is ready and nothing else
    /// is in hand. The error is the time until the next wake is allowed.
    pub(crate) fn enter(self: &Arc<Self>, kind: Kind, limit: Option<WakeLimit>) -> Result<InHand, Duration> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let is_first = state.requests == 0 && state.connections == 0;
        if let Some(limit) = limit.filter(|_| is_first)
            && let Err(wait) = state.wakes.take(limit, now)
        {
            if state.refusals.limited(limit, wait, now) {
                // Nothing is in hand, so that nothing else would make this pod report to the others.
                self.common.own_news.send_modify(|news| *news += 1);
            }
            return Err(wait);
        }
        match kind {
            Kind::Request => {
                state.requests += 1;
                state.arrivals.count(now - self.common.start);
            }
            Kind::Connection => state.connections += 1,
        }
        state.last_arrival = Some(now);
        drop(state);
        self.common.metrics.entered(kind);
        if is_first {
            for news in [&self.common.own_news, &self.common.news] {
                news.send_modify(|news| *news += 1);
            }
        }
        Ok(InHand { account: Arc::clone(self), kind })
    }

    /// Takes a place among those that wait for a pod.
    pub(crate) fn wait(self: &Arc<Self>) -> Result<Place, Full> {
        let HoldLimits { per_workload: most_of_workload, total: most, .. } = self.common.limits;
        let mut state = self.state.lock();
        if state.waiting >= most_of_workload {
            return Err(Full::Workload(most_of_workload));
        }
        let mut waiting = self.common.waiting.lock();
        if *waiting >= most {
            return Err(Full::Total(most));
        }
        *waiting += 1;
        state.waiting += 1;
        Ok(Place(Arc::clone(self)))
    }

    /// Records that something was held for this long, and found no pod.
    pub(crate) fn timed_out(&self, held: Duration, cause: NoPod) {
        self.state.lock().refusals.timed_out(held, cause, Instant::now());
    }

    /// Whether it is as good as a new one.
    fn is_blank(&self) -> bool {
        let now = Instant::now();
        let is_idle = self.held().is_nothing();
        let mut state = self.state.lock();
        is_idle && state.wakes.is_full(now) && state.refusals.now(now).is_nothing()
    }

    fn held(&self) -> Held {
        let now = Instant::now();
        let mut state = self.state.lock();
        let recent = state.last_arrival.is_some_and(|at| now - at < WINDOW);
        Held {
            requests: state.requests,
            connections: state.connections,
            arrivals_per_second: state.arrivals.per_second(now - self.common.start),
            awake: recent || state.requests > 0 || state.connections > 0,
        }
    }
}

/// A request or connection in hand, until it is dropped.
#[derive(Debug)]
pub(crate) struct InHand {
    account: Arc<Account>,
    kind: Kind,
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut state = self.account.state.lock();
        let count = match self.kind {
            Kind::Request => &mut state.requests,
            Kind::Connection => &mut state.connections,
        };
        *count = count.saturating_sub(1);
        drop(state);
        self.account.common.metrics.left(self.kind);
    }
}

/// A place among those that wait, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Account>);

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.waiting = state.waiting.saturating_sub(1);
        let mut waiting = self.0.common.waiting.lock();
        *waiting = waiting.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::workload::WorkloadRef;

    use super::*;

    #[test]
    fn the_first_refused_wake_is_news_to_the_other_pods_and_the_next_ones_are_not() {
        let accounts = Accounts::new(HoldLimits::default(), ActivatorMetrics::default(), watch::Sender::new(0));
        let (mut news, limit) = (accounts.own_news(), WakeLimit { count: 1, per: Duration::from_secs(3600) });
        let account = accounts.open(&"deployment/api".parse::<WorkloadRef>().unwrap().within("shop"));
        let mut enter = || {
            let is_refused = account.enter(Kind::Request, Some(limit)).is_err();
            (is_refused, *news.borrow_and_update())
        };
        assert_eq!([enter(), enter(), enter()], [(false, 1), (true, 2), (true, 2)]);
    }
}
