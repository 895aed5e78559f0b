use std::sync::Mutex;

use tokio::time::{Duration, advance};

use super::*;
use crate::fixture::{STALE_AFTER, demands, deployment, measure, plan, share};

const RULE: &str = "httproute/shop/web/rule/0";
const RPS: (&str, &str) = ("requests-per-second", "100");

/// A Plan that keeps the annotations, as the one of a cluster does.
fn annotated(annotations: &[(&str, &str)], routes: &[&str]) -> Plan {
    let mut plan = plan("api", annotations, routes.iter().map(|route| share(route)).collect());
    let applied = annotations.iter().map(|(key, value)| (format!("{PREFIX}{key}"), *value)).collect();
    plan.workloads.get_mut(&deployment("api")).unwrap().applied = applied;
    plan
}

/// A workload that is looked at every 15 seconds.
struct Watched {
    demands: Demands,
    plan: Plan,
    history: History,
    recorder: Recorder,
    now: Arc<Mutex<DateTime<Utc>>>,
}

impl Watched {
    fn at(now: &str, annotations: &[(&str, &str)]) -> Self {
        let now = Arc::new(Mutex::new(now.parse::<DateTime<Utc>>().unwrap()));
        let clock = Arc::clone(&now);
        let demands = demands().with_clock(Arc::new(move || *clock.lock().unwrap()));
        let plan = annotated(annotations, &["web"]);
        demands.signals().keep(&plan);
        Self { demands, plan, history: History::default(), recorder: Recorder::default(), now }
    }

    fn new(annotations: &[(&str, &str)]) -> Self {
        Self::at("2026-03-02T12:00:00Z", annotations)
    }

    /// Has the Plan say something else from now on.
    fn plans(&mut self, annotations: &[(&str, &str)], routes: &[&str]) {
        self.plan = annotated(annotations, routes);
        self.demands.signals().keep(&self.plan);
    }

    fn workload(&mut self) -> &mut PlannedWorkload {
        self.plan.workloads.get_mut(&deployment("api")).unwrap()
    }

    /// Looks a while later, at a rate of requests or while nothing is measured.
    async fn look(&mut self, later: u64, rate: Option<f64>) -> Option<Change> {
        advance(Duration::from_secs(later)).await;
        *self.now.lock().unwrap() += TimeDelta::seconds(later.cast_signed());
        match rate {
            Some(rate) => measure(self.demands.signals(), &[(RULE, [rate, 0.0, 0.0])]),
            None => self.demands.signals().commit_values("test", Err("it is away".to_owned())),
        }
        let now = *self.now.lock().unwrap();
        self.recorder.look(&self.history, &deployment("api"), &self.plan, &self.demands, now)
    }

    /// The same: numbers, cause and detail of the change.
    async fn change(&mut self, later: u64, rate: Option<f64>) -> Option<(Option<u32>, Option<u32>, String)> {
        let change = self.look(later, rate).await?;
        Some((change.from, change.to, change.who()))
    }
}

fn told(from: impl Into<Option<u32>>, to: impl Into<Option<u32>>, who: &str) -> (Option<u32>, Option<u32>, String) {
    (from.into(), to.into(), who.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_number_that_changes_is_a_change_and_one_that_stays_is_none() {
    let mut watched = Watched::new(&[RPS]);
    assert_eq!(watched.change(15, Some(150.0)).await, Some(told(None, 2, "start")));
    assert_eq!(watched.change(15, Some(160.0)).await, None);
    let change = watched.look(15, Some(642.0)).await.unwrap();
    assert_eq!((change.from, change.to, change.cause), (Some(2), Some(7), Cause::Demand));
    assert_eq!(change.why.to_string(), "642.0 requests/s ÷ 100 per replica");
    assert_eq!(watched.history.changes(&deployment("api"), DateTime::UNIX_EPOCH).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn fewer_are_wanted_only_when_nothing_asked_for_more_within_the_window() {
    let mut watched = Watched::new(&[RPS, ("scale-down-after", "60s")]);
    watched.look(15, Some(650.0)).await;
    assert_eq!(watched.change(15, Some(150.0)).await, None);
    assert_eq!(watched.change(30, Some(350.0)).await, None);
    assert_eq!(watched.change(15, Some(150.0)).await, Some(told(7, 4, "demand")));
    assert_eq!(watched.change(60, Some(150.0)).await, Some(told(4, 2, "demand")));
}

#[tokio::test(start_paused = true)]
async fn an_annotation_that_somebody_changes_is_named_with_both_values() {
    let mut watched = Watched::new(&[RPS, ("max-replicas", "5")]);
    assert_eq!(watched.change(15, Some(650.0)).await, Some(told(None, 5, "start")));
    watched.plans(&[RPS, ("max-replicas", "9"), ("min-replicas", "2")], &["web"]);
    assert_eq!(
        watched.change(15, Some(650.0)).await,
        Some(told(5, 7, "annotations: max-replicas 5 → 9, min-replicas 2 is new"))
    );
    watched.plans(&[RPS, ("max-replicas", "9")], &["web"]);
    assert_eq!(watched.change(15, Some(650.0)).await, Some(told(7, 7, "annotations: min-replicas is gone")));
    watched.plans(&[RPS, ("max-replicas", "9"), ("paused", "true")], &["web"]);
    let paused = watched.look(15, Some(650.0)).await.unwrap();
    assert_eq!((paused.to, paused.why.to_string().as_str()), (None, "not known: tidegate.dev/paused is true"));
}

#[tokio::test(start_paused = true)]
async fn other_routes_are_named() {
    let mut watched = Watched::new(&[RPS]);
    watched.look(15, Some(650.0)).await;
    let half = ClusterShare { share: 0.5, ..share("web") };
    watched.workload().traffic = vec![half];
    assert_eq!(watched.change(15, Some(650.0)).await, Some(told(7, 7, "routes: HTTPRoute shop/web rule 0 (50 %)")));
    assert_eq!(watched.change(300, Some(650.0)).await, Some(told(7, 4, "routes")), "it is why the number falls later");
    watched.plans(&[RPS], &[]);
    let change = watched.look(15, Some(650.0)).await.unwrap();
    assert_eq!(change.who(), "routes: none leads to it");
}

#[tokio::test(start_paused = true)]
async fn hours_and_a_calendar_are_told_apart_from_demand() {
    let office = [RPS, ("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC"), ("off-hours-replicas", "1")];
    let mut watched = Watched::at("2026-03-02T17:59:30Z", &office);
    watched.look(15, Some(650.0)).await;
    assert_eq!(watched.change(15, Some(650.0)).await, Some(told(7, 7, "hours")));
    assert_eq!(watched.change(15, Some(650.0)).await, None);
    assert_eq!(watched.change(300, Some(650.0)).await, Some(told(7, 1, "hours")));
    let mut later = office;
    later[1].1 = "Mo-Fr 08:00-20:00";
    let open = plan("api", &later, vec![share("web")]).workloads.remove(&deployment("api")).unwrap().schedule;
    watched.workload().schedule = open;
    watched.workload().calendar = Some("office".to_owned());
    assert_eq!(watched.change(15, Some(650.0)).await, Some(told(1, 7, "calendar: office")));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_holds_and_is_told_with_its_reason() {
    let mut watched = Watched::new(&[RPS]);
    watched.look(15, Some(650.0)).await;
    assert_eq!(watched.change(60, None).await, None, "the last value is used for a while");
    let lost = watched.look(STALE_AFTER.as_secs(), None).await.unwrap();
    assert_eq!((lost.from, lost.to, lost.cause), (Some(7), None, Cause::Signals));
    assert!(lost.why.to_string().starts_with("not known: "), "{}", lost.why);
    assert_eq!(watched.change(15, None).await, None);
    assert_eq!(watched.change(15, Some(150.0)).await, Some(told(None, 2, "signals")));
}

#[tokio::test(start_paused = true)]
async fn while_one_of_two_signals_is_not_known_nothing_is_taken_away() {
    let both = [RPS, ("prometheus-query", "sum(queue)"), ("prometheus-target", "10"), ("scale-down-after", "15s")];
    let mut watched = Watched::new(&both);
    assert_eq!(watched.change(15, Some(650.0)).await, None, "the query was not answered yet");
    assert_eq!(watched.change(60, Some(650.0)).await, Some(told(None, 7, "start")));
    let change = watched.change(60, Some(150.0)).await;
    assert_eq!(change, None);
    assert_eq!(watched.change(15, Some(950.0)).await, Some(told(7, 10, "demand")));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_waits_for_its_sources_before_it_says_that_nothing_is_known() {
    let mut watched = Watched::new(&[RPS]);
    for _ in 0..4 {
        assert_eq!(watched.change(15, None).await, None);
    }
    assert_eq!(watched.change(15, None).await, Some(told(None, None, "start")));
    assert_eq!(watched.change(15, Some(650.0)).await, Some(told(None, 7, "signals")));
}

#[tokio::test(start_paused = true)]
async fn what_another_process_has_seen_before_is_no_news() {
    let mut watched = Watched::new(&[RPS]);
    watched.look(15, Some(650.0)).await;
    watched.recorder = Recorder::default();
    assert_eq!(watched.change(15, Some(650.0)).await, None);
    watched.recorder = Recorder::default();
    assert_eq!(watched.change(15, Some(950.0)).await, Some(told(7, 10, "start")));
}

#[tokio::test(start_paused = true)]
async fn the_replicas_that_somebody_sets_and_pods_that_come_and_go_are_changes() {
    let mut watched = Watched::new(&[RPS]);
    watched.look(15, Some(650.0)).await;
    watched.workload().replicas = Replicas { wanted: 7, ready: 5 };
    let set = watched.look(15, Some(650.0)).await.unwrap();
    assert_eq!(
        (set.cause, set.from, set.to, set.replicas),
        (Cause::Pods, Some(7), Some(7), Replicas { wanted: 7, ready: 5 })
    );
    watched.workload().replicas.ready = 6;
    assert_eq!(watched.change(15, Some(650.0)).await, None, "on the way");
    watched.workload().replicas.ready = 7;
    assert_eq!(watched.change(15, Some(650.0)).await, Some(told(7, 7, "pods")));
    watched.workload().replicas.ready = 0;
    assert_eq!(watched.change(15, Some(650.0)).await, Some(told(7, 7, "pods")));
}
