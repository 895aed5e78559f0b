use super::*;

const STALE: Duration = Duration::from_secs(300);

struct Fixture {
    servers: Servers,
    now: Instant,
    pods: Vec<ServingPod>,
}

fn pod(number: u8) -> ServingPod {
    let metrics = Some(([10, 0, 0, number], 8000).into());
    ServingPod { name: format!("qwen-{number}"), metrics, path: "/metrics".into(), ready: true, created: None }
}

impl Fixture {
    fn of(pods: u8) -> Self {
        Self { servers: Servers::default(), now: Instant::now(), pods: (0..pods).map(pod).collect() }
    }

    fn second(&mut self, answers: &[Result<ServerCounters, &str>]) {
        self.now += Duration::from_secs(1);
        for (pod, answer) in self.pods.iter().zip(answers) {
            let address = pod.metrics.unwrap();
            self.servers.sampled(address, self.now, answer.map_err(ToOwned::to_owned));
        }
        let all = self.pods.iter().filter_map(|pod| pod.metrics).collect();
        self.servers.second(&all, self.now);
    }

    fn served(&self) -> Result<Served, String> {
        self.servers.served(&self.pods, self.now, STALE).map_err(|none| none.to_string())
    }
}

fn busy(second: u8) -> ServerCounters {
    let n = f64::from(second);
    let (running, waiting, kv_cache) = (Some(8.0), Some(4.0), Some(0.5));
    ServerCounters { input: 100.0 * n, cached: 30.0 * n, output: 50.0 * n, running, waiting, kv_cache }
}

#[test]
fn what_pods_tell_is_added_up() {
    let mut asked = Fixture::of(2);
    (0..40).for_each(|second| asked.second(&[Ok(busy(second)), Ok(busy(second))]));
    let served = asked.served().unwrap();
    assert_eq!((served.input, served.output), (140.0, 100.0));
    assert_eq!((served.waiting, served.kv_cache, served.incomplete), (Some(8.0), Some(1.0), None));
    assert_eq!(served.running, Some(16.0));
}

#[test]
fn a_lump_in_the_first_seconds_of_a_server_is_no_rate_and_what_it_did_before_is_not_taken_for_nothing() {
    let lump = |total: f64| Ok(ServerCounters { input: total, ..ServerCounters::default() });
    let mut asked = Fixture::of(1);
    let pods = std::mem::take(&mut asked.pods);
    (0..31).for_each(|_| asked.second(&[]));
    asked.pods = pods;
    for total in [0.0, 0.0, 3000.0, 3000.0] {
        asked.second(&[lump(total)]);
    }
    let served = asked.served().unwrap();
    assert_eq!((served.input.round(), served.incomplete), (100.0, None), "it has just begun");
    let mut asked = Fixture::of(1);
    for total in [1e9, 1e9, 1e9 + 3000.0] {
        asked.second(&[lump(total)]);
    }
    let served = asked.served().unwrap();
    assert_eq!((served.input.round(), served.incomplete.is_some()), (100.0, true), "nobody saw what it did before");
    (0..30).for_each(|_| asked.second(&[lump(1e9 + 3000.0)]));
    assert_eq!(asked.served().unwrap().incomplete, None);
}

#[test]
fn a_server_that_shows_zeros_to_a_tidegate_that_has_just_started_may_have_been_restarted() {
    let idle = ServerCounters { waiting: Some(0.0), ..ServerCounters::default() };
    let mut asked = Fixture::of(1);
    (0..29).for_each(|_| asked.second(&[Ok(idle)]));
    let why = asked.served().unwrap().incomplete;
    assert_eq!(why.as_deref(), Some("pod qwen-0 was measured for 29 of 30 s so far"));
    (0..2).for_each(|_| asked.second(&[Ok(idle)]));
    assert_eq!(asked.served().unwrap().incomplete, None);
}

#[test]
fn a_late_answer_counts_for_all_the_seconds_that_it_covers() {
    let mut asked = Fixture::of(1);
    for second in 0..60u8 {
        let late = second % 4 != 0;
        asked.second(&[if late { Err("timeout") } else { Ok(busy(second)) }]);
    }
    assert_eq!(asked.served().unwrap().output, 50.0);
}

#[test]
fn a_pod_that_fails_its_probe_counts_while_it_answers_and_is_held_as_a_lower_bound_while_it_does_not() {
    let mut asked = Fixture::of(2);
    (0..40).for_each(|second| asked.second(&[Ok(busy(second)), Ok(busy(second))]));
    asked.pods[1].ready = false;
    (40..80).for_each(|second| asked.second(&[Ok(busy(second)), Ok(busy(second))]));
    let served = asked.served().unwrap();
    assert_eq!((served.waiting, served.kv_cache, served.incomplete), (Some(8.0), Some(1.0), None));
    (80..120).for_each(|second| asked.second(&[Ok(busy(second)), Err("timeout")]));
    let served = asked.served().unwrap();
    assert_eq!((served.waiting, served.output), (Some(8.0), 100.0));
    assert_eq!(served.incomplete.as_deref(), Some("pod qwen-1 is not ready and does not show its metrics: timeout"));
    (0..300).for_each(|_| asked.second(&[Ok(busy(119)), Err("timeout")]));
    let served = asked.served().unwrap();
    assert_eq!((served.waiting, served.incomplete), (Some(4.0), None), "it is out of service");
}

#[test]
fn a_ready_pod_that_is_silent_for_too_long_makes_a_lower_bound() {
    let mut asked = Fixture::of(2);
    (0..40).for_each(|second| asked.second(&[Ok(busy(second)), Ok(busy(second))]));
    (0..300).for_each(|_| asked.second(&[Ok(busy(39)), Err("timeout")]));
    assert_eq!(asked.served().unwrap().incomplete, None, "it is held");
    asked.second(&[Ok(busy(39)), Err("timeout")]);
    let why = asked.served().unwrap().incomplete;
    assert_eq!(why.as_deref(), Some("pod qwen-1 has not answered for 301 s: timeout"));
}

#[test]
fn a_jump_that_no_server_can_do_is_an_error_of_it_and_no_value() {
    let mut asked = Fixture::of(1);
    (0..40).for_each(|second| asked.second(&[Ok(busy(second))]));
    let jumped = |second| ServerCounters { output: busy(second).output + 1e12, ..busy(second) };
    asked.second(&[Ok(jumped(40))]);
    let error = asked.servers.servers.values().next().unwrap().error.clone().unwrap();
    assert!(error.contains("which nothing can do"), "{error}");
    (41..80).for_each(|second| asked.second(&[Ok(jumped(second))]));
    assert_eq!(asked.served().unwrap().output, 50.0);
}

#[test]
fn a_pod_that_is_silent_contributes_what_it_last_did_and_a_new_one_makes_a_lower_bound() {
    let mut asked = Fixture::of(2);
    (0..40).for_each(|second| asked.second(&[Ok(busy(second)), Err("timeout")]));
    let served = asked.served().unwrap();
    assert_eq!(served.waiting, Some(4.0));
    assert_eq!(served.incomplete.as_deref(), Some("pod qwen-1 does not show its metrics: timeout"));
    (40..60).for_each(|_| asked.second(&[Err("timeout"), Err("timeout")]));
    assert_eq!(asked.served().unwrap().waiting, Some(4.0));
    asked.now += STALE;
    assert!(asked.served().unwrap_err().contains("timeout"));
}

#[test]
fn a_server_that_starts_again_is_neither_negative_nor_huge() {
    let mut asked = Fixture::of(1);
    (0..40).for_each(|second| asked.second(&[Ok(busy(second))]));
    asked.second(&[Ok(busy(1))]);
    assert_eq!(asked.served().unwrap().output, 50.0);
}

#[test]
fn a_server_that_reports_no_queue_has_none() {
    let mut asked = Fixture::of(1);
    (0..5).for_each(|second| asked.second(&[Ok(ServerCounters { waiting: None, kv_cache: None, ..busy(second) })]));
    let served = asked.served().unwrap();
    assert_eq!((served.waiting, served.kv_cache), (None, None));
}

#[test]
fn nothing_is_known_of_no_pods() {
    assert_eq!(Fixture::of(0).served(), Err("no value yet: no pod of it is ready".to_owned()));
}

#[test]
fn a_signal_that_a_ready_server_does_not_show_is_missing_and_says_where() {
    let mut asked = Fixture::of(2);
    let missing = |asked: &Fixture, signal| asked.servers.error(&asked.pods, signal);
    (0..3).for_each(|second| asked.second(&[Ok(busy(second)), Ok(busy(second))]));
    assert_eq!(missing(&asked, Signal::Queue), None);
    let without = ServerCounters { waiting: None, ..busy(3) };
    asked.second(&[Ok(busy(3)), Ok(without)]);
    let of_queue = missing(&asked, Signal::Queue).unwrap();
    assert_eq!(of_queue, "the metrics of pod qwen-1 do not show its requests waiting");
    assert_eq!(missing(&asked, Signal::OutputTokens), None);
    asked.second(&[Ok(busy(4)), Err("http://10.0.0.1:8000/metrics answered 404")]);
    let failed = missing(&asked, Signal::OutputTokens).unwrap();
    assert_eq!(failed, "pod qwen-1 does not show its metrics: http://10.0.0.1:8000/metrics answered 404");
    asked.pods[1].ready = false;
    assert_eq!(missing(&asked, Signal::OutputTokens), None, "one that starts is not waited for");
}
