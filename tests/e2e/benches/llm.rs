//! Recorded load of LLM servers, in compressed time, on two Deployments at once: one that Tidegate scales by tokens, and one that
//! KEDA's own prometheus trigger scales by requests per second.
//!
//! `make bench-llm`. Both stand behind the same Envoy, get the same requests, and have the same servers (simulated: `llm`), bounds
//! and stabilization. The target of requests/s is the best that anyone could know: the rate at which a replica can serve the trace's
//! own mean request, less the part of its prompt that caches of the servers' size have. Time is [`FASTER`] times as fast as
//! recorded, and rates are higher by the same factor; Prometheus's window and the stabilization are shortened by it. Tidegate's own
//! windows (30 s) are not, which is a handicap for it.
#![allow(missing_docs, reason = "a benchmark")]

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use lru::LruCache;
use tidegate_e2e::{
    cluster::Cluster,
    kubectl::get,
    llm::{Chat, Entrance, Usage, ai_gateway, ai_route, model_server},
    scenario::{Scenario, until},
};
use tidegate_sim::{
    report::comparison::{Comparison, Moment, Run},
    traces::{Prompt, Recorded, Trace},
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

/// Recorded seconds in one second.
const FASTER: f64 = 6.0;
/// The share of a replica's capacity that it is meant to use.
const UTILISATION: f64 = 0.8;
/// Tokens/s that are written for one sequence, in recorded time.
const EACH: f64 = 40.0;
const STARTUP: Duration = Duration::from_secs(20);
const STABLE: Duration = Duration::from_secs(60);
const MAX: u32 = 16;
/// Blocks of prompts that a server's prefix cache holds.
const PREFIXES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Replicas of both when the trace begins, because it is a part cut out of a day.
const AT_FIRST: u32 = 4;
const POLICIES: [&str; 2] = ["tidegate", "keda"];
/// Recorded seconds over which the load is averaged for the replicas needed now.
const WINDOW: f64 = 60.0;

/// Capacity of a replica, in tokens per recorded second.
struct Server {
    prefill: f64,
    decode: f64,
}

/// A request that was answered.
#[derive(Debug, Clone, Copy)]
struct Answered {
    /// Index in the trace
    index: usize,
    usage: Usage,
    /// Duration, as a multiple of that on an idle server
    slower: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let _cluster = Cluster::as_shipped().await?;
    let wanted: Vec<String> = std::env::var("TIDEGATE_TRACES").map_or_else(
        |_| vec!["azure".to_owned(), "mooncake".to_owned()],
        |names| names.split(',').map(str::to_owned).collect(),
    );
    for name in wanted {
        let (trace, server) = match name.as_str() {
            "azure" => (Trace::Azure, Server { prefill: 2000.0, decode: 350.0 }),
            "mooncake" => (Trace::Mooncake, Server { prefill: 8000.0, decode: 350.0 }),
            _ => anyhow::bail!("no trace {name}: azure or mooncake"),
        };
        replay(&name, trace.read()?, &server).await?;
    }
    Ok(())
}

async fn replay(name: &str, requests: Vec<Recorded>, server: &Server) -> Result<()> {
    let last = requests.last().context("an empty trace")?.at;
    let target = requests_per_second(&requests, server);
    let scenario = Scenario::new(&format!("llm-{name}")).await?;
    scenario.apply(&manifests(&scenario.namespace, server, target)).await?;
    let entrance = Entrance::of(&scenario, 8080).await?;
    for policy in POLICIES {
        let chat = Chat::new(&entrance, policy);
        until(&format!("{policy} answers"), async || chat.ask(&Prompt::default()).await).await?;
    }
    let minutes = last / FASTER / 60.0;
    eprintln!("{name}: {} requests, {:.0} recorded minutes in {minutes:.0}", requests.len(), last / 60.0);

    let answered: [Arc<Mutex<Vec<Answered>>>; 2] = Default::default();
    let start = Instant::now();
    let watching = tokio::spawn(watch(scenario.namespace.clone(), start, last));
    let (mut open, mut failed) = (JoinSet::new(), Vec::new());
    for (index, recorded) in requests.iter().cloned().enumerate() {
        sleep_until(start + Duration::from_secs_f64(recorded.at / FASTER)).await;
        for (policy, answered) in POLICIES.iter().zip(&answered) {
            let (chat, recorded, answered) = (Chat::new(&entrance, policy), recorded.clone(), Arc::clone(answered));
            let ideal = recorded.prompt.output as f64 / EACH / FASTER;
            let reading = recorded.prompt.input as f64 / server.prefill / FASTER;
            open.spawn(async move {
                let sent = Instant::now();
                let usage = chat.ask(&recorded.prompt).await?;
                let slower = sent.elapsed().as_secs_f64() / (ideal + reading + 0.1);
                lock(&answered).push(Answered { index, usage, slower });
                anyhow::Ok(())
            });
        }
        while let Some(ended) = open.try_join_next() {
            failed.extend(ended?.err().map(|error| (recorded.at, error)));
        }
    }
    let samples = watching.await??;
    while let Some(ended) = open.join_next().await {
        failed.extend(ended?.err().map(|error| (last, error)));
    }
    for (at, error) in failed.iter().step_by((failed.len() / 10).max(1)) {
        eprintln!("  of {} that failed, at {:.0} recorded minutes: {error:#}", failed.len(), at / 60.0);
    }
    let answered = answered.map(|answered| lock(&answered).clone());
    report(name, server, &requests, &samples, &answered)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests/s, in recorded time, at which mean requests use the share of a replica that is meant to be used.
fn requests_per_second(requests: &[Recorded], server: &Server) -> f64 {
    let (input, output): (f64, f64) = (uncached(requests).iter().sum(), requests.iter().map(output).sum());
    let many = requests.len() as f64;
    UTILISATION * (server.prefill / (input / many)).min(server.decode / (output / many))
}

fn output(recorded: &Recorded) -> f64 {
    recorded.prompt.output as f64
}

/// Prompt tokens of each request that the caches of [`AT_FIRST`] servers, which take turns, do not have.
fn uncached(requests: &[Recorded]) -> Vec<f64> {
    let mut servers = [(); AT_FIRST as usize].map(|()| LruCache::new(PREFIXES));
    let of = |(index, Recorded { prompt, .. }): (usize, &Recorded)| {
        let cache = &mut servers[index % AT_FIRST as usize];
        let cached = prompt.blocks.iter().take_while(|block| cache.get(*block).is_some()).count() as f64 * 512.0;
        for block in &prompt.blocks {
            cache.put(*block, ());
        }
        (prompt.input as f64 - cached).max(1.0)
    };
    requests.iter().enumerate().map(of).collect()
}

fn manifests(namespace: &str, server: &Server, target: f64) -> String {
    let rate = |recorded: f64| recorded * FASTER;
    let args = [
        format!("--prefill={}", rate(server.prefill)),
        format!("--decode={}", rate(server.decode)),
        format!("--decode-each={}", rate(EACH)),
        format!("--startup={}s", STARTUP.as_secs()),
        format!("--prefixes={PREFIXES}"),
    ];
    let targets = [
        ("input-tokens-per-second", format!("{}", rate(server.prefill) * UTILISATION)),
        ("output-tokens-per-second", format!("{}", rate(server.decode) * UTILISATION)),
        ("max-replicas", MAX.to_string()),
        ("scale-down-after", format!("{}s", STABLE.as_secs())),
    ];
    let annotations: Vec<_> = targets.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let mut all = ai_gateway();
    for policy in POLICIES {
        let named = format!("--model={policy}");
        let args: Vec<_> = std::iter::once(named.as_str()).chain(args.iter().map(String::as_str)).collect();
        let annotations = if policy == "tidegate" { annotations.as_slice() } else { &[] };
        let server = model_server(policy, annotations, &args);
        let replicas = format!("\nspec:\n  replicas: {AT_FIRST}\n  selector: {{matchLabels");
        all += &server.replace("\nspec:\n  selector: {matchLabels", &replicas);
        all += &ai_route(namespace, policy, policy, policy);
    }
    all + &kedas_own(namespace, rate(target))
}

fn kedas_own(namespace: &str, threshold: f64) -> String {
    let cluster = format!("httproute/{namespace}/keda/rule/0");
    format!(
        "---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: keda}}
spec:
  scaleTargetRef: {{name: keda}}
  minReplicaCount: 1
  maxReplicaCount: {MAX}
  pollingInterval: 5
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {{scaleDown: {{stabilizationWindowSeconds: {}}}}}
  triggers:
    - type: prometheus
      metadata:
        serverAddress: http://prometheus.monitoring.svc:9090
        query: 'sum(rate(envoy_cluster_upstream_rq_total{{envoy_cluster_name=\"{cluster}\"}}[20s]))'
        threshold: \"{threshold:.3}\"
",
        STABLE.as_secs()
    )
}

/// A sample: recorded seconds, and for each policy the replicas that were wanted and those that were ready.
type Sample = (f64, [(u32, u32); 2]);

async fn watch(namespace: String, start: Instant, last: f64) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let mut looks = interval(Duration::from_secs(1));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let at = start.elapsed().as_secs_f64() * FASTER;
        if at > last {
            return Ok(samples);
        }
        if samples.len() % 60 == 59 {
            eprintln!("  {:.0} of {:.0} recorded minutes", at / 60.0, last / 60.0);
        }
        // A read that fails is left out; the next one follows.
        let Ok(deployments) = get(&["deployments", "-n", &namespace]).await else { continue };
        let of = |policy: &str| {
            let all = deployments["items"].as_array()?.iter();
            let deployment = all.into_iter().find(|deployment| deployment["metadata"]["name"] == policy)?;
            let number = |value: &serde_json::Value| value.as_u64().unwrap_or(0) as u32;
            Some((number(&deployment["spec"]["replicas"]), number(&deployment["status"]["readyReplicas"])))
        };
        samples.push((at, POLICIES.map(|policy| of(policy).unwrap_or_default())));
    }
}

fn report(
    name: &str,
    server: &Server,
    requests: &[Recorded],
    samples: &[Sample],
    answered: &[Vec<Answered>; 2],
) -> Result<()> {
    let work = work(requests, answered);
    let runs = [0, 1].map(|policy| {
        let moments = samples.iter().map(|(at, of)| Moment {
            at: Duration::from_secs_f64(*at),
            needed: needed(&work, *at, server),
            wanted: of[policy].0,
            ready: of[policy].1,
        });
        let title =
            ["Tidegate: uncached prompt tokens/s and generated tokens/s", "KEDA's prometheus trigger: requests/s"];
        Run { title: title[policy].to_owned(), moments: moments.collect() }
    });
    println!("\n{name}: {} requests each\n", requests.len());
    println!("| | Tidegate | KEDA's prometheus trigger |\n|---|---|---|");
    let judged = [0, 1].map(|policy| runs[policy].judged());
    let row = |what: &str, of: &dyn Fn(usize) -> String| println!("| {what} | {} | {} |", of(0), of(1));
    row("time with fewer replicas ready than needed", &|p| format!("{:.1} %", judged[p].time_under * 100.0));
    row("replicas that were missing, of those needed", &|p| format!("{:.1} %", judged[p].missing * 100.0));
    row("replica-hours", &|p| format!("{:.1}", judged[p].replica_hours));
    row("most replicas", &|p| judged[p].peak.to_string());
    row("changes of replicas", &|p| judged[p].changes.to_string());
    for (what, quantile) in [("a median request took", 0.5), ("the slowest 5 % took at least", 0.95)] {
        row(what, &|p| format!("{:.2} × an idle server", slower(&answered[p], quantile)));
    }
    row("requests that took twice as long", &|p| {
        let slow = answered[p].iter().filter(|answered| answered.slower > 2.0).count();
        format!("{:.1} %", slow as f64 / answered[p].len().max(1) as f64 * 100.0)
    });
    row("answered", &|p| answered[p].len().to_string());
    let chart = Comparison { title: format!("{name}: replicas needed, ready and wanted"), runs: runs.to_vec() };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/charts");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("llm-{name}.svg"));
    std::fs::write(&file, chart.to_string()).with_context(|| file.display().to_string())
}

/// For each request: its recorded time, its prompt tokens that were not cached, and the tokens of its answer. The uncached tokens are
/// the mean of those that the servers reported, or, where neither answered, those that caches of their size would have left.
fn work(requests: &[Recorded], answered: &[Vec<Answered>; 2]) -> Vec<(f64, f64, f64)> {
    let mut said = vec![(0.0, 0.0); requests.len()];
    for Answered { index, usage, .. } in answered.iter().flatten() {
        said[*index].0 += (usage.input - usage.cached) as f64;
        said[*index].1 += 1.0;
    }
    let each = requests.iter().zip(uncached(requests)).zip(said);
    each.map(|((recorded, alone), (sum, many))| {
        (recorded.at, if many > 0.0 { sum / many } else { alone }, output(recorded))
    })
    .collect()
}

/// Replicas needed for the load of the last [`WINDOW`], each with the share of its capacity that it is meant to use.
fn needed(work: &[(f64, f64, f64)], at: f64, server: &Server) -> f64 {
    let lately = work.iter().filter(|(came, ..)| *came <= at && *came > at - WINDOW);
    let (input, output) = lately.fold((0.0, 0.0), |sum, (_, input, output)| (sum.0 + input, sum.1 + output));
    // The first requests of a trace come at once: a few seconds of them say nothing about a rate.
    let seconds = at.clamp(WINDOW / 6.0, WINDOW);
    (input / seconds / server.prefill).max(output / seconds / server.decode) / UTILISATION
}

fn slower(answered: &[Answered], quantile: f64) -> f64 {
    let mut all: Vec<f64> = answered.iter().map(|answered| answered.slower).collect();
    all.sort_by(f64::total_cmp);
    let index = (all.len() as f64 * quantile) as usize;
    all.get(index.min(all.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
