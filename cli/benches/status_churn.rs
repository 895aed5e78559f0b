//! CPU of `tidegate operator` at 10,000 workloads, while every HPA, ScaledObject and Deployment reports its status.
//!
//! `cargo bench -p tidegate --bench status_churn`. The API server is a stand-in within this process, which holds the objects in memory and
//! streams the watches: a real one on the same machine does not get through 1,200 writes of statuses a second. The rates are those of
//! the real controllers: the HPA's every 15 s, KEDA's (`lastActiveTime`) every 30 s, and a Deployment once a minute.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a benchmark")]

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    fs,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::broadcast::{self, Sender, error::RecvError},
    time::{MissedTickBehavior, interval, sleep},
};

const WORKLOADS: usize = 10_000;
const MEASURED: Duration = Duration::from_secs(60);
/// Time without a write after which the operator has finished what it does at its start.
const SETTLED: Duration = Duration::from_secs(15);
/// The kinds that have objects, and the time between two statuses of one object.
const KINDS: [(&str, &str, &str, Option<Duration>); 8] = [
    ("apps/v1", "deployments", "Deployment", Some(Duration::from_secs(60))),
    ("keda.sh/v1alpha1", "scaledobjects", "ScaledObject", Some(Duration::from_secs(30))),
    ("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", Some(Duration::from_secs(15))),
    ("v1", "services", "Service", None),
    ("v1", "namespaces", "Namespace", None),
    ("gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute", None),
    ("gateway.networking.k8s.io/v1", "gateways", "Gateway", None),
    ("gateway.networking.k8s.io/v1", "gatewayclasses", "GatewayClass", None),
];
/// Further kinds that the operator waits for, of which there are no objects.
const EMPTY: [(&str, &str); 1] = [("apps/v1", "statefulsets")];

#[tokio::main]
async fn main() {
    let api = Arc::new(Api::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(Arc::clone(&api));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::start(&folder, &url);
    eprintln!("{WORKLOADS} workloads: waiting until their ScaledObjects are written");
    api.settles().await;
    let idle = operator.cpu_share(MEASURED).await;
    for (_, plural, _, every) in KINDS {
        if let Some(every) = every {
            tokio::spawn(Arc::clone(&api).report_statuses(plural, every));
        }
    }
    sleep(Duration::from_secs(5)).await;
    let before = api.statuses();
    let churning = operator.cpu_share(MEASURED).await;
    let per_second = (api.statuses() - before) as f64 / MEASURED.as_secs_f64();
    println!("| | statuses/s | CPU, in thousandths of a core |\n|---|---|---|");
    println!("| no status changes | 0 | {:.0} |", idle * 1000.0);
    println!("| all report | {per_second:.0} | {:.0} |", churning * 1000.0);
    println!("{} ScaledObjects were written, resident memory {} MiB", api.written(), operator.resident_mib());
}

/// The operator's process. Ends when dropped.
struct Operator(Child);

impl Operator {
    fn start(folder: &tempfile::TempDir, url: &str) -> Self {
        let config = folder.path().join("kubeconfig");
        let cluster = json!({"name": "bench", "cluster": {"server": url}});
        let context = json!({"name": "bench", "context": {"cluster": "bench", "user": "bench"}});
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context],
            "users": [{"name": "bench", "user": {}}], "current-context": "bench"});
        fs::write(&config, kubeconfig.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args([
            "operator",
            "--admin-address=127.0.0.1:0",
            "--grpc-address=127.0.0.1:0",
            "--lease-namespace=bench",
            "--log=warn",
        ]);
        command.env("KUBECONFIG", config).env("POD_NAME", "bench").stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// The share of one core that the process takes for this long.
    async fn cpu_share(&self, during: Duration) -> f64 {
        let (before, start) = (self.cpu(), Instant::now());
        sleep(during).await;
        self.cpu().saturating_sub(before).as_secs_f64() / start.elapsed().as_secs_f64()
    }

    /// User and system time so far (`proc(5)`: fields 14 and 15, in hundredths of a second).
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        let ticks: u64 =
            after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    fn resident_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The stand-in for the API server.
struct Api {
    /// Objects by plural, then by namespace and name
    objects: Mutex<HashMap<&'static str, BTreeMap<String, Value>>>,
    /// Watch events by plural
    events: HashMap<&'static str, Sender<Bytes>>,
    counts: Mutex<Counts>,
}

struct Counts {
    version: u64,
    statuses: u64,
    written: u64,
    last_write: Instant,
}

impl Api {
    fn new() -> Self {
        let objects = KINDS.iter().map(|(api_version, plural, kind, _)| {
            let count = match *kind {
                "Namespace" => 100,
                "Gateway" | "GatewayClass" => 1,
                // The operator writes these, and KEDA their HPAs, which are put beside them then.
                "ScaledObject" | "HorizontalPodAutoscaler" => 0,
                _ => WORKLOADS,
            };
            let objects = (0..count).map(|number| object(api_version, kind, number));
            (*plural, objects.map(|object| (key(&object), object)).collect())
        });
        let events = KINDS.iter().map(|(_, plural, ..)| (*plural, broadcast::channel(65_536).0));
        let counts = Counts { version: 1, statuses: 0, written: 0, last_write: Instant::now() };
        Self { objects: Mutex::new(objects.collect()), events: events.collect(), counts: Mutex::new(counts) }
    }

    async fn settles(&self) {
        let is_settled = || {
            let counts = self.counts.lock().unwrap();
            counts.written as usize >= WORKLOADS && counts.last_write.elapsed() > SETTLED
        };
        while !is_settled() {
            sleep(Duration::from_secs(1)).await;
        }
    }

    fn statuses(&self) -> u64 {
        self.counts.lock().unwrap().statuses
    }

    fn written(&self) -> u64 {
        self.counts.lock().unwrap().written
    }

    /// Changes the status of each object of a kind once in this time, evenly spread over it.
    async fn report_statuses(self: Arc<Self>, plural: &'static str, every: Duration) {
        let keys: Vec<_> = self.objects.lock().unwrap()[plural].keys().cloned().collect();
        let tick = Duration::from_millis(20);
        let at_once = (keys.len() as f64 * tick.as_secs_f64() / every.as_secs_f64()).ceil() as usize;
        let mut ticks = interval(every.mul_f64(at_once as f64 / keys.len() as f64));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for (number, key) in keys.iter().cycle().enumerate() {
            if number % at_once == 0 {
                ticks.tick().await;
            }
            let Some(mut object) = self.objects.lock().unwrap()[plural].get(key).cloned() else { continue };
            object["status"] = status(plural, number);
            self.counts.lock().unwrap().statuses += 1;
            self.store(plural, object);
        }
    }

    /// Stores an object in a new version, and sends it to the watches. Returns it as stored.
    fn store(&self, plural: &'static str, mut object: Value) -> Value {
        let version = {
            let mut counts = self.counts.lock().unwrap();
            counts.version += 1;
            counts.version
        };
        object["metadata"]["resourceVersion"] = version.to_string().into();
        self.objects.lock().unwrap().get_mut(plural).unwrap().insert(key(&object), object.clone());
        let event = format!("{}\n", json!({"type": "MODIFIED", "object": object}));
        let _ = self.events[plural].send(event.into());
        object
    }

    /// Server-side apply by the operator, which owns all that it writes.
    fn apply(&self, plural: &'static str, path: &str, body: &[u8]) -> Value {
        let mut object: Value = serde_json::from_slice(body).unwrap();
        let namespace = path.split("/namespaces/").nth(1).and_then(|rest| rest.split('/').next());
        object["metadata"]["namespace"] = namespace.unwrap_or_default().into();
        object["metadata"]["uid"] = format!("uid-{}", object["metadata"]["name"]).into();
        {
            let mut counts = self.counts.lock().unwrap();
            counts.written += 1;
            counts.last_write = Instant::now();
        }
        if plural == "scaledobjects" {
            self.store("horizontalpodautoscalers", hpa_of(&object));
        }
        self.store(plural, object)
    }

    /// One page of a list, as the query's `limit` and `continue` ask for.
    fn list(&self, api_version: &str, plural: &str, kind: &str, query: &str) -> Value {
        let number = |name: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse::<usize>().ok())
        };
        let (first, limit) = (number("continue").unwrap_or(0), number("limit").unwrap_or(usize::MAX));
        let objects = self.objects.lock().unwrap();
        let all = objects.get(plural).into_iter().flat_map(BTreeMap::values);
        let items: Vec<_> = all.skip(first).take(limit).cloned().collect();
        let is_full = items.len() == limit;
        let next = if is_full { (first + limit).to_string() } else { String::new() };
        let version = self.counts.lock().unwrap().version.to_string();
        json!({"apiVersion": api_version, "kind": format!("{kind}List"), "items": items,
            "metadata": {"resourceVersion": version, "continue": next}})
    }

    /// The events of a kind, until the client hangs up.
    fn watch(&self, plural: &str) -> Response {
        let Some(events) = self.events.get(plural) else {
            return Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()).into_response();
        };
        let events = stream::unfold(events.subscribe(), async |mut events| match events.recv().await {
            Ok(event) => Some((Ok::<_, Infallible>(event), events)),
            Err(RecvError::Lagged(missed)) => panic!("the operator is {missed} events behind"),
            Err(RecvError::Closed) => None,
        });
        Body::from_stream(events.boxed()).into_response()
    }
}

async fn answer(State(api): State<Arc<Api>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path = uri.path();
    if path == "/version" {
        return json_response(
            &json!({"major": "1", "minor": "37", "gitVersion": "v1.37.2", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
        );
    }
    let plural = |segment: &str| KINDS.iter().find(|(_, plural, ..)| *plural == segment);
    let segments: Vec<_> = path.trim_matches('/').split('/').collect();
    let group_version = match segments[..] {
        ["api", version, ..] => version.to_owned(),
        ["apis", group, version, ..] => format!("{group}/{version}"),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let is_group = segments.len() == if segments[0] == "api" { 2 } else { 3 };
    if is_group {
        return resources(&group_version);
    }
    if path.contains("/leases") || path.contains("/configmaps") || path.contains("/events") {
        return echo(&method, &body);
    }
    match method {
        Method::GET if uri.query().is_some_and(|query| query.contains("watch=")) => api.watch(segments.last().unwrap()),
        Method::GET => {
            let segment = segments.last().unwrap();
            let kind = plural(segment).map_or("Unknown", |(_, _, kind, _)| kind);
            json_response(&api.list(&group_version, segment, kind, uri.query().unwrap_or_default()))
        }
        _ => match segments
            .iter()
            .find_map(|segment| plural(segment).filter(|(_, plural, ..)| *plural == "scaledobjects"))
        {
            Some((_, plural, ..)) => json_response(&api.apply(plural, path, &body)),
            None => echo(&method, &body),
        },
    }
}

/// Objects that nobody watches here: a read finds none, and a write is answered with what was sent.
fn echo(method: &Method, body: &[u8]) -> Response {
    if *method == Method::GET {
        let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"});
        return (StatusCode::NOT_FOUND, status.to_string()).into_response();
    }
    let mut object: Value = serde_json::from_slice(body).unwrap_or_default();
    object["metadata"]["resourceVersion"] = "1".into();
    json_response(&object)
}

fn resources(group_version: &str) -> Response {
    let known = KINDS.iter().map(|(api_version, plural, kind, _)| (*api_version, *plural, *kind));
    let empty = EMPTY.iter().map(|(api_version, plural)| (*api_version, *plural, "Empty"));
    let resources: Vec<_> = known
        .chain(empty)
        .filter(|(api_version, ..)| *api_version == group_version)
        .map(|(_, plural, kind)| json!({"name": plural, "singularName": "", "namespaced": plural != "namespaces", "kind": kind, "verbs": ["list"]}))
        .collect();
    if resources.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    json_response(&json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": resources}))
}

fn json_response(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

fn key(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}

fn object(api_version: &str, kind: &str, number: usize) -> Value {
    let name = format!("api-{number}");
    let mut metadata = json!({"name": name, "namespace": format!("team-{}", number % 100), "uid": format!("{kind}-{number}"),
        "resourceVersion": "1", "generation": 1, "creationTimestamp": "2026-03-02T08:00:00Z", "labels": {"app": name}});
    let mut object = json!({"apiVersion": api_version, "kind": kind});
    match kind {
        "Deployment" => {
            metadata["annotations"] =
                json!({"tidegate.dev/requests-per-second": "100", "tidegate.dev/max-replicas": "20"});
            let template = json!({"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "api", "image": "api", "ports": [{"containerPort": 8080, "name": "http"}]}]}});
            object["spec"] = json!({"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template});
            object["status"] = status("deployments", 0);
        }
        "Service" => {
            object["spec"] =
                json!({"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]});
        }
        "HTTPRoute" => {
            object["spec"] = json!({"parentRefs": [{"name": "edge", "namespace": "gateways"}],
                "rules": [{"backendRefs": [{"name": name, "port": 80}]}]});
        }
        "Gateway" => {
            metadata = json!({"name": "edge", "namespace": "gateways", "uid": "edge", "resourceVersion": "1"});
            let from_all = json!({"namespaces": {"from": "All"}});
            object["spec"] = json!({"gatewayClassName": "eg",
                "listeners": [{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": from_all}]});
        }
        "GatewayClass" => {
            metadata = json!({"name": "eg", "uid": "eg", "resourceVersion": "1"});
            object["spec"] = json!({"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"});
        }
        _ => {
            metadata =
                json!({"name": format!("team-{number}"), "uid": format!("{kind}-{number}"), "resourceVersion": "1"});
        }
    }
    object["metadata"] = metadata;
    object
}

/// The HPA that KEDA makes of a ScaledObject.
fn hpa_of(scaled_object: &Value) -> Value {
    let metadata = &scaled_object["metadata"];
    let owner = json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": metadata["name"], "uid": metadata["uid"],
        "controller": true, "blockOwnerDeletion": true});
    let name = format!("keda-hpa-{}", metadata["name"].as_str().unwrap());
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": metadata["namespace"], "uid": name, "ownerReferences": [owner]},
        "spec": {"scaleTargetRef": scaled_object["spec"]["scaleTargetRef"], "minReplicas": 1, "maxReplicas": 20,
            "metrics": [{"type": "External", "external": external("target", "averageValue", 100)}]},
        "status": status("horizontalpodautoscalers", 0)})
}

fn external(field: &str, value: &str, number: usize) -> Value {
    let mut external = json!({"metric": {"name": "s0-requests-per-second", "selector": {"matchLabels": {"scaledobject.keda.sh/name": "api"}}}});
    external[field] = json!({value: number.to_string(), "type": "AverageValue"});
    external
}

/// The status as the kind's controller reports it; each differs from the one before.
fn status(plural: &str, number: usize) -> Value {
    let time = format!("2026-03-02T08:{:02}:{:02}Z", number / 60 % 60, number % 60);
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "ReadyForNewScale", "message": "recommended size matches current size",
            "lastTransitionTime": "2026-03-02T08:00:00Z"})
    };
    match plural {
        "horizontalpodautoscalers" => json!({"currentReplicas": 2, "desiredReplicas": 2, "lastScaleTime": time,
            "currentMetrics": [{"type": "External", "external": external("current", "averageValue", number)}],
            "conditions": [condition("AbleToScale"), condition("ScalingActive"), condition("ScalingLimited")]}),
        "scaledobjects" => {
            json!({"lastActiveTime": time, "hpaName": "keda-hpa-api", "externalMetricNames": ["s0-requests-per-second"],
            "conditions": [condition("Ready"), condition("Active"), condition("Fallback"), condition("Paused")]})
        }
        _ => {
            json!({"replicas": 2, "readyReplicas": 2, "availableReplicas": 2, "updatedReplicas": 2, "observedGeneration": number,
            "conditions": [condition("Available"), condition("Progressing")]})
        }
    }
}
