mod late;

use tidegate_core::plan::{ClusterShare, Proxy};
use tokio::time::advance;

use super::*;
use crate::fixture::{STALE_AFTER, plan, share};

const RULE: &str = "httproute/shop/web/rule/0";
const SECOND: Duration = Duration::from_secs(1);

/// Proxies that count one cluster, asked once a second as the source does.
struct Proxies {
    signals: SignalStore,
    proxies: Vec<Proxy>,
    counted: Vec<f64>,
}

/// The behaviour of a proxy in one second.
#[derive(Debug, Clone, Copy)]
enum Does {
    Carry(f64),
    /// Its process is new: the counters begin at 0
    RestartAndCarry(f64),
    Fail,
    /// It answers, and does not show the cluster
    Hide,
    /// It shows the cluster, and leaves out its traffic
    LeaveOut,
}

use Does::{Carry, Fail, Hide, LeaveOut, RestartAndCarry};

impl Proxies {
    fn of(proxies: u8) -> Self {
        Self::on(proxies, share("web"))
    }

    fn on(proxies: u8, share: ClusterShare) -> Self {
        let signals = SignalStore::new(STALE_AFTER);
        signals.keep(&plan("api", &[("requests-per-second", "100")], vec![share]));
        let mut fleet = Self { signals, proxies: Vec::new(), counted: Vec::new() };
        (0..proxies).for_each(|_| fleet.add());
        fleet
    }

    fn add(&mut self) {
        let index = self.proxies.len() as u8;
        let stats = ([10, 0, 0, index], 19001).into();
        self.proxies.push(Proxy { name: format!("eg/proxy-{index}"), stats, ready: true, fleet: None });
        // It has served traffic for a long time.
        self.counted.push(5000.0);
    }

    async fn second(&mut self, does: &[Does]) {
        advance(SECOND).await;
        self.answer(does);
        self.signals.commit(&self.proxies);
    }

    fn answer(&mut self, does: &[Does]) {
        let series = self.signals.series();
        for ((proxy, counted), does) in self.proxies.iter().zip(&mut self.counted).zip(does) {
            *counted = match does {
                Carry(rate) => *counted + rate,
                RestartAndCarry(rate) => *rate,
                Fail | Hide | LeaveOut => *counted,
            };
            let counters = Counters { requests: *counted, ..Counters::default() };
            let shown = series.of_cluster(RULE).map(|id| (id, counters));
            let answer = match does {
                Fail => Err("connection refused".to_owned()),
                Hide => Ok(Sample::new(&series, Vec::new())),
                LeaveOut => Ok(Sample::new(&series, shown.into_iter().collect()).showing([false, true, true])),
                Carry(_) | RestartAndCarry(_) => Ok(Sample::new(&series, shown.into_iter().collect())),
            };
            self.signals.sampled(proxy, Instant::now(), answer);
        }
    }

    async fn seconds(&mut self, count: u32, does: &[Does]) {
        for _ in 0..count {
            self.second(does).await;
        }
    }

    fn rate(&self) -> Result<f64, String> {
        let reading = self.signals.cluster(RULE, Signal::RequestsPerSecond);
        reading.map(|reading| reading.value.round()).map_err(|none| none.to_string())
    }

    fn why(&self) -> String {
        self.rate().unwrap_err()
    }

    fn at_least(&self) -> Option<f64> {
        self.signals.at_least(RULE, Signal::RequestsPerSecond).map(|reading| reading.value.round())
    }
}

#[tokio::test(start_paused = true)]
async fn the_rates_of_all_proxies_add_up() {
    let mut fleet = Proxies::of(3);
    fleet.seconds(35, &[Carry(10.0), Carry(20.0), Carry(70.0)]).await;
    assert_eq!(fleet.rate(), Ok(100.0));
}

#[tokio::test(start_paused = true)]
async fn there_is_a_lower_bound_after_three_seconds_and_a_number_after_a_window() {
    let mut fleet = Proxies::of(1);
    fleet.seconds(3, &[Carry(10.0)]).await;
    assert_eq!((fleet.rate().is_err(), fleet.at_least()), (true, None));
    fleet.second(&[Carry(10.0)]).await;
    assert_eq!((fleet.rate().is_err(), fleet.at_least()), (true, Some(10.0)));
    fleet.seconds(26, &[Carry(10.0)]).await;
    assert_eq!(fleet.why(), "no value yet: it was not measured on all proxies for 30 s yet");
    fleet.second(&[Carry(10.0)]).await;
    assert_eq!(fleet.rate(), Ok(10.0));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_proxy_counts_from_zero_and_gives_neither_a_negative_nor_a_huge_rate() {
    let mut fleet = Proxies::of(1);
    fleet.seconds(40, &[Carry(90.0)]).await;
    for _ in 0..5 {
        fleet.second(&[RestartAndCarry(90.0)]).await;
        fleet.seconds(3, &[Carry(90.0)]).await;
        assert_eq!(fleet.rate(), Ok(90.0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_does_not_answer_counts_as_it_last_did() {
    let mut fleet = Proxies::of(2);
    fleet.seconds(35, &[Carry(40.0), Carry(60.0)]).await;
    fleet.seconds(120, &[Carry(40.0), Fail]).await;
    assert_eq!(fleet.rate(), Ok(100.0));
    fleet.seconds(181, &[Carry(40.0), Fail]).await;
    assert_eq!(fleet.why(), "proxy eg/proxy-1 is ready and does not answer: connection refused");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_is_silent_and_not_ready_is_unknown_until_it_is_too_long_ago() {
    let mut fleet = Proxies::of(2);
    fleet.seconds(35, &[Carry(40.0), Carry(60.0)]).await;
    fleet.proxies[1].ready = false;
    fleet.seconds(5, &[Carry(100.0), Fail]).await;
    assert!(fleet.why().contains("eg/proxy-1 is not ready and does not answer"), "{}", fleet.why());
    fleet.seconds(340, &[Carry(100.0), Fail]).await;
    assert_eq!(fleet.rate(), Ok(100.0), "not counted twice");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_drains_and_still_answers_counts() {
    let mut fleet = Proxies::of(2);
    fleet.proxies[1].ready = false;
    fleet.seconds(35, &[Carry(40.0), Carry(60.0)]).await;
    assert_eq!(fleet.rate(), Ok(100.0));
}

#[tokio::test(start_paused = true)]
async fn while_no_proxy_answers_the_last_value_holds_until_it_is_stale() {
    let mut fleet = Proxies::of(2);
    fleet.seconds(35, &[Carry(40.0), Carry(60.0)]).await;
    fleet.seconds(300, &[Fail, Fail]).await;
    assert_eq!(fleet.rate(), Ok(100.0));
    fleet.second(&[Fail, Fail]).await;
    let wanted = "the last value is 301 s old: none of 2 proxies answers; eg/proxy-0: connection refused";
    assert_eq!(fleet.rate(), Err(wanted.to_owned()));
    fleet.seconds(31, &[Carry(40.0), Carry(60.0)]).await;
    assert!(fleet.rate().is_ok(), "it is back after a window");
}

#[tokio::test(start_paused = true)]
async fn while_no_proxy_is_known_nothing_is() {
    let mut fleet = Proxies::of(1);
    fleet.seconds(35, &[Carry(40.0)]).await;
    fleet.proxies.clear();
    fleet.second(&[]).await;
    assert!(fleet.why().contains("no proxy is known"), "{}", fleet.why());
}

#[tokio::test(start_paused = true)]
async fn the_zeros_of_the_only_proxy_that_starts_again_lower_nothing() {
    let mut fleet = Proxies::of(1);
    fleet.seconds(35, &[Carry(90.0)]).await;
    fleet.proxies[0].ready = false;
    fleet.seconds(5, &[Fail]).await;
    fleet.second(&[RestartAndCarry(0.0)]).await;
    fleet.seconds(30, &[Carry(0.0)]).await;
    assert!(fleet.rate().is_err());
    fleet.proxies[0].ready = true;
    fleet.seconds(60, &[Carry(30.0)]).await;
    assert_eq!(fleet.rate(), Ok(30.0), "and once it is ready, what it carries counts");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_was_never_measured_makes_a_lower_bound() {
    let mut fleet = Proxies::of(2);
    fleet.seconds(40, &[Carry(40.0), Fail]).await;
    assert!(
        fleet.why().contains("proxy eg/proxy-1 is ready and never answered: connection refused"),
        "{}",
        fleet.why()
    );
    assert_eq!(fleet.at_least(), Some(40.0));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_was_replaced_under_its_address_is_another_proxy() {
    let mut fleet = Proxies::of(1);
    fleet.seconds(35, &[Carry(90.0)]).await;
    fleet.proxies[0].name = "eg/proxy-new".to_owned();
    fleet.counted[0] = 1e9;
    fleet.seconds(40, &[Carry(90.0)]).await;
    assert_eq!(fleet.rate(), Ok(90.0));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_is_scaled_away_leaves_no_dip_where_the_others_take_its_part() {
    let mut fleet = Proxies::of(2);
    fleet.seconds(35, &[Carry(50.0), Carry(50.0)]).await;
    fleet.proxies.pop();
    for _ in 0..40 {
        fleet.second(&[Carry(100.0)]).await;
        assert_eq!(fleet.rate(), Ok(100.0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_there_and_was_never_used_is_idle_at_once() {
    let mut fleet = Proxies::of(2);
    fleet.counted = vec![0.0, 0.0];
    fleet.seconds(4, &[Carry(0.0), Carry(0.0)]).await;
    assert_eq!(fleet.rate(), Ok(0.0));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_no_proxy_shows_is_unknown_and_not_idle() {
    let mut fleet = Proxies::of(2);
    fleet.seconds(35, &[Hide, Hide]).await;
    assert_eq!(fleet.at_least(), None);
    assert!(
        fleet.why().starts_with("no proxy has the cluster httproute/shop/web/rule/0 (2 answer)"),
        "{}",
        fleet.why()
    );
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_vanishes_under_load_is_unknown_from_the_first_second_on() {
    let mut fleet = Proxies::of(2);
    fleet.seconds(35, &[Carry(500.0), Carry(500.0)]).await;
    fleet.second(&[Hide, Hide]).await;
    assert!(fleet.why().contains("no proxy has the cluster"), "{}", fleet.why());
    fleet.seconds(29, &[Carry(500.0), Carry(500.0)]).await;
    assert!(fleet.rate().is_err(), "the seconds without it are in the window");
    fleet.seconds(2, &[Carry(500.0), Carry(500.0)]).await;
    assert_eq!(fleet.rate(), Ok(1000.0));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_one_of_its_gateways_proxies_does_not_show_is_a_lower_bound() {
    let on: Arc<[Arc<str>]> = ["gateway/edge/web".into()].into();
    let mut fleet = Proxies::on(2, ClusterShare { fleets: on, ..share("web") });
    fleet.proxies.iter_mut().for_each(|proxy| proxy.fleet = Some("gateway/edge/web".into()));
    fleet.seconds(35, &[Carry(40.0), Hide]).await;
    assert_eq!((fleet.rate().is_err(), fleet.at_least()), (true, Some(40.0)));
    assert!(fleet.why().contains("not all of 2 proxies that answer show the cluster"), "{}", fleet.why());
    fleet.seconds(35, &[Carry(40.0), Carry(10.0)]).await;
    assert_eq!(fleet.rate(), Ok(50.0));
}

#[tokio::test(start_paused = true)]
async fn another_gateways_proxies_neither_count_nor_are_waited_for() {
    let on: Arc<[Arc<str>]> = ["gateway/edge/web".into()].into();
    let mut fleet = Proxies::on(3, ClusterShare { fleets: on, ..share("web") });
    for (proxy, name) in fleet.proxies.iter_mut().zip(["gateway/edge/web", "gateway/evil/web", "gateway/evil/web"]) {
        proxy.fleet = Some(name.into());
    }
    fleet.seconds(35, &[Carry(40.0), Carry(50_000.0), Fail]).await;
    assert_eq!(fleet.rate(), Ok(40.0));
}

#[tokio::test(start_paused = true)]
async fn statistics_that_proxies_leave_out_are_unknown() {
    let mut fleet = Proxies::of(1);
    fleet.seconds(35, &[LeaveOut]).await;
    assert!(fleet.why().contains("telemetry.metrics.matches"), "{}", fleet.why());
    assert!(fleet.signals.cluster(RULE, Signal::Concurrency).is_ok(), "the others are not");
}

#[tokio::test(start_paused = true)]
async fn the_rule_of_a_route_may_become_clusters_of_its_backends_without_a_gap() {
    let split = format!("{RULE}/backend/0");
    let mut fleet = Proxies::on(1, ClusterShare { split: Some(split.as_str().into()), ..share("web") });
    fleet.seconds(35, &[Carry(60.0)]).await;
    let both = [(RULE, 1.0), (split.as_str(), 1.0)];
    let rate = |fleet: &Proxies| {
        fleet.signals.traffic(&both, Signal::RequestsPerSecond).exact().map(|reading| reading.value.round())
    };
    assert_eq!(rate(&fleet), Ok(60.0));
    for second in 1..=40 {
        advance(SECOND).await;
        let series = fleet.signals.series();
        let counters = Counters { requests: 60.0 * f64::from(second), ..Counters::default() };
        let sample = Sample::new(&series, series.of_cluster(&split).map(|id| (id, counters)).into_iter().collect());
        fleet.signals.sampled(&fleet.proxies[0], Instant::now(), Ok(sample));
        fleet.signals.commit(&fleet.proxies);
        if second > 3 {
            assert_eq!(rate(&fleet), Ok(60.0), "{second}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn clusters_that_the_plan_names_no_more_are_forgotten() {
    let mut fleet = Proxies::of(1);
    fleet.seconds(35, &[Carry(90.0)]).await;
    fleet.signals.keep(&Plan::default());
    assert_eq!(fleet.signals.series().len(), 0);
    fleet.second(&[Carry(90.0)]).await;
    assert!(fleet.rate().is_err());
    fleet.signals.keep(&plan("api", &[("requests-per-second", "100")], vec![share("web")]));
    fleet.seconds(2, &[Carry(7.0)]).await;
    assert_eq!(fleet.at_least(), None, "what was measured before it was forgotten is of no use");
    fleet.seconds(35, &[Carry(7.0)]).await;
    assert_eq!(fleet.rate(), Ok(7.0));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_becomes_another_rules_is_measured_from_the_start() {
    let mut fleet = Proxies::of(1);
    fleet.seconds(35, &[Carry(5.0)]).await;
    assert_eq!(fleet.rate(), Ok(5.0));
    let shifted = ClusterShare { meaning: 7, ..share("web") };
    fleet.signals.keep(&plan("api", &[("requests-per-second", "100")], vec![shifted]));
    fleet.second(&[Carry(900.0)]).await;
    assert_eq!((fleet.rate().is_err(), fleet.at_least()), (true, None));
    fleet.seconds(33, &[Carry(900.0)]).await;
    assert_eq!(fleet.rate(), Ok(900.0));
}

#[tokio::test(start_paused = true)]
async fn clusters_of_hand_written_triggers_are_kept_for_ten_minutes_from_the_last_question() {
    let signals = SignalStore::new(STALE_AFTER);
    let almost = Duration::from_secs(599);
    signals.keep_named(&[RULE.to_owned()]);
    assert_eq!(signals.series().len(), 1);
    advance(almost).await;
    signals.keep_named(&[RULE.to_owned()]);
    advance(almost).await;
    assert_eq!(signals.series().len(), 1);
    advance(2 * SECOND).await;
    assert_eq!(signals.series().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_step_shows_within_a_few_seconds_and_a_dip_of_one_second_does_not() {
    let mut fleet = Proxies::of(1);
    fleet.seconds(40, &[Carry(20.0)]).await;
    fleet.seconds(2, &[Carry(200.0)]).await;
    assert!(fleet.rate().unwrap() >= 60.0, "{:?}", fleet.rate());
    fleet.seconds(40, &[Carry(200.0)]).await;
    fleet.second(&[Carry(0.0)]).await;
    assert!(fleet.rate().unwrap() >= 193.0, "{:?}", fleet.rate());
}
