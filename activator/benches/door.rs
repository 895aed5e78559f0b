//! The cost of the way through a door on loopback, and the memory of requests that are held.
//!
//! `cargo bench -p tidegate-activator --bench door`. A request takes the door with a ready pod, and the pod directly, in turn, by a new
//! connection each time: the door asks clients for one. Then 10,000 requests are held, by HTTP/1 connections of their own, or as
//! streams of a hundred HTTP/2 connections, as Envoy sends them; their clients are another process.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run fails")]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    env, fs,
    io::Read,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    server,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidegate_activator::{Activator, Door, DoorProtocol, DoorRules, Doors, HoldLimits};
use tidegate_core::{
    ids::ServiceId,
    workload::{WorkloadId, WorkloadRef},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

const REQUESTS: usize = 5_000;
const HELD: usize = 10_000;
const STREAMS: usize = 100;

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let runtime = Runtime::new().unwrap();
    match arguments.iter().position(|argument| argument == "clients") {
        Some(at) => {
            runtime.block_on(hold_clients(&arguments[at + 1], arguments[at + 2].parse().unwrap()));
            // Without waiting for the tasks of clients that hold on.
            std::process::exit(0);
        }
        None => runtime.block_on(async {
            overhead().await;
            memory("HTTP/1", "http1").await;
            memory("HTTP/2", "http2").await;
        }),
    }
}

/// An activator with one door.
struct Site {
    activator: Arc<Activator>,
    address: SocketAddr,
    stop: CancellationToken,
    _doors: watch::Sender<Arc<Doors>>,
}

fn workload() -> WorkloadId {
    "deployment/task-api".parse::<WorkloadRef>().unwrap().within("shop")
}

async fn site(backends: &[SocketAddr]) -> Site {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
    let door = Door {
        service: ServiceId { namespace: "shop".into(), name: "task-api".into() },
        port: "http".into(),
        workload: workload(),
        protocol: DoorProtocol::Sniffed,
        backends: backends.into(),
        rules: Arc::new(DoorRules { hold_timeout: Duration::from_secs(3600), ..DoorRules::default() }),
    };
    let doors = watch::Sender::new(Arc::new(BTreeMap::from([(port, door)])));
    let limits = HoldLimits { per_workload: HELD, total: HELD, ..HoldLimits::default() };
    let activator = Activator::new(Ipv4Addr::LOCALHOST.into(), limits);
    let stop = CancellationToken::new();
    tokio::spawn(Arc::clone(&activator).run(doors.subscribe(), stop.clone()));
    while activator.listening().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    Site { activator, address: (Ipv4Addr::LOCALHOST, port).into(), stop, _doors: doors }
}

async fn pod() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let greet = |_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello")))) };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(greet)));
        }
    });
    address
}

/// The time of one request by a new connection.
async fn timed(address: SocketAddr) -> Duration {
    let start = Instant::now();
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "shop.example").body(Empty::<Bytes>::new()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello");
    start.elapsed()
}

async fn overhead() {
    let pod = pod().await;
    let site = site(&[pod]).await;
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for _ in 0..REQUESTS {
        direct.push(timed(pod).await);
        through.push(timed(site.address).await);
    }
    println!("| {REQUESTS} requests by new connections | median | p99 |\n|---|---|---|");
    for (way, times) in [("directly", &mut direct), ("through the door", &mut through)] {
        times.sort_unstable();
        println!("| {way} | {:?} | {:?} |", times[REQUESTS / 2], times[REQUESTS * 99 / 100]);
    }
    site.stop.cancel();
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn memory(name: &str, protocol: &str) {
    let site = site(&[]).await;
    let before = resident();
    let mut clients = Command::new(env::current_exe().unwrap())
        .args(["clients", protocol, &site.address.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    while site.activator.held(&workload()).requests < HELD as u64 {
        sleep(Duration::from_millis(20)).await;
    }
    let added = resident() - before;
    println!("{HELD} requests held by {name}: {} MiB more resident memory", added / 1024);
    drop(clients.stdin.take());
    clients.wait().unwrap();
    while site.activator.held(&workload()).requests > 0 {
        sleep(Duration::from_millis(20)).await;
    }
    site.stop.cancel();
}

/// The process of the clients: it keeps its requests until its input ends.
async fn hold_clients(protocol: &str, address: SocketAddr) {
    let mut held = Vec::new();
    if protocol == "http1" {
        for _ in 0..HELD {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.try_write(b"GET /orders?page=1 HTTP/1.1\r\nhost: shop.example\r\nuser-agent: curl/8.14\r\naccept: */*\r\n\r\n").unwrap();
            held.push(tokio::spawn(async move {
                let _open = stream;
                std::future::pending::<()>().await;
            }));
        }
    } else {
        for _ in 0..HELD / STREAMS {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            for _ in 0..STREAMS {
                let request = Request::get("http://shop.example/orders?page=1").header("user-agent", "envoy");
                let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap());
                held.push(tokio::spawn(async { drop(answer.await) }));
            }
        }
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}
