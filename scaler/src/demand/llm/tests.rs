use std::sync::Arc;

use tidegate_core::{
    ids::{RouteRef, ServiceId},
    llm::{AiBackend, AiRule, Destination, ServingPod, TokenNames},
    plan::{Proxy, Replicas},
    workload::WorkloadId,
};
use tokio::time::{Instant, advance};

use super::*;
use crate::{
    fixture::{STALE_AFTER, demands, deployment, plan, share},
    store::{Counters, Sample, ServerCounters, TokenCounters},
};

const SECOND: Duration = Duration::from_secs(1);

/// `deployment/qwen` behind `AIGatewayRoute shop/chat`, whose rule 0 routes the model `qwen3` to it.
struct Qwen {
    demands: Demands,
    plan: Plan,
    trigger: Trigger,
    counted: TokenCounters,
    served: ServerCounters,
}

impl Qwen {
    fn new(annotations: &[(&str, &str)]) -> Self {
        let mut plan = plan("qwen", annotations, vec![share("chat")]);
        let id = deployment("qwen");
        let trigger = Trigger::of_workload(&id, plan.workloads[&id].intent.as_ref().unwrap());
        let service = ServiceId { namespace: "shop".into(), name: "qwen".into() };
        let backend = AiBackend {
            name: "shop/qwen".into(),
            model: None,
            weight: 1,
            priority: 0,
            destination: Destination::Service(service),
        };
        let route =
            RouteRef { kind: "AIGatewayRoute".into(), namespace: "shop".into(), name: "chat".into(), rule: Some(0) };
        let rule =
            Arc::new(AiRule { route, models: vec!["qwen3".into()], backends: vec![backend], fleets: Vec::new() });
        plan.ai_rules = vec![Arc::clone(&rule)];
        let models = vec![ModelShare::Routed { rule, backend: 0, of_backend: 1.0 }];
        let workload = plan.workloads.get_mut(&id).unwrap();
        workload.models = models;
        workload.replicas = Replicas { wanted: 2, ready: 2 };
        workload.pods = vec![pod(1, true), pod(2, true)];
        let demands = demands();
        demands.signals().keep(&plan);
        Self { demands, plan, trigger, counted: TokenCounters::default(), served: ServerCounters::default() }
    }

    fn id() -> WorkloadId {
        deployment("qwen")
    }

    fn missing(&self) -> Vec<(Signal, String)> {
        self.demands.missing(&Self::id(), &self.plan)
    }

    fn workload(&mut self) -> &mut PlannedWorkload {
        self.plan.workloads.get_mut(&Self::id()).unwrap()
    }

    fn gateway_counts(&mut self, seconds: u32, input: f64, cached: f64, output: f64) {
        self.gateway_counts_as("qwen3", seconds, input, cached, output);
    }

    fn gateway_counts_as(&mut self, model: &str, seconds: u32, input: f64, cached: f64, output: f64) {
        let names = TokenNames {
            original: model.into(),
            request: model.into(),
            provider: "openai".into(),
            ..TokenNames::default()
        };
        for _ in 0..seconds {
            let TokenCounters { input: i, cached: c, output: o, requests, answered } = self.counted;
            let (requests, answered) = (requests + 1.0, answered + 1.0);
            self.counted =
                TokenCounters { input: i + input, cached: c + cached, output: o + output, requests, answered };
            let sample = [(names.clone(), self.counted)];
            self.demands.signals().tokens_sampled("eg/proxy", Ok(&sample), false);
            self.demands.signals().commit_tokens(Some(&[("eg/proxy", true)]));
        }
    }

    /// Simulates a second in which `ended` requests ended, with `output` output tokens each.
    fn gateway_counts_requests(&mut self, ended: f64, output: f64) {
        self.counted.requests += ended - 1.0;
        self.counted.answered += ended - 1.0;
        self.gateway_counts(1, 0.0, 0.0, ended * output);
    }

    /// Reports the requests that have begun so far, and the requests in flight.
    fn proxy_counts(&self, requests: u32, in_flight: u32) {
        let signals = self.demands.signals();
        let series = signals.series();
        let counters = Counters { requests: requests.into(), in_flight: in_flight.into(), ..Counters::default() };
        let sample = series.of_cluster("httproute/shop/chat/rule/0").map(|id| (id, counters));
        let stats = ([10, 0, 1, 1], 19001).into();
        let proxy = Proxy { name: "eg/proxy".into(), stats, ready: true, fleet: None };
        signals.sampled(&proxy, Instant::now(), Ok(Sample::new(&series, sample.into_iter().collect())));
        signals.commit(&[proxy]);
    }

    fn servers_tell(&mut self, pods: &[u8], told: ServerCounters) {
        self.served.output += told.output;
        self.served.input += told.input;
        for number in pods {
            let counters = ServerCounters { waiting: told.waiting, kv_cache: told.kv_cache, ..self.served };
            self.demands.signals().server_sampled(address(*number), Ok(counters));
        }
        self.demands.signals().commit_servers(&pods.iter().map(|number| address(*number)).collect());
    }

    fn needs(&self, index: usize) -> Result<f64, String> {
        let demand = self.demands.demand(&self.trigger, self.trigger.targets[index], &self.plan);
        demand.map(|demand| demand.need.value.round()).map_err(|none| none.to_string())
    }

    fn replicas(&self, index: usize) -> u32 {
        self.demands.demand(&self.trigger, self.trigger.targets[index], &self.plan).unwrap().need.replicas()
    }
}

fn address(number: u8) -> std::net::SocketAddr {
    ([10, 0, 0, number], 8000).into()
}

fn pod(number: u8, ready: bool) -> ServingPod {
    let created = Some(Utc::now());
    ServingPod {
        name: format!("qwen-{number}"),
        metrics: Some(address(number)),
        path: "/metrics".into(),
        ready,
        created,
    }
}

async fn tick(times: u32, mut each: impl FnMut()) {
    for _ in 0..times {
        advance(SECOND).await;
        each();
    }
}

#[tokio::test(start_paused = true)]
async fn prefill_is_what_was_not_cached_and_the_larger_need_decides() {
    let mut qwen = Qwen::new(&[("input-tokens-per-second", "1000"), ("output-tokens-per-second", "100")]);
    qwen.workload().pods.clear();
    tick(40, || qwen.gateway_counts(1, 5000.0, 4000.0, 250.0)).await;
    assert_eq!((qwen.needs(0), qwen.needs(1)), (Ok(1000.0), Ok(250.0)));
    assert_eq!((qwen.replicas(0), qwen.replicas(1)), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn servers_that_see_more_than_the_gateway_are_believed_and_full_ones_hide_nothing() {
    let mut qwen = Qwen::new(&[("output-tokens-per-second", "100")]);
    let told = ServerCounters { output: 60.0, ..ServerCounters::default() };
    tick(40, || {
        qwen.gateway_counts(1, 0.0, 0.0, 100.0);
        qwen.servers_tell(&[1, 2], told);
    })
    .await;
    assert_eq!(qwen.needs(0), Ok(120.0), "who asks them without the gateway counts, too");
    tick(40, || {
        qwen.gateway_counts(1, 0.0, 0.0, 300.0);
        qwen.servers_tell(&[1, 2], told);
    })
    .await;
    assert_eq!(qwen.needs(0), Ok(300.0));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_answer_is_held_and_then_an_error_and_servers_may_still_raise() {
    let mut qwen = Qwen::new(&[("output-tokens-per-second", "100")]);
    tick(40, || qwen.gateway_counts(1, 0.0, 0.0, 150.0)).await;
    assert_eq!(qwen.needs(0), Ok(150.0));
    let told = ServerCounters { output: 200.0, ..ServerCounters::default() };
    tick(40, || qwen.servers_tell(&[1, 2], told)).await;
    assert_eq!(qwen.needs(0), Ok(400.0));
    qwen.workload().pods.clear();
    advance(STALE_AFTER * 3).await;
    let error = qwen.needs(0).unwrap_err();
    assert!(error.contains("the last value is"), "{error}");
}

/// Runs requests of 100 tokens and 20 s each: `before` begin in each second of a long history, and then `after`. Returns the need in
/// each second since the step.
async fn step(before: u32, after: u32) -> Vec<f64> {
    const LONG: u32 = 20;
    let mut qwen = Qwen::new(&[("output-tokens-per-second", "100")]);
    qwen.workload().pods.clear();
    let rate = |second: i64| if second < 0 { before } else { after };
    let mut began = 0;
    let mut needed = Vec::new();
    for second in -60..90i64 {
        advance(SECOND).await;
        began += rate(second);
        let open: u32 = (0..i64::from(LONG)).map(|ago| rate(second - ago)).sum();
        qwen.proxy_counts(began, open);
        let ended = rate(second - i64::from(LONG));
        qwen.gateway_counts_requests(f64::from(ended), 100.0);
        if second >= 0 {
            needed.push(qwen.needs(0).unwrap());
        }
    }
    needed
}

#[tokio::test(start_paused = true)]
async fn what_begins_counts_before_it_ends_and_once() {
    // Too few for a burst: they show gradually, over the window.
    let needed = step(1, 3).await;
    assert!(needed[10] > 150.0, "nothing of it has ended: {needed:?}");
    assert!(needed[29] > 285.0, "{needed:?}");
    assert!(needed.iter().all(|needed| (95.0..=310.0).contains(needed)), "no token is there twice: {needed:?}");
    assert_eq!(needed[89], 300.0);
}

#[tokio::test(start_paused = true)]
async fn a_burst_counts_within_seconds_and_once() {
    let needed = step(1, 10).await;
    assert!(needed[6] > 980.0, "nothing of it has ended: {needed:?}");
    assert!(needed.iter().all(|needed| (95.0..=1020.0).contains(needed)), "no token is there twice: {needed:?}");
    // The burst fades until it fills the window; the HPA holds the highest need for longer than that.
    assert!(needed[29..].iter().all(|needed| *needed > 930.0), "{needed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_asks_for_no_more_while_what_it_asked_for_starts_and_for_more_when_that_takes_too_long() {
    let mut qwen =
        Qwen::new(&[("queue-per-replica", "5"), ("kv-cache", "0.8"), ("startup-time", "3m"), ("max-replicas", "50")]);
    let busy = ServerCounters { waiting: Some(50.0), kv_cache: Some(1.0), ..ServerCounters::default() };
    tick(40, || qwen.servers_tell(&[1, 2], busy)).await;
    assert_eq!((qwen.replicas(0), qwen.replicas(1)), (20, 3));
    qwen.workload().replicas.wanted = 20;
    qwen.workload().pods.extend((3..=20).map(|number| pod(number, false)));
    let more = ServerCounters { waiting: Some(500.0), ..busy };
    tick(40, || qwen.servers_tell(&[1, 2], more)).await;
    assert_eq!((qwen.replicas(0), qwen.replicas(1)), (20, 20));
    for pod in &mut qwen.workload().pods {
        pod.created = Some(Utc::now() - Duration::from_secs(181));
    }
    assert_eq!(qwen.replicas(0), 200);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_renamed_is_followed_by_the_annotation_at_once() {
    let mut qwen = Qwen::new(&[("output-tokens-per-second", "100"), ("model", "qwen4")]);
    qwen.workload().pods.clear();
    qwen.workload().models = vec![ModelShare::Named("qwen4".into())];
    qwen.demands.signals().keep(&qwen.plan);
    tick(40, || qwen.gateway_counts_as("qwen4", 1, 0.0, 0.0, 70.0)).await;
    assert_eq!(qwen.needs(0), Ok(70.0));
}

/// Simulates a second in which all streams end without token counts.
fn streams_end_without_usage(qwen: &mut Qwen) {
    qwen.counted.answered += 2.0;
    let names = TokenNames { original: "qwen3".into(), request: "qwen3".into(), ..TokenNames::default() };
    qwen.demands.signals().tokens_sampled("eg/proxy", Ok(&[(names, qwen.counted)]), false);
    qwen.demands.signals().commit_tokens(Some(&[("eg/proxy", true)]));
}

#[tokio::test(start_paused = true)]
async fn streams_without_usage_are_unknown_and_not_zero_unless_the_servers_count_them() {
    let mut qwen = Qwen::new(&[("output-tokens-per-second", "100")]);
    let pods = std::mem::take(&mut qwen.workload().pods);
    tick(40, || streams_end_without_usage(&mut qwen)).await;
    let error = qwen.needs(0).unwrap_err();
    assert!(error.contains("100 % of the requests for qwen3") && error.contains("llmRequestCosts"), "{error}");
    assert!(qwen.demands.is_active(&qwen.trigger, &qwen.plan).is_err(), "nor does it sleep");
    let [(signal, reason)] = &qwen.missing()[..] else { panic!("{:?}", qwen.missing()) };
    assert_eq!((*signal, reason.contains("wants llmRequestCosts")), (Signal::OutputTokens, true), "{reason}");
    qwen.workload().pods = pods;
    let told = ServerCounters { output: 60.0, ..ServerCounters::default() };
    tick(40, || {
        streams_end_without_usage(&mut qwen);
        qwen.servers_tell(&[1, 2], told);
    })
    .await;
    assert_eq!(qwen.needs(0), Ok(120.0));
    assert_eq!(qwen.missing(), [], "the servers count them");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_known_of_a_model_that_nobody_counts() {
    let mut qwen = Qwen::new(&[("output-tokens-per-second", "100")]);
    qwen.workload().models.clear();
    qwen.workload().pods.clear();
    let error = qwen.needs(0).unwrap_err();
    assert_eq!(error, "output-tokens-per-second: no AI gateway counts its tokens and its pods are not known");
    assert!(qwen.demands.is_active(&qwen.trigger, &qwen.plan).is_err());
}
