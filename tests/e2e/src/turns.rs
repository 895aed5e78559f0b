//! Turns: which tests run at one time, and in what order.
//!
//! `make test-e2e` starts all tests at once; here most of them wait. The long ones go first, so that none of them is left alone
//! at the end. Those that take a peer away go last: then nobody else has to wait for them, nor they for others.

use std::{
    env,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
};

use tokio::sync::Notify;

/// When a test wants its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Before the others: it takes longer than a minute.
    First,
    /// In any order.
    Middle,
    /// Once no other test waits.
    Last,
}

/// All turns.
#[derive(Debug)]
struct Turns {
    /// Most tests at one time
    places: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Tests that have a turn, whether or not they wait to be alone
    running: usize,
    /// Tests of each [`Order`] that wait for a turn
    waiting: [usize; 3],
    /// Tests with a turn that wait until the others with one wait for the same
    want_alone: usize,
    is_alone: bool,
}

impl State {
    fn may_start(&self, order: Order, places: usize) -> bool {
        let earlier = self.waiting.iter().take(order as usize).sum::<usize>();
        self.running < places && earlier == 0 && self.want_alone == 0 && !self.is_alone
    }

    fn may_be_alone(&self) -> bool {
        self.running == self.want_alone && !self.is_alone
    }
}

/// The tests of this process: two at a time per core, since they wait most of the time.
static TURNS: LazyLock<Turns> = LazyLock::new(|| {
    let places = env::var("TIDEGATE_E2E_AT_ONCE").ok().and_then(|places| places.parse().ok());
    let cores = || available_parallelism().map_or(2, usize::from);
    Turns::new(places.unwrap_or_else(|| 2 * cores()))
});

/// A test's turn; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: &'static Turns,
    alone: bool,
}

/// A test that waits for its turn: those of a later order wait for it too.
#[derive(Debug)]
pub(crate) struct Waiting {
    turns: &'static Turns,
    order: Order,
}

impl Waiting {
    /// Joins the others that wait.
    pub(crate) fn new(order: Order) -> Self {
        Self::among(&TURNS, order)
    }

    fn among(turns: &'static Turns, order: Order) -> Self {
        turns.state().waiting[order as usize] += 1;
        Self { turns, order }
    }

    /// Waits until it may run beside others.
    pub(crate) async fn turn(self) -> Turn {
        let turns = self.turns;
        turns
            .until(|state| {
                let may = state.may_start(self.order, turns.places);
                state.running += usize::from(may);
                may
            })
            .await;
        Turn { turns, alone: false }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.turns.state().waiting[self.order as usize] -= 1;
        self.turns.changed.notify_waiters();
    }
}

impl Turn {
    /// Waits until all others that have a turn have ended, or wait here too. From then on nobody else runs, until this is dropped.
    pub(crate) async fn alone(mut self) -> Self {
        self.turns.state().want_alone += 1;
        self.turns.changed.notify_waiters();
        self.turns
            .until(|state| {
                let may = state.may_be_alone();
                state.want_alone -= usize::from(may);
                state.is_alone |= may;
                may
            })
            .await;
        self.alone = true;
        self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        state.running -= 1;
        state.is_alone &= !self.alone;
        drop(state);
        self.turns.changed.notify_waiters();
    }
}

impl Turns {
    fn new(places: usize) -> Self {
        Self { places, state: Mutex::default(), changed: Notify::new() }
    }

    /// A test that panicked changed nothing halfway.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `take` says that it has what it wants.
    async fn until(&self, mut take: impl FnMut(&mut State) -> bool) {
        loop {
            // Before the look, so that no change after it is missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if take(&mut self.state()) {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::join_all};

    use super::*;

    fn turns(places: usize) -> &'static Turns {
        Box::leak(Box::new(Turns::new(places)))
    }

    #[tokio::test]
    async fn long_tests_start_before_others_and_those_that_take_peers_away_after_all() {
        let turns = turns(1);
        let orders = [Order::Last, Order::Middle, Order::First, Order::Middle, Order::Last, Order::First];
        let waiting = orders.map(|order| (order, Waiting::among(turns, order)));
        let started = Mutex::new(Vec::new());
        let run = |(order, waiting): (Order, Waiting)| {
            let started = &started;
            async move {
                let _turn = waiting.turn().await;
                started.lock().unwrap().push(order);
                tokio::task::yield_now().await;
            }
        };
        join_all(waiting.map(run)).await;
        assert!(started.lock().unwrap().is_sorted(), "{started:?}");
    }

    #[tokio::test]
    async fn a_test_is_alone_once_the_others_have_ended_or_wait_for_the_same() {
        let turns = turns(4);
        let [one, two, third, late] = [(); 4].map(|()| Waiting::among(turns, Order::Last));
        let (one, two, third) = (one.turn().await, two.turn().await, third.turn().await);
        let (mut one, mut two, mut late) = (Box::pin(one.alone()), Box::pin(two.alone()), Box::pin(late.turn()));
        assert!(one.as_mut().now_or_never().is_none(), "a third still runs");
        assert!(two.as_mut().now_or_never().is_none());
        assert!(late.as_mut().now_or_never().is_none(), "nobody starts while others wait to be alone");
        drop(third);
        let alone = one.await;
        assert!(two.as_mut().now_or_never().is_none());
        drop(alone);
        let alone = two.await;
        assert!(late.as_mut().now_or_never().is_none());
        drop(alone);
        late.await;
    }

    #[tokio::test]
    async fn no_more_tests_run_at_one_time_than_there_are_places() {
        let turns = turns(2);
        let waiting = || Waiting::among(turns, Order::Middle);
        let (one, _two, mut third) = (waiting().turn().await, waiting().turn().await, Box::pin(waiting().turn()));
        assert!(third.as_mut().now_or_never().is_none());
        drop(one);
        third.await;
    }
}
