use tidegate_core::{
    ids::RouteRef,
    llm::{AiBackend, AiRule, Destination},
};

use super::*;

const STALE: Duration = Duration::from_secs(300);
const SECOND: Duration = Duration::from_secs(1);

/// Gateways that are asked once a second.
struct Fixture {
    tokens: Tokens,
    now: Instant,
}

/// Models and their counters.
type Counted<'a> = &'a [(&'a str, TokenCounters)];

fn names(model: &str) -> TokenNames {
    TokenNames { original: model.into(), request: model.into(), provider: "openai".into(), ..TokenNames::default() }
}

fn counted(input: f64, cached: f64, output: f64, requests: f64) -> TokenCounters {
    TokenCounters { input, cached, output, requests, answered: requests }
}

/// A Plan with a rule for these models.
fn plan(models: &[&str]) -> Plan {
    let destination = Destination::External("api.openai.com".into());
    let backend = AiBackend { name: "llm/openai".into(), model: None, weight: 1, priority: 0, destination };
    let route = RouteRef { kind: "AIGatewayRoute".into(), namespace: "llm".into(), name: "chat".into(), rule: Some(0) };
    let models = models.iter().map(|model| (*model).to_owned()).collect();
    Plan {
        ai_rules: vec![Arc::new(AiRule { route, models, backends: vec![backend], fleets: Vec::new() })],
        ..Plan::default()
    }
}

impl Fixture {
    fn about(models: &[&str]) -> Self {
        let mut tokens = Tokens::default();
        tokens.plan(&plan(models), Instant::now());
        Self { tokens, now: Instant::now() }
    }

    /// Simulates a second in which these gateways answer.
    fn second(&mut self, answers: &[(&str, Option<Counted<'_>>)]) {
        self.now += SECOND;
        for (sender, answer) in answers {
            let sample: Option<Vec<_>> =
                answer.map(|answer| answer.iter().map(|(model, counters)| (names(model), *counters)).collect());
            let sample = sample.as_deref().ok_or_else(|| "connection refused".to_owned());
            self.tokens.sampled(sender, self.now, sample, false);
        }
        let expected: Vec<_> = answers.iter().map(|(sender, _)| (*sender, true)).collect();
        self.tokens.second(Some(&expected), STALE, self.now);
    }

    /// Returns why some model is not completely known, if so.
    fn unknown(&self) -> Option<String> {
        self.tokens.shown().unknown(&[]).next().map(|(_, why)| why.to_owned())
    }

    fn rates(&self, model: &str) -> Option<TokenRates> {
        let shown = self.tokens.shown();
        shown.of(&[model.to_owned()]).next().map(|(_, rates)| rates)
    }
}

#[test]
fn cached_input_is_no_prefill_and_output_is_whole() {
    let mut asked = Fixture::about(&["m"]);
    for second in 0..40u8 {
        let n = f64::from(second);
        asked.second(&[("a", Some(&[("m", counted(100.0 * n, 40.0 * n, 20.0 * n, n))]))]);
    }
    let rates = asked.rates("m").unwrap();
    assert_eq!((rates.input, rates.output, rates.requests), (60.0, 20.0, 1.0));
    assert_eq!(rates.of_request.map(|of| of.map(f64::round)), Some([60.0, 20.0]));
}

#[test]
fn all_of_it_cached_needs_no_prefill() {
    let mut asked = Fixture::about(&["m"]);
    for second in 0..40u8 {
        let n = f64::from(second);
        asked.second(&[("a", Some(&[("m", counted(100.0 * n, 100.0 * n, 5.0 * n, n))]))]);
    }
    assert_eq!(asked.rates("m").map(|rates| (rates.input, rates.output)), Some((0.0, 5.0)));
}

#[test]
fn counters_that_are_reset_in_mid_stream_are_neither_negative_nor_huge() {
    let mut asked = Fixture::about(&["m"]);
    let mut total = 1e9;
    for _ in 0..40 {
        total += 100.0;
        asked.second(&[("a", Some(&[("m", counted(total, 0.0, total, total))]))]);
    }
    asked.second(&[("a", Some(&[("m", counted(90.0, 0.0, 90.0, 90.0))]))]);
    assert!((asked.rates("m").unwrap().input - 99.67).abs() < 0.01);
    asked.second(&[("a", Some(&[("m", counted(5e8, 0.0, 5e8, 5e8))]))]);
    asked.second(&[("a", Some(&[("m", counted(1e8, 0.0, 1e8, 1e8))]))]);
    let grown = asked.rates("m").unwrap().input;
    asked.second(&[("a", Some(&[("m", counted(1e8 + 100.0, 0.0, 1e8 + 100.0, 1e8 + 100.0))]))]);
    assert!(asked.rates("m").unwrap().input <= grown * 2.0, "a reset to a huge value is another process");
}

#[test]
fn a_gateway_that_is_silent_contributes_what_it_last_did_until_it_is_gone() {
    let mut asked = Fixture::about(&["m"]);
    let mut total = 0.0;
    for _ in 0..40 {
        total += 10.0;
        let both: &[_] = &[("m", counted(total, 0.0, 0.0, 1.0))];
        asked.second(&[("a", Some(both)), ("b", Some(both))]);
    }
    for _ in 0..40 {
        total += 10.0;
        asked.second(&[("a", Some(&[("m", counted(total, 0.0, 0.0, 1.0))])), ("b", None)]);
    }
    assert_eq!(asked.rates("m").unwrap().input, 20.0);
    assert!(asked.tokens.shown().incomplete.is_none(), "it was measured once");
    for _ in 0..40 {
        total += 10.0;
        asked.second(&[("a", Some(&[("m", counted(total, 0.0, 0.0, 1.0))]))]);
    }
    assert_eq!(asked.rates("m").unwrap().input, 10.0);
}

#[test]
fn while_nobody_answers_nothing_is_written_and_it_says_who() {
    let mut asked = Fixture::about(&["m"]);
    for second in 0..40u8 {
        asked.second(&[("a", Some(&[("m", counted(10.0 * f64::from(second), 0.0, 0.0, 1.0))]))]);
    }
    (0..60).for_each(|_| asked.second(&[("a", None)]));
    assert_eq!(asked.rates("m").unwrap().input, 10.0);
    assert_eq!(asked.tokens.shown().failure.as_deref(), Some("AI gateway a does not answer: connection refused"));
}

#[test]
fn a_ready_gateway_that_was_never_measured_makes_the_sum_a_lower_bound() {
    let mut asked = Fixture::about(&["m"]);
    for second in 0..5u8 {
        asked.second(&[("a", Some(&[("m", counted(f64::from(second), 0.0, 0.0, 1.0))])), ("b", None)]);
    }
    let incomplete = asked.tokens.shown().incomplete.unwrap();
    assert_eq!(incomplete, "AI gateway b is ready and never answered: connection refused");
}

#[test]
fn models_that_nothing_in_the_plan_has_to_do_with_are_not_kept() {
    let mut asked = Fixture::about(&["m"]);
    asked.now += SECOND;
    let flood: Vec<_> = (0..1000).map(|n| (names(&format!("x{n}")), counted(1.0, 0.0, 1.0, 1.0))).collect();
    let (refused, _) = asked.tokens.sampled("flood", asked.now, Ok(&flood), true);
    assert_eq!((refused.len(), asked.tokens.counts()), (1000, (1, 0)));
    assert!(refused.iter().all(|why| *why == TokenRefusal::Unwanted));
}

#[test]
fn a_sender_that_floods_leaves_room_for_others() {
    let mut asked = Fixture::about(&[]);
    asked.now += SECOND;
    let flood: Vec<_> = (0..30_000).map(|n| (names(&format!("x{n}")), counted(1.0, 0.0, 1.0, 1.0))).collect();
    let (refused, _) = asked.tokens.sampled("flood", asked.now, Ok(&flood), true);
    assert_eq!(refused, vec![TokenRefusal::TooMany; 30_000 - MAX_OF_SENDER]);
    let (refused, _) = asked.tokens.sampled("other", asked.now, Ok(&[(names("m"), counted(1.0, 0.0, 1.0, 1.0))]), true);
    assert!(refused.is_empty());
}

#[test]
fn who_pushes_every_minute_is_not_silent_in_between_and_is_over_when_its_last_word_is_too_old() {
    let mut tokens = Tokens::default();
    tokens.plan(&plan(&["m"]), Instant::now());
    let start = Instant::now();
    let pushes = |tokens: &mut Tokens, at: Instant, total: f64| {
        tokens.sampled("collector", at, Ok(&[(names("m"), counted(total, 0.0, 0.0, 1.0))]), true);
    };
    for minute in 0..3u32 {
        pushes(&mut tokens, start + SECOND * 60 * minute, 600.0 * f64::from(minute));
        (0..60).for_each(|second| tokens.second(None, STALE, start + SECOND * (60 * minute + second)));
    }
    let rate = |tokens: &Tokens| tokens.shown().of(&["m".to_owned()]).next().map(|(_, rates)| rates.input);
    assert_eq!((rate(&tokens), tokens.shown().failure), (Some(10.0), None));
    tokens.second(None, STALE, start + SECOND * (120 + 181));
    assert_eq!(
        tokens.shown().failure.as_deref(),
        Some("AI gateway collector does not answer: it has pushed nothing for 181 s")
    );
    tokens.second(None, STALE, start + SECOND * (120 + 301));
    assert_eq!(tokens.counts().0, 0);
}

#[test]
fn a_report_in_several_parts_is_one_report() {
    let models = ["a", "b", "c", "d"];
    for apart in [5, 200] {
        let mut tokens = Tokens::default();
        tokens.plan(&plan(&models), Instant::now());
        let start = Instant::now();
        for report in 0..10u8 {
            let at = start + SECOND * 5 * u32::from(report);
            let total = 50.0 * f64::from(report);
            for (part, model) in (0..).zip(models) {
                let at = at + Duration::from_millis(apart) * part;
                tokens.sampled("gateway", at, Ok(&[(names(model), counted(total, 0.0, 0.0, 1.0))]), true);
            }
            (1..=5).for_each(|second| tokens.second(None, STALE, at + SECOND * second));
        }
        let shown = tokens.shown();
        let rates = models.map(|model| shown.of(&[model.to_owned()]).next().map(|(_, rates)| rates.input.round()));
        assert_eq!(rates, [Some(10.0); 4], "parts {apart} ms apart");
    }
}

#[test]
fn a_model_that_a_gateway_shows_no_more_is_held_and_then_unknown() {
    let mut asked = Fixture::about(&["m", "n"]);
    for second in 0..40u8 {
        asked.second(&[("a", Some(&[("m", grown(second)), ("n", grown(second))]))]);
    }
    for second in 0..300u16 {
        asked.second(&[("a", Some(&[("m", grown_to(40 + second))]))]);
        assert_eq!(["m", "n"].map(|model| asked.rates(model).unwrap().output), [10.0, 10.0], "in second {second}");
        assert_eq!(asked.unknown(), None);
    }
    (340..345).for_each(|second| asked.second(&[("a", Some(&[("m", grown_to(second))]))]));
    let why = "n: AI gateway a shows its tokens no more, though counters cannot vanish while a process runs";
    assert_eq!(asked.unknown().as_deref(), Some(why));
    asked.second(&[("a", Some(&[("m", grown_to(345)), ("n", grown_to(345))]))]);
    assert_eq!((asked.rates("n").unwrap().output, asked.unknown()), (10.0, None), "all of it is counted");
}

#[test]
fn a_gateway_that_was_started_again_is_held_until_it_counts_or_has_counted_nothing_for_too_long() {
    let mut asked = Fixture::about(&["m", "n"]);
    for second in 0..40u8 {
        asked.second(&[("a", Some(&[("m", grown(second)), ("n", grown(second))]))]);
    }
    (0..20).for_each(|_| asked.second(&[("a", Some(&[]))]));
    assert_eq!(["m", "n"].map(|model| asked.rates(model).unwrap().output), [10.0, 10.0]);
    for second in 1..=310u16 {
        let m = counted(0.0, 0.0, 10.0 * f64::from(second), f64::from(second));
        asked.second(&[("a", Some(&[("m", m)]))]);
        assert_eq!(asked.rates("m").unwrap().output, 10.0);
    }
    (0..30).for_each(|_| asked.second(&[("a", Some(&[("m", counted(0.0, 0.0, 3100.0, 310.0))]))]));
    assert_eq!((asked.rates("n").unwrap().output, asked.unknown()), (0.0, None), "nothing is known to be 0");
}

#[test]
fn a_gateway_that_is_silent_for_too_long_makes_the_sum_a_lower_bound() {
    let mut asked = Fixture::about(&["m"]);
    for second in 0..340u16 {
        let answer: Counted<'_> = &[("m", grown_to(second))];
        asked.second(&[("a", Some(answer)), ("b", (second < 40).then_some(answer))]);
    }
    assert_eq!((asked.rates("m").unwrap().output, asked.tokens.shown().incomplete), (20.0, None));
    asked.second(&[("a", Some(&[("m", grown_to(340))])), ("b", None)]);
    let why = "AI gateway b has not answered for 301 s: connection refused";
    assert_eq!(asked.tokens.shown().incomplete.as_deref(), Some(why));
}

#[test]
fn a_silent_gateway_is_held_at_its_mean_and_not_at_its_last_second() {
    let mut asked = Fixture::about(&["m"]);
    for second in 0..60u16 {
        asked.second(&[("a", Some(&[("m", grown_to(second / 10 * 10))])), ("b", Some(&[]))]);
    }
    (0..60).for_each(|_| asked.second(&[("a", None), ("b", Some(&[]))]));
    assert_eq!(asked.rates("m").unwrap().output, 10.0, "a request ended every 10 s, and none in the last second");
}

#[test]
fn late_answers_cost_no_tokens() {
    let mut asked = Fixture::about(&["m"]);
    for second in 0..120u16 {
        let late = second % 10 >= 7;
        asked.second(&[("a", (!late).then_some(&[("m", grown_to(second))])), ("b", Some(&[]))]);
        let rate = asked.rates("m").map_or(10.0, |rates| rates.output);
        assert!(second < 40 || (9.99..10.01).contains(&rate), "{rate} in second {second}");
    }
}

#[test]
fn a_jump_that_no_gateway_can_count_is_an_error_of_it_and_no_value() {
    let mut asked = Fixture::about(&["m"]);
    (0..40).for_each(|second| asked.second(&[("a", Some(&[("m", grown_to(second))]))]));
    let jumped = |second| TokenCounters { output: grown_to(second).output + 1e12, ..grown_to(second) };
    asked.second(&[("a", Some(&[("m", jumped(40))]))]);
    let failure = asked.tokens.shown().failure.unwrap();
    assert!(failure.contains("which nothing can do"), "{failure}");
    for second in 41..80 {
        asked.second(&[("a", Some(&[("m", jumped(second))]))]);
        assert_eq!(asked.rates("m").unwrap().output, 10.0);
    }
    assert_eq!(asked.tokens.shown().failure, None);
}

#[test]
fn requests_without_the_numbers_of_their_tokens_are_reported_and_a_moment_between_two_counters_is_none() {
    let mut asked = Fixture::about(&["m", "stream"]);
    for second in 0..60u16 {
        // The page of every other second has a request whose tokens come with the next.
        let n = f64::from(second);
        let answered = n + f64::from(second % 2);
        let stream = TokenCounters { answered: n, ..TokenCounters::default() };
        asked.second(&[("a", Some(&[("m", TokenCounters { answered, ..counted(n, 0.0, n, n) }), ("stream", stream)]))]);
    }
    assert_eq!(["m", "stream"].map(|model| asked.rates(model).unwrap().untold), [0.0, 1.0]);
}

#[test]
fn requests_of_no_tokens_at_all_have_not_reported_them() {
    let mut asked = Fixture::about(&["m"]);
    (0..60).for_each(|second| asked.second(&[("a", Some(&[("m", counted(0.0, 0.0, 0.0, f64::from(second)))]))]));
    assert_eq!(asked.rates("m").unwrap().untold, 1.0);
}

#[test]
fn a_model_that_is_renamed_is_counted_under_its_new_name_at_once_and_the_old_one_fades() {
    let mut asked = Fixture::about(&["old", "new"]);
    let mut total = 0.0;
    for _ in 0..40 {
        total += 10.0;
        asked.second(&[("a", Some(&[("old", counted(total, 0.0, 0.0, total))]))]);
    }
    for second in 1..=30u8 {
        let new = counted(10.0 * f64::from(second), 0.0, 0.0, f64::from(second));
        asked.second(&[("a", Some(&[("old", counted(total, 0.0, 0.0, total)), ("new", new)]))]);
    }
    assert_eq!((asked.rates("old").unwrap().input, asked.rates("new").unwrap().input), (0.0, 10.0));
}

#[test]
fn rates_of_prometheus_are_taken_as_they_are() {
    let mut tokens = Tokens::default();
    tokens.plan(&plan(&["m"]), Instant::now());
    let now = Instant::now();
    let told = vec![(names("m"), [30.0, 10.0, 0.5, 0.0]), (names("x"), [1.0; 4])];
    tokens.told("prometheus", Measured::Exact(told.clone()), 5.0, now);
    let shown = tokens.shown();
    let rates: Vec<_> = shown.of(&[]).map(|(_, rates)| (rates.input, rates.output)).collect();
    assert_eq!(rates, [(30.0, 10.0)]);
    assert_eq!(shown.incomplete, None);
    tokens.told("prometheus", Measured::AtLeast(told, "answered in part: a store is away".into()), 5.0, now);
    assert_eq!(tokens.shown().incomplete.as_deref(), Some("prometheus answered in part: a store is away"));
    tokens.told("prometheus", Measured::Unknown("503".into()), 5.0, now);
    assert_eq!(tokens.shown().failure.as_deref(), Some("prometheus: 503"));
}

/// Counters of a model that has counted a thousand million tokens, and now counts 10 more each second.
fn grown(second: u8) -> TokenCounters {
    grown_to(second.into())
}

fn grown_to(second: u16) -> TokenCounters {
    let n = 1e9 + 10.0 * f64::from(second);
    counted(n, 0.0, n, n)
}

#[test]
fn a_model_that_is_wanted_from_now_on_has_no_rate_of_its_past() {
    let mut asked = Fixture::about(&["m"]);
    for second in 0..40u8 {
        asked.second(&[("a", Some(&[("late", grown(second))]))]);
    }
    assert_eq!(asked.rates("late"), None);
    asked.tokens.plan(&plan(&["m", "late"]), asked.now);
    asked.tokens.keep("named", asked.now);
    for second in 40..80u8 {
        asked.second(&[("a", Some(&[("late", grown(second)), ("named", grown(second))]))]);
        for rates in ["late", "named"].map(|model| asked.rates(model).unwrap()) {
            assert!(rates.output <= 10.0, "{rates:?} in second {second}");
        }
    }
    assert_eq!(asked.rates("late").unwrap().output, 10.0);
}

#[test]
fn a_model_that_there_was_no_room_for_has_no_rate_of_its_past_once_there_is() {
    let mut asked = Fixture::about(&[]);
    let flood: Vec<_> = (0..MAX_OF_SENDER).map(|n| format!("x{n}")).collect();
    let flood: Vec<_> = flood.iter().map(|model| (model.as_str(), counted(1.0, 0.0, 1.0, 1.0))).collect();
    for second in 0..3u8 {
        asked.second(&[("a", Some(&[&flood[..], &[("m", grown(second))]].concat()))]);
    }
    assert_eq!(asked.rates("m"), None);
    // The models of the flood are not wanted any more, and after a while they are forgotten.
    asked.tokens.plan(&plan(&["m"]), asked.now);
    for second in 3..200u8 {
        asked.second(&[("a", Some(&[&flood[..], &[("m", grown(second))]].concat()))]);
        assert!(asked.rates("m").is_none_or(|rates| rates.output <= 10.0), "in second {second}");
    }
    assert_eq!(asked.rates("m").map(|rates| rates.output), Some(10.0));
}

#[test]
fn what_a_gateway_counted_before_its_proxies_were_known_is_not_counted_again() {
    let mut asked = Fixture::about(&["m"]);
    let mut second = |fleet: &str, second: u8| {
        asked.now += SECOND;
        let names = TokenNames { fleet: fleet.into(), ..names("m") };
        asked.tokens.sampled("a", asked.now, Ok(&[(names, grown(second))]), false);
        asked.tokens.second(Some(&[("a", true)]), STALE, asked.now);
        let shown = asked.tokens.shown();
        shown.of(&["m".to_owned()]).map(|(_, rates)| rates.output).sum::<f64>()
    };
    (0..40u8).for_each(|n| _ = second("", n));
    for n in 40..80u8 {
        let all = second("gateway/llm/ai", n);
        assert!(all <= 10.0, "{all} tokens/s in second {n}");
    }
}

#[test]
fn until_30_s_were_measured_the_sum_is_a_lower_bound_and_a_lump_is_no_rate() {
    let mut asked = Fixture::about(&["m"]);
    for second in 0..29u8 {
        // A long answer ends in the third second.
        let total = 1e6 + if second < 3 { 0.0 } else { 3000.0 };
        asked.second(&[("a", Some(&[("m", counted(0.0, 0.0, total, 1.0))]))]);
        let most = asked.rates("m").map_or(0.0, |rates| rates.output);
        assert!(most <= 100.0, "{most} tokens/s in second {second}");
    }
    let waits = asked.tokens.shown().incomplete.unwrap();
    assert_eq!(waits, "tokens were measured for 28 of 30 s so far");
    asked.second(&[("a", None)]);
    assert_eq!(asked.tokens.shown().incomplete, Some(waits), "silence does not make it whole");
    (0..2).for_each(|_| asked.second(&[("a", Some(&[("m", counted(0.0, 0.0, 1e6 + 3000.0, 1.0))]))]));
    assert_eq!(asked.tokens.shown().incomplete, None);
}
