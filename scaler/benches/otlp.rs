//! Pushed tokens: points per second on one core, and memory with 1,000 models on each of 50 senders.
//!
//! `cargo bench -p tidegate-scaler --bench otlp`. The server is the real one on loopback, on a runtime with one thread; the
//! client is another thread that encodes its messages and sends the next one when the last is answered, as exporters do.
//! A point is a histogram of one model and one token type, with the 14 buckets of Envoy AI Gateway. In the last run, the server
//! passes everything on to another one, as Tidegate's pods do.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run fails")]

use std::{
    fs,
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::{Histogram, HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics, metric::Data},
    resource::v1::Resource,
};
use tidegate_core::{
    ids::RouteRef,
    llm::{AiBackend, AiGateway, AiRule, Destination},
    plan::Plan,
};
use tidegate_scaler::{
    sources::otlp::{OtlpSettings, serve},
    store::SignalStore,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tonic::{codec::CompressionEncoding, transport::Channel};

const SENDERS: usize = 50;
const MODELS: usize = 1000;
const TYPES: [&str; 4] = ["input", "cached_input", "output", "reasoning"];
const MEASURED: Duration = Duration::from_secs(10);

fn main() {
    let before = resident();
    let (address, server) = start(None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("| | points/s | of the server's core | points per second of it |\n|---|---|---|---|");
    let measure = |what: &str, address: SocketAddr, gzip: bool, server: u32| {
        let (points, seconds, cpu) = runtime.block_on(push(address, gzip, &server));
        let (rate, of_core) = (points as f64 / seconds, cpu / seconds * 100.0);
        println!("| {what} | {rate:.0} | {of_core:.0} % | {:.0} |", points as f64 / cpu);
    };
    measure("plain", address, false, server);
    measure("gzip", address, true, server);
    let grown = resident() - before;
    let (passing_on, passing) = start(Some(address.to_string()));
    measure("gzip, passed on to another", passing_on, true, passing);
    let each = MODELS * TYPES.len();
    println!(
        "\n{SENDERS} senders of {MODELS} models, {} series: {:.0} MiB more than before, of which the client's messages are some",
        SENDERS * each,
        grown / 1024.0
    );
}

/// Starts the server on a thread of its own. Returns its address and its thread's id, by which the kernel reports the thread's CPU time.
fn start(peers: Option<String>) -> (SocketAddr, u32) {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let signals = Arc::new(SignalStore::new(Duration::from_secs(300)));
            let (_keep, plan) = watch::channel(Some(Arc::new(plan())));
            signals.keep(plan.borrow().as_ref().unwrap());
            let stop = CancellationToken::new();
            tell.send((listener.local_addr().unwrap(), thread_id())).unwrap();
            let settings = OtlpSettings { clusters: false, tokens: true, peers };
            serve(listener, settings, signals, plan, stop).await.unwrap();
        });
    });
    told.recv().unwrap()
}

/// A Plan with a rule that takes any model, and an AI gateway at the client's address: an unknown sender may not have as many series.
fn plan() -> Plan {
    let route = RouteRef { kind: "AIGatewayRoute".into(), namespace: "llm".into(), name: "chat".into(), rule: Some(0) };
    let destination = Destination::External("api.openai.com".into());
    let backend = AiBackend { name: "llm/openai".into(), model: None, weight: 1, priority: 0, destination };
    let rule = AiRule { route, models: Vec::new(), backends: vec![backend], fleets: Vec::new() };
    let metrics = ([127, 0, 0, 1], 1064).into();
    let gateway = AiGateway { name: "eg/ai".into(), metrics, ready: true, fleet: None };
    Plan { ai_rules: vec![Arc::new(rule)], ai_gateways: vec![gateway], ..Plan::default() }
}

/// Pushes for the measured time. Returns points, seconds, and the server's CPU seconds.
async fn push(address: SocketAddr, gzip: bool, server: &u32) -> (u64, f64, f64) {
    let mut client: MetricsServiceClient<Channel> =
        MetricsServiceClient::connect(format!("http://{address}")).await.unwrap();
    if gzip {
        client = client.send_compressed(CompressionEncoding::Gzip);
    }
    let (mut points, mut round) = (0, 0);
    let mut begun = None;
    loop {
        round += 1;
        for sender in 0..SENDERS {
            let answer = client.export(message(sender, round)).await.unwrap().into_inner();
            assert_eq!(answer.partial_success, None);
            if begun.is_some() {
                points += (MODELS * TYPES.len()) as u64;
            }
        }
        // The first round creates all series, so it is not measured.
        let (at, cpu) = *begun.get_or_insert_with(|| (Instant::now(), cpu(*server)));
        if at.elapsed() > MEASURED {
            return (points, at.elapsed().as_secs_f64(), self::cpu(*server) - cpu);
        }
    }
}

/// All points of one sender in one message, as the SDKs export them: 4,000 points, 8 MiB.
fn message(sender: usize, round: u64) -> ExportMetricsServiceRequest {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let point = |model: usize, kind: &str| {
        let name = format!("model-{model}");
        let names = ["gen_ai.original.model", "gen_ai.request.model", "gen_ai.response.model"];
        let mut attributes: Vec<_> = names.map(|key| attribute(key, &name)).into();
        attributes.extend([
            attribute("gen_ai.operation.name", "chat"),
            attribute("gen_ai.provider.name", "openai"),
            attribute("gen_ai.token.type", kind),
        ]);
        HistogramDataPoint {
            attributes,
            start_time_unix_nano: 1,
            time_unix_nano: now,
            count: round,
            sum: Some((round * 100) as f64),
            bucket_counts: vec![round; 15],
            explicit_bounds: (0..14).map(|power| f64::from(4u32).powi(power)).collect(),
            ..HistogramDataPoint::default()
        }
    };
    let data_points = (0..MODELS).flat_map(|model| TYPES.map(|kind| point(model, kind))).collect();
    let data = Data::Histogram(Histogram { data_points, aggregation_temporality: 2 });
    let metric = Metric { name: "gen_ai.client.token.usage".into(), data: Some(data), ..Metric::default() };
    let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    let attributes = vec![attribute("service.instance.id", &format!("gateway-{sender}"))];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let resource = ResourceMetrics { resource, scope_metrics: vec![scope], ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![resource] }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn thread_id() -> u32 {
    fs::read_link("/proc/thread-self").unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// CPU seconds of a thread, in user space and in the kernel (`man proc_pid_stat`; 100 ticks a second on Linux).
fn cpu(thread: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Resident memory of this process, in KiB.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
