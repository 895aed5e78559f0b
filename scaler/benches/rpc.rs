//! Cost of KEDA's calls at 10,000 workloads: answers/s, latency, memory.
//!
//! `cargo bench -p tidegate-scaler --bench rpc`. The server is a process of its own on one thread (so at most one core),
//! which also processes a round of 20 proxies every second and keeps 20,000 streams open, two for each workload as KEDA does.
//! The load comes from this process: first at a fixed rate, where an answer's latency starts when the call is due (so that
//! a stall of the server is measured in full), then as fast as possible. Reading the proxies' answers is another benchmark:
//! `signals`.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run fails")]

mod plan;

use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use prometheus_client::registry::Registry;
use tidegate_core::{plan::Proxy, workload::WorkloadId};
use tidegate_proto::{GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient};
use tidegate_scaler::{
    demand::Demands,
    metrics::{ScalerMetrics, register_workloads},
    service::{Scaler, ServiceSettings, serve},
    store::{Counters, Sample, SignalStore},
};
use tokio::{
    net::TcpListener,
    runtime,
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use self::plan::{WORKLOADS, id, plan};

const PROXIES: u8 = 20;
/// Calls/s. KEDA makes about 3,000 for 10,000 objects; our goal is stated for 5,000.
const RATES: [u32; 3] = [3000, 5000, 8000];
const SECONDS: u64 = 15;
const CONNECTIONS: [usize; 3] = [1, 4, 16];
/// Concurrent calls on each connection when the load is as fast as possible.
const AT_ONCE: usize = 32;

type Client = ExternalScalerClient<Channel>;

fn main() {
    if env::args().any(|arg| arg == "--serve") {
        runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(server());
    } else {
        runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(load());
    }
}

/// Serves until stdin ends, which happens when the parent process ends.
async fn server() {
    let plan = plan();
    let stale_after = Duration::from_secs(300);
    let signals = Arc::new(SignalStore::new(stale_after));
    signals.keep(&plan);
    let demands = Arc::new(Demands::new(Arc::clone(&signals), stale_after));
    let (_plan, planned) = watch::channel(Some(Arc::new(plan)));
    let stop = CancellationToken::new();
    let mut registry = Registry::default();
    let metrics = ScalerMetrics::register(&mut registry);
    register_workloads(&mut registry, Arc::clone(&demands), planned.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    tokio::spawn(serve(listener, ServiceSettings::default(), Scaler::new(demands, planned, metrics), stop.clone()));
    tokio::spawn(measure(signals));
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let _ = end.await;
}

/// Commits a round of all proxies once a second.
async fn measure(signals: Arc<SignalStore>) {
    let proxies: Vec<_> = (0..PROXIES)
        .map(|index| Proxy {
            name: format!("proxy-{index}"),
            stats: ([10, 0, 0, index], 19001).into(),
            ready: true,
            fleet: None,
        })
        .collect();
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for round in 1.. {
        ticks.tick().await;
        let series = signals.series();
        for proxy in &proxies {
            // As the source does: one sample after another, as they arrive.
            let counters = |id| Counters { requests: f64::from(round * (id % 50)), ..Counters::default() };
            let sample = Sample::new(&series, (0..series.len() as u32).map(|id| (id, counters(id))).collect());
            signals.sampled(proxy, Instant::now(), Ok(sample));
            tokio::task::yield_now().await;
        }
        signals.commit(&proxies);
    }
}

fn object(index: usize) -> ScaledObjectRef {
    let WorkloadId { namespace, name, .. } = id(index % WORKLOADS);
    let metadata = [
        ("scalerAddress", "tidegate.tidegate-system.svc:9090".to_owned()),
        ("requestsPerSecond", "100".to_owned()),
        ("workload", format!("deployment/{name}")),
    ];
    let scaler_metadata: HashMap<_, _> = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    ScaledObjectRef { name, namespace, scaler_metadata }
}

async fn load() {
    let mut server = Server::start();
    let clients = server.clients(16).await;
    let mut first = clients[0].clone();
    while get_metrics(&mut first, 0).await.is_err() {
        sleep(Duration::from_millis(100)).await;
    }
    println!("{WORKLOADS} workloads, {PROXIES} proxies, the server on one thread\n");
    println!("memory with the Plan and the signals: {} MiB", server.memory());
    let mut streams = Vec::new();
    for index in 0..WORKLOADS {
        streams.push(first.stream_is_active(object(index)).await.unwrap().into_inner());
    }
    let mut specs = Vec::new();
    for index in 0..WORKLOADS {
        specs.push(first.stream_metric_spec(object(index)).await.unwrap().into_inner());
    }
    println!("… and with {} streams on one connection: {} MiB\n", streams.len() + specs.len(), server.memory());

    println!("Calls as KEDA makes them, a third each of GetMetricSpec, GetMetrics and IsActive, on 4 connections:\n");
    println!("| calls/s | p50 | p99 | p99.9 | slowest | CPU of the server |\n|---|---|---|---|---|---|");
    for rate in RATES {
        let before = server.cpu();
        let times = at_rate(&clients[..4], rate).await;
        let cpu = (server.cpu() - before) / Duration::from_secs(SECONDS).as_secs_f64();
        println!("| {rate} | {} | {:.0} % |", quantiles(times), cpu * 100.0);
    }
    println!("\nGetMetrics as fast as it goes, {AT_ONCE} at one time on each connection:\n");
    println!("| connections | answers/s | p50 | p99 | p99.9 | slowest |\n|---|---|---|---|---|---|");
    for connections in CONNECTIONS {
        let times = flat_out(&clients[..connections]).await;
        let rate = times.len() as u64 / SECONDS;
        println!("| {connections} | {rate} | {} |", quantiles(times));
    }
    println!("\nmemory after all of it: {} MiB, at most {} MiB", server.memory(), server.most_memory());
    drop((streams, specs));
}

/// Latencies of calls at a fixed rate, each from when the call was due.
async fn at_rate(clients: &[Client], rate: u32) -> Vec<Duration> {
    let (done, mut times) = mpsc::unbounded_channel();
    let start = Instant::now();
    for call in 0..u64::from(rate) * SECONDS {
        let due = start + Duration::from_secs_f64(call as f64 / f64::from(rate));
        sleep_until(due).await;
        let index = call as usize;
        let (mut client, done) = (clients[index % clients.len()].clone(), done.clone());
        // The timer wakes once a millisecond, so a call may start that much late, which is not the server's latency.
        let started = Instant::now();
        tokio::spawn(async move {
            match index % 3 {
                0 => client.get_metric_spec(object(index)).await.map(drop).unwrap(),
                1 => get_metrics(&mut client, index).await.unwrap(),
                _ => client.is_active(object(index)).await.map(drop).unwrap(),
            }
            done.send(started.elapsed()).unwrap();
        });
    }
    drop(done);
    let mut all = Vec::new();
    while let Some(time) = times.recv().await {
        all.push(time);
    }
    all
}

async fn flat_out(clients: &[Client]) -> Vec<Duration> {
    let end = Instant::now() + Duration::from_secs(SECONDS);
    let mut tasks = Vec::new();
    for (number, client) in clients.iter().flat_map(|client| std::iter::repeat_n(client, AT_ONCE)).enumerate() {
        let mut client = client.clone();
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            let mut index = number * 997;
            while Instant::now() < end {
                let start = Instant::now();
                get_metrics(&mut client, index).await.unwrap();
                times.push(start.elapsed());
                index += 1;
            }
            times
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all
}

async fn get_metrics(client: &mut Client, index: usize) -> Result<(), tonic::Status> {
    let request =
        GetMetricsRequest { scaled_object_ref: Some(object(index)), metric_name: "requests-per-second".into() };
    client.get_metrics(request).await.map(drop)
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |quantile: f64| times[((times.len() - 1) as f64 * quantile) as usize].as_secs_f64() * 1000.0;
    format!("{:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms", at(0.5), at(0.99), at(0.999), at(1.0))
}

/// The measured process.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().to_owned() }
    }

    async fn clients(&self, count: usize) -> Vec<Client> {
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(Client::connect(format!("http://{}", self.address)).await.unwrap());
        }
        clients
    }

    /// Resident memory, in MiB.
    fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn most_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    /// CPU seconds so far.
    fn cpu(&mut self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // The fields after the name, which is in parentheses: utime and stime are the 12th and 13th.
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        // Linux reports them in hundredths of a second on every machine.
        ticks as f64 / 100.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
