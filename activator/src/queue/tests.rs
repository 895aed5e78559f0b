use std::net::Ipv4Addr;

use proptest::prelude::*;
use tokio::time::advance;

use super::*;

fn pod(number: u8) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, number), 8080).into()
}

fn pods(numbers: &[u8]) -> Arc<[SocketAddr]> {
    numbers.iter().copied().map(pod).collect()
}

/// The pod that a ticket got by now.
async fn chosen(waiting: &mut tokio::task::JoinHandle<Pod>) -> Option<SocketAddr> {
    tokio::task::yield_now().await;
    if waiting.is_finished() { waiting.await.ok().map(|pod| pod.address()) } else { None }
}

#[tokio::test(start_paused = true)]
async fn the_pod_with_the_least_open_is_chosen_and_none_gets_more_than_its_share() {
    let queue = Queue::new(pods(&[1, 2]), 2);
    let taken: Vec<_> = (0..4).map(|_| queue.ticket().take().unwrap()).collect();
    assert_eq!(taken.iter().map(Pod::address).collect::<Vec<_>>(), [pod(1), pod(2), pod(1), pod(2)]);
    assert!(queue.ticket().take().is_none());
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_are_let_go_in_the_order_in_which_they_came() {
    let queue = Queue::new(pods(&[]), 1);
    let (first, second) = (queue.ticket(), queue.ticket());
    let later = tokio::spawn(async move { second.wait().await });
    tokio::task::yield_now().await;
    let earlier = tokio::spawn(async move { first.wait().await });
    tokio::task::yield_now().await;
    queue.update(pods(&[1]), 1);
    let pod_of_first = earlier.await.unwrap();
    assert!(!later.is_finished());
    drop(pod_of_first);
    assert_eq!(later.await.unwrap().address(), pod(1));
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_later_does_not_overtake_those_that_wait() {
    let queue = Queue::new(pods(&[1]), 1);
    let open = queue.ticket().take().unwrap();
    let waits = queue.ticket();
    let mut waiting = tokio::spawn(async move { waits.wait().await });
    assert_eq!(chosen(&mut waiting).await, None);
    // It comes before the one that waits has been let go, so that only the queue can keep the order.
    drop(open);
    assert!(queue.ticket().take().is_none());
    queue.update(pods(&[1, 2]), 1);
    assert_eq!(queue.ticket().take().map(|pod| pod.address()), Some(pod(2)));
    assert_eq!(chosen(&mut waiting).await, Some(pod(1)));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_did_not_accept_a_connection_comes_last_for_a_second() {
    let queue = Queue::new(pods(&[1, 2]), 9);
    queue.ticket().take().unwrap().failed();
    let other = queue.ticket().take().unwrap();
    assert_eq!(other.address(), pod(2));
    assert_eq!(queue.ticket().take().unwrap().address(), pod(2));
    advance(SHUNNED).await;
    assert_eq!(queue.ticket().take().unwrap().address(), pod(1));
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_while_a_pod_is_being_given_to_it_gives_that_to_the_next() {
    let queue = Queue::new(pods(&[]), 1);
    let (leaves, stays) = (queue.ticket(), queue.ticket());
    let mut left = Box::pin(leaves.wait());
    assert!(polled(left.as_mut()).is_none());
    let mut waiting = tokio::spawn(async move { stays.wait().await });
    tokio::task::yield_now().await;
    queue.update(pods(&[1]), 1);
    assert_eq!(chosen(&mut waiting).await, None);
    drop(left);
    assert_eq!(chosen(&mut waiting).await, Some(pod(1)));
}

/// Polls once.
fn polled<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Come,
    /// The nth of those that wait goes away
    Leave(usize),
    /// The nth of those that have a pod is done
    Finish(usize),
    Update(Vec<u8>, u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Come),
        1 => any::<usize>().prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::Finish),
        1 => (prop::collection::vec(1u8..5, 0..4), 0u32..4).prop_map(|(pods, per_pod)| Step::Update(pods, per_pod)),
    ]
}

proptest! {
    /// Whatever happens: no pod has more than its share, nobody waits while a pod is free, and nothing is forgotten at the end.
    #[test]
    fn no_pod_is_overloaded_and_nobody_waits_for_nothing(steps in prop::collection::vec(step(), 0..60)) {
        let queue = Queue::new(pods(&[]), 1);
        let mut waiting: Vec<std::pin::Pin<Box<dyn Future<Output = Pod>>>> = Vec::new();
        let mut open: Vec<Pod> = Vec::new();
        let mut per_pod = 1;
        for step in steps {
            match step {
                Step::Come => {
                    let ticket = queue.ticket();
                    match ticket.take() {
                        Some(pod) => open.push(pod),
                        None => waiting.push(Box::pin(async move { ticket.wait().await })),
                    }
                }
                Step::Leave(nth) if !waiting.is_empty() => drop(waiting.remove(nth % waiting.len())),
                Step::Finish(nth) if !open.is_empty() => drop(open.remove(nth % open.len())),
                Step::Update(ready, most) => {
                    per_pod = most.max(1);
                    queue.update(pods(&ready), most);
                }
                Step::Leave(_) | Step::Finish(_) => {}
            }
            let mut still = Vec::new();
            for mut future in waiting {
                match polled(future.as_mut()) {
                    Some(pod) => open.push(pod),
                    None => still.push(future),
                }
            }
            waiting = still;
            let state = queue.0.lock();
            let count = |pod: &SocketAddr| open.iter().filter(|open| open.address == *pod).count() as u32;
            let ready: Vec<_> = state.ready.to_vec();
            let recorded: u32 = state.open.values().sum();
            drop(state);
            prop_assert_eq!(recorded, open.len() as u32);
            let has_free = ready.iter().any(|pod| count(pod) < per_pod);
            prop_assert!(waiting.is_empty() || !has_free);
        }
        drop((waiting, open));
        let state = queue.0.lock();
        prop_assert!(state.waiting.is_empty() && state.open.is_empty());
    }
}
