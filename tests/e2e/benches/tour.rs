//! The whole traffic stack in one run: an API, its Kafka consumer, a model and the proxies follow the same rush, then the business
//! closes and all of them sleep, a request at night wakes what it needs, and in the morning all are there again.
//!
//! `make tour`, on the real stack. The clock is the Calendar: the run closes and opens it. The HPA looks every second and the
//! pods start within seconds, so that a day fits into minutes. Writes `docs/charts/tour.svg`, and prints what it counted.
#![allow(missing_docs, reason = "a benchmark")]

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_e2e::{
    cluster::Cluster,
    kafka::{BROKER, Kafka},
    kubectl::{apply, get},
    llm::{Chat, Entrance, ai_gateway, ai_route, model_server},
    scenario::{Scenario, gateway, http, http_route, owner, task_api, until},
};
use tidegate_sim::{
    load::{Load, LoadLimits, LoadSpec, Profile},
    report::comparison::{Comparison, Moment, Run},
    traces::Prompt,
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
    try_join,
};

const CALM: Duration = Duration::from_secs(45);
const RUSH: Duration = Duration::from_secs(120);
const EVENING: Duration = Duration::from_secs(45);
const NIGHT: Duration = Duration::from_secs(75);
const MORNING: Duration = Duration::from_secs(45);

/// What one replica carries, per second; messages are those that wait.
const REQUESTS: f64 = 50.0;
const MESSAGES: f64 = 50.0;
const TOKENS: f64 = 200.0;
const OF_PROXY: f64 = 150.0;
/// Messages/s that one consumer reads.
const READS: i64 = 30;
/// Tokens of one answer.
const ANSWER: u64 = 60;
const TOPIC: &str = "tour";
const GROUP: &str = "tour-workers";

#[tokio::main]
async fn main() -> Result<()> {
    let _cluster = Cluster::as_shipped().await?;
    let scenario = Scenario::new("tour").await?;
    Kafka::at(BROKER).topic(TOPIC, 8).await?;
    Kafka::at(BROKER).commit(GROUP, TOPIC, &[(0, 0)]).await?;
    apply(&calendar("24/7")).await?;
    scenario.apply(&manifests(&scenario.namespace)).await?;
    // By the Service: the proxies are scaled, too.
    let web = scenario.service("web", 8080).await?;
    let chat = Chat::new(&Entrance::of(&scenario, 8080).await?, "tour");
    until("the model answers", async || chat.ask(&prompt(1)).await).await?;
    until("the API answers", async || {
        let (status, _) = tidegate_stack::get(&format!("http://{web}/tasks"), Duration::from_secs(5)).await?;
        ensure!(status == 200, "{status}");
        Ok(())
    })
    .await?;
    let recorder = Recorder::start(scenario.namespace.clone());
    day(&scenario, web, &chat, &recorder).await?;
    let title = "One day of the whole stack, in minutes".to_owned();
    let comparison = Comparison { title, runs: recorder.finish().await? };
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/charts/tour.svg"));
    std::fs::write(file, comparison.to_string()).with_context(|| file.display().to_string())
}

/// Load by day, a request at night, and the morning.
async fn day(scenario: &Scenario, web: SocketAddr, chat: &Chat, recorder: &Recorder) -> Result<()> {
    let start = recorder.begin();
    let requests = Load::start(LoadSpec::new(http()?, requests()), vec![web]);
    let (counts, ..) = try_join!(
        async { Ok(requests.finished().await.counts) },
        queue(Arc::clone(&recorder.shared), start),
        talk(chat.clone(), start)
    )?;
    println!("By day {} of {} requests were answered with 200: {counts:?}.", counts.ok, counts.total());

    apply(&calendar("off")).await?;
    let closed = Instant::now();
    until("all workloads sleep", async || {
        let all = replicas(&scenario.namespace).await?;
        let awake: Vec<_> = all.iter().filter(|(name, of)| is_workload(name) && of.spec > 0).collect();
        ensure!(awake.is_empty(), "{awake:?}");
        Ok(())
    })
    .await?;
    println!("{} s after closing time all workloads are at zero.", closed.elapsed().as_secs());
    sleep_until(closed + NIGHT).await;

    let asked = Instant::now();
    let once = Profile::starting_at(1.0).hold(Duration::from_secs(1));
    let limits = LoadLimits { timeout: Duration::from_secs(60), ..LoadLimits::default() };
    let first = Load::start(LoadSpec { limits, ..LoadSpec::new(http()?, once) }, vec![web]).finished().await.counts;
    ensure!(first.ok == 1 && first.total() == 1, "the first request at night: {first:?}");
    println!("A request at night was held and answered with 200 after {:.1} s.", asked.elapsed().as_secs_f64());

    apply(&calendar("24/7")).await?;
    let opened = Instant::now();
    until("all workloads are there in the morning", async || {
        let all = replicas(&scenario.namespace).await?;
        let missing: Vec<_> = all.iter().filter(|(name, of)| is_workload(name) && of.ready == 0).collect();
        ensure!(missing.is_empty(), "{missing:?}");
        Ok(())
    })
    .await?;
    println!("{} s after opening time all workloads are ready.", opened.elapsed().as_secs());
    sleep_until(opened + MORNING).await;
    println!("The run took {} s.", start.elapsed().as_secs());
    Ok(())
}

/// A calm morning, a rush, and a calm evening.
fn offered(calm: f64, rush: f64) -> Profile {
    Profile::starting_at(calm).hold(CALM).step_to(rush).hold(RUSH).step_to(calm).hold(EVENING)
}

/// Requests/s.
fn requests() -> Profile {
    offered(40.0, 400.0)
}

/// Messages/s.
fn messages() -> Profile {
    offered(20.0, 150.0)
}

/// Questions to the model, per second.
fn chats() -> Profile {
    offered(1.0, 12.0)
}

fn calendar(hours: &str) -> String {
    format!(
        "apiVersion: tidegate.dev/v1alpha1
kind: Calendar
metadata: {{name: tour}}
spec: {{timeZone: UTC, hours: {hours:?}}}
"
    )
}

fn manifests(namespace: &str) -> String {
    let with = |own: &[(&'static str, &'static str)]| {
        [&[("calendar", "tour"), ("scale-down-after", "10s"), ("max-replicas", "12")], own].concat()
    };
    let api = with(&[("requests-per-second", "50"), ("wake-on-request", "true")]);
    let consumer = with(&[("kafka-lag", "50"), ("kafka-group", GROUP), ("kafka-topics", TOPIC)]);
    let model = with(&[("output-tokens-per-second", "200")]);
    let fast = ["--model=tour", "--prefill=1000000", "--decode=100000"];
    let proxies = format!(
        "metadata:
  name: web
  annotations:
    tidegate.dev/create-envoyproxy: \"true\"
    tidegate.dev/requests-per-second: \"{OF_PROXY}\"
    tidegate.dev/calendar: tour
    tidegate.dev/scale-down-after: 10s
spec:"
    );
    gateway(&[("http", "HTTP", 8080)]).replace("metadata: {name: web}\nspec:", &proxies)
        + &task_api("api", &api)
        + &task_api("consumer", &consumer)
        + &http_route("tasks", &[("api", 1)])
        + &ai_gateway()
        + &model_server("model", &model, &fast)
        + &ai_route(namespace, "tour", "tour", "model")
}

const fn prompt(output: u64) -> Prompt {
    Prompt { input: 50, output, blocks: Vec::new() }
}

fn is_workload(name: &str) -> bool {
    name != PROXIES
}

const PROXIES: &str = "proxies";
/// Panels of the chart: the name in the cluster, and what it is.
const PANELS: [(&str, &str); 4] = [
    ("api", "the API: a replica for 50 requests/s"),
    ("consumer", "the Kafka consumer: a replica for 50 waiting messages"),
    ("model", "the model: a replica for 200 tokens/s"),
    (PROXIES, "the Gateway's proxies: one for 150 requests/s"),
];

#[derive(Debug, Clone, Copy, Default)]
struct Replicas {
    spec: u32,
    ready: u32,
}

/// The replicas of each panel's Deployment.
async fn replicas(namespace: &str) -> Result<Vec<(&'static str, Replicas)>> {
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    let of = |object: &Value| Replicas {
        spec: number(&object["spec"]["replicas"]),
        ready: number(&object["status"]["readyReplicas"]),
    };
    let ours = get(&["deployments", "-n", namespace]).await?;
    let proxies = get(&["deployments", "-A", "-l", &owner("web", namespace)]).await?;
    let named = |name: &str| {
        let items = ours["items"].as_array()?;
        items.iter().find(|item| item["metadata"]["name"] == name).map(of)
    };
    let all = PANELS.iter().map(|(name, _)| {
        let found = if *name == PROXIES { proxies["items"].get(0).map(of) } else { named(name) };
        (*name, found.unwrap_or_default())
    });
    Ok(all.collect())
}

/// Produces messages, and reads them as the consumers would: their pods are real, but do not read.
async fn queue(shared: Arc<Shared>, start: Instant) -> Result<()> {
    let (kafka, mut read) = (Kafka::at(BROKER), 0);
    let mut seconds = interval(Duration::from_secs(1));
    while start.elapsed() < messages().duration() {
        seconds.tick().await;
        let new = messages().at(start.elapsed()) as u32;
        kafka.produce(TOPIC, 0, new).await?;
        let waiting = shared.waiting.load(Ordering::Relaxed) + i64::from(new);
        let taken = waiting.min(shared.consumers.load(Ordering::Relaxed) * READS);
        shared.waiting.store(waiting - taken, Ordering::Relaxed);
        read += taken;
        kafka.commit(GROUP, TOPIC, &[(0, read)]).await?;
    }
    Ok(())
}

/// Asks the model, each question in a task of its own.
async fn talk(chat: Chat, start: Instant) -> Result<()> {
    let mut ticks = interval(Duration::from_millis(100));
    let (mut due, mut open) = (0.0, JoinSet::new());
    while start.elapsed() < chats().duration() {
        ticks.tick().await;
        due += chats().at(start.elapsed()) / 10.0;
        while due >= 1.0 {
            due -= 1.0;
            let chat = chat.clone();
            open.spawn(async move { chat.ask(&prompt(ANSWER)).await.map(drop) });
        }
        while open.try_join_next().is_some() {}
    }
    Ok(())
}

/// Records a moment of each panel every second.
struct Recorder {
    shared: Arc<Shared>,
    looks: JoinHandle<Result<Vec<Run>>>,
}

struct Shared {
    start: Instant,
    /// When the load began
    day: OnceLock<Instant>,
    /// Messages that were produced and not yet read
    waiting: AtomicI64,
    /// Ready replicas of the consumer
    consumers: AtomicI64,
    ended: AtomicBool,
}

impl Recorder {
    fn start(namespace: String) -> Self {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            day: OnceLock::new(),
            waiting: AtomicI64::new(0),
            consumers: AtomicI64::new(0),
            ended: AtomicBool::new(false),
        });
        let looks = tokio::spawn(look(namespace, Arc::clone(&shared)));
        Self { shared, looks }
    }

    /// The load begins now.
    fn begin(&self) -> Instant {
        *self.shared.day.get_or_init(Instant::now)
    }

    async fn finish(self) -> Result<Vec<Run>> {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.looks.await?
    }
}

async fn look(namespace: String, shared: Arc<Shared>) -> Result<Vec<Run>> {
    let mut runs: Vec<_> =
        PANELS.iter().map(|(_, title)| Run { title: (*title).to_owned(), moments: Vec::new() }).collect();
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !shared.ended.load(Ordering::Relaxed) {
        seconds.tick().await;
        // A look that fails is left out; the next one follows.
        let Ok(all) = replicas(&namespace).await else { continue };
        for (run, (name, Replicas { spec, ready })) in runs.iter_mut().zip(all) {
            if name == "consumer" {
                shared.consumers.store(ready.into(), Ordering::Relaxed);
            }
            run.moments.push(Moment { at: shared.start.elapsed(), needed: shared.needed(name), wanted: spec, ready });
        }
    }
    Ok(runs)
}

impl Shared {
    /// Replicas that the load needs now.
    fn needed(&self, name: &str) -> f64 {
        let rate = |profile: Profile| {
            let since = self.day.get().map(Instant::elapsed).filter(|since| *since < profile.duration());
            since.map_or(0.0, |since| profile.at(since))
        };
        match name {
            "api" => rate(requests()) / REQUESTS,
            PROXIES => rate(requests()) / OF_PROXY,
            "model" => rate(chats()) * ANSWER as f64 / TOKENS,
            _ => self.waiting.load(Ordering::Relaxed) as f64 / MESSAGES,
        }
    }
}
