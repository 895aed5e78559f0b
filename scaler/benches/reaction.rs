//! Time until demand follows a step in LLM load: with requests in flight included, and with only the tokens of streams that have
//! ended.
//!
//! `cargo bench -p tidegate-scaler --bench reaction`. The requests come from the Azure trace: every fourth of them for three
//! minutes, then all of them, at 40 places of the trace. Time is simulated, a second at a time, and the code that computes demand
//! from a gateway's counts is the one that answers KEDA. A stream is written at a fixed pace from its beginning.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run fails")]

use std::{sync::Arc, time::Duration};

use tidegate_core::{
    calendar::Calendars,
    ids::{RouteRef, ServiceId},
    intent::{Annotations, Intent},
    llm::{AiBackend, AiRule, Destination, ModelShare, TokenNames},
    plan::{ClusterShare, Plan, PlannedWorkload, Proxy, Replicas},
    signal::Signal,
    trigger::{Traffic, Trigger},
    workload::{WorkloadId, WorkloadKind},
};
use tidegate_scaler::{
    demand::Demands,
    store::{Counters, Sample, SignalStore, TokenCounters},
};
use tidegate_sim::traces::{Recorded, Trace};
use tokio::time::{Instant, advance};

const CLUSTER: &str = "httproute/llm/chat/rule/0";
const STALE_AFTER: Duration = Duration::from_secs(300);
/// Seconds before the step, and seconds watched after it.
const BEFORE: f64 = 180.0;
const AFTER: usize = 90;
const STEPS: usize = 40;
/// Generated tokens/s of one stream.
const PACES: [f64; 4] = [80.0, 40.0, 20.0, 10.0];
/// Part of the arriving tokens/s at which demand has followed the step.
const REACHED: f64 = 0.9;

fn main() {
    let requests = Trace::Azure.read().unwrap();
    println!("Seconds from the step until demand is {:.0} % of what arrives, {STEPS} steps:\n", REACHED * 100.0);
    println!(
        "| tokens/s of a stream | mean stream | ended streams only: median, slowest 10 % | with those in flight | sooner |"
    );
    println!("|---|---|---|---|---|");
    for pace in PACES {
        let of = |in_flight: bool| -> Vec<f64> {
            let mut all: Vec<_> = (0..STEPS).map(|step| reaction(&requests, step, pace, in_flight)).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let (ended, with) = (of(false), of(true));
        let shown = |of: &[f64]| format!("{:.0} s, {:.0} s", of[STEPS / 2], of[STEPS * 9 / 10]);
        let tokens: f64 = requests.iter().map(|request| request.prompt.output as f64).sum();
        let mean = tokens / requests.len() as f64 / pace;
        let sooner = ended[STEPS / 2] - with[STEPS / 2];
        println!("| {pace:.0} | {mean:.0} s | {} | {} | {sooner:.0} s |", shown(&ended), shown(&with));
    }
}

/// Seconds from a step until the demand for output tokens has followed it.
fn reaction(requests: &[Recorded], step: usize, pace: f64, in_flight: bool) -> f64 {
    let last = requests.last().map_or(0.0, |request| request.at);
    let at = BEFORE + (last - BEFORE - AFTER as f64) * step as f64 / STEPS as f64;
    let sent = requests.iter().enumerate().filter(|(index, request)| request.at >= at || index % 4 == 0);
    let sent: Vec<Stream> = sent
        .map(|(_, request)| (request.at - (at - BEFORE), &request.prompt))
        .filter(|(begins, _)| (0.0..BEFORE + AFTER as f64).contains(begins))
        .map(|(begins, prompt)| Stream { begins, ends: begins + prompt.output as f64 / pace, output: prompt.output })
        .collect();
    // Output tokens that arrive after the step; divided by its seconds below.
    let arriving = sent.iter().filter(|stream| stream.begins >= BEFORE).map(|stream| stream.output as f64).sum::<f64>();
    let wanted = REACHED * arriving / AFTER as f64;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let model = Model::new();
        for second in 0..BEFORE as usize + AFTER {
            advance(Duration::from_secs(1)).await;
            let now = second as f64 + 1.0;
            let demand = model.second(&sent, now, in_flight);
            if now > BEFORE && demand.is_some_and(|demand| demand >= wanted) {
                return now - BEFORE;
            }
        }
        AFTER as f64
    })
}

struct Stream {
    begins: f64,
    ends: f64,
    output: u64,
}

/// One Deployment behind one rule of an AIGatewayRoute.
struct Model {
    plan: Plan,
    trigger: Trigger,
    demands: Demands,
    proxy: Proxy,
}

impl Model {
    fn new() -> Self {
        let id = WorkloadId { namespace: "llm".into(), kind: WorkloadKind::Deployment, name: "qwen".into() };
        let annotations: Annotations = [("tidegate.dev/output-tokens-per-second".to_owned(), "100".to_owned())].into();
        let intent = Intent::of_workload(&annotations, "llm", &Annotations::new()).unwrap().unwrap();
        let trigger = Trigger {
            namespace: id.namespace.clone(),
            targets: intent.targets.clone(),
            traffic: Some(Traffic::Workload(id.clone())),
            query: None,
            kafka: None,
            model: None,
            schedule: None,
        };
        let service = ServiceId { namespace: "llm".into(), name: "qwen".into() };
        let route =
            |kind: &str| RouteRef { kind: kind.into(), namespace: "llm".into(), name: "chat".into(), rule: Some(0) };
        let share = ClusterShare {
            cluster: CLUSTER.into(),
            split: None,
            share: 1.0,
            of_backend: 1.0,
            route: route("HTTPRoute"),
            service: service.clone(),
            fleets: [].into(),
            meaning: 0,
            pending: false,
        };
        let destination = Destination::Service(service.clone());
        let backend = AiBackend { name: "llm/qwen".into(), model: None, weight: 1, priority: 0, destination };
        let rule = Arc::new(AiRule {
            route: route("AIGatewayRoute"),
            models: vec!["qwen".into()],
            backends: vec![backend],
            fleets: Vec::new(),
        });
        let replicas = Replicas { wanted: 1, ready: 1 };
        let mut workload =
            PlannedWorkload::new(&id, String::new(), Ok(intent), vec![share.clone()], replicas, 1, &Calendars::new());
        workload.models = vec![ModelShare::Routed { rule: Arc::clone(&rule), backend: 0, of_backend: 1.0 }];
        let proxy = Proxy { name: "eg/proxy".into(), stats: ([10, 0, 0, 1], 19001).into(), ready: true, fleet: None };
        let plan = Plan {
            workloads: [(id, workload)].into(),
            services: [(service, vec![share])].into(),
            proxies: vec![proxy.clone()],
            ai_rules: vec![rule],
            ..Plan::default()
        };
        let demands = Demands::new(Arc::new(SignalStore::new(STALE_AFTER)), STALE_AFTER);
        demands.signals().keep(&plan);
        Self { plan, trigger, demands, proxy }
    }

    /// Simulates a second in which the proxy and its AI gateway are asked, and returns the demand after it.
    fn second(&self, sent: &[Stream], now: f64, in_flight: bool) -> Option<f64> {
        let signals = self.demands.signals();
        let began = sent.iter().filter(|stream| stream.begins <= now);
        let ended = sent.iter().filter(|stream| stream.ends <= now);
        let open = began.clone().count() - ended.clone().count();
        if in_flight {
            let series = signals.series();
            let requests = began.count() as f64;
            let counters = Counters { requests, in_flight: open as f64, ..Counters::default() };
            let sample = series.of_cluster(CLUSTER).map(|id| (id, counters)).into_iter().collect();
            signals.sampled(&self.proxy, Instant::now(), Ok(Sample::new(&series, sample)));
            signals.commit(&self.plan.proxies);
        }
        let output = ended.clone().map(|stream| stream.output as f64).sum();
        let names = TokenNames { original: "qwen".into(), request: "qwen".into(), ..TokenNames::default() };
        let counted = TokenCounters { output, requests: ended.count() as f64, ..TokenCounters::default() };
        signals.tokens_sampled("eg/proxy", Ok(&[(names, counted)]), false);
        signals.commit_tokens(Some(&[("eg/proxy", true)]));
        let target = self.trigger.targets.iter().find(|target| target.signal == Signal::OutputTokens)?;
        Some(self.demands.demand(&self.trigger, *target, &self.plan).ok()?.need.value)
    }
}
