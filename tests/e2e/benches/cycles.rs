//! Not one request is lost, whenever in a cycle 0 → 1 → 0 it comes, and whatever happens to Tidegate meanwhile.
//!
//! `make bench-cycles`, on the real stack with the HPA's stock timing: [`PAIRS`] Deployments for each way of asking, through Envoy and
//! through the Service's clusterIP. Each is asked once, then again after a pause; the pauses cover a whole cycle evenly, so
//! that requests come while the slice comes, while the last pod ends, while it sleeps and while the first pod starts. Meanwhile
//! the leader's pod, another pod and then all of them by a rolling upgrade are replaced, in turn.
#![allow(missing_docs, reason = "a benchmark")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures::future::{try_join, try_join_all};
use tidegate_e2e::{
    cluster::Cluster,
    kubectl::{get, kubectl},
    scenario::{Scenario, gateway, http_route, route, task_api, until},
};
use tidegate_sim::load::{Load, LoadLimits, LoadSpec, Profile, Traffic};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, interval, sleep, timeout},
};

/// Deployments per way of asking.
const PAIRS: usize = 2;
/// Longer than a cycle takes: two seconds without a request, the poll of KEDA, and a pod that ends.
const LONGEST_PAUSE: Duration = Duration::from_secs(24);
/// Requests that Envoy counts are a rate over 30 s, which has to pass before there are none.
const LONGEST_PAUSE_OF_RATES: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(90);
/// The golden ratio's fraction: its multiples, less their whole part, cover an interval evenly however many there are.
const GOLDEN: f64 = 0.618_033_988_749_895;
const NAMESPACE: &str = "tidegate-system";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Http,
    Grpc,
    WebSocket,
    Tcp,
    Tls,
}

impl Protocol {
    const ALL: [Self; 5] = [Self::Http, Self::Grpc, Self::WebSocket, Self::Tcp, Self::Tls];

    const fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP/1.1",
            Self::Grpc => "gRPC (h2c)",
            Self::WebSocket => "WebSocket",
            Self::Tcp => "TCP",
            Self::Tls => "TLS passthrough",
        }
    }

    /// The ports of the Gateway's listener and of the Service.
    const fn ports(self) -> (u16, u16) {
        match self {
            Self::Http | Self::WebSocket => (8080, 8000),
            Self::Grpc => (8080, 9000),
            Self::Tcp => (7070, 7000),
            Self::Tls => (8443, 7000),
        }
    }

    fn routes(self) -> String {
        let backends = [("task-api", 1)];
        match self {
            Self::Http | Self::WebSocket => gateway(&[("http", "HTTP", 8080)]) + &http_route("tasks", &backends),
            Self::Grpc => gateway(&[("http", "HTTP", 8080)]) + &route("GRPCRoute", "tasks", "", 9000, &backends),
            Self::Tcp => gateway(&[("tcp", "TCP", 7070)]) + &route("TCPRoute", "tasks", "tcp", 7000, &backends),
            Self::Tls => {
                let listener = "    - {name: tls, protocol: TLS, port: 8443, tls: {mode: Passthrough}}\n";
                let route = route("TLSRoute", "tasks", "tls", 7000, &backends);
                gateway(&[]) + listener + &route.replace("spec:\n", "spec:\n  hostnames: [tasks.example.com]\n")
            }
        }
    }

    /// What a workload says that it carries: connections where Envoy counts no requests.
    const fn intent(self) -> (&'static str, &'static str) {
        if self.has_requests() { ("requests-per-second", "20") } else { ("connections", "10") }
    }

    /// Whether Envoy counts its requests.
    const fn has_requests(self) -> bool {
        matches!(self, Self::Http | Self::Grpc | Self::WebSocket)
    }

    async fn ask(self, to: SocketAddr) -> Result<()> {
        match self {
            Self::Http => {
                let (status, body) = tidegate_stack::get(&format!("http://{to}/tasks"), PATIENCE).await?;
                ensure!(status == 200, "{status}: {body}");
                Ok(())
            }
            Self::Grpc => call(to).await,
            Self::WebSocket => web_socket(to).await,
            Self::Tcp => echo(to, b"hello").await,
            // The backend echoes: what it gets are the bytes of the handshake, which nobody on the way may change.
            Self::Tls => echo(to, &client_hello("tasks.example.com")).await,
        }
    }
}

async fn call(to: SocketAddr) -> Result<()> {
    let once = Profile::starting_at(1.0).hold(Duration::from_secs(1));
    let traffic = Traffic::grpc("tasks.example.com", "/tasks.v1.Tasks/List")?;
    let limits = LoadLimits { timeout: PATIENCE, ..LoadLimits::default() };
    let counts = Load::start(LoadSpec { limits, ..LoadSpec::new(traffic, once) }, vec![to]).finished().await.counts;
    ensure!(counts.ok == 1 && counts.total() == 1, "{counts:?}");
    Ok(())
}

async fn echo(to: SocketAddr, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).await?;
    ensure!(answer == bytes, "other bytes came back");
    Ok(())
}

/// The handshake of RFC 6455, and a message that is echoed.
async fn web_socket(to: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    let handshake = "GET /echo HTTP/1.1\r\nHost: tasks.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    ensure!(head.starts_with("HTTP/1.1 101"), "{head}");
    // A text frame "tide" of a client: masked, with a mask of zeros.
    let frame = b"\x81\x84\0\0\0\0tide";
    stream.write_all(frame).await?;
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).await?;
    ensure!(&answer == frame, "other bytes came back");
    Ok(())
}

/// A ClientHello of TLS 1.2 (RFC 5246, 7.4.1.2) with one cipher suite and this server name (RFC 6066, 3).
fn client_hello(name: &str) -> Vec<u8> {
    fn with_length<const BYTES: usize>(content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        [&length[length.len() - BYTES..], content].concat()
    }
    let server_name = with_length::<2>(&[&[0][..], &with_length::<2>(name.as_bytes())].concat());
    let extensions = with_length::<2>(&[&[0, 0][..], &with_length::<2>(&server_name)].concat());
    let hello = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0xc0, 0x2f], &[1, 0], &extensions].concat();
    let handshake = [&[1][..], &with_length::<3>(&hello)].concat();
    [&[22, 3, 1][..], &with_length::<2>(&handshake)].concat()
}

/// What the requests to one Deployment came to.
#[derive(Debug, Default)]
struct Tally {
    asked: usize,
    lost: Vec<String>,
    cycles: usize,
    slowest: Duration,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.lost.extend(other.lost);
        self.cycles += other.cycles;
        self.slowest = self.slowest.max(other.slowest);
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let cycles = std::env::var("TIDEGATE_CYCLES").ok().map_or(Ok(500), |cycles| cycles.parse())?;
    let _cluster = Cluster::as_shipped().await?;
    let ways: Vec<_> = Protocol::ALL.into_iter().flat_map(|protocol| [(protocol, true), (protocol, false)]).collect();
    let workloads: Vec<_> = ways.iter().flat_map(|way| (0..PAIRS).map(move |number| (*way, number))).collect();
    let each = cycles / workloads.len();
    let done = Arc::new(AtomicBool::new(false));
    let asking = async {
        let tallies = try_join_all(
            workloads
                .iter()
                .enumerate()
                .map(|(index, (way, number))| run(*way, *number, each, index as f64 / workloads.len() as f64)),
        )
        .await;
        done.store(true, Ordering::Relaxed);
        tallies
    };
    let (tallies, replaced) = try_join(asking, replace_tidegate(&done)).await?;

    let mut by_way: BTreeMap<_, Tally> = BTreeMap::new();
    for ((way, _), tally) in workloads.iter().zip(tallies) {
        by_way.entry(*way).or_default().add(tally);
    }
    println!("| | requests | lost | cycles 0 → 1 → 0 | slowest answer |\n|---|---|---|---|---|");
    for ((protocol, through_envoy), tally) in &by_way {
        let through = if *through_envoy { "Envoy" } else { "clusterIP" };
        let (name, lost) = (protocol.name(), tally.lost.len());
        println!(
            "| {name}, {through} | {} | {lost} | {} | {:.1} s |",
            tally.asked,
            tally.cycles,
            tally.slowest.as_secs_f64()
        );
    }
    println!("\nMeanwhile: {replaced}");
    for ((protocol, _), tally) in &by_way {
        tally.lost.iter().for_each(|why| println!("lost, {}: {why}", protocol.name()));
    }
    ensure!(by_way.values().all(|tally| tally.lost.is_empty()), "requests were lost");
    Ok(())
}

/// Asks one Deployment again and again until it has been through so many cycles.
async fn run((protocol, through_envoy): (Protocol, bool), number: usize, cycles: usize, phase: f64) -> Result<Tally> {
    let through = if through_envoy { "envoy" } else { "ip" };
    let scenario = Scenario::new(&format!("cycles-{protocol:?}-{through}-{number}").to_ascii_lowercase()).await?;
    let annotations = [("min-replicas", "0"), ("zero-after", "2s"), protocol.intent()];
    scenario.apply(&(lingering(&task_api("task-api", &annotations)) + "---\n" + &protocol.routes())).await?;
    let (listener, port) = protocol.ports();
    let to = if through_envoy {
        scenario.gateway("web", listener).await?
    } else {
        let service = scenario.get(&["service", "task-api"]).await?;
        SocketAddr::new(service["spec"]["clusterIP"].as_str().context("it has no clusterIP")?.parse()?, port)
    };
    // Envoy listens before it has the route.
    until("it answers", async || protocol.ask(to).await).await?;
    until("it is at zero", async || {
        ensure!(scenario.replicas("task-api").await? == 0, "not yet");
        Ok(())
    })
    .await?;

    let longest_pause = if through_envoy && protocol.has_requests() { LONGEST_PAUSE_OF_RATES } else { LONGEST_PAUSE };
    let mut tally = Tally::default();
    let most = cycles * 4;
    for turn in 0..most {
        let pause = longest_pause.mul_f64((phase + GOLDEN * turn as f64).fract());
        tally.cycles += usize::from(went_to_zero(&scenario, pause).await?);
        let asked = Instant::now();
        tally.asked += 1;
        if let Err(why) = timeout(PATIENCE, protocol.ask(to)).await.context("no answer in time").flatten() {
            let lost = format!("{} after {:.1} s: {why:#}", scenario.namespace, asked.elapsed().as_secs_f64());
            eprintln!("lost: {lost}");
            tally.lost.push(lost);
        }
        tally.slowest = tally.slowest.max(asked.elapsed());
        if tally.cycles >= cycles {
            return Ok(tally);
        }
        if turn % 5 == 0 {
            eprintln!("{}: {} of {cycles} cycles, {} lost", scenario.namespace, tally.cycles, tally.lost.len());
        }
    }
    bail!("{}: {most} requests, and only {} of {cycles} cycles: {tally:?}", scenario.namespace, tally.cycles)
}

/// Pods that serve for some seconds after they were asked to end, as docs/production.md asks for: until then proxies and kube-proxy
/// may still send them requests, and nobody else can save those.
fn lingering(deployment: &str) -> String {
    let deployment = deployment.replace("terminationGracePeriodSeconds: 2", "terminationGracePeriodSeconds: 20");
    deployment.replace("--concurrency=50]", "--concurrency=50, --linger=8s]")
}

/// Waits for `pause`, and says whether the Deployment went to zero meanwhile.
async fn went_to_zero(scenario: &Scenario, pause: Duration) -> Result<bool> {
    let end = Instant::now() + pause;
    let mut looks = interval(Duration::from_millis(500));
    let mut zero = false;
    while Instant::now() < end {
        tokio::select! {
            () = tokio::time::sleep_until(end) => {}
            _ = looks.tick() => zero |= scenario.replicas("task-api").await? == 0,
        }
    }
    Ok(zero)
}

/// Replaces Tidegate's pods in different ways until all is `done`, and says how often.
async fn replace_tidegate(done: &AtomicBool) -> Result<String> {
    let mut counts = [0_usize; 3];
    for turn in 0.. {
        for _ in 0..40 {
            if done.load(Ordering::Relaxed) {
                let [leaders, others, upgrades] = counts;
                return Ok(format!("{leaders} leaders and {others} other pods deleted, {upgrades} rolling upgrades"));
            }
            sleep(Duration::from_secs(1)).await;
        }
        match turn % 3 {
            0 => delete_pod(true).await?,
            1 => delete_pod(false).await?,
            _ => drop(kubectl(&["rollout", "restart", "deployment/tidegate", "-n", NAMESPACE]).await?),
        }
        counts[turn % 3] += 1;
        kubectl(&["rollout", "status", "deployment/tidegate", "-n", NAMESPACE, "--timeout=300s"]).await?;
    }
    unreachable!("turns have no end")
}

async fn delete_pod(leader: bool) -> Result<()> {
    let lease = get(&["lease", "tidegate", "-n", NAMESPACE]).await?;
    let holder = lease["spec"]["holderIdentity"].as_str().context("nobody holds the Lease")?.to_owned();
    let pods = get(&["pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=tidegate"]).await?;
    let names = pods["items"].as_array().into_iter().flatten().filter_map(|pod| pod["metadata"]["name"].as_str());
    let name = names.into_iter().find(|name| (*name == holder) == leader).context("no such pod")?;
    kubectl(&["delete", "pod", "-n", NAMESPACE, name, "--wait=false"]).await.map(drop)
}
