//! The queue of a door: those that wait for a pod, first come first served, and the choice among the pods that are ready.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

/// Time for which a pod that did not accept a connection comes after the others.
const SHUNNED: Duration = Duration::from_secs(1);

/// Pods, and those that wait for one.
#[derive(Debug)]
pub(crate) struct Queue(Mutex<State>);

#[derive(Debug)]
struct State {
    ready: Arc<[SocketAddr]>,
    per_pod: u32,
    /// What is open to each pod, whether that is still ready or not
    open: HashMap<SocketAddr, u32>,
    /// Pods that did not accept a connection, and when
    failed: HashMap<SocketAddr, Instant>,
    next_ticket: u64,
    /// In the order in which they came
    waiting: BTreeMap<u64, oneshot::Sender<SocketAddr>>,
}

impl Queue {
    pub(crate) fn new(ready: Arc<[SocketAddr]>, per_pod: u32) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            ready,
            per_pod: per_pod.max(1),
            open: HashMap::new(),
            failed: HashMap::new(),
            next_ticket: 0,
            waiting: BTreeMap::new(),
        })))
    }

    /// Sets the pods that are ready and what each may have at a time, and lets go what that allows.
    pub(crate) fn update(&self, ready: Arc<[SocketAddr]>, per_pod: u32) {
        let mut state = self.0.lock();
        state.failed.retain(|pod, _| ready.contains(pod));
        (state.ready, state.per_pod) = (ready, per_pod.max(1));
        state.let_go();
    }

    /// Whether any pod is ready, free or not.
    pub(crate) fn has_ready(&self) -> bool {
        !self.0.lock().ready.is_empty()
    }

    fn enter(&self, ticket: u64, chosen: oneshot::Sender<SocketAddr>) {
        let mut state = self.0.lock();
        state.waiting.insert(ticket, chosen);
        state.let_go();
    }

    /// A ticket for one request or connection, with which it keeps its turn when it has to wait again.
    pub(crate) fn ticket(self: &Arc<Self>) -> Ticket {
        let mut state = self.0.lock();
        let number = state.next_ticket;
        state.next_ticket += 1;
        Ticket { queue: Arc::clone(self), number }
    }
}

/// A turn in the queue.
#[derive(Debug)]
pub(crate) struct Ticket {
    queue: Arc<Queue>,
    number: u64,
}

impl Ticket {
    /// A pod, if one is free. Nobody waits then: whatever becomes free is given to those that wait in the same moment.
    pub(crate) fn take(&self) -> Option<Pod> {
        let address = self.queue.0.lock().choose()?;
        Some(Pod { queue: Arc::clone(&self.queue), address })
    }

    /// A pod, as soon as one is free and nobody waits longer.
    pub(crate) async fn wait(&self) -> Pod {
        let (chosen, choice) = oneshot::channel();
        self.queue.enter(self.number, chosen);
        let mut waiting = Waiting { ticket: self, choice };
        match (&mut waiting.choice).await {
            Ok(address) => Pod { queue: Arc::clone(&self.queue), address },
            // The sender is dropped with the queue alone, which the ticket keeps.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Leaves the queue when it is dropped, and gives back a pod that was chosen meanwhile.
struct Waiting<'a> {
    ticket: &'a Ticket,
    choice: oneshot::Receiver<SocketAddr>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.ticket.queue.0.lock();
        if state.waiting.remove(&self.ticket.number).is_none()
            && let Ok(address) = self.choice.try_recv()
        {
            state.close(address);
        }
    }
}

impl State {
    /// Gives pods to those that wait, as long as both last.
    fn let_go(&mut self) {
        while let Some((number, chosen)) = self.waiting.pop_first() {
            let Some(address) = self.choose() else {
                self.waiting.insert(number, chosen);
                return;
            };
            if chosen.send(address).is_err() {
                self.count_down(address);
            }
        }
    }

    /// The pod with the least open, of those that accepted their last connection, if any is free.
    fn choose(&mut self) -> Option<SocketAddr> {
        let now = Instant::now();
        let open = |pod: &SocketAddr| self.open.get(pod).copied().unwrap_or(0);
        let shunned = |pod| self.failed.get(pod).is_some_and(|at| now - *at < SHUNNED);
        let free = self.ready.iter().filter(|pod| open(pod) < self.per_pod);
        let pod = *free.min_by_key(|pod| (shunned(*pod), open(pod)))?;
        *self.open.entry(pod).or_default() += 1;
        Some(pod)
    }

    fn close(&mut self, pod: SocketAddr) {
        self.count_down(pod);
        self.let_go();
    }

    fn count_down(&mut self, pod: SocketAddr) {
        if let Some(open) = self.open.get_mut(&pod) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.open.remove(&pod);
            }
        }
    }
}

/// One of the connections that a pod may have, until it is dropped.
#[derive(Debug)]
pub(crate) struct Pod {
    queue: Arc<Queue>,
    address: SocketAddr,
}

impl Pod {
    /// Its address and port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Records that it did not accept a connection.
    pub(crate) fn failed(&self) {
        let mut state = self.queue.0.lock();
        if state.ready.contains(&self.address) {
            state.failed.insert(self.address, Instant::now());
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.queue.0.lock().close(self.address);
    }
}

#[cfg(test)]
mod tests;
