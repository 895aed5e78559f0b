//! Cost of a second of measuring: reading a proxy's answer, and turning a round of all proxies into signals.
//!
//! `cargo bench -p tidegate-scaler --bench signals`. The sizes are those that Tidegate is made for: 10,000 clusters on 100
//! proxies, once a second.
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run fails")]

use std::{
    fmt::Write as _,
    hint::black_box,
    io::{Read, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate_core::{
    ids::{RouteRef, ServiceId},
    plan::{ClusterShare, Plan, Proxy},
    signal::Signal,
};
use tidegate_scaler::{
    sources::envoy::{Parser, Scraper},
    store::{Counters, Sample, Series, SignalStore},
};
use tokio::time::Instant;

const CLUSTERS: usize = 10_000;
const PROXIES: u8 = 100;

fn cluster(index: usize) -> String {
    format!("httproute/team-{:02}/service-number-{index}/rule/0", index % 50)
}

/// Envoy 1.40's answer to the scraper's request: by metric, then by cluster.
fn answer() -> String {
    let metrics = [
        ("upstream_cx_none_healthy", "counter", 10),
        ("upstream_rq_pending_overflow", "counter", 10),
        ("upstream_rq_retry", "counter", 10),
        ("upstream_rq_total", "counter", 1),
        ("membership_total", "gauge", 1),
        ("upstream_cx_active", "gauge", 1),
        ("upstream_rq_active", "gauge", 1),
        ("upstream_rq_pending_active", "gauge", 1),
    ];
    let mut names: Vec<_> = (0..CLUSTERS).map(cluster).collect();
    names.sort_unstable();
    let mut text = String::new();
    for (metric, kind, every) in metrics {
        writeln!(text, "# TYPE envoy_cluster_{metric} {kind}").unwrap();
        for (index, name) in names.iter().enumerate().step_by(every) {
            let value = if kind == "counter" { 1_000_000 + index * 31 } else { index % 40 };
            writeln!(text, "envoy_cluster_{metric}{{envoy_cluster_name=\"{name}\"}} {value}").unwrap();
        }
    }
    text
}

fn parse(criterion: &mut Criterion) {
    let names: Vec<_> = (0..CLUSTERS).map(cluster).collect();
    let answer = answer();
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Bytes(answer.len() as u64));
    for (what, kept) in [("all of 10,000 clusters kept", CLUSTERS), ("one of 10,000 clusters kept", 1)] {
        let series = Series::of(names[..kept].iter().map(String::as_str));
        group.bench_function(what, |bencher| {
            bencher.iter(|| {
                let mut parser = Parser::new(&series);
                // In chunks, as the kernel delivers it.
                answer.as_bytes().chunks(16 << 10).for_each(|chunk| parser.feed(chunk));
                black_box(parser.finish())
            });
        });
    }
    group.finish();
}

/// Measures the same with everything around it: the request, the connection, the kernel. The server is a thread of this process
/// that has the answer ready.
fn scrape(criterion: &mut Criterion) {
    let names: Vec<_> = (0..CLUSTERS).map(cluster).collect();
    let series = Series::of(names.iter().map(String::as_str));
    let answer = answer();
    let size = answer.len() as u64;
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = Proxy { name: "proxy".into(), stats: server.local_addr().unwrap(), ready: true, fleet: None };
    thread::spawn(move || serve(&server, &answer));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scraper = Scraper::new(Duration::from_secs(1), Duration::from_secs(5));
    let mut group = criterion.benchmark_group("scrape and parse");
    group.throughput(Throughput::Bytes(size));
    group.bench_function("all of 10,000 clusters kept", |bencher| {
        bencher.iter(|| runtime.block_on(scraper.scrape(&proxy, &series)).unwrap());
    });
    group.finish();
}

fn serve(server: &TcpListener, answer: &str) {
    for stream in server.incoming() {
        let mut stream = stream.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
        // One read is one request: it is small, and the next one comes after the answer.
        while stream.read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0) {
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.as_bytes())).unwrap();
        }
    }
}

/// A Plan with all clusters, each in both forms of its name.
fn plan() -> Plan {
    let service = ServiceId { namespace: "shop".into(), name: "api".into() };
    let share = |index: usize| ClusterShare {
        cluster: cluster(index).into(),
        split: Some(format!("{}/backend/0", cluster(index)).into()),
        share: 1.0,
        of_backend: 1.0,
        route: RouteRef { kind: "HTTPRoute".into(), namespace: "shop".into(), name: "api".into(), rule: Some(0) },
        service: service.clone(),
        fleets: [].into(),
        meaning: 0,
        pending: false,
    };
    Plan { services: [(service.clone(), (0..CLUSTERS).map(share).collect())].into(), ..Plan::default() }
}

fn proxies() -> Vec<Proxy> {
    let proxy = |index: u8| Proxy {
        name: format!("envoy-gateway-system/envoy-{index}"),
        stats: SocketAddr::from((Ipv4Addr::new(10, 0, 0, index), 19001)),
        ready: true,
        fleet: None,
    };
    (0..PROXIES).map(proxy).collect()
}

/// A proxy's answer in that second.
fn sample(series: &Series, second: u64) -> Sample {
    let counters = |index: usize| {
        let requests = (second * 100 + index as u64) as f64;
        let counters = Counters { requests, in_flight: 3.0, connections: 2.0, ..Counters::default() };
        Some((series.of_cluster(&cluster(index))?, counters))
    };
    Sample::new(series, (0..CLUSTERS).filter_map(counters).collect())
}

fn store(criterion: &mut Criterion) {
    let before = resident();
    let signals = Arc::new(SignalStore::new(Duration::from_secs(300)));
    signals.keep(&plan());
    let (series, proxies) = (signals.series(), proxies());
    let samples: Vec<_> = (0..64).map(|second| sample(&series, second)).collect();
    let around = resident();
    // A clock that advances by a second from round to round: otherwise each answer would be one of the future.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let clock = runtime.enter();
    let mut second = 0;
    let mut round = || {
        second += 1;
        runtime.block_on(tokio::time::advance(Duration::from_secs(1)));
        for proxy in &proxies {
            signals.sampled(proxy, Instant::now(), Ok(samples[second % samples.len()].clone()));
        }
        signals.commit(&proxies);
    };
    (0..32).for_each(|_| round());
    println!(
        "10,000 clusters × 100 proxies: {} MiB resident, of which {} MiB names and ids",
        resident() - before,
        around - before
    );
    let mut group = criterion.benchmark_group("store");
    group.sample_size(20);
    group.bench_function("a round of 10,000 clusters × 100 proxies", |bencher| bencher.iter(&mut round));
    drop(clock);
    group.sample_size(100);
    group.bench_function("one reading", |bencher| {
        let name = cluster(4711);
        bencher.iter(|| black_box(signals.cluster(&name, Signal::RequestsPerSecond)));
    });
    group.finish();
}

/// Resident memory of this process, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() >> 10
}

criterion_group!(benches, parse, scrape, store);
criterion_main!(benches);
