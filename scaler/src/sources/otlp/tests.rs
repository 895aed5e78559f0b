mod abuse;
mod clocks;
mod reports;

use std::{cell::Cell, collections::HashMap};

use opentelemetry::metrics::MeterProvider;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse, metrics_service_client::MetricsServiceClient,
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::{
        Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
        metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use tidegate_core::{
    ids::{RouteRef, ServiceId},
    llm::{AiBackend, AiGateway, AiRule, Destination, TokenNames},
    plan::{ClusterShare, Proxy},
    signal::Signal,
};
use tokio::time::{advance, interval, pause, resume, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Response, Status};

use super::{stream::Arrival, *};

const RULE: &str = "httproute/llm/chat.v1/rule/0";
const DELTA: i32 = 1;
const CUMULATIVE: i32 = 2;

/// A rule that takes any model, and the proxy 127.0.0.1.
fn plan() -> Plan {
    let route =
        |kind: &str| RouteRef { kind: kind.into(), namespace: "llm".into(), name: "chat.v1".into(), rule: Some(0) };
    let destination = Destination::External("api.openai.com".into());
    let backend = AiBackend { name: "llm/openai".into(), model: None, weight: 1, priority: 0, destination };
    let rule =
        AiRule { route: route("AIGatewayRoute"), models: Vec::new(), backends: vec![backend], fleets: Vec::new() };
    let service = ServiceId { namespace: "llm".into(), name: "qwen".into() };
    let share = ClusterShare {
        cluster: RULE.into(),
        route: route("HTTPRoute"),
        service: service.clone(),
        ..crate::fixture::share("chat")
    };
    let stats = ([127, 0, 0, 1], 19001).into();
    let (metrics, fleet) = (([127, 0, 0, 1], 1064).into(), Some("gateway/llm/ai".into()));
    let gateway = AiGateway { name: "eg/ai".into(), metrics, ready: true, fleet };
    let proxy = Proxy { name: "eg/proxy".into(), stats, ready: true, fleet: None };
    Plan {
        ai_rules: vec![Arc::new(rule)],
        services: [(service, vec![share])].into(),
        proxies: vec![proxy],
        ai_gateways: vec![gateway],
        ..Plan::default()
    }
}

struct Served {
    signals: Arc<SignalStore>,
    address: SocketAddr,
    plan: watch::Sender<Option<Arc<Plan>>>,
    _stop: DropGuard,
}

impl Served {
    async fn new(peers: Option<String>) -> Self {
        let signals = Arc::new(SignalStore::new(Duration::from_secs(300)));
        let (sender, plan) = watch::channel(Some(Arc::new(plan())));
        signals.keep(plan.borrow().as_ref().unwrap());
        signals.series();
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = OtlpSettings { clusters: true, tokens: true, peers };
        tokio::spawn(serve(listener, settings, Arc::clone(&signals), plan, stop.clone()));
        Self { signals, address, plan: sender, _stop: stop.drop_guard() }
    }

    async fn push(&self, metrics: Vec<Metric>) -> Result<ExportMetricsServiceResponse, Status> {
        self.push_as("gateway-1", metrics).await
    }

    async fn push_as(&self, instance: &str, metrics: Vec<Metric>) -> Result<ExportMetricsServiceResponse, Status> {
        let client = MetricsServiceClient::connect(format!("http://{}", self.address)).await.unwrap();
        let attributes = vec![attribute("service.instance.id", instance)];
        let mut client = client.send_compressed(CompressionEncoding::Gzip);
        client.export(message(attributes, metrics)).await.map(Response::into_inner)
    }

    /// Uncached input tokens/s and output tokens/s.
    fn rates(&self) -> Option<(f64, f64)> {
        let (shown, _) = self.signals.tokens().ok()?;
        shown.of(&[]).next().map(|(_, rates)| (rates.input, rates.output))
    }
}

fn message(attributes: Vec<KeyValue>, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let resource = Resource { attributes, ..Resource::default() };
    let scope = ScopeMetrics { metrics, ..ScopeMetrics::default() };
    let resource =
        ResourceMetrics { resource: Some(resource), scope_metrics: vec![scope], ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![resource] }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

thread_local! {
    /// The nanoseconds by which a test, each of which has a thread of its own, has advanced the clock.
    static ADVANCED: Cell<u64> = const { Cell::new(0) };
}

/// The time of a point: that of the wall, advanced as the clock of the receiver is.
fn nanos() -> u64 {
    Arrival::now().wall + ADVANCED.get()
}

/// Advances the clock without waiting. Sockets are not affected.
async fn later(time: Duration) {
    ADVANCED.set(ADVANCED.get() + time.as_nanos() as u64);
    pause();
    advance(time).await;
    resume();
}

fn usage(temporality: i32, points: &[(&str, f64)]) -> Metric {
    let point = |(kind, sum): &(&str, f64)| HistogramDataPoint {
        attributes: vec![
            attribute("gen_ai.request.model", "m"),
            attribute("gen_ai.original.model", "m"),
            attribute("gen_ai.token.type", kind),
        ],
        start_time_unix_nano: 7,
        time_unix_nano: nanos(),
        count: 1,
        sum: Some(*sum),
        ..HistogramDataPoint::default()
    };
    let data_points = points.iter().map(point).collect();
    let data = Data::Histogram(Histogram { data_points, aggregation_temporality: temporality });
    Metric { name: "gen_ai.client.token.usage".into(), data: Some(data), ..Metric::default() }
}

/// `upstream_rq_total` of the rule's cluster.
fn requests(total: i64) -> Metric {
    // As Envoy 1.40 writes the name of a cluster with a dot.
    counter("cluster.v1/rule/0.upstream_rq_total", "httproute/llm/chat", total as f64, nanos())
}

fn counter(name: &str, cluster: &str, total: f64, time: u64) -> Metric {
    let sum = Sum {
        data_points: vec![number(cluster, total, time)],
        aggregation_temporality: CUMULATIVE,
        is_monotonic: true,
    };
    Metric { name: name.to_owned(), data: Some(Data::Sum(sum)), ..Metric::default() }
}

fn gauge(name: &str, cluster: &str, value: f64) -> Metric {
    let gauge = Gauge { data_points: vec![number(cluster, value, nanos())] };
    Metric { name: name.to_owned(), data: Some(Data::Gauge(gauge)), ..Metric::default() }
}

fn number(cluster: &str, value: f64, time: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![attribute("envoy.cluster_name", cluster)],
        // Microseconds since 1970, as Envoy writes them.
        start_time_unix_nano: 1_790_000_000_000_000,
        time_unix_nano: time,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let mut looks = interval(Duration::from_millis(50));
    let probing = async {
        loop {
            looks.tick().await;
            if let Some(found) = probe() {
                return found;
            }
        }
    };
    timeout(Duration::from_secs(20), probing).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

#[tokio::test]
async fn tokens_that_are_pushed_are_counted_whatever_their_temporality() {
    for temporality in [CUMULATIVE, DELTA] {
        let served = Served::new(None).await;
        for report in 1..=4u8 {
            let total = if temporality == DELTA { 60.0 } else { 60.0 * f64::from(report) };
            let points = [("input", total), ("cached_input", total / 2.0), ("output", total / 4.0), ("reasoning", 9.0)];
            let answer = served.push(vec![usage(temporality, &points)]).await.unwrap();
            assert_eq!(answer.partial_success, None);
            later(Duration::from_millis(400)).await;
        }
        let (input, output) = until("rates", || served.rates().filter(|(input, _)| *input > 0.0)).await;
        assert_eq!((output / input * 100.0).round(), 50.0, "half of the input is cached: {input} and {output}");
    }
}

/// Requests that ended, of which `failed` failed.
fn ended(all: u64, failed: u64) -> Metric {
    let point = |count: u64, error: Option<&str>| HistogramDataPoint {
        attributes: [attribute("gen_ai.request.model", "m"), attribute("gen_ai.original.model", "m")]
            .into_iter()
            .chain(error.map(|error| attribute("error.type", error)))
            .collect(),
        start_time_unix_nano: 7,
        time_unix_nano: nanos(),
        count,
        sum: Some(0.5),
        ..HistogramDataPoint::default()
    };
    let data_points = vec![point(all - failed, None), point(failed, Some("_OTHER"))];
    let data = Data::Histogram(Histogram { data_points, aggregation_temporality: CUMULATIVE });
    Metric { name: "gen_ai.server.request.duration".into(), data: Some(data), ..Metric::default() }
}

#[tokio::test]
async fn streams_that_end_without_tokens_are_requests_without_them_and_failed_requests_are_not() {
    let served = Served::new(None).await;
    for report in 1..=6 {
        let answer = served.push(vec![ended(report * 30, report * 10)]).await.unwrap();
        assert_eq!(answer.partial_success, None);
        later(Duration::from_secs(1)).await;
    }
    let untold = || served.signals.tokens().ok()?.0.of(&[]).next().map(|(_, rates)| rates.untold);
    let untold = until("requests without tokens", || untold().filter(|untold| *untold > 0.0)).await;
    assert!(untold < 30.0, "{untold} of 20 requests/s without tokens, beside 10 that failed");
}

#[tokio::test]
async fn a_sender_that_becomes_known_later_is_not_counted_twice() {
    let served = Served::new(None).await;
    let known = plan();
    served.plan.send_replace(Some(Arc::new(Plan { ai_gateways: Vec::new(), ..known.clone() })));
    let push = async |total: f64| served.push(vec![usage(CUMULATIVE, &[("output", total)])]).await.unwrap();
    for total in [1e6, 1e6 + 100.0] {
        push(total).await;
        later(Duration::from_millis(1100)).await;
    }
    served.plan.send_replace(Some(Arc::new(known)));
    for total in [1e6 + 200.0, 1e6 + 300.0, 1e6 + 400.0] {
        push(total).await;
        later(Duration::from_millis(1100)).await;
    }
    let (all, own) = until("tokens of the fleet", || {
        let (shown, _) = served.signals.tokens().ok()?;
        let of = |wanted: &dyn Fn(&TokenNames) -> bool| -> f64 {
            shown.of(&[]).filter(|(names, _)| wanted(names)).map(|(_, rates)| rates.output).sum()
        };
        let own = of(&|names| &*names.fleet == "gateway/llm/ai");
        (own > 0.0).then(|| (of(&|_| true), own))
    })
    .await;
    assert!(all < 500.0 && own < 500.0, "{all} tokens/s, of which {own} of the fleet");
}

/// Pushes like a custom gateway: with OpenTelemetry's SDK, in its two temporalities, compressed.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_sdk_of_opentelemetry_pushes_is_understood() {
    use opentelemetry_otlp::{Compression, MetricExporter, WithExportConfig, WithTonicConfig};
    use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

    for temporality in [Temporality::Cumulative, Temporality::Delta] {
        let served = Served::new(None).await;
        let exporter = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(format!("http://{}", served.address))
            .with_compression(Compression::Gzip)
            .with_temporality(temporality)
            .build()
            .unwrap();
        let reader = PeriodicReader::builder(exporter).with_interval(Duration::from_millis(300)).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let meter = provider.meter("test");
        let tokens = meter.f64_histogram("gen_ai.client.token.usage").with_unit("{token}").build();
        let counting = tokio::spawn(async move {
            let labels = |kind: &'static str| {
                ["gen_ai.original.model", "gen_ai.request.model", "gen_ai.response.model"]
                    .map(|name| opentelemetry::KeyValue::new(name, "qwen3-8b"))
                    .into_iter()
                    .chain([opentelemetry::KeyValue::new("gen_ai.token.type", kind)])
                    .collect::<Vec<_>>()
            };
            loop {
                tokens.record(40.0, &labels("input"));
                tokens.record(10.0, &labels("output"));
                sleep(Duration::from_millis(50)).await;
            }
        });
        let (input, output) = until("rates", || served.rates().filter(|(input, _)| *input > 100.0)).await;
        assert_eq!((input / output).round(), 4.0, "{temporality:?}: {input} and {output}");
        counting.abort();
        tokio::task::spawn_blocking(move || provider.shutdown()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_a_proxy_pushes_is_its_clusters_traffic() {
    let served = Served::new(None).await;
    for report in 1..=12 {
        let answer = served.push(vec![requests(report * 10)]).await.unwrap();
        assert_eq!(answer.partial_success, None);
        later(Duration::from_millis(400)).await;
    }
    let rate = until("a rate", || served.signals.at_least(RULE, Signal::RequestsPerSecond)).await.value;
    assert!((10.0..40.0).contains(&rate), "{rate}");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_never_pushes_makes_the_others_a_lower_bound_and_is_named() {
    let signals = Arc::new(SignalStore::new(Duration::from_secs(300)));
    let mut plan = plan();
    let stats = ([127, 0, 0, 2], 19001).into();
    plan.proxies.push(Proxy { name: "eg/silent".into(), stats, ready: true, fleet: None });
    signals.keep(&plan);
    let settings = OtlpSettings { clusters: true, tokens: false, peers: None };
    let receiver = Receiver::new(settings, Arc::clone(&signals), watch::channel(Some(Arc::new(plan.clone()))).1, None);
    let mut unheard = HashMap::new();
    let mut seconds = async |many: i64| {
        for second in 0..many {
            if second % 5 == 0 {
                let request = message(Vec::new(), vec![requests(second * 20)]);
                receiver.take_in(&plan, [127, 0, 0, 1].into(), &request);
            }
            receiver.close_second(&mut unheard);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    };
    seconds(10).await;
    let waits = signals.cluster(RULE, Signal::RequestsPerSecond).unwrap_err().to_string();
    assert!(waits.contains("eg/silent"), "{waits}");
    seconds(60).await;
    let known = signals.at_least(RULE, Signal::RequestsPerSecond).unwrap().value;
    assert!((15.0..=25.0).contains(&known), "{known}");
    let whole = signals.cluster(RULE, Signal::RequestsPerSecond).unwrap_err().to_string();
    assert!(whole.contains("eg/silent") && whole.contains("telemetry.metrics.sinks"), "{whole}");
}

#[tokio::test]
async fn a_malformed_point_is_refused_by_name_and_the_others_count() {
    let served = Served::new(None).await;
    let answer = served.push(vec![usage(CUMULATIVE, &[("input", f64::NAN), ("output", 5.0)])]).await.unwrap();
    let refused = answer.partial_success.unwrap();
    assert_eq!(refused.rejected_data_points, 1);
    assert!(refused.error_message.starts_with("gen_ai.client.token.usage: a point is malformed"), "{refused:?}");
    let no_kind = usage(3, &[("input", 1.0)]);
    assert_eq!(
        served.push(vec![no_kind]).await.unwrap().partial_success.map(|refused| refused.rejected_data_points),
        Some(1)
    );
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_the_server_lives() {
    let served = Served::new(None).await;
    let long = "x".repeat(17 << 20);
    let refused = served.push(vec![Metric { name: long, ..Metric::default() }]).await.unwrap_err();
    assert!(refused.message().contains("size limit"), "{refused}");
    assert!(served.push(vec![usage(CUMULATIVE, &[("input", 1.0)])]).await.is_ok());
}

#[tokio::test]
async fn a_report_to_one_pod_reaches_all_pods() {
    // It accepts forwarded calls from 127.0.0.1. Nothing listens on port 9 for those that it forwards itself.
    let other = Served::new(Some("127.0.0.1:9".to_owned())).await;
    let first = Served::new(Some(other.address.to_string())).await;
    let told = async {
        for report in 1..=100u8 {
            let total = 60.0 * f64::from(report);
            first.push(vec![usage(CUMULATIVE, &[("input", total)])]).await.unwrap();
            sleep(Duration::from_millis(300)).await;
            let known = |served: &Served| served.rates().is_some_and(|(input, _)| input > 0.0);
            if known(&first) && known(&other) {
                return;
            }
        }
        panic!("the other pod was not told");
    };
    timeout(Duration::from_secs(20), told).await.unwrap();
}
