//! Several pods of Tidegate: each knows what the others hold.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use tidegate_core::{demand::Peak, signal::Signal, workload::WorkloadRef};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    clients::sent,
    site::{DEADLINE, Site, until, workload},
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A pod that reports to others.
struct Speaking {
    site: Site,
    peers: watch::Sender<Arc<[SocketAddr]>>,
    stop: CancellationToken,
    heard: Arc<Mutex<Vec<Peak>>>,
    running: JoinHandle<()>,
}

async fn pod(address: SocketAddr, peers: &[SocketAddr]) -> Speaking {
    let site = Site::open().await;
    let (peers, stop) = (watch::Sender::new(Arc::from(peers)), CancellationToken::new());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&heard);
    let take = Arc::new(move |peaks| into.lock().unwrap().extend(peaks));
    let running = Arc::clone(&site.activator).run_peers(address, peers.subscribe(), take, stop.clone());
    let running = tokio::spawn(async { running.await.unwrap() });
    until("it listens", || std::net::TcpStream::connect(address).is_ok()).await;
    Speaking { site, peers, stop, heard, running }
}

/// A port that no connection of another test takes by chance: Linux gives those from 32768 on.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let of_process = (std::process::id() % 500) as u16 * 20;
    20_000 + of_process + NEXT.fetch_add(1, Ordering::Relaxed) % 20
}

async fn two() -> (Speaking, Speaking) {
    let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, port()));
    let (first, second) = (address(), address());
    (pod(first, &[second]).await, pod(second, &[first]).await)
}

#[tokio::test]
async fn peaks_are_known_to_the_others_when_the_report_ends_and_a_pod_that_is_gone_delays_it_little() {
    let (one, other) = two().await;
    let peak = Peak { workload: workload(), signal: Signal::Concurrency, value: 12.5, age: Duration::from_secs(1) };
    let peaks = [peak];
    one.site.activator.report_peaks(&peaks).await;
    assert_eq!(*other.heard.lock().unwrap(), peaks);
    // An address of the documentation network, where nobody answers.
    one.peers.send_replace(Arc::from([SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 1))]));
    timeout(Duration::from_secs(2), one.site.activator.report_peaks(&peaks)).await.unwrap();
}

#[tokio::test]
async fn what_one_holds_is_news_to_the_other_and_over_when_it_is_over() {
    let (one, other) = two().await;
    let mut news = other.site.activator.news();
    let client = sent(&one.site, GET).await;
    timeout(DEADLINE, news.changed()).await.unwrap().unwrap();
    let held = other.site.held();
    assert!(held.requests == 1 && held.awake, "{held:?}");
    assert!(other.site.activator.own().is_empty());
    let _own = sent(&other.site, GET).await;
    other.site.until_requests(2).await;
    drop(client);
    other.site.until_requests(1).await;
}

#[tokio::test]
async fn what_one_refused_the_other_knows_after_nothing_is_in_hand_any_more() {
    let (one, other) = two().await;
    one.site.change_rules(|rules| rules.hold_timeout = Duration::from_millis(50));
    let refused = || other.site.activator.refused(&workload()).timed_out.map_or(0, |timed_out| timed_out.count);
    for count in 1..=2 {
        let _client = sent(&one.site, GET).await;
        until("the refusal is known", || refused() == count).await;
    }
    assert!(other.site.activator.all_refused().len() == 1 && other.site.held().requests == 0);
}

#[tokio::test]
async fn what_stays_in_hand_stays_known_and_what_a_dead_pod_held_is_forgotten() {
    let (one, other) = two().await;
    let _client = sent(&one.site, GET).await;
    other.site.until_requests(1).await;
    let start = Instant::now();
    until("more time has passed than a report is good for", || {
        assert_eq!(other.site.held().requests, 1);
        start.elapsed() > Duration::from_secs(4)
    })
    .await;
    one.stop.cancel();
    one.running.await.unwrap();
    other.site.until_requests(0).await;
    assert!(!other.site.held().awake);
}

#[tokio::test]
async fn a_report_of_one_that_is_no_peer_is_refused() {
    let (one, other) = two().await;
    other.peers.send_replace(Arc::from([SocketAddr::from((Ipv4Addr::new(127, 0, 0, 9), 1))]));
    let _client = sent(&one.site, GET).await;
    let another = "deployment/other".parse::<WorkloadRef>().unwrap().within("shop");
    let start = Instant::now();
    until("reports have had time to arrive", || start.elapsed() > Duration::from_millis(500)).await;
    assert!(!other.site.activator.held(&workload()).awake && !other.site.activator.held(&another).awake);
}
