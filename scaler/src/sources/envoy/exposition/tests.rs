use proptest::prelude::*;

use super::*;

/// As Envoy 1.40 answers after 10 requests to `httproute/ns/my.route-x.v1/rule/0`, 20 to a cluster whose circuit breaker
/// lets 4 through, and two TCP connections to a backend that refuses them.
const ENVOY: &str = r#"# TYPE envoy_cluster_refused_rule__1_upstream_rq_pending_failure_eject counter
envoy_cluster_refused_rule__1_upstream_rq_pending_failure_eject{envoy_cluster_name="tcproute/ns/tcp"} 2
# TYPE envoy_cluster_route_x_v1_rule_0_upstream_rq_total counter
envoy_cluster_route_x_v1_rule_0_upstream_rq_total{envoy_cluster_name="httproute/ns/my"} 10
# TYPE envoy_cluster_upstream_rq_pending_overflow counter
envoy_cluster_upstream_rq_pending_overflow{envoy_cluster_name="httproute/ns/overflow/rule/0"} 16
# TYPE envoy_cluster_ratelimit_over_limit counter
envoy_cluster_ratelimit_over_limit{envoy_cluster_name="httproute/ns/plain/rule/0"} 15
# TYPE envoy_cluster_upstream_rq_total counter
envoy_cluster_upstream_rq_total{envoy_cluster_name="httproute/ns/overflow/rule/0"} 4
envoy_cluster_upstream_rq_total{envoy_cluster_name="httproute/ns/plain/rule/0"} 9
# TYPE envoy_cluster_route_x_v1_rule_0_upstream_cx_active gauge
envoy_cluster_route_x_v1_rule_0_upstream_cx_active{envoy_cluster_name="httproute/ns/my"} 1
# TYPE envoy_cluster_upstream_rq_active gauge
envoy_cluster_upstream_rq_active{envoy_cluster_name="httproute/ns/overflow/rule/0"} 3
# TYPE envoy_cluster_upstream_rq_pending_active gauge
envoy_cluster_upstream_rq_pending_active{envoy_cluster_name="httproute/ns/overflow/rule/0"} 2
"#;

const NAMES: [&str; 4] = [
    "httproute/ns/my.route-x.v1/rule/0",
    "tcproute/ns/tcp.refused/rule/-1",
    "httproute/ns/plain/rule/0",
    "httproute/ns/overflow/rule/0",
];

fn parse(series: &Series, chunks: &[&[u8]]) -> Result<Sample, PageError> {
    let mut parser = Parser::new(series);
    for chunk in chunks {
        parser.feed(chunk);
    }
    parser.finish()
}

/// The cluster that every Envoy of Envoy Gateway shows: the one through which it is scraped.
const OWN: &str = "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"prometheus_stats\"} 7\n";

/// The counters of the one cluster `c` in this text, on a page of an Envoy.
fn counters(text: &str) -> Option<Counters> {
    let sample = parse(&Series::of(["c"]), &[OWN.as_bytes(), text.as_bytes()]).ok()?;
    Some(sample.clusters().first().map_or_else(Counters::default, |(_, counters)| *counters))
}

#[test]
fn an_answer_of_envoy_is_read_in_whole() {
    let series = Series::of(NAMES);
    let sample = parse(&series, &[ENVOY.as_bytes()]).unwrap();
    let of = |name: &str| {
        let id = series.of_cluster(name).unwrap();
        sample.clusters().iter().find(|(found, _)| *found == id).unwrap().1
    };
    let zero = Counters::default();
    assert_eq!(of(NAMES[0]), Counters { requests: 10.0, connections: 1.0, ..zero });
    assert_eq!(of(NAMES[1]), Counters { refused: 2.0, ..zero });
    assert_eq!(of(NAMES[2]), Counters { requests: 9.0, rate_limited: 15.0, ..zero });
    assert_eq!(of(NAMES[3]), Counters { requests: 4.0, refused: 16.0, in_flight: 5.0, ..zero });
}

#[test]
fn what_the_listeners_of_users_carry_is_the_fleets() {
    let text = br#"envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="http-10080"} 70
envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="https-10443"} 30
envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="eg-ready-http"} 900
envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="admin"} 800
envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix="http-10080"} 4
envoy_listener_downstream_cx_active{envoy_listener_address="0.0.0.0_10080"} 5
envoy_listener_downstream_cx_active{envoy_listener_address="[__]_15432"} 2
envoy_listener_downstream_cx_active{envoy_listener_address="0.0.0.0_19003"} 1
envoy_listener_worker_downstream_cx_active{envoy_worker_id="0",envoy_listener_address="0.0.0.0_10080"} 5
envoy_cluster_upstream_rq_total{envoy_cluster_name="c"} 60
"#;
    let series = Series::of(["c", "gateway/edge/web.v1"]);
    let read = |fleet| {
        let mut parser = Parser::new(&series).with_fleet(fleet);
        parser.feed(text);
        parser.finish().unwrap()
    };
    let whole = Counters { requests: 100.0, in_flight: 4.0, connections: 7.0, ..Counters::default() };
    let clusters = read(Some("gateway/edge/web.v1"));
    assert_eq!(clusters.clusters()[1], (series.of_cluster("gateway/edge/web.v1").unwrap(), whole));
    assert_eq!(read(None).clusters().len(), 1);
    assert_eq!(read(Some("gateway/edge/other")).clusters().len(), 1, "one that nobody asked for");
}

#[test]
fn a_page_without_any_cluster_is_no_envoys() {
    for text in [
        "",
        "\n",
        "# TYPE x counter\n",
        "up 1\n",
        "envoy_server_live 1\n",
        "envoy_http_downstream_rq_total{a=\"b\"} 3\n",
    ] {
        assert_eq!(parse(&Series::of(["c"]), &[text.as_bytes()]), Err(PageError::NoClusters), "{text}");
    }
}

#[test]
fn an_idle_cluster_is_distinguished_from_one_that_is_not_there() {
    let series = Series::of(["c", "d", "e.v1/rule/0"]);
    let text = "envoy_cluster_membership_total{envoy_cluster_name=\"c\"} 3\n\
        envoy_cluster_v1_rule_0_membership_total{envoy_cluster_name=\"e\"} 1\n";
    let sample = parse(&series, &[OWN.as_bytes(), text.as_bytes()]).unwrap();
    let shown: Vec<_> = sample.clusters().iter().map(|(id, counters)| (*id, counters.members)).collect();
    assert_eq!(shown, [(0, 3.0), (2, 1.0)]);
}

#[test]
fn statistics_that_are_left_out_are_not_taken_for_zero() {
    // As configured in `cases/trust/envoy-with-stats-matches.yaml`.
    let left_out = "envoy_cluster_membership_total{envoy_cluster_name=\"c\"} 1\n";
    let shows = |text: &str| parse(&Series::of(["c"]), &[text.as_bytes()]).unwrap().shows();
    assert_eq!(shows(left_out), [false; 3]);
    let active = "envoy_cluster_upstream_rq_active{envoy_cluster_name=\"d\"} 0\n";
    assert_eq!(shows(&format!("{OWN}{left_out}{active}")), [true, true, false]);
}

#[test]
fn requests_for_which_no_host_is_healthy_are_counted() {
    let text = "envoy_cluster_upstream_cx_none_healthy{envoy_cluster_name=\"c\"} 9\n\
        envoy_cluster_upstream_rq_pending_failure_eject{envoy_cluster_name=\"c\"} 1\n";
    assert_eq!(counters(text).map(|counters| counters.refused), Some(10.0));
}

#[test]
fn listeners_that_were_never_used_carry_nothing_where_listeners_are_shown() {
    let series = Series::of(["gateway/edge/web"]);
    let read = |text: &str| {
        let mut parser = Parser::new(&series).with_fleet(Some("gateway/edge/web"));
        parser.feed(OWN.as_bytes());
        parser.feed(text.as_bytes());
        parser.finish().unwrap().clusters().len()
    };
    assert_eq!(read("envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix=\"admin\"} 5\n"), 1);
    assert_eq!(read(""), 0, "they may be left out");
}

#[test]
fn what_is_no_exposition_is_refused() {
    for text in ["<html>", "{\"stats\":[]}", "no such page", "OK", "\u{1f4a5}", "404 not found"] {
        assert_eq!(counters(text), None, "{text}");
    }
    for text in ["\r\n", "# HELP x\n", "x 1\n", "x{le=\"+Inf\"} 1 1700000000\n", "x NaN", ":x_total 1e3"] {
        assert_eq!(counters(text), Some(Counters::default()), "{text}");
    }
}

#[test]
fn other_metrics_other_clusters_and_histograms_are_passed_over() {
    let text = "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"c\",le=\"0.5\"} 3\n\
        envoy_cluster_upstream_rq_total{envoy_cluster_name=\"d\"} 3\n\
        envoy_cluster_upstream_rq_total_sum{envoy_cluster_name=\"c\"} 3\n\
        envoy_cluster_not_upstream_rq_total{envoy_cluster_name=\"c\"} 3\n\
        envoy_cluster_notupstream_rq_total{envoy_cluster_name=\"c\"} 3\n\
        envoy_listener_upstream_rq_total{envoy_cluster_name=\"c\"} 3\n\
        envoy_cluster_upstream_rq_total 3\n";
    assert_eq!(counters(text), Some(Counters::default()));
}

#[test]
fn more_labels_add_up() {
    let text = "envoy_cluster_upstream_rq_total{zone=\"a,}\\\"\",envoy_cluster_name=\"c\"} 3\n\
        envoy_cluster_upstream_rq_total{envoy_cluster_name=\"c\",zone=\"b\"} 4 1700000000\n\
        envoy_cluster_upstream_rq_total{envoy_cluster_name=\"c\",} 5\n";
    assert_eq!(counters(text).unwrap().requests, 12.0);
}

#[test]
fn escapes_in_a_name_are_resolved() {
    let series = Series::of(["a\"b\\c\nd"]);
    let text = br#"envoy_cluster_upstream_rq_total{envoy_cluster_name="a\"b\\c\nd"} 7"#;
    assert_eq!(parse(&series, &[text]).unwrap().clusters()[0].1.requests, 7.0);
}

#[test]
fn values_are_numbers_from_zero_on() {
    let value = |text: &str| {
        counters(&format!("envoy_cluster_upstream_cx_active{{envoy_cluster_name=\"c\"}} {text}\n")).unwrap().connections
    };
    for (text, number) in [
        ("0", 0.0),
        ("18446744073709551615", 18_446_744_073_709_551_615.0),
        ("999999999999999", 999_999_999_999_999.0),
        ("1.5e3", 1500.0),
        ("7 1700000000000", 7.0),
        ("7\r", 7.0),
    ] {
        assert_eq!(value(text), number, "{text}");
    }
    for text in ["", "NaN", "+Inf", "-1", "x", "1x", "1_000"] {
        let line = format!("envoy_cluster_upstream_cx_active{{envoy_cluster_name=\"c\"}} {text}\n");
        let read = parse(&Series::of(["c"]), &[line.as_bytes()]);
        assert_eq!(read, Err(PageError::NoNumber(text.to_owned())), "one bad number spoils the page");
    }
}

#[test]
fn a_line_that_is_too_long_is_passed_over_and_the_next_is_read() {
    let good = "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"c\"} 5\n";
    let long = format!("envoy_cluster_{}{{envoy_cluster_name=\"c\"}} 1\n", "x".repeat(MAX_LINE));
    assert_eq!(counters(&format!("{good}{long}{good}")).unwrap().requests, 10.0);
}

/// Lines as Envoy could write them, whole and damaged.
fn lines() -> impl Strategy<Value = String> {
    let metric = prop::sample::select(vec![
        "upstream_rq_total",
        "upstream_rq_retry",
        "upstream_rq_active",
        "upstream_cx_active",
        "upstream_rq_active_overflow",
        "upstream_rq_pending_overflow",
        "v1_rule_0_upstream_rq_total",
        "upstream_rq_time_bucket",
    ]);
    let label = prop::sample::select(vec!["c", "d", "a", "a\\\"b", "c\",x=\"y", ""]);
    let series = (metric, label, any::<u32>()).prop_map(|(metric, label, value)| {
        format!("envoy_cluster_{metric}{{envoy_cluster_name=\"{label}\"}} {value}\n")
    });
    let line = prop_oneof![5 => series, 1 => "[ -~]{0,40}\n", 1 => Just("# TYPE x counter\n".to_owned())];
    proptest::collection::vec(line, 0..40).prop_map(|lines| lines.concat())
}

/// The same by a simple reading of the format.
fn plain(text: &str, cluster: &str) -> Counters {
    let mut counters = Counters::default();
    for line in text.lines() {
        let Some((metric, rest)) = line.split_once("{envoy_cluster_name=\"") else { continue };
        let Some((label, rest)) = rest.split_once('"') else { continue };
        let value = rest.rsplit(' ').next().and_then(|value| value.parse::<u32>().ok());
        let Some(value) = value.filter(|_| label == cluster).map(f64::from) else { continue };
        match metric {
            "envoy_cluster_upstream_rq_total" => counters.requests += value,
            "envoy_cluster_upstream_rq_retry" => counters.retries += value,
            "envoy_cluster_upstream_rq_active_overflow" | "envoy_cluster_upstream_rq_pending_overflow" => {
                counters.refused += value;
            }
            "envoy_cluster_upstream_rq_active" => counters.in_flight += value,
            "envoy_cluster_upstream_cx_active" => counters.connections += value,
            _ => {}
        }
    }
    counters
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(chunks in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let _ = parse(&Series::of(["c"]), &chunks);
    }

    #[test]
    fn any_cut_into_chunks_gives_the_same(text in lines(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..9)) {
        let series = Series::of(["c", "d", "a.v1/rule/0", "a\"b"]);
        let bytes = text.as_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
        prop_assert_eq!(parse(&series, &chunks), parse(&series, &[bytes]));
    }

    #[test]
    fn what_is_read_is_what_is_written(text in lines()) {
        if let Some(read) = counters(&text) {
            prop_assert_eq!(read, plain(&text, "c"));
        }
    }
}
