//! Subscribers to StreamIsActive, and the states sent to them.

use std::{future::pending, time::Duration};

use futures::stream::{self, Stream};
use parking_lot::Mutex;
use tidegate_core::trigger::Trigger;
use tidegate_proto::IsActiveResponse;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tonic::Status;

use super::Scaler;
use crate::{demand::Demands, metrics::OpenStream};

/// The activity sent to a stream; `None` until it is known.
type State = Option<bool>;

/// The open streams; `None` once the scaler closes.
pub(super) struct Subscribers(Mutex<Option<Vec<Subscriber>>>);

struct Subscriber {
    trigger: Trigger,
    state: watch::Sender<State>,
}

impl Default for Subscribers {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}

/// Streams the state when it is first known, and then every change. KEDA acts on `true` alone, and every `true` delays scaling to
/// zero (it patches `lastActiveTime`), so nothing is sent twice.
pub(super) fn changes(
    states: watch::Receiver<State>,
    open: OpenStream,
) -> impl Stream<Item = Result<IsActiveResponse, Status>> {
    stream::unfold((states, None, open), |(mut states, sent, open)| async move {
        loop {
            let state = *states.borrow_and_update();
            if let Some(result) = state.filter(|_| state != sent) {
                return Some((Ok(IsActiveResponse { result }), (states, state, open)));
            }
            states.changed().await.ok()?;
        }
    })
}

/// Streams per batch, after which other tasks get their turn: about a tenth of a millisecond, so that calls do not wait for
/// thousands of streams.
const AT_ONCE: usize = 64;
/// Shortest time between two passes over all streams: the answers to many queries may come one after another.
const PASS: Duration = Duration::from_millis(200);
/// Longest wait for news from sources before the next pass: hours change by themselves, and streams that KEDA closed are dropped.
const IDLE: Duration = Duration::from_secs(1);

impl Scaler {
    /// Registers a stream and returns its states from now on.
    pub(super) fn subscribe(&self, trigger: Trigger) -> watch::Receiver<State> {
        // Under the lock, so that no round is missed between the first look and the next pass.
        let mut subscribers = self.subscribers.0.lock();
        let (state, states) = watch::channel(self.active(&trigger).ok());
        if let Some(subscribers) = subscribers.as_mut() {
            subscribers.push(Subscriber { trigger, state });
        }
        states
    }

    /// Sends every stream its changes: after each round of samples, at least once a second, and at once when something begins to be
    /// held. Never returns.
    ///
    /// One task serves all streams and yields between batches; a task per stream would wake by the thousand each second and delay
    /// RPCs.
    pub(super) async fn tell_streams(&self) {
        let (mut rounds, mut gates) = (self.demands.signals().rounds(), self.demands.gates());
        loop {
            let next = Instant::now() + PASS;
            let mut from = 0;
            while self.tell_some(&mut from) {
                tokio::task::yield_now().await;
            }
            let round = async {
                sleep_until(next).await;
                if let Ok(Err(_gone)) = timeout(IDLE, rounds.changed()).await {
                    pending::<()>().await;
                }
            };
            tokio::select! {
                () = round => {}
                () = Demands::news(&mut gates) => {}
            }
        }
    }

    /// Updates the next batch of streams, beginning at index `from`. Returns whether there may be more.
    fn tell_some(&self, from: &mut usize) -> bool {
        let mut subscribers = self.subscribers.0.lock();
        let Some(subscribers) = subscribers.as_mut() else { return false };
        for _ in 0..AT_ONCE {
            let Some(Subscriber { trigger, state }) = subscribers.get(*from) else { return false };
            if state.is_closed() {
                subscribers.swap_remove(*from);
                continue;
            }
            if let Ok(active) = self.active(trigger) {
                state.send_if_modified(|state| state.replace(active) != Some(active));
            }
            *from += 1;
        }
        true
    }
}

impl Subscribers {
    /// Ends all streams; a stream that is opened later ends at once.
    pub(super) fn close(&self) {
        *self.0.lock() = None;
    }
}
