//! The way from a door to a pod: admission, the wait for a pod, and the connection to it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::RwLock;
use tidegate_core::refused::NoPod;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    account::{Account, InHand, Place},
    door::Door,
    kind::Kind,
    queue::{Pod, Queue, Ticket},
    refusal::Refusal,
    shared::Shared,
};

/// Timeout for connecting to a pod: one retransmission of a lost SYN.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Pauses before a connection is tried again: doubled from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Longest time that anything is held, whatever the rules say: it keeps times in range.
const LONGEST_HOLD: Duration = Duration::from_secs(24 * 3600);

/// An open door, as its connections see it.
#[derive(Debug)]
pub(crate) struct Passage {
    door: RwLock<Arc<Door>>,
    queue: Arc<Queue>,
    account: Arc<Account>,
    /// Cancelled when the door goes: its connections end as soon as they are idle
    pub(crate) closing: CancellationToken,
    pub(crate) shared: Arc<Shared>,
}

impl Passage {
    pub(crate) fn new(door: Door, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            queue: Queue::new(Arc::clone(&door.backends), door.rules.per_pod),
            account: shared.accounts.open(&door.workload),
            closing: shared.stages.ending.child_token(),
            door: RwLock::new(Arc::new(door)),
            shared,
        })
    }

    /// Replaces pods and rules, and lets go what the new ones allow.
    pub(crate) fn update(&self, door: Door) {
        let (backends, per_pod) = (Arc::clone(&door.backends), door.rules.per_pod);
        *self.door.write() = Arc::new(door);
        self.queue.update(backends, per_pod);
    }

    pub(crate) fn door(&self) -> Arc<Door> {
        Arc::clone(&self.door.read())
    }

    pub(crate) fn has_ready(&self) -> bool {
        self.queue.has_ready()
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.queue.ticket()
    }

    /// Takes in hand what counts as demand, if the workload may be woken, or is awake.
    pub(crate) fn admit(&self, kind: Kind) -> Result<InHand, Refusal> {
        let rules = Arc::clone(&self.door().rules);
        let is_asleep = !self.has_ready();
        if let Some(closed) = rules.closed.filter(|_| is_asleep) {
            return Err(Refusal::Closed(closed.opens));
        }
        self.account.enter(kind, rules.limit.filter(|_| is_asleep)).map_err(Refusal::WakeLimit)
    }

    /// Waits for a pod and connects to it: until the hold timeout, and for as long as the client stays.
    pub(crate) async fn pass(
        &self,
        ticket: &Ticket,
        arrived: Instant,
        gone: impl Future<Output = ()>,
    ) -> Result<(Pod, TcpStream), Refusal> {
        let timeout = self.door().rules.hold_timeout.min(LONGEST_HOLD);
        let mut last_error = None;
        let passed = tokio::select! {
            biased;
            passed = self.connect(ticket, &mut last_error) => passed,
            () = gone => Err(Refusal::Gone),
            () = self.shared.stages.refusing.cancelled() => Err(Refusal::Stopping),
            () = sleep_until(arrived + timeout) => Err(self.timed_out(timeout, last_error)),
        };
        if !matches!(passed, Err(Refusal::Gone | Refusal::Stopping)) {
            self.shared.metrics.waited(arrived.elapsed());
        }
        passed
    }

    /// The refusal at the deadline. An error of a pod that is not ready any more is no reason.
    fn timed_out(&self, held: Duration, last_error: Option<String>) -> Refusal {
        let rules = Arc::clone(&self.door().rules);
        let cause = match last_error.filter(|_| self.has_ready()) {
            Some(error) => NoPod::Unreachable(error),
            None if self.has_ready() => NoPod::Busy(rules.per_pod.max(1)),
            None => NoPod::NotReady(rules.not_ready.clone().unwrap_or_else(|| "no pod of it is ready".to_owned())),
        };
        self.account.timed_out(held, cause.clone());
        Refusal::TimedOut(held, cause)
    }

    /// Connects to a pod, again and again. Only what cannot go at once needs a place among those that wait.
    async fn connect(&self, ticket: &Ticket, last_error: &mut Option<String>) -> Result<(Pod, TcpStream), Refusal> {
        let mut place: Option<Place> = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let free = ticket.take();
            if free.is_none() && place.is_none() {
                place = Some(self.account.wait().map_err(Refusal::Full)?);
            }
            let pod = match free {
                Some(pod) => pod,
                None => ticket.wait().await,
            };
            match Box::pin(timeout(CONNECT_WITHIN, TcpStream::connect(pod.address()))).await {
                Ok(Ok(stream)) => {
                    // An error means that the pod is gone, which the first write reports.
                    let _ = stream.set_nodelay(true);
                    return Ok((pod, stream));
                }
                Ok(Err(error)) => *last_error = Some(refused(pod.address(), &error)),
                Err(_) => *last_error = Some(silent(pod.address())),
            }
            self.shared.metrics.connect_failed();
            pod.failed();
            drop(pod);
            if place.is_none() {
                place = Some(self.account.wait().map_err(Refusal::Full)?);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn refused(pod: SocketAddr, error: &io::Error) -> String {
    format!(
        "its pod at {pod}, which is ready, does not accept connections from Tidegate ({error}). Does it listen on that port, at its \
         address and not only at localhost?"
    )
}

fn silent(pod: SocketAddr) -> String {
    let seconds = CONNECT_WITHIN.as_secs();
    format!(
        "its pod at {pod}, which is ready, did not accept a connection from Tidegate within {seconds} s. Does a NetworkPolicy forbid \
         it?"
    )
}
