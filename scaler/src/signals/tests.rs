use proptest::prelude::*;
use tokio::time::advance;

use super::*;
use crate::fixture::{STALE_AFTER, plan, share};

const RULE: &str = "httproute/shop/web/rule/0";
const SECOND: Duration = Duration::from_secs(1);

/// Proxies that count one cluster, asked once a second as the source does.
struct Fleet {
    signals: Signals,
    proxies: Vec<Proxy>,
    counted: Vec<f64>,
}

/// What a proxy does in one second.
#[derive(Debug, Clone, Copy)]
enum Does {
    Carry(f64),
    /// Its process is new: the counters begin at 0
    RestartAndCarry(f64),
    Fail,
}

use Does::{Carry, Fail, RestartAndCarry};

impl Fleet {
    fn of(proxies: u8) -> Self {
        let signals = Signals::new(STALE_AFTER);
        signals.keep(&plan("api", &[("requests-per-second", "100")], vec![share("web")]));
        let mut fleet = Self { signals, proxies: Vec::new(), counted: Vec::new() };
        (0..proxies).for_each(|_| fleet.add());
        fleet
    }

    fn add(&mut self) {
        let index = self.proxies.len() as u8;
        let stats = ([10, 0, 0, index], 19001).into();
        self.proxies.push(Proxy { name: format!("eg/proxy-{index}"), stats, ready: true, fleet: None });
        self.counted.push(0.0);
    }

    async fn second(&mut self, does: &[Does]) {
        advance(SECOND).await;
        let series = self.signals.series();
        for ((proxy, counted), does) in self.proxies.iter().zip(&mut self.counted).zip(does) {
            let answer = match does {
                Carry(rate) => Ok(*counted + rate),
                RestartAndCarry(rate) => Ok(*rate),
                Fail => Err("connection refused".to_owned()),
            };
            let answer = answer.map(|requests| {
                *counted = requests;
                let counters = Counters { requests, ..Counters::default() };
                Sample::new(&series, series.of_cluster(RULE).map(|id| (id, counters)).into_iter().collect())
            });
            self.signals.sampled(proxy, Instant::now(), answer);
        }
        self.signals.commit(&self.proxies);
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

    fn at_least(&self) -> Option<f64> {
        self.signals.at_least(RULE, Signal::RequestsPerSecond).ok().map(|reading| reading.value.round())
    }
}

#[tokio::test(start_paused = true)]
async fn the_rates_of_all_proxies_add_up() {
    let mut fleet = Fleet::of(3);
    fleet.seconds(35, &[Carry(10.0), Carry(20.0), Carry(70.0)]).await;
    assert_eq!(fleet.rate(), Ok(100.0));
}

#[tokio::test(start_paused = true)]
async fn there_is_no_rate_before_three_seconds_were_measured() {
    let mut fleet = Fleet::of(1);
    fleet.seconds(3, &[Carry(10.0)]).await;
    assert_eq!(fleet.rate(), Err("no value yet: the first seconds are measured".to_owned()));
    fleet.seconds(1, &[Carry(10.0)]).await;
    assert_eq!(fleet.rate(), Ok(10.0));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_proxy_counts_from_zero_and_gives_neither_a_negative_nor_a_huge_rate() {
    let mut fleet = Fleet::of(1);
    fleet.seconds(40, &[Carry(90.0)]).await;
    for _ in 0..5 {
        fleet.second(&[RestartAndCarry(90.0)]).await;
        fleet.seconds(3, &[Carry(90.0)]).await;
        assert_eq!(fleet.rate(), Ok(90.0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_does_not_answer_counts_as_it_last_did() {
    let mut fleet = Fleet::of(2);
    fleet.seconds(35, &[Carry(40.0), Carry(60.0)]).await;
    fleet.seconds(120, &[Carry(40.0), Fail]).await;
    assert_eq!(fleet.rate(), Ok(100.0));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_is_silent_and_not_ready_is_over_and_the_others_carry_its_part() {
    let mut fleet = Fleet::of(2);
    fleet.seconds(35, &[Carry(40.0), Carry(60.0)]).await;
    fleet.proxies[1].ready = false;
    fleet.seconds(35, &[Carry(100.0), Fail]).await;
    assert_eq!(fleet.rate(), Ok(100.0), "not counted twice");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_drains_and_still_answers_counts() {
    let mut fleet = Fleet::of(2);
    fleet.proxies[1].ready = false;
    fleet.seconds(35, &[Carry(40.0), Carry(60.0)]).await;
    assert_eq!(fleet.rate(), Ok(100.0));
}

#[tokio::test(start_paused = true)]
async fn while_no_proxy_answers_the_last_value_holds_until_it_is_stale() {
    let mut fleet = Fleet::of(2);
    fleet.seconds(35, &[Carry(40.0), Carry(60.0)]).await;
    fleet.seconds(300, &[Fail, Fail]).await;
    assert_eq!(fleet.rate(), Ok(100.0));
    fleet.second(&[Fail, Fail]).await;
    let wanted = "the last value is 301 s old: none of 2 proxies answers; eg/proxy-0: connection refused";
    assert_eq!(fleet.rate(), Err(wanted.to_owned()));
    fleet.seconds(2, &[Carry(40.0), Carry(60.0)]).await;
    assert!(fleet.rate().is_ok(), "it is back at once");
}

#[tokio::test(start_paused = true)]
async fn while_no_proxy_is_known_the_last_value_holds_until_it_is_stale() {
    let mut fleet = Fleet::of(1);
    fleet.seconds(35, &[Carry(40.0)]).await;
    fleet.proxies.clear();
    fleet.seconds(300, &[]).await;
    assert_eq!(fleet.rate(), Ok(40.0));
    fleet.second(&[]).await;
    assert!(fleet.rate().unwrap_err().contains("no proxy is known"));
}

#[tokio::test(start_paused = true)]
async fn the_zeros_of_the_only_proxy_that_starts_again_lower_nothing() {
    let mut fleet = Fleet::of(1);
    fleet.seconds(35, &[Carry(90.0)]).await;
    fleet.proxies[0].ready = false;
    fleet.seconds(5, &[Fail]).await;
    fleet.second(&[RestartAndCarry(0.0)]).await;
    fleet.seconds(30, &[Carry(0.0)]).await;
    assert_eq!(fleet.rate(), Ok(90.0));
    fleet.proxies[0].ready = true;
    fleet.seconds(60, &[Carry(30.0)]).await;
    assert_eq!(fleet.rate(), Ok(30.0), "and once it is ready, what it carries counts");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_was_never_measured_lets_demand_rise_and_not_fall() {
    let mut fleet = Fleet::of(1);
    fleet.seconds(35, &[Carry(90.0)]).await;
    fleet.add();
    // The traffic goes to the new one, which a NetworkPolicy keeps us away from.
    fleet.seconds(60, &[Carry(10.0), Fail]).await;
    assert_eq!(fleet.rate(), Ok(90.0));
    fleet.seconds(60, &[Carry(120.0), Fail]).await;
    assert_eq!(fleet.rate(), Ok(120.0));
    fleet.seconds(60, &[Carry(10.0), Carry(20.0)]).await;
    assert_eq!(fleet.rate(), Ok(30.0));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_known_before_a_part_of_the_proxies_gives_a_lower_bound() {
    let mut fleet = Fleet::of(2);
    fleet.seconds(10, &[Carry(40.0), Fail]).await;
    assert!(fleet.rate().unwrap_err().contains("proxy eg/proxy-1 is ready and never answered: connection refused"));
    assert_eq!(fleet.at_least(), Some(40.0));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_was_replaced_under_its_address_is_another_proxy() {
    let mut fleet = Fleet::of(1);
    fleet.seconds(35, &[Carry(90.0)]).await;
    fleet.proxies[0].name = "eg/proxy-new".to_owned();
    fleet.counted[0] = 1e9;
    fleet.seconds(10, &[Carry(90.0)]).await;
    assert_eq!(fleet.rate(), Ok(90.0));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_is_scaled_away_leaves_no_dip_where_the_others_take_its_part() {
    let mut fleet = Fleet::of(2);
    fleet.seconds(35, &[Carry(50.0), Carry(50.0)]).await;
    fleet.proxies.pop();
    for _ in 0..40 {
        fleet.second(&[Carry(100.0)]).await;
        assert_eq!(fleet.rate(), Ok(100.0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_no_proxy_counts_carries_nothing() {
    let mut fleet = Fleet::of(1);
    fleet.signals.keep(&plan("api", &[("requests-per-second", "100")], vec![share("web"), share("idle")]));
    fleet.seconds(5, &[Carry(90.0)]).await;
    let idle = fleet.signals.cluster("httproute/shop/idle/rule/0", Signal::RequestsPerSecond);
    assert_eq!(idle.map(|reading| reading.value), Ok(0.0));
}

#[tokio::test(start_paused = true)]
async fn clusters_that_the_plan_names_no_more_are_forgotten() {
    let mut fleet = Fleet::of(1);
    fleet.seconds(35, &[Carry(90.0)]).await;
    fleet.signals.keep(&Plan::default());
    assert_eq!(fleet.signals.series().len(), 0);
    fleet.second(&[Carry(90.0)]).await;
    assert!(fleet.rate().is_err());
    fleet.signals.keep(&plan("api", &[("requests-per-second", "100")], vec![share("web")]));
    fleet.seconds(2, &[Carry(7.0)]).await;
    assert!(fleet.rate().is_err(), "what was measured before it was forgotten is of no use");
    fleet.seconds(5, &[Carry(7.0)]).await;
    assert_eq!(fleet.rate(), Ok(7.0));
}

#[tokio::test(start_paused = true)]
async fn clusters_of_hand_written_triggers_are_kept_for_ten_minutes_from_the_last_question() {
    let signals = Signals::new(STALE_AFTER);
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
    let mut fleet = Fleet::of(1);
    fleet.seconds(40, &[Carry(20.0)]).await;
    fleet.seconds(2, &[Carry(200.0)]).await;
    assert!(fleet.rate().unwrap() >= 60.0, "{:?}", fleet.rate());
    fleet.seconds(40, &[Carry(200.0)]).await;
    fleet.second(&[Carry(0.0)]).await;
    assert!(fleet.rate().unwrap() >= 193.0, "{:?}", fleet.rate());
}

fn mishap() -> impl Strategy<Value = [bool; 3]> {
    [prop::bool::weighted(0.3), prop::bool::weighted(0.3), prop::bool::weighted(0.3)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each proxy carries the same all the time, and answers only now and then.
    #[test]
    fn no_answer_that_is_missing_changes_demand(silent in prop::collection::vec(mishap(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let rates = [10.0, 20.0, 70.0];
            let mut fleet = Fleet::of(3);
            fleet.seconds(35, &rates.map(Carry)).await;
            for silent in silent {
                let mut does = rates.map(Carry);
                for (index, silent) in silent.iter().enumerate() {
                    if *silent {
                        does[index] = Fail;
                        // It goes on counting while it does not answer.
                        fleet.counted[index] += rates[index];
                    }
                }
                fleet.second(&does).await;
                assert_eq!(fleet.rate(), Ok(100.0));
            }
        });
    }
}
