//! The end of a connection: a fixed time after it began, unless its answer is a stream whose reader keeps reading.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// The deadline of one connection; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Deadline {
    at: Arc<watch::Sender<Instant>>,
    within: Duration,
}

impl Deadline {
    /// A connection that begins now.
    pub(super) fn new(within: Duration) -> Self {
        Self { at: Arc::new(watch::Sender::new(Instant::now() + within)), within }
    }

    /// Moves it: something was read.
    pub(super) fn extend(&self) {
        self.at.send_replace(Instant::now() + self.within);
    }

    /// Runs until the end, or until the deadline.
    pub(super) async fn enforce(&self, serving: impl Future) {
        tokio::pin!(serving);
        loop {
            let at = *self.at.borrow();
            if timeout_at(at, serving.as_mut()).await.is_ok() || *self.at.borrow() <= Instant::now() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_in_time_and_one_that_is_read_from_goes_on() {
        let began = Instant::now();
        Deadline::new(WITHIN).enforce(pending::<()>()).await;
        assert_eq!(began.elapsed(), WITHIN);

        let (deadline, began) = (Deadline::new(WITHIN), Instant::now());
        let reading = async {
            for _ in 0..10 {
                sleep(Duration::from_secs(20)).await;
                deadline.extend();
            }
        };
        tokio::join!(deadline.enforce(pending::<()>()), reading);
        assert_eq!(began.elapsed(), Duration::from_secs(200) + WITHIN);
    }
}
