//! Answers that come late, twice or not at all.

use proptest::prelude::*;

use super::*;

/// One proxy that counts steadily, and whose answers come at irregular times.
struct Late {
    fleet: Proxies,
    started: Instant,
}

impl Late {
    const RATE: f64 = 1000.0;

    fn new() -> Self {
        Self { fleet: Proxies::of(1), started: Instant::now() }
    }

    /// Delivers an answer now that was made at this time.
    fn arrives(&mut self, made: Instant) {
        let series = self.fleet.signals.series();
        let requests = 5000.0 + Self::RATE * made.duration_since(self.started).as_secs_f64();
        let counters = Counters { requests: requests.floor(), ..Counters::default() };
        let sample = Sample::new(&series, series.of_cluster(RULE).map(|id| (id, counters)).into_iter().collect());
        self.fleet.signals.sampled(&self.fleet.proxies[0], made, Ok(sample));
    }

    fn commit(&self) {
        self.fleet.signals.commit(&self.fleet.proxies);
    }
}

#[tokio::test(start_paused = true)]
async fn a_steady_rate_is_reported_as_it_is_however_late_a_part_of_the_answers_comes() {
    for (every, late) in [(10, 3000), (4, 2000), (2, 800)] {
        let mut proxy = Late::new();
        let mut told = Vec::new();
        let mut outstanding: Option<(Instant, u64)> = None;
        for round in 0..240u64 {
            advance(SECOND).await;
            if let Some((made, _)) = outstanding.filter(|(made, wait)| made.elapsed() >= Duration::from_millis(*wait)) {
                proxy.arrives(made);
                outstanding = None;
            }
            if outstanding.is_none() {
                if round % every == 0 {
                    outstanding = Some((Instant::now(), late));
                } else {
                    proxy.arrives(Instant::now());
                }
            }
            proxy.commit();
            told.extend(proxy.fleet.rate().ok());
        }
        assert!(told.len() > 150, "{}", told.len());
        assert!(told.iter().all(|rate| (970.0..=1030.0).contains(rate)), "{every} {late}: {told:?}");
    }
}

fn mishap() -> impl Strategy<Value = [bool; 3]> {
    [prop::bool::weighted(0.3), prop::bool::weighted(0.3), prop::bool::weighted(0.3)]
}

/// When an answer is made (ms since the previous one), how much later it arrives (ms), whether it gets lost, and the requests counted.
fn answers() -> impl Strategy<Value = Vec<(u64, u64, bool, u16)>> {
    prop::collection::vec((200u64..4000, 0u64..3000, prop::bool::weighted(0.2), 0u16..500), 20..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each proxy carries the same all the time, and answers only now and then.
    #[test]
    fn no_answer_that_is_missing_changes_demand(silent in prop::collection::vec(mishap(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let rates = [10.0, 20.0, 70.0];
            let mut fleet = Proxies::of(3);
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

    /// Over any schedule of late, missing and duplicate answers, the reported rates add up to the counts over time. They are off by the
    /// traffic that is assumed for the time after the last answer until the next one comes: a tenth, and one answer's worth.
    #[test]
    fn counts_are_conserved(answers in answers()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let (told, counted) = runtime.unwrap().block_on(async {
            let fleet = Proxies::of(1);
            let answer = |made: Instant, requests: f64| {
                let series = fleet.signals.series();
                let counters = Counters { requests, ..Counters::default() };
                let sample = Sample::new(&series, series.of_cluster(RULE).map(|id| (id, counters)).into_iter().collect());
                fleet.signals.sampled(&fleet.proxies[0], made, Ok(sample));
            };
            let (mut told, mut requests, mut committed) = (0.0, 0.0, Instant::now());
            let mut pass = async |millis: u64| {
                for _ in 0..millis / 100 {
                    advance(Duration::from_millis(100)).await;
                    if committed + SECOND <= Instant::now() {
                        committed += SECOND;
                        fleet.signals.commit(&fleet.proxies);
                        told += fleet.signals.beginning(RULE).map_or(0.0, |beginning| beginning.rate);
                    }
                }
            };
            let idle = vec![(1000, 0, false, 0); 100];
            for (apart, late, lost, counted) in idle.iter().copied().chain(answers).chain(idle.clone()) {
                pass(apart).await;
                requests += f64::from(counted);
                let made = Instant::now();
                pass(late).await;
                if !lost {
                    (0..2).for_each(|_| answer(made, requests));
                }
            }
            (told, requests)
        });
        prop_assert!((told - counted).abs() <= 0.1 * counted + 500.0, "told {} of {}", told, counted);
    }
}
