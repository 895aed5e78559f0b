//! The capacity of one replica: a limit on concurrent requests, and one on the queue.

use std::time::Duration;

use tokio::sync::Semaphore;

/// Admits requests: `concurrency` are worked on, `queue` wait for their turn, the next is refused.
pub(crate) struct Gate {
    places: Semaphore,
    slots: Semaphore,
    service_time: Duration,
}

/// Every place in the queue is taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Gate {
    pub(crate) fn new(concurrency: usize, queue: usize, service_time: Duration) -> Self {
        Self { places: Semaphore::new(concurrency + queue), slots: Semaphore::new(concurrency), service_time }
    }

    /// Waits for its turn, then works for the service time. A request whose client disconnects gives its place back.
    pub(crate) async fn work(&self) -> Result<(), Full> {
        let _place = self.places.try_acquire().map_err(|_| Full)?;
        let _slot = self.slots.acquire().await.map_err(|_| Full)?;
        tokio::time::sleep(self.service_time).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{task::JoinSet, time::Instant};

    use super::*;

    async fn burst(gate: &Arc<Gate>, requests: usize) -> (usize, Duration) {
        let start = Instant::now();
        let mut running = JoinSet::new();
        for _ in 0..requests {
            let gate = Arc::clone(gate);
            running.spawn(async move { gate.work().await });
        }
        let served = running.join_all().await.into_iter().flatten().count();
        (served, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_served_as_many_at_once_as_the_concurrency_says() {
        let gate = Arc::new(Gate::new(8, 1000, Duration::from_millis(20)));
        assert_eq!(burst(&gate, 80).await, (80, Duration::from_millis(200)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_the_queue_is_refused_at_once() {
        let gate = Arc::new(Gate::new(2, 3, Duration::from_millis(20)));
        assert_eq!(burst(&gate, 10).await, (5, Duration::from_millis(60)));
        assert_eq!(burst(&gate, 1).await.0, 1, "the places are free again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_gives_its_place_back() {
        let gate = Gate::new(1, 0, Duration::from_secs(3600));
        let left = tokio::time::timeout(Duration::from_secs(1), gate.work()).await;
        assert!(left.is_err());
        let next = tokio::time::timeout(Duration::from_secs(1), gate.work()).await;
        assert!(next.is_err(), "it was admitted, not refused");
    }
}
